//! How an epoch begins: `Leader.getEpochToPropose`, `waitForEpochAck`, `waitForNewLeaderAck`.
//!
//! FOLLOWERINFO of a quorum → the new epoch, one above all accepted ones, written to
//! `acceptedEpoch` before anybody is told. ACKEPOCH of a quorum, none of them ahead of the leader →
//! the election is over, `currentEpoch` is written, histories are synchronised. ACK of NEWLEADER of
//! a quorum → the leader may serve.
//!
//! No waiting here: the driver asks again when something has changed.
//!
//! Deliberate differences: an accepted epoch that leaves no room for another one is refused (Java
//! would count into negative zxids); the accepted epoch of a server that is not in the
//! configuration does not raise the new epoch; an acknowledgement of another epoch's NEWLEADER ends
//! the connection, where Java goes on with a learner that has not taken over this epoch.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use super::synced_learner_tracker::SyncedLearnerTracker;
use crate::proto::{ServerId, Zxid};
use crate::quorum::verifier::QuorumVerifier;

/// The last epoch that may be proposed: zxids stay positive, and one more election is possible.
pub const EPOCH_MAX: i64 = 0x7fff_fffe;

/// How far a server's history reaches (`StateSummary`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StateSummary {
    /// The epoch of the last leader whose history it took over; -1: it has promised this epoch
    /// before, and its answer does not count.
    pub current_epoch: i64,
    /// Its last logged transaction.
    pub last_zxid: Zxid,
}

impl StateSummary {
    /// By epoch, then by zxid.
    pub fn is_more_recent_than(&self, other: &StateSummary) -> bool {
        self > other
    }
}

/// What FOLLOWERINFO leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EpochProgress {
    /// More servers are needed.
    Waiting,
    /// Write this epoch to `acceptedEpoch`, then call [`EpochNegotiation::accepted_epoch_written`].
    /// Answered once.
    WriteAcceptedEpoch(i64),
    /// The new epoch.
    Decided(i64),
}

/// Why a peer cannot take part. Its connection ends, or, for the leader itself, its role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EpochError {
    /// It must not be led by this leader.
    #[error(
        "Follower is ahead of the leader, leader summary: {} (current epoch), {} (last zxid)",
        leader.current_epoch,
        leader.last_zxid
    )]
    AheadOfLeader {
        /// How far the leader is.
        leader: StateSummary,
    },
    /// No epoch is left behind this one.
    #[error("Accepted epoch 0x{0:x} leaves no room for another epoch")]
    EpochTooLarge(i64),
    /// NEWLEADER of another epoch was acknowledged.
    #[error("NEWLEADER ACK is from a different epoch - current {current} received {received}")]
    OtherEpoch {
        /// What this leader sent.
        current: Zxid,
        /// What came.
        received: Zxid,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    Open,
    BeingWritten,
    Decided,
}

/// The beginning of one leader's epoch.
pub struct EpochNegotiation {
    my_id: ServerId,
    verifier: Arc<QuorumVerifier>,
    /// The leader's own.
    summary: StateSummary,
    /// The epoch to propose, so far.
    epoch: i64,
    choice: Choice,
    /// Voters that have said which epoch they accepted last (`connectingFollowers`).
    connecting: BTreeSet<ServerId>,
    /// Voters that have promised the epoch (`electingFollowers`).
    electing: BTreeSet<ServerId>,
    /// Voters that look for a leader in a later round, and have not connected since.
    left: BTreeSet<ServerId>,
    is_election_finished: bool,
    /// Who has taken over the leader's history (`newLeaderProposal`).
    new_leader: SyncedLearnerTracker,
    has_quorum_formed: bool,
}

impl EpochNegotiation {
    /// Nobody has connected. `summary` is the leader's own state; quorums of `verifier` decide.
    pub fn new(
        my_id: ServerId,
        summary: StateSummary,
        verifier: Arc<QuorumVerifier>,
    ) -> EpochNegotiation {
        EpochNegotiation {
            my_id,
            summary,
            epoch: -1,
            choice: Choice::Open,
            connecting: BTreeSet::new(),
            electing: BTreeSet::new(),
            left: BTreeSet::new(),
            is_election_finished: false,
            new_leader: SyncedLearnerTracker::new([Arc::clone(&verifier)]),
            has_quorum_formed: false,
            verifier,
        }
    }

