//! `Leader`: what the threads of a leader share. Its decisions are in
//! [`epoch`](crate::quorum::zab::epoch), [`proposals`](crate::quorum::zab::proposals) and
//! [`sync_plan`](crate::quorum::zab::sync_plan); here are the locks around them and the queues that
//! their answers go to. Its life is in [`lead`](mod@super::lead).
//!
//! Deliberate differences:
//! - A learner is made one of those that are sent proposals, and the cut of its history is taken,
//!   under the lock under which proposals are appended (ZOOKEEPER-3104).
//! - A newer connection of a server ends its older one, whose acknowledgements do not count any
//!   more: the server may be about to cut off what they were for.
//! - Who is told that a session has expired waits until its closeSession is committed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::Sender;

use super::learner_link::{LearnerLink, OutPacket};
use super::learner_master::{LearnerError, LearnerMaster, SyncBegin};
use super::learner_sync_throttler::{LearnerSyncThrottler, SyncType};
use super::txn_log_source::TxnLogSource;
use crate::common::sync::{Condvar, Mutex, MutexGuard, Rank};
use crate::common::time;
use crate::jute::{Limits, OutputExt};
use crate::metrics::ServerMetrics;
use crate::proto::{ServerId, SessionId, TxnLogEntry, Zxid};
use crate::quorum::commit_processor::{Commit, CommitProcessor};
use crate::quorum::packet_stream::PacketType;
use crate::quorum::quorum_peer::QuorumPeer;
use crate::quorum::session::leader_session_tracker::LeaderSessionTracker;
use crate::quorum::verifier::QuorumVerifier;
use crate::quorum::zab::epoch::{EpochNegotiation, EpochProgress, StateSummary};
use crate::quorum::zab::proposals::{AckSource, Forward, ProposalAction, Proposals, ProposeError};
use crate::quorum::zab::sync_plan::{LeaderHistory, SyncOptions, SyncPlan, plan};
use crate::server::request::Request;
use crate::server::server_stats::BufferStats;
use crate::server::zk_database::ZkDatabase;
use crate::server::zookeeper_server::ZooKeeperServer;
use crate::session::Session;
use crate::tree::SnapshotWalk;

/// The session of a link begins behind the owners that are not learners.
const FIRST_LINK_ID: u64 = Session::OWNER_ME + 1;

/// What wakes the thread that leads before its next tick.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LeaderEvent {
    /// The role has to end, for this reason.
    End(String),
    /// The counter has come to its end, and everything that was proposed is committed.
    HandOver,
}

/// The beginning of the epoch, as the threads of learners wait for it.
struct Beginning {
    core: EpochNegotiation,
    /// The new epoch, which the leader's own thread is to write.
    to_write: Option<i64>,
    /// The voter that wanted another leader, or the end of the role.
    is_over: bool,
    /// Requests are served.
    is_serving: bool,
}

/// Guarded by the lock of rank 30.
struct State {
    /// None before the epoch is known.
    proposals: Option<Proposals<Arc<LearnerLink>>>,
    /// Followers that are sent every proposal.
    forwarding: Arc<Vec<Arc<LearnerLink>>>,
    /// Observers that are sent every commit.
    observing: Arc<Vec<Arc<LearnerLink>>>,
    /// Where commits go once the chain is there.
    commit_processor: Option<Arc<CommitProcessor>>,
}

/// The server and what belongs to it, once it serves.
pub struct Serving {
    /// The server.
    pub server: Arc<ZooKeeperServer>,
    /// Its sessions.
    pub tracker: Arc<LeaderSessionTracker>,
    /// When it began.
    pub since_ms: i64,
}

/// See the module.
pub struct Leader {
    peer: Arc<QuorumPeer>,
    db: Arc<ZkDatabase>,
    /// The last transaction of the history that the epoch begins with.
    base: Zxid,
    txn_log_source: TxnLogSource,
    beginning: Mutex<Beginning>,
    has_changed: Condvar,
    state: Mutex<State>,
    learners: Mutex<BTreeMap<u64, Arc<LearnerLink>>>,
    /// Of these the next synchronisation is a snapshot.
    snapshot_required: Mutex<BTreeSet<ServerId>>,
    serving: Mutex<Option<Arc<Serving>>>,
    events: Sender<LeaderEvent>,
    tick: AtomicI32,
    next_link: AtomicU64,
    follower_counter: AtomicI64,
    /// Since when the epoch is waited for; -1 before and after.
    waiting_for_epoch_since_ms: AtomicI64,
    proposal_stats: BufferStats,
    diff_throttler: Arc<LearnerSyncThrottler>,
    snap_throttler: Arc<LearnerSyncThrottler>,
}

