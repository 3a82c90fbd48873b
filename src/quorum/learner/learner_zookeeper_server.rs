//! The server of a follower or an observer: its chain, how it starts and how it ends
//! (`FollowerZooKeeperServer`, `ObserverZooKeeperServer`).
//!
//! ```text
//! clients → FollowerRequestProcessor → CommitProcessor → FinalRequestProcessor
//!                     └→ leader → COMMIT, INFORM ┘
//! leader → PROPOSAL → SyncRequestProcessor → SendAckRequestProcessor → leader
//! ```

use std::io;
use std::sync::Arc;

use super::follower_request_processor::{self, PendingSyncs};
use super::leader_link::LeaderLink;
use super::learner_role::LearnerRole;
use super::send_ack_request_processor::SendAckRequestProcessor;
use crate::common::time;
use crate::persistence::{FileTxnSnapLog, PersistenceError};
use crate::proto::{ServerId, SessionId, TxnLogEntry};
use crate::quorum::commit_processor::{Commit, CommitProcessor};
use crate::quorum::quorum_database::{LentDatabase, QuorumDatabase};
use crate::quorum::quorum_peer::QuorumPeer;
use crate::quorum::session::LearnerSessionTracker;
use crate::quorum::zab::learner_sync::LearnerKind;
use crate::server::final_request_processor::FinalRequestProcessor;
use crate::server::gauges;
use crate::server::request::Request;
use crate::server::request_path_metrics_collector::PathStatsThread;
use crate::server::request_processor::RequestProcessor;
use crate::server::snapshot_taker::SnapshotTaker;
use crate::server::stage::Stage;
use crate::server::sync_request_processor::{self, SyncStage};
use crate::server::zookeeper_server::{State, ZooKeeperServer};
use crate::session::{
    SessionExpirer, SessionTracker, SessionTrackerSettings, SessionTrackerThread,
};

/// The running server. It is ended with [`LearnerZooKeeperServer::shutdown`], which gives the database
/// back.
pub struct LearnerZooKeeperServer {
    peer: Arc<QuorumPeer>,
    server: Arc<ZooKeeperServer>,
    role: Arc<LearnerRole>,
    tracker: Arc<LearnerSessionTracker>,
    session_tracker: Option<SessionTrackerThread>,
    path_stats: Option<PathStatsThread>,
    first_processor: Stage,
    commit_processor: Arc<CommitProcessor>,
    log: LogOwner,
    snapshots: SnapshotTaker,
    syncs: Arc<PendingSyncs>,
    database: LentDatabase,
}

/// Who has the log.
enum LogOwner {
    Thread(SyncStage),
    /// An observer that does not log.
    Nobody(Box<FileTxnSnapLog>),
}

