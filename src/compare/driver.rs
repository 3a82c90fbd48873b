//! Takes the steps of a script against one server and notes all that comes.
//!
//! Deterministic across sessions: before another session acts, all replies of a step have come, and
//! with them every event that precedes them.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::script::{Action, Call, Hello, Passwd, Request, Script, Step};
use super::transcript::{Entry, Seen, Transcript};
use super::wire::{Received, Wire, framed_request, old_session};
use crate::client::{Reply, four_letter_word, frame, new_session_request};
use crate::jute::{Input, Jute};
use crate::proto::OpCode;
use crate::proto::messages::{ConnectRequest, ConnectResponse, ReplyHeader};

/// Longest wait for anything that a healthy server does at once.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// A script under way against one server.
pub struct Driver {
    addr: SocketAddr,
    peers: HashMap<Arc<str>, Peer>,
    /// Sessions that have to be closed in the end.
    opened: Vec<(i64, [u8; 16])>,
    joined: Joined,
    step: usize,
    transcript: Transcript,
}

struct Peer {
    /// `None` once the connection has ended.
    wire: Option<Wire>,
    session: Option<(i64, [u8; 16])>,
    next_xid: i32,
}

/// Requests that wait to be sent together.
#[derive(Default)]
struct Joined {
    who: Option<Arc<str>>,
    bytes: Vec<u8>,
    awaited: Vec<Awaited>,
}

#[derive(Clone, Copy)]
struct Awaited {
    op: i32,
    xid: i32,
    step: usize,
    is_write: bool,
}

impl Driver {
    /// Nothing is sent yet.
    pub fn new(addr: SocketAddr) -> Driver {
        Driver {
            addr,
            peers: HashMap::new(),
            opened: Vec::new(),
            joined: Joined::default(),
            step: 0,
            transcript: Transcript::default(),
        }
    }

    /// From here on zxids are masked; at the beginning it also saves the ping that asks for the first.
    pub fn hide_zxids(&mut self) {
        self.transcript.names.hides_zxids = true;
    }

    /// For what is added to it from elsewhere.
    pub fn transcript_mut(&mut self) -> &mut Transcript {
        &mut self.transcript
    }

    /// The session of a peer: its id and password.
    pub fn session(&self, who: &str) -> Option<(i64, [u8; 16])> {
        self.peers.get(who).and_then(|peer| peer.session)
    }

    /// Takes all steps of a script.
    pub fn play(&mut self, script: &Script) {
        for step in &script.steps {
            self.step(step);
        }
    }

    fn step(&mut self, step: &Step) {
        let who: Arc<str> = Arc::from(&*step.who);
        let goes_on =
            matches!(step.action, Action::Send(_)) && self.joined.who.as_ref() == Some(&who);
        if !goes_on {
            self.flush();
        }
        match &step.action {
            Action::Open(hello) => self.open(&who, hello, None),
            Action::Take { from, hello } => {
                let session = self.session(from);
                // Its events might be lost with its connection.
                self.ping(from);
                match session {
                    Some(session) => self.open(&who, hello, Some(session)),
                    None => self.note(&who, Seen::Gone),
                }
            }
            Action::Send(call) => self.send(&who, call),
            Action::Raw(bytes) => self.raw(&who, bytes),
            Action::Receive => self.receive(&who, PATIENCE),
            Action::Ends => self.ends(&who),
            Action::Event(limit) => self.receive(&who, *limit),
            Action::Cut => {
                if let Some(mut wire) = self.take_wire(&who) {
                    wire.cut();
                }
            }
            Action::Reset => {
                if let Some(wire) = self.take_wire(&who) {
                    wire.reset();
                }
            }
            Action::Half => {
                if let Some(wire) = self.wire(&who) {
                    wire.half_close();
                }
            }
            Action::Word(word) => {
                self.transcript.operations += 1;
                let seen = match four_letter_word(self.addr, word, PATIENCE) {
                    Ok(text) => Seen::Answer { word: word.clone(), text },
                    Err(error) => Seen::Broken(error.to_string()),
                };
                self.note(&who, seen);
            }
            Action::Wait(time) => std::thread::sleep(*time),
        }
        self.step += 1;
    }

