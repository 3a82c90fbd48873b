//! A learner as the leader sees it from other threads: the queue of packets to it, and what decides
//! whether it counts as synced. The sending half of `LearnerHandler`.
//!
//! Proposals, commits and informs are queued as shared transactions; the thread `Sender-`*addr*
//! encodes what has queued up and writes it at once.
//!
//! The queue is unbounded: a learner that does not acknowledge in time is dropped with all it holds.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU64, AtomicUsize, Ordering};

use crate::common::config::LearnerType;
use crate::common::linked_blocking_queue::{Receiver, Sender, TryRecvError, unbounded};
use crate::common::sync::{Mutex, Rank};
use crate::common::time;
use crate::metrics::ServerMetrics;
use crate::proto::quorum::QuorumPacket;
use crate::proto::{ServerId, TxnLogEntry, Zxid};
use crate::quorum::packet_stream::{PacketType, PacketWriter};
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
    /// None at all: measures how long packets are queued, since this time in ms.
    Marker(i64),
    /// Nothing more is sent.
    End,
}

/// Every so many packets the time in the queue is measured.
const MARKER_PACKET_INTERVAL: u64 = 1000;

/// See the module.
pub struct LearnerLink {
    id: u64,
    remote: SocketAddr,
    sid: AtomicI64,
    is_observer: AtomicBool,
    socket: TcpStream,
    queue: Sender<OutPacket>,
    /// Taken by the sender's thread.
    packets: Mutex<Option<Receiver<OutPacket>>>,
    queued: AtomicUsize,
    packets_queued: AtomicU64,
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
        let (queue, packets) = unbounded();
        Arc::new(LearnerLink {
            id,
            remote,
            sid: AtomicI64::new(ServerId::NONE.0),
            is_observer: AtomicBool::new(false),
            socket,
            queue,
            packets: Mutex::new(Rank::Leaf, Some(packets)),
            queued: AtomicUsize::new(0),
            packets_queued: AtomicU64::new(0),
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

    /// Puts packets into the queue; they leave in this order.
    pub fn queue(&self, packet: OutPacket) {
        if self.is_closed.load(Ordering::Relaxed) {
            return;
        }
        let count = self.packets_queued.fetch_add(1, Ordering::Relaxed);
        self.queued.fetch_add(1, Ordering::Relaxed);
        let _ = self.queue.send(packet); // The sender has ended: so does the connection.
        if count.is_multiple_of(MARKER_PACKET_INTERVAL) {
            self.queued.fetch_add(1, Ordering::Relaxed);
            let _ = self.queue.send(OutPacket::Marker(time::elapsed_ms())); // As above.
        }
    }

    /// Packets in the queue.
    pub fn queued_packets(&self) -> usize {
        self.queued.load(Ordering::Relaxed)
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
    pub fn ping(&self, last_proposed: Zxid, now_ms: i64, sync_timeout_ms: i64) {
        if !self.has_sender.load(Ordering::Acquire) {
            return;
        }
        if self.sync_limit_check.lock().check(now_ms, sync_timeout_ms) {
            self.queue(OutPacket::Other(PacketType::Ping.packet(last_proposed.0, None)));
        } else {
            log::warn!("Closing connection to peer due to transaction timeout.");
            self.close();
        }
    }

    /// Ends the connection: both of its threads end. May be called more than once.
    pub fn close(&self) {
        if !self.is_closed.swap(true, Ordering::AcqRel) {
            let _ = self.queue.send(OutPacket::End); // The sender has ended already.
            let _ = self.socket.shutdown(Shutdown::Both); // The learner was faster.
        }
    }

    /// Ends the connection once everything queued so far is written; at once if the learner still
    /// gets its history.
    pub fn close_after_flush(&self) {
        if self.has_sender.load(Ordering::Acquire) {
            self.queue(OutPacket::End);
        } else {
            self.close();
        }
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Acquire)
    }

    /// The work of the thread `Sender-`*addr* (`sendPackets`): takes what has queued up, writes it,
    /// until the connection ends.
    pub fn send_packets(&self, metrics: &ServerMetrics) {
        self.has_sender.store(true, Ordering::Release);
        let Some(packets) = self.packets.lock().take() else { return };
        let mut writer = PacketWriter::new(&self.socket);
        if let Err(error) = self.send_loop(&packets, &mut writer, metrics)
            && !self.is_closed.load(Ordering::Relaxed)
        {
            log::error!("Exception while sending packets in LearnerHandler: {error}");
        }
        self.close();
    }

    fn send_loop(
        &self,
        packets: &Receiver<OutPacket>,
        writer: &mut PacketWriter<&TcpStream>,
        metrics: &ServerMetrics,
    ) -> io::Result<()> {
        let key = self.sid().to_string();
        loop {
            let packet = match packets.try_recv() {
                Ok(packet) => packet,
                Err(TryRecvError::Disconnected) => return Ok(()),
                Err(TryRecvError::Empty) => {
                    writer.flush()?;
                    metrics.learner_handler_qp_size.add(&key, self.queued_packets() as i64);
                    match packets.recv() {
                        Ok(packet) => packet,
                        Err(_) => return Ok(()),
                    }
                }
            };
            self.queued.fetch_sub(1, Ordering::Relaxed);
            match packet {
                OutPacket::Proposal(entry) => {
                    self.sync_limit_check.lock().update_proposal(entry.zxid(), time::elapsed_ms());
                    writer.write(PacketType::Proposal, entry.zxid().0, Some(&entry.bytes))?;
                }
                OutPacket::Commit(zxid) => writer.write(PacketType::Commit, zxid.0, None)?,
                OutPacket::Inform(entry) => {
                    writer.write(PacketType::Inform, entry.zxid().0, Some(&entry.bytes))?;
                }
                OutPacket::Other(packet) => writer.write_packet(&packet)?,
                OutPacket::Marker(since_ms) => {
                    let waited_ms = time::elapsed_ms().saturating_sub(since_ms);
                    metrics.learner_handler_qp_time_ms.add(&key, waited_ms);
                }
                OutPacket::End => return writer.flush(),
            }
        }
    }
}
