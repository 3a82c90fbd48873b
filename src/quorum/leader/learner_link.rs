//! A learner as the leader sees it from other threads: the packets for it, and what decides whether it
//! counts as synced. The sending half of `LearnerHandler`.
//!
//! Proposals, commits and informs are added as shared transactions, in their order, under the
//! leader's lock. Behind the lock few packets are sent by who added them, as far as the socket takes
//! them at once; what is more, and what comes while another sends, is for the thread
//! `Sender-`*addr*, which may wait for the learner. So a lone proposal needs no other thread, and
//! many leave with one write.
//!
//! What may wait is not bounded: a learner that does not acknowledge in time is dropped with all it
//! holds.

use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, Ordering};
use std::thread;

use rustix::net::SendFlags;

use crate::common::config::LearnerType;
use crate::common::sync::{Condvar, Mutex, Rank};
use crate::common::time;
use crate::jute::{Jute, OutputExt};
use crate::metrics::ServerMetrics;
use crate::proto::quorum::QuorumPacket;
use crate::proto::{ServerId, TxnLogEntry, Zxid};
use crate::quorum::packet_stream::PacketType;
use crate::quorum::zab::proposals::AckSource;
use crate::quorum::zab::sync_limit_check::SyncLimitCheck;

/// A packet on its way to a learner.
#[derive(Debug, Clone)]
pub enum OutPacket {
    /// PROPOSAL.
    Proposal(Arc<TxnLogEntry>),
    /// COMMIT.
    Commit(Zxid),
    /// INFORM.
    Inform(Arc<TxnLogEntry>),
    /// Any other.
    Other(QuorumPacket),
    /// None at all: measures how long packets wait, since this time in ms.
    Marker(i64),
}

impl OutPacket {
    /// The bytes that are worth counting.
    fn size(&self) -> usize {
        match self {
            OutPacket::Proposal(entry) | OutPacket::Inform(entry) => entry.bytes.len(),
            _ => 0,
        }
    }
}

/// Every so many packets the time that they wait is measured.
const MARKER_PACKET_INTERVAL: u64 = 1000;

/// More packets, or bytes, are not sent by who added them: others wait for that thread.
const OWN_PACKETS_MAX: usize = 256;
const OWN_BYTES_MAX: usize = 256 << 10;

/// A larger buffer is given back after it was sent.
const KEEP_BYTES_MAX: usize = 512 << 10;

/// Who sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    /// Nobody: there is nothing to send, or who has just added it is about to.
    Nobody,
    /// Somebody who added packets.
    Adder,
    /// The thread, or nobody before it is there.
    Thread,
}

/// What has not left yet.
struct Outgoing {
    packets: Vec<OutPacket>,
    /// Of the packets, about.
    bytes: usize,
    /// The rest of packets that the socket did not take; before `packets`.
    unsent: Vec<u8>,
    sending: Sending,
    /// Nothing is added any more: the thread ends once all is sent.
    is_last: bool,
    packets_added: u64,
}

impl Outgoing {
    fn take(&mut self) -> Vec<OutPacket> {
        self.bytes = 0;
        std::mem::take(&mut self.packets)
    }
}

/// See the module.
pub struct LearnerLink {
    id: u64,
    remote: SocketAddr,
    sid: AtomicI64,
    is_observer: AtomicBool,
    socket: TcpStream,
    outgoing: Mutex<Outgoing>,
    /// Wakes the thread: `sending` or `is_closed` has changed.
    has_changed: Condvar,
    has_sender: AtomicBool,
    is_closed: AtomicBool,
    /// The last tick by which the next packet has to come.
    tick_of_next_ack_deadline: AtomicI32,
    /// When the last packet came (elapsed clock).
    last_heard_ms: AtomicI64,
    sync_limit_check: Mutex<SyncLimitCheck>,
}

impl LearnerLink {
    /// A learner that nothing is known of but its socket.
    pub fn new(id: u64, remote: SocketAddr, socket: TcpStream) -> Arc<LearnerLink> {
        Arc::new(LearnerLink {
            id,
            remote,
            sid: AtomicI64::new(ServerId::NONE.0),
            is_observer: AtomicBool::new(false),
            socket,
            outgoing: Mutex::new(
                Rank::Inbox,
                Outgoing {
                    packets: Vec::new(),
                    bytes: 0,
                    unsent: Vec::new(),
                    sending: Sending::Thread,
                    is_last: false,
                    packets_added: 0,
                },
            ),
            has_changed: Condvar::new(),
            has_sender: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            tick_of_next_ack_deadline: AtomicI32::new(i32::MAX),
            last_heard_ms: AtomicI64::new(time::elapsed_ms()),
            sync_limit_check: Mutex::new(Rank::Leaf, SyncLimitCheck::default()),
        })
    }

