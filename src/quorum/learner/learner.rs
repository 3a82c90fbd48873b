//! `Learner`: the driver of a follower or an observer, on the thread of the peer. It connects to the
//! leader, reads its packets, and carries out what [`LearnerSync`] makes of them, in that order.
//!
//! Packets are taken in batches, as many as have arrived: transactions of a batch are applied under one
//! hold of the tree's guard, handed to the log together and acknowledged with one write.
//!
//! Deliberate difference: an error of the disk ends the process (Java goes back to an election, or
//! on). What the leader does wrong ends the connection only. A log that cannot be cut as far back as
//! the leader asks ends the process as in Java, with code 13.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::leader_connector::{ConnectSettings, connect_to_leader};
use super::leader_link::{LeaderLink, LearnerSender};
use super::leader_packet;
use super::learner_zookeeper_server::LearnerZooKeeperServer;
use crate::common::config::QuorumServer;
use crate::common::exit_code::ExitCode;
use crate::common::rate_logger::RateLogger;
use crate::common::thread::CriticalError;
use crate::common::time;
use crate::jute::{Jute, JuteError, Limits, OutputExt};
use crate::persistence::PersistenceError;
use crate::proto::quorum::LearnerInfo;
use crate::proto::{Txn, TxnLogEntry, Zxid};
use crate::quorum::commit_processor::Commit;
use crate::quorum::packet_stream::{PacketReader, PacketType, link_limits};
use crate::quorum::peer_state::{SyncMode, ZabState};
use crate::quorum::quorum_database::{DatabaseError, QuorumDatabase};
use crate::quorum::quorum_peer::QuorumPeer;
use crate::quorum::quorum_peer_thread::RoleResult;
use crate::quorum::shutdown::ShutdownHook;
use crate::quorum::zab::learner_sync::{
    LeaderPacket, LearnerAction, LearnerKind, LearnerStart, LearnerSync, LearnerSyncError,
    PROTOCOL_VERSION,
};
use crate::server::event_sink::CountWrites;

/// Packets carried out together.
const BATCH_MAX: usize = 1000;

/// Why a learner leaves its leader.
#[derive(Debug, thiserror::Error)]
enum LearnerError {
    /// The vote names nobody that is a member.
    #[error("couldn't find the leader")]
    NoLeader,
    /// The network, or the leader has closed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// A packet that does not read.
    #[error("{0}")]
    Packet(#[from] JuteError),
    /// A packet that has no place.
    #[error("{0}")]
    Protocol(#[from] LearnerSyncError),
    /// The log cannot be cut as the leader asks: the process ends with Java's code. Every leader will
    /// ask the same, so that trying again would be for ever; and what is here must not go without
    /// somebody having looked at it.
    #[error(
        "{0}: the files here do not reach back so far, and nothing was changed. To take everything \
         from the leader, move the directories version-2 away while the others serve, and start again."
    )]
    Truncate(DatabaseError),
    /// An observer without a log cannot cut what it has in memory: it begins anew with what its files
    /// hold, which is older.
    #[error("there is no log to be cut to {0}; going back to the last snapshot")]
    Forgotten(Zxid),
    /// Our disk: the process ends.
    #[error("{0}")]
    Disk(PersistenceError),
}

impl From<DatabaseError> for LearnerError {
    fn from(error: DatabaseError) -> Self {
        match error {
            DatabaseError::Persistence(error) => LearnerError::Disk(error),
            DatabaseError::Stream(error) => LearnerError::Io(error),
            error @ DatabaseError::CannotTruncate(_) => LearnerError::Truncate(error),
        }
    }
}

impl From<PersistenceError> for LearnerError {
    fn from(error: PersistenceError) -> Self {
        LearnerError::Disk(error)
    }
}

/// Learns from the leader of the current vote until it is over; the database comes back with the log
/// closed.
///
/// Errors: our disk, or what is on it (see [`LearnerError::Truncate`]); the process ends.
pub(super) fn learn(
    peer: &Arc<QuorumPeer>,
    kind: LearnerKind,
    database: QuorumDatabase,
) -> RoleResult {
    let mut learner = Learner {
        peer,
        kind,
        phase: Phase::Synchronizing(Box::new(database)),
        tree_is_ahead: false,
        connected: None,
        is_synced: false,
        notes: RateLogger::default(),
    };
    let outcome = learner.run();
    if let Err(error) = &outcome {
        let what = if kind == LearnerKind::Follower { "following" } else { "observing" };
        log::warn!("Exception when {what} the leader: {error}");
    }
    let ended = learner.end();
    match outcome {
        Err(LearnerError::Disk(error)) => Err(error.into()),
        Err(error @ LearnerError::Truncate(_)) => {
            Err(CriticalError::new(ExitCode::QuorumPacketError, error.to_string()))
        }
        _ => Ok(ended?),
    }
}

