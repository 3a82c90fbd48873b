//! The threads behind a server that serves: one that logs, one that applies. What they are handed
//! waits for a while, as it does between threads, and is then worked on in order.

use std::collections::VecDeque;
use std::sync::Arc;

use zabkeeper::proto::{OpCode, SessionId, TxnLogEntry};
use zabkeeper::quorum::zab::commit_matcher::{CommitMatcher, LocalRequest};

use crate::net::Process;
use crate::shared::{ClientRequest, Shared, Timer};

/// A client's write that waits for its commit.
#[derive(Debug)]
pub struct Local(pub ClientRequest);

impl LocalRequest for Local {
    fn session_id(&self) -> SessionId {
        self.0.session
    }
    fn cxid(&self) -> i32 {
        self.0.cxid
    }
    fn op(&self) -> Option<OpCode> {
        None
    }
    fn needs_commit(&self) -> bool {
        true
    }
}

#[derive(Debug, Default)]
pub struct Chain {
    /// Of the role that it belongs to.
    generation: u32,
    to_log: VecDeque<Arc<TxnLogEntry>>,
    to_apply: VecDeque<Arc<TxnLogEntry>>,
    is_sync_due: bool,
    is_apply_due: bool,
    pub matcher: CommitMatcher<Local>,
}

impl Chain {
    pub fn new(generation: u32) -> Chain {
        Chain { generation, ..Chain::default() }
    }

    pub fn log(&mut self, sh: &mut Shared, me: Process, entry: Arc<TxnLogEntry>) {
        self.to_log.push_back(entry);
        self.schedule_sync(sh, me);
    }

    pub fn commit(&mut self, sh: &mut Shared, me: Process, entry: Arc<TxnLogEntry>) {
        self.to_apply.push_back(entry);
        self.schedule_apply(sh, me);
    }

    fn schedule_sync(&mut self, sh: &mut Shared, me: Process) {
        if !self.is_sync_due && !self.to_log.is_empty() {
            self.is_sync_due = true;
            let delay = sh.stage_delay();
            sh.timer(me, delay, Timer::Sync(self.generation));
        }
    }

    fn schedule_apply(&mut self, sh: &mut Shared, me: Process) {
        if !self.is_apply_due && !self.to_apply.is_empty() {
            self.is_apply_due = true;
            let delay = sh.stage_delay();
            sh.timer(me, delay, Timer::Apply(self.generation));
        }
    }

    /// The next batch for the log: what is queued, or the first part of it.
    pub fn take_sync_batch(&mut self, sh: &mut Shared, me: Process) -> Vec<Arc<TxnLogEntry>> {
        self.is_sync_due = false;
        let count = batch_size(sh, self.to_log.len());
        let batch = self.to_log.drain(..count).collect();
        self.schedule_sync(sh, me);
        batch
    }

    /// The next batch for the tree.
    pub fn take_apply_batch(&mut self, sh: &mut Shared, me: Process) -> Vec<Arc<TxnLogEntry>> {
        self.is_apply_due = false;
        let count = batch_size(sh, self.to_apply.len());
        let batch = self.to_apply.drain(..count).collect();
        self.schedule_apply(sh, me);
        batch
    }

    /// The role is over: what was still to be logged.
    pub fn into_unlogged(self) -> Vec<Arc<TxnLogEntry>> {
        self.to_log.into()
    }

    pub fn is_idle(&self) -> bool {
        self.to_log.is_empty() && self.to_apply.is_empty()
    }
}

fn batch_size(sh: &mut Shared, queued: usize) -> usize {
    if sh.rng.is_one_in(3) { sh.rng.between(1, queued.max(1) as u64) as usize } else { queued }
        .min(queued)
}
