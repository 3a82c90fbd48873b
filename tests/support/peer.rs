//! The actors of a story: clients whose every request and received packet becomes a line.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use zabkeeper::compare::render::{Names, data};
use zabkeeper::compare::script::acl_text;
use zabkeeper::jute::{Buffer, Jute, OutputExt};
use zabkeeper::proto::messages::{
    AddWatchRequest, AuthPacket, CheckVersionRequest, ConnectRequest, CreateRequest,
    CreateTtlRequest, DeleteContainerRequest, DeleteRequest, ExistsRequest, GetAclRequest,
    GetAllChildrenNumberRequest, GetChildrenRequest, GetDataRequest, GetEphemeralsRequest,
    SetAclRequest, SetDataRequest, SyncRequest,
};
use zabkeeper::proto::multi::{MultiOp, MultiOperationRecord};
use zabkeeper::proto::{Acl, OpCode};

use super::server::TestServer;
use super::wire::{Packet, Received, Wire, new_session, old_session, parse_packet, request_frame};

/// The lines of a story, and what is needed to write them.
#[derive(Default)]
pub struct Log {
    lines: RefCell<Vec<String>>,
    names: RefCell<Names>,
    opened: RefCell<Vec<(i64, [u8; 16])>>,
}

impl Log {
    fn add(&self, line: String) {
        self.lines.borrow_mut().push(line);
    }
}

/// One run of a scenario against one server.
pub struct Story<'a> {
    /// The server.
    pub server: &'a TestServer,
    log: Rc<Log>,
}

