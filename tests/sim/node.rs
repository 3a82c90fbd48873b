//! A server: its process goes from election to role and back (`QuorumPeer.run`), on a disk that
//! outlives it.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use zabkeeper::common::config::LearnerType;
use zabkeeper::proto::{ServerId, TxnLogEntry, Zxid};
use zabkeeper::quorum::zab::election::{
    ElectionAction, ElectionCore, ElectionEvent, ElectionView, Notification, OwnHistory,
};
use zabkeeper::quorum::zab::election_replies::{Reaction, Standing, react};
use zabkeeper::quorum::zab::{ServerState, Vote};

use crate::chain::Chain;
use crate::leader::Leading;
use crate::learner::{Learning, node_of};
use crate::mail::Mail;
use crate::mutants::Mutant;
use crate::net::{ConnId, Item, NodeIx, Port, Process};
use crate::shared::{ClientRequest, CrashKind, Msg, Reply, Shared, Step, Stop, Timer, role_over};
use crate::store::Store;

/// What a process has in every role.
pub struct Core {
    pub me: Process,
    pub id: ServerId,
    pub is_voter: bool,
    pub db: Store,
    /// What others are told while it is not looking.
    pub vote: Vote,
}

impl Core {
    /// Every action of a driver comes here first: the process may die before it.
    pub fn act(&mut self, sh: &mut Shared, what: fmt::Arguments<'_>) -> Step {
        match sh.count_action() {
            None => {}
            Some(CrashKind::BeforeAction) => {
                sh.trace(self.me.node, format_args!("DIES before: {what}"));
                return Err(Stop::Crash);
            }
            Some(CrashKind::AtDiskCall(more)) => {
                let disk = &self.db.disk;
                disk.fail_all_from(disk.calls() + more);
                sh.trace(self.me.node, format_args!("its disk dies in {more} calls"));
            }
        }
        sh.trace(self.me.node, what);
        Ok(())
    }

    /// What a vote and a learner's first packets tell.
    pub fn last_zxid(&self) -> Zxid {
        self.db.last_processed()
    }

    pub fn append(&mut self, sh: &mut Shared, entry: &Arc<TxnLogEntry>) -> Step {
        self.act(sh, format_args!("log {}", entry.zxid()))?;
        self.db.append(entry)?;
        sh.check.logged(self.me.node, entry);
        Ok(())
    }

    pub fn sync(&mut self, sh: &mut Shared) -> Step {
        let logged = self.db.logged;
        self.act(sh, format_args!("fsync up to {logged}"))?;
        self.db.sync()
    }

    pub fn write_accepted_epoch(&mut self, sh: &mut Shared, epoch: i64) -> Step {
        self.act(sh, format_args!("acceptedEpoch {epoch:#x}"))?;
        if sh.is_mutant(Mutant::PromiseBeforeAcceptedEpoch) {
            self.db.accepted_epoch = epoch;
            return Ok(());
        }
        self.db.set_accepted_epoch(epoch)?;
        self.check_epochs(sh);
        Ok(())
    }

    pub fn write_current_epoch(&mut self, sh: &mut Shared, epoch: i64) -> Step {
        self.act(sh, format_args!("currentEpoch {epoch:#x}"))?;
        self.db.set_current_epoch(epoch)?;
        self.check_epochs(sh);
        Ok(())
    }

    fn check_epochs(&self, sh: &mut Shared) {
        sh.check.epochs(self.me.node, self.db.accepted_epoch, self.db.current_epoch);
    }

    /// It tells, itself or another server, that its disk holds `zxid`, or all of its history.
    pub fn acknowledge(&mut self, sh: &mut Shared, zxid: Zxid) {
        if !self.is_voter {
            return;
        }
        if zxid.counter() == 0 {
            sh.check.acknowledged_history(self.me.node, self.db.durable);
        } else {
            sh.check.acknowledged(self.me.node, zxid, self.db.durable);
        }
    }
}

enum Role {
    Looking,
    Learning(Box<Learning>),
    Leading(Box<Leading>),
}