impl Leader {
    /// A leader whose history ends as `summary` says. What ends the role is told to `events`.
    pub fn new(
        peer: &Arc<QuorumPeer>,
        db: &Arc<ZkDatabase>,
        txn_log_source: TxnLogSource,
        summary: StateSummary,
        events: Sender<LeaderEvent>,
    ) -> Arc<Leader> {
        let settings = peer.settings();
        Arc::new(Leader {
            beginning: Mutex::new(
                // Whether the peer is told to stop is asked under it.
                Rank::Inbox,
                Beginning {
                    core: EpochNegotiation::new(peer.my_id(), summary, peer.verifier()),
                    to_write: None,
                    is_over: false,
                    is_serving: false,
                },
            ),
            has_changed: Condvar::new(),
            state: Mutex::new(
                Rank::LeaderState,
                State {
                    proposals: None,
                    forwarding: Arc::default(),
                    observing: Arc::default(),
                    commit_processor: None,
                },
            ),
            learners: Mutex::new(Rank::Leaf, BTreeMap::new()),
            snapshot_required: Mutex::new(Rank::Leaf, BTreeSet::new()),
            serving: Mutex::new(Rank::Leaf, None),
            events,
            tick: AtomicI32::new(0),
            next_link: AtomicU64::new(FIRST_LINK_ID),
            follower_counter: AtomicI64::new(-1),
            waiting_for_epoch_since_ms: AtomicI64::new(-1),
            proposal_stats: BufferStats::default(),
            diff_throttler: LearnerSyncThrottler::new(
                SyncType::Diff,
                settings.leader_max_concurrent_diff_syncs,
            ),
            snap_throttler: LearnerSyncThrottler::new(
                SyncType::Snap,
                settings.leader_max_concurrent_snap_syncs,
            ),
            peer: Arc::clone(peer),
            db: Arc::clone(db),
            base: summary.last_zxid,
            txn_log_source,
        })
    }

    /// The member that leads.
    pub fn peer(&self) -> &Arc<QuorumPeer> {
        &self.peer
    }

    /// The tree and the sessions.
    pub fn db(&self) -> &Arc<ZkDatabase> {
        &self.db
    }

    /// The number of the next connection of a learner.
    pub fn next_link_id(&self) -> u64 {
        self.next_link.fetch_add(1, Ordering::Relaxed)
    }

    /// Sizes of proposals.
    pub fn proposal_stats(&self) -> &BufferStats {
        &self.proposal_stats
    }

    /// The server, once it serves.
    pub fn serving(&self) -> Option<Arc<Serving>> {
        self.serving.lock().clone()
    }

    /// The role has to end. Any thread; the first reason counts.
    pub fn end(&self, why: impl Into<String>) {
        let _ = self.events.send(LeaderEvent::End(why.into())); // It ends already.
    }

    fn hand_over(&self) {
        let _ = self.events.send(LeaderEvent::HandOver); // It ends already.
    }

    /// Wakes all that wait for the epoch to begin: it will not.
    pub fn stop_waiting(&self) {
        self.beginning.lock().is_over = true;
        self.has_changed.notify_all();
    }

    /// The learners that are connected, in the order in which they came.
    pub fn learners(&self) -> Vec<Arc<LearnerLink>> {
        self.learners.lock().values().cloned().collect()
    }

    /// The followers that are sent proposals.
    pub fn forwarding_followers(&self) -> Arc<Vec<Arc<LearnerLink>>> {
        Arc::clone(&self.state.lock().forwarding)
    }