    /// Collects what is still on its way to each session.
    pub fn collect(&mut self) {
        self.flush();
        for who in self.open_names() {
            self.ping(&who);
        }
    }

    /// Closes all sessions and hands over the transcript.
    pub fn finish(mut self) -> Transcript {
        self.flush();
        for who in self.open_names() {
            self.close(&who);
        }
        self.close_the_rest();
        self.transcript
    }

    fn open_names(&self) -> Vec<Arc<str>> {
        let mut names: Vec<Arc<str>> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.wire.is_some() && peer.session.is_some())
            .map(|(name, _)| Arc::clone(name))
            .collect();
        names.sort();
        names
    }

    fn close(&mut self, who: &str) {
        let Some(peer) = self.peers.get_mut(who) else { return };
        let (Some(mut wire), Some((id, _))) = (peer.wire.take(), peer.session) else { return };
        let xid = peer.next_xid;
        if wire.send(&framed_request(xid, OpCode::CloseSession.as_i32(), &[])).is_ok() {
            while let Received::Frame(frame) = wire.receive(PATIENCE) {
                let is_answer = frame.first_chunk::<4>() == Some(&xid.to_be_bytes());
                if is_answer {
                    self.opened.retain(|(open, _)| *open != id);
                    break;
                }
            }
        }
    }

    fn close_the_rest(&mut self) {
        for (id, passwd) in std::mem::take(&mut self.opened) {
            let Ok(mut wire) = Wire::open(self.addr, PATIENCE) else { return };
            let hello = old_session(id, &passwd, 4000);
            if wire.send(&frame(&hello.to_bytes())).is_err() {
                continue;
            }
            let Received::Frame(answer) = wire.receive(PATIENCE) else { continue };
            let is_open = ConnectResponse::decode(&mut Input::unbounded(&answer))
                .is_ok_and(|response| response.session_id != 0);
            let close = framed_request(1, OpCode::CloseSession.as_i32(), &[]);
            if is_open && wire.send(&close).is_ok() {
                while let Received::Frame(_) = wire.receive(PATIENCE) {}
            }
        }
    }

    fn note(&mut self, who: &str, seen: Seen) {
        let step = self.step;
        self.add(who, step, 0, seen);
    }

    fn add(&mut self, who: &str, answers: usize, op: i32, seen: Seen) {
        let entry = Entry { step: self.step, who: Arc::from(who), answers, op, seen };
        self.transcript.entries.push(entry);
    }

    fn wire(&mut self, who: &str) -> Option<&mut Wire> {
        self.peers.get_mut(who)?.wire.as_mut()
    }

    fn take_wire(&mut self, who: &str) -> Option<Wire> {
        self.peers.get_mut(who)?.wire.take()
    }

    fn ping(&mut self, who: &str) {
        if self.wire(who).is_some() && self.session(who).is_some() {
            self.send(&Arc::from(who), &Call::new(Request::Ping));
        }
    }

    fn open(&mut self, who: &Arc<str>, hello: &Hello, taken: Option<(i64, [u8; 16])>) {
        self.transcript.operations += 1;
        let mut wire = match Wire::open(self.addr, PATIENCE) {
            Ok(wire) => wire,
            Err(error) => return self.note(who, Seen::Broken(error.to_string())),
        };
        let request = self.connect_request(hello, taken);
        let mut bytes = request.to_bytes();
        bytes.extend_from_slice(&hello.more);
        if let Err(error) = wire.send(&frame(&bytes)) {
            return self.note(who, Seen::Broken(error.to_string()));
        }
        let answer = match wire.receive(PATIENCE) {
            Received::Frame(answer) => answer,
            other => return self.note(who, unframed(other)),
        };
        let response = ConnectResponse::decode(&mut Input::unbounded(&answer)).ok();
        let session = response
            .filter(|response| response.session_id != 0)
            .map(|response| (response.session_id, response.passwd));
        if let Some((id, _)) = session {
            let names = &mut self.transcript.names;
            if !names.order.contains(&id) {
                names.order.push(id);
                names.sessions.insert(id, who.to_string());
            }
        }
        self.note(who, Seen::Connected(answer));
        let Some(session) = session else {
            let end = unframed(wire.receive(PATIENCE));
            return self.note(who, end);
        };
        self.opened.retain(|(id, _)| *id != session.0);
        self.opened.push(session);
        let names = &self.transcript.names;
        if names.base_zxid.is_none() && !names.hides_zxids {
            self.transcript.names.base_zxid = self.first_zxid(&mut wire);
        }
        let peer = Peer { wire: Some(wire), session: Some(session), next_xid: 1 };
        self.peers.insert(Arc::clone(who), peer);
    }

    /// Asked for with a ping that is not noted.
    fn first_zxid(&self, wire: &mut Wire) -> Option<i64> {
        wire.send(&framed_request(-2, OpCode::Ping.as_i32(), &[])).ok()?;
        match wire.receive(PATIENCE) {
            Received::Frame(frame) => Some(parse(frame).ok()?.header.zxid),
            _ => None,
        }
    }

    fn connect_request(&self, hello: &Hello, taken: Option<(i64, [u8; 16])>) -> ConnectRequest {
        let base = self.transcript.names.base_zxid.unwrap_or_default();
        let (id, right) = taken.unwrap_or_default();
        ConnectRequest {
            protocol_version: hello.protocol,
            last_zxid_seen: hello.last_zxid.zxid(base),
            session_id: hello.session.unwrap_or(id),
            passwd: match &hello.passwd {
                Passwd::Right => Some(Arc::from(right)),
                Passwd::Wrong => {
                    let mut wrong = right;
                    if let Some(first) = wrong.first_mut() {
                        *first ^= 1;
                    }
                    Some(Arc::from(wrong))
                }
                Passwd::Bytes(bytes) => bytes.clone(),
            },
            read_only: hello.read_only,
            ..new_session_request(hello.timeout_ms)
        }
    }

    fn send(&mut self, who: &Arc<str>, call: &Call) {
        self.transcript.operations += 1;
        let base = self.transcript.names.base_zxid.unwrap_or_default();
        let Some(peer) = self.peers.get_mut(who).filter(|peer| peer.wire.is_some()) else {
            return self.note(who, Seen::Gone);
        };
        let op = call.request.op();
        let xid = call.xid.or(call.request.fixed_xid()).unwrap_or_else(|| {
            let xid = peer.next_xid;
            peer.next_xid = peer.next_xid.wrapping_add(1);
            xid
        });
        let reply = if op == OpCode::Ping.as_i32() { -2 } else { xid };
        self.transcript.ops.insert(self.step, op);
        self.joined.who = Some(Arc::clone(who));
        self.joined.bytes.extend(framed_request(xid, op, &call.request.body(base)));
        self.joined.awaited.push(Awaited {
            op,
            xid: call.reply.unwrap_or(reply),
            step: self.step,
            is_write: call.request.is_write(),
        });
        if !call.is_joined {
            self.flush();
        }
    }

    /// Sends what waits in one write, and reads up to the last reply.
    fn flush(&mut self) {
        let joined = std::mem::take(&mut self.joined);
        let Some(who) = joined.who else { return };
        if let Some(wire) = self.wire(&who)
            && let Err(error) = wire.send(&joined.bytes)
        {
            return self.note(&who, Seen::Broken(error.to_string()));
        }
        for awaited in joined.awaited {
            if !self.await_reply(&who, awaited) {
                break;
            }
        }
    }

    /// Notes all that comes up to the reply; false when it does not come.
    fn await_reply(&mut self, who: &Arc<str>, awaited: Awaited) -> bool {
        loop {
            let Some(wire) = self.wire(who) else { return false };
            let frame = match wire.receive(PATIENCE) {
                Received::Frame(frame) => frame,
                other => {
                    if other == Received::Closed {
                        self.take_wire(who);
                    }
                    self.add(who, awaited.step, 0, unframed(other));
                    return false;
                }
            };
            let packet = match parse(frame) {
                Ok(packet) => packet,
                Err(frame) => {
                    self.note(who, Seen::Frame(frame));
                    continue;
                }
            };
            let header = packet.header;
            let is_answer = header.xid == awaited.xid;
            if is_answer {
                if awaited.is_write && header.zxid > 0 {
                    self.transcript.ordered.insert(header.zxid);
                }
                if awaited.op == OpCode::CloseSession.as_i32() && header.err == 0 {
                    let closed = self.session(who).map(|(id, _)| id);
                    self.opened.retain(|(id, _)| Some(*id) != closed);
                }
                self.add(who, awaited.step, awaited.op, Seen::Packet(packet));
                return true;
            }
            self.note(who, Seen::Packet(packet));
        }
    }

    fn raw(&mut self, who: &Arc<str>, bytes: &[u8]) {
        self.transcript.operations += 1;
        if !self.peers.contains_key(who) {
            match Wire::open(self.addr, PATIENCE) {
                Ok(wire) => {
                    let peer = Peer { wire: Some(wire), session: None, next_xid: 1 };
                    self.peers.insert(Arc::clone(who), peer);
                }
                Err(error) => return self.note(who, Seen::Broken(error.to_string())),
            }
        }
        match self.wire(who) {
            Some(wire) => {
                if let Err(error) = wire.send(bytes) {
                    self.note(who, Seen::Broken(error.to_string()));
                }
            }
            None => self.note(who, Seen::Gone),
        }
    }

    fn receive(&mut self, who: &Arc<str>, limit: Duration) {
        let has_session = self.session(who).is_some();
        let Some(wire) = self.wire(who) else { return self.note(who, Seen::Gone) };
        let seen = match wire.receive(limit) {
            Received::Frame(frame) if has_session => match parse(frame) {
                Ok(packet) => Seen::Packet(packet),
                Err(frame) => Seen::Frame(frame),
            },
            // The first frame of a connection that said hello by hand.
            Received::Frame(frame) => {
                match ConnectResponse::decode(&mut Input::unbounded(&frame)) {
                    Ok(response) => {
                        self.adopt(who, &response);
                        Seen::Connected(frame)
                    }
                    Err(_) => Seen::Frame(frame),
                }
            }
            other => unframed(other),
        };
        if seen == Seen::Closed {
            self.take_wire(who);
        }
        self.note(who, seen);
    }

    fn adopt(&mut self, who: &Arc<str>, response: &ConnectResponse) {
        let session = (response.session_id, response.passwd);
        if session.0 == 0 {
            return;
        }
        self.opened.push(session);
        let names = &mut self.transcript.names;
        names.order.push(session.0);
        names.sessions.insert(session.0, who.to_string());
        if let Some(peer) = self.peers.get_mut(who) {
            peer.session = Some(session);
        }
    }

    fn ends(&mut self, who: &Arc<str>) {
        loop {
            let Some(wire) = self.wire(who) else { return self.note(who, Seen::Gone) };
            match wire.receive(PATIENCE) {
                Received::Frame(frame) => {
                    let seen = parse(frame).map_or_else(Seen::Frame, Seen::Packet);
                    self.note(who, seen);
                }
                other => {
                    self.take_wire(who);
                    return self.note(who, unframed(other));
                }
            }
        }
    }
}

fn unframed(received: Received) -> Seen {
    match received {
        Received::Closed => Seen::Closed,
        Received::Nothing => Seen::Nothing,
        Received::Broken(why) => Seen::Broken(why),
        Received::Frame(frame) => Seen::Frame(frame),
    }
}

/// Splits a frame into header and body; hands it back when it is too short.
fn parse(frame: Vec<u8>) -> Result<Reply, Vec<u8>> {
    let mut input = Input::unbounded(&frame);
    match ReplyHeader::decode(&mut input) {
        Ok(header) => {
            let body = input.rest().to_vec();
            Ok(Reply { header, body })
        }
        Err(_) => Err(frame),
    }
}