    /// The number of this connection, which sessions and acknowledgements are bound to.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The learner's address.
    pub fn remote(&self) -> SocketAddr {
        self.remote
    }

    /// Who it says it is; [`ServerId::NONE`] before it has.
    pub fn sid(&self) -> ServerId {
        ServerId(self.sid.load(Ordering::Relaxed))
    }

    /// The learner has introduced itself.
    pub fn set_learner(&self, sid: ServerId, learner_type: LearnerType) {
        self.sid.store(sid.0, Ordering::Relaxed);
        self.is_observer.store(learner_type == LearnerType::Observer, Ordering::Relaxed);
    }

    /// Whether it came as a follower.
    pub fn is_participant(&self) -> bool {
        !self.is_observer.load(Ordering::Relaxed)
    }

    /// What its acknowledgements come from.
    pub fn ack_source(&self) -> AckSource {
        AckSource { sid: self.sid(), connection: self.id }
    }

    /// Adds packets; they leave in this order. Call [`Self::flush`] once no lock is held.
    pub fn queue(&self, packets: impl IntoIterator<Item = OutPacket>) {
        if self.is_closed.load(Ordering::Relaxed) {
            return;
        }
        let mut outgoing = self.outgoing.lock();
        if outgoing.is_last {
            return;
        }
        for packet in packets {
            outgoing.bytes += packet.size();
            outgoing.packets.push(packet);
            if outgoing.packets_added.is_multiple_of(MARKER_PACKET_INTERVAL) {
                outgoing.packets.push(OutPacket::Marker(time::elapsed_ms()));
            }
            outgoing.packets_added += 1;
        }
    }

    /// Sends what was added, or has it sent. Never waits for the learner.
    pub fn flush(&self, metrics: &ServerMetrics) {
        let mut outgoing = self.outgoing.lock();
        if outgoing.sending != Sending::Nobody || outgoing.packets.is_empty() {
            return; // Who is sending looks again.
        }
        if outgoing.packets.len() > OWN_PACKETS_MAX || outgoing.bytes > OWN_BYTES_MAX {
            outgoing.sending = Sending::Thread;
            self.has_changed.notify_one();
            return;
        }
        outgoing.sending = Sending::Adder;
        let packets = outgoing.take();
        drop(outgoing);
        let mut bytes = Vec::new();
        self.encode(packets, &mut bytes, metrics);
        let sent = self.send_now(&bytes);
        let mut outgoing = self.outgoing.lock();
        if sent < bytes.len() {
            bytes.drain(..sent);
            outgoing.unsent = bytes;
        }
        if outgoing.unsent.is_empty() && outgoing.packets.is_empty() && !outgoing.is_last {
            outgoing.sending = Sending::Nobody;
        } else {
            outgoing.sending = Sending::Thread;
            self.has_changed.notify_one();
        }
    }

    /// Adds a packet and sends it.
    pub fn send(&self, packet: OutPacket, metrics: &ServerMetrics) {
        self.queue([packet]);
        self.flush(metrics);
    }

    /// How many bytes the socket took without waiting. An error is left to the thread, which finds
    /// it again.
    fn send_now(&self, bytes: &[u8]) -> usize {
        let mut sent = 0;
        while let Some(rest) = bytes.get(sent..).filter(|rest| !rest.is_empty()) {
            match rustix::net::send(&self.socket, rest, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(count) => sent += count,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => break,
            }
        }
        sent
    }

    /// Appends packets that are about to be sent.
    fn encode(&self, packets: Vec<OutPacket>, out: &mut Vec<u8>, metrics: &ServerMetrics) {
        let now_ms = time::elapsed_ms();
        let proposal = |packet: &OutPacket| match packet {
            OutPacket::Proposal(entry) => Some(entry.zxid()),
            _ => None,
        };
        // Those in between do not count.
        let first = packets.iter().find_map(proposal);
        let last = packets.iter().rev().find_map(proposal).filter(|last| Some(*last) != first);
        if first.is_some() {
            let mut check = self.sync_limit_check.lock();
            first.into_iter().chain(last).for_each(|zxid| check.update_proposal(zxid, now_ms));
        }
        for packet in packets {
            match packet {
                OutPacket::Proposal(entry) => {
                    put(out, PacketType::Proposal, entry.zxid(), Some(&entry.bytes));
                }
                OutPacket::Commit(zxid) => put(out, PacketType::Commit, zxid, None),
                OutPacket::Inform(entry) => {
                    put(out, PacketType::Inform, entry.zxid(), Some(&entry.bytes));
                }
                OutPacket::Other(packet) => packet.encode(out),
                OutPacket::Marker(since_ms) => {
                    let waited_ms = now_ms.saturating_sub(since_ms);
                    metrics.learner_handler_qp_time_ms.add(&self.sid().to_string(), waited_ms);
                }
            }
        }
    }

