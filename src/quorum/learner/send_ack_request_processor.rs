//! `SendAckRequestProcessor`: behind the thread that logs, it tells the leader what is on the disk. One
//! ACK for each transaction, as leaders need it, all those of a flush with one write.

use std::sync::Arc;

use super::leader_link::LeaderLink;
use crate::common::time;
use crate::metrics::ServerMetrics;
use crate::quorum::zab::learner_sync::{LearnerAction, LearnerKind, LearnerSync};
use crate::server::request::Request;
use crate::server::request_processor::RequestProcessor;

/// The stage. An observer's acknowledges nothing.
pub struct SendAckRequestProcessor {
    /// Follower or observer.
    pub kind: LearnerKind,
    /// To the leader.
    pub link: Arc<LeaderLink>,
    /// Where to count.
    pub metrics: Arc<ServerMetrics>,
}

impl RequestProcessor for SendAckRequestProcessor {
    fn process_requests(&self, requests: &mut Vec<Box<Request>>) {
        let wall_ms = time::wall_ms();
        let acks = requests.iter().filter_map(|request| {
            let entry = request.entry.as_ref()?;
            match LearnerSync::on_logged(self.kind, entry) {
                Some(LearnerAction::SendAck(zxid)) => {
                    let latency_ms = wall_ms.saturating_sub(entry.header.time);
                    if latency_ms >= 0 {
                        self.metrics.proposal_ack_creation_latency.add(latency_ms);
                    }
                    Some(zxid)
                }
                _ => None,
            }
        });
        self.link.send_acks(acks);
        requests.clear();
    }

    fn shutdown(&self) {}
}