    /// How many of them have no vote.
    pub fn non_voting_followers(&self) -> usize {
        let verifier = self.peer.verifier();
        let voters = verifier.voting_members();
        self.state.lock().forwarding.iter().filter(|l| !voters.contains_key(&l.sid())).count()
    }

    /// The observers that are sent commits.
    pub fn observing_learners(&self) -> usize {
        self.state.lock().observing.len()
    }

    /// For how many proposals syncs wait.
    pub fn pending_syncs(&self) -> usize {
        self.state.lock().proposals.as_ref().map_or(0, Proposals::pending_sync_count)
    }

    /// The last proposal.
    pub fn last_proposed(&self) -> Zxid {
        let state = self.state.lock();
        state.proposals.as_ref().map_or(self.db.last_processed_zxid(), Proposals::last_proposed)
    }

    /// The tick that pings and deadlines are counted in.
    pub fn current_tick(&self) -> i32 {
        self.tick.load(Ordering::Relaxed)
    }

    /// The next tick.
    pub fn increment_tick(&self) {
        self.tick.fetch_add(1, Ordering::Relaxed);
    }

    /// The configurations of which quorums are needed.
    pub fn verifiers(&self) -> Vec<Arc<QuorumVerifier>> {
        let current = self.peer.verifier();
        let pending =
            self.peer.last_seen_verifier().filter(|seen| seen.version() > current.version());
        std::iter::once(current).chain(pending).collect()
    }

    // The beginning of the epoch.

    /// The leader's own part of [`LearnerMaster::epoch_to_propose`]: writes the epoch once a quorum
    /// is there.
    pub fn own_epoch_to_propose(&self, deadline: Instant) -> Result<i64, LearnerError> {
        self.waiting_for_epoch_since_ms.store(time::elapsed_ms(), Ordering::Relaxed);
        let accepted = self.peer.epochs().accepted_epoch();
        let mut beginning = self.beginning.lock();
        note(&mut beginning, self.peer.my_id(), accepted)?;
        while beginning.to_write.is_none() {
            self.wait(&mut beginning, deadline, "epoch from quorum")?;
        }
        let epoch = beginning.to_write.take().unwrap_or_default();
        drop(beginning);
        self.waiting_for_epoch_since_ms.store(-1, Ordering::Relaxed);
        self.peer.epochs().set_accepted_epoch(epoch)?;
        Ok(epoch)
    }

    /// The epoch is durable: learners are told. The zxid of NEWLEADER.
    pub fn epoch_begins(&self) -> Zxid {
        let verifiers = self.verifiers();
        let mut beginning = self.beginning.lock();
        let epoch = beginning.core.accepted_epoch_written();
        for pending in verifiers.iter().skip(1) {
            beginning.core.add_pending_verifier(Arc::clone(pending));
        }
        drop(beginning);
        let start = Zxid::new(epoch, 0);
        self.state.lock().proposals = Some(Proposals::new(start, verifiers).with_base(self.base));
        self.has_changed.notify_all();
        start
    }

    /// Proposals go on behind this zxid (`zookeeper.testingonly.initialZxid`).
    pub fn skip_to(&self, zxid: Zxid) {
        let verifiers = self.verifiers();
        self.state.lock().proposals = Some(Proposals::new(zxid, verifiers).with_base(self.base));
    }

    /// Waits until a quorum has promised the epoch, the leader itself included.
    pub fn own_epoch_ack(
        &self,
        summary: StateSummary,
        deadline: Instant,
    ) -> Result<(), LearnerError> {
        self.epoch_ack(self.peer.my_id(), summary, deadline)
    }

    /// Waits until a quorum has taken over the history, the leader itself included.
    pub fn own_new_leader_ack(&self, zxid: Zxid, deadline: Instant) -> Result<(), LearnerError> {
        self.new_leader_ack(self.peer.my_id(), zxid, deadline)
    }

    /// Who has taken over the history, as text.
    pub fn new_leader_acks(&self) -> String {
        self.beginning.lock().core.new_leader_acks().to_string()
    }

    /// Whether those that are connected would be a quorum.
    pub fn has_enough_followers(&self) -> bool {
        let sids = self.learners().iter().map(|link| link.sid()).collect();
        self.beginning.lock().core.would_have_quorum(&sids)
    }