/// A running process.
pub struct Peer {
    core: Core,
    view: ElectionView,
    election: ElectionCore,
    mail: Mail,
    role: Role,
    /// Of the role: timers of earlier ones are void.
    generation: u32,
    /// Of the election's timer.
    election_timer: u32,
    /// What a mutant carries over from one role into the next.
    leftovers: Vec<Arc<TxnLogEntry>>,
}

impl Peer {
    /// Starts on what its disk holds.
    pub fn start(sh: &mut Shared, me: Process, store: Store) -> Step<Peer> {
        let id = ServerId(me.node as i64 + 1);
        let is_voter = sh.verifier.voting_members().contains_key(&id);
        let vote = Vote::looking(id, store.last_processed(), 0, store.current_epoch);
        let view = ElectionView { verifier: Arc::clone(&sh.verifier), last_seen: None };
        let mut peer = Peer {
            core: Core { me, id, is_voter, db: store, vote },
            view,
            election: ElectionCore::new(id, 200, 3200),
            mail: Mail::default(),
            role: Role::Looking,
            generation: 0,
            election_timer: 0,
            leftovers: Vec::new(),
        };
        let (zxid, digest) = (peer.core.db.last_processed(), peer.core.db.digest());
        sh.check.recovered(me.node, zxid, digest);
        peer.core.check_epochs(sh);
        let epochs = (peer.core.db.accepted_epoch, peer.core.db.current_epoch);
        peer.core.act(sh, format_args!("starts with {zxid}, epochs {epochs:x?}"))?;
        peer.look_for_leader(sh)?;
        Ok(peer)
    }

    fn learner_type(&self) -> LearnerType {
        if self.core.is_voter { LearnerType::Participant } else { LearnerType::Observer }
    }

    // The role loop.

    /// Whatever stops a role but does not end the process leads to an election.
    fn settle(&mut self, sh: &mut Shared, step: Step) -> Step {
        match step {
            Err(Stop::RoleOver(why)) => {
                sh.trace(self.core.me.node, format_args!("role over: {why}"));
                self.end_role(sh)?;
                self.look_for_leader(sh)
            }
            other => other,
        }
    }

    /// What was queued for the log is written, the tree follows the log.
    fn end_role(&mut self, sh: &mut Shared) -> Step {
        let (chain, must_reload) = match &mut self.role {
            Role::Looking => (None, false),
            Role::Learning(learning) => (learning.close(sh, self.core.me), learning.must_reload()),
            Role::Leading(leading) => (leading.close(sh, self.core.me.node), false),
        };
        self.role = Role::Looking;
        self.generation += 1;
        let unlogged = chain.map(Chain::into_unlogged).unwrap_or_default();
        if sh.is_mutant(Mutant::SyncThreadSurvivesItsRole) {
            self.leftovers = unlogged;
        } else if !sh.is_mutant(Mutant::DropUnlogged) {
            // All of it: the tree may have some of it already.
            for entry in &unlogged {
                self.core.append(sh, entry)?;
            }
        }
        self.core.sync(sh)?;
        if sh.is_mutant(Mutant::VoteWithTheTree) && !must_reload {
            return Ok(());
        }
        self.core.act(sh, format_args!("tree follows the log (reload: {must_reload})"))?;
        if must_reload {
            self.core.db.reload()?;
        } else {
            self.core.db.fast_forward()?;
        }
        // Now and then as if a snapshot had been taken before a restart: short logs in memory.
        if sh.rng.is_one_in(4) {
            self.core.db.db().committed_log().write().clear();
        }
        let (zxid, digest) = (self.core.db.last_processed(), self.core.db.digest());
        sh.check.recovered(self.core.me.node, zxid, digest);
        Ok(())
    }

    fn look_for_leader(&mut self, sh: &mut Shared) -> Step {
        let history = OwnHistory {
            learner_type: self.learner_type(),
            last_logged_zxid: self.core.last_zxid(),
            current_epoch: self.core.db.current_epoch,
        };
        self.core.act(
            sh,
            format_args!("looks with {} in {:#x}", history.last_logged_zxid, history.current_epoch),
        )?;
        self.elect(sh, ElectionEvent::Start(history))
    }

