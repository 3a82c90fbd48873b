//! Replies and events as lines of text in which nothing differs from run to run: zxids relative to
//! the story's first, times as `now`, sessions by the name of their client.

use std::collections::HashMap;
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use zabkeeper::jute::{Buffer, Input, Jute, JuteError};
use zabkeeper::proto::messages::{
    Create2Response, CreateResponse, ErrorResponse, GetAclResponse, GetAllChildrenNumberResponse,
    GetChildren2Response, GetChildrenResponse, GetDataResponse, GetEphemeralsResponse,
    SetDataResponse, SetSaslResponse, SyncResponse, WatcherEvent, WhoAmIResponse,
};
use zabkeeper::proto::multi::MultiHeader;
use zabkeeper::proto::{Acl, Code, OpCode, Stat};

use super::wire::Packet;

/// What is known of a story while its lines are made.
#[derive(Debug, Default)]
pub struct Names {
    /// The zxid that counts as 0; `None` until it is known.
    pub base_zxid: Option<i64>,
    /// Zxids are not shown, nor asked for.
    pub hides_zxids: bool,
    /// Sessions by their client's name.
    pub sessions: HashMap<i64, String>,
}

impl Names {
    /// `z+3`; zxids from before the story are `old`.
    pub fn zxid(&self, zxid: i64) -> String {
        let base = self.base_zxid.unwrap_or_default();
        match zxid {
            0 | -1 => zxid.to_string(),
            _ if self.hides_zxids => "z".into(),
            _ if zxid < base => "old".into(),
            _ => format!("z+{}", zxid - base),
        }
    }

    /// The session's client.
    pub fn session(&self, id: i64) -> String {
        match self.sessions.get(&id) {
            Some(name) => format!("@{name}"),
            None => format!("{id:#x}"),
        }
    }

    /// All eleven fields.
    pub fn stat(&self, stat: &Stat) -> String {
        format!(
            "[c={} m={} p={} ctime={} mtime={} v={} cv={} av={} owner={} len={} kids={}]",
            self.zxid(stat.czxid),
            self.zxid(stat.mzxid),
            self.zxid(stat.pzxid),
            time(stat.ctime),
            time(stat.mtime),
            stat.version,
            stat.cversion,
            stat.aversion,
            self.session(stat.ephemeral_owner),
            stat.data_length,
            stat.num_children
        )
    }

    /// A reply to `op`, or an event.
    pub fn packet(&self, op: i32, packet: &Packet) -> String {
        let header = packet.header;
        if header.xid == -1 {
            return self.event(packet);
        }
        let code = match Code::from_i32(header.err) {
            Some(code) => code.name().to_owned(),
            None => header.err.to_string(),
        };
        let mut line = format!("xid={} zxid={} {code}", header.xid, self.zxid(header.zxid));
        let mut input = Input::unbounded(&packet.body);
        // Java sends no record with an error; whatever comes nevertheless is shown.
        if header.err == 0 {
            match self.body(op, &mut input) {
                Ok(text) if text.is_empty() => {}
                Ok(text) => {
                    line.push(' ');
                    line.push_str(&text);
                }
                Err(e) => write!(line, " undecodable: {e}: {:02x?}", packet.body).unwrap(),
            }
        }
        if !input.is_empty() {
            write!(line, " + {:02x?}", input.rest()).unwrap();
        }
        line
    }

    fn event(&self, packet: &Packet) -> String {
        let mut input = Input::unbounded(&packet.body);
        let event = WatcherEvent::decode(&mut input).unwrap();
        let name = match event.event_type {
            1 => "NodeCreated",
            2 => "NodeDeleted",
            3 => "NodeDataChanged",
            4 => "NodeChildrenChanged",
            _ => "UnknownEvent",
        };
        let header = packet.header;
        format!(
            "event {name} {:?} state={} zxid={} err={}{}",
            event.path,
            event.state,
            self.zxid(header.zxid),
            header.err,
            if input.is_empty() { "" } else { " and more bytes" }
        )
    }

