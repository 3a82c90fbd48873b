//! Votes: what a server proposes as leader, which is better, which are the same (Java: `Vote`,
//! `QuorumPeer.ServerState`, `FastLeaderElection.totalOrderPredicate`).

use std::cmp::Ordering;
use std::fmt;

use crate::proto::{ServerId, Zxid};
use crate::quorum::verifier::QuorumVerifier;

/// What a server does; the ordinals are those of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum ServerState {
    /// Takes part in an election.
    #[default]
    Looking,
    /// Follows a leader.
    Following,
    /// Leads.
    Leading,
    /// Learns from a leader without a vote.
    Observing,
}

impl ServerState {
    /// The number in a notification.
    #[must_use]
    pub const fn ordinal(self) -> i32 {
        match self {
            Self::Looking => 0,
            Self::Following => 1,
            Self::Leading => 2,
            Self::Observing => 3,
        }
    }

    /// The state with that number.
    #[must_use]
    pub const fn from_ordinal(ordinal: i32) -> Option<Self> {
        Some(match ordinal {
            0 => Self::Looking,
            1 => Self::Following,
            2 => Self::Leading,
            3 => Self::Observing,
            _ => return None,
        })
    }
}

/// Java's name of the constant.
impl fmt::Display for ServerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Looking => "LOOKING",
            Self::Following => "FOLLOWING",
            Self::Leading => "LEADING",
            Self::Observing => "OBSERVING",
        })
    }
}

/// A server's choice of a leader.
///
/// `==` compares all fields; whether two votes are *for the same* is [`Vote::agrees_with`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vote {
    /// Version of the notification it came with; 0 for our own.
    pub version: i32,
    /// The proposed leader; [`ServerId::NONE`] from who has no vote.
    pub id: ServerId,
    /// The proposed leader's last logged zxid.
    pub zxid: Zxid,
    /// The round of the election, -1 outside one.
    pub election_epoch: i64,
    /// The proposed leader's epoch; the epoch it leads once it does.
    pub peer_epoch: i64,
    /// What the voter did when it sent the vote.
    pub state: ServerState,
}

impl Vote {
    /// A vote of a server that is looking for a leader.
    #[must_use]
    pub const fn looking(id: ServerId, zxid: Zxid, election_epoch: i64, peer_epoch: i64) -> Self {
        Self { version: 0, id, zxid, election_epoch, peer_epoch, state: ServerState::Looking }
    }

    /// The same vote with the epoch that the leader has begun: what all servers keep after the
    /// synchronisation, so that a late server finds them agreeing (Java:
    /// `QuorumPeer.updateElectionVote`, ZOOKEEPER-1732).
    #[must_use]
    pub const fn with_peer_epoch(self, peer_epoch: i64) -> Self {
        Self { peer_epoch, ..self }
    }

    /// Java's `Vote.equals`. Not transitive, therefore not `==`.
    #[must_use]
    pub fn agrees_with(&self, other: &Self) -> bool {
        if self.state == ServerState::Looking || other.state == ServerState::Looking {
            return self.id == other.id
                && self.zxid == other.zxid
                && self.election_epoch == other.election_epoch
                && self.peer_epoch == other.peer_epoch;
        }
        // Outside an election zxid and round may differ between servers of one ensemble
        // (ZOOKEEPER-1805), and with a server older than 3.4.6 the epoch as well (ZOOKEEPER-1732).
        let is_mixed = (self.version > 0) != (other.version > 0);
        self.id == other.id && (is_mixed || self.peer_epoch == other.peer_epoch)
    }

    /// The candidate part.
    #[must_use]
    pub const fn candidate(&self) -> Candidate {
        Candidate { id: self.id, zxid: self.zxid, peer_epoch: self.peer_epoch }
    }
}

/// `(id, zxid, epoch)` as Java prints it.
impl fmt::Display for Vote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {:x}, {:x})", self.id, self.zxid.0, self.peer_epoch)
    }
}

/// Whom a vote is for, and what makes it a good choice. Ordered: the greater is the better leader,
/// by epoch, then zxid, then id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate {
    /// The proposed leader.
    pub id: ServerId,
    /// Its last logged zxid.
    pub zxid: Zxid,
    /// Its epoch.
    pub peer_epoch: i64,
}

impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |candidate: &Self| (candidate.peer_epoch, candidate.zxid, candidate.id);
        key(self).cmp(&key(other))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Whether `new` replaces `current`: it must be better, and may not be a server of weight 0 (Java:
/// `totalOrderPredicate`).
#[must_use]
pub fn supersedes(verifier: &QuorumVerifier, new: &Candidate, current: &Candidate) -> bool {
    verifier.weight(new.id) != 0 && new > current
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::quorum::verifier::VerifierOptions;

    fn candidate(peer_epoch: i64, zxid: i64, id: i64) -> Candidate {
        Candidate { id: ServerId(id), zxid: Zxid(zxid), peer_epoch }
    }

    fn verifier(text: &str) -> QuorumVerifier {
        QuorumVerifier::from_config_text(text, &VerifierOptions::default()).unwrap()
    }

    #[test]
    fn epoch_counts_before_zxid_before_id() {
        let three = verifier("server.1=h:1:2\nserver.2=h:1:2\nserver.3=h:1:2");
        let check = |new: Candidate, current: Candidate, expected| {
            assert_eq!(supersedes(&three, &new, &current), expected, "{new:?} {current:?}");
        };
        check(candidate(2, 0, 1), candidate(1, 9, 3), true);
        check(candidate(1, 9, 1), candidate(1, 8, 3), true);
        check(candidate(1, 8, 3), candidate(1, 8, 2), true);
        check(candidate(1, 8, 2), candidate(1, 8, 2), false);
        check(candidate(1, 8, 3), candidate(1, 9, 1), false);
        check(candidate(i64::MIN, i64::MIN, i64::MIN), candidate(0, 0, 1), false);
    }

    #[test]
    fn a_server_of_weight_zero_is_never_better() {
        let verifier =
            verifier("server.1=h:1:2\nserver.2=h:1:2\ngroup.1=1:2\nweight.1=1\nweight.2=0");
        assert!(!supersedes(&verifier, &candidate(9, 9, 2), &candidate(1, 1, 1)));
        assert!(supersedes(&verifier, &candidate(9, 9, 1), &candidate(1, 1, 2)));
    }

    #[test]
    fn votes_agree_by_the_rules_of_their_states() {
        let base = Vote::looking(ServerId(1), Zxid(7), 3, 2);
        let at = |state| Vote { version: 2, state, ..base };
        let check = |a: Vote, b: Vote, expected| {
            assert_eq!((a.agrees_with(&b), b.agrees_with(&a)), (expected, expected), "{a:?} {b:?}");
        };
        use ServerState::{Following, Leading, Looking};
        check(base, Vote { version: 9, ..base }, true);
        check(base, Vote { zxid: Zxid(8), ..at(Looking) }, false);
        check(base, Vote { election_epoch: 4, ..at(Following) }, false);
        check(base, Vote { peer_epoch: 4, ..at(Leading) }, false);
        let other = Vote { zxid: Zxid(8), election_epoch: 4, ..at(Following) };
        check(at(Leading), other, true);
        check(at(Leading), Vote { peer_epoch: 3, ..other }, false);
        check(at(Leading), Vote { peer_epoch: 3, version: 0, ..other }, true);
        check(at(Leading), Vote { id: ServerId(2), version: 0, ..other }, false);
    }

    #[test]
    fn ordinals_are_those_of_the_wire() {
        for ordinal in 0..4 {
            assert_eq!(ServerState::from_ordinal(ordinal).unwrap().ordinal(), ordinal);
        }
        assert_eq!((ServerState::from_ordinal(4), ServerState::from_ordinal(-1)), (None, None));
        assert_eq!(ServerState::Leading.to_string(), "LEADING");
    }

    fn any_candidate() -> impl Strategy<Value = Candidate> {
        let few = || prop_oneof![Just(i64::MIN), -1i64..4];
        (few(), few(), few()).prop_map(|(epoch, zxid, id)| candidate(epoch, zxid, id))
    }

    proptest! {
        #[test]
        fn candidates_are_totally_ordered(
            a in any_candidate(), b in any_candidate(), c in any_candidate(),
        ) {
            let three = verifier("server.1=h:1:2\nserver.2=h:1:2\nserver.3=h:1:2");
            let better = |x, y| supersedes(&three, x, y);
            // As in Java, written out.
            let java = a.peer_epoch > b.peer_epoch
                || (a.peer_epoch == b.peer_epoch
                    && (a.zxid > b.zxid || (a.zxid == b.zxid && a.id > b.id)));
            prop_assert_eq!(better(&a, &b), java);
            prop_assert_eq!(!better(&a, &b) && !better(&b, &a), a == b);
            prop_assert!(!(better(&a, &b) && better(&b, &c)) || better(&a, &c));
        }
    }
}
