//! `SyncedLearnerTracker`: who has acknowledged something, held against one or two configurations.
//!
//! While a reconfiguration is pending a quorum of the old *and* of the new one is needed.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use crate::proto::ServerId;
use crate::quorum::verifier::QuorumVerifier;

/// A verifier and who of its voters has acknowledged (`QuorumVerifierAcksetPair`).
#[derive(Debug, Clone)]
struct QuorumVerifierAckset {
    verifier: Arc<QuorumVerifier>,
    /// Invariant: voters of `verifier` only.
    acks: BTreeSet<ServerId>,
}

/// Acknowledgements, by verifier.
#[derive(Debug, Clone, Default)]
pub struct SyncedLearnerTracker {
    pairs: Vec<QuorumVerifierAckset>,
}

impl SyncedLearnerTracker {
    /// Nobody has acknowledged; a quorum of each of `verifiers` is needed.
    pub fn new(verifiers: impl IntoIterator<Item = Arc<QuorumVerifier>>) -> SyncedLearnerTracker {
        let mut tracker = SyncedLearnerTracker::default();
        for verifier in verifiers {
            tracker.add_quorum_verifier(verifier);
        }
        tracker
    }

    /// A quorum of this one is needed as well.
    pub fn add_quorum_verifier(&mut self, verifier: Arc<QuorumVerifier>) {
        self.pairs.push(QuorumVerifierAckset { verifier, acks: BTreeSet::new() });
    }

    /// `sid` acknowledges. False when it has a vote nowhere: then nothing changes.
    pub fn add_ack(&mut self, sid: ServerId) -> bool {
        let mut counts = false;
        for pair in &mut self.pairs {
            if pair.verifier.voting_members().contains_key(&sid) {
                pair.acks.insert(sid);
                counts = true;
            }
        }
        counts
    }

    /// Whether `sid` has a vote in every configuration (`hasSid`).
    pub fn has_sid(&self, sid: ServerId) -> bool {
        self.pairs.iter().all(|pair| pair.verifier.voting_members().contains_key(&sid))
    }

    /// Whether there is a quorum of every configuration; true without any, as in Java.
    pub fn has_all_quorums(&self) -> bool {
        self.pairs.iter().all(|pair| pair.verifier.contains_quorum(&pair.acks))
    }

    /// Whether every voter of every configuration has acknowledged, but those in `absent`.
    pub fn has_all_voters_but(&self, absent: &BTreeSet<ServerId>) -> bool {
        self.pairs.iter().all(|pair| {
            let mut voters = pair.verifier.voting_members().keys();
            voters.all(|sid| pair.acks.contains(sid) || absent.contains(sid))
        })
    }

    /// Whether `sids`, whoever has acknowledged, contain a quorum of every configuration.
    pub fn would_have_quorums(&self, sids: &BTreeSet<ServerId>) -> bool {
        self.pairs.iter().all(|pair| {
            let voters = pair.verifier.voting_members();
            let voting = sids.iter().copied().filter(|sid| voters.contains_key(sid)).collect();
            pair.verifier.contains_quorum(&voting)
        })
    }
}

/// As `ackSetsToString`: `[1, 2]`, comma-separated when there are two.
impl fmt::Display for SyncedLearnerTracker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, pair) in self.pairs.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            f.debug_list().entries(&pair.acks).finish()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quorum::zab::testing::{observers_and_voters, voters};

    #[test]
    fn observers_and_strangers_do_not_count() {
        let mut tracker = SyncedLearnerTracker::new([observers_and_voters(&[4], &[1, 2, 3])]);
        assert!(tracker.add_ack(ServerId(1)));
        assert!(!tracker.add_ack(ServerId(4)));
        assert!(!tracker.add_ack(ServerId(9)));
        assert!(!tracker.has_all_quorums());
        assert!(tracker.add_ack(ServerId(3)));
        assert!(tracker.has_all_quorums());
        assert_eq!(tracker.to_string(), "[1, 3]");
    }

    #[test]
    fn each_configuration_needs_its_own_quorum() {
        let mut tracker = SyncedLearnerTracker::new([voters(&[1, 2, 3]), voters(&[3, 4, 5])]);
        let sids = |ids: &[i64]| ids.iter().map(|id| ServerId(*id)).collect::<BTreeSet<_>>();
        assert!(!tracker.would_have_quorums(&sids(&[1, 2, 4])));
        assert!(tracker.would_have_quorums(&sids(&[2, 3, 4])));
        for sid in [1, 2, 4] {
            tracker.add_ack(ServerId(sid));
        }
        assert!(!tracker.has_all_quorums());
        tracker.add_ack(ServerId(5));
        assert!(tracker.has_all_quorums());
        assert!(tracker.has_sid(ServerId(3)) && !tracker.has_sid(ServerId(1)));
        assert_eq!(tracker.to_string(), "[1, 2],[4, 5]");
    }
}
