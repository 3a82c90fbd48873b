//! The learner's half of ZAB: discovery, synchronisation and broadcast, as one state machine
//! (`Learner.registerWithLeader`, `Learner.syncWithLeader`, `Follower.processPacket`,
//! `Observer.processPacket`).
//!
//! Packets go in, actions come out, to be carried out in the order given and one after the other.
//! A process that dies after any of them comes back to a state from which it may vote: its log is a
//! prefix of what one leader has sent, and `currentEpoch` never names an epoch whose initial history
//! is not on the disk. The order behind it:
//!
//! ```text
//! LEADERINFO   WriteAcceptedEpoch, then ACKEPOCH
//! DIFF, TRUNC  Truncate; for each committed proposal Log and Apply
//! SNAP         LoadSnapshot; for each committed proposal Apply
//! NEWLEADER    Fsync, or (SNAP) DiscardLogAfter, WriteSnapshot, SetAsideOthers;
//!              then WriteCurrentEpoch, and only then ACK
//! UPTODATE     ACK, StartServing; then what was proposed and not committed before
//! ```
//!
//! Deliberate differences, none of them visible to a leader that keeps to the protocol:
//! - Committed transactions of a DIFF are logged and applied as they come, not all of them at
//!   NEWLEADER; what follows a TRUNC is logged like a DIFF, without a snapshot. The log has been
//!   cut, and newer snapshots go with it, which Java leaves lying.
//! - A proposal that does not follow its predecessor, the first one included, is refused; one that is
//!   there already is skipped with its commit. A commit of another proposal than the oldest one ends
//!   the connection: the learner synchronises anew. Java logs a warning (synchronising) or ends the
//!   process (following).
//! - After a SNAP the older files are set aside. Java leaves logs that end before the snapshot: once
//!   the next log begins a new epoch nobody can see that something is missing in between, and a leader
//!   with such logs would send a DIFF with a hole.
//! - An observer without a log writes `currentEpoch` only with a snapshot: if it is made a voter it
//!   must not win by an epoch whose history it has never written.
//! - Leaders older than ZAB 1.0 (3.3) are refused.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::jute::Buffer;
use crate::proto::{ServerId, SessionId, TxnLogEntry, Zxid};

#[cfg(test)]
mod tests;

/// The protocol version of ZAB 1.0, in LEADERINFO and in what a learner sends first.
pub const PROTOCOL_VERSION: i32 = 0x10000;

/// A packet of a leader, decoded by [`learner::leader_packet`](crate::quorum::learner::leader_packet).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaderPacket {
    /// The leader's new epoch; its protocol version.
    LeaderInfo {
        /// `epoch << 32`.
        zxid: Zxid,
        /// `None` when the packet has no version.
        version: Option<i32>,
    },
    /// The history follows the learner's last transaction.
    Diff(Zxid),
    /// Everything behind this transaction must go; then the history follows.
    Trunc(Zxid),
    /// A snapshot with everything up to this transaction is on the stream behind this packet.
    Snap(Zxid),
    /// A transaction to be logged.
    Proposal(Arc<TxnLogEntry>),
    /// The oldest proposal is committed.
    Commit(Zxid),
    /// As `Commit`, for a reconfiguration.
    CommitAndActivate {
        /// The proposal.
        zxid: Zxid,
        /// Who is to lead with the new configuration.
        designated_leader: ServerId,
    },
    /// A committed transaction, for an observer.
    Inform(Arc<TxnLogEntry>),
    /// As `Inform`, for a reconfiguration.
    InformAndActivate {
        /// The transaction.
        entry: Arc<TxnLogEntry>,
        /// Who is to lead with the new configuration.
        designated_leader: ServerId,
    },
    /// The end of the history of this leader.
    NewLeader {
        /// `epoch << 32`.
        zxid: Zxid,
        /// The text of the leader's last seen configuration.
        config: Option<Arc<[u8]>>,
    },
    /// The leader is established: clients may be served.
    UpToDate,
    /// To be answered with the sessions that were active.
    Ping(Zxid),
    /// The answer to the question whether a session is alive.
    Revalidate {
        /// The session.
        session: SessionId,
        /// Whether it is.
        is_valid: bool,
    },
    /// The answer to the oldest pending sync.
    Sync,
    /// Something else; Java ignores it.
    Unknown(i32),
}

