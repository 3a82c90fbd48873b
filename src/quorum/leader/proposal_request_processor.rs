//! `ProposalRequestProcessor`: each prepared request goes to the CommitProcessor, to wait for its
//! commit; each transaction to the learners, as a proposal, and to the SyncThread.
//!
//! Runs on the thread that prepares. Deliberate differences: requests of learners are not handed to
//! the CommitProcessor, where nobody waits for them (Java's
//! `forward_learner_requests_to_commit_processor_disabled`, off by default, without a difference
//! that can be seen); what cannot be proposed is not logged either; a sync of an own client waits until
//! the own chain has all commits that learners were told of (in Java one of their clients may know
//! of a write that a sync here does not show).

use std::sync::Arc;

use super::leader::Leader;
use crate::common::time;
use crate::proto::{OpCode, TxnLogEntry};
use crate::quorum::commit_processor::CommitProcessor;
use crate::quorum::leader::learner_master::LearnerMaster;
use crate::server::request::Request;
use crate::server::request_processor::RequestProcessor;
use crate::server::sync_request_processor::SyncStage;

/// Follows the stage that prepares.
pub struct ProposalRequestProcessor {
    leader: Arc<Leader>,
    commit_processor: Arc<CommitProcessor>,
    sync_processor: Arc<SyncStage>,
}

impl ProposalRequestProcessor {
    /// Proposes through `leader`.
    pub fn new(
        leader: Arc<Leader>,
        commit_processor: Arc<CommitProcessor>,
        sync_processor: Arc<SyncStage>,
    ) -> ProposalRequestProcessor {
        ProposalRequestProcessor { leader, commit_processor, sync_processor }
    }

    /// Proposes and logs; empties `entries`.
    fn propose(&self, entries: &mut Vec<Arc<TxnLogEntry>>) {
        if entries.is_empty() {
            return;
        }
        let proposed = self.leader.propose(entries);
        let now_ms = time::elapsed_ms();
        let mut to_log: Vec<Box<Request>> = entries
            .drain(..)
            .take(proposed)
            .map(|entry| Box::new(Request::from_txn(entry, now_ms)))
            .collect();
        self.sync_processor.process_requests(&mut to_log);
    }
}

impl RequestProcessor for ProposalRequestProcessor {
    fn process_requests(&self, requests: &mut Vec<Box<Request>>) {
        let started_ms = time::elapsed_ms();
        let metrics = self.leader.metrics();
        let mut own = Vec::new();
        let mut entries = Vec::new();
        for request in requests.drain(..) {
            if request.body.op_code() == Some(OpCode::Sync) {
                if !request.is_of_learner() {
                    // It is answered in its place in the own chain, which must have what others know.
                    self.leader.await_commits_under_way();
                } else {
                    // Behind everything that came before it.
                    self.commit_processor.process_requests(&mut own);
                    self.propose(&mut entries);
                    self.leader.process_sync(request.owner);
                    continue;
                }
            }
            entries.extend(request.entry.clone());
            if request.is_of_learner() {
                metrics.requests_not_forwarded_to_commit_processor.increment();
            } else {
                own.push(request);
            }
        }
        // First, so that a request is there when its commit comes.
        self.commit_processor.process_requests(&mut own);
        self.propose(&mut entries);
        metrics.proposal_process_time.add(time::elapsed_ms() - started_ms);
    }

    /// First the log, while commits still find their way; then what they are applied by.
    fn shutdown(&self) {
        log::info!("Shutting down");
        self.sync_processor.shutdown();
        self.commit_processor.shutdown();
    }
}