    /// Whether it has acknowledged anything in time, at tick `tick` (`synced`).
    pub fn is_synced(&self, tick: i32) -> bool {
        !self.is_closed.load(Ordering::Acquire)
            && tick <= self.tick_of_next_ack_deadline.load(Ordering::Relaxed)
    }

    /// Something came from it; the next has to come by `deadline`, a tick.
    pub fn heard(&self, deadline: i32, now_ms: i64) {
        self.set_deadline(deadline);
        self.last_heard_ms.store(now_ms, Ordering::Relaxed);
    }

    /// The tick by which the next packet has to come.
    pub fn set_deadline(&self, deadline: i32) {
        self.tick_of_next_ack_deadline.store(deadline, Ordering::Relaxed);
    }

    /// When the last packet came (elapsed clock).
    pub fn last_heard_ms(&self) -> i64 {
        self.last_heard_ms.load(Ordering::Relaxed)
    }

    /// From now on proposals have to be acknowledged in time.
    pub fn start_sync_limit_check(&self) {
        self.sync_limit_check.lock().start();
    }

    /// A proposal was acknowledged.
    pub fn update_ack(&self, zxid: Zxid) {
        self.sync_limit_check.lock().update_ack(zxid);
    }

    /// Sends a ping with the last proposal's zxid; or ends the connection, if the learner has not
    /// acknowledged a proposal for `sync_timeout_ms`.
    pub fn ping(
        &self,
        last_proposed: Zxid,
        now_ms: i64,
        sync_timeout_ms: i64,
        metrics: &ServerMetrics,
    ) {
        if !self.has_sender.load(Ordering::Acquire) {
            return;
        }
        if self.sync_limit_check.lock().check(now_ms, sync_timeout_ms) {
            self.send(OutPacket::Other(PacketType::Ping.packet(last_proposed.0, None)), metrics);
        } else {
            log::warn!("Closing connection to peer due to transaction timeout.");
            self.close();
        }
    }

    /// Ends the connection: both of its threads end. May be called more than once.
    pub fn close(&self) {
        if !self.is_closed.swap(true, Ordering::AcqRel) {
            let _ = self.socket.shutdown(Shutdown::Both); // The learner was faster.
            // Under the lock: the thread either has not looked yet, or waits.
            let mut outgoing = self.outgoing.lock();
            drop(outgoing.take());
            self.has_changed.notify_one();
        }
    }

