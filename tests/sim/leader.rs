//! The driver of a leader and its learner handlers: carries out what `zab::epoch`,
//! `zab::sync_plan`, `zab::proposals` and the preparation of requests decide.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use zabkeeper::proto::{Code, ServerId, SessionId, TxnLogEntry, Zxid};
use zabkeeper::quorum::zab::epoch::{EpochNegotiation, EpochProgress, StateSummary};
use zabkeeper::quorum::zab::learner_sync::{LeaderPacket, PROTOCOL_VERSION};
use zabkeeper::quorum::zab::proposals::{
    AckSource, Forward, LearnerAcks, ProposalAction, Proposals,
};
use zabkeeper::quorum::zab::sync_plan::{
    LeaderHistory, LogStep, SyncOptions, SyncPacket, SyncPackets, SyncPlan, SyncStart, TxnLogSync,
    plan,
};
use zabkeeper::server::prep::{
    OutstandingChanges, PrepContext, PrepOptions, PrepRequest, PrepSessions, PrepState, prepare,
};
use zabkeeper::tree::SnapshotWalk;

use crate::chain::Chain;
use crate::mutants::Mutant;
use crate::net::{ConnId, NodeIx};
use crate::node::Core;
use crate::shared::{ClientRequest, LearnerPacket, Msg, Shared, Step, Stream, Timer, role_over};

/// How far a learner has come (`LearnerHandler.run`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    WaitInfo,
    WaitEpoch,
    WaitAckEpoch,
    /// It has promised; a quorum has not.
    WaitPromises(Zxid),
    /// Its history is chosen and sent.
    Syncing(Zxid),
    WaitNewLeaderAck,
    /// It has taken over the history; a quorum has not.
    WaitStart,
    Broadcast,
}

/// What is to be sent once the sync begins to stream.
enum Outgoing {
    Packet(LeaderPacket),
    /// The walk has begun; the tree goes on until its turn comes.
    Snapshot(SnapshotWalk),
    /// What is proposed and committed behind this point, looked up when its turn comes: with the
    /// lock let go in between (ZOOKEEPER-3104).
    LateForwarding(Zxid),
}

struct Handler {
    sid: ServerId,
    phase: Phase,
    is_follower: bool,
    acks: LearnerAcks,
    /// On the list of those who are sent what is proposed and committed.
    is_forwarded_to: bool,
    /// `Some` until the sync has begun to stream.
    queue: Option<Vec<Outgoing>>,
    last_heard: u64,
}

/// Sessions as a leader knows them.
#[derive(Default)]
struct LeaderSessions(RefCell<BTreeMap<SessionId, bool>>);

impl PrepSessions for LeaderSessions {
    fn check_session(&self, session: SessionId, _owner: u64) -> Result<(), Code> {
        match self.0.borrow().get(&session) {
            Some(true) => Ok(()),
            _ => Err(Code::SessionExpired),
        }
    }
    fn check_global_session(&self, session: SessionId, owner: u64) -> Result<(), Code> {
        self.check_session(session, owner)
    }
    fn track_session(&self, session: SessionId, _timeout_ms: i32, _owner: u64) {
        self.0.borrow_mut().insert(session, true);
    }
    fn set_session_closing(&self, session: SessionId) {
        self.0.borrow_mut().insert(session, false);
    }
}

/// What there is once it serves.
struct Serving {
    prep: PrepState,
    changes: OutstandingChanges,
    sessions: LeaderSessions,
    /// The transaction before the next.
    previous: Zxid,
}

pub struct Leading {
    generation: u32,
    negotiation: EpochNegotiation,
    /// From the moment on in which the epoch is its own.
    proposals: Option<Proposals<()>>,
    handlers: BTreeMap<ConnId, Handler>,
    serving: Option<Serving>,
    pub chain: Option<Chain>,
    started: u64,
    half_ticks: u64,
}