    /// A voter looks for another leader: if the epoch has been waited for too long, this one gives
    /// up (`reportLookingSid`). So it does before it serves, if so many `have_left` for a later round
    /// that the others are no quorum: those come back only to a leader with a quorum, and Java would
    /// lose `initLimit` waiting for them.
    pub fn report_looking_sid(&self, sid: ServerId, has_left: bool) {
        if has_left && !self.beginning.lock().core.voter_left(sid) {
            log::info!(
                "Quit leading: without those that look for a leader again there is no quorum"
            );
            self.stop_waiting();
            return;
        }
        let limit = i64::from(self.peer.settings().leader_max_time_to_wait_for_epoch_ms);
        let since_ms = self.waiting_for_epoch_since_ms.load(Ordering::Relaxed);
        if limit < 0 || since_ms < 0 || !self.peer.verifier().voting_members().contains_key(&sid) {
            return;
        }
        if time::elapsed_ms().saturating_sub(since_ms) > limit {
            self.peer.metrics().quit_leading_due_to_disloyal_voter.increment();
            log::info!("Quit leading due to voter changed mind.");
            self.stop_waiting();
        }
    }

    /// From now on requests are served and commits handed to `commit_processor`.
    pub fn start_serving(&self, serving: Serving, commit_processor: Arc<CommitProcessor>) {
        self.state.lock().commit_processor = Some(commit_processor);
        *self.serving.lock() = Some(Arc::new(serving));
        self.beginning.lock().is_serving = true;
        self.has_changed.notify_all();
    }

    /// No more commits, and no more requests of learners.
    pub fn stop_serving(&self) {
        let processor = self.state.lock().commit_processor.take();
        let serving = self.serving.lock().take();
        drop((processor, serving));
    }

    fn epoch_ack(
        &self,
        sid: ServerId,
        summary: StateSummary,
        deadline: Instant,
    ) -> Result<(), LearnerError> {
        let mut beginning = self.beginning.lock();
        if beginning.core.epoch_ack(sid, summary)? {
            self.has_changed.notify_all();
        }
        while !beginning.core.is_election_finished() {
            self.wait(&mut beginning, deadline, "epoch to be acked by quorum")?;
        }
        Ok(())
    }

    fn new_leader_ack(
        &self,
        sid: ServerId,
        zxid: Zxid,
        deadline: Instant,
    ) -> Result<(), LearnerError> {
        let mut beginning = self.beginning.lock();
        if beginning.core.new_leader_ack(sid, zxid)? {
            self.has_changed.notify_all();
        }
        while !beginning.core.has_quorum_formed() {
            self.wait(&mut beginning, deadline, "NEWLEADER to be acked by quorum")?;
        }
        Ok(())
    }

    fn wait(
        &self,
        beginning: &mut crate::common::sync::MutexGuard<'_, Beginning>,
        deadline: Instant,
        what: &'static str,
    ) -> Result<(), LearnerError> {
        if beginning.is_over {
            return Err(LearnerError::Stopped);
        }
        if Instant::now() >= deadline {
            return Err(LearnerError::Timeout(what));
        }
        self.has_changed.wait_until(beginning, deadline);
        if beginning.is_over { Err(LearnerError::Stopped) } else { Ok(()) }
    }

    fn init_deadline(&self) -> Instant {
        Instant::now() + Duration::from_millis(self.init_timeout_ms())
    }

    // Proposals.

