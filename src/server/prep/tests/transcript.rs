//! A conversation with Java's server 3.9.4 and the log it wrote, replayed through the rules: every
//! reply and every byte of every transaction must be the same.
//!
//! The conversation was made up at random by a client that waits for each reply. Times and session
//! ids are taken from the log. Its lines are
//! ```text
//! session SESSION                       a new one
//! auth SESSION (SCHEME ID)*             the identities of the session from here on
//! req SESSION CXID OP BODY ZXID ERR REPLY   numbers decimal, ids and bytes hex, "-" for none
//! log BYTES                             an entry of the log, at the end, in order
//! ```

use std::collections::{HashMap, VecDeque};

use super::Server;
use crate::jute::{Input, Jute};
use crate::proto::messages::{GetChildren2Response, GetChildrenResponse};
use crate::proto::multi::{MultiOp, MultiResponse, MultiResult};
use crate::proto::txn::CloseSessionTxn;
use crate::proto::{CreateMode, TxnLogEntry};
use crate::server::final_rules::encode_write_reply;
use crate::server::prep::*;
use crate::server::read_requests::{ReadContext, process_read};
use crate::tree::NoWatches;

fn bytes(hex: &str) -> Vec<u8> {
    let digits = hex.as_bytes().chunks_exact(2).filter(|_| hex != "-");
    digits.map(|two| u8::from_str_radix(std::str::from_utf8(two).unwrap(), 16).unwrap()).collect()
}

fn session(hex: &str) -> SessionId {
    SessionId(u64::from_str_radix(hex, 16).unwrap() as i64)
}

struct Replay {
    server: Server,
    log: Vec<TxnLogEntry>,
    auth: HashMap<SessionId, Vec<Id>>,
    /// Prepared, with the reply that Java gave, and not applied yet.
    outstanding: VecDeque<(TxnLogEntry, Option<Reply>)>,
    /// How many may be.
    lag: usize,
}

/// The zxid and code of a reply header, and the body.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Reply {
    zxid: i64,
    code: i32,
    body: Vec<u8>,
}

impl Replay {
    /// Prepares a write and compares the transaction with the log.
    fn write(&mut self, session: SessionId, cxid: i32, body: &RequestBody, reply: Option<Reply>) {
        let index = self.server.state.last_zxid.0 as usize;
        let Some(expected) = self.log.get(index).cloned() else { panic!("the log is too short") };
        let auth = self.auth.get(&session).cloned().unwrap_or_default();
        let mut context = PrepContext {
            state: &mut self.server.state,
            tree: &self.server.tree,
            changes: &mut self.server.changes,
            sessions: &self.server.sessions,
            acl_policy: &self.server.acl_policy,
            metrics: &self.server.metrics,
            wall_ms: expected.header.time,
            elapsed_ms: 0,
        };
        let request = PrepRequest::new(session, cxid, body, &auth);
        let txn = prepare(&mut context, &request).txn.unwrap();
        let entry = TxnLogEntry::new(txn.header, txn.txn, txn.digest);
        assert_eq!(entry.header, expected.header, "{body:?}");
        if has_javas_container_quirk(body) {
            assert_eq!(entry.txn, expected.txn, "{body:?}");
        } else if let Txn::CloseSession(_) = entry.txn {
            assert_eq!(sorted(&entry.txn), sorted(&expected.txn));
            assert_eq!(entry.digest, expected.digest);
        } else {
            assert_eq!(entry, expected, "{body:?}");
        }
        self.outstanding.push_back((entry, reply));
        self.apply_all_but(self.lag);
    }

    /// Applies the oldest transactions and compares the replies with Java's.
    fn apply_all_but(&mut self, lag: usize) {
        while self.outstanding.len() > lag {
            let (entry, reply) = self.outstanding.pop_front().unwrap();
            let result = self.server.tree.process_entry(&entry, &mut NoWatches);
            let mut body = Vec::new();
            let code = encode_write_reply(&result, &mut body).as_i32();
            self.server.changes.remove_applied(entry.zxid());
            if let Some(reply) = reply {
                assert_eq!(Reply { zxid: entry.zxid().0, code, body }, reply, "{entry:?}");
            }
        }
    }

    fn create_session(&mut self, session: SessionId) {
        let entry = &self.log[self.server.state.last_zxid.0 as usize];
        let Txn::CreateSession(txn) = &entry.txn else { panic!("{entry:?}") };
        let body = RequestBody::CreateSession { timeout_ms: txn.timeout_ms };
        self.write(session, 0, &body, None);
    }

    fn read(&mut self, session: SessionId, body: &RequestBody) -> Reply {
        self.apply_all_but(0);
        let context = ReadContext {
            tree: &self.server.tree,
            acl_policy: &self.server.acl_policy,
            metrics: &self.server.metrics,
            session,
            auth: self.auth.get(&session).map_or(&[], Vec::as_slice),
            watcher: 1,
        };
        let mut out = Vec::new();
        let reply = process_read(&context, body, &mut out, &mut |_, _| {});
        assert!(reply.splices.is_empty());
        let zxid = self.server.tree.last_processed_zxid().0;
        Reply { zxid, code: reply.code.as_i32(), body: sorted_reply(body, &out) }
    }
}

