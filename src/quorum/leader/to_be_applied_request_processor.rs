//! `Leader.ToBeAppliedRequestProcessor`: forgets what has been applied.
//!
//! The next stage applies everything before it returns, and puts it into the committed log; only
//! then is it removed from the list, so that a learner which begins to synchronise in between is
//! sent each transaction once.

use std::sync::Arc;

use super::leader::Leader;
use crate::proto::Zxid;
use crate::quorum::session::leader_session_tracker::LeaderSessionTracker;
use crate::server::request::Request;
use crate::server::request_processor::RequestProcessor;

/// Stands between CommitProcessor and FinalRequestProcessor.
pub struct ToBeAppliedRequestProcessor {
    leader: Arc<Leader>,
    tracker: Arc<LeaderSessionTracker>,
    next: Arc<dyn RequestProcessor>,
}

impl ToBeAppliedRequestProcessor {
    /// `next` must process requests before it returns.
    pub fn new(
        leader: Arc<Leader>,
        tracker: Arc<LeaderSessionTracker>,
        next: Arc<dyn RequestProcessor>,
    ) -> ToBeAppliedRequestProcessor {
        ToBeAppliedRequestProcessor { leader, tracker, next }
    }
}

impl RequestProcessor for ToBeAppliedRequestProcessor {
    fn process_requests(&self, requests: &mut Vec<Box<Request>>) {
        let last: Option<Zxid> =
            requests.iter().filter_map(|request| request.entry.as_ref()).map(|e| e.zxid()).max();
        self.next.process_requests(requests);
        if let Some(zxid) = last {
            self.leader.applied(zxid);
        }
        // Of sessions whose end has just been applied.
        self.tracker.deliver();
    }

    fn shutdown(&self) {
        self.next.shutdown();
    }
}
