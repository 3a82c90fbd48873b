//! A script from its text.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::lexer::{Token, tokens};
use super::{Action, Call, Hello, Moment, Passwd, Request, Script, SetWatchesAt, Step, TIMEOUT_MS};
use crate::jute::Buffer;
use crate::proto::messages::{
    AddWatchRequest, CheckVersionRequest, CheckWatchesRequest, CreateRequest, CreateTtlRequest,
    DeleteContainerRequest, DeleteRequest, ExistsRequest, GetAclRequest,
    GetAllChildrenNumberRequest, GetChildrenRequest, GetDataRequest, GetEphemeralsRequest,
    ReconfigRequest, RemoveWatchesRequest, SetAclRequest, SetDataRequest, SyncRequest,
};
use crate::proto::multi::MultiOp;
use crate::proto::{Acl, OpCode};

/// A line that is no step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {why}")]
pub struct ScriptError {
    /// Counted from 1.
    pub line: usize,
    /// What was expected.
    pub why: String,
}

/// What is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Bad(pub String);

/// No fill is longer.
const FILL_MAX: usize = 1 << 26;

impl FromStr for Script {
    type Err = ScriptError;

    /// One step a line; blank lines and those that begin with `#` are skipped.
    fn from_str(text: &str) -> Result<Script, ScriptError> {
        let mut steps = Vec::new();
        for (n, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            steps.push(line.parse().map_err(|Bad(why)| ScriptError { line: n + 1, why })?);
        }
        Ok(Script { steps })
    }
}

impl FromStr for Step {
    type Err = Bad;

    fn from_str(line: &str) -> Result<Step, Bad> {
        let mut rest = Tokens { tokens: tokens(line)?, at: 0 };
        let who = rest.word()?;
        let action = action(&mut rest)?;
        match rest.next() {
            None => Ok(Step { who, action }),
            Some(token) => Err(Bad(format!("more than a step: {token:?}"))),
        }
    }
}

struct Tokens {
    tokens: Vec<Token>,
    at: usize,
}

impl Tokens {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn is_mark(&mut self, mark: char) -> bool {
        let found = self.peek() == Some(&Token::Mark(mark));
        self.at += usize::from(found);
        found
    }

    fn mark(&mut self, mark: char) -> Result<(), Bad> {
        if self.is_mark(mark) { Ok(()) } else { Err(self.expected(&format!("`{mark}`"))) }
    }

    fn expected(&self, what: &str) -> Bad {
        match self.peek() {
            None => Bad(format!("{what} is missing")),
            Some(token) => Bad(format!("{what} in place of {token:?}")),
        }
    }

    fn word(&mut self) -> Result<String, Bad> {
        match self.next() {
            Some(Token::Word(word)) => Ok(word),
            _ => {
                self.at -= 1;
                Err(self.expected("a word"))
            }
        }
    }

    fn option(&mut self) -> Option<(String, String)> {
        let Some(Token::Word(word)) = self.peek() else { return None };
        let (key, value) = word.split_once('=')?;
        let pair = (key.to_owned(), value.to_owned());
        self.at += 1;
        Some(pair)
    }

    fn text(&mut self) -> Result<String, Bad> {
        match self.next() {
            Some(Token::Text(text)) => Ok(text),
            _ => {
                self.at -= 1;
                Err(self.expected("a quoted text"))
            }
        }
    }

    fn text_or_null(&mut self) -> Result<Option<String>, Bad> {
        if self.peek() == Some(&Token::Word("null".into())) {
            self.at += 1;
            return Ok(None);
        }
        self.text().map(Some)
    }

    fn number<T: FromStr>(&mut self) -> Result<T, Bad> {
        let word = self.word()?;
        number(&word)
    }

    fn data(&mut self) -> Result<Buffer, Bad> {
        if let Some(Token::Text(_)) = self.peek() {
            return Ok(Some(Arc::from(self.text()?.as_bytes())));
        }
        data(&self.word()?)
    }

    fn acl(&mut self) -> Result<Vec<Acl>, Bad> {
        self.mark('(')?;
        let mut list = Vec::new();
        while !self.is_mark(')') {
            if !list.is_empty() {
                self.mark(',')?;
            }
            let perms = self.number()?;
            // SCHEME:ID, each part quoted when it is no word.
            let mut parts = [String::new(), String::new()];
            let mut is_id = false;
            loop {
                let [scheme, id] = &mut parts;
                let part = if is_id { id } else { scheme };
                match self.peek() {
                    Some(Token::Text(text)) => part.push_str(text),
                    Some(Token::Word(word)) => match word.split_once(':') {
                        Some((first, rest)) if !is_id => {
                            part.push_str(first);
                            parts[1].push_str(rest);
                            is_id = true;
                        }
                        _ => part.push_str(word),
                    },
                    _ => break,
                }
                self.at += 1;
            }
            list.push(Acl::new(perms, &parts[0], &parts[1]));
        }
        Ok(list)
    }

    fn watch(&mut self) -> bool {
        let found = self.peek() == Some(&Token::Word("watch".into()));
        self.at += usize::from(found);
        found
    }

