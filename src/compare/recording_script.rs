//! A recording as a [`Script`]: what its clients did, in an order that every server can be taken
//! through.
//!
//! What stays as it was recorded: each connection's requests with their xids, what one connection did
//! behind what had come on another, pipelining within a connection (a request that was sent before
//! the reply to the last one goes out together with it), words, garbage, and how connections ended.
//! What changes: connections take turns, so that no two servers can order their writes differently; a
//! session that is taken again is the one that the replay has made; zxids in requests are counted in
//! the transactions that the recording shows, so they never lie ahead of a server that has seen less.
//!
//! Events that a recorded write explains need no waiting for: they precede every later reply on their
//! connection. For the others (of expired sessions, of containers that were reaped) the script waits.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::time::Duration;

use super::recording::{Kind, Record};
use super::script::{Action, Call, Hello, Moment, Passwd, Request, Script, Step};
use super::transcript::{Seen, Transcript};
use crate::client::{EVENT_XID, NO_SESSION};
use crate::jute::{Input, Jute};
use crate::proto::OpCode;
use crate::proto::messages::{ConnectRequest, ConnectResponse, ReplyHeader, RequestHeader};

/// So many requests go out together at most, and so many bytes.
const WINDOW_MAX: usize = 256;
const WINDOW_BYTES_MAX: usize = 128 * 1024;
/// How much longer than recorded an event may take that only time brings.
const EVENT_SLACK: Duration = Duration::from_secs(15);

/// What a recording was turned into.
#[derive(Debug, Default)]
pub struct Replay {
    /// The steps, connections named `c1`, `c2` …
    pub script: Script,
    /// Connections that were recorded.
    pub connections: usize,
    /// What could not be taken over, in words.
    pub left_out: Vec<String>,
    /// The error codes that were recorded, by connection and xid, in order.
    pub answers: BTreeMap<(String, i32), Vec<i32>>,
}

impl Replay {
    /// How many replies have the error code that was recorded, of how many that were recorded. A
    /// replay that begins with another tree than the recording has other answers.
    pub fn as_recorded(&self, transcript: &Transcript) -> (usize, usize) {
        let mut given: BTreeMap<(String, i32), Vec<i32>> = BTreeMap::new();
        for entry in &transcript.entries {
            if let Seen::Packet(reply) = &entry.seen
                && reply.header.xid != EVENT_XID
            {
                let key = (entry.who.to_string(), reply.header.xid);
                given.entry(key).or_default().push(reply.header.err);
            }
        }
        let same = self.answers.iter().map(|(key, recorded)| {
            let given = given.get(key).map_or(&[][..], Vec::as_slice);
            recorded.iter().zip(given).filter(|(one, other)| one == other).count()
        });
        (same.sum(), self.answers.values().map(Vec::len).sum())
    }
}

/// Turns records into a script. Stops at the first error of the reader.
pub fn replay_of(records: impl IntoIterator<Item = io::Result<Record>>) -> io::Result<Replay> {
    let mut maker = Maker::default();
    for record in records {
        maker.take(record?);
    }
    Ok(maker.finish())
}

/// A connection of the recording.
#[derive(Default)]
struct Connection {
    stage: Stage,
    /// Requests that go out together, not in the script yet.
    window: Vec<Call>,
    window_bytes: usize,
    /// One of them was answered: the next request is another window's.
    is_answered: bool,
    /// Operations by xid that were not answered yet, in order.
    waiting: Vec<(i32, i32)>,
    /// Events since the last reply.
    unread: usize,
    /// The connect request was for a session that was there before.
    is_old: bool,
}

#[derive(Default, PartialEq)]
enum Stage {
    /// Nothing was sent.
    #[default]
    New,
    /// The connect request was sent.
    Greeted,
    /// Connected.
    Open,
    /// A word: all of it is one step.
    Word,
    /// Bytes without sense were sent.
    Raw,
    /// Over, or never there for the script.
    Ended,
}

#[derive(Default)]
struct Maker {
    steps: Vec<Step>,
    connections: BTreeMap<u64, Connection>,
    /// The connection with requests that are not in the script yet.
    writing: Option<u64>,
    /// Sessions by the connection that had them last.
    sessions: BTreeMap<i64, u64>,
    passwords: BTreeMap<i64, [u8; 16]>,
    zxids: Zxids,
    /// When the last request was sent, in microseconds.
    acted_us: u64,
    left_out: Vec<String>,
    answers: BTreeMap<(String, i32), Vec<i32>>,
}