/// What a learner is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LearnerKind {
    /// Votes, and acknowledges what it has logged.
    Follower,
    /// Is told what is committed.
    Observer {
        /// `syncEnabled`: whether it keeps a log.
        has_log: bool,
    },
}

impl LearnerKind {
    fn has_log(self) -> bool {
        matches!(self, LearnerKind::Follower | LearnerKind::Observer { has_log: true })
    }

    fn is_follower(self) -> bool {
        self == LearnerKind::Follower
    }
}

/// Where a learner begins: what its disk says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LearnerStart {
    /// Follower or observer.
    pub kind: LearnerKind,
    /// The file `acceptedEpoch`.
    pub accepted_epoch: i64,
    /// The file `currentEpoch`.
    pub current_epoch: i64,
    /// The last transaction of the log, which is the last one of the tree too.
    pub last_logged_zxid: Zxid,
    /// A DIFF must be followed by a snapshot (`snapshot.trust.empty`, ZOOKEEPER-3781).
    pub must_write_snapshot: bool,
}

/// What is to be done, in the order of the list. "Durable" means: survives a power cut from the
/// moment on at which the action is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LearnerAction {
    /// FOLLOWERINFO or OBSERVERINFO with this zxid.
    SendInfo(Zxid),
    /// The file `acceptedEpoch`, durable.
    WriteAcceptedEpoch(i64),
    /// ACKEPOCH. `current_epoch` is -1 when the epoch was accepted before.
    SendAckEpoch {
        /// The last transaction of the log.
        last_zxid: Zxid,
        /// As in the packet.
        current_epoch: i32,
    },
    /// Forget everything behind this transaction: cut the log, then remove newer snapshots, durable;
    /// then tree, sessions and committed log anew from disk. Fails when the files do not reach so
    /// far back.
    Truncate(Zxid),
    /// Replace tree and sessions by the snapshot on the stream, in memory only; forget the committed
    /// log. The tree's last zxid is then this one. Until `WriteSnapshot` is over the tree is not what
    /// the disk has: when the connection ends before, it must be loaded anew before anybody votes.
    LoadSnapshot(Zxid),
    /// Append to the log. Durable with the next `Fsync`.
    Log(Arc<TxnLogEntry>),
    /// What was logged becomes durable.
    Fsync,
    /// Apply to the tree and add to the committed log.
    Apply(Arc<TxnLogEntry>),
    /// Cut what the log has behind this transaction, durable. The tree stays as it is.
    DiscardLogAfter(Zxid),
    /// Write a snapshot of the tree, durable with its directory entry. The log goes on in a new file
    /// behind it.
    WriteSnapshot,
    /// Put all logs and all other snapshots where recovery does not look: the snapshot that was just
    /// written has replaced their history.
    SetAsideOthers,
    /// The file `currentEpoch`, durable.
    WriteCurrentEpoch(i64),
    /// ACK.
    SendAck(Zxid),
    /// The leader's last seen configuration (`setLastSeenQuorumVerifier`).
    SeeConfig(Arc<[u8]>),
    /// A configuration becomes active (`processReconfig`). `None`s: it came with NEWLEADER.
    ActivateConfig {
        /// Its text.
        config: Arc<[u8]>,
        /// Who is to lead.
        designated_leader: Option<ServerId>,
        /// The transaction that brought it.
        zxid: Option<Zxid>,
    },
    /// Start the server on the tree as it is, and let clients in. The vote's epoch becomes this one.
    StartServing(i64),
    /// Hand to the thread that logs; once it is durable a follower acknowledges it. Never before
    /// `StartServing`.
    LogProposal(Arc<TxnLogEntry>),
    /// Hand to the thread that applies, in order. Never before `StartServing`.
    Commit(Arc<TxnLogEntry>),
    /// Answer a PING with this zxid and the sessions touched.
    AnswerPing(Zxid),
    /// The leader's answer about a session.
    FinishRevalidation {
        /// The session.
        session: SessionId,
        /// Whether it is alive.
        is_valid: bool,
    },
    /// The oldest pending sync may be answered behind all commits so far.
    CommitSync,
    /// Nothing to do; worth a line in the log.
    Note(&'static str),
}