    fn elect(&mut self, sh: &mut Shared, event: ElectionEvent) -> Step {
        let actions = self.election.on_event(&self.view, event);
        for action in actions {
            match action {
                ElectionAction::Broadcast(vote) => self.broadcast(sh, vote),
                ElectionAction::Answer { sid, vote } => {
                    self.mail.send(sh, self.core.me, node_of(sid), vote);
                }
                ElectionAction::Reconnect => self.mail.dial_all(sh, self.core.me),
                ElectionAction::SetTimer { after_ms } => {
                    self.election_timer += 1;
                    sh.timer(self.core.me, after_ms, Timer::Election(self.election_timer));
                }
                ElectionAction::Decided { vote, state, answer } => {
                    self.election_timer += 1;
                    self.decided(sh, vote, state, answer)?;
                }
            }
        }
        Ok(())
    }

    fn broadcast(&mut self, sh: &mut Shared, vote: Vote) {
        for sid in self.view.voters() {
            if sid != self.core.id {
                self.mail.send(sh, self.core.me, node_of(sid), vote);
            }
        }
    }

    fn decided(
        &mut self,
        sh: &mut Shared,
        vote: Vote,
        state: ServerState,
        answer: BTreeSet<ServerId>,
    ) -> Step {
        self.core.act(sh, format_args!("decides {vote}: {state}"))?;
        self.core.vote = vote;
        for sid in answer {
            self.mail.send(sh, self.core.me, node_of(sid), Vote { state, ..vote });
        }
        self.generation += 1;
        match state {
            ServerState::Leading => {
                let leading = Leading::start(sh, &mut self.core, self.generation);
                match leading {
                    Ok(leading) => self.role = Role::Leading(Box::new(leading)),
                    Err(stop) => return self.settle(sh, Err(stop)),
                }
            }
            ServerState::Following | ServerState::Observing => {
                let learning = Learning::start(sh, &self.core, vote.id, self.generation);
                self.role = Role::Learning(Box::new(learning));
            }
            ServerState::Looking => {}
        }
        Ok(())
    }

    fn state(&self) -> ServerState {
        match self.role {
            Role::Looking => ServerState::Looking,
            Role::Learning(_) if self.core.is_voter => ServerState::Following,
            Role::Learning(_) => ServerState::Observing,
            Role::Leading(_) => ServerState::Leading,
        }
    }

    fn on_vote(&mut self, sh: &mut Shared, from: NodeIx, vote: Vote) -> Step {
        let own = Standing {
            state: self.state(),
            current_vote: self.core.vote,
            clock: self.election.clock(),
            proposal: self.election.proposal(),
        };
        let sid = ServerId(from as i64 + 1);
        let Reaction { report_looking: _, has_left, deliver, answer } =
            react(&self.view, &own, sid, Some(vote.state), vote);
        if let Some(Notification { sid, vote }) = deliver {
            self.elect(sh, ElectionEvent::Notification(Notification { sid, vote }))?;
        }
        if let Some(answer) = answer {
            self.mail.send(sh, self.core.me, from, answer);
        }
        match &mut self.role {
            Role::Leading(leading) if has_left => leading.voter_left(sid),
            _ => Ok(()),
        }
    }

    // What the world tells it.