impl<'a> Story<'a> {
    /// Begins.
    pub fn new(server: &'a TestServer) -> Story<'a> {
        Story { server, log: Rc::default() }
    }

    /// A client with a new session of 20 s.
    pub fn client(&self, name: &str) -> Peer {
        self.client_for(name, 20_000)
    }

    /// A client with a new session of `timeout_ms`.
    pub fn client_for(&self, name: &str, timeout_ms: i32) -> Peer {
        self.connect(name, &new_session(timeout_ms)).expect("a session")
    }

    /// A client that takes over the session of another.
    pub fn reattach(&self, name: &str, peer: &Peer) -> Peer {
        self.connect(name, &old_session(peer.id, &peer.passwd, 20_000)).expect("a session")
    }

    /// Sends `request` and notes the answer; `None` when there is no session in it.
    pub fn connect(&self, name: &str, request: &ConnectRequest) -> Option<Peer> {
        let mut wire = Wire::open(self.server.addr());
        let Some(response) = wire.handshake(request) else {
            self.note(format!("{name}< closed without an answer"));
            return None;
        };
        {
            let mut names = self.log.names.borrow_mut();
            if response.session_id != 0 {
                names.sessions.entry(response.session_id).or_insert_with(|| name.to_owned());
            }
            self.log.add(format!(
                "{name}< connected: protocol={} timeout={} session={} passwd={} readOnly={:?}",
                response.protocol_version,
                response.timeout_ms,
                names.session(response.session_id),
                if response.passwd == [0; 16] { "zero" } else { "set" },
                response.read_only
            ));
        }
        if response.session_id == 0 {
            let end = if wire.is_closed_by_server() { "closed" } else { "more bytes" };
            self.note(format!("{name}< {end}"));
            return None;
        }
        self.log.opened.borrow_mut().push((response.session_id, response.passwd));
        let is_first = {
            let names = self.log.names.borrow();
            names.base_zxid.is_none() && !names.hides_zxids
        };
        if is_first {
            wire.send(-2, OpCode::Ping.as_i32(), &[]);
            self.log.names.borrow_mut().base_zxid = Some(wire.packet().header.zxid);
        }
        Some(Peer {
            name: name.to_owned(),
            wire,
            id: response.session_id,
            passwd: response.passwd,
            next_xid: Cell::new(1),
            burst: None,
            log: Rc::clone(&self.log),
        })
    }

    /// A connection on which nothing was sent.
    pub fn raw(&self) -> Wire {
        Wire::open(self.server.addr())
    }

    /// Notes a line of the scenario's own.
    pub fn note(&self, line: impl Into<String>) {
        self.log.add(line.into());
    }

    /// Notes what a raw connection receives next: a frame's bytes or the end.
    pub fn note_raw(&self, who: &str, wire: &mut Wire) {
        let line = match wire.receive() {
            Received::Frame(frame) => format!("{who}< {} bytes: {frame:02x?}", frame.len()),
            Received::Closed => format!("{who}< closed"),
            Received::Nothing => format!("{who}< nothing"),
        };
        self.note(line);
    }

    /// From here on zxids are masked; at the beginning of a story it also saves the ping that asks
    /// for the first one.
    pub fn hide_zxids(&self) {
        self.log.names.borrow_mut().hides_zxids = true;
    }

    /// How zxids are written in this story.
    pub fn zxid(&self, zxid: i64) -> String {
        self.log.names.borrow().zxid(zxid)
    }

    /// The lines. Closes the sessions that are still open, so that none of them expires into the
    /// next story.
    pub fn finish(self) -> Vec<String> {
        for (id, passwd) in self.log.opened.take() {
            let mut wire = Wire::open(self.server.addr());
            let mut request = old_session(id, &passwd, 4000);
            request.last_zxid_seen = 0;
            if wire.handshake(&request).is_some_and(|response| response.session_id != 0) {
                wire.send(1, OpCode::CloseSession.as_i32(), &[]);
                while let Received::Frame(_) = wire.receive() {}
            }
        }
        self.log.lines.take()
    }
}

/// A client of a story.
pub struct Peer {
    name: String,
    /// The connection, for what the methods do not offer.
    pub wire: Wire,
    /// The session.
    pub id: i64,
    /// Its password.
    pub passwd: [u8; 16],
    next_xid: Cell<i32>,
    burst: Option<Burst>,
    log: Rc<Log>,
}

/// Requests that wait to be sent together.
#[derive(Default)]
struct Burst {
    bytes: Vec<u8>,
    /// Operation and xid of each reply.
    awaited: Vec<(i32, i32)>,
}

impl Peer {
    fn note(&self, line: String) {
        self.log.add(format!("{}{line}", self.name));
    }

    /// Sends a request without waiting; the xid.
    pub fn send(&mut self, op: i32, body: &[u8], label: impl Into<String>) -> i32 {
        let xid = self.next_xid.replace(self.next_xid.get() + 1);
        self.note(format!("> {}", label.into()));
        self.wire.send(xid, op, body);
        xid
    }

    /// Notes all that comes up to the reply with `xid`, an answer to `op`. `None` when the
    /// connection ends before.
    pub fn receive_reply(&mut self, op: i32, xid: i32) -> Option<Packet> {
        loop {
            let frame = match self.wire.receive() {
                Received::Frame(frame) => frame,
                Received::Closed => {
                    self.note("< closed".into());
                    return None;
                }
                Received::Nothing => panic!("{}: no reply to xid {xid}", self.name),
            };
            let packet = parse_packet(&frame);
            let line = self.log.names.borrow().packet(op, &packet);
            self.note(format!("< {line}"));
            if packet.header.xid == xid {
                return Some(packet);
            }
        }
    }

    fn call(&mut self, op: OpCode, body: &impl Jute, label: String) -> Option<Packet> {
        self.call_raw(op.as_i32(), &body.to_bytes(), label)
    }

    /// Any request at all; notes what comes up to its reply.
    pub fn call_raw(&mut self, op: i32, body: &[u8], label: impl Into<String>) -> Option<Packet> {
        let xid = self.next_xid.replace(self.next_xid.get() + 1);
        self.exchange(xid, xid, op, body, label.into())
    }