/// The leader does not keep to the protocol, or must not be followed. The connection is closed; the
/// learner begins anew with an election.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LearnerSyncError {
    /// Behaviour of a leader that was superseded.
    #[error("Leaders epoch, {epoch} is less than accepted epoch, {accepted}")]
    EpochTooLow {
        /// Of the leader.
        epoch: i64,
        /// Of this server.
        accepted: i64,
    },
    /// No LEADERINFO, or one of a version before ZAB 1.0.
    #[error("leader does not speak ZAB 1.0 (protocol version {0:?})")]
    ProtocolVersion(Option<i32>),
    /// A packet that has no place here.
    #[error("unexpected {packet} while {phase}")]
    Unexpected {
        /// Its name.
        packet: &'static str,
        /// What the learner is doing.
        phase: &'static str,
    },
    /// A hole in the history.
    #[error("got proposal {found}, last queued {last}, expected {}", last.next())]
    Gap {
        /// The last one.
        last: Zxid,
        /// What came.
        found: Zxid,
    },
    /// A transaction of an epoch that this leader does not lead.
    #[error("got proposal {zxid} from the leader of epoch {epoch}")]
    ForeignEpoch {
        /// The transaction.
        zxid: Zxid,
        /// The leader's epoch.
        epoch: i64,
    },
    /// A commit of something else than the oldest proposal (ZOOKEEPER-4394).
    #[error("Committing {zxid} but next proposal is {next:?}")]
    UnmatchedCommit {
        /// What is committed.
        zxid: Zxid,
        /// The oldest proposal.
        next: Option<Zxid>,
    },
    /// NEWLEADER of another epoch than LEADERINFO.
    #[error("NEWLEADER {zxid} from the leader of epoch {epoch}")]
    NewLeaderEpoch {
        /// As in the packet.
        zxid: Zxid,
        /// As agreed.
        epoch: i64,
    },
    /// Something was wrong before.
    #[error("the connection has failed before")]
    Failed,
}

/// What a synchronisation is made of (`QuorumPeer.SyncMode`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SyncMode {
    /// DIFF or TRUNC: the disk has everything up to where the packets begin.
    Log,
    /// SNAP of this transaction: until a snapshot is written the disk has a history of its own.
    Snap { base: Zxid },
}

/// How far a learner has come.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Discovery,
    /// LEADERINFO was answered: DIFF, TRUNC or SNAP comes next.
    Choice,
    /// The history comes.
    Synchronization(SyncMode),
    /// NEWLEADER was acknowledged. `committed` of the pending proposals are committed.
    Acknowledged {
        config: Option<Arc<[u8]>>,
        committed: usize,
    },
    Broadcast,
    Failed,
}

impl Phase {
    fn name(&self) -> &'static str {
        match self {
            Phase::Discovery => "waiting for LEADERINFO",
            Phase::Choice => "waiting for DIFF, TRUNC or SNAP",
            Phase::Synchronization(_) => "synchronizing",
            Phase::Acknowledged { .. } => "waiting for UPTODATE",
            Phase::Broadcast => "serving",
            Phase::Failed => "closing",
        }
    }
}

/// One connection of a learner to a leader, from its first packet to its last.
#[derive(Debug)]
pub struct LearnerSync {
    start: LearnerStart,
    phase: Phase,
    /// The leader's epoch, once known.
    epoch: i64,
    /// The last transaction that this learner has, logged or pending.
    last_queued: Zxid,
    /// The last transaction known to be committed, or to be part of what the connection began with.
    last_committed: Zxid,
    /// Proposed and not handed on yet (before `Broadcast`), or logged and not committed; in order.
    pending: VecDeque<Arc<TxnLogEntry>>,
}

