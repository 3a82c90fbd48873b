//! `LearnerHandler`: the thread of one learner. It agrees with it on the epoch, brings it up to
//! date, and then reads what it sends. What is sent to it goes through its
//! [`LearnerLink`](super::learner_link).
//!
//! ```text
//! learner                              leader
//! FOLLOWERINFO | OBSERVERINFO   →
//!                               ←      LEADERINFO(epoch)          a quorum has connected
//! ACKEPOCH(last zxid)           →
//!                               ←      DIFF | TRUNC | SNAP …      a quorum has promised
//!                               ←      NEWLEADER
//! ACK(NEWLEADER)                →
//!                               ←      UPTODATE                   a quorum has the history
//! ACK, PING, REQUEST, REVALIDATE
//! ```
//!
//! Deliberate differences:
//! - All acknowledgements that have arrived are processed at once.
//! - An acknowledgement of a proposal may come before that of NEWLEADER (ZOOKEEPER-4685).
//! - Whatever is malformed ends this connection, and nothing else; before a learner has introduced
//!   itself its packets must be small.

use std::io::{self, ErrorKind};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use super::learner_link::{LearnerLink, OutPacket};
use super::learner_master::{LearnerError, LearnerMaster};
use super::learner_sync_throttler::SyncSlot;
use super::sync_follower::{SyncKind, sync_follower};
use crate::common::config::LearnerType;
use crate::common::thread::{self, OwnedThread};
use crate::common::time;
use crate::jute::{Input, Limits};
use crate::proto::quorum::QuorumPacket;
use crate::proto::{ServerId, SessionId, Zxid};
use crate::quorum::packet_stream::{PacketReader, PacketType, PacketWriter, link_limits};
use crate::quorum::zab::epoch::StateSummary;
use crate::quorum::zab::proposals::LearnerAcks;
use crate::server::request::Request;

/// From this version on learners are told the epoch before they tell their state.
const PROTOCOL_VERSION: i32 = 0x10000;
/// Data of the packets before a learner is known: at most 20 bytes are of any use.
const INTRODUCTION_LIMITS: Limits = Limits { buffer_bytes_max: 1024 };

/// See the module.
pub struct LearnerHandler {
    master: Arc<dyn LearnerMaster>,
    link: Arc<LearnerLink>,
    socket: TcpStream,
    sender: Option<OwnedThread>,
}

/// Also when the thread panics: nobody counts on this learner any more.
impl Drop for LearnerHandler {
    fn drop(&mut self) {
        log::warn!("******* GOODBYE {} ********", self.link.remote());
        let started_ms = time::elapsed_ms();
        self.link.close();
        self.master.metrics().socket_closing_time.add(time::elapsed_ms() - started_ms);
        self.master.remove_learner_handler(&self.link);
        drop(self.sender.take());
    }
}

/// Who has connected.
struct Introduction {
    sid: ServerId,
    version: i32,
    accepted: Zxid,
}

impl LearnerHandler {
    /// For a connection that has just been accepted; `link` is in the list of learners already.
    pub fn new(
        master: Arc<dyn LearnerMaster>,
        link: Arc<LearnerLink>,
        socket: TcpStream,
    ) -> LearnerHandler {
        LearnerHandler { master, link, socket, sender: None }
    }

    /// The work of the thread `LearnerHandler-`*addr*.
    pub fn run(&mut self) {
        self.link.set_deadline(self.master.tick_of_initial_ack_deadline());
        let remote = self.link.remote();
        match self.serve() {
            Ok(()) => {}
            Err(LearnerError::Io(error)) if error.kind() == ErrorKind::UnexpectedEof => {
                log::warn!("Connection to learner {} at {remote} was closed", self.link.sid());
            }
            Err(LearnerError::Stopped) => log::debug!("Learner {remote}: the role ends"),
            Err(error) => log::error!("Unexpected exception in LearnerHandler {remote}: {error}"),
        }
    }

    fn serve(&mut self) -> Result<(), LearnerError> {
        let mut reader = PacketReader::new(self.socket.try_clone()?, INTRODUCTION_LIMITS);
        let mut writer = PacketWriter::new(self.socket.try_clone()?);
        let learner = self.introduce(&mut reader)?;
        let (new_leader, peer_last) = self.agree_on_epoch(&learner, &mut reader, &mut writer)?;
        reader.set_limits(link_limits(self.master.limits()));
        // A snapshot may take a while, but not for the learner to take a piece of it.
        let stall = Duration::from_millis(self.master.init_timeout_ms().max(1));
        self.socket.set_write_timeout(Some(stall))?;
        let (kind, slot) = sync_follower(&*self.master, &self.link, peer_last, &mut writer)?;
        self.send_new_leader(&learner, new_leader, &mut writer)?;
        self.socket.set_write_timeout(Some(Duration::from_millis(self.write_timeout_ms())))?;
        self.start_sending_packets()?;
        let mut acks = LearnerAcks::default();
        self.await_new_leader_ack(new_leader, &mut acks, &mut reader)?;
        self.synced(kind, slot)?;
        let early = acks.new_leader_acked();
        if !early.is_empty() {
            self.master.process_acks(&self.link, &early);
        }
        self.master.wait_for_startup()?;
        log::debug!("Sending UPTODATE message to {}", learner.sid);
        let packet = PacketType::UpToDate.packet(-1, None);
        self.link.send(OutPacket::Other(packet), self.master.metrics());
        self.read_packets(&mut reader)
    }