    fn exchange(
        &mut self,
        xid: i32,
        reply_xid: i32,
        op: i32,
        body: &[u8],
        label: String,
    ) -> Option<Packet> {
        self.note(format!("> {label}"));
        if let Some(burst) = &mut self.burst {
            burst.bytes.put_bytes(Some(&request_frame(xid, op, body)));
            burst.awaited.push((op, reply_xid));
            return None;
        }
        self.wire.send(xid, op, body);
        self.receive_reply(op, reply_xid)
    }

    /// From here on requests are collected.
    pub fn begin_burst(&mut self) {
        self.burst = Some(Burst::default());
    }

    /// Sends the collected requests in one write, then notes all that comes up to the last reply.
    /// The codes of the replies.
    pub fn end_burst(&mut self) -> Vec<i32> {
        let burst = self.burst.take().expect("a burst");
        self.wire.send_raw(&burst.bytes);
        let replies = burst.awaited.into_iter().map(|(op, xid)| self.receive_reply(op, xid));
        replies.map_while(|reply| reply.map(|packet| packet.header.err)).collect()
    }

    /// A request with an xid of the caller's choice, to be answered with `reply_xid`.
    pub fn call_xid(
        &mut self,
        xid: i32,
        reply_xid: i32,
        op: OpCode,
        body: &[u8],
    ) -> Option<Packet> {
        self.exchange(xid, reply_xid, op.as_i32(), body, format!("{} as xid {xid}", op.name()))
    }

    /// Notes that nothing comes any more but the end.
    pub fn expect_closed(&mut self) {
        let line = match self.wire.receive() {
            Received::Closed => "closed".into(),
            Received::Frame(frame) => format!("not closed but {frame:02x?}"),
            Received::Nothing => "not closed".into(),
        };
        self.note(format!("< {line}"));
    }

    /// Cuts the connection; the session stays.
    pub fn cut(&mut self) {
        self.note(": cut".into());
        self.wire.cut();
    }

    /// create with the open ACL.
    pub fn create(&mut self, path: &str, bytes: &str, flags: i32) -> Option<Packet> {
        self.create_acl(path, bytes, Acl::open_unsafe(), flags)
    }

    /// create.
    pub fn create_acl(
        &mut self,
        path: &str,
        bytes: &str,
        acl: Vec<Acl>,
        flags: i32,
    ) -> Option<Packet> {
        let label = format!("create {path:?} {bytes:?} {} {flags}", acl_text(&acl));
        self.call(OpCode::Create, &create(path, bytes, acl, flags), label)
    }

    /// create2 with the open ACL.
    pub fn create2(&mut self, path: &str, bytes: &str, flags: i32) -> Option<Packet> {
        let body = create(path, bytes, Acl::open_unsafe(), flags);
        self.call(OpCode::Create2, &body, format!("create2 {path:?} {bytes:?} {flags}"))
    }

    /// create with data that may be null.
    pub fn create_buffer(&mut self, path: &str, bytes: Buffer) -> Option<Packet> {
        let label = format!("create {path:?} {}", data(&bytes));
        let body =
            CreateRequest { path: path.into(), data: bytes, acl: Acl::open_unsafe(), flags: 0 };
        self.call(OpCode::Create, &body, label)
    }

    /// createContainer.
    pub fn create_container(&mut self, path: &str, flags: i32) -> Option<Packet> {
        let body = create(path, "", Acl::open_unsafe(), flags);
        self.call(OpCode::CreateContainer, &body, format!("createContainer {path:?} {flags}"))
    }

    /// createTTL.
    pub fn create_ttl(&mut self, path: &str, flags: i32, ttl: i64) -> Option<Packet> {
        let body = CreateTtlRequest {
            path: path.into(),
            data: Some(Arc::from(&b"ttl"[..])),
            acl: Acl::open_unsafe(),
            flags,
            ttl,
        };
        self.call(OpCode::CreateTtl, &body, format!("createTTL {path:?} {flags} {ttl}"))
    }