type Outcome = Result<(), LearnerSyncError>;

impl LearnerSync {
    /// A learner that has just connected; `actions` begins the talk.
    pub fn new(start: LearnerStart, actions: &mut Vec<LearnerAction>) -> LearnerSync {
        actions.push(LearnerAction::SendInfo(Zxid::new(start.accepted_epoch, 0)));
        LearnerSync {
            start,
            phase: Phase::Discovery,
            epoch: start.accepted_epoch,
            last_queued: start.last_logged_zxid,
            last_committed: start.last_logged_zxid,
            pending: VecDeque::new(),
        }
    }

    /// The leader's epoch, once LEADERINFO was read.
    pub fn epoch(&self) -> i64 {
        self.epoch
    }

    /// The last proposal queued (`lastQueued`).
    pub fn last_queued(&self) -> Zxid {
        self.last_queued
    }

    /// Proposals that are not committed.
    pub fn pending_count(&self) -> usize {
        self.pending.len()
    }

    /// UPTODATE was read.
    pub fn is_serving(&self) -> bool {
        self.phase == Phase::Broadcast
    }

    /// NEWLEADER is acknowledged, and with that the shorter time limit of a synchronised learner
    /// applies.
    pub fn has_acknowledged(&self) -> bool {
        matches!(self.phase, Phase::Acknowledged { .. } | Phase::Broadcast)
    }

    /// What the leader has sent. After an error the connection is of no use; actions that were
    /// added before are still to be carried out.
    pub fn on_packet(&mut self, packet: LeaderPacket, actions: &mut Vec<LearnerAction>) -> Outcome {
        let outcome = match &self.phase {
            Phase::Discovery => self.discover(&packet, actions),
            Phase::Choice => self.choose(&packet, actions),
            Phase::Synchronization(_) | Phase::Acknowledged { .. } => {
                self.synchronize(packet, actions)
            }
            Phase::Broadcast => self.broadcast(packet, actions),
            Phase::Failed => Err(LearnerSyncError::Failed),
        };
        if outcome.is_err() {
            self.phase = Phase::Failed;
        }
        outcome
    }

    /// What a follower sends when this proposal has become durable. Observers send nothing.
    pub fn on_logged(kind: LearnerKind, entry: &TxnLogEntry) -> Option<LearnerAction> {
        kind.is_follower().then(|| LearnerAction::SendAck(entry.zxid()))
    }

    fn discover(&mut self, packet: &LeaderPacket, actions: &mut Vec<LearnerAction>) -> Outcome {
        let LeaderPacket::LeaderInfo { zxid, version } = packet else {
            return Err(match packet {
                LeaderPacket::NewLeader { .. } => LearnerSyncError::ProtocolVersion(None),
                _ => self.unexpected(packet),
            });
        };
        if version.is_none_or(|version| version < PROTOCOL_VERSION) {
            return Err(LearnerSyncError::ProtocolVersion(*version));
        }
        let (epoch, accepted) = (zxid.epoch(), self.start.accepted_epoch);
        if epoch < accepted {
            return Err(LearnerSyncError::EpochTooLow { epoch, accepted });
        }
        let current_epoch = if epoch > accepted {
            actions.push(LearnerAction::WriteAcceptedEpoch(epoch));
            // Compat: an int on the wire (`registerWithLeader`).
            self.start.current_epoch as i32
        } else {
            // Accepted before, so it must not count again.
            -1
        };
        let last_zxid = self.start.last_logged_zxid;
        actions.push(LearnerAction::SendAckEpoch { last_zxid, current_epoch });
        self.epoch = epoch;
        self.phase = Phase::Choice;
        Ok(())
    }

