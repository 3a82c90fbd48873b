//! `LearnerHandler.SyncLimitCheck`: whether a learner acknowledges proposals in time.
//!
//! Two samples are enough: the proposal whose acknowledgement is awaited, and the last one sent
//! since. An acknowledgement of a later proposal than the awaited one counts for it as well: the
//! log of a learner is written in order.

use crate::proto::Zxid;

/// A proposal and when it was sent.
#[derive(Debug, Clone, Copy)]
struct Sample {
    zxid: Zxid,
    sent_ms: i64,
}

/// The oldest proposals that one learner has not acknowledged.
#[derive(Debug, Default)]
pub struct SyncLimitCheck {
    is_started: bool,
    current: Option<Sample>,
    next: Option<Sample>,
}

impl SyncLimitCheck {
    /// From now on proposals are awaited: the learner has acknowledged NEWLEADER.
    pub fn start(&mut self) {
        self.is_started = true;
    }

    /// A proposal is sent (`updateProposal`).
    pub fn update_proposal(&mut self, zxid: Zxid, now_ms: i64) {
        if !self.is_started {
            return;
        }
        let sample = Some(Sample { zxid, sent_ms: now_ms });
        if self.current.is_none() {
            self.current = sample;
        } else {
            self.next = sample;
        }
    }

    /// A proposal is acknowledged (`updateAck`).
    pub fn update_ack(&mut self, zxid: Zxid) {
        if self.current.is_some_and(|current| current.zxid <= zxid) {
            self.current = self.next.take().filter(|next| next.zxid > zxid);
        }
    }

    /// Whether the oldest was sent less than `limit_ms` ago (`check`).
    pub fn check(&self, now_ms: i64, limit_ms: i64) -> bool {
        self.current.is_none_or(|current| now_ms.saturating_sub(current.sent_ms) < limit_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_proposal_must_be_acknowledged_in_time() {
        let mut check = SyncLimitCheck::default();
        check.update_proposal(Zxid(1), 0);
        assert!(check.check(1_000_000, 10), "not started");
        check.start();
        check.update_proposal(Zxid(2), 100);
        check.update_proposal(Zxid(3), 105);
        check.update_proposal(Zxid(4), 108);
        assert!(check.check(109, 10));
        assert!(!check.check(110, 10));
        check.update_ack(Zxid(2));
        assert!(check.check(117, 10), "the last one sent is next");
        assert!(!check.check(118, 10));
        check.update_ack(Zxid(3));
        assert!(!check.check(118, 10));
        check.update_ack(Zxid(4));
        assert!(check.check(1_000, 10));
    }

    #[test]
    fn one_acknowledgement_covers_what_is_before_it() {
        let mut check = SyncLimitCheck::default();
        check.start();
        check.update_proposal(Zxid(1), 0);
        check.update_proposal(Zxid(2), 0);
        check.update_ack(Zxid(2));
        assert!(check.check(1_000, 10));
        check.update_ack(Zxid(9));
        check.update_proposal(Zxid(3), 1_000);
        assert!(!check.check(1_010, 10));
    }
}
