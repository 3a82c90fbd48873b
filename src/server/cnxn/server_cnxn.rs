//! `ServerCnxn` / `NIOServerCnxn`: one client connection as the rest of the server sees it.

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::{ArcSwap, Guard};

use super::cnxn_stats::LastOp;
use super::outbox::{Flush, Outbox};
use crate::common::time;
use crate::proto::{Code, Id, SessionId};
use crate::server::read_requests::Splice;
use crate::server::request_throttler::CnxnGate;
use crate::session::Session;
use crate::tree::WatcherId;

/// Bytes of a reply header: xid, zxid, err.
const REPLY_HEADER_BYTES: usize = 16;

/// A reply about to be written.
#[derive(Debug, Clone, Copy)]
pub struct Reply {
    /// The request's xid, or one of the fixed ones.
    pub xid: i32,
    /// The zxid of the header.
    pub zxid: i64,
    /// Name of the operation for `cons`.
    pub last_op: LastOp,
    /// Elapsed-clock ms at which the request came.
    pub created_ms: i64,
    /// Elapsed-clock ms now.
    pub now_ms: i64,
}

/// The body of a reply: bytes, and data that goes between them without being copied.
#[derive(Debug, Default)]
pub struct ReplyBody<'a> {
    /// The bytes.
    pub bytes: &'a [u8],
    /// What goes where in them.
    pub splices: &'a [Splice],
}

/// One client connection. Its thread owns the reading side; anybody may append to the outbox.
pub struct ServerCnxn {
    id: WatcherId,
    socket: TcpStream,
    remote: SocketAddr,
    outbox: Outbox,
    session: OnceLock<Arc<Session>>,
    session_timeout_ms: AtomicI32,
    auth_info: ArcSwap<Vec<Id>>,
    gate: Arc<CnxnGate>,
    packets_received: AtomicU64,
    /// Closed or about to be: written by whoever closes, read before late registrations.
    is_stale: AtomicBool,
    /// A request of it was dropped, so all later ones must be.
    is_invalid: AtomicBool,
    /// A copy of the outbox's, to be read for each packet without its lock.
    is_established: AtomicBool,
    /// In the list of connections that the applying thread will flush; only that thread sets it.
    awaits_flush: AtomicBool,
    /// The client's connect request had the read-only byte, so the answer has it too.
    has_read_only: AtomicBool,
    established_ms: i64,
}

impl ServerCnxn {
    /// A connection that was just accepted; `auth_info` is its implicit `ip` id.
    pub fn new(id: WatcherId, socket: TcpStream, remote: SocketAddr, auth_info: Vec<Id>) -> Self {
        ServerCnxn {
            id,
            socket,
            remote,
            outbox: Outbox::default(),
            session: OnceLock::new(),
            session_timeout_ms: AtomicI32::new(0),
            auth_info: ArcSwap::from_pointee(auth_info),
            gate: Arc::default(),
            packets_received: AtomicU64::new(0),
            is_stale: AtomicBool::new(false),
            is_invalid: AtomicBool::new(false),
            is_established: AtomicBool::new(false),
            awaits_flush: AtomicBool::new(false),
            has_read_only: AtomicBool::new(true),
            established_ms: time::wall_ms(),
        }
    }

    /// The number that watches know this connection by.
    pub fn id(&self) -> WatcherId {
        self.id
    }

    /// The client's address.
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// The socket, for reading by the connection's own thread and for polling.
    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// The unsent bytes.
    pub fn outbox(&self) -> &Outbox {
        &self.outbox
    }

    /// Wall-clock ms at which it was accepted.
    pub fn established_ms(&self) -> i64 {
        self.established_ms
    }

    /// The session, once there is one.
    pub fn session(&self) -> Option<&Arc<Session>> {
        self.session.get()
    }

    /// The session's id, 0 before there is one.
    pub fn session_id(&self) -> SessionId {
        self.session.get().map_or(SessionId(0), |session| session.id())
    }

    /// Binds the session; a connection has one in its life.
    pub fn set_session(&self, session: Arc<Session>) {
        let _ = self.session.set(session); // A second connect request is refused before.
    }

    /// The negotiated timeout, ms; 0 before the connect request.
    pub fn session_timeout_ms(&self) -> i32 {
        self.session_timeout_ms.load(Ordering::Relaxed)
    }

    /// Remembers the negotiated timeout.
    pub fn set_session_timeout_ms(&self, timeout_ms: i32) {
        self.session_timeout_ms.store(timeout_ms, Ordering::Relaxed);
    }

    /// Whether the client understands the read-only byte.
    pub fn has_read_only(&self) -> bool {
        self.has_read_only.load(Ordering::Relaxed)
    }

    /// Remembers whether the connect request ended with the read-only byte.
    pub fn set_has_read_only(&self, has_read_only: bool) {
        self.has_read_only.store(has_read_only, Ordering::Relaxed);
    }

    /// Who the client has shown to be.
    pub fn auth_info(&self) -> Guard<Arc<Vec<Id>>> {
        self.auth_info.load()
    }

