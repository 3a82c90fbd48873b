//! The driver of a follower or observer: carries out the actions of `zab::learner_sync`.

use std::sync::Arc;

use zabkeeper::proto::{ServerId, TxnLogEntry};
use zabkeeper::quorum::zab::learner_sync::{
    LeaderPacket, LearnerAction, LearnerKind, LearnerStart, LearnerSync,
};

use crate::chain::Chain;
use crate::mutants::Mutant;
use crate::net::{ConnId, NodeIx, Port, Process};
use crate::node::Core;
use crate::shared::{
    ClientRequest, Event, LearnerPacket, Msg, Shared, Step, Stream, Timer, role_over,
};

/// A learner's connection to its leader, or the attempt to have one.
pub struct Learning {
    generation: u32,
    leader: NodeIx,
    kind: LearnerKind,
    conn: Option<ConnId>,
    dials: u32,
    sync: Option<LearnerSync>,
    last_heard: u64,
    /// The tree is not what the disk has.
    must_reload: bool,
    /// The server runs once this is there.
    pub chain: Option<Chain>,
}

/// So many attempts to connect to a leader, as in Java.
const DIALS_MAX: u32 = 5;

impl Learning {
    pub fn start(sh: &mut Shared, core: &Core, leader: ServerId, generation: u32) -> Learning {
        let kind = if core.is_voter {
            LearnerKind::Follower
        } else {
            LearnerKind::Observer { has_log: sh.settings.do_observers_log }
        };
        sh.timer(core.me, 0, Timer::Dial(generation));
        let half_tick = sh.settings.tick_ms / 2;
        sh.timer(core.me, half_tick, Timer::Tick(generation));
        Learning {
            generation,
            leader: node_of(leader),
            kind,
            conn: None,
            dials: 0,
            sync: None,
            last_heard: sh.now,
            must_reload: false,
            chain: None,
        }
    }

    pub fn has_conn(&self, conn: ConnId) -> bool {
        self.conn == Some(conn)
    }

    pub fn must_reload(&self) -> bool {
        self.must_reload
    }

    /// The role is over.
    pub fn close(&mut self, sh: &mut Shared, me: Process) -> Option<Chain> {
        if let Some(conn) = self.conn.take() {
            sh.close(me.node, conn);
        }
        self.chain.take()
    }

    pub fn on_dial_timer(&mut self, sh: &mut Shared, core: &Core) -> Step {
        if self.conn.is_some() {
            return Ok(());
        }
        if self.dials == DIALS_MAX {
            return role_over("cannot connect to the leader");
        }
        self.dials += 1;
        let delay = sh.stage_delay();
        sh.schedule(delay, Event::Dial { from: core.me, to: self.leader, port: Port::Quorum });
        Ok(())
    }

    pub fn on_dialled(&mut self, sh: &mut Shared, core: &mut Core, conn: Option<ConnId>) -> Step {
        let Some(conn) = conn else {
            let pause = sh.settings.tick_ms / 2;
            sh.timer(core.me, pause, Timer::Dial(self.generation));
            return Ok(());
        };
        self.conn = Some(conn);
        self.last_heard = sh.now;
        let start = LearnerStart {
            kind: self.kind,
            accepted_epoch: core.db.accepted_epoch,
            current_epoch: core.db.current_epoch,
            last_logged_zxid: core.last_zxid(),
            must_write_snapshot: false,
        };
        let mut actions = Vec::new();
        self.sync = Some(LearnerSync::new(start, &mut actions));
        self.carry_out(sh, core, actions, None)
    }

    pub fn on_packet(
        &mut self,
        sh: &mut Shared,
        core: &mut Core,
        packet: LeaderPacket,
        stream: Option<&Stream>,
    ) -> Step {
        self.last_heard = sh.now;
        let Some(sync) = &mut self.sync else { return Ok(()) };
        let mut actions = Vec::new();
        let outcome = sync.on_packet(packet, &mut actions);
        self.carry_out(sh, core, actions, stream)?;
        outcome.or_else(role_over)
    }

    pub fn on_tick(&mut self, sh: &mut Shared, core: &Core) -> Step {
        let settings = sh.settings;
        let is_synced = self.sync.as_ref().is_some_and(LearnerSync::has_acknowledged);
        let ticks = if is_synced { settings.sync_limit } else { settings.init_limit };
        if sh.now - self.last_heard > ticks * settings.tick_ms {
            return role_over("the leader is silent");
        }
        sh.timer(core.me, settings.tick_ms / 2, Timer::Tick(self.generation));
        Ok(())
    }

    /// A request of an own client.
    pub fn forward(&mut self, sh: &mut Shared, core: &Core, request: ClientRequest) {
        self.send(sh, core, LearnerPacket::Request(request));
    }

    fn send(&self, sh: &mut Shared, core: &Core, packet: LearnerPacket) {
        if let Some(conn) = self.conn {
            sh.send(core.me.node, conn, Msg::ToLeader(packet));
        }
    }