    /// delete.
    pub fn delete(&mut self, path: &str, version: i32) -> Option<Packet> {
        let body = DeleteRequest { path: path.into(), version };
        self.call(OpCode::Delete, &body, format!("delete {path:?} {version}"))
    }

    /// deleteContainer.
    pub fn delete_container(&mut self, path: &str) -> Option<Packet> {
        let body = DeleteContainerRequest { path: path.into() };
        self.call(OpCode::DeleteContainer, &body, format!("deleteContainer {path:?}"))
    }

    /// exists.
    pub fn exists(&mut self, path: &str, watch: bool) -> Option<Packet> {
        let body = ExistsRequest { path: path.into(), watch };
        self.call(OpCode::Exists, &body, format!("exists {path:?}{}", watching(watch)))
    }

    /// getData.
    pub fn get(&mut self, path: &str, watch: bool) -> Option<Packet> {
        let body = GetDataRequest { path: path.into(), watch };
        self.call(OpCode::GetData, &body, format!("getData {path:?}{}", watching(watch)))
    }

    /// setData.
    pub fn set(&mut self, path: &str, bytes: &str, version: i32) -> Option<Packet> {
        self.set_buffer(path, text(bytes), version)
    }

    /// setData with data that may be null.
    pub fn set_buffer(&mut self, path: &str, bytes: Buffer, version: i32) -> Option<Packet> {
        let label = format!("setData {path:?} {} {version}", data(&bytes));
        let body = SetDataRequest { path: path.into(), data: bytes, version };
        self.call(OpCode::SetData, &body, label)
    }

    /// getACL.
    pub fn get_acl(&mut self, path: &str) -> Option<Packet> {
        let body = GetAclRequest { path: path.into() };
        self.call(OpCode::GetAcl, &body, format!("getACL {path:?}"))
    }

    /// setACL.
    pub fn set_acl(&mut self, path: &str, acl: Vec<Acl>, version: i32) -> Option<Packet> {
        let label = format!("setACL {path:?} {} {version}", acl_text(&acl));
        self.call(OpCode::SetAcl, &SetAclRequest { path: path.into(), acl, version }, label)
    }

    /// getChildren.
    pub fn children(&mut self, path: &str, watch: bool) -> Option<Packet> {
        let body = GetChildrenRequest { path: path.into(), watch };
        self.call(OpCode::GetChildren, &body, format!("getChildren {path:?}{}", watching(watch)))
    }

    /// getChildren2.
    pub fn children2(&mut self, path: &str, watch: bool) -> Option<Packet> {
        let body = GetChildrenRequest { path: path.into(), watch };
        self.call(OpCode::GetChildren2, &body, format!("getChildren2 {path:?}{}", watching(watch)))
    }

    /// getAllChildrenNumber.
    pub fn all_children_number(&mut self, path: &str) -> Option<Packet> {
        let body = GetAllChildrenNumberRequest { path: path.into() };
        self.call(OpCode::GetAllChildrenNumber, &body, format!("getAllChildrenNumber {path:?}"))
    }

    /// getEphemerals.
    pub fn ephemerals(&mut self, prefix: &str) -> Option<Packet> {
        let body = GetEphemeralsRequest { prefix_path: Some(prefix.into()) };
        self.call(OpCode::GetEphemerals, &body, format!("getEphemerals {prefix:?}"))
    }

    /// sync.
    pub fn sync(&mut self, path: &str) -> Option<Packet> {
        let body = SyncRequest { path: Some(path.into()) };
        self.call(OpCode::Sync, &body, format!("sync {path:?}"))
    }

    /// whoAmI.
    pub fn who_am_i(&mut self) -> Option<Packet> {
        self.call_raw(OpCode::WhoAmI.as_i32(), &[], "whoAmI")
    }

