//! `FinalRequestProcessor`: applies transactions and answers requests.
//!
//! Called by the thread that owns the last stage, in batches. Replies and watch events go into the
//! connections' outboxes while the tree's write guard is held, then everything is sent at once.
//! Reads with nothing of their session before them do not come here: see [`answer_read`], which
//! both ways share.

use std::sync::Arc;

use super::cnxn::cnxn_thread;
use super::cnxn::connect;
use super::cnxn::server_cnxn::{Reply, ReplyBody, ServerCnxn};
use super::event_sink::{EventSink, encode_event};
use super::final_rules;
use super::read_requests::{self, ReadContext};
use super::request::Request;
use super::request_body::RequestBody;
use super::request_processor::RequestProcessor;
use super::zookeeper_server::{State, ZooKeeperServer};
use crate::common::time;
use crate::proto::{Code, Id, OpCode, SessionId, Txn, Zxid};
use crate::tree::{DataTree, ProcessTxnResult};

/// Requests applied under one hold of the write guard: readers wait for at most about 100 µs.
const GUARD_BATCH: usize = 64;
/// Connections that the applying thread flushes itself; the others go to the selector threads.
const FLUSH_SELF_MAX: usize = 64;
/// Java's xid of ping replies, whatever was sent.
const PING_XID: i32 = -2;

/// The last stage of every chain.
pub struct FinalRequestProcessor {
    server: Arc<ZooKeeperServer>,
}

impl FinalRequestProcessor {
    /// Applies to `server`'s tree.
    pub fn new(server: Arc<ZooKeeperServer>) -> Self {
        FinalRequestProcessor { server }
    }
}

impl RequestProcessor for FinalRequestProcessor {
    fn process_requests(&self, requests: &mut Vec<Box<Request>>) {
        let server = &*self.server;
        let mut touched: Vec<Arc<ServerCnxn>> = Vec::new();
        let mut scratch = Vec::new();
        let mut closing: Vec<Arc<ServerCnxn>> = Vec::new();
        let keeps_committed_log = server.db().keeps_committed_log();
        let mut committed = Vec::new();
        let mut requests = requests.drain(..).peekable();
        while requests.peek().is_some() {
            let mut last_zxid = None;
            let mut tree = server.db().tree_mut();
            let _guard = StopServingOnPanic(server);
            let mismatches = tree.digest_mismatches();
            let mut sink = EventSink::new(
                server.cnxns(),
                server.acl_policy(),
                server.metrics(),
                server.stats(),
                &mut touched,
            );
            for mut request in requests.by_ref().take(GUARD_BATCH) {
                if let Some(zxid) = process(server, &mut tree, &mut sink, &request, &mut scratch) {
                    last_zxid = Some(zxid);
                }
                if let Some(cnxn) = &request.cnxn {
                    sink.touch(cnxn);
                    if matches!(request.body, RequestBody::CloseSession) {
                        closing.push(Arc::clone(cnxn));
                    }
                }
                server.request_finished(&request);
                if keeps_committed_log {
                    committed.extend(request.entry.take());
                }
            }
            let mismatches = tree.digest_mismatches() - mismatches;
            drop(tree);
            if mismatches > 0 {
                server.metrics().digest_mismatches_count.add(mismatches as i64);
            }
            if let Some(zxid) = last_zxid {
                server.db().add_committed(committed.drain(..));
                // Only now: until a change is in the tree its record must be there for Prep.
                let removed = server.outstanding_changes().lock().remove_applied(zxid);
                server.metrics().outstanding_changes_removed.add(removed as i64);
            }
        }
        // Before the client can see its reply: it may open the next connection at once, and that
        // one must not be refused for the one that is about to end.
        for cnxn in &closing {
            server.remove_cnxn(cnxn);
            // A reconnect may have come in between; its client has to learn that there is no session.
            server.cnxns().close_session(cnxn.session_id());
        }
        flush_all(server, touched);
        for cnxn in closing.iter().filter(|cnxn| cnxn.outbox().is_closing()) {
            cnxn.stop_reading();
        }
    }

    fn shutdown(&self) {
        log::info!("shutdown of request processor complete");
    }
}

/// Dropped before the tree's guard: nobody is answered from a tree that is half changed.
struct StopServingOnPanic<'a>(&'a ZooKeeperServer);

impl Drop for StopServingOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.set_state(State::Error);
        }
    }
}

fn flush_all(server: &ZooKeeperServer, touched: Vec<Arc<ServerCnxn>>) {
    for (index, cnxn) in touched.into_iter().enumerate() {
        match server.selector(&cnxn) {
            Some(selector) if index >= FLUSH_SELF_MAX => selector.flush(cnxn),
            _ => {
                cnxn.release_flush();
                cnxn_thread::flush(server, &cnxn);
            }
        }
    }
}