    /// Proposes transactions to all that follow (`propose`). An error ends the role, now or, at the
    /// end of the counter, once everything outstanding is committed. How many were proposed: only
    /// these may be logged.
    pub fn propose(&self, entries: &[Arc<TxnLogEntry>]) -> usize {
        let mut state = self.state.lock();
        let State { proposals: Some(proposals), forwarding, .. } = &mut *state else { return 0 };
        let mut proposed = 0;
        let mut failure = None;
        for entry in entries {
            if let Err(error) = proposals.propose(Arc::clone(entry)) {
                failure = Some(error);
                break;
            }
            proposed += 1;
        }
        for link in forwarding.iter() {
            let entries = entries.iter().take(proposed);
            link.queue(entries.map(|entry| OutPacket::Proposal(Arc::clone(entry))));
        }
        let is_handed_over = proposals.is_ready_to_hand_over();
        let followers = Arc::clone(forwarding);
        drop(state);
        followers.iter().for_each(|link| link.flush(self.peer.metrics()));
        for entry in entries.iter().take(proposed) {
            let size = i32::try_from(entry.bytes.len()).unwrap_or(i32::MAX);
            self.proposal_stats.set_last_buffer_size(size);
        }
        self.peer.metrics().proposal_count.add(proposed as i64);
        match failure {
            Some(error @ ProposeError::RolledOver) => {
                log::warn!("{error}");
                if is_handed_over {
                    self.hand_over();
                }
            }
            Some(error @ ProposeError::NotNext { .. }) => self.end(error.to_string()),
            None => {}
        }
        proposed
    }

    /// The leader itself has these on its disk.
    pub fn process_own_acks(&self, zxids: &[Zxid]) {
        self.acks(AckSource { sid: self.peer.my_id(), connection: 0 }, zxids);
    }

    fn acks(&self, from: AckSource, zxids: &[Zxid]) {
        let mut actions = Vec::new();
        let mut state = self.state.lock();
        let Some(proposals) = &mut state.proposals else { return };
        let sampled = zxids.iter().filter(|zxid| self.is_sampled(**zxid));
        for entry in sampled.filter_map(|zxid| proposals.outstanding(*zxid)) {
            let latency_ms = time::wall_ms().saturating_sub(entry.header.time);
            self.peer.metrics().ack_latency.add(&from.sid.to_string(), latency_ms);
        }
        let future = proposals.ack_all(from, zxids, &mut actions);
        self.carry_out(state, actions);
        if future > 0 {
            log::warn!("Trying to commit {future} future proposals: {zxids:?} from {}", from.sid);
        }
    }

    /// Whether the latency of acknowledgements of this one is measured.
    fn is_sampled(&self, zxid: Zxid) -> bool {
        let every = i64::from(self.peer.settings().leader_ack_logging_frequency);
        every > 0 && zxid.0 % every == 0
    }

    /// A learner asks for everything proposed so far (`processSync`).
    pub fn process_sync(&self, owner: u64) {
        let Some(link) = self.learners.lock().get(&owner).cloned() else { return };
        let mut actions = Vec::new();
        let mut state = self.state.lock();
        let Some(proposals) = &mut state.proposals else { return };
        proposals.sync(link, &mut actions);
        self.carry_out(state, actions);
    }

    /// Returns when what learners were told to commit was handed to the own chain as well. A client of
    /// a learner may know it already, and one of ours that asks for a sync must see it.
    pub fn await_commits_under_way(&self) {
        drop(self.state.lock());
    }

    /// Looks again for quorums, with the help of an oracle.
    pub fn revalidate_outstanding(&self) {
        let mut actions = Vec::new();
        let mut state = self.state.lock();
        let Some(proposals) = &mut state.proposals else { return };
        proposals.revalidate_outstanding(&mut actions);
        self.carry_out(state, actions);
    }

    /// Everything up to `zxid` is applied and in the committed log.
    pub fn applied(&self, zxid: Zxid) {
        if let Some(proposals) = &mut self.state.lock().proposals {
            proposals.applied(zxid);
        }
    }

    /// Under the lock, so that every learner and the own chain get commits in the same order; it is
    /// given up before anything is sent.
    fn carry_out(
        &self,
        state: MutexGuard<'_, State>,
        actions: Vec<ProposalAction<Arc<LearnerLink>>>,
    ) {
        if actions.is_empty() {
            return;
        }
        let metrics = self.peer.metrics();
        let wall_ms = time::wall_ms();
        let mut committed = Vec::with_capacity(actions.len());
        let mut synced = Vec::new();
        for action in actions {
            match action {
                ProposalAction::Commit(entry) => {
                    metrics.quorum_ack_latency.add(wall_ms.saturating_sub(entry.header.time));
                    committed.push(entry);
                }
                ProposalAction::AnswerSync(link) => {
                    // What is committed before it goes before it.
                    self.queue_commits(&state, &mut committed);
                    link.queue([OutPacket::Other(PacketType::Sync.packet(0, None))]);
                    synced.push(link);
                }
            }
        }
        self.queue_commits(&state, &mut committed);
        if state.proposals.as_ref().is_some_and(Proposals::is_ready_to_hand_over) {
            self.hand_over();
        }
        let (followers, observers) = (Arc::clone(&state.forwarding), Arc::clone(&state.observing));
        drop(state);
        for link in followers.iter().chain(observers.iter()).chain(&synced) {
            link.flush(metrics);
        }
    }