    fn choose(&mut self, packet: &LeaderPacket, actions: &mut Vec<LearnerAction>) -> Outcome {
        let (base, mode) = match *packet {
            LeaderPacket::Diff(_) => (self.start.last_logged_zxid, SyncMode::Log),
            LeaderPacket::Trunc(zxid) => {
                actions.push(LearnerAction::Truncate(zxid));
                (zxid, SyncMode::Log)
            }
            LeaderPacket::Snap(zxid) => {
                actions.push(LearnerAction::LoadSnapshot(zxid));
                (zxid, SyncMode::Snap { base: zxid })
            }
            _ => return Err(self.unexpected(packet)),
        };
        self.last_queued = base;
        self.last_committed = base;
        self.phase = Phase::Synchronization(mode);
        Ok(())
    }

    fn synchronize(&mut self, packet: LeaderPacket, actions: &mut Vec<LearnerAction>) -> Outcome {
        match packet {
            LeaderPacket::Proposal(entry) => {
                self.queue(entry, actions)?;
            }
            LeaderPacket::Commit(zxid) => self.commit(zxid, None, actions)?,
            LeaderPacket::CommitAndActivate { zxid, designated_leader } => {
                self.commit(zxid, Some(designated_leader), actions)?;
            }
            LeaderPacket::Inform(entry) => self.inform(entry, None, actions)?,
            LeaderPacket::InformAndActivate { entry, designated_leader } => {
                self.inform(entry, Some(designated_leader), actions)?;
            }
            LeaderPacket::NewLeader { zxid, config } => self.end_history(zxid, config, actions)?,
            LeaderPacket::UpToDate => self.serve(actions)?,
            LeaderPacket::LeaderInfo { .. }
            | LeaderPacket::Diff(_)
            | LeaderPacket::Trunc(_)
            | LeaderPacket::Snap(_) => return Err(self.unexpected(&packet)),
            // Java's loop has no answer to any of these, a PING included.
            LeaderPacket::Ping(_)
            | LeaderPacket::Revalidate { .. }
            | LeaderPacket::Sync
            | LeaderPacket::Unknown(_) => {
                actions.push(LearnerAction::Note("ignored a packet while synchronizing"));
            }
        }
        Ok(())
    }

    /// NEWLEADER: everything becomes durable, then the epoch, then it is acknowledged.
    fn end_history(
        &mut self,
        zxid: Zxid,
        config: Option<Arc<[u8]>>,
        actions: &mut Vec<LearnerAction>,
    ) -> Outcome {
        let Phase::Synchronization(mode) = self.phase else {
            return Err(self.unexpected(&LeaderPacket::NewLeader { zxid, config }));
        };
        if zxid.epoch() != self.epoch {
            return Err(LearnerSyncError::NewLeaderEpoch { zxid, epoch: self.epoch });
        }
        if let Some(config) = &config {
            actions.push(LearnerAction::SeeConfig(Arc::clone(config)));
        }
        let has_log = self.start.kind.has_log();
        let is_on_disk = match mode {
            SyncMode::Snap { base } => {
                if self.start.last_logged_zxid > base {
                    // What is left of another history must not be replayed over the snapshot.
                    actions.push(LearnerAction::DiscardLogAfter(base));
                }
                actions.push(LearnerAction::WriteSnapshot);
                actions.push(LearnerAction::SetAsideOthers);
                true
            }
            SyncMode::Log => {
                if has_log {
                    actions.push(LearnerAction::Fsync);
                }
                if self.start.must_write_snapshot {
                    actions.push(LearnerAction::WriteSnapshot);
                }
                has_log || self.start.must_write_snapshot
            }
        };
        if is_on_disk {
            actions.push(LearnerAction::WriteCurrentEpoch(self.epoch));
        }
        actions.push(LearnerAction::SendAck(Zxid::new(self.epoch, 0)));
        self.phase = Phase::Acknowledged { config, committed: 0 };
        Ok(())
    }