/// Translates zxids into numbers of transactions behind the first session.
#[derive(Default)]
struct Zxids {
    has_begun: bool,
    transactions: i64,
    /// Zxids of replies, and the number of transactions that were seen by then.
    known: BTreeMap<i64, i64>,
    /// Zxids of replies to writes.
    of_writes: BTreeSet<i64>,
}

impl Zxids {
    fn session_was_made(&mut self) {
        // The first one is where the counting begins.
        if self.has_begun {
            self.transactions += 1;
        }
        self.has_begun = true;
    }

    fn reply(&mut self, zxid: i64, is_transaction: bool) {
        if zxid <= 0 {
            return;
        }
        if is_transaction && self.of_writes.insert(zxid) {
            self.transactions += 1;
        }
        self.known.entry(zxid).or_insert(self.transactions);
    }

    fn moment(&self, zxid: i64) -> Moment {
        if zxid <= 0 {
            return Moment::Absolute(zxid);
        }
        // What the recording does not know happened before it.
        match self.known.range(..=zxid).next_back() {
            Some((_, transactions)) => Moment::Relative(*transactions),
            None => Moment::Absolute(0),
        }
    }
}

impl Maker {
    fn take(&mut self, record: Record) {
        let id = record.connection;
        let stage = &self.connections.entry(id).or_default().stage;
        match (record.kind, stage) {
            (Kind::Opened | Kind::ServerBytes, _) | (_, Stage::Ended | Stage::Word) => {}
            (Kind::ClientFrame, Stage::New) => self.greet(id, &record),
            (Kind::ClientFrame, _) => self.request(id, &record),
            (Kind::ClientBytes, Stage::New) if is_word(&record.payload) => {
                self.acted_us = record.at_us;
                let word = String::from_utf8_lossy(&record.payload).into_owned();
                self.step(id, Action::Word(word));
                self.connection(id).stage = Stage::Word;
            }
            (Kind::ClientBytes, _) => {
                self.acted_us = record.at_us;
                self.raw(id, record.payload);
            }
            (Kind::ServerFrame, Stage::Greeted) => self.connected(id, &record.payload),
            (Kind::ServerFrame, _) => self.answer(id, &record),
            (Kind::ServerClosed, _) => self.ended(id, false),
            (Kind::ClientClosed, _) => self.ended(id, true),
        }
    }

    fn connection(&mut self, id: u64) -> &mut Connection {
        self.connections.entry(id).or_default()
    }

    /// Adds a step, behind the requests that wait.
    fn step(&mut self, id: u64, action: Action) {
        self.flush();
        self.steps.push(Step::new(&name(id), action));
    }

    /// Puts the waiting requests into the script.
    fn flush(&mut self) {
        let Some(id) = self.writing.take() else { return };
        let connection = self.connection(id);
        let mut calls = std::mem::take(&mut connection.window);
        connection.window_bytes = 0;
        connection.is_answered = false;
        if let Some((_, before)) = calls.split_last_mut() {
            before.iter_mut().for_each(|call| call.is_joined = true);
        }
        let who = name(id);
        self.steps.extend(calls.into_iter().map(|call| Step::new(&who, Action::Send(call))));
    }

    fn greet(&mut self, id: u64, record: &Record) {
        self.acted_us = record.at_us;
        let mut input = Input::unbounded(&record.payload);
        let Ok(request) = ConnectRequest::decode(&mut input) else {
            return self.raw_frame(id, &record.payload);
        };
        let mut hello = Hello::new(request.timeout_ms);
        hello.protocol = request.protocol_version;
        hello.last_zxid = self.zxids.moment(request.last_zxid_seen);
        hello.read_only = request.read_only;
        hello.more = input.rest().to_vec();
        let from = self.sessions.get(&request.session_id).copied();
        let right = self.passwords.get(&request.session_id).copied().unwrap_or_default();
        if request.passwd.as_deref() != Some(&right[..]) {
            hello.passwd = Passwd::Bytes(request.passwd);
        }
        let connection = self.connection(id);
        connection.stage = Stage::Greeted;
        connection.is_old = request.session_id != NO_SESSION;
        match from {
            _ if request.session_id == NO_SESSION => self.step(id, Action::Open(hello)),
            Some(from) => self.step(id, Action::Take { from: name(from), hello }),
            None => {
                hello.session = Some(request.session_id);
                self.step(id, Action::Open(hello));
            }
        }
    }

    fn connected(&mut self, id: u64, payload: &[u8]) {
        let response = ConnectResponse::decode(&mut Input::unbounded(payload)).ok();
        let session = response
            .filter(|response| response.session_id != NO_SESSION)
            .map(|response| (response.session_id, response.passwd));
        // A refused session has ended, in the script as well.
        self.connection(id).stage = if session.is_some() { Stage::Open } else { Stage::Ended };
        let Some((session, passwd)) = session else { return };
        self.sessions.insert(session, id);
        if !self.connection(id).is_old {
            self.zxids.session_was_made();
        }
        self.passwords.insert(session, passwd);
    }

