//! `Leader.lead`: the life of a leader, on the thread of the peer.
//!
//! Epoch, promise and history of a quorum, then the server, then a look around each half tick: pings
//! go out, and without a quorum of learners that answer the role ends. At its end everything is
//! joined, what was proposed is in the log, and the log is closed.
//!
//! Deliberate difference: an error of the files of epochs ends the process; Java looks for a leader
//! again, to fail again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError, unbounded};

use super::leader::{Leader, LeaderEvent};
use super::leader_zookeeper_server::{LeaderRole, LeaderZooKeeperServer, StartError};
use super::learner_cnx_acceptor::{self, LearnerCnxAcceptor};
use super::learner_master::{LearnerError, LearnerMaster};
use super::txn_log_source::TxnLogSource;
use crate::common::time;
use crate::persistence::PersistenceError;
use crate::proto::Zxid;
use crate::quorum::peer_state::ZabState;
use crate::quorum::quorum_database::QuorumDatabase;
use crate::quorum::quorum_peer::QuorumPeer;
use crate::quorum::quorum_peer_thread::RoleResult;
use crate::quorum::session::leader_session_tracker::LeaderSessionTracker;
use crate::quorum::zab::epoch::StateSummary;
use crate::quorum::zab::proposals::ProposeError;
use crate::quorum::zab::synced_learner_tracker::SyncedLearnerTracker;
use crate::session::SessionTrackerSettings;

/// How long a leader that hands over waits for its last commits to be sent.
const HAND_OVER_PATIENCE: Duration = Duration::from_secs(1);

/// Leads until it is over; gives the database back with all threads joined and the log closed.
pub fn lead(peer: &Arc<QuorumPeer>, mut database: QuorumDatabase) -> RoleResult {
    let taken_ms = peer.state().end_election(peer.metrics());
    log::info!("LEADING - LEADER ELECTION TOOK - {taken_ms} MS");
    peer.set_zab_state(ZabState::Discovery);
    database.kill_dead_sessions()?;

    let (sender, events) = unbounded();
    let summary = StateSummary {
        current_epoch: peer.epochs().current_epoch(),
        last_zxid: database.last_logged_zxid(),
    };
    let source = TxnLogSource::new(
        Arc::clone(database.snap_log.disk()),
        database.snap_log.data_log_dir().to_owned(),
        Arc::clone(database.snap_log.snap_log()),
        peer.config().snapshot_size_factor,
    );
    let leader = Leader::new(peer, &database.db, source, summary, sender);
    let ended = Arc::clone(&leader);
    let _hook = peer.shutdown().on_request(move || {
        ended.stop_waiting();
        ended.end("the server shuts down");
    });
    let ear = Arc::clone(&leader);
    peer.set_on_looking_sid(Some(Arc::new(move |sid, has_left| {
        ear.report_looking_sid(sid, has_left)
    })));
    let result = lead_with(&leader, database, summary, &events);
    peer.set_on_looking_sid(None);
    result
}

fn lead_with(
    leader: &Arc<Leader>,
    mut database: QuorumDatabase,
    summary: StateSummary,
    events: &Receiver<LeaderEvent>,
) -> RoleResult {
    let acceptor = learner_cnx_acceptor::bind(leader)
        .and_then(|sockets| LearnerCnxAcceptor::start(leader, sockets));
    let mut acceptor = match acceptor {
        Ok(acceptor) => acceptor,
        Err(error) => {
            log::warn!("Unexpected exception: {error}");
            return Ok(database);
        }
    };
    let start = match begin_epoch(leader, summary) {
        Ok(start) => start,
        Err(LearnerError::Io(error)) => {
            shut_down(leader, &mut acceptor, "the epoch could not be written");
            return Err(epoch_error(&database, error).into());
        }
        Err(error) => {
            shut_down(leader, &mut acceptor, &error.to_string());
            return Ok(database);
        }
    };
    let start = initial_zxid(leader, start);
    database.set_last_processed_zxid(start);
    let (role, server) = new_server(leader, &database);
    let started = LeaderZooKeeperServer::start(leader, &role, server, start, database.snap_log);
    let log = match started {
        Ok(server) => {
            leader.peer().state().update_election_vote(start.epoch());
            leader.peer().set_zab_state(ZabState::Broadcast);
            let why = tick(leader, &server, events);
            server.close_clients();
            shut_down(leader, &mut acceptor, &why);
            server.shutdown()
        }
        Err(StartError { error, log }) => {
            shut_down(leader, &mut acceptor, &error.to_string());
            log.map(|log| *log)
        }
    };
    database.snap_log = log.ok_or_else(log_lost)?;
    Ok(database)
}