impl Leading {
    pub fn start(sh: &mut Shared, core: &mut Core, generation: u32) -> Step<Leading> {
        let summary = StateSummary {
            current_epoch: core.db.current_epoch,
            last_zxid: core.db.last_processed(),
        };
        let verifier = Arc::clone(&sh.verifier);
        let mut leading = Leading {
            generation,
            negotiation: EpochNegotiation::new(core.id, summary, verifier),
            proposals: None,
            handlers: BTreeMap::new(),
            serving: None,
            chain: None,
            started: sh.now,
            half_ticks: 0,
        };
        sh.timer(core.me, sh.settings.tick_ms / 2, Timer::Tick(generation));
        let accepted_epoch = core.db.accepted_epoch;
        leading.follower_info(sh, core, core.id, accepted_epoch)?;
        Ok(leading)
    }

    /// A voter looks for a leader in a later round.
    pub fn voter_left(&mut self, sid: ServerId) -> Step {
        if self.negotiation.voter_left(sid) {
            return Ok(());
        }
        role_over("without those that look for a leader again there is no quorum")
    }

    pub fn is_serving(&self) -> bool {
        self.serving.is_some()
    }

    pub fn has_conn(&self, conn: ConnId) -> bool {
        self.handlers.contains_key(&conn)
    }

    /// The role is over.
    pub fn close(&mut self, sh: &mut Shared, node: NodeIx) -> Option<Chain> {
        for conn in std::mem::take(&mut self.handlers).into_keys() {
            sh.close(node, conn);
        }
        self.chain.take()
    }

    pub fn on_accepted(&mut self, sh: &Shared, conn: ConnId, from: NodeIx) {
        let handler = Handler {
            sid: ServerId(from as i64 + 1),
            phase: Phase::WaitInfo,
            is_follower: false,
            acks: LearnerAcks::default(),
            is_forwarded_to: false,
            queue: Some(Vec::new()),
            last_heard: sh.now,
        };
        self.handlers.insert(conn, handler);
    }

    fn drop_handler(
        &mut self,
        sh: &mut Shared,
        core: &Core,
        conn: ConnId,
        why: impl std::fmt::Display,
    ) {
        if let Some(handler) = self.handlers.remove(&conn) {
            sh.trace(core.me.node, format_args!("drops learner {}: {why}", handler.sid));
            sh.close(core.me.node, conn);
        }
    }

    pub fn on_closed(&mut self, sh: &mut Shared, core: &Core, conn: ConnId) {
        self.drop_handler(sh, core, conn, "connection lost");
    }

    pub fn on_packet(
        &mut self,
        sh: &mut Shared,
        core: &mut Core,
        conn: ConnId,
        packet: LearnerPacket,
    ) -> Step {
        let Some(handler) = self.handlers.get_mut(&conn) else { return Ok(()) };
        handler.last_heard = sh.now;
        let sid = handler.sid;
        match (handler.phase, packet) {
            (Phase::WaitInfo, LearnerPacket::Info { accepted_epoch, is_follower }) => {
                handler.is_follower = is_follower;
                handler.phase = Phase::WaitEpoch;
                self.follower_info(sh, core, sid, accepted_epoch)
            }
            (Phase::WaitAckEpoch, LearnerPacket::AckEpoch { last_zxid, current_epoch }) => {
                handler.phase = Phase::WaitPromises(last_zxid);
                let summary = StateSummary { current_epoch: current_epoch.into(), last_zxid };
                match self.negotiation.epoch_ack(sid, summary) {
                    Ok(_) => self.after_promise(sh, core),
                    Err(error) => {
                        self.drop_handler(sh, core, conn, error);
                        Ok(())
                    }
                }
            }
            (Phase::WaitNewLeaderAck, LearnerPacket::Ack(zxid)) if zxid.counter() == 0 => {
                match self.negotiation.new_leader_ack(sid, zxid) {
                    Ok(_) => {}
                    Err(error) => {
                        self.drop_handler(sh, core, conn, error);
                        return Ok(());
                    }
                }
                handler.phase = Phase::WaitStart;
                let early = handler.acks.new_leader_acked();
                for zxid in early {
                    self.on_ack(sh, core, AckSource { sid, connection: conn.0 }, zxid)?;
                }
                self.after_new_leader_ack(sh, core)
            }
            (_, LearnerPacket::Ack(zxid)) => {
                if zxid.counter() != 0 && handler.acks.counts(zxid) {
                    self.on_ack(sh, core, AckSource { sid, connection: conn.0 }, zxid)?;
                }
                Ok(())
            }
            (_, LearnerPacket::Request(request)) => self.prepare(sh, core, &request),
            (_, LearnerPacket::Ping) => Ok(()),
            (phase, packet) => {
                self.drop_handler(sh, core, conn, format_args!("{packet:?} in {phase:?}"));
                Ok(())
            }
        }
    }