    /// A shared copy of [`ServerCnxn::auth_info`], for a request that travels.
    pub fn auth_info_full(&self) -> Arc<Vec<Id>> {
        self.auth_info.load_full()
    }

    /// Replaces the ids, after a successful authentication. Only the connection's thread does.
    pub fn set_auth_info(&self, ids: Vec<Id>) {
        self.auth_info.store(Arc::new(ids));
    }

    /// Counts a packet of the client.
    pub fn packet_received(&self) {
        self.packets_received.fetch_add(1, Ordering::Relaxed);
    }

    /// Packets of the client since the last reset.
    pub fn packets_received(&self) -> u64 {
        self.packets_received.load(Ordering::Relaxed)
    }

    /// Its place in the admission: how many of its requests are in the chain.
    pub fn gate(&self) -> &Arc<CnxnGate> {
        &self.gate
    }

    /// Resets what `cons` shows (the word `crst`).
    pub fn reset_stats(&self) {
        self.packets_received.store(0, Ordering::Relaxed);
        self.outbox.lock().stats.reset();
    }

    /// The answer to the connect request is in the outbox (`enableRecv`).
    pub fn establish(&self) {
        self.is_established.store(true, Ordering::Release);
        self.outbox.establish();
    }

    /// Waits for it: an answer that does not go through the chain must not overtake it.
    pub fn wait_until_established(&self) {
        if !self.is_established.load(Ordering::Acquire) {
            self.outbox.wait_until_established();
        }
    }

    /// Closed or about to be.
    pub fn is_stale(&self) -> bool {
        self.is_stale.load(Ordering::SeqCst)
    }

    /// Marks it stale; true the first time. SeqCst: see `ServerCnxnFactory::remove`.
    pub fn set_stale(&self) -> bool {
        let is_first = !self.is_stale.swap(true, Ordering::SeqCst);
        self.gate.close();
        is_first
    }

    /// A request of it was dropped.
    pub fn is_invalid(&self) -> bool {
        self.is_invalid.load(Ordering::Relaxed)
    }

    /// After a dropped request all later ones must be dropped too; closes (`setInvalid`).
    pub fn set_invalid(&self) {
        if !self.is_invalid.swap(true, Ordering::Relaxed) && !self.is_stale() {
            self.close();
        }
    }

    /// Appends a reply. Returns the packet's length as Java counts it.
    pub fn send_reply(&self, reply: Reply, code: Code, body: &ReplyBody<'_>) -> usize {
        let mut head = [0; REPLY_HEADER_BYTES];
        let (xid, rest) = head.split_at_mut(4);
        let (zxid, err) = rest.split_at_mut(8);
        xid.copy_from_slice(&reply.xid.to_be_bytes());
        zxid.copy_from_slice(&reply.zxid.to_be_bytes());
        err.copy_from_slice(&code.as_i32().to_be_bytes());
        let mut outbox = self.outbox.lock();
        let stats = &mut outbox.stats;
        stats.packets_sent += 1;
        stats.responded(reply.xid, reply.zxid, reply.last_op, reply.created_ms, reply.now_ms);
        let segments = body.splices.iter().map(|splice| (splice.at, Arc::clone(&splice.data)));
        outbox.push_frame(&head, body.bytes, segments)
    }

    /// Appends a packet that is no reply to a request in the chain: the connect response, an
    /// answer to an auth packet.
    pub fn send_packet(&self, packet: &[u8]) -> usize {
        let mut outbox = self.outbox.lock();
        outbox.stats.packets_sent += 1;
        outbox.push_frame(packet, &[], [])
    }

    /// Appends frames that are complete with their lengths: `count` watch events.
    pub fn send_events(&self, frames: &[u8], count: u64) {
        let mut outbox = self.outbox.lock();
        outbox.push_bytes(frames);
        outbox.stats.packets_sent += count;
    }

    /// True for the caller who now owns flushing it: the applying thread's own list.
    pub fn claim_flush(&self) -> bool {
        !self.awaits_flush.swap(true, Ordering::Relaxed)
    }

    /// Ends [`ServerCnxn::claim_flush`], before the flush so that nothing is missed.
    pub fn release_flush(&self) {
        self.awaits_flush.store(false, Ordering::Relaxed);
    }

    /// Sends what is unsent, without blocking.
    pub fn flush(&self) -> Flush {
        self.outbox.flush(&self.socket)
    }

    /// Closes once everything unsent has been sent (`sendCloseSession`).
    pub fn close_after_flush(&self) {
        self.outbox.close_after_flush();
    }

    /// Nothing more is read: wakes the connection's thread, which sees to it that a client that does
    /// not take its last replies is closed all the same.
    pub fn stop_reading(&self) {
        let _ = self.socket.shutdown(Shutdown::Read); // It may be gone already.
    }

    /// Closes at once; the connection's thread sees the end of its stream and cleans up.
    pub fn close(&self) {
        self.outbox.close_now(&self.socket);
    }
}