    fn queue_commits(&self, state: &State, committed: &mut Vec<Arc<TxnLogEntry>>) {
        if committed.is_empty() {
            return;
        }
        self.peer.metrics().commit_count.add(committed.len() as i64);
        for link in state.forwarding.iter() {
            link.queue(committed.iter().map(|entry| OutPacket::Commit(entry.zxid())));
        }
        for link in state.observing.iter() {
            link.queue(committed.iter().map(|entry| OutPacket::Inform(Arc::clone(entry))));
        }
        match &state.commit_processor {
            Some(processor) => processor.commit(committed.drain(..).map(Commit::Txn)),
            None => committed.clear(),
        }
    }

    // Learners.

    /// Makes the learner one of those that are sent what follows `last_seen`.
    fn start_forwarding(&self, state: &mut State, link: &Arc<LearnerLink>, last_seen: Zxid) {
        let State { proposals: Some(proposals), forwarding, observing, .. } = state else { return };
        let before =
            proposals.start_forwarding(link.ack_source(), last_seen, link.is_participant());
        // Its thread, which is not there yet, will send them.
        link.queue(before.into_iter().map(|forward| match forward {
            Forward::Proposal(entry) => OutPacket::Proposal(entry),
            Forward::Commit(zxid) => OutPacket::Commit(zxid),
        }));
        let list = if link.is_participant() { forwarding } else { observing };
        Arc::make_mut(list).push(Arc::clone(link));
        let has_followers = !state.forwarding.is_empty();
        self.peer.verifier().update_need_oracle(has_followers);
    }

    /// The older connections of the same server end.
    fn close_older(&self, link: &LearnerLink) {
        let sid = link.sid();
        for other in self.learners() {
            if other.sid() == sid && other.id() < link.id() {
                log::warn!("Closing an earlier connection of server {sid} from {}", other.remote());
                other.close();
            }
        }
    }

    fn sync_options(&self, sid: ServerId) -> SyncOptions {
        let is_required = self.snapshot_required.lock().remove(&sid);
        SyncOptions {
            force_snapshot: self.peer.settings().force_snapshot_sync || is_required,
            is_txn_log_sync_enabled: self.txn_log_source.is_enabled(),
        }
    }

    /// Which servers the leader has heard of within `within_ms`, itself included.
    pub fn heard_within(&self, within_ms: i64) -> BTreeSet<ServerId> {
        let now_ms = time::elapsed_ms();
        let mut sids: BTreeSet<ServerId> = self
            .forwarding_followers()
            .iter()
            .filter(|link| now_ms.saturating_sub(link.last_heard_ms()) <= within_ms)
            .map(|link| link.sid())
            .collect();
        sids.insert(self.peer.my_id());
        sids
    }

    /// Whether a quorum has been heard of in the last half sync limit: else no session may expire,
    /// for its client may long have been served by the next leader.
    pub fn has_live_quorum(&self) -> bool {
        let within_ms = i64::try_from(self.sync_timeout_ms() / 2).unwrap_or(i64::MAX);
        let heard = self.heard_within(within_ms);
        self.verifiers().iter().all(|verifier| {
            let voters = verifier.voting_members();
            let voting = heard.iter().copied().filter(|sid| voters.contains_key(sid)).collect();
            verifier.contains_quorum(&voting)
        })
    }
}

/// The epoch that `sid` accepted last; notes who has to write a new one.
fn note(
    beginning: &mut Beginning,
    sid: ServerId,
    accepted_epoch: i64,
) -> Result<Option<i64>, LearnerError> {
    Ok(match beginning.core.follower_info(sid, accepted_epoch)? {
        EpochProgress::Waiting => None,
        EpochProgress::Decided(epoch) => Some(epoch),
        EpochProgress::WriteAcceptedEpoch(epoch) => {
            beginning.to_write = Some(epoch);
            None
        }
    })
}

