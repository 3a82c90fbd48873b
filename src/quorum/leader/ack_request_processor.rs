//! `AckRequestProcessor`: what is on the leader's own disk counts as acknowledged by it.

use std::sync::Arc;

use super::leader::Leader;
use crate::common::time;
use crate::proto::Zxid;
use crate::quorum::leader::learner_master::LearnerMaster;
use crate::server::request::Request;
use crate::server::request_processor::RequestProcessor;

/// Follows the SyncThread.
pub struct AckRequestProcessor {
    leader: Arc<Leader>,
}

impl AckRequestProcessor {
    /// Acknowledges to `leader`.
    pub fn new(leader: Arc<Leader>) -> AckRequestProcessor {
        AckRequestProcessor { leader }
    }
}

impl RequestProcessor for AckRequestProcessor {
    fn process_requests(&self, requests: &mut Vec<Box<Request>>) {
        let latency = &self.leader.metrics().proposal_ack_creation_latency;
        let wall_ms = time::wall_ms();
        let mut zxids: Vec<Zxid> = Vec::with_capacity(requests.len());
        for request in requests.drain(..) {
            if let Some(entry) = &request.entry {
                latency.add(wall_ms.saturating_sub(entry.header.time));
                zxids.push(entry.zxid());
            }
        }
        self.leader.process_own_acks(&zxids);
    }

    fn shutdown(&self) {}
}