    fn request(&mut self, id: u64, record: &Record) {
        self.acted_us = record.at_us;
        let mut input = Input::unbounded(&record.payload);
        let Ok(header) = RequestHeader::decode(&mut input) else {
            return self.raw_frame(id, &record.payload);
        };
        if *self.stage(id) != Stage::Open {
            return self.raw_frame(id, &record.payload);
        }
        let request = self.decode(header.op, input.rest());
        // Its reply may overtake others, so it is sent by itself.
        let is_alone = matches!(request, Request::Auth { .. });
        let connection = self.connection(id);
        let is_full = connection.window.len() >= WINDOW_MAX
            || connection.window_bytes.saturating_add(record.payload.len()) > WINDOW_BYTES_MAX;
        let is_next = is_alone || is_full || connection.is_answered;
        if is_next || self.writing != Some(id) {
            self.flush();
        }
        let call = Call { xid: Some(header.xid), ..Call::new(request) };
        let connection = self.connection(id);
        connection.waiting.push((header.xid, header.op));
        connection.window.push(call);
        connection.window_bytes = connection.window_bytes.saturating_add(record.payload.len());
        self.writing = Some(id);
        if is_alone {
            self.flush();
        }
    }

    fn stage(&mut self, id: u64) -> &Stage {
        &self.connection(id).stage
    }

    fn answer(&mut self, id: u64, record: &Record) {
        let Ok(header) = ReplyHeader::decode(&mut Input::unbounded(&record.payload)) else {
            return;
        };
        if header.xid == EVENT_XID {
            return self.event(id, header.zxid, record.at_us);
        }
        let connection = self.connection(id);
        connection.is_answered = true;
        connection.unread = 0;
        let at = connection.waiting.iter().position(|(xid, _)| *xid == header.xid);
        let op = at.map(|at| connection.waiting.remove(at).1).unwrap_or_default();
        self.answers.entry((name(id), header.xid)).or_default().push(header.err);
        self.zxids.reply(header.zxid, makes_transaction(op));
    }

    fn event(&mut self, id: u64, zxid: i64, at_us: u64) {
        let connection = self.connection(id);
        connection.unread += 1;
        let waited = Duration::from_micros(at_us.saturating_sub(self.acted_us));
        // Servers before 3.9 do not say which transaction it was: then the time tells.
        let is_explained = match zxid {
            1.. => self.zxids.of_writes.contains(&zxid),
            _ => waited < Duration::from_millis(200),
        };
        // The reply to the write may come a moment later, on another connection.
        if is_explained || waited < Duration::from_millis(20) {
            return;
        }
        let limit = waited.saturating_add(EVENT_SLACK);
        let unread = std::mem::take(&mut self.connection(id).unread);
        for _ in 0..unread {
            self.step(id, Action::Event(limit));
        }
    }

    fn ended(&mut self, id: u64, by_client: bool) {
        let has_acted = *self.stage(id) != Stage::New;
        let was_greeted = *self.stage(id) == Stage::Greeted;
        self.connection(id).stage = Stage::Ended;
        if !has_acted {
            self.left_out.push(format!("connection {id}: nothing was sent"));
        } else if was_greeted {
            // The script waits for the answer, or for the end that came in its place.
        } else {
            if by_client {
                self.step(id, Action::Half);
            }
            self.step(id, Action::Ends);
        }
    }

    fn raw_frame(&mut self, id: u64, payload: &[u8]) {
        self.raw(id, crate::client::frame(payload));
    }

    fn raw(&mut self, id: u64, bytes: Vec<u8>) {
        if *self.stage(id) == Stage::New {
            self.connection(id).stage = Stage::Raw;
        }
        self.step(id, Action::Raw(bytes));
    }

    /// The request, with what a setWatches has seen counted in transactions.
    fn decode(&self, op: i32, body: &[u8]) -> Request {
        let mut request = Request::from_wire(op, body);
        if let Request::SetWatches(at) | Request::SetWatches2(at) = &mut request
            && let Moment::Absolute(zxid) = at.since
        {
            at.since = self.zxids.moment(zxid);
        }
        request
    }

    fn finish(mut self) -> Replay {
        self.flush();
        Replay {
            script: Script { steps: self.steps },
            connections: self.connections.len(),
            left_out: self.left_out,
            answers: self.answers,
        }
    }
}

fn name(connection: u64) -> String {
    format!("c{connection}")
}