impl LearnerMaster for Leader {
    fn metrics(&self) -> &Arc<ServerMetrics> {
        self.peer.metrics()
    }

    fn zk_database(&self) -> &Arc<ZkDatabase> {
        &self.db
    }

    fn add_learner_handler(&self, link: &Arc<LearnerLink>) {
        self.learners.lock().insert(link.id(), Arc::clone(link));
    }

    fn remove_learner_handler(&self, link: &LearnerLink) {
        let mut state = self.state.lock();
        Arc::make_mut(&mut state.forwarding).retain(|other| other.id() != link.id());
        Arc::make_mut(&mut state.observing).retain(|other| other.id() != link.id());
        drop(state);
        let removed = self.learners.lock().remove(&link.id());
        drop(removed);
    }

    fn my_id(&self) -> ServerId {
        self.peer.my_id()
    }

    fn next_follower_counter(&self) -> ServerId {
        ServerId(self.follower_counter.fetch_sub(1, Ordering::Relaxed))
    }

    fn peer_info(&self, sid: ServerId) -> Option<String> {
        self.peer.server(sid).map(|server| server.to_string())
    }

    fn quorum_verifier_version(&self) -> i64 {
        self.peer.verifier().version()
    }

    fn quorum_verifier_bytes(&self) -> Vec<u8> {
        let verifier = self.peer.last_seen_verifier().unwrap_or_else(|| self.peer.verifier());
        verifier.to_string().into_bytes()
    }

    fn epoch_to_propose(&self, sid: ServerId, accepted_epoch: i64) -> Result<i64, LearnerError> {
        let deadline = self.init_deadline();
        let mut beginning = self.beginning.lock();
        if let Some(epoch) = note(&mut beginning, sid, accepted_epoch)? {
            return Ok(epoch);
        }
        self.has_changed.notify_all();
        loop {
            if let Some(epoch) = beginning.core.epoch() {
                return Ok(epoch);
            }
            self.wait(&mut beginning, deadline, "epoch from quorum")?;
        }
    }

    fn wait_for_epoch_ack(&self, sid: ServerId, summary: StateSummary) -> Result<(), LearnerError> {
        self.epoch_ack(sid, summary, self.init_deadline())
    }

    fn wait_for_new_leader_ack(&self, sid: ServerId, zxid: Zxid) -> Result<(), LearnerError> {
        self.new_leader_ack(sid, zxid, self.init_deadline())
    }

    fn wait_for_startup(&self) -> Result<(), LearnerError> {
        let deadline = self.init_deadline();
        let mut beginning = self.beginning.lock();
        while !beginning.is_serving {
            self.wait(&mut beginning, deadline, "the server to start")?;
        }
        Ok(())
    }

    fn begin_sync(&self, link: &Arc<LearnerLink>, peer: Zxid) -> Result<SyncBegin, LearnerError> {
        let options = self.sync_options(link.sid());
        self.close_older(link);
        // Both locks: nothing is committed, applied or proposed between the plan and the cut.
        let committed = self.db.committed_log().read();
        let mut state = self.state.lock();
        let Some(proposals) = &state.proposals else { return Err(LearnerError::Stopped) };
        let history = LeaderHistory {
            base: proposals.base(),
            last_processed: self.db.last_processed_zxid(),
            committed: committed.proposals(),
            to_be_applied: proposals.to_be_applied(),
        };
        let (min, max, last) = (history.min(), history.max(), history.last_processed);
        let begin = match plan(peer, &history, options) {
            SyncPlan::Packets(packets) => {
                self.start_forwarding(&mut state, link, packets.last);
                SyncBegin::Packets(packets)
            }
            SyncPlan::TxnLog => SyncBegin::TxnLog,
            SyncPlan::Snapshot(reason) => {
                let walk = self.db.tree().begin_walk();
                self.start_forwarding(&mut state, link, walk.zxid());
                SyncBegin::Snapshot(walk, reason)
            }
        };
        drop(state);
        drop(committed);
        log::info!(
            "Synchronizing with Learner sid: {} maxCommittedLog={max} minCommittedLog={min} \
             lastProcessedZxid={last} peerLastZxid={peer}",
            link.sid()
        );
        Ok(begin)
    }