struct Learner<'a> {
    peer: &'a Arc<QuorumPeer>,
    kind: LearnerKind,
    phase: Phase,
    /// A snapshot of the leader is in the tree and not on the disk.
    tree_is_ahead: bool,
    connected: Option<Connected>,
    is_synced: bool,
    /// Packets that are passed over may come in any number.
    notes: RateLogger,
}

enum Phase {
    Synchronizing(Box<QuorumDatabase>),
    Serving(Box<LearnerZooKeeperServer>),
    /// Only while one becomes the other.
    Changing,
}

/// What there is once the leader is connected.
struct Connected {
    leader: QuorumServer,
    link: Arc<LeaderLink>,
    /// Ends before the link is forgotten.
    _sender: Option<LearnerSender>,
    _hook: ShutdownHook,
    since: Instant,
}

impl Learner<'_> {
    fn run(&mut self) -> Result<(), LearnerError> {
        self.peer.set_zab_state(ZabState::Discovery);
        let id = self.peer.state().current_vote().id;
        let leader = self.peer.server(id).ok_or_else(|| {
            log::warn!("Couldn't find the leader with id = {id}");
            LearnerError::NoLeader
        })?;
        let mut reader = self.connect(leader)?;
        let mut actions = Vec::new();
        let mut core = LearnerSync::new(self.start(), &mut actions);
        let started = Instant::now();
        self.carry_out(&mut actions, &mut reader)?;
        while self.peer.is_running() {
            let was_acknowledged = core.has_acknowledged();
            let outcome = read_batch(&mut reader, &mut core, &mut actions);
            // What went before a packet that is wrong is to be done all the same.
            self.carry_out(&mut actions, &mut reader)?;
            outcome?;
            if !was_acknowledged && core.has_acknowledged() {
                // From now on the leader sends a PING every half tick.
                self.set_timeout(&reader, self.peer.settings().sync_limit)?;
            }
            if core.is_serving() && !self.is_synced {
                self.is_synced = true;
                self.peer.set_zab_state(ZabState::Broadcast);
                let metrics = self.peer.metrics();
                let millis = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
                match self.kind {
                    LearnerKind::Follower => metrics.follower_sync_time.add(millis),
                    LearnerKind::Observer { .. } => metrics.observer_sync_time.add(millis),
                }
            }
        }
        Ok(())
    }

    /// Where the disk says that this learner is.
    fn start(&self) -> LearnerStart {
        let (last_logged_zxid, must_write_snapshot) = match &self.phase {
            Phase::Synchronizing(database) => (
                database.last_logged_zxid(),
                database.snap_log.should_force_write_initial_snapshot(),
            ),
            _ => (Zxid::NONE, false),
        };
        LearnerStart {
            kind: self.kind,
            accepted_epoch: self.peer.epochs().accepted_epoch(),
            current_epoch: self.peer.epochs().current_epoch(),
            last_logged_zxid,
            must_write_snapshot,
        }
    }

    fn connect(&mut self, leader: QuorumServer) -> Result<PacketReader<TcpStream>, LearnerError> {
        let (peer, settings) = (self.peer, self.peer.settings());
        let limit = match settings.connect_to_learner_master_limit {
            limit if limit > 0 => limit,
            _ => settings.init_limit,
        };
        let delay_ms = settings.leader_connect_delay_during_retry_ms.max(0);
        let connect = ConnectSettings {
            timeout: Duration::from_millis(peer.ticks_ms(limit)),
            retry_delay: Duration::from_millis(u64::from(delay_ms.unsigned_abs())),
            nodelay: settings.follower_nodelay,
        };
        let stream = connect_to_leader(&leader.addr, &connect, &|wait| {
            if wait.is_zero() { peer.is_running() } else { !peer.shutdown().wait_for(wait) }
        })?;
        let limits =
            Limits::new(peer.config().jute_maxbuffer, Some(peer.config().jute_maxbuffer_extrasize));
        let reader = PacketReader::new(stream.try_clone()?, link_limits(limits));
        self.set_timeout(&reader, settings.init_limit)?;
        let link = LeaderLink::new(stream);
        let closing = Arc::clone(&link);
        let hook = peer.shutdown().on_request(move || closing.close());
        let sender = if settings.learner_async_sending {
            Some(link.start_sending_thread(peer.my_id().0, peer.listener())?)
        } else {
            None
        };
        self.connected =
            Some(Connected { leader, link, _sender: sender, _hook: hook, since: Instant::now() });
        Ok(reader)
    }

    /// How long the leader may say nothing, or take nothing.
    fn set_timeout(&self, reader: &PacketReader<TcpStream>, ticks: i32) -> io::Result<()> {
        let timeout = Some(Duration::from_millis(self.peer.ticks_ms(ticks).max(1)));
        reader.get_ref().set_read_timeout(timeout)?;
        reader.get_ref().set_write_timeout(timeout)
    }

    /// Does what the core says, in its order; `actions` is empty afterwards. What may be done
    /// together without anybody noticing is.
    fn carry_out(
        &mut self,
        actions: &mut Vec<LearnerAction>,
        reader: &mut PacketReader<TcpStream>,
    ) -> Result<(), LearnerError> {
        let mut to_apply = Vec::new();
        let mut to_log = Vec::new();
        let mut to_commit = Vec::new();
        for action in actions.drain(..) {
            match action {
                // Neither is durable before a Fsync, so that they may change places.
                LearnerAction::Log(entry) => self.database()?.snap_log.append(&entry)?,
                LearnerAction::Apply(entry) => to_apply.push(entry),
                LearnerAction::LogProposal(entry) => {
                    self.count_proposal(&entry);
                    to_log.push(entry);
                }
                LearnerAction::Commit(entry) => {
                    self.count_commit(&entry);
                    to_commit.push(Commit::Txn(entry));
                }
                LearnerAction::CommitSync => to_commit.extend(self.server()?.next_sync()),
                other => {
                    self.apply(&mut to_apply)?;
                    self.carry_out_one(other, reader)?;
                }
            }
        }
        self.apply(&mut to_apply)?;
        if !to_log.is_empty() {
            self.server()?.log(to_log);
        }
        if !to_commit.is_empty() {
            self.server()?.commit(to_commit);
        }
        Ok(())
    }

    fn carry_out_one(
        &mut self,
        action: LearnerAction,
        reader: &mut PacketReader<TcpStream>,
    ) -> Result<(), LearnerError> {
        match action {
            LearnerAction::SendInfo(zxid) => self.send_info(zxid)?,
            LearnerAction::WriteAcceptedEpoch(epoch) => {
                let written = self.peer.epochs().set_accepted_epoch(epoch);
                self.epoch_written(written)?;
            }
            LearnerAction::SendAckEpoch { last_zxid, current_epoch } => {
                let data = current_epoch.to_be_bytes();
                let packet = PacketType::AckEpoch.packet(last_zxid.0, Some(Arc::from(data)));
                let connected = self.connected()?;
                connected.link.send(&[packet]);
                let (id, addresses) = (connected.leader.id, connected.leader.addr.to_string());
                self.peer.state().set_leader(id, addresses);
                self.peer.set_zab_state(ZabState::Synchronization);
                self.peer.state().set_sync_mode(SyncMode::Diff);
            }
            LearnerAction::Truncate(zxid) => {
                log::warn!("Truncating log to get in sync with the leader {zxid}");
                self.peer.state().set_sync_mode(SyncMode::Trunc);
                self.truncate(zxid)?;
            }
            LearnerAction::LoadSnapshot(zxid) => {
                log::info!("Getting a snapshot from leader {zxid}");
                self.peer.state().set_sync_mode(SyncMode::Snap);
                self.tree_is_ahead = true;
                self.database()?.deserialize_snapshot(reader, zxid)?;
            }
            LearnerAction::Fsync => {
                self.database()?.snap_log.commit()?;
            }
            LearnerAction::DiscardLogAfter(zxid) => self.database()?.discard_log_after(zxid)?,
            LearnerAction::WriteSnapshot => {
                self.database()?.take_snapshot_synced()?;
                self.tree_is_ahead = false;
            }
            LearnerAction::SetAsideOthers => {
                let database = self.database()?;
                let info = database.snap_log.last_snapshot_info();
                if let Some(info) = info {
                    database.set_aside_all_but(&info.path)?;
                }
            }
            LearnerAction::WriteCurrentEpoch(epoch) => {
                let written = self.peer.epochs().set_current_epoch(epoch);
                self.epoch_written(written)?;
                log::info!("Set the current epoch to {epoch}");
                self.peer.state().set_sync_mode(SyncMode::None);
            }
            LearnerAction::SendAck(zxid) => {
                self.connected()?.link.send_acks([zxid]);
                log::info!("Sent ack to leader with zxid {zxid}");
            }
            // Gap: dynamic reconfiguration comes later; without it Java ignores these, too.
            LearnerAction::SeeConfig(_) | LearnerAction::ActivateConfig { .. } => {}
            LearnerAction::StartServing(epoch) => self.start_serving(epoch)?,
            LearnerAction::AnswerPing(zxid) => self.answer_ping(zxid)?,
            LearnerAction::FinishRevalidation { session, is_valid } => {
                self.server()?.revalidated(session, is_valid);
            }
            LearnerAction::Note(note) => self.notes.rate_limit_log(note, None),
            LearnerAction::Log(_)
            | LearnerAction::Apply(_)
            | LearnerAction::LogProposal(_)
            | LearnerAction::Commit(_)
            | LearnerAction::CommitSync => {}
        }
        Ok(())
    }

    fn truncate(&mut self, zxid: Zxid) -> Result<(), LearnerError> {
        match self.database()?.truncate_log(zxid) {
            Err(DatabaseError::CannotTruncate(_))
                if self.kind == (LearnerKind::Observer { has_log: false }) =>
            {
                // What it has learned since its last snapshot is in memory only.
                self.database()?.reload()?;
                Err(LearnerError::Forgotten(zxid))
            }
            other => Ok(other?),
        }
    }

    fn send_info(&mut self, zxid: Zxid) -> Result<(), LearnerError> {
        let info = LearnerInfo {
            server_id: self.peer.my_id().0,
            protocol_version: PROTOCOL_VERSION,
            config_version: self.peer.verifier().version(),
        };
        let kind = match self.kind {
            LearnerKind::Follower => PacketType::FollowerInfo,
            LearnerKind::Observer { .. } => PacketType::ObserverInfo,
        };
        self.connected()?.link.send(&[kind.packet(zxid.0, Some(info.to_bytes().into()))]);
        Ok(())
    }

    fn epoch_written(&mut self, written: io::Result<()>) -> Result<(), LearnerError> {
        let Err(source) = written else { return Ok(()) };
        let path = self.database()?.snap_log.snap_dir().to_owned();
        Err(PersistenceError::Io { action: "write an epoch in", path, source }.into())
    }

    /// Applies committed transactions; `entries` is empty afterwards.
    fn apply(&mut self, entries: &mut Vec<Arc<TxnLogEntry>>) -> Result<(), LearnerError> {
        if entries.is_empty() {
            return Ok(());
        }
        let db = Arc::clone(&self.database()?.db);
        let mut tree = db.tree_mut();
        let mismatches = tree.digest_mismatches();
        for entry in &*entries {
            tree.process_entry(entry, &mut CountWrites(self.peer.metrics()));
            db.set_last_processed_zxid(entry.zxid());
            match &entry.txn {
                Txn::CreateSession(txn) => {
                    db.commit_session(entry.header.client_id, txn.timeout_ms)
                }
                Txn::CloseSession(_) => db.remove_session(entry.header.client_id),
                _ => {}
            }
        }
        let mismatches = tree.digest_mismatches() - mismatches;
        drop(tree);
        self.peer.metrics().digest_mismatches_count.add(mismatches as i64);
        db.add_committed(entries.drain(..));
        Ok(())
    }

    fn start_serving(&mut self, epoch: i64) -> Result<(), LearnerError> {
        let connected = self.connected()?;
        let (leader, link) = (connected.leader.id, Arc::clone(&connected.link));
        let Phase::Synchronizing(database) = std::mem::replace(&mut self.phase, Phase::Changing)
        else {
            return Err(LearnerSyncError::Failed.into());
        };
        let path = database.snap_log.data_log_dir().to_owned();
        let server = LearnerZooKeeperServer::start(self.peer, self.kind, leader, &link, *database)
            .map_err(|source| PersistenceError::Io { action: "serve", path, source })?;
        self.phase = Phase::Serving(Box::new(server));
        // All members must name the same vote to servers that come later (ZOOKEEPER-1732).
        self.peer.state().update_election_vote(epoch);
        Ok(())
    }

    /// PING is answered with the sessions that were active since the last one.
    fn answer_ping(&mut self, zxid: Zxid) -> Result<(), LearnerError> {
        let mut data = Vec::new();
        for (id, timeout_ms) in self.server()?.tracker().snapshot() {
            data.put_i64(id.0);
            data.put_i32(timeout_ms);
        }
        self.connected()?.link.send(&[PacketType::Ping.packet(zxid.0, Some(data.into()))]);
        Ok(())
    }

    fn count_proposal(&self, entry: &TxnLogEntry) {
        if self.kind == LearnerKind::Follower {
            let metrics = self.peer.metrics();
            metrics.learner_proposal_received_count.add(1);
            metrics.proposal_latency.add(latency_ms(entry));
        }
    }

    fn count_commit(&self, entry: &TxnLogEntry) {
        let metrics = self.peer.metrics();
        metrics.learner_commit_received_count.add(1);
        metrics.commit_propagation_latency.add(latency_ms(entry));
    }

    fn database(&mut self) -> Result<&mut QuorumDatabase, LearnerError> {
        match &mut self.phase {
            Phase::Synchronizing(database) => Ok(database),
            _ => Err(LearnerSyncError::Failed.into()),
        }
    }

    fn server(&self) -> Result<&LearnerZooKeeperServer, LearnerError> {
        match &self.phase {
            Phase::Serving(server) => Ok(server),
            _ => Err(LearnerSyncError::Failed.into()),
        }
    }

    fn connected(&self) -> Result<&Connected, LearnerError> {
        self.connected.as_ref().ok_or(LearnerError::NoLeader)
    }

    /// The socket first, so that nothing of what follows waits for the leader.
    fn end(mut self) -> Result<QuorumDatabase, PersistenceError> {
        if let Some(connected) = &self.connected {
            let started = Instant::now();
            connected.link.close();
            let millis = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
            self.peer.metrics().socket_closing_time.add(millis);
            log::info!(
                "Disconnected from leader (with address: {}). Was connected for {}ms. Sync state: {}",
                connected.leader.addr,
                connected.since.elapsed().as_millis(),
                self.is_synced
            );
        }
        log::info!(
            "shutdown {}",
            if self.kind == LearnerKind::Follower { "Follower" } else { "Observer" }
        );
        let database = match std::mem::replace(&mut self.phase, Phase::Changing) {
            Phase::Synchronizing(mut database) => {
                if self.tree_is_ahead {
                    database.reload()?;
                }
                database.snap_log.close()?;
                *database
            }
            Phase::Serving(server) => server.shutdown()?,
            Phase::Changing => {
                let why = "the server of the role did not start".to_owned();
                return Err(PersistenceError::Poisoned(why));
            }
        };
        Ok(database)
    }
}