    /// A learner that does not read for so long will be dropped anyway.
    fn write_timeout_ms(&self) -> u64 {
        self.master.sync_timeout_ms().max(self.master.init_timeout_ms()).max(1)
    }

    fn introduce(
        &self,
        reader: &mut PacketReader<TcpStream>,
    ) -> Result<Introduction, LearnerError> {
        let packet = reader.read_packet()?;
        let learner_type = match PacketType::from_i32(packet.packet_type) {
            Some(PacketType::FollowerInfo) => LearnerType::Participant,
            Some(PacketType::ObserverInfo) => LearnerType::Observer,
            _ => {
                return Err(LearnerError::Protocol(format!(
                    "First packet {} is not FOLLOWERINFO or OBSERVERINFO!",
                    packet.packet_type
                )));
            }
        };
        let mut learner =
            Introduction { sid: ServerId(0), version: 1, accepted: Zxid(packet.zxid) };
        match &packet.data {
            None => learner.sid = self.master.next_follower_counter(),
            Some(data) => {
                // 8, 12 or 20 bytes, by the learner's age.
                let mut input = Input::unbounded(data);
                if let Ok(sid) = input.read_i64() {
                    learner.sid = ServerId(sid);
                    if let Ok(version) = input.read_i32() {
                        learner.version = version;
                        if let Ok(config_version) = input.read_i64()
                            && config_version > self.master.quorum_verifier_version()
                        {
                            return Err(LearnerError::Protocol(
                                "Follower is ahead of the leader (has a later activated \
                                 configuration)"
                                    .to_owned(),
                            ));
                        }
                    }
                }
            }
        }
        if learner.sid == self.master.my_id() {
            // Its acknowledgements would be taken for our own.
            let why = format!("Follower has the id of this server: {}", learner.sid);
            return Err(LearnerError::Protocol(why));
        }
        match self.master.peer_info(learner.sid) {
            Some(info) => log::info!("Follower sid: {} : info : {info}", learner.sid),
            None => log::info!(
                "Follower sid: {} not in the current config {:x}",
                learner.sid,
                self.master.quorum_verifier_version()
            ),
        }
        self.link.set_learner(learner.sid, learner_type);
        Ok(learner)
    }

    /// The zxid of NEWLEADER, and the last transaction in the learner's log.
    fn agree_on_epoch(
        &self,
        learner: &Introduction,
        reader: &mut PacketReader<TcpStream>,
        writer: &mut PacketWriter<TcpStream>,
    ) -> Result<(Zxid, Zxid), LearnerError> {
        let epoch = self.master.epoch_to_propose(learner.sid, learner.accepted.epoch())?;
        let new_leader = Zxid::new(epoch, 0);
        let summary = if learner.version < PROTOCOL_VERSION {
            let last_zxid = learner.accepted;
            StateSummary { current_epoch: last_zxid.epoch(), last_zxid }
        } else {
            let version = PROTOCOL_VERSION.to_be_bytes();
            writer.write(PacketType::LeaderInfo, new_leader.0, Some(&version))?;
            writer.flush()?;
            let packet = reader.read_packet()?;
            if packet.packet_type != PacketType::AckEpoch.as_i32() {
                return Err(LearnerError::Protocol(format!(
                    "{} is not ACKEPOCH",
                    packet.packet_type
                )));
            }
            let data = packet.data.as_deref().unwrap_or_default();
            let current_epoch = Input::unbounded(data).read_i32().map_err(malformed)?;
            StateSummary { current_epoch: current_epoch.into(), last_zxid: Zxid(packet.zxid) }
        };
        self.master.wait_for_epoch_ack(learner.sid, summary)?;
        Ok((new_leader, summary.last_zxid))
    }

    fn send_new_leader(
        &self,
        learner: &Introduction,
        zxid: Zxid,
        writer: &mut PacketWriter<TcpStream>,
    ) -> Result<(), LearnerError> {
        log::debug!("Sending NEWLEADER message to {}", learner.sid);
        if learner.version < PROTOCOL_VERSION {
            writer.write(PacketType::NewLeader, zxid.0, None)?;
        } else {
            // Behind what has been forwarded meanwhile, as Java's learners expect.
            let config = self.master.quorum_verifier_bytes();
            let packet = PacketType::NewLeader.packet(zxid.0, Some(config.into()));
            self.link.queue([OutPacket::Other(packet)]);
        }
        Ok(writer.flush()?)
    }