    pub fn on_item(
        &mut self,
        sh: &mut Shared,
        conn: ConnId,
        from: NodeIx,
        item: Item<Msg>,
    ) -> Step {
        let step = match item {
            Item::Message(Msg::Vote(vote)) => self.on_vote(sh, from, vote),
            Item::Message(Msg::ToLearner(packet, stream)) => match &mut self.role {
                Role::Learning(learning) if learning.has_conn(conn) => {
                    learning.on_packet(sh, &mut self.core, packet, stream.as_ref())
                }
                _ => Ok(()),
            },
            Item::Message(Msg::ToLeader(packet)) => match &mut self.role {
                Role::Leading(leading) => leading.on_packet(sh, &mut self.core, conn, packet),
                _ => Ok(()),
            },
            Item::End => {
                let node = self.core.me.node;
                if self.mail.on_closed(conn) {
                    sh.close(node, conn);
                    return Ok(());
                }
                match &mut self.role {
                    Role::Learning(learning) if learning.has_conn(conn) => {
                        role_over("the connection to the leader is lost")
                    }
                    Role::Leading(leading) if leading.has_conn(conn) => {
                        leading.on_closed(sh, &self.core, conn);
                        Ok(())
                    }
                    _ => {
                        sh.close(node, conn);
                        Ok(())
                    }
                }
            }
        };
        self.settle(sh, step)
    }

    /// An own attempt to connect has ended; `None`: it failed.
    pub fn on_dialled(
        &mut self,
        sh: &mut Shared,
        to: NodeIx,
        port: Port,
        conn: Option<ConnId>,
    ) -> Step {
        let step = match (port, &mut self.role) {
            (Port::Election, _) => {
                self.mail.on_dialled(sh, self.core.me, to, conn);
                Ok(())
            }
            (Port::Quorum, Role::Learning(learning)) => {
                learning.on_dialled(sh, &mut self.core, conn)
            }
            (Port::Quorum, _) => {
                if let Some(conn) = conn {
                    sh.close(self.core.me.node, conn);
                }
                Ok(())
            }
        };
        self.settle(sh, step)
    }

    /// Whether something listens there.
    pub fn accepts(&self, port: Port) -> bool {
        port == Port::Election || matches!(self.role, Role::Leading(_))
    }

    pub fn on_accepted(&mut self, sh: &mut Shared, from: NodeIx, port: Port, conn: ConnId) {
        match (port, &mut self.role) {
            (Port::Election, _) => self.mail.on_connected(sh, self.core.me, from, conn),
            (Port::Quorum, Role::Leading(leading)) => leading.on_accepted(sh, conn, from),
            (Port::Quorum, _) => sh.close(self.core.me.node, conn),
        }
    }

    pub fn on_timer(&mut self, sh: &mut Shared, timer: Timer) -> Step {
        let is_current = |generation| generation == self.generation;
        let step = match timer {
            Timer::Election(number) if number == self.election_timer => {
                let has_delivered = self.mail.has_delivered();
                self.elect(sh, ElectionEvent::Timeout { has_delivered })
            }
            Timer::Dial(generation) if is_current(generation) => match &mut self.role {
                Role::Learning(learning) => learning.on_dial_timer(sh, &self.core),
                _ => Ok(()),
            },
            Timer::Tick(generation) if is_current(generation) => match &mut self.role {
                Role::Learning(learning) => learning.on_tick(sh, &self.core),
                Role::Leading(leading) => leading.on_tick(sh, &mut self.core),
                Role::Looking => Ok(()),
            },
            Timer::Sync(generation) if is_current(generation) => self.run_sync(sh),
            Timer::Apply(generation) if is_current(generation) => self.run_apply(sh),
            Timer::BeginSync(conn) => match &mut self.role {
                Role::Leading(leading) => leading.begin_sync(sh, &mut self.core, conn),
                _ => Ok(()),
            },
            Timer::StreamSync(conn) => match &mut self.role {
                Role::Leading(leading) => leading.stream_sync(sh, &mut self.core, conn),
                _ => Ok(()),
            },
            _ => Ok(()),
        };
        self.settle(sh, step)
    }

    fn chain(&mut self) -> Option<&mut Chain> {
        match &mut self.role {
            Role::Looking => None,
            Role::Learning(learning) => learning.chain.as_mut(),
            Role::Leading(leading) => leading.chain.as_mut(),
        }
    }