    /// UPTODATE: what was proposed since the history ended takes its ordinary way.
    fn serve(&mut self, actions: &mut Vec<LearnerAction>) -> Outcome {
        let Phase::Acknowledged { config, committed } = &mut self.phase else {
            return Err(self.unexpected(&LeaderPacket::UpToDate));
        };
        let (config, committed) = (config.take(), *committed);
        if let Some(config) = config {
            actions.push(LearnerAction::ActivateConfig {
                config,
                designated_leader: None,
                zxid: None,
            });
        }
        actions.push(LearnerAction::SendAck(Zxid::new(self.epoch, 0)));
        actions.push(LearnerAction::StartServing(self.epoch));
        if self.start.kind.has_log() {
            actions.extend(self.pending.iter().cloned().map(LearnerAction::LogProposal));
        }
        actions.extend(self.pending.drain(..committed).map(LearnerAction::Commit));
        self.phase = Phase::Broadcast;
        Ok(())
    }

    fn broadcast(&mut self, packet: LeaderPacket, actions: &mut Vec<LearnerAction>) -> Outcome {
        match packet {
            LeaderPacket::Ping(zxid) => actions.push(LearnerAction::AnswerPing(zxid)),
            LeaderPacket::Revalidate { session, is_valid } => {
                actions.push(LearnerAction::FinishRevalidation { session, is_valid });
            }
            LeaderPacket::Sync => actions.push(LearnerAction::CommitSync),
            LeaderPacket::Proposal(entry) if self.start.kind.is_follower() => {
                if self.queue(Arc::clone(&entry), actions)? {
                    actions.push(LearnerAction::LogProposal(entry));
                }
            }
            LeaderPacket::Commit(zxid) if self.start.kind.is_follower() => {
                self.commit(zxid, None, actions)?;
            }
            LeaderPacket::CommitAndActivate { zxid, designated_leader }
                if self.start.kind.is_follower() =>
            {
                self.commit(zxid, Some(designated_leader), actions)?;
            }
            LeaderPacket::Inform(entry) if !self.start.kind.is_follower() => {
                self.inform(entry, None, actions)?;
            }
            LeaderPacket::InformAndActivate { entry, designated_leader }
                if !self.start.kind.is_follower() =>
            {
                self.inform(entry, Some(designated_leader), actions)?;
            }
            LeaderPacket::Proposal(_) => actions.push(LearnerAction::Note("Ignoring proposal")),
            LeaderPacket::Commit(_) => actions.push(LearnerAction::Note("Ignoring commit")),
            LeaderPacket::UpToDate => {
                actions.push(LearnerAction::Note("Received an UPTODATE message after it started"));
            }
            LeaderPacket::CommitAndActivate { .. }
            | LeaderPacket::Inform(_)
            | LeaderPacket::InformAndActivate { .. }
            | LeaderPacket::Unknown(_) => {
                actions.push(LearnerAction::Note("Unknown packet type"));
            }
            LeaderPacket::LeaderInfo { .. }
            | LeaderPacket::NewLeader { .. }
            | LeaderPacket::Diff(_)
            | LeaderPacket::Trunc(_)
            | LeaderPacket::Snap(_) => return Err(self.unexpected(&packet)),
        }
        Ok(())
    }

    /// Takes a proposal into the queue; false for one that this learner has already.
    fn queue(
        &mut self,
        entry: Arc<TxnLogEntry>,
        actions: &mut Vec<LearnerAction>,
    ) -> Result<bool, LearnerSyncError> {
        let (zxid, last) = (entry.zxid(), self.last_queued);
        if zxid <= last {
            // Sent again (issue 2 of the protocol's specification), with an error under a zxid that
            // was used before, or from before the snapshot that is loaded.
            actions.push(LearnerAction::Note("skipped a proposal that is there already"));
            return Ok(false);
        }
        if zxid.epoch() > self.epoch {
            return Err(LearnerSyncError::ForeignEpoch { zxid, epoch: self.epoch });
        }
        let follows = if zxid.epoch() == last.epoch() {
            zxid == last.next()
        } else {
            zxid.epoch() > last.epoch() && zxid.counter() == 1
        };
        if !follows {
            return Err(LearnerSyncError::Gap { last, found: zxid });
        }
        if let Some(config) = reconfiguration(&entry) {
            actions.push(LearnerAction::SeeConfig(config));
        }
        self.last_queued = zxid;
        self.pending.push_back(entry);
        Ok(true)
    }

