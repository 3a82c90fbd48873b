//! `LeaderZooKeeperServer` and `LeaderRequestProcessor`: what a server does that leads, and its chain
//!
//! ```text
//! PrepRequestProcessor → ProposalRequestProcessor ┬→ CommitProcessor → ToBeApplied → Final
//!                                                 └→ SyncRequestProcessor → AckRequestProcessor
//! ```
//!
//! Requests of the leader's own clients pass the upgrade of local sessions on their connection's
//! thread; those of learners have passed it there.
//!
//! Deliberate differences: sessions do not expire while no quorum is heard of; no snapshot is
//! written before serving, for the logs hold the same.

use std::fmt::Display;
use std::io;
use std::sync::{Arc, Weak};

use super::ack_request_processor::AckRequestProcessor;
use super::leader::{Leader, Serving};
use super::proposal_request_processor::ProposalRequestProcessor;
use super::to_be_applied_request_processor::ToBeAppliedRequestProcessor;
use crate::common::time;
use crate::metrics::{Gauges, MetricValue};
use crate::persistence::FileTxnSnapLog;
use crate::proto::{Code, SessionId, Zxid};
use crate::quorum::commit_processor::CommitProcessor;
use crate::quorum::quorum_peer::QuorumPeer;
use crate::quorum::session::leader_session_tracker::LeaderSessionTracker;
use crate::server::cnxn::server_cnxn::ServerCnxn;
use crate::server::container_manager::{ContainerManager, ContainerServer, ContainerSettings};
use crate::server::final_request_processor::FinalRequestProcessor;
use crate::server::gauges;
use crate::server::prep::{PrepOptions, PrepState};
use crate::server::prep_request_processor;
use crate::server::request::Request;
use crate::server::request_path_metrics_collector::PathStatsThread;
use crate::server::request_processor::RequestProcessor;
use crate::server::server_role::{Revalidation, ServerRole, shared_outstanding_limit};
use crate::server::snapshot_taker::SnapshotTaker;
use crate::server::stage::Stage;
use crate::server::sync_request_processor::{self, SyncStage};
use crate::server::zookeeper_server::{State, ZooKeeperServer};
use crate::session::{Session, SessionExpirer, SessionTracker, SessionTrackerThread};

/// What differs in a server that leads.
pub struct LeaderRole {
    leader: Arc<Leader>,
    tracker: Arc<LeaderSessionTracker>,
    /// For answers that come later; a cycle through the server ends with its connections.
    server: std::sync::OnceLock<Weak<ZooKeeperServer>>,
}

impl LeaderRole {
    /// The role of a leader with these sessions.
    pub fn new(leader: Arc<Leader>, tracker: Arc<LeaderSessionTracker>) -> Arc<LeaderRole> {
        Arc::new(LeaderRole { leader, tracker, server: std::sync::OnceLock::new() })
    }

    fn peer(&self) -> &QuorumPeer {
        self.leader.peer()
    }
}

impl ServerRole for LeaderRole {
    fn state(&self) -> &'static str {
        "leader"
    }

    fn server_id(&self) -> i64 {
        self.peer().my_id().0
    }

    /// It goes through the chain, behind what is committed and not applied yet.
    fn forwards_sync(&self) -> bool {
        true
    }

    fn forwards_writes(&self) -> bool {
        false
    }

    fn checks_writes_eagerly(&self) -> bool {
        true
    }

    fn global_outstanding_limit(&self, configured: i32) -> i32 {
        shared_outstanding_limit(configured, self.peer().verifier().voting_members().len())
    }

    fn revalidate_session(
        &self,
        _server: &ZooKeeperServer,
        cnxn: &Arc<ServerCnxn>,
        id: SessionId,
        timeout_ms: i32,
    ) -> Revalidation {
        let tracker = &self.tracker;
        if tracker.touch(id, timeout_ms) && tracker.set_owner(id, Session::OWNER_ME).is_ok() {
            // Gone in this very moment: as if it had been before.
            return tracker.session(id).map_or(Revalidation::Invalid, Revalidation::Valid);
        }
        if !tracker.is_global_session(id) {
            return Revalidation::Invalid;
        }
        // It is being closed: the client is told so once that is certain.
        let (server, cnxn) = (self.server.get().cloned().unwrap_or_default(), Arc::clone(cnxn));
        let answer = move |_| {
            if let Some(server) = server.upgrade() {
                server.finish_session_init(&cnxn, None);
            }
        };
        tracker.wait_for_end(id, Box::new(answer));
        Revalidation::Later
    }

    fn check_upgrade_session(
        &self,
        _server: &ZooKeeperServer,
        request: &Request,
    ) -> Result<Option<Request>, Code> {
        self.tracker.check_upgrade_session(request)
    }

    fn srvr_lines(&self, out: &mut String) {
        let stats = self.leader.proposal_stats();
        out.push_str(&format!("Proposal sizes last/min/max: {stats}\n"));
    }

    fn reset_stats(&self) {
        self.leader.proposal_stats().reset();
    }

    fn dump_monitor_values(&self, sink: &mut dyn FnMut(&str, &dyn Display)) {
        self.peer().dump_monitor_values(sink);
    }

    fn conf_lines(&self, out: &mut String) {
        self.peer().conf_lines(out);
    }
}

