//! What two healthy servers may answer differently, in one place; all else must be equal byte for
//! byte.
//!
//! | masked | as |
//! | --- | --- |
//! | zxids | relative to the script's first; older ones as "old" |
//! | session ids, in connect responses and as owners of ephemerals | the order in which the script opened them |
//! | passwords | zero or not |
//! | wall times (`ctime`, `mtime`) | 0, recent or the number; and whether a node that was never set has two different ones |
//! | lists of children and of ephemerals, identities of whoAmI | sorted |
//! | events of one closeSession | sorted (see [`Transcript::ordered`]) |
//! | four-letter words | see [`super::words`] |

use super::render::{Names, is_recent};
use super::transcript::{Entry, Seen, Transcript};
use super::words;
use crate::client::Reply;
use crate::jute::{Input, Jute, JuteError, OutputExt};
use crate::proto::messages::{
    ConnectResponse, Create2Response, GetAclResponse, GetChildren2Response, GetChildrenResponse,
    GetDataResponse, GetEphemeralsResponse, SetDataResponse, WhoAmIResponse,
};
use crate::proto::multi::MultiHeader;
use crate::proto::{OpCode, Stat};

/// The bytes that must be equal on both sides.
pub fn entry(transcript: &Transcript, entry: &Entry) -> Vec<u8> {
    let names = &transcript.names;
    match &entry.seen {
        Seen::Connected(frame) => connected(names, frame),
        Seen::Packet(packet) => reply(names, entry.op, packet),
        Seen::Frame(frame) => frame.clone(),
        Seen::Answer { word, text } => words::mask(word, text).into_bytes(),
        Seen::Closed => b"closed".to_vec(),
        Seen::Nothing => b"nothing".to_vec(),
        Seen::Gone => b"gone".to_vec(),
        Seen::Broken(why) => why.clone().into_bytes(),
    }
}

/// A zxid: itself when it is none, the smallest number for an old one.
fn zxid(names: &Names, zxid: i64) -> i64 {
    match names.offset(zxid) {
        _ if names.hides_zxids && zxid > 0 => i64::MAX,
        Some(offset) => offset.saturating_add(1 << 48),
        None if zxid > 0 => i64::MIN,
        None => zxid,
    }
}

fn session(names: &Names, id: i64) -> i64 {
    match names.order.iter().position(|known| *known == id) {
        Some(at) => i64::MIN.saturating_add(i64::try_from(at).unwrap_or(i64::MAX)),
        None => id,
    }
}

fn time(ms: i64) -> i64 {
    if ms != 0 && is_recent(ms) { 1 } else { ms }
}

fn connected(names: &Names, frame: &[u8]) -> Vec<u8> {
    let mut input = Input::unbounded(frame);
    let Ok(mut response) = ConnectResponse::decode(&mut input) else { return frame.to_vec() };
    response.session_id = session(names, response.session_id);
    if response.passwd != [0; 16] {
        response.passwd = [1; 16];
    }
    let mut bytes = response.to_bytes();
    bytes.extend_from_slice(input.rest());
    bytes
}

fn reply(names: &Names, op: i32, packet: &Reply) -> Vec<u8> {
    let mut header = packet.header;
    header.zxid = zxid(names, header.zxid);
    let mut bytes = header.to_bytes();
    let is_event = header.xid == -1;
    let mut input = Input::unbounded(&packet.body);
    let body = if is_event || header.err != 0 { None } else { body(names, op, &mut input).ok() };
    match body {
        Some(body) => {
            bytes.extend_from_slice(&body);
            bytes.extend_from_slice(input.rest());
        }
        // Nothing to mask in it, or not what it should be: as it is.
        None => bytes.extend_from_slice(&packet.body),
    }
    bytes
}

fn stat(names: &Names, stat: &Stat) -> Stat {
    let is_unset = stat.mzxid == stat.czxid && stat.mtime != stat.ctime;
    Stat {
        czxid: zxid(names, stat.czxid),
        mzxid: zxid(names, stat.mzxid),
        pzxid: zxid(names, stat.pzxid),
        ctime: time(stat.ctime),
        mtime: if is_unset { -2 } else { time(stat.mtime) },
        ephemeral_owner: session(names, stat.ephemeral_owner),
        ..*stat
    }
}