    /// ping: also collects the events that came before its reply.
    pub fn ping(&mut self) -> Option<Packet> {
        self.call_xid(-2, -2, OpCode::Ping, &[])
    }

    /// auth.
    pub fn auth(&mut self, scheme: &str, token: &str) -> Option<Packet> {
        let body = AuthPacket { op: 0, scheme: scheme.into(), auth: text(token) };
        self.note(format!("> auth {scheme} {token}"));
        self.wire.send(-4, OpCode::Auth.as_i32(), &body.to_bytes());
        self.receive_reply(OpCode::Auth.as_i32(), -4)
    }

    /// addWatch.
    pub fn add_watch(&mut self, path: &str, mode: i32) -> Option<Packet> {
        let body = AddWatchRequest { path: path.into(), mode };
        self.call(OpCode::AddWatch, &body, format!("addWatch {path:?} {mode}"))
    }

    /// multi.
    pub fn multi(&mut self, ops: Vec<MultiOp>) -> Option<Packet> {
        let label = format!("multi {}", names(&ops));
        self.call(OpCode::Multi, &MultiOperationRecord { ops }, label)
    }

    /// multiRead.
    pub fn multi_read(&mut self, ops: Vec<MultiOp>) -> Option<Packet> {
        let label = format!("multiRead {}", names(&ops));
        self.call(OpCode::MultiRead, &MultiOperationRecord { ops }, label)
    }

    /// closeSession; notes the reply and the end of the connection.
    pub fn close(&mut self) {
        let reply = self.call_raw(OpCode::CloseSession.as_i32(), &[], "closeSession");
        if reply.is_some() {
            self.expect_closed();
        }
    }
}

fn names(ops: &[MultiOp]) -> String {
    let names: Vec<String> =
        ops.iter().map(|op| format!("{} {:?}", op.op_code().name(), op.path())).collect();
    names.join(", ")
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|text| (*text).to_owned()).collect()
}

fn watching(watch: bool) -> &'static str {
    if watch { " watching" } else { "" }
}

/// A buffer with text.
pub fn text(bytes: &str) -> Buffer {
    Some(Arc::from(bytes.as_bytes()))
}

/// A create request.
pub fn create(path: &str, bytes: &str, acl: Vec<Acl>, flags: i32) -> CreateRequest {
    CreateRequest { path: path.into(), data: text(bytes), acl, flags }
}

/// create in a multi, with the open ACL.
pub fn op_create(path: &str, flags: i32) -> MultiOp {
    MultiOp::Create(create(path, "m", Acl::open_unsafe(), flags))
}

/// create2 in a multi, with the open ACL.
pub fn op_create2(path: &str, flags: i32) -> MultiOp {
    MultiOp::Create2(create(path, "m", Acl::open_unsafe(), flags))
}

/// delete in a multi.
pub fn op_delete(path: &str, version: i32) -> MultiOp {
    MultiOp::Delete(DeleteRequest { path: path.into(), version })
}

/// setData in a multi.
pub fn op_set(path: &str, bytes: &str, version: i32) -> MultiOp {
    MultiOp::SetData(SetDataRequest { path: path.into(), data: text(bytes), version })
}

/// check in a multi.
pub fn op_check(path: &str, version: i32) -> MultiOp {
    MultiOp::Check(CheckVersionRequest { path: path.into(), version })
}

/// getData in a multiRead.
pub fn op_get(path: &str) -> MultiOp {
    MultiOp::GetData(GetDataRequest { path: path.into(), watch: false })
}

/// getChildren in a multiRead.
pub fn op_children(path: &str) -> MultiOp {
    MultiOp::GetChildren(GetChildrenRequest { path: path.into(), watch: false })
}

/// A string and an int: the body of delete, check and their like.
pub fn string_and_int(text: &str, value: i32) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.put_str(text);
    bytes.put_i32(value);
    bytes
}