    // Discovery.

    fn follower_info(
        &mut self,
        sh: &mut Shared,
        core: &mut Core,
        sid: ServerId,
        accepted_epoch: i64,
    ) -> Step {
        match self.negotiation.follower_info(sid, accepted_epoch) {
            Err(error) => return role_over(error),
            Ok(EpochProgress::Waiting) => return Ok(()),
            Ok(EpochProgress::WriteAcceptedEpoch(epoch)) => {
                core.write_accepted_epoch(sh, epoch)?;
                self.negotiation.accepted_epoch_written();
                let summary = StateSummary {
                    current_epoch: core.db.current_epoch,
                    last_zxid: core.db.last_processed(),
                };
                if let Err(error) = self.negotiation.epoch_ack(core.id, summary) {
                    return role_over(error);
                }
            }
            Ok(EpochProgress::Decided(_)) => {}
        }
        let zxid = self.negotiation.new_leader_zxid();
        let waiting: Vec<ConnId> = self.handlers_in(|phase| phase == Phase::WaitEpoch);
        for conn in waiting {
            core.act(sh, format_args!("leader info {zxid}"))?;
            self.set_phase(conn, Phase::WaitAckEpoch);
            let version = Some(PROTOCOL_VERSION);
            send(sh, core, conn, LeaderPacket::LeaderInfo { zxid, version });
        }
        self.after_promise(sh, core)
    }

    fn handlers_in(&self, is_wanted: impl Fn(Phase) -> bool) -> Vec<ConnId> {
        let wanted = self.handlers.iter().filter(|(_, handler)| is_wanted(handler.phase));
        wanted.map(|(conn, _)| *conn).collect()
    }

    fn set_phase(&mut self, conn: ConnId, phase: Phase) {
        if let Some(handler) = self.handlers.get_mut(&conn) {
            handler.phase = phase;
        }
    }

    /// Somebody has promised the epoch.
    fn after_promise(&mut self, sh: &mut Shared, core: &mut Core) -> Step {
        if !self.negotiation.is_election_finished() {
            return Ok(());
        }
        if self.proposals.is_none() {
            let start = self.negotiation.new_leader_zxid();
            sh.check.elected(core.me.node, start.epoch());
            core.write_current_epoch(sh, start.epoch())?;
            let proposals = Proposals::new(start, vec![Arc::clone(&sh.verifier)]);
            self.proposals = Some(proposals.with_base(core.db.last_processed()));
            core.act(sh, format_args!("ack own NEWLEADER {start}"))?;
            core.acknowledge(sh, start);
            if let Err(error) = self.negotiation.new_leader_ack(core.id, start) {
                return role_over(error);
            }
        }
        for conn in self.handlers_in(|phase| matches!(phase, Phase::WaitPromises(_))) {
            if let Some(handler) = self.handlers.get_mut(&conn)
                && let Phase::WaitPromises(last) = handler.phase
            {
                handler.phase = Phase::Syncing(last);
                let delay = sh.stage_delay();
                sh.timer(core.me, delay, Timer::BeginSync(conn));
            }
        }
        Ok(())
    }

    // Synchronisation.

    /// Chooses what to send, and puts the learner on the list of those who get what follows, in one
    /// step: in production under one lock.
    pub fn begin_sync(&mut self, sh: &mut Shared, core: &mut Core, conn: ConnId) -> Step {
        let Some(handler) = self.handlers.get_mut(&conn) else { return Ok(()) };
        let (Phase::Syncing(peer), Some(proposals)) = (handler.phase, &mut self.proposals) else {
            return Ok(());
        };
        let mut queue = Vec::new();
        let last = choose(sh, core, proposals, peer, &mut queue);
        if sh.is_mutant(Mutant::CutBeforeForwarding) {
            queue.push(Outgoing::LateForwarding(last));
        } else {
            let to = AckSource { sid: handler.sid, connection: conn.0 };
            forward(proposals, to, last, handler.is_follower, &mut queue);
            handler.is_forwarded_to = true;
        }
        let new_leader = self.negotiation.new_leader_zxid();
        queue.push(Outgoing::Packet(LeaderPacket::NewLeader { zxid: new_leader, config: None }));
        handler.queue = Some(queue);
        handler.phase = Phase::WaitNewLeaderAck;
        let what = format_args!("sync of {} from {peer}: forwards behind {last}", handler.sid);
        sh.trace(core.me.node, what);
        let delay = sh.stage_delay();
        sh.timer(core.me, delay, Timer::StreamSync(conn));
        Ok(())
    }