    /// COMMIT of the oldest proposal that is not committed.
    fn commit(
        &mut self,
        zxid: Zxid,
        designated_leader: Option<ServerId>,
        actions: &mut Vec<LearnerAction>,
    ) -> Outcome {
        if zxid <= self.last_committed {
            actions.push(LearnerAction::Note("skipped a commit of what is there already"));
            return Ok(());
        }
        let already = match &self.phase {
            Phase::Acknowledged { committed, .. } => *committed,
            _ => 0,
        };
        let next = self.pending.get(already).map(|entry| entry.zxid());
        if next != Some(zxid) {
            return Err(LearnerSyncError::UnmatchedCommit { zxid, next });
        }
        self.last_committed = zxid;
        if let (Some(leader), Some(entry)) = (designated_leader, self.pending.get(already))
            && let Some(config) = reconfiguration(entry)
        {
            actions.push(LearnerAction::ActivateConfig {
                config,
                designated_leader: Some(leader),
                zxid: Some(zxid),
            });
        }
        if let Phase::Acknowledged { committed, .. } = &mut self.phase {
            *committed += 1;
            return Ok(());
        }
        let Some(entry) = self.pending.pop_front() else { return Ok(()) };
        if self.phase == Phase::Broadcast {
            actions.push(LearnerAction::Commit(entry));
            return Ok(());
        }
        // Before a snapshot is written its base is not on the disk, so nothing can be logged on it.
        let is_logged = self.phase == Phase::Synchronization(SyncMode::Log);
        if is_logged && self.start.kind.has_log() {
            actions.push(LearnerAction::Log(Arc::clone(&entry)));
        }
        actions.push(LearnerAction::Apply(entry));
        Ok(())
    }

    /// INFORM is PROPOSAL and COMMIT in one.
    fn inform(
        &mut self,
        entry: Arc<TxnLogEntry>,
        designated_leader: Option<ServerId>,
        actions: &mut Vec<LearnerAction>,
    ) -> Outcome {
        let zxid = entry.zxid();
        let is_new = self.queue(Arc::clone(&entry), actions)?;
        if is_new && self.phase == Phase::Broadcast && self.start.kind.has_log() {
            actions.push(LearnerAction::LogProposal(entry));
        }
        self.commit(zxid, designated_leader, actions)
    }

    fn unexpected(&self, packet: &LeaderPacket) -> LearnerSyncError {
        let packet = match packet {
            LeaderPacket::LeaderInfo { .. } => "LEADERINFO",
            LeaderPacket::Diff(_) => "DIFF",
            LeaderPacket::Trunc(_) => "TRUNC",
            LeaderPacket::Snap(_) => "SNAP",
            LeaderPacket::Proposal(_) => "PROPOSAL",
            LeaderPacket::Commit(_) => "COMMIT",
            LeaderPacket::CommitAndActivate { .. } => "COMMITANDACTIVATE",
            LeaderPacket::Inform(_) => "INFORM",
            LeaderPacket::InformAndActivate { .. } => "INFORMANDACTIVATE",
            LeaderPacket::NewLeader { .. } => "NEWLEADER",
            LeaderPacket::UpToDate => "UPTODATE",
            LeaderPacket::Ping(_) => "PING",
            LeaderPacket::Revalidate { .. } => "REVALIDATE",
            LeaderPacket::Sync => "SYNC",
            LeaderPacket::Unknown(_) => "packet of unknown type",
        };
        LearnerSyncError::Unexpected { packet, phase: self.phase.name() }
    }
}

/// The configuration that a transaction brings.
fn reconfiguration(entry: &TxnLogEntry) -> Buffer {
    match &entry.txn {
        crate::proto::Txn::Reconfig(txn) => txn.data.clone(),
        _ => None,
    }
}