    /// The thread that logs: append all, sync once, then acknowledge.
    fn run_sync(&mut self, sh: &mut Shared) -> Step {
        let me = self.core.me;
        let Some(chain) = self.chain() else { return Ok(()) };
        let batch = chain.take_sync_batch(sh, me);
        for entry in std::mem::take(&mut self.leftovers).iter().chain(&batch) {
            self.core.append(sh, entry)?;
        }
        if sh.is_mutant(Mutant::AckProposalBeforeSync) {
            self.acknowledge(sh, &batch)?;
            return self.core.sync(sh);
        }
        self.core.sync(sh)?;
        self.acknowledge(sh, &batch)?;
        if self.core.db.since_snapshot >= sh.settings.snap_count && sh.rng.is_one_in(3) {
            self.core.act(sh, format_args!("write a snapshot"))?;
            self.core.db.write_snapshot()?;
        }
        Ok(())
    }

    fn acknowledge(&mut self, sh: &mut Shared, batch: &[Arc<TxnLogEntry>]) -> Step {
        for entry in batch {
            match &mut self.role {
                Role::Looking => {}
                Role::Learning(learning) => learning.on_logged(sh, &mut self.core, entry)?,
                Role::Leading(leading) => leading.on_logged(sh, &mut self.core, entry.zxid())?,
            }
        }
        Ok(())
    }

    /// The thread that applies: tree, committed log, then the reply.
    fn run_apply(&mut self, sh: &mut Shared) -> Step {
        let me = self.core.me;
        let Some(chain) = self.chain() else { return Ok(()) };
        for entry in chain.take_apply_batch(sh, me) {
            let zxid = entry.zxid();
            self.core.act(sh, format_args!("apply {zxid}"))?;
            let code = self.core.db.apply(&entry, true);
            sh.check.applied(me.node, zxid, self.core.db.digest());
            if let Role::Leading(leading) = &mut self.role {
                leading.on_applied(zxid);
            }
            let Some(chain) = self.chain() else { return Ok(()) };
            let header = &entry.header;
            let op = entry.txn.op_code();
            let own = chain.matcher.commit(header.client_id, header.cxid, op, &mut Vec::new());
            if let Some(local) = own {
                let (client, cxid) = (local.0.client, local.0.cxid);
                sh.trace(me.node, format_args!("answers c{client} {cxid}: {zxid} {code:?}"));
                sh.check.replied(me.node, client, cxid, zxid);
                sh.replies.push(Reply { from: me, client, cxid, code });
            }
        }
        Ok(())
    }

    // Clients.

    /// Which run of a server clients are served by; `None` while there is none.
    pub fn serving(&mut self) -> Option<u32> {
        let generation = self.generation;
        self.chain().map(|_| generation)
    }

    /// A client's write.
    pub fn submit(&mut self, sh: &mut Shared, request: ClientRequest) -> Step {
        let local = crate::chain::Local(request.clone());
        if let Some(chain) = self.chain() {
            // A write waits, always.
            let _ = chain.matcher.request(local);
        }
        let step = match &mut self.role {
            Role::Looking => Ok(()),
            Role::Learning(learning) => {
                learning.forward(sh, &self.core, request);
                Ok(())
            }
            Role::Leading(leading) => leading.prepare(sh, &mut self.core, &request),
        };
        self.settle(sh, step)
    }

    // What the checks ask.

    pub fn is_leading(&self) -> bool {
        matches!(&self.role, Role::Leading(leading) if leading.is_serving())
    }

    pub fn is_idle(&mut self) -> bool {
        self.chain().is_some_and(|chain| chain.is_idle())
    }

    pub fn tree(&self) -> (Zxid, u64) {
        (self.core.db.last_processed(), self.core.db.digest())
    }

    /// The epoch of the leader whose ensemble it belongs to.
    pub fn epoch(&self) -> i64 {
        self.core.vote.peer_epoch
    }

    pub fn has_session(&self, session: zabkeeper::proto::SessionId) -> bool {
        self.core.db.db().sessions().contains_key(&session)
    }

    pub fn describe(&self) -> String {
        let db = &self.core.db;
        format!("{} at {} in epoch {:#x}", self.state(), db.last_processed(), db.current_epoch)
    }
}