    fn strings(&mut self) -> Result<Vec<String>, Bad> {
        self.mark('[')?;
        let mut list = Vec::new();
        while !self.is_mark(']') {
            if !list.is_empty() {
                self.mark(',')?;
            }
            list.push(self.text()?);
        }
        Ok(list)
    }

    fn millis(&mut self) -> Result<Duration, Bad> {
        Ok(Duration::from_millis(self.number()?))
    }
}

fn number<T: FromStr>(word: &str) -> Result<T, Bad> {
    word.parse().map_err(|_| Bad(format!("no number: {word}")))
}

fn moment(word: &str) -> Result<Moment, Bad> {
    match word.strip_prefix('+') {
        Some(offset) => Ok(Moment::Relative(number(offset)?)),
        None => Ok(Moment::Absolute(number(word)?)),
    }
}

fn data(word: &str) -> Result<Buffer, Bad> {
    if word == "null" {
        return Ok(None);
    }
    if let Some(digits) = word.strip_prefix("hex:") {
        return Ok(Some(Arc::from(hex(digits)?)));
    }
    if let Some(count) = word.strip_prefix("fill:") {
        let count: usize = number(count)?;
        return if count <= FILL_MAX {
            Ok(Some(vec![b'x'; count].into()))
        } else {
            Err(Bad(format!("a fill of more than {FILL_MAX}")))
        };
    }
    Err(Bad(format!("no data: {word}")))
}

fn hex(digits: &str) -> Result<Vec<u8>, Bad> {
    let bad = || Bad(format!("no hexadecimal digits: {digits}"));
    let nibbles: Vec<u8> = digits
        .chars()
        .map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok()))
        .collect::<Option<_>>()
        .ok_or_else(bad)?;
    let pairs = nibbles.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return Err(bad());
    }
    Ok(pairs.map(|pair| pair.iter().fold(0, |byte, nibble| byte << 4 | nibble)).collect())
}

fn action(rest: &mut Tokens) -> Result<Action, Bad> {
    let verb = match rest.peek() {
        Some(Token::Word(word)) => word.clone(),
        _ => return Err(rest.expected("a verb")),
    };
    rest.at += 1;
    Ok(match &*verb {
        "open" => Action::Open(hello(rest)?),
        "take" => Action::Take { from: rest.word()?, hello: hello(rest)? },
        "raw" => Action::Raw(rest.data()?.unwrap_or_default().to_vec()),
        "receive" => Action::Receive,
        "ends" => Action::Ends,
        "event" => Action::Event(rest.millis()?),
        "cut" => Action::Cut,
        "reset" => Action::Reset,
        "half" => Action::Half,
        "word" => Action::Word(rest.text()?),
        "wait" => Action::Wait(rest.millis()?),
        _ => {
            rest.at -= 1;
            Action::Send(call(rest)?)
        }
    })
}

fn hello(rest: &mut Tokens) -> Result<Hello, Bad> {
    let mut hello = Hello::new(TIMEOUT_MS);
    if rest.peek().is_some() && !matches!(rest.peek(), Some(Token::Word(w)) if w.contains('=')) {
        hello.timeout_ms = rest.number()?;
    }
    while let Some((key, value)) = rest.option() {
        match &*key {
            "protocol" => hello.protocol = number(&value)?,
            "zxid" => hello.last_zxid = moment(&value)?,
            "session" => {
                let digits = value.strip_prefix("0x").unwrap_or(&value);
                let id = u64::from_str_radix(digits, 16)
                    .map_err(|_| Bad(format!("no session id: {value}")))?;
                hello.session = Some(id.cast_signed());
            }
            "passwd" if value == "wrong" => hello.passwd = Passwd::Wrong,
            "passwd" => hello.passwd = Passwd::Bytes(data(&value)?),
            "readOnly" => {
                hello.read_only = match &*value {
                    "none" => None,
                    "true" => Some(true),
                    "false" => Some(false),
                    _ => return Err(Bad(format!("readOnly={value}"))),
                }
            }
            "more" => hello.more = hex(&value)?,
            _ => return Err(Bad(format!("unknown field {key}"))),
        }
    }
    Ok(hello)
}

fn call(rest: &mut Tokens) -> Result<Call, Bad> {
    let (mut xid, mut reply) = (None, None);
    while let Some((key, value)) = rest.option() {
        match &*key {
            "xid" => xid = Some(number(&value)?),
            "reply" => reply = Some(number(&value)?),
            _ => return Err(Bad(format!("unknown option {key}"))),
        }
    }
    let request = request(rest)?;
    let is_joined = rest.is_mark('&');
    Ok(Call { request, xid, reply, is_joined })
}

fn create(rest: &mut Tokens) -> Result<CreateRequest, Bad> {
    Ok(CreateRequest {
        path: rest.text()?,
        data: rest.data()?,
        acl: rest.acl()?,
        flags: rest.number()?,
    })
}

fn children(rest: &mut Tokens) -> Result<GetChildrenRequest, Bad> {
    Ok(GetChildrenRequest { path: rest.text()?, watch: rest.watch() })
}