    fn begin_snapshot(&self, link: &Arc<LearnerLink>) -> Result<SnapshotWalk, LearnerError> {
        let _committed = self.db.committed_log().read();
        let mut state = self.state.lock();
        let walk = self.db.tree().begin_walk();
        self.start_forwarding(&mut state, link, walk.zxid());
        Ok(walk)
    }

    fn join_forwarding(
        &self,
        link: &Arc<LearnerLink>,
        last: Zxid,
    ) -> Option<Vec<Arc<TxnLogEntry>>> {
        let committed = self.db.committed_log().read();
        let mut state = self.state.lock();
        let proposals = state.proposals.as_ref()?;
        let history = LeaderHistory {
            base: proposals.base(),
            last_processed: self.db.last_processed_zxid(),
            committed: committed.proposals(),
            to_be_applied: proposals.to_be_applied(),
        };
        let rest = history.join(last)?;
        let last = rest.last().map_or(last, |entry| entry.zxid());
        self.start_forwarding(&mut state, link, last);
        Some(rest)
    }

    fn last_committed(&self) -> Zxid {
        // Of an epoch without a commit it is no transaction; what is in the log is older.
        let state = self.state.lock();
        let committed = state.proposals.as_ref().map(Proposals::last_committed);
        committed.unwrap_or_else(|| self.db.last_processed_zxid())
    }

    fn txn_log_source(&self) -> &TxnLogSource {
        &self.txn_log_source
    }

    fn require_snapshot(&self, sid: ServerId) {
        self.snapshot_required.lock().insert(sid);
    }

    fn diff_throttler(&self) -> &Arc<LearnerSyncThrottler> {
        &self.diff_throttler
    }

    fn snap_throttler(&self) -> &Arc<LearnerSyncThrottler> {
        &self.snap_throttler
    }

    fn process_acks(&self, link: &LearnerLink, zxids: &[Zxid]) {
        if let Some(last) = zxids.iter().max() {
            link.update_ack(*last);
        }
        self.acks(link.ack_source(), zxids);
    }

    fn touch(&self, session: SessionId, timeout_ms: i32) {
        if let Some(serving) = self.serving() {
            serving.tracker.touch(session, timeout_ms);
        }
    }

    fn revalidate_session(&self, link: &Arc<LearnerLink>, session: SessionId, timeout_ms: i32) {
        let Some(serving) = self.serving() else { return };
        let (link, owner) = (Arc::clone(link), link.id());
        let metrics = Arc::clone(self.peer.metrics());
        let answer = move |is_valid: bool| {
            let mut data = Vec::with_capacity(9);
            data.put_i64(session.0);
            data.put_bool(is_valid);
            let packet = PacketType::Revalidate.packet(-1, Some(data.into()));
            link.send(OutPacket::Other(packet), &metrics);
        };
        serving.tracker.revalidate(session, timeout_ms, owner, Box::new(answer));
    }

    fn submit_learner_requests(&self, requests: &mut Vec<Request>) {
        match self.serving() {
            Some(serving) => serving.server.submit_learner_requests(requests),
            None => requests.clear(),
        }
    }

    fn limits(&self) -> Limits {
        let config = self.peer.config();
        Limits::new(config.jute_maxbuffer, Some(config.jute_maxbuffer_extrasize))
    }

    fn init_timeout_ms(&self) -> u64 {
        self.peer.ticks_ms(self.peer.settings().init_limit)
    }

    fn sync_timeout_ms(&self) -> u64 {
        self.peer.ticks_ms(self.peer.settings().sync_limit)
    }

    fn tick_of_next_ack_deadline(&self) -> i32 {
        self.current_tick().saturating_add(self.peer.settings().sync_limit)
    }

    fn tick_of_initial_ack_deadline(&self) -> i32 {
        let settings = self.peer.settings();
        self.current_tick().saturating_add(settings.init_limit).saturating_add(settings.sync_limit)
    }
}