/// As `FourLetterWordMain`, `nc` and `telnet` send it.
fn is_word(bytes: &[u8]) -> bool {
    let word = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    let word = word.strip_suffix(b"\r").unwrap_or(word);
    word.len() == 4 && word.iter().all(u8::is_ascii_lowercase)
}

/// True for requests whose reply carries the zxid of a transaction of their own, a failed one too.
fn makes_transaction(op: i32) -> bool {
    let op = OpCode::from_i32(op);
    op.is_some_and(|op| op.is_change() || op == OpCode::CloseSession)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::messages::{
        AuthPacket, ExistsRequest, SetDataRequest, SetWatches, WatcherEvent,
    };

    /// A recording that is told in few words.
    #[derive(Default)]
    struct Tale {
        records: Vec<Record>,
        now_us: u64,
    }

    impl Tale {
        fn add(mut self, connection: u64, kind: Kind, payload: Vec<u8>) -> Tale {
            self.now_us += 1000;
            self.records.push(Record { kind, connection, at_us: self.now_us, payload });
            self
        }

        fn later(mut self, ms: u64) -> Tale {
            self.now_us += ms * 1000;
            self
        }

        /// A connect request and its answer.
        fn connect(self, connection: u64, asked: i64, last_zxid: i64, session: i64) -> Tale {
            let passwd = [if asked == 0 { 0 } else { asked as u8 }; 16];
            let request = ConnectRequest {
                last_zxid_seen: last_zxid,
                session_id: asked,
                passwd: Some(passwd.into()),
                ..crate::client::new_session_request(20_000)
            };
            let response = ConnectResponse {
                protocol_version: 0,
                timeout_ms: 20_000,
                session_id: session,
                passwd: [session as u8; 16],
                read_only: Some(false),
            };
            self.add(connection, Kind::Opened, vec![])
                .add(connection, Kind::ClientFrame, request.to_bytes())
                .add(connection, Kind::ServerFrame, response.to_bytes())
        }

        fn send(self, connection: u64, xid: i32, op: OpCode, record: &impl Jute) -> Tale {
            let mut bytes = RequestHeader { xid, op: op.as_i32() }.to_bytes();
            record.encode(&mut bytes);
            self.add(connection, Kind::ClientFrame, bytes)
        }

        fn set(self, connection: u64, xid: i32) -> Tale {
            let request = SetDataRequest { path: "/t".into(), data: None, version: -1 };
            self.send(connection, xid, OpCode::SetData, &request)
        }

        fn exists(self, connection: u64, xid: i32) -> Tale {
            let request = ExistsRequest { path: "/t".into(), watch: true };
            self.send(connection, xid, OpCode::Exists, &request)
        }

        fn reply(self, connection: u64, xid: i32, zxid: i64) -> Tale {
            let header = ReplyHeader { xid, zxid, err: -101 };
            self.add(connection, Kind::ServerFrame, header.to_bytes())
        }

        fn event(self, connection: u64, zxid: i64) -> Tale {
            let mut bytes = ReplyHeader { xid: -1, zxid, err: 0 }.to_bytes();
            WatcherEvent { event_type: 3, state: 3, path: "/t".into() }.encode(&mut bytes);
            self.add(connection, Kind::ServerFrame, bytes)
        }

        #[track_caller]
        fn check(self, script: &str) {
            let replay = replay_of(self.records.into_iter().map(Ok)).unwrap();
            let lines: Vec<String> = replay.script.steps.iter().map(ToString::to_string).collect();
            let expected: Vec<&str> = script.lines().map(str::trim).collect();
            assert_eq!(lines, expected);
            // What is printed can be run.
            assert_eq!(replay.script.to_string().parse(), Ok(replay.script));
        }
    }

    #[test]
    fn pipelines_stay_and_connections_take_turns() {
        Tale::default()
            .connect(1, 0, 0, 7)
            .connect(2, 0, 0, 8)
            .set(1, 1)
            .set(1, 2)
            .reply(1, 1, 3)
            .set(1, 3)
            .set(2, 1)
            .set(1, 4)
            .check(
                "c1 open 20000
                c2 open 20000
                c1 xid=1 setData \"/t\" null -1 &
                c1 xid=2 setData \"/t\" null -1
                c1 xid=3 setData \"/t\" null -1
                c2 xid=1 setData \"/t\" null -1
                c1 xid=4 setData \"/t\" null -1",
            );
    }

    #[test]
    fn a_session_that_is_taken_again_is_that_of_the_replay() {
        Tale::default()
            .connect(1, 0, 0, 7)
            .set(1, 1)
            .reply(1, 1, 90)
            .set(1, 2)
            .reply(1, 2, 95)
            .add(1, Kind::ClientClosed, vec![])
            .add(1, Kind::ServerClosed, vec![])
            .connect(2, 7, 95, 7)
            .connect(3, 99, 50, 0)
            .check(
                "c1 open 20000
                c1 xid=1 setData \"/t\" null -1
                c1 xid=2 setData \"/t\" null -1
                c1 half
                c1 ends
                c2 take c1 zxid=+2
                c3 open 20000 session=0x63 passwd=hex:63636363636363636363636363636363",
            );
    }

    #[test]
    fn zxids_of_requests_count_the_transactions_of_the_recording() {
        let watches = SetWatches {
            relative_zxid: 94,
            data_watches: vec!["/t".into()],
            exist_watches: vec![],
            child_watches: vec![],
        };
        Tale::default()
            .connect(1, 0, 0, 7)
            .set(1, 1)
            .reply(1, 1, 90)
            .exists(1, 2)
            .reply(1, 2, 94)
            .connect(2, 0, 0, 8)
            .set(1, 3)
            .reply(1, 3, 96)
            .send(2, -8, OpCode::SetWatches, &watches)
            .check(
                "c1 open 20000
                c1 xid=1 setData \"/t\" null -1
                c1 xid=2 exists \"/t\" watch
                c2 open 20000
                c1 xid=3 setData \"/t\" null -1
                c2 xid=-8 setWatches +1 [\"/t\"] [] []",
            );
    }

    #[test]
    fn only_events_that_time_brings_are_waited_for() {
        Tale::default()
            .connect(1, 0, 0, 7)
            .connect(2, 0, 0, 8)
            .exists(1, 1)
            .reply(1, 1, 2)
            .set(2, 1)
            .event(1, 3)
            .reply(2, 1, 3)
            .later(900)
            .event(1, 3)
            .later(4100)
            .event(1, 9)
            .check(
                "c1 open 20000
                c2 open 20000
                c1 xid=1 exists \"/t\" watch
                c2 xid=1 setData \"/t\" null -1
                c1 event 20004
                c1 event 20004
                c1 event 20004",
            );
    }

    #[test]
    fn words_garbage_and_ends_are_taken_over() {
        Tale::default()
            .add(1, Kind::Opened, vec![])
            .add(1, Kind::ClientBytes, b"mntr\n".to_vec())
            .add(1, Kind::ServerBytes, b"zk_...".to_vec())
            .add(1, Kind::ServerClosed, vec![])
            .add(1, Kind::ClientClosed, vec![])
            .connect(2, 0, 0, 7)
            .add(2, Kind::ClientFrame, vec![1, 2, 3])
            .add(2, Kind::ServerClosed, vec![])
            .add(2, Kind::ClientClosed, vec![])
            .add(3, Kind::ClientBytes, b"\xff\xff\xff\xff".to_vec())
            .add(3, Kind::ServerClosed, vec![])
            .add(4, Kind::Opened, vec![])
            .add(4, Kind::ClientClosed, vec![])
            .check(
                "c1 word \"mntr\\n\"
                c2 open 20000
                c2 raw hex:00000003010203
                c2 ends
                c3 raw hex:ffffffff
                c3 ends",
            );
    }

    #[test]
    fn auth_is_sent_by_itself_and_odd_requests_as_their_bytes() {
        let auth = AuthPacket { op: 0, scheme: "digest".into(), auth: Some(b"u:p"[..].into()) };
        Tale::default()
            .connect(1, 0, 0, 7)
            .set(1, 1)
            .send(1, -4, OpCode::Auth, &auth)
            .set(1, 2)
            .send(1, 3, OpCode::Exists, &7i32)
            .send(1, 4, OpCode::CreateSession, &7i32)
            .check(
                "c1 open 20000
                c1 xid=1 setData \"/t\" null -1
                c1 xid=-4 auth \"digest\" \"u:p\"
                c1 xid=2 setData \"/t\" null -1 &
                c1 xid=3 op 3 hex:00000007 &
                c1 xid=4 op -10 hex:00000007",
            );
    }

    #[test]
    fn large_windows_are_cut() {
        let mut tale = Tale::default().connect(1, 0, 0, 7);
        for xid in 0..(WINDOW_MAX as i32 + 10) {
            tale = tale.set(1, xid);
        }
        let replay = replay_of(tale.records.into_iter().map(Ok)).unwrap();
        let single = |step: &&Step| matches!(&step.action, Action::Send(call) if !call.is_joined);
        assert_eq!(replay.script.steps.iter().filter(single).count(), 2);
    }
}