    /// What was handed to the thread that logs is durable.
    pub fn on_logged(
        &mut self,
        sh: &mut Shared,
        core: &mut Core,
        entry: &Arc<TxnLogEntry>,
    ) -> Step {
        let action = LearnerSync::on_logged(self.kind, entry);
        self.carry_out(sh, core, action.into_iter().collect(), None)
    }

    fn carry_out(
        &mut self,
        sh: &mut Shared,
        core: &mut Core,
        actions: Vec<LearnerAction>,
        stream: Option<&Stream>,
    ) -> Step {
        for action in actions {
            self.act(sh, core, action, stream)?;
        }
        Ok(())
    }

    fn act(
        &mut self,
        sh: &mut Shared,
        core: &mut Core,
        action: LearnerAction,
        stream: Option<&Stream>,
    ) -> Step {
        let node = core.me.node;
        match action {
            LearnerAction::SendInfo(zxid) => {
                core.act(sh, format_args!("send info, accepted epoch {:#x}", zxid.epoch()))?;
                let is_follower = self.kind == LearnerKind::Follower;
                let accepted_epoch = zxid.epoch();
                self.send(sh, core, LearnerPacket::Info { accepted_epoch, is_follower });
            }
            LearnerAction::WriteAcceptedEpoch(epoch) => core.write_accepted_epoch(sh, epoch)?,
            LearnerAction::SendAckEpoch { last_zxid, current_epoch } => {
                core.act(sh, format_args!("ack epoch {current_epoch:#x} at {last_zxid}"))?;
                self.send(sh, core, LearnerPacket::AckEpoch { last_zxid, current_epoch });
                if sh.is_mutant(Mutant::EpochBeforeTxns) {
                    let epoch = core.db.accepted_epoch;
                    core.write_current_epoch(sh, epoch)?;
                }
            }
            LearnerAction::Truncate(zxid) => {
                core.act(sh, format_args!("truncate to {zxid}"))?;
                sh.check.told_to_forget(node, zxid);
                core.db.truncate(zxid)?;
                sh.check.truncated(node, zxid, core.db.digest());
            }
            LearnerAction::LoadSnapshot(zxid) => {
                core.act(sh, format_args!("load snapshot {zxid}"))?;
                sh.check.told_to_forget(node, zxid);
                self.must_reload = true;
                let Some(stream) = stream else { return role_over("no snapshot behind SNAP") };
                core.db.load_stream(&stream.bytes, zxid)?;
                sh.check.snapshot_loaded(node, zxid, stream.until, core.db.digest());
            }
            LearnerAction::Log(entry) => core.append(sh, &entry)?,
            LearnerAction::Fsync => {
                if !sh.is_mutant(Mutant::AckNewLeaderBeforeSync) {
                    core.sync(sh)?;
                }
            }
            LearnerAction::Apply(entry) => {
                core.act(sh, format_args!("apply {} while synchronizing", entry.zxid()))?;
                core.db.apply(&entry, !sh.is_mutant(Mutant::HoleInCommittedLog));
                sh.check.applied_in_sync(node, entry.zxid(), core.db.digest());
            }
            LearnerAction::DiscardLogAfter(zxid) => {
                core.act(sh, format_args!("discard the log behind {zxid}"))?;
                core.db.discard_log_after(zxid)?;
                sh.check.discarded(node, zxid);
            }
            LearnerAction::WriteSnapshot => {
                core.act(sh, format_args!("write a snapshot"))?;
                core.db.write_snapshot()?;
                self.must_reload = false;
                sh.check.replaced(node, core.db.last_processed());
            }
            LearnerAction::SetAsideOthers => {
                core.act(sh, format_args!("set others aside"))?;
                core.db.set_aside_others()?;
            }
            LearnerAction::WriteCurrentEpoch(epoch) => core.write_current_epoch(sh, epoch)?,
            LearnerAction::SendAck(zxid) => {
                core.act(sh, format_args!("ack {zxid}"))?;
                core.acknowledge(sh, zxid);
                self.send(sh, core, LearnerPacket::Ack(zxid));
            }
            LearnerAction::StartServing(epoch) => {
                core.act(sh, format_args!("serve in epoch {epoch:#x}"))?;
                self.chain = Some(Chain::new(self.generation));
                core.vote = core.vote.with_peer_epoch(epoch);
            }
            LearnerAction::LogProposal(entry) => {
                if let Some(chain) = &mut self.chain {
                    chain.log(sh, core.me, entry);
                }
            }
            LearnerAction::Commit(entry) => {
                if let Some(chain) = &mut self.chain {
                    chain.commit(sh, core.me, entry);
                }
            }
            LearnerAction::AnswerPing(_) => self.send(sh, core, LearnerPacket::Ping),
            LearnerAction::Note(note) => sh.trace(node, format_args!("{note}")),
            LearnerAction::SeeConfig(_)
            | LearnerAction::ActivateConfig { .. }
            | LearnerAction::FinishRevalidation { .. }
            | LearnerAction::CommitSync => {}
        }
        Ok(())
    }
}

/// Servers are numbered from 1, places from 0.
pub fn node_of(sid: ServerId) -> NodeIx {
    usize::try_from(sid.0 - 1).unwrap_or(usize::MAX)
}