    /// FOLLOWERINFO, OBSERVERINFO, or the leader itself: `sid` accepted `accepted_epoch` last
    /// (`getEpochToPropose`).
    pub fn follower_info(
        &mut self,
        sid: ServerId,
        accepted_epoch: i64,
    ) -> Result<EpochProgress, EpochError> {
        self.left.remove(&sid);
        match self.choice {
            Choice::Decided => return Ok(EpochProgress::Decided(self.epoch)),
            Choice::BeingWritten => return Ok(EpochProgress::Waiting),
            Choice::Open => {}
        }
        if self.verifier.all_members().contains_key(&sid) {
            if accepted_epoch >= EPOCH_MAX {
                return Err(EpochError::EpochTooLarge(accepted_epoch));
            }
            self.epoch = self.epoch.max(accepted_epoch.saturating_add(1));
        }
        if self.is_participant(sid) {
            self.connecting.insert(sid);
        }
        if !self.has_leader_and_quorum(&self.connecting) {
            return Ok(EpochProgress::Waiting);
        }
        self.choice = Choice::BeingWritten;
        Ok(EpochProgress::WriteAcceptedEpoch(self.epoch))
    }

    /// `acceptedEpoch` is durable: everybody may be told. The new epoch.
    pub fn accepted_epoch_written(&mut self) -> i64 {
        self.choice = Choice::Decided;
        self.epoch
    }

    /// The new epoch, once it is decided and durable.
    pub fn epoch(&self) -> Option<i64> {
        (self.choice == Choice::Decided).then_some(self.epoch)
    }

    /// Who has connected so far, voters only.
    pub fn connecting(&self) -> &BTreeSet<ServerId> {
        &self.connecting
    }

    /// ACKEPOCH of `sid`, or the leader's own state. True once the election is over
    /// (`waitForEpochAck`).
    pub fn epoch_ack(&mut self, sid: ServerId, summary: StateSummary) -> Result<bool, EpochError> {
        if self.is_election_finished {
            return Ok(true);
        }
        if summary.current_epoch != -1 {
            if summary.is_more_recent_than(&self.summary) {
                return Err(EpochError::AheadOfLeader { leader: self.summary });
            }
            if summary.last_zxid != Zxid::NONE && self.is_participant(sid) {
                self.electing.insert(sid);
            }
        }
        self.is_election_finished = self.has_leader_and_quorum(&self.electing);
        Ok(self.is_election_finished)
    }

    /// `sid` looks for a leader, in a later round than the one in which this leader was elected.
    /// False if the epoch can never begin: a server of a later round decides for a leader of an
    /// earlier one only if a quorum follows that already, and without those that have left there
    /// is none.
    #[must_use]
    pub fn voter_left(&mut self, sid: ServerId) -> bool {
        // With an oracle's word one follower is enough, wherever it comes from.
        if self.has_quorum_formed || sid == self.my_id || self.verifier.oracle().is_some() {
            return true;
        }
        self.left.insert(sid);
        let voters = self.verifier.voting_members().keys();
        let rest: BTreeSet<ServerId> =
            voters.filter(|voter| !self.left.contains(voter)).copied().collect();
        self.verifier.contains_quorum(&rest)
    }

    /// A quorum of this configuration, which is not in force yet, must take over the history as
    /// well. To be said before the leader's own [`epoch_ack`](EpochNegotiation::epoch_ack).
    pub fn add_pending_verifier(&mut self, verifier: Arc<QuorumVerifier>) {
        self.new_leader.add_quorum_verifier(verifier);
    }

    /// Whether a quorum has promised the epoch.
    pub fn is_election_finished(&self) -> bool {
        self.is_election_finished
    }

    /// The zxid of NEWLEADER: the epoch with counter 0.
    pub fn new_leader_zxid(&self) -> Zxid {
        Zxid::new(self.epoch, 0)
    }