    /// Sends what was queued; from now on everything goes out at once.
    pub fn stream_sync(&mut self, sh: &mut Shared, core: &mut Core, conn: ConnId) -> Step {
        let Some(handler) = self.handlers.get_mut(&conn) else { return Ok(()) };
        let queue = handler.queue.take().unwrap_or_default();
        for outgoing in queue {
            match outgoing {
                Outgoing::Packet(packet) => send(sh, core, conn, packet),
                Outgoing::Snapshot(mut walk) => {
                    let (zxid, until) = (walk.zxid(), core.db.last_processed());
                    core.act(sh, format_args!("stream a snapshot of {zxid} until {until}"))?;
                    let bytes = core.db.snapshot_stream(&mut walk);
                    let packet = LeaderPacket::Snap(zxid);
                    let stream = Some(Stream { bytes, until });
                    sh.send(core.me.node, conn, Msg::ToLearner(packet, stream));
                }
                Outgoing::LateForwarding(last) => {
                    let Some(proposals) = &mut self.proposals else { continue };
                    let to = AckSource { sid: handler.sid, connection: conn.0 };
                    let mut late = Vec::new();
                    forward(proposals, to, last, handler.is_follower, &mut late);
                    handler.is_forwarded_to = true;
                    for outgoing in late {
                        if let Outgoing::Packet(packet) = outgoing {
                            send(sh, core, conn, packet);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Somebody has taken over the history.
    fn after_new_leader_ack(&mut self, sh: &mut Shared, core: &mut Core) -> Step {
        if !self.negotiation.has_quorum_formed() {
            return Ok(());
        }
        if self.serving.is_none() {
            self.begin_serving(sh, core)?;
        }
        for conn in self.handlers_in(|phase| phase == Phase::WaitStart) {
            core.act(sh, format_args!("up to date"))?;
            self.set_phase(conn, Phase::Broadcast);
            self.send_to(sh, core, conn, LeaderPacket::UpToDate);
        }
        Ok(())
    }

    fn begin_serving(&mut self, sh: &mut Shared, core: &mut Core) -> Step {
        let start = self.negotiation.new_leader_zxid();
        core.act(sh, format_args!("lead epoch {:#x}", start.epoch()))?;
        let previous = core.db.last_processed();
        let previous = sh.check.established(core.me.node, start.epoch(), previous);
        core.db.begin_epoch(start);
        core.vote = core.vote.with_peer_epoch(start.epoch());
        let sessions = LeaderSessions::default();
        let known = core.db.db().sessions().into_keys().map(|id| (id, true));
        sessions.0.borrow_mut().extend(known);
        let options = PrepOptions {
            enforce_quota: false,
            close_session_txn_enabled: true,
            reconfig_enabled: false,
            max_buffer: 0xf_ffff,
        };
        self.serving = Some(Serving {
            prep: PrepState::new(start, options),
            changes: OutstandingChanges::new(),
            sessions,
            previous,
        });
        self.chain = Some(Chain::new(self.generation));
        Ok(())
    }

    // Broadcast.

    /// A request becomes a transaction, and that a proposal.
    pub fn prepare(&mut self, sh: &mut Shared, core: &mut Core, request: &ClientRequest) -> Step {
        let (Some(serving), Some(proposals)) = (&mut self.serving, &mut self.proposals) else {
            return Ok(());
        };
        let tree = core.db.db().tree();
        let mut context = PrepContext {
            state: &mut serving.prep,
            tree: &tree,
            changes: &mut serving.changes,
            sessions: &serving.sessions,
            acl_policy: &sh.acl_policy,
            metrics: &sh.metrics,
            wall_ms: sh.now as i64 + 1_000_000,
            elapsed_ms: sh.now as i64,
        };
        let prepared = prepare(
            &mut context,
            &PrepRequest::new(request.session, request.cxid, &request.body, &[]),
        );
        drop(tree);
        let Some(txn) = prepared.txn else { return Ok(()) };
        let entry = Arc::new(TxnLogEntry::new(txn.header, txn.txn, txn.digest));
        core.act(sh, format_args!("propose {} {:?}", entry.zxid(), entry.txn.op_code()))?;
        sh.check.proposed(core.me.node, &entry, serving.previous);
        serving.previous = entry.zxid();
        if let Err(error) = proposals.propose(Arc::clone(&entry)) {
            return role_over(error);
        }
        let packet = || LeaderPacket::Proposal(Arc::clone(&entry));
        for conn in self.forwarded_to(true) {
            self.send_to(sh, core, conn, packet());
        }
        if let Some(chain) = &mut self.chain {
            chain.log(sh, core.me, entry);
        }
        Ok(())
    }

    fn forwarded_to(&self, are_followers: bool) -> Vec<ConnId> {
        let wanted = self
            .handlers
            .iter()
            .filter(|(_, handler)| handler.is_forwarded_to && handler.is_follower == are_followers);
        wanted.map(|(conn, _)| *conn).collect()
    }

    fn send_to(&mut self, sh: &mut Shared, core: &Core, conn: ConnId, packet: LeaderPacket) {
        match self.handlers.get_mut(&conn).map(|handler| &mut handler.queue) {
            None => {}
            Some(Some(queue)) => queue.push(Outgoing::Packet(packet)),
            Some(None) => send(sh, core, conn, packet),
        }
    }

    /// An own proposal is durable.
    pub fn on_logged(&mut self, sh: &mut Shared, core: &mut Core, zxid: Zxid) -> Step {
        core.act(sh, format_args!("ack own {zxid}"))?;
        core.acknowledge(sh, zxid);
        let me = AckSource { sid: core.id, connection: 0 };
        self.on_ack(sh, core, me, zxid)
    }

    fn on_ack(&mut self, sh: &mut Shared, core: &mut Core, from: AckSource, zxid: Zxid) -> Step {
        let Some(proposals) = &mut self.proposals else { return Ok(()) };
        let mut actions = Vec::new();
        proposals.ack(from, zxid, &mut actions);
        for action in actions {
            let ProposalAction::Commit(entry) = action else { continue };
            core.act(sh, format_args!("commit {}", entry.zxid()))?;
            sh.check.committed(core.me.node, entry.zxid());
            for conn in self.forwarded_to(true) {
                self.send_to(sh, core, conn, LeaderPacket::Commit(entry.zxid()));
            }
            for conn in self.forwarded_to(false) {
                self.send_to(sh, core, conn, LeaderPacket::Inform(Arc::clone(&entry)));
            }
            if let Some(chain) = &mut self.chain {
                chain.commit(sh, core.me, entry);
            }
        }
        Ok(())
    }

    /// The tree and the committed log have taken it in.
    pub fn on_applied(&mut self, zxid: Zxid) {
        if let Some(proposals) = &mut self.proposals {
            proposals.applied(zxid);
        }
        if let Some(serving) = &mut self.serving {
            serving.changes.remove_applied(zxid);
        }
    }

    // Time.

    pub fn on_tick(&mut self, sh: &mut Shared, core: &mut Core) -> Step {
        let settings = sh.settings;
        sh.timer(core.me, settings.tick_ms / 2, Timer::Tick(self.generation));
        self.half_ticks += 1;
        if self.serving.is_none() {
            if sh.now - self.started > settings.init_limit * settings.tick_ms {
                return role_over("no quorum has taken over the history in time");
            }
            return Ok(());
        }
        let limit = |phase| match phase {
            Phase::Broadcast | Phase::WaitStart => settings.sync_limit * settings.tick_ms,
            _ => settings.init_limit * settings.tick_ms,
        };
        let now = sh.now;
        let is_silent = |handler: &Handler| now - handler.last_heard > limit(handler.phase);
        let silent: Vec<ConnId> =
            self.handlers.iter().filter(|(_, h)| is_silent(h)).map(|(conn, _)| *conn).collect();
        for conn in silent {
            self.drop_handler(sh, core, conn, "silent");
        }
        for conn in self.handlers_in(|phase| phase == Phase::Broadcast) {
            let last =
                self.proposals.as_ref().map_or(Zxid(0), |proposals| proposals.last_proposed());
            self.send_to(sh, core, conn, LeaderPacket::Ping(last));
        }
        if self.half_ticks.is_multiple_of(2) {
            let synced = |handler: &&Handler| {
                handler.is_follower && matches!(handler.phase, Phase::Broadcast | Phase::WaitStart)
            };
            let followers = self.handlers.values().filter(synced).map(|handler| handler.sid);
            let sids: BTreeSet<ServerId> = followers.chain([core.id]).collect();
            if !sh.verifier.contains_quorum(&sids) {
                return role_over(format_args!("only {sids:?} follow"));
            }
        }
        Ok(())
    }
}

fn send(sh: &mut Shared, core: &Core, conn: ConnId, packet: LeaderPacket) {
    sh.send(core.me.node, conn, Msg::ToLearner(packet, None));
}

/// Queues the history that the learner lacks; says behind which transaction forwarding begins.
fn choose(
    sh: &mut Shared,
    core: &Core,
    proposals: &Proposals<()>,
    peer: Zxid,
    queue: &mut Vec<Outgoing>,
) -> Zxid {
    // The seed turns a sync into a snapshot now and then.
    let options = SyncOptions {
        force_snapshot: sh.rng.is_one_in(8),
        is_txn_log_sync_enabled: !sh.rng.is_one_in(4),
    };
    let last_processed = core.db.last_processed();
    let committed = core.db.db().committed_log().read();
    let history = LeaderHistory {
        base: proposals.base(),
        last_processed,
        committed: committed.proposals(),
        to_be_applied: proposals.to_be_applied(),
    };
    let packets = match plan(peer, &history, options) {
        SyncPlan::Packets(packets) => Some(packets),
        SyncPlan::TxnLog => {
            let packets = sync_from_log(core, &history, peer);
            sh.check.counts.diffs_from_log += u64::from(packets.is_some());
            packets
        }
        SyncPlan::Snapshot(_) => None,
    };
    match packets {
        Some(packets) => {
            sh.check.counts.diffs += 1;
            queue.extend(packets.packets().map(|packet| {
                Outgoing::Packet(match packet {
                    SyncPacket::Start(SyncStart::Diff(zxid)) => LeaderPacket::Diff(zxid),
                    SyncPacket::Start(SyncStart::Trunc(zxid)) => LeaderPacket::Trunc(zxid),
                    SyncPacket::Proposal(entry) => LeaderPacket::Proposal(entry),
                    SyncPacket::Commit(zxid) => LeaderPacket::Commit(zxid),
                })
            }));
            packets.last
        }
        None => {
            queue.push(Outgoing::Snapshot(core.db.begin_walk()));
            last_processed
        }
    }
}

/// The log from the learner's last transaction on, then what is in memory.
fn sync_from_log(core: &Core, history: &LeaderHistory<'_>, peer: Zxid) -> Option<SyncPackets> {
    let records = core.db.read_log(peer, history.max()).ok()?;
    let mut sync = TxnLogSync::new(peer);
    let (mut start, mut entries) = (None, Vec::new());
    for entry in records {
        match sync.record(entry.zxid(), history.max()).ok()? {
            LogStep::Skip => {}
            LogStep::Start(first) => start = Some(first),
            LogStep::StartAndSend(first) => {
                start = Some(first);
                entries.push(entry);
            }
            LogStep::Send => entries.push(entry),
        }
    }
    entries.extend(history.join(sync.last())?);
    let last = entries.last().map_or(sync.last(), |entry| entry.zxid());
    Some(SyncPackets { start: start?, entries, last })
}

/// Queues what is under way behind `last`.
fn forward(
    proposals: &mut Proposals<()>,
    to: AckSource,
    last: Zxid,
    is_follower: bool,
    queue: &mut Vec<Outgoing>,
) {
    for packet in proposals.start_forwarding(to, last, is_follower) {
        queue.push(Outgoing::Packet(match packet {
            Forward::Proposal(entry) => LeaderPacket::Proposal(entry),
            Forward::Commit(zxid) => LeaderPacket::Commit(zxid),
        }));
    }
}