impl LearnerZooKeeperServer {
    /// Starts everything and lets clients in.
    ///
    /// Errors: the kernel refused a thread. The log may be lost with it, so the process has to end.
    pub fn start(
        peer: &Arc<QuorumPeer>,
        kind: LearnerKind,
        leader: ServerId,
        link: &Arc<LeaderLink>,
        database: QuorumDatabase,
    ) -> io::Result<LearnerZooKeeperServer> {
        let (listener, settings) = (peer.listener(), peer.settings());
        let tracker = Arc::new(LearnerSessionTracker::new(
            Arc::clone(&database.db),
            SessionTrackerSettings { tick_time_ms: peer.tick_time_ms(), server_id: peer.my_id().0 },
            settings.local_sessions_enabled,
            Arc::clone(peer.metrics()),
        ));
        let role = LearnerRole::new(peer, kind, leader, link, &tracker);
        let server = peer.new_server(
            Arc::clone(&role) as _,
            Arc::clone(&tracker) as Arc<dyn SessionTracker>,
            &database,
        );
        let (database, snap_log) = database.lend_log();
        let snapshots = SnapshotTaker::new(Arc::clone(snap_log.snap_log()), Arc::clone(listener));
        let log = if kind == (LearnerKind::Observer { has_log: false }) {
            LogOwner::Nobody(Box::new(snap_log))
        } else {
            let (link, metrics) = (Arc::clone(link), Arc::clone(peer.metrics()));
            let next = Arc::new(SendAckRequestProcessor { kind, link, metrics });
            LogOwner::Thread(sync_request_processor::start(
                &server,
                listener,
                snap_log,
                snapshots.clone(),
                next,
            )?)
        };
        let last = Arc::new(FinalRequestProcessor::new(Arc::clone(&server)));
        let commit_processor = Arc::new(CommitProcessor::start(&server, listener, true, last)?);
        let syncs = Arc::new(PendingSyncs::default());
        let first_processor = follower_request_processor::start(
            match kind {
                LearnerKind::Follower => "FollowerRequestProcessor",
                LearnerKind::Observer { .. } => "ObserverRequestProcessor",
            },
            &server,
            listener,
            Arc::clone(link),
            Arc::clone(&syncs),
            Arc::clone(&commit_processor) as Arc<dyn RequestProcessor>,
        )?;
        let expirer: Arc<dyn SessionExpirer> = Arc::clone(&server) as _;
        let session_tracker = tracker.start(expirer, listener)?;
        let path_stats = match server.path_stats() {
            Some(path_stats) => path_stats.start()?,
            None => None,
        };
        gauges::register(&server);
        peer.register_gauges();
        if let Some(sender) = first_processor.sender() {
            server.start_intake(sender);
        }
        peer.server_slot().set_server(Arc::clone(&server));
        Ok(LearnerZooKeeperServer {
            peer: Arc::clone(peer),
            server,
            role,
            tracker,
            session_tracker,
            path_stats,
            first_processor,
            commit_processor,
            log,
            snapshots,
            syncs,
            database,
        })
    }

    /// The sessions.
    pub fn tracker(&self) -> &LearnerSessionTracker {
        &self.tracker
    }

    /// Logs proposals, in order (`logRequest`). A follower acknowledges them once they are durable.
    pub fn log(&self, entries: impl IntoIterator<Item = Arc<TxnLogEntry>>) {
        let LogOwner::Thread(sync) = &self.log else { return };
        let now_ms = time::elapsed_ms();
        let mut requests: Vec<_> =
            entries.into_iter().map(|entry| Box::new(Request::from_txn(entry, now_ms))).collect();
        sync.process_requests(&mut requests);
    }

    /// Applies what is committed, in order.
    pub fn commit(&self, commits: impl IntoIterator<Item = Commit>) {
        self.commit_processor.commit(commits);
    }

    /// The sync that the leader has answered.
    pub fn next_sync(&self) -> Option<Commit> {
        let sync = self.syncs.pop();
        if sync.is_none() {
            log::warn!("Not expecting a sync.");
        }
        sync.map(|(session_id, cxid)| Commit::Sync { session_id, cxid })
    }

    /// The leader's answer about a session.
    pub fn revalidated(&self, id: SessionId, is_valid: bool) {
        self.role.revalidated(&self.server, id, is_valid);
    }

    /// Ends the server: intake, connections, sessions, the chain from its head, the log. What was
    /// committed is applied, what was proposed is on the disk. The link to the leader must be closed.
    ///
    /// Errors: the thread that logs has died, which ends the process.
    pub fn shutdown(self) -> Result<QuorumDatabase, PersistenceError> {
        self.server.set_state(State::Shutdown);
        self.server.stop_admission();
        self.peer.server_slot().clear();
        drop(self.session_tracker);
        drop(self.path_stats);
        self.server.stop_intake();
        self.first_processor.shutdown();
        let snap_log = match self.log {
            LogOwner::Nobody(snap_log) => Some(*snap_log),
            LogOwner::Thread(sync) => {
                sync.shutdown();
                sync.take_log()
            }
        };
        // Before the tree takes in what is in the log only.
        self.snapshots.cancel();
        self.server.metrics().gauges.clear();
        let died = || PersistenceError::Poisoned("the thread that logs has died".to_owned());
        Ok(self.database.give_back(snap_log.ok_or_else(died)?))
    }
}
