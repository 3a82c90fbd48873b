//! `LearnerMaster`: what a [`LearnerHandler`](super::learner_handler) needs of whoever the learner
//! follows: the leader, and later a follower that serves observers (`ObserverMaster`).

use std::sync::Arc;

use super::learner_link::LearnerLink;
use super::learner_sync_throttler::{LearnerSyncThrottler, SyncThrottleError};
use super::txn_log_source::TxnLogSource;
use crate::jute::Limits;
use crate::metrics::ServerMetrics;
use crate::proto::{ServerId, SessionId, TxnLogEntry, Zxid};
use crate::quorum::zab::epoch::{EpochError, StateSummary};
use crate::quorum::zab::sync_plan::{SnapReason, SyncPackets};
use crate::server::request::Request;
use crate::server::zk_database::ZkDatabase;
use crate::tree::SnapshotWalk;

/// Why a learner's connection ends.
#[derive(Debug, thiserror::Error)]
pub enum LearnerError {
    /// The connection, or a disk.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// The learner must not follow.
    #[error("{0}")]
    Epoch(#[from] EpochError),
    /// There are too many synchronisations already.
    #[error("{0}")]
    Throttled(#[from] SyncThrottleError),
    /// It sent something that it must not.
    #[error("{0}")]
    Protocol(String),
    /// What was waited for did not come in time.
    #[error("Timeout while waiting for {0}")]
    Timeout(&'static str),
    /// The leader's own history cannot be read where it has to be.
    #[error("history from {0} on cannot be sent")]
    History(Zxid),
    /// The role ends.
    #[error("the leader is shutting down")]
    Stopped,
}

/// How a learner is brought up to date.
pub enum SyncBegin {
    /// DIFF or TRUNC with its transactions. What follows is in the link's queue.
    Packets(SyncPackets),
    /// Read the log first, then ask [`LearnerMaster::join_forwarding`].
    TxnLog,
    /// Write this snapshot. What follows is in the link's queue.
    Snapshot(SnapshotWalk, SnapReason),
}

/// See the module. Methods that wait do so no longer than `initLimit`.
pub trait LearnerMaster: Send + Sync {
    /// The numbers.
    fn metrics(&self) -> &Arc<ServerMetrics>;

    /// The tree and the sessions.
    fn zk_database(&self) -> &Arc<ZkDatabase>;

    /// A handler begins.
    fn add_learner_handler(&self, link: &Arc<LearnerLink>);

    /// A handler ends.
    fn remove_learner_handler(&self, link: &LearnerLink);

    /// The server that is followed.
    fn my_id(&self) -> ServerId;

    /// An id for a learner that does not tell its own.
    fn next_follower_counter(&self) -> ServerId;

    /// What the configuration says of a server, for the log; `None` for a stranger.
    fn peer_info(&self, sid: ServerId) -> Option<String>;

    /// The version of the configuration in force.
    fn quorum_verifier_version(&self) -> i64;

    /// The text of the last configuration seen, which NEWLEADER carries.
    fn quorum_verifier_bytes(&self) -> Vec<u8>;

    /// Waits until a quorum has connected: the new epoch.
    fn epoch_to_propose(&self, sid: ServerId, accepted_epoch: i64) -> Result<i64, LearnerError>;

    /// Waits until a quorum has promised the epoch.
    fn wait_for_epoch_ack(&self, sid: ServerId, summary: StateSummary) -> Result<(), LearnerError>;

    /// Waits until a quorum has taken over the history.
    fn wait_for_new_leader_ack(&self, sid: ServerId, zxid: Zxid) -> Result<(), LearnerError>;

    /// Waits until requests are served.
    fn wait_for_startup(&self) -> Result<(), LearnerError>;

    /// Chooses how to bring a learner that ends with `peer` up to date, and, unless the log has to
    /// be read, makes it one of those that are sent what follows, at the same moment.
    fn begin_sync(&self, link: &Arc<LearnerLink>, peer: Zxid) -> Result<SyncBegin, LearnerError>;

    /// Begins a snapshot after all, because the log cannot be used.
    fn begin_snapshot(&self, link: &Arc<LearnerLink>) -> Result<SnapshotWalk, LearnerError>;

    /// The learner has everything up to `last`: makes it one of those that are sent what follows,
    /// and gives what stands between. `None`: more has to be read from the log first.
    fn join_forwarding(&self, link: &Arc<LearnerLink>, last: Zxid)
    -> Option<Vec<Arc<TxnLogEntry>>>;

    /// The last transaction that is committed for certain.
    fn last_committed(&self) -> Zxid;

    /// The transaction log on disk.
    fn txn_log_source(&self) -> &TxnLogSource;

    /// The next synchronisation of this learner must be a snapshot: its last one met a hole.
    fn require_snapshot(&self, sid: ServerId);

    /// Throttles DIFF and TRUNC.
    fn diff_throttler(&self) -> &Arc<LearnerSyncThrottler>;

    /// Throttles SNAP.
    fn snap_throttler(&self) -> &Arc<LearnerSyncThrottler>;

    /// A learner has these proposals on its disk.
    fn process_acks(&self, link: &LearnerLink, zxids: &[Zxid]);

    /// A learner's session is alive.
    fn touch(&self, session: SessionId, timeout_ms: i32);

    /// Is a learner's session alive? The answer goes through the queue, perhaps later.
    fn revalidate_session(&self, link: &Arc<LearnerLink>, session: SessionId, timeout_ms: i32);

    /// Requests of a learner, which are taken out.
    fn submit_learner_requests(&self, requests: &mut Vec<Request>);

    /// How long strings and buffers of requests may be.
    fn limits(&self) -> Limits;

    /// `initLimit` in ms.
    fn init_timeout_ms(&self) -> u64;

    /// `syncLimit` in ms.
    fn sync_timeout_ms(&self) -> u64;

    /// The tick by which a learner has to answer that did now.
    fn tick_of_next_ack_deadline(&self) -> i32;

    /// The same for one that has just connected.
    fn tick_of_initial_ack_deadline(&self) -> i32;
}