    fn body(&self, op: i32, input: &mut Input<'_>) -> Result<String, JuteError> {
        let Some(op) = OpCode::from_i32(op) else { return Ok(String::new()) };
        Ok(match op {
            OpCode::Create => format!("{:?}", CreateResponse::decode(input)?.path),
            OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => {
                let reply = Create2Response::decode(input)?;
                format!("{:?} {}", reply.path, self.stat(&reply.stat))
            }
            OpCode::Exists | OpCode::SetData | OpCode::SetAcl => {
                self.stat(&SetDataResponse::decode(input)?.stat)
            }
            OpCode::GetData | OpCode::Reconfig => {
                let reply = GetDataResponse::decode(input)?;
                format!("{} {}", data(&reply.data), self.stat(&reply.stat))
            }
            OpCode::GetAcl => {
                let reply = GetAclResponse::decode(input)?;
                format!("{} {}", acl(&reply.acl), self.stat(&reply.stat))
            }
            OpCode::GetChildren => children(GetChildrenResponse::decode(input)?.children),
            OpCode::GetChildren2 => {
                let reply = GetChildren2Response::decode(input)?;
                format!("{} {}", children(reply.children), self.stat(&reply.stat))
            }
            OpCode::GetAllChildrenNumber => {
                GetAllChildrenNumberResponse::decode(input)?.total_number.to_string()
            }
            OpCode::GetEphemerals => children(GetEphemeralsResponse::decode(input)?.ephemerals),
            OpCode::Sync => format!("{:?}", SyncResponse::decode(input)?.path),
            OpCode::Sasl => data(&SetSaslResponse::decode(input)?.token),
            OpCode::AddWatch => format!("error={}", ErrorResponse::decode(input)?.err),
            OpCode::WhoAmI => {
                let infos = WhoAmIResponse::decode(input)?.client_info;
                let mut names: Vec<String> =
                    infos.into_iter().map(|i| format!("{}:{}", i.auth_scheme, i.user)).collect();
                names.sort(); // Java keeps them in a hash set.
                names.join(" ")
            }
            OpCode::Multi | OpCode::MultiRead => self.multi(input)?,
            _ => String::new(),
        })
    }

    // Decoded by hand: what MultiResponse would make equal shall not look equal here.
    fn multi(&self, input: &mut Input<'_>) -> Result<String, JuteError> {
        let mut text = String::new();
        loop {
            let header = MultiHeader::decode(input)?;
            let _ = write!(text, "{{{} {} {}", header.op, header.done, header.err);
            if header.done {
                text.push('}');
                return Ok(text);
            }
            let body = if header.op == -1 {
                format!("error={}", i32::decode(input)?)
            } else {
                self.body(header.op, input)?
            };
            let _ = write!(text, " {body}}} ");
        }
    }
}

/// A time that is about now, or zero, is called so.
pub fn time(ms: i64) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64;
    match ms {
        0 => "0".into(),
        _ if (now - ms).abs() < 300_000 => "now".into(),
        _ => format!("{ms}"),
    }
}

/// Null, text or a length.
pub fn data(buffer: &Buffer) -> String {
    match buffer.as_deref() {
        None => "null".into(),
        Some(bytes) if bytes.len() > 300 => format!("{} bytes", bytes.len()),
        Some(bytes) => format!("{:?}", String::from_utf8_lossy(bytes)),
    }
}

/// `31 world:anyone, 1 ip:::1`.
pub fn acl(list: &[Acl]) -> String {
    let entries: Vec<String> =
        list.iter().map(|a| format!("{} {}:{}", a.perms, &*a.id.scheme, &*a.id.id)).collect();
    format!("({})", entries.join(", "))
}

/// Sorted: the order of children is not promised.
pub fn children(mut names: Vec<String>) -> String {
    names.sort();
    format!("{names:?}")
}
