//! Replies and events as lines of text in which nothing differs from run to run: zxids relative to
//! the story's first, times as `now`, sessions by the name of their client.

use std::collections::HashMap;
use std::fmt::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::client::Reply;
use crate::jute::{Buffer, Input, Jute, JuteError};
use crate::proto::messages::{
    ConnectResponse, Create2Response, CreateResponse, ErrorResponse, GetAclResponse,
    GetAllChildrenNumberResponse, GetChildren2Response, GetChildrenResponse, GetDataResponse,
    GetEphemeralsResponse, SetDataResponse, SetSaslResponse, SyncResponse, WatcherEvent,
    WhoAmIResponse,
};
use crate::proto::multi::MultiHeader;
use crate::proto::{Code, OpCode, Stat};

use super::script::acl_text;
use super::transcript::Seen;

/// What is known of a story while its lines are made.
#[derive(Debug, Default)]
pub struct Names {
    /// The zxid that counts as 0; `None` until it is known.
    pub base_zxid: Option<i64>,
    /// Zxids are not shown, nor asked for.
    pub hides_zxids: bool,
    /// Sessions by their client's name.
    pub sessions: HashMap<i64, String>,
    /// The same in the order in which they were opened.
    pub order: Vec<i64>,
    /// Once zxids beyond the first are taken to be the second less: see `Difference::skew`.
    pub skews: Vec<(i64, i64)>,
}

impl Names {
    /// `z+3`; zxids from before the story are `old`.
    pub fn zxid(&self, zxid: i64) -> String {
        match self.offset(zxid) {
            None if zxid == 0 || zxid == -1 => zxid.to_string(),
            _ if self.hides_zxids => "z".into(),
            None => "old".into(),
            Some(offset) => format!("z+{offset}"),
        }
    }

    /// How far it is behind the first; `None` for no zxid and for those from before the story.
    pub fn offset(&self, zxid: i64) -> Option<i64> {
        let base = self.base_zxid.unwrap_or_default();
        if zxid == 0 || zxid == -1 || zxid < base {
            return None;
        }
        let skew: i64 =
            self.skews.iter().filter(|(from, _)| zxid >= *from).map(|(_, skew)| skew).sum();
        Some(zxid - base - skew)
    }

    /// Whatever came.
    pub fn seen(&self, op: i32, seen: &Seen) -> String {
        match seen {
            Seen::Connected(frame) => self.connected(frame),
            Seen::Packet(packet) => self.packet(op, packet),
            Seen::Frame(frame) => format!("{} bytes: {frame:02x?}", frame.len()),
            Seen::Answer { word, text } => super::words::mask(word, text),
            Seen::Closed => "closed".into(),
            Seen::Nothing => "nothing".into(),
            Seen::Gone => "gone".into(),
            Seen::Broken(why) => format!("broken: {why}"),
        }
    }

    fn connected(&self, frame: &[u8]) -> String {
        let mut input = Input::unbounded(frame);
        match ConnectResponse::decode(&mut input) {
            Ok(response) => format!(
                "connected: protocol={} timeout={} session={} passwd={} readOnly={:?}{}",
                response.protocol_version,
                response.timeout_ms,
                self.session(response.session_id),
                if response.passwd == [0; 16] { "zero" } else { "set" },
                response.read_only,
                if input.is_empty() { "" } else { " and more bytes" }
            ),
            Err(e) => format!("undecodable connect response: {e}: {frame:02x?}"),
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
    pub fn packet(&self, op: i32, packet: &Reply) -> String {
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
                Err(e) => {
                    let _ = write!(line, " undecodable: {e}: {:02x?}", packet.body);
                }
            }
        }
        if !input.is_empty() {
            let _ = write!(line, " + {:02x?}", input.rest());
        }
        line
    }

    fn event(&self, packet: &Reply) -> String {
        let mut input = Input::unbounded(&packet.body);
        let event = match WatcherEvent::decode(&mut input) {
            Ok(event) => event,
            Err(e) => return format!("undecodable event: {e}: {:02x?}", packet.body),
        };
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
                format!("{} {}", acl_text(&reply.acl), self.stat(&reply.stat))
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
    match ms {
        0 => "0".into(),
        _ if is_recent(ms) => "now".into(),
        _ => format!("{ms}"),
    }
}

/// Within some minutes of now, of which a comparison takes as many at most.
pub fn is_recent(ms: i64) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let now = i64::try_from(now).unwrap_or(i64::MAX);
    now.wrapping_sub(ms).unsigned_abs() < RECENT_MS
}

const RECENT_MS: u64 = 600_000;

/// Null, text or a length.
pub fn data(buffer: &Buffer) -> String {
    match buffer.as_deref() {
        None => "null".into(),
        Some(bytes) if bytes.len() > 300 => format!("{} bytes", bytes.len()),
        Some(bytes) => format!("{:?}", String::from_utf8_lossy(bytes)),
    }
}

/// Sorted: the order of children is not promised.
pub fn children(mut names: Vec<String>) -> String {
    names.sort();
    format!("{names:?}")
}