    /// `sid` acknowledged NEWLEADER of `zxid`. True once a quorum has (`waitForNewLeaderAck`).
    pub fn new_leader_ack(&mut self, sid: ServerId, zxid: Zxid) -> Result<bool, EpochError> {
        let current = self.new_leader_zxid();
        if zxid != current {
            return Err(EpochError::OtherEpoch { current, received: zxid });
        }
        self.new_leader.add_ack(sid);
        self.has_quorum_formed |= self.new_leader.has_all_quorums();
        Ok(self.has_quorum_formed)
    }

    /// Whether a quorum has taken over the history: the leader may serve.
    pub fn has_quorum_formed(&self) -> bool {
        self.has_quorum_formed
    }

    /// Whether `sids` would be enough, had they all acknowledged: then `initLimit` is too short.
    pub fn would_have_quorum(&self, sids: &BTreeSet<ServerId>) -> bool {
        self.new_leader.would_have_quorums(sids)
    }

    /// Who has acknowledged NEWLEADER, as text.
    pub fn new_leader_acks(&self) -> impl fmt::Display + '_ {
        &self.new_leader
    }

    fn is_participant(&self, sid: ServerId) -> bool {
        self.verifier.voting_members().contains_key(&sid)
    }

    fn has_leader_and_quorum(&self, sids: &BTreeSet<ServerId>) -> bool {
        sids.contains(&self.my_id) && self.verifier.contains_quorum(sids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quorum::zab::testing::{observers_and_voters, voters};

    const ME: ServerId = ServerId(3);

    fn summary(current_epoch: i64, zxid: i64) -> StateSummary {
        StateSummary { current_epoch, last_zxid: Zxid(zxid) }
    }

    fn negotiation() -> EpochNegotiation {
        let verifier = observers_and_voters(&[4], &[1, 2, 3]);
        EpochNegotiation::new(ME, summary(5, 0x5_0000_0007), verifier)
    }

    #[test]
    fn the_epoch_is_one_above_all_accepted_ones() {
        use EpochProgress::*;
        let mut core = negotiation();
        assert_eq!(core.follower_info(ME, 5), Ok(Waiting));
        assert_eq!(
            core.follower_info(ServerId(4), 7),
            Ok(Waiting),
            "observers count for the epoch"
        );
        assert_eq!(core.follower_info(ServerId(9), 99), Ok(Waiting), "strangers do not");
        assert_eq!(core.epoch(), None);
        assert_eq!(core.follower_info(ServerId(1), 6), Ok(WriteAcceptedEpoch(8)));
        assert_eq!(core.follower_info(ServerId(2), 50), Ok(Waiting), "it is being written");
        assert_eq!(core.accepted_epoch_written(), 8);
        assert_eq!(core.follower_info(ServerId(2), 50), Ok(Decided(8)));
        assert_eq!(core.new_leader_zxid(), Zxid(0x8_0000_0000));
    }

    #[test]
    fn a_quorum_without_the_leader_decides_nothing() {
        let mut core = negotiation();
        assert_eq!(core.follower_info(ServerId(1), 5), Ok(EpochProgress::Waiting));
        assert_eq!(core.follower_info(ServerId(2), 5), Ok(EpochProgress::Waiting));
        assert_eq!(core.follower_info(ME, 5), Ok(EpochProgress::WriteAcceptedEpoch(6)));
    }

    #[test]
    fn an_epoch_without_successor_is_refused() {
        let mut core = negotiation();
        let check = |result, epoch| assert_eq!(result, Err(EpochError::EpochTooLarge(epoch)));
        check(core.follower_info(ServerId(1), EPOCH_MAX), EPOCH_MAX);
        check(core.follower_info(ServerId(1), i64::MAX), i64::MAX);
        assert_eq!(core.follower_info(ME, 5), Ok(EpochProgress::Waiting));
        assert_eq!(core.follower_info(ServerId(2), -1), Ok(EpochProgress::WriteAcceptedEpoch(6)));
    }

    #[test]
    fn who_is_ahead_of_the_leader_is_refused() {
        let ahead = Err(EpochError::AheadOfLeader { leader: summary(5, 0x5_0000_0007) });
        let mut core = negotiation();
        assert_eq!(core.epoch_ack(ServerId(1), summary(6, 1)), ahead);
        assert_eq!(core.epoch_ack(ServerId(1), summary(5, 0x5_0000_0008)), ahead);
        assert_eq!(core.epoch_ack(ME, summary(5, 0x5_0000_0007)), Ok(false));
        assert_eq!(core.epoch_ack(ServerId(1), summary(4, 0x9_0000_0000)), Ok(true));
        assert_eq!(core.epoch_ack(ServerId(2), summary(9, 9)), Ok(true), "it is over");
    }

    #[test]
    fn some_answers_are_accepted_but_not_counted() {
        let mut core = negotiation();
        assert_eq!(core.epoch_ack(ME, summary(5, 0x5_0000_0007)), Ok(false));
        assert_eq!(core.epoch_ack(ServerId(1), summary(-1, 0x9_0000_0000)), Ok(false));
        assert_eq!(core.epoch_ack(ServerId(2), summary(5, -1)), Ok(false));
        assert_eq!(core.epoch_ack(ServerId(4), summary(5, 1)), Ok(false));
        assert_eq!(core.epoch_ack(ServerId(2), summary(5, 1)), Ok(true));
    }

    #[test]
    fn a_quorum_takes_over_the_history_of_this_epoch() {
        let mut core = negotiation();
        core.follower_info(ME, 5).unwrap();
        core.follower_info(ServerId(1), 5).unwrap();
        core.accepted_epoch_written();
        let zxid = core.new_leader_zxid();
        assert_eq!(core.new_leader_ack(ME, zxid), Ok(false));
        let other = Zxid(0x5_0000_0000);
        assert_eq!(
            core.new_leader_ack(ServerId(1), other),
            Err(EpochError::OtherEpoch { current: zxid, received: other })
        );
        assert_eq!(core.new_leader_ack(ServerId(4), zxid), Ok(false), "an observer");
        assert!(core.would_have_quorum(&[ME, ServerId(1)].into()));
        assert_eq!(core.new_leader_ack(ServerId(2), zxid), Ok(true));
        assert_eq!(core.new_leader_acks().to_string(), "[2, 3]");
    }

    #[test]
    fn a_leader_that_a_quorum_has_left_gives_up() {
        let mut core = EpochNegotiation::new(ME, summary(0, 0), voters(&[1, 2, 3, 4, 5]));
        core.follower_info(ME, 0).unwrap();
        core.follower_info(ServerId(1), 0).unwrap();
        assert!(core.voter_left(ServerId(1)));
        assert!(core.voter_left(ServerId(2)), "3, 4 and 5 may still be a quorum");
        assert!(core.voter_left(ServerId(2)));
        assert!(core.voter_left(ME), "what is heard of this server is old");
        core.follower_info(ServerId(1), 0).unwrap();
        assert!(core.voter_left(ServerId(4)), "1 is back");
        assert!(!core.voter_left(ServerId(5)));
        let mut core = negotiation();
        core.follower_info(ME, 5).unwrap();
        core.follower_info(ServerId(1), 5).unwrap();
        core.accepted_epoch_written();
        assert!(core.voter_left(ServerId(4)), "an observer");
        assert!(core.voter_left(ServerId(2)), "the other two are a quorum");
        let zxid = core.new_leader_zxid();
        core.new_leader_ack(ME, zxid).unwrap();
        core.new_leader_ack(ServerId(1), zxid).unwrap();
        assert!(core.voter_left(ServerId(1)), "it serves: those that answer are counted each tick");
    }

    #[test]
    fn a_pending_configuration_needs_its_quorum_too() {
        let mut core = EpochNegotiation::new(ME, summary(0, 0), voters(&[1, 2, 3]));
        core.add_pending_verifier(voters(&[3, 4, 5]));
        core.follower_info(ME, 0).unwrap();
        core.follower_info(ServerId(1), 0).unwrap();
        core.accepted_epoch_written();
        let zxid = core.new_leader_zxid();
        assert_eq!(core.new_leader_ack(ME, zxid), Ok(false));
        assert_eq!(core.new_leader_ack(ServerId(1), zxid), Ok(false));
        assert_eq!(core.new_leader_ack(ServerId(5), zxid), Ok(true));
    }
}