/// Applies and answers one request. Returns the zxid of its transaction.
fn process(
    server: &ZooKeeperServer,
    tree: &mut DataTree,
    sink: &mut EventSink<'_>,
    request: &Request,
    scratch: &mut Vec<u8>,
) -> Option<Zxid> {
    let mut result = None;
    if let Some(entry) = &request.entry {
        result = Some(tree.process_entry(entry, sink));
        server.db().set_last_processed_zxid(entry.header.zxid);
        match (&entry.txn, request.session_id) {
            (Txn::CreateSession(txn), id) => {
                server.db().commit_session(id, txn.timeout_ms);
                server.tracker().commit_session(id, txn.timeout_ms);
            }
            (Txn::CloseSession(_), id) => {
                server.tracker().remove_session(id);
                server.db().remove_session(id);
            }
            _ => {}
        }
        let latency_ms = time::wall_ms() - entry.header.time;
        server.metrics().propagation_latency.add(latency_ms.max(0));
    }
    let zxid = request.entry.as_ref().map(|entry| entry.header.zxid);
    let is_close =
        matches!(request.body, RequestBody::CloseSession | RequestBody::Txn(OpCode::CloseSession));
    if is_close && request.is_local_session {
        // No transaction tells of it.
        server.tracker().remove_session(request.session_id);
    }
    let Some(cnxn) = &request.cnxn else {
        if is_close {
            server.cnxns().close_session(request.session_id);
        }
        return zxid;
    };
    if has_moved(request) {
        // The client is served elsewhere, and an answer from here could be taken for one from there
        // (ZOOKEEPER-710).
        cnxn.close_after_flush();
        return zxid;
    }
    if request.is_throttled {
        send(server, tree, request, cnxn, Code::ThrottledOp, &ReplyBody::default());
    } else if let (RequestBody::CreateSession { .. }, Some(session)) =
        (&request.body, &request.session)
    {
        let now_ms = time::elapsed_ms();
        count_latency(server, request.created_ms, now_ms, true);
        // The reply is no ordinary one, but `cons` shows it as the first operation.
        let zxid = tree.last_processed_zxid().0;
        let op = last_op(&request.body);
        cnxn.outbox().lock().stats.responded(request.cxid, zxid, op, request.created_ms, now_ms);
        connect::send_connect_response(server, cnxn, Some(session));
    } else if let Some(result) = &result {
        if let (Some(path_stats), None) = (server.path_stats(), request.error)
            && let (Some(op), Some(path)) = (request.body.op_code(), result.path)
        {
            path_stats.register_request(op, path);
        }
        answer_write(server, tree, request, cnxn, result, scratch);
    } else if is_close && request.is_local_session {
        send(server, tree, request, cnxn, Code::Ok, &ReplyBody::default());
    } else if let Some(code) = request.error {
        send(server, tree, request, cnxn, code, &ReplyBody::default());
    } else {
        let read = ReadRequest {
            cnxn,
            session_id: request.session_id,
            xid: request.cxid,
            body: &request.body,
            created_ms: request.created_ms,
        };
        answer_read(server, tree, &read, &request.auth_info, scratch);
    }
    if matches!(request.body, RequestBody::CloseSession) {
        cnxn.close_after_flush();
    }
    zxid
}

/// Whether the request failed because its session has moved to another server.
fn has_moved(request: &Request) -> bool {
    let by_txn = request.entry.as_ref().is_some_and(|entry| match &entry.txn {
        Txn::Error(txn) => request.error.is_none() && txn.err == Code::SessionMoved.as_i32(),
        _ => false,
    });
    by_txn || request.error == Some(Code::SessionMoved)
}

fn answer_write(
    server: &ZooKeeperServer,
    tree: &DataTree,
    request: &Request,
    cnxn: &ServerCnxn,
    result: &ProcessTxnResult<'_>,
    scratch: &mut Vec<u8>,
) {
    scratch.clear();
    // A refused single operation has the code that Prep found; a multi carries its own.
    let code = match request.error {
        Some(code) => code,
        None => final_rules::encode_write_reply(result, scratch),
    };
    send(server, tree, request, cnxn, code, &ReplyBody { bytes: scratch, splices: &[] });
}

fn send(
    server: &ZooKeeperServer,
    tree: &DataTree,
    request: &Request,
    cnxn: &ServerCnxn,
    code: Code,
    body: &ReplyBody<'_>,
) {
    let now_ms = time::elapsed_ms();
    let reply = Reply {
        xid: request.cxid,
        zxid: tree.last_processed_zxid().0,
        last_op: if code == Code::Ok { last_op(&request.body) } else { "NA" },
        created_ms: request.created_ms,
        now_ms,
    };
    let size = cnxn.send_reply(reply, code, body);
    count_response(server, size);
    count_latency(server, request.created_ms, now_ms, request.entry.is_some());
}