/// How long ago, by the clocks of two machines, the leader made the transaction.
fn latency_ms(entry: &TxnLogEntry) -> i64 {
    time::wall_ms().saturating_sub(entry.header.time).max(0)
}

/// Reads a packet and those that have arrived behind it. A snapshot ends the batch: it follows on the
/// stream.
fn read_batch(
    reader: &mut PacketReader<TcpStream>,
    core: &mut LearnerSync,
    actions: &mut Vec<LearnerAction>,
) -> Result<(), LearnerError> {
    let mut packet = reader.read_packet()?;
    for _ in 1..BATCH_MAX {
        let decoded = leader_packet::decode(packet)?;
        let ends_batch = matches!(decoded, LeaderPacket::Snap(_) | LeaderPacket::UpToDate);
        match decoded {
            LeaderPacket::Diff(zxid) => log::info!("Getting a diff from the leader {zxid}"),
            LeaderPacket::NewLeader { .. } => log::info!("Learner received NEWLEADER message"),
            LeaderPacket::UpToDate => log::info!("Learner received UPTODATE message"),
            _ => {}
        }
        core.on_packet(decoded, actions)?;
        if ends_batch {
            return Ok(());
        }
        packet = match reader.next_buffered()? {
            Some(packet) => packet,
            None => return Ok(()),
        };
    }
    core.on_packet(leader_packet::decode(packet)?, actions)?;
    Ok(())
}