/// Expires sessions only while a quorum is heard of.
struct LeaderExpirer {
    leader: Arc<Leader>,
    server: Arc<ZooKeeperServer>,
}

impl SessionExpirer for LeaderExpirer {
    fn expire(&self, session: &Arc<Session>) {
        self.server.expire(session);
    }

    fn may_expire(&self) -> bool {
        self.leader.has_live_quorum()
    }
}

/// The server of a leader with all its threads.
pub struct LeaderZooKeeperServer {
    leader: Arc<Leader>,
    server: Arc<ZooKeeperServer>,
    first_processor: Option<Stage>,
    commit_processor: Arc<CommitProcessor>,
    sync_processor: Arc<SyncStage>,
    snapshots: SnapshotTaker,
    session_trackers: Vec<SessionTrackerThread>,
    containers: Option<ContainerManager>,
    path_stats: Option<PathStatsThread>,
}

/// Why a leader's server does not start.
pub struct StartError {
    /// What happened.
    pub error: io::Error,
    /// The log, if it is still ours; else its thread has been started and did not end in order.
    pub log: Option<Box<FileTxnSnapLog>>,
}

impl LeaderZooKeeperServer {
    /// Starts the chain behind `start`, the zxid before the first transaction. `log` belongs to the
    /// SyncThread until the end.
    pub fn start(
        leader: &Arc<Leader>,
        role: &Arc<LeaderRole>,
        server: Arc<ZooKeeperServer>,
        start: Zxid,
        log: FileTxnSnapLog,
    ) -> Result<LeaderZooKeeperServer, StartError> {
        let peer = leader.peer();
        let (config, listener, tracker) = (peer.config(), peer.listener(), &role.tracker);
        let _ = role.server.set(Arc::downgrade(&server)); // Once for each role.
        gauges::register(&server);
        peer.register_gauges();
        register_gauges(&peer.metrics().gauges, leader);

        let snapshots = SnapshotTaker::new(Arc::clone(log.snap_log()), Arc::clone(listener));
        let last: Arc<dyn RequestProcessor> =
            Arc::new(FinalRequestProcessor::new(Arc::clone(&server)));
        let to_be_applied: Arc<dyn RequestProcessor> = Arc::new(ToBeAppliedRequestProcessor::new(
            Arc::clone(leader),
            Arc::clone(tracker),
            last,
        ));
        let commit_processor = match CommitProcessor::start(&server, listener, false, to_be_applied)
        {
            Ok(processor) => Arc::new(processor),
            Err(error) => return Err(StartError { error, log: Some(Box::new(log)) }),
        };
        let ack: Arc<dyn RequestProcessor> = Arc::new(AckRequestProcessor::new(Arc::clone(leader)));
        let sync = sync_request_processor::start(&server, listener, log, snapshots.clone(), ack);
        let sync_processor = match sync {
            Ok(stage) => Arc::new(stage),
            Err(error) => {
                commit_processor.shutdown();
                return Err(StartError { error, log: None });
            }
        };
        let proposal: Arc<dyn RequestProcessor> = Arc::new(ProposalRequestProcessor::new(
            Arc::clone(leader),
            Arc::clone(&commit_processor),
            Arc::clone(&sync_processor),
        ));
        let mut started = LeaderZooKeeperServer {
            leader: Arc::clone(leader),
            server: Arc::clone(&server),
            first_processor: None,
            commit_processor,
            sync_processor,
            snapshots,
            session_trackers: Vec::new(),
            containers: None,
            path_stats: None,
        };
        let state = PrepState::new(start, PrepOptions::from(&**config));
        let prep = prep_request_processor::start(&server, listener, state, Arc::clone(&proposal));
        let opened = prep.and_then(|prep| {
            if let Some(sender) = prep.sender() {
                server.start_intake(sender);
            }
            started.first_processor = Some(prep);
            started.open(tracker)
        });
        if let Err(error) = opened {
            if started.first_processor.is_none() {
                proposal.shutdown();
            }
            let log = started.shutdown().map(Box::new);
            return Err(StartError { error, log });
        }
        Ok(started)
    }