fn request(rest: &mut Tokens) -> Result<Request, Bad> {
    let verb = rest.word()?;
    Ok(match &*verb {
        "create" => Request::Create(create(rest)?),
        "create2" => Request::Create2(create(rest)?),
        "createContainer" => Request::CreateContainer(create(rest)?),
        "createTTL" => {
            let CreateRequest { path, data, acl, flags } = create(rest)?;
            Request::CreateTtl(CreateTtlRequest { path, data, acl, flags, ttl: rest.number()? })
        }
        "delete" => Request::Delete(DeleteRequest { path: rest.text()?, version: rest.number()? }),
        "deleteContainer" => {
            Request::DeleteContainer(DeleteContainerRequest { path: rest.text()? })
        }
        "exists" => Request::Exists(ExistsRequest { path: rest.text()?, watch: rest.watch() }),
        "getData" => Request::GetData(GetDataRequest { path: rest.text()?, watch: rest.watch() }),
        "setData" => Request::SetData(SetDataRequest {
            path: rest.text()?,
            data: rest.data()?,
            version: rest.number()?,
        }),
        "getACL" => Request::GetAcl(GetAclRequest { path: rest.text()? }),
        "setACL" => Request::SetAcl(SetAclRequest {
            path: rest.text()?,
            acl: rest.acl()?,
            version: rest.number()?,
        }),
        "getChildren" => Request::GetChildren(children(rest)?),
        "getChildren2" => Request::GetChildren2(children(rest)?),
        "getEphemerals" => {
            Request::GetEphemerals(GetEphemeralsRequest { prefix_path: rest.text_or_null()? })
        }
        "getAllChildrenNumber" => {
            Request::GetAllChildrenNumber(GetAllChildrenNumberRequest { path: rest.text()? })
        }
        "sync" => Request::Sync(SyncRequest { path: rest.text_or_null()? }),
        "check" => {
            Request::Check(CheckVersionRequest { path: rest.text()?, version: rest.number()? })
        }
        "multi" => Request::Multi(multi(rest)?),
        "multiRead" => Request::MultiRead(multi(rest)?),
        "addWatch" => {
            Request::AddWatch(AddWatchRequest { path: rest.text()?, mode: rest.number()? })
        }
        "checkWatches" => Request::CheckWatches(CheckWatchesRequest {
            path: rest.text()?,
            watcher_type: rest.number()?,
        }),
        "removeWatches" => Request::RemoveWatches(RemoveWatchesRequest {
            path: rest.text()?,
            watcher_type: rest.number()?,
        }),
        "setWatches" => Request::SetWatches(SetWatchesAt {
            since: moment(&rest.word()?)?,
            lists: [rest.strings()?, rest.strings()?, rest.strings()?, Vec::new(), Vec::new()],
        }),
        "setWatches2" => Request::SetWatches2(SetWatchesAt {
            since: moment(&rest.word()?)?,
            lists: [
                rest.strings()?,
                rest.strings()?,
                rest.strings()?,
                rest.strings()?,
                rest.strings()?,
            ],
        }),
        "reconfig" => Request::Reconfig(ReconfigRequest {
            joining_servers: rest.text_or_null()?,
            leaving_servers: rest.text_or_null()?,
            new_members: rest.text_or_null()?,
            cur_config_id: rest.number()?,
        }),
        "auth" => Request::Auth { scheme: rest.text()?, auth: rest.data()? },
        "whoAmI" => Request::WhoAmI,
        "ping" => Request::Ping,
        "closeSession" => Request::CloseSession,
        "op" => {
            let op = rest.word()?;
            let op = match OP_CODES.iter().find(|code| code.name() == op) {
                Some(code) => code.as_i32(),
                None => number(&op)?,
            };
            Request::Any { op, body: rest.data()?.unwrap_or_default().to_vec() }
        }
        _ => return Err(Bad(format!("unknown verb {verb}"))),
    })
}

/// Operations that `op` may name.
const OP_CODES: &[OpCode] = &[
    OpCode::Notification,
    OpCode::CreateSession,
    OpCode::CloseSession,
    OpCode::Error,
    OpCode::Sasl,
    OpCode::Multi,
    OpCode::MultiRead,
];

fn multi(rest: &mut Tokens) -> Result<Vec<MultiOp>, Bad> {
    rest.mark('[')?;
    let mut ops = Vec::new();
    while !rest.is_mark(']') {
        if !ops.is_empty() {
            rest.mark(';')?;
        }
        ops.push(match request(rest)? {
            Request::Create(r) => MultiOp::Create(r),
            Request::Create2(r) => MultiOp::Create2(r),
            Request::CreateContainer(r) => MultiOp::CreateContainer(r),
            Request::CreateTtl(r) => MultiOp::CreateTtl(r),
            Request::Delete(r) => MultiOp::Delete(r),
            Request::SetData(r) => MultiOp::SetData(r),
            Request::Check(r) => MultiOp::Check(r),
            Request::GetData(r) => MultiOp::GetData(r),
            Request::GetChildren(r) => MultiOp::GetChildren(r),
            other => return Err(Bad(format!("no part of a multi: {other}"))),
        });
    }
    Ok(ops)
}
