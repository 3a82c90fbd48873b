//! `FollowerRequestProcessor` and `ObserverRequestProcessor`: the first stage of a learner. Each
//! request goes to CommitProcessor first, to wait there for its commit, and then to the leader if it
//! is one that only the leader can decide.
//!
//! Deliberate difference: sessions are upgraded before this stage, on the threads of their connections;
//! requests are taken in batches, and a batch is sent to the leader with one write.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::leader_link::LeaderLink;
use crate::common::linked_blocking_queue::{Receiver, unbounded};
use crate::common::sync::{Mutex, Rank};
use crate::common::thread::{self, ServerListener};
use crate::jute::OutputExt;
use crate::proto::quorum::QuorumPacket;
use crate::proto::{OpCode, SessionId};
use crate::quorum::packet_stream::PacketType;
use crate::server::request::Request;
use crate::server::request_processor::RequestProcessor;
use crate::server::stage::Stage;
use crate::server::zookeeper_server::ZooKeeperServer;

/// Requests handed on together.
const BATCH_MAX: usize = 256;

/// Syncs that were sent to the leader and not answered yet, in order (`pendingSyncs`). SYNC packets
/// carry no number: they answer them one after the other.
pub struct PendingSyncs(Mutex<VecDeque<(SessionId, i32)>>);

impl Default for PendingSyncs {
    fn default() -> Self {
        PendingSyncs(Mutex::new(Rank::Inbox, VecDeque::new()))
    }
}

impl PendingSyncs {
    fn push(&self, id: SessionId, cxid: i32) {
        self.0.lock().push_back((id, cxid));
    }

    /// The oldest one, which the leader has answered.
    pub fn pop(&self) -> Option<(SessionId, i32)> {
        self.0.lock().pop_front()
    }
}

/// Starts the stage; `name` is that of the Java class.
pub fn start(
    name: &str,
    server: &Arc<ZooKeeperServer>,
    listener: &Arc<dyn ServerListener>,
    link: Arc<LeaderLink>,
    syncs: Arc<PendingSyncs>,
    next: Arc<dyn RequestProcessor>,
) -> io::Result<Stage> {
    let (queue, requests) = unbounded();
    let to = Arc::clone(&next);
    let (name, worker) = (format!("{name}:{}", server.role().server_id()), Arc::clone(server));
    let thread_name = name.clone();
    let thread = thread::spawn_critical(name, thread::STACK_BYTES, listener, move || {
        run(&worker, &requests, &link, &syncs, &*to);
        log::info!("{thread_name} exited loop!");
        Ok(())
    })?;
    Ok(Stage::new(queue, thread, next))
}

fn run(
    server: &ZooKeeperServer,
    requests: &Receiver<Box<Request>>,
    link: &LeaderLink,
    syncs: &PendingSyncs,
    next: &dyn RequestProcessor,
) {
    let mut batch: Vec<Box<Request>> = Vec::new();
    let mut packets: Vec<QuorumPacket> = Vec::new();
    while let Ok(first) = requests.recv() {
        server.metrics().learner_request_processor_queue_size.add(requests.len() as i64 + 1);
        batch.push(first);
        batch.extend(requests.try_iter().take(BATCH_MAX - 1));
        packets.clear();
        let forwarded = batch.iter_mut().filter(|request| is_forwarded(request));
        packets.extend(forwarded.map(|request| {
            if request.body.op_code() == Some(OpCode::Sync) {
                syncs.push(request.session_id, request.cxid);
            }
            request_packet(request)
        }));
        // First, so that each is there when its answer comes.
        next.process_requests(&mut batch);
        if !packets.is_empty() {
            link.send(&packets);
        }
    }
}

/// Whether the leader has to see it.
fn is_forwarded(request: &Request) -> bool {
    if request.is_throttled {
        return false;
    }
    match request.body.op_code() {
        Some(OpCode::Sync | OpCode::Check) => true,
        Some(OpCode::CreateSession | OpCode::CloseSession) => !request.is_local_session,
        op => op.is_some_and(OpCode::is_change),
    }
}

/// REQUEST: session id, the client's number, operation, and the body as the client sent it
/// (`Learner.request`). The request's own copy of the body is given up.
fn request_packet(request: &mut Request) -> QuorumPacket {
    let body = std::mem::take(&mut request.bytes);
    let mut data = Vec::with_capacity(16 + body.len());
    data.put_i64(request.session_id.0);
    data.put_i32(request.cxid);
    data.put_i32(request.body.op_code().map_or(0, OpCode::as_i32));
    data.extend_from_slice(&body);
    let authinfo = Vec::clone(&request.auth_info);
    QuorumPacket { authinfo, ..PacketType::Request.packet(-1, Some(data.into())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jute::{Jute, Limits};
    use crate::proto::Id;
    use crate::proto::messages::{ExistsRequest, SyncRequest};
    use crate::server::request_body::RequestBody;

    fn request(body: RequestBody) -> Request {
        Request::internal(SessionId(5), body, 0)
    }

    #[test]
    fn writes_syncs_and_global_sessions_are_forwarded() {
        let check = |mut request: Request, expected| {
            assert_eq!(is_forwarded(&request), expected, "{:?}", request.body);
            request.is_throttled = true;
            assert!(!is_forwarded(&request));
        };
        check(request(RequestBody::Sync(SyncRequest { path: Some("/".into()) })), true);
        check(request(RequestBody::Malformed(OpCode::SetData)), true);
        check(request(RequestBody::CreateSession { timeout_ms: 1 }), true);
        check(request(RequestBody::CloseSession), true);
        check(Request { is_local_session: true, ..request(RequestBody::CloseSession) }, false);
        let exists = ExistsRequest { path: "/".into(), watch: false };
        check(request(RequestBody::Exists(exists)), false);
        check(request(RequestBody::Ping), false);
        check(request(RequestBody::Unknown(77)), false);
    }

    #[test]
    fn a_leader_reads_what_was_asked() {
        let id = Id { scheme: "ip".into(), id: "127.0.0.1".into() };
        let sync = SyncRequest { path: Some("/a".into()) };
        let mut request = Request {
            cxid: 9,
            bytes: sync.to_bytes(),
            auth_info: Arc::new(vec![id.clone()]),
            ..request(RequestBody::Sync(sync.clone()))
        };
        let packet = request_packet(&mut request);
        assert_eq!((packet.packet_type, packet.zxid), (1, -1));
        let data = packet.data.unwrap();
        let read = Request::from_learner(&data, packet.authinfo, 7, Limits::default(), 0).unwrap();
        assert_eq!((read.session_id, read.cxid, &*read.auth_info), (SessionId(5), 9, &vec![id]));
        assert_eq!(read.body, RequestBody::Sync(sync));
    }
}