    /// Ends the connection once everything added so far is sent; at once if the learner still gets
    /// its history.
    pub fn close_after_flush(&self) {
        if !self.has_sender.load(Ordering::Acquire) {
            self.close();
            return;
        }
        let mut outgoing = self.outgoing.lock();
        outgoing.is_last = true;
        if outgoing.sending == Sending::Nobody {
            outgoing.sending = Sending::Thread;
            self.has_changed.notify_one();
        }
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// The work of the thread `Sender-`*addr* (`sendPackets`): sends what others have not, until the
    /// connection ends.
    pub fn send_packets(&self, metrics: &ServerMetrics) {
        self.has_sender.store(true, Ordering::Release);
        if let Err(error) = self.send_loop(metrics)
            && !self.is_closed.load(Ordering::Relaxed)
        {
            log::error!("Exception while sending packets in LearnerHandler: {error}");
        }
        self.close();
    }

    fn send_loop(&self, metrics: &ServerMetrics) -> io::Result<()> {
        let key = self.sid().to_string();
        let mut bytes = Vec::new();
        while let Some(packets) = self.next_packets(&mut bytes) {
            metrics.learner_handler_qp_size.add(&key, packets.len() as i64);
            self.encode(packets, &mut bytes, metrics);
            (&self.socket).write_all(&bytes)?;
            bytes.clear();
            bytes.shrink_to(KEEP_BYTES_MAX);
        }
        Ok(())
    }

    /// Waits for packets to send; what is unsent of earlier ones is moved into `unsent`, which is
    /// empty. `None`: the connection ends.
    fn next_packets(&self, unsent: &mut Vec<u8>) -> Option<Vec<OutPacket>> {
        let mut has_waited = false;
        let mut outgoing = self.outgoing.lock();
        loop {
            if self.is_closed() {
                return None;
            }
            if outgoing.sending == Sending::Thread {
                if !outgoing.unsent.is_empty() {
                    std::mem::swap(unsent, &mut outgoing.unsent);
                    return Some(outgoing.take());
                }
                if !outgoing.packets.is_empty() {
                    return Some(outgoing.take());
                }
                if outgoing.is_last {
                    return None;
                }
                if !has_waited {
                    // One turn for others, who may add more: it leaves with one write.
                    has_waited = true;
                    drop(outgoing);
                    thread::yield_now();
                    outgoing = self.outgoing.lock();
                    continue;
                }
                outgoing.sending = Sending::Nobody;
            }
            self.has_changed.wait(&mut outgoing);
        }
    }
}

/// A packet without ids.
fn put(out: &mut Vec<u8>, kind: PacketType, zxid: Zxid, data: Option<&[u8]>) {
    out.put_i32(kind.as_i32());
    out.put_i64(zxid.0);
    out.put_bytes(data);
    out.put_count(0);
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use super::*;
    use crate::jute::Limits;
    use crate::quorum::packet_stream::PacketReader;

    fn pair() -> (Arc<LearnerLink>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let learner = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (socket, remote) = listener.accept().unwrap();
        (LearnerLink::new(1, remote, socket), learner)
    }

    fn start(link: &Arc<LearnerLink>, metrics: &Arc<ServerMetrics>) -> thread::JoinHandle<()> {
        let thread = {
            let (link, metrics) = (Arc::clone(link), Arc::clone(metrics));
            thread::spawn(move || link.send_packets(&metrics))
        };
        while !link.has_sender.load(Ordering::Acquire) {
            thread::yield_now();
        }
        thread
    }

    /// Commits with these counters, in batches of many sizes.
    fn add(link: &LearnerLink, metrics: &ServerMetrics, range: std::ops::Range<i64>) {
        let mut counters = range.peekable();
        let mut size = 0;
        while counters.peek().is_some() {
            size = (size + 7) % 40;
            link.queue(counters.by_ref().take(size + 1).map(|n| OutPacket::Commit(Zxid(n))));
            link.flush(metrics);
        }
    }

    #[test]
    fn packets_leave_in_their_order_whoever_sends_them() {
        let ((link, learner), metrics) = (pair(), Arc::new(ServerMetrics::default()));
        add(&link, &metrics, 0..50);
        let sender = start(&link, &metrics);
        // Another one flushes too; order is made by who adds.
        let flusher = {
            let (link, metrics) = (Arc::clone(&link), Arc::clone(&metrics));
            thread::spawn(move || {
                while !link.is_closed() {
                    link.flush(&metrics);
                    thread::yield_now();
                }
            })
        };
        let adder = {
            let (link, metrics) = (Arc::clone(&link), Arc::clone(&metrics));
            thread::spawn(move || add(&link, &metrics, 50..5_000))
        };
        let mut reader = PacketReader::new(learner, Limits::default());
        for n in 0..5_000 {
            assert_eq!(reader.read_packet().unwrap().zxid, n);
        }
        adder.join().unwrap();
        link.queue([OutPacket::Commit(Zxid(5_000))]);
        link.close_after_flush();
        link.queue([OutPacket::Commit(Zxid(5_001))]);
        assert_eq!(reader.read_packet().unwrap().zxid, 5_000);
        assert!(reader.read_packet().is_err());
        sender.join().unwrap();
        flusher.join().unwrap();
    }

    #[test]
    fn a_learner_that_does_not_read_holds_up_the_thread_alone() {
        let ((link, mut learner), metrics) = (pair(), Arc::new(ServerMetrics::default()));
        let sender = start(&link, &metrics);
        let data: Arc<[u8]> = Arc::from(vec![7; 60_000]);
        for n in 0..500 {
            let packet = PacketType::Sync.packet(n, Some(Arc::clone(&data)));
            link.send(OutPacket::Other(packet), &metrics);
        }
        link.close_after_flush();
        let mut all = Vec::new();
        learner.read_to_end(&mut all).unwrap();
        assert_eq!(all.len(), 500 * (4 + 8 + 4 + 60_000 + 4));
        sender.join().unwrap();
        assert!(link.is_closed());
    }

    #[test]
    fn closing_ends_the_thread_and_forgets_the_rest() {
        let ((link, learner), metrics) = (pair(), Arc::new(ServerMetrics::default()));
        let sender = start(&link, &metrics);
        link.close();
        link.close();
        sender.join().unwrap();
        link.send(OutPacket::Commit(Zxid(1)), &metrics);
        assert!(link.outgoing.lock().packets.is_empty());
        drop(learner);
    }
}