/// A read about to be answered.
pub struct ReadRequest<'a> {
    /// Where the answer goes.
    pub cnxn: &'a ServerCnxn,
    /// Whose it is.
    pub session_id: SessionId,
    /// The client's number for it.
    pub xid: i32,
    /// What is asked.
    pub body: &'a RequestBody,
    /// Elapsed-clock ms at which it came.
    pub created_ms: i64,
}

/// Answers a read under a guard of the tree. `scratch` is any buffer; what it held is lost.
pub fn answer_read(
    server: &ZooKeeperServer,
    tree: &DataTree,
    request: &ReadRequest<'_>,
    auth: &[Id],
    scratch: &mut Vec<u8>,
) {
    scratch.clear();
    let cnxn = request.cnxn;
    let context = ReadContext {
        tree,
        acl_policy: server.acl_policy(),
        metrics: server.metrics(),
        session: request.session_id,
        auth,
        watcher: cnxn.id(),
    };
    // Events that setWatches finds to be due go before its reply, with the zxid -1.
    let (mut events, mut event_count) = (Vec::new(), 0);
    let answer =
        read_requests::process_read(&context, request.body, scratch, &mut |event, path| {
            events.extend_from_slice(&encode_event(event, path, Zxid::NONE));
            event_count += 1;
        });
    if let Some(path_stats) = server.path_stats() {
        path_stats.register_read(request.body, answer.code);
    }
    if event_count > 0 {
        cnxn.send_events(&events, event_count);
        server.stats().add_packets_sent(i64::try_from(event_count).unwrap_or(i64::MAX));
    }
    if cnxn.is_stale() {
        // Its watches were dropped already, perhaps before this one came. See `remove_cnxn`.
        tree.remove_watcher(cnxn.id());
    }
    let now_ms = time::elapsed_ms();
    let xid = if matches!(request.body, RequestBody::Ping) { PING_XID } else { request.xid };
    let reply = Reply {
        xid,
        zxid: tree.last_processed_zxid().0,
        last_op: last_op(request.body),
        created_ms: request.created_ms,
        now_ms,
    };
    let body = ReplyBody { bytes: scratch, splices: &answer.splices };
    let size = cnxn.send_reply(reply, answer.code, &body);
    count_response(server, size);
    count_latency(server, request.created_ms, now_ms, false);
}

fn count_response(server: &ZooKeeperServer, size: usize) {
    server.metrics().response_bytes.add(size as i64);
    server.stats().update_client_response_size(i32::try_from(size).unwrap_or(i32::MAX));
    server.stats().increment_packets_sent();
}

fn count_latency(server: &ZooKeeperServer, created_ms: i64, now_ms: i64, is_write: bool) {
    server.stats().update_latency(created_ms, now_ms, is_write);
}

/// Java's name of the operation in `cons`.
fn last_op(body: &RequestBody) -> &'static str {
    match body.op_code() {
        Some(OpCode::Ping) => "PING",
        Some(OpCode::CreateSession) => "SESS",
        Some(OpCode::Multi) => "MULT",
        Some(OpCode::MultiRead) => "MLTR",
        Some(OpCode::Create | OpCode::Create2 | OpCode::CreateTtl | OpCode::CreateContainer) => {
            "CREA"
        }
        Some(OpCode::Delete | OpCode::DeleteContainer) => "DELE",
        Some(OpCode::SetData) => "SETD",
        Some(OpCode::Reconfig) => "RECO",
        Some(OpCode::SetAcl) => "SETA",
        Some(OpCode::CloseSession) => "CLOS",
        Some(OpCode::Sync) => "SYNC",
        Some(OpCode::Check) => "CHEC",
        Some(OpCode::Exists) => "EXIS",
        Some(OpCode::GetData) => "GETD",
        Some(OpCode::SetWatches) => "SETW",
        Some(OpCode::SetWatches2) => "STW2",
        Some(OpCode::AddWatch) => "ADDW",
        Some(OpCode::GetAcl) => "GETA",
        Some(OpCode::GetChildren | OpCode::GetChildren2) => "GETC",
        Some(OpCode::GetAllChildrenNumber) => "GETACN",
        Some(OpCode::CheckWatches) => "CHKW",
        Some(OpCode::RemoveWatches) => "REMW",
        Some(OpCode::WhoAmI) => "HOMI",
        Some(OpCode::GetEphemerals) => "GETE",
        Some(OpCode::Notification | OpCode::Auth | OpCode::Sasl | OpCode::Error) | None => "NA",
    }
}