    fn start_sending_packets(&mut self) -> io::Result<()> {
        let (link, metrics) = (Arc::clone(&self.link), Arc::clone(self.master.metrics()));
        let name = format!("Sender-{}", self.link.remote());
        let body = move || link.send_packets(&metrics);
        self.sender = Some(thread::spawn(name, thread::STACK_BYTES, body)?);
        Ok(())
    }

    fn await_new_leader_ack(
        &self,
        new_leader: Zxid,
        acks: &mut LearnerAcks,
        reader: &mut PacketReader<TcpStream>,
    ) -> Result<(), LearnerError> {
        loop {
            let packet = reader.read_packet()?;
            let zxid = Zxid(packet.zxid);
            match PacketType::from_i32(packet.packet_type) {
                Some(PacketType::Ack)
                    if zxid.counter() != 0 && zxid.epoch() == new_leader.epoch() =>
                {
                    acks.counts(zxid);
                }
                Some(PacketType::Ack) => {
                    log::debug!("Received NEWLEADER-ACK message from {}", self.link.sid());
                    return self.master.wait_for_new_leader_ack(self.link.sid(), zxid);
                }
                // The sender pings already.
                Some(PacketType::Ping) => {}
                _ => {
                    return Err(LearnerError::Protocol(format!(
                        "Next packet was supposed to be an ACK, but received packet: {}",
                        packet.packet_type
                    )));
                }
            }
        }
    }

    /// The synchronisation is over.
    fn synced(&self, kind: SyncKind, slot: SyncSlot) -> io::Result<()> {
        self.link.start_sync_limit_check();
        drop(slot);
        let metrics = self.master.metrics();
        match kind {
            SyncKind::Snap => {
                let in_progress = self.master.snap_throttler().sync_in_progress();
                metrics.inflight_snap_count.add(in_progress.into());
            }
            SyncKind::Diff => {
                let in_progress = self.master.diff_throttler().sync_in_progress();
                metrics.inflight_diff_count.add(in_progress.into());
            }
        }
        let timeout = Duration::from_millis(self.master.sync_timeout_ms().max(1));
        self.socket.set_read_timeout(Some(timeout))
    }

    fn read_packets(&self, reader: &mut PacketReader<TcpStream>) -> Result<(), LearnerError> {
        let mut taken = Taken::default();
        loop {
            let mut next = Some(reader.read_packet()?);
            self.link.heard(self.master.tick_of_next_ack_deadline(), time::elapsed_ms());
            while let Some(packet) = next {
                self.take(packet, &mut taken)?;
                next = reader.next_buffered()?;
            }
            if !taken.acks.is_empty() {
                self.master.process_acks(&self.link, &taken.acks);
                taken.acks.clear();
            }
            if !taken.requests.is_empty() {
                self.master.submit_learner_requests(&mut taken.requests);
            }
        }
    }

    fn take(&self, packet: QuorumPacket, taken: &mut Taken) -> Result<(), LearnerError> {
        let kind = PacketType::from_i32(packet.packet_type);
        if kind == Some(PacketType::Ack) {
            taken.acks.push(Zxid(packet.zxid));
            return Ok(());
        }
        let data = packet.data.as_deref().unwrap_or_default();
        match kind {
            Some(PacketType::Ping) => {
                let mut input = Input::unbounded(data);
                while !input.is_empty() {
                    let session = SessionId(input.read_i64().map_err(malformed)?);
                    self.master.touch(session, input.read_i32().map_err(malformed)?);
                }
            }
            Some(PacketType::Revalidate) => {
                self.master.metrics().revalidate_count.increment();
                let mut input = Input::unbounded(data);
                let session = SessionId(input.read_i64().map_err(malformed)?);
                let timeout_ms = input.read_i32().map_err(malformed)?;
                self.master.revalidate_session(&self.link, session, timeout_ms);
            }
            Some(PacketType::Request) => {
                let request = Request::from_learner(
                    data,
                    packet.authinfo,
                    self.link.id(),
                    self.master.limits(),
                    time::elapsed_ms(),
                )
                .map_err(malformed)?;
                taken.requests.push(request);
            }
            _ => log::warn!("unexpected quorum packet, type: {}", packet.packet_type),
        }
        Ok(())
    }
}

/// What has come at once from a learner. One batch each: which came first makes no difference.
#[derive(Default)]
struct Taken {
    acks: Vec<Zxid>,
    requests: Vec<Request>,
}

fn malformed(error: crate::jute::JuteError) -> LearnerError {
    LearnerError::Protocol(format!("malformed packet: {error}"))
}