/// Java digests a container by the flags of the request, but makes it by the kind of transaction:
/// where the two differ its digest is wrong.
fn has_javas_container_quirk(body: &RequestBody) -> bool {
    let is_container = |flags| flags == CreateMode::Container as i32;
    match body {
        RequestBody::Create(request) | RequestBody::Create2(request) => is_container(request.flags),
        RequestBody::CreateContainer(request) => !is_container(request.flags),
        RequestBody::Multi(record) => record.ops.iter().any(|op| match op {
            MultiOp::CreateContainer(request) => !is_container(request.flags),
            _ => false,
        }),
        _ => false,
    }
}

/// Java's sets of strings have an order of their own.
fn sorted(txn: &Txn) -> Vec<String> {
    let Txn::CloseSession(Some(CloseSessionTxn { paths_to_delete })) = txn else { panic!() };
    sorted_names(paths_to_delete.clone())
}

fn sorted_names(mut names: Vec<String>) -> Vec<String> {
    names.sort();
    names
}

fn sorted_reply(body: &RequestBody, reply: &[u8]) -> Vec<u8> {
    let input = &mut Input::unbounded(reply);
    match body {
        _ if reply.is_empty() => Vec::new(),
        RequestBody::GetChildren(_) | RequestBody::GetEphemerals(_) => {
            let children = GetChildrenResponse::decode(input).unwrap().children;
            GetChildrenResponse { children: sorted_names(children) }.to_bytes()
        }
        RequestBody::GetChildren2(_) => {
            let GetChildren2Response { children, stat } = Jute::decode(input).unwrap();
            GetChildren2Response { children: sorted_names(children), stat }.to_bytes()
        }
        RequestBody::MultiRead(_) => {
            let mut response = MultiResponse::decode(input).unwrap();
            for result in &mut response.results {
                if let MultiResult::GetChildren { children } = result {
                    children.sort();
                }
            }
            response.to_bytes()
        }
        _ => reply.to_vec(),
    }
}

fn replay(text: &str, lag: usize) {
    let log = text.lines().filter_map(|line| line.strip_prefix("log "));
    let log = log.map(|hex| TxnLogEntry::decode(&bytes(hex)).unwrap()).collect();
    let server = Server::with_options(0, |options| {
        options.enforce_quota = true;
        options.reconfig_enabled = true;
    });
    let auth = HashMap::new();
    let mut replay = Replay { server, log, auth, outstanding: VecDeque::new(), lag };
    for line in text.lines() {
        match line.split(' ').collect::<Vec<_>>().as_slice() {
            ["session", id] => {
                let ip = Id::new("ip", "127.0.0.1");
                replay.auth.insert(session(id), vec![ip]);
                replay.create_session(session(id));
            }
            ["auth", id, ids @ ..] => {
                let ids = ids.chunks_exact(2).map(|id| Id::new(id[0], id[1])).collect();
                replay.auth.insert(session(id), ids);
            }
            ["req", id, cxid, op, body, zxid, err, reply] => {
                let body_bytes = bytes(body);
                let op = op.parse().unwrap();
                let body = RequestBody::decode(op, &mut Input::unbounded(&body_bytes));
                let expected = Reply {
                    zxid: zxid.parse().unwrap(),
                    code: err.parse().unwrap(),
                    body: sorted_reply(&body, &bytes(reply)),
                };
                if body.is_write() {
                    let cxid = cxid.parse().unwrap();
                    replay.write(session(id), cxid, &body, Some(expected));
                } else {
                    assert_eq!(replay.read(session(id), &body), expected, "{line}\n{body:?}");
                }
            }
            _ => {}
        }
    }
    replay.apply_all_but(0);
    assert_eq!(replay.server.state.last_zxid.0 as usize, replay.log.len());
    let digest = replay.log.iter().rev().find_map(|entry| entry.digest).unwrap();
    assert_eq!(digest.tree_digest as u64, replay.server.tree.tree_digest());
}

#[test]
fn java_writes_the_same_bytes() {
    replay(include_str!("../../../../tests/golden/prep/requests.txt"), 0);
}

/// Quotas are judged by what is applied, so that this conversation has none.
#[test]
fn outstanding_changes_are_as_good_as_applied_ones() {
    for lag in [0, 1, 7, usize::MAX] {
        replay(include_str!("../../../../tests/golden/prep/requests_without_quota.txt"), lag);
    }
}

/// For transcripts made at will.
#[test]
fn the_transcript_of_the_environment() {
    if let Ok(path) = std::env::var("ZABKEEPER_TRANSCRIPT") {
        let lag = std::env::var("ZABKEEPER_TRANSCRIPT_LAG").map_or(0, |lag| lag.parse().unwrap());
        replay(&std::fs::read_to_string(path).unwrap(), lag);
    }
}
