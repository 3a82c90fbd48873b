//! A script as text.

use std::fmt::{self, Display, Formatter, Write};

use super::{Action, Call, Hello, Moment, Passwd, Request, Script, SetWatchesAt, Step, TIMEOUT_MS};
use crate::jute::Buffer;
use crate::proto::Acl;
use crate::proto::messages::CreateRequest;
use crate::proto::multi::MultiOp;

/// Longer runs of one byte are written as a count.
const FILL_MIN: usize = 65;

impl Display for Script {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{step}")?;
        }
        Ok(())
    }
}

impl Display for Step {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.who, self.action)
    }
}

impl Display for Action {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Action::Open(hello) => write!(f, "open {}{}", hello.timeout_ms, hello.options()),
            Action::Take { from, hello } if hello.timeout_ms == TIMEOUT_MS => {
                write!(f, "take {from}{}", hello.options())
            }
            Action::Take { from, hello } => {
                write!(f, "take {from} {}{}", hello.timeout_ms, hello.options())
            }
            Action::Send(call) => call.fmt(f),
            Action::Raw(bytes) => match printable(bytes) {
                Some(text) if !text.is_empty() => write!(f, "raw {text:?}"),
                _ => write!(f, "raw hex:{}", hex(bytes)),
            },
            Action::Receive => f.write_str("receive"),
            Action::Ends => f.write_str("ends"),
            Action::Event(limit) => write!(f, "event {}", limit.as_millis()),
            Action::Cut => f.write_str("cut"),
            Action::Reset => f.write_str("reset"),
            Action::Half => f.write_str("half"),
            Action::Word(word) => write!(f, "word {word:?}"),
            Action::Wait(time) => write!(f, "wait {}", time.as_millis()),
        }
    }
}

impl Hello {
    fn options(&self) -> String {
        let plain = Hello::new(self.timeout_ms);
        let mut text = String::new();
        if self.protocol != plain.protocol {
            let _ = write!(text, " protocol={}", self.protocol);
        }
        if self.last_zxid != plain.last_zxid {
            let _ = write!(text, " zxid={}", self.last_zxid);
        }
        if let Some(session) = self.session {
            let _ = write!(text, " session={session:#x}");
        }
        match &self.passwd {
            Passwd::Right => {}
            Passwd::Wrong => text.push_str(" passwd=wrong"),
            Passwd::Bytes(None) => text.push_str(" passwd=null"),
            Passwd::Bytes(Some(bytes)) => {
                let _ = write!(text, " passwd=hex:{}", hex(bytes));
            }
        }
        match self.read_only {
            None => text.push_str(" readOnly=none"),
            Some(true) => text.push_str(" readOnly=true"),
            Some(false) => {}
        }
        if !self.more.is_empty() {
            let _ = write!(text, " more={}", hex(&self.more));
        }
        text
    }
}

impl Display for Moment {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Moment::Absolute(zxid) => write!(f, "{zxid}"),
            Moment::Relative(offset) => write!(f, "{offset:+}"),
        }
    }
}

impl Display for Call {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(xid) = self.xid {
            write!(f, "xid={xid} ")?;
        }
        if let Some(reply) = self.reply {
            write!(f, "reply={reply} ")?;
        }
        write!(f, "{}{}", self.request, if self.is_joined { " &" } else { "" })
    }
}