/// Until a quorum has taken over the history. The zxid before the first of the epoch.
fn begin_epoch(leader: &Arc<Leader>, summary: StateSummary) -> Result<Zxid, LearnerError> {
    let peer = leader.peer();
    let deadline = || Instant::now() + Duration::from_millis(leader.init_timeout_ms());
    let epoch = leader.own_epoch_to_propose(deadline())?;
    let start = leader.epoch_begins();
    leader.own_epoch_ack(summary, deadline())?;
    peer.epochs().set_current_epoch(epoch)?;
    let addresses = peer.server(peer.my_id()).map(|server| server.addr.to_string());
    peer.state().set_leader(peer.my_id(), addresses.unwrap_or_default());
    peer.set_zab_state(ZabState::Synchronization);
    if let Err(error) = leader.own_new_leader_ack(start, deadline()) {
        log::info!(
            "Waiting for a quorum of followers, only synced with sids: [ {} ]",
            leader.new_leader_acks()
        );
        if leader.has_enough_followers() {
            log::warn!("Enough followers present. Perhaps the initTicks need to be increased.");
        }
        return Err(error);
    }
    log::info!(
        "Have quorum of supporters, sids: [{}]; starting up and setting last processed zxid: {start}",
        leader.new_leader_acks()
    );
    Ok(start)
}

/// For tests of the counter's end: the epoch begins with another counter.
fn initial_zxid(leader: &Leader, start: Zxid) -> Zxid {
    let Some(counter) = leader.peer().settings().testing_initial_zxid else { return start };
    let zxid = Zxid::new(start.epoch(), counter);
    leader.skip_to(zxid);
    zxid
}

fn new_server(
    leader: &Arc<Leader>,
    database: &QuorumDatabase,
) -> (Arc<LeaderRole>, Arc<crate::server::zookeeper_server::ZooKeeperServer>) {
    let peer = leader.peer();
    let settings =
        SessionTrackerSettings { tick_time_ms: peer.tick_time_ms(), server_id: peer.my_id().0 };
    let tracker = Arc::new(LeaderSessionTracker::new(
        settings,
        peer.settings().local_sessions_enabled,
        peer.settings().local_sessions_upgrading_enabled,
        database.db.sessions(),
        peer.metrics(),
    ));
    let role = LeaderRole::new(Arc::clone(leader), Arc::clone(&tracker));
    let server = peer.new_server(Arc::clone(&role) as _, tracker, database);
    (role, server)
}

/// Pings the learners and looks for a quorum of them; why the role ends.
fn tick(
    leader: &Arc<Leader>,
    server: &LeaderZooKeeperServer,
    events: &Receiver<LeaderEvent>,
) -> String {
    let half_tick = Duration::from_millis((leader.peer().ticks_ms(1) / 2).max(1));
    let mut is_half = true;
    loop {
        match events.recv_timeout(half_tick) {
            Ok(LeaderEvent::End(why)) => return why,
            Ok(LeaderEvent::HandOver) => {
                hand_over(leader);
                return ProposeError::RolledOver.to_string();
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return "nobody is left".to_owned(),
        }
        if !is_half {
            leader.increment_tick();
        }
        if !server.is_running() {
            return "Unexpected internal error".to_owned();
        }
        let mut synced = SyncedLearnerTracker::new(leader.verifiers());
        synced.add_ack(leader.peer().my_id());
        let learners = leader.learners();
        for link in learners.iter().filter(|link| link.is_synced(leader.current_tick())) {
            synced.add_ack(link.sid());
        }
        if !is_half && !synced.has_all_quorums() && !has_oracles_leave(leader) {
            return format!("Not sufficient followers synced, only synced with sids: [ {synced} ]");
        }
        is_half = !is_half;
        let last_proposed = leader.last_proposed();
        let sync_timeout_ms = i64::try_from(leader.sync_timeout_ms()).unwrap_or(i64::MAX);
        for link in learners {
            link.ping(last_proposed, time::elapsed_ms(), sync_timeout_ms, leader.metrics());
        }
    }
}

/// Lets the learners have what was committed last, before they are left alone.
fn hand_over(leader: &Leader) {
    let learners = leader.learners();
    learners.iter().for_each(|link| link.close_after_flush());
    let deadline = Instant::now() + HAND_OVER_PATIENCE;
    while Instant::now() < deadline && learners.iter().any(|link| !link.is_closed()) {
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// Of two voters one may go on alone, if an oracle says so.
fn has_oracles_leave(leader: &Leader) -> bool {
    let verifier = leader.peer().verifier();
    let has_followers = !leader.forwarding_followers().is_empty();
    let may_go_on = verifier.override_quorum_decision(has_followers)
        && verifier.revalidates_outstanding_proposals();
    if may_go_on {
        leader.revalidate_outstanding();
    }
    may_go_on
}

fn shut_down(leader: &Leader, acceptor: &mut LearnerCnxAcceptor, why: &str) {
    log::info!("Shutdown called. For the reason {why}");
    leader.stop_waiting();
    acceptor.halt();
}

fn epoch_error(database: &QuorumDatabase, source: std::io::Error) -> PersistenceError {
    let path = database.snap_log.snap_dir().to_owned();
    PersistenceError::Io { action: "write the epoch in", path, source }
}

/// The SyncThread died of an error, and has told the listener.
fn log_lost() -> PersistenceError {
    let source = std::io::Error::other("its thread has ended with an error");
    PersistenceError::Io { action: "close", path: "log".into(), source }
}