fn body(names: &Names, op: i32, input: &mut Input<'_>) -> Result<Vec<u8>, JuteError> {
    let Some(op) = OpCode::from_i32(op) else { return Ok(Vec::new()) };
    Ok(match op {
        OpCode::Create2 | OpCode::CreateContainer | OpCode::CreateTtl => {
            let mut reply = Create2Response::decode(input)?;
            reply.stat = stat(names, &reply.stat);
            reply.to_bytes()
        }
        OpCode::Exists | OpCode::SetData | OpCode::SetAcl => {
            stat(names, &SetDataResponse::decode(input)?.stat).to_bytes()
        }
        OpCode::GetData => {
            let mut reply = GetDataResponse::decode(input)?;
            reply.stat = stat(names, &reply.stat);
            reply.to_bytes()
        }
        OpCode::GetAcl => {
            let mut reply = GetAclResponse::decode(input)?;
            reply.stat = stat(names, &reply.stat);
            reply.to_bytes()
        }
        OpCode::GetChildren => {
            let mut reply = GetChildrenResponse::decode(input)?;
            reply.children.sort();
            reply.to_bytes()
        }
        OpCode::GetChildren2 => {
            let mut reply = GetChildren2Response::decode(input)?;
            reply.children.sort();
            reply.stat = stat(names, &reply.stat);
            reply.to_bytes()
        }
        OpCode::GetEphemerals => {
            let mut reply = GetEphemeralsResponse::decode(input)?;
            reply.ephemerals.sort();
            reply.to_bytes()
        }
        OpCode::WhoAmI => {
            let mut reply = WhoAmIResponse::decode(input)?;
            reply
                .client_info
                .sort_by(|a, b| (&a.auth_scheme, &a.user).cmp(&(&b.auth_scheme, &b.user)));
            reply.to_bytes()
        }
        OpCode::Multi | OpCode::MultiRead => multi(names, input)?,
        // Create, sync, the number of children and their like: nothing in them is masked.
        _ => Vec::new(),
    })
}

fn multi(names: &Names, input: &mut Input<'_>) -> Result<Vec<u8>, JuteError> {
    let mut bytes = Vec::new();
    loop {
        let header = MultiHeader::decode(input)?;
        header.encode(&mut bytes);
        if header.done {
            return Ok(bytes);
        }
        match OpCode::from_i32(header.op) {
            Some(OpCode::Error) => bytes.put_i32(i32::decode(input)?),
            Some(OpCode::Create) => String::decode(input)?.encode(&mut bytes),
            _ => bytes.extend(body(names, header.op, input)?),
        }
    }
}

/// What came during a step, in the order in which it is compared.
pub fn in_order(transcript: &Transcript, step: usize) -> Vec<&Entry> {
    let zxid_of = |entry: &Entry| match &entry.seen {
        Seen::Packet(packet) if entry.seen.is_event() => Some(packet.header.zxid),
        _ => None,
    };
    // Entries are noted step by step.
    let from = transcript.entries.partition_point(|entry| entry.step < step);
    let to = transcript.entries.partition_point(|entry| entry.step <= step);
    let mut entries: Vec<&Entry> =
        transcript.entries.get(from..to).unwrap_or_default().iter().collect();
    let is_run =
        |a: &&Entry, b: &&Entry| zxid_of(a).is_some() && zxid_of(a) == zxid_of(b) && a.who == b.who;
    for run in entries.chunk_by_mut(is_run) {
        let zxid = run.first().and_then(|first| zxid_of(first));
        let has_order = zxid.is_none_or(|z| z <= 0 || transcript.ordered.contains(&z));
        if run.len() > 1 && !has_order {
            run.sort_by_key(|one| entry(transcript, one));
        }
    }
    entries
}