    /// Starts what feeds the chain.
    fn open(&mut self, tracker: &Arc<LeaderSessionTracker>) -> io::Result<()> {
        let (leader, server) = (&self.leader, &self.server);
        let peer = leader.peer();
        let serving = Serving {
            server: Arc::clone(server),
            tracker: Arc::clone(tracker),
            since_ms: time::elapsed_ms(),
        };
        leader.start_serving(serving, Arc::clone(&self.commit_processor));
        let global =
            Arc::new(LeaderExpirer { leader: Arc::clone(leader), server: Arc::clone(server) });
        let local: Arc<dyn SessionExpirer> = Arc::clone(server) as _;
        self.session_trackers = tracker.start(global, local, peer.listener())?;
        self.containers = Some(ContainerManager::start(
            ContainerSettings::from(&**peer.config()),
            Arc::clone(server) as Arc<dyn ContainerServer>,
        )?);
        if let Some(path_stats) = server.path_stats() {
            self.path_stats = path_stats.start()?;
        }
        if peer.settings().leader_serves {
            peer.server_slot().set_server(Arc::clone(server));
        }
        Ok(())
    }

    /// False once a thread without which it cannot work has died.
    pub fn is_running(&self) -> bool {
        self.server.is_running()
    }

    /// Closes the clients, and answers nobody any more. Before learners are let go: with another leader
    /// they soon know more than this server, whose answer to a sync would be one from the past.
    pub fn close_clients(&self) {
        self.server.set_state(State::Shutdown);
        self.server.stop_admission();
        self.leader.peer().server_slot().clear();
    }

    /// Closes the clients, ends the timers, then the chain from its head: what was proposed is
    /// logged, what is committed is applied. The log, closed; `None` if its thread died of an error,
    /// which the listener knows.
    pub fn shutdown(mut self) -> Option<FileTxnSnapLog> {
        self.close_clients();
        self.session_trackers.clear();
        drop(self.containers.take());
        drop(self.path_stats.take());
        self.server.stop_intake();
        if let Some(first) = self.first_processor.take() {
            first.shutdown();
        }
        self.leader.stop_serving();
        self.snapshots.cancel();
        self.server.metrics().gauges.clear();
        self.sync_processor.take_log()
    }
}

/// The gauges of a leader (`LeaderZooKeeperServer.registerMetrics`).
fn register_gauges(gauges: &Gauges, leader: &Arc<Leader>) {
    let add = |name, read: fn(&Leader) -> i64| {
        let leader = Arc::downgrade(leader);
        gauges.register(name, move || leader.upgrade().map(|l| MetricValue::Integer(read(&l))));
    };
    add("learners", |leader| leader.learners().len() as i64);
    add("synced_followers", |leader| leader.forwarding_followers().len() as i64);
    add("synced_non_voting_followers", |leader| leader.non_voting_followers() as i64);
    add("synced_observers", |leader| leader.observing_learners() as i64);
    add("pending_syncs", |leader| leader.pending_syncs() as i64);
    add("leader_uptime", |leader| {
        leader.serving().map_or(0, |serving| time::elapsed_ms() - serving.since_ms)
    });
    add("last_proposal_size", |leader| leader.proposal_stats().last_buffer_size().into());
    add("max_proposal_size", |leader| leader.proposal_stats().max_buffer_size().into());
    add("min_proposal_size", |leader| leader.proposal_stats().min_buffer_size().into());
}