impl Display for Request {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Request::Create(r) => write!(f, "create {}", create(r)),
            Request::Create2(r) => write!(f, "create2 {}", create(r)),
            Request::CreateContainer(r) => write!(f, "createContainer {}", create(r)),
            Request::CreateTtl(r) => write!(
                f,
                "createTTL {:?} {} {} {} {}",
                r.path,
                data_text(&r.data),
                acl_text(&r.acl),
                r.flags,
                r.ttl
            ),
            Request::Delete(r) => write!(f, "delete {:?} {}", r.path, r.version),
            Request::DeleteContainer(r) => write!(f, "deleteContainer {:?}", r.path),
            Request::Exists(r) => write!(f, "exists {:?}{}", r.path, watching(r.watch)),
            Request::GetData(r) => write!(f, "getData {:?}{}", r.path, watching(r.watch)),
            Request::SetData(r) => {
                write!(f, "setData {:?} {} {}", r.path, data_text(&r.data), r.version)
            }
            Request::GetAcl(r) => write!(f, "getACL {:?}", r.path),
            Request::SetAcl(r) => {
                write!(f, "setACL {:?} {} {}", r.path, acl_text(&r.acl), r.version)
            }
            Request::GetChildren(r) => write!(f, "getChildren {:?}{}", r.path, watching(r.watch)),
            Request::GetChildren2(r) => write!(f, "getChildren2 {:?}{}", r.path, watching(r.watch)),
            Request::GetEphemerals(r) => write!(f, "getEphemerals {}", opt(&r.prefix_path)),
            Request::GetAllChildrenNumber(r) => write!(f, "getAllChildrenNumber {:?}", r.path),
            Request::Sync(r) => write!(f, "sync {}", opt(&r.path)),
            Request::Check(r) => write!(f, "check {:?} {}", r.path, r.version),
            Request::Multi(ops) => write!(f, "multi {}", multi(ops)),
            Request::MultiRead(ops) => write!(f, "multiRead {}", multi(ops)),
            Request::AddWatch(r) => write!(f, "addWatch {:?} {}", r.path, r.mode),
            Request::CheckWatches(r) => write!(f, "checkWatches {:?} {}", r.path, r.watcher_type),
            Request::RemoveWatches(r) => {
                write!(f, "removeWatches {:?} {}", r.path, r.watcher_type)
            }
            Request::SetWatches(at) => write!(f, "setWatches {}", at.text(3)),
            Request::SetWatches2(at) => write!(f, "setWatches2 {}", at.text(5)),
            Request::Reconfig(r) => write!(
                f,
                "reconfig {} {} {} {}",
                opt(&r.joining_servers),
                opt(&r.leaving_servers),
                opt(&r.new_members),
                r.cur_config_id
            ),
            Request::Auth { scheme, auth } => write!(f, "auth {scheme:?} {}", data_text(auth)),
            Request::WhoAmI => f.write_str("whoAmI"),
            Request::Ping => f.write_str("ping"),
            Request::CloseSession => f.write_str("closeSession"),
            Request::Any { op, body } => write!(f, "op {op} hex:{}", hex(body)),
        }
    }
}

impl SetWatchesAt {
    fn text(&self, lists: usize) -> String {
        let mut text = self.since.to_string();
        for list in self.lists.iter().take(lists) {
            let _ = write!(text, " {list:?}");
        }
        text
    }
}

fn create(r: &CreateRequest) -> String {
    format!("{:?} {} {} {}", r.path, data_text(&r.data), acl_text(&r.acl), r.flags)
}

fn multi(ops: &[MultiOp]) -> String {
    let texts: Vec<String> = ops.iter().map(|op| request_of(op).to_string()).collect();
    format!("[{}]", texts.join("; "))
}

/// The request with the same record.
pub(super) fn request_of(op: &MultiOp) -> Request {
    match op.clone() {
        MultiOp::Create(r) => Request::Create(r),
        MultiOp::Create2(r) => Request::Create2(r),
        MultiOp::CreateContainer(r) => Request::CreateContainer(r),
        MultiOp::CreateTtl(r) => Request::CreateTtl(r),
        MultiOp::Delete(r) => Request::Delete(r),
        MultiOp::SetData(r) => Request::SetData(r),
        MultiOp::Check(r) => Request::Check(r),
        MultiOp::GetData(r) => Request::GetData(r),
        MultiOp::GetChildren(r) => Request::GetChildren(r),
    }
}

fn watching(watch: bool) -> &'static str {
    if watch { " watch" } else { "" }
}

fn opt(text: &Option<String>) -> String {
    match text {
        None => "null".into(),
        Some(text) => format!("{text:?}"),
    }
}

/// `null`, a quoted text, `fill:N` (N times `x`) or `hex:…`.
pub fn data_text(buffer: &Buffer) -> String {
    match buffer.as_deref() {
        None => "null".into(),
        Some(bytes) if bytes.len() >= FILL_MIN && bytes.iter().all(|byte| *byte == b'x') => {
            format!("fill:{}", bytes.len())
        }
        Some(bytes) => match std::str::from_utf8(bytes) {
            Ok(text) => format!("{text:?}"),
            Err(_) => format!("hex:{}", hex(bytes)),
        },
    }
}

/// `(31 world:anyone, 1 ip:::1)`; ids that are no words are quoted.
pub fn acl_text(list: &[Acl]) -> String {
    let entries: Vec<String> = list
        .iter()
        .map(|acl| format!("{} {}:{}", acl.perms, word(&acl.id.scheme), word(&acl.id.id)))
        .collect();
    format!("({})", entries.join(", "))
}

fn word(text: &str) -> String {
    let is_plain = text.chars().all(|c| c.is_ascii_graphic() && !"\"\\()[];,&*".contains(c));
    if is_plain { text.to_owned() } else { format!("{text:?}") }
}

fn printable(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    text.chars().all(|c| !c.is_control() || "\r\n".contains(c)).then_some(text)
}

/// Two digits a byte.
pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}
