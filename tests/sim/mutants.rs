//! Historic bugs put back by hand, at the places where a server's driver keeps the order. What the
//! simulator does not find when they are there it does not check.

use std::fmt;

/// A bug of `known-bugs` that a run can be given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// ZOOKEEPER-4646, 3911, 4785: NEWLEADER is acknowledged before the history is synced to disk.
    AckNewLeaderBeforeSync,
    /// ZOOKEEPER-4643: `currentEpoch` is written before the transactions that belong to it.
    EpochBeforeTxns,
    /// ZOOKEEPER-2845: the tree is kept over an election, and its last zxid is what is voted with.
    VoteWithTheTree,
    /// ZOOKEEPER-4925: transactions of a synchronisation do not come into the committed log.
    HoleInCommittedLog,
    /// ZOOKEEPER-3104: a learner's history is cut before it is put on the list of those who are
    /// sent what follows.
    CutBeforeForwarding,
    /// Proposals are acknowledged before they are synced to disk.
    AckProposalBeforeSync,
    /// `acceptedEpoch` is not written before the epoch is promised.
    PromiseBeforeAcceptedEpoch,
    /// ZOOKEEPER-4712: what a role has queued for its log is written in the next one.
    SyncThreadSurvivesItsRole,
    /// What a role has queued for its log is dropped at its end, though the tree may have it: a
    /// commit can overtake the own log.
    DropUnlogged,
}

impl Mutant {
    pub const ALL: [Mutant; 9] = [
        Mutant::AckNewLeaderBeforeSync,
        Mutant::EpochBeforeTxns,
        Mutant::VoteWithTheTree,
        Mutant::HoleInCommittedLog,
        Mutant::CutBeforeForwarding,
        Mutant::AckProposalBeforeSync,
        Mutant::PromiseBeforeAcceptedEpoch,
        Mutant::SyncThreadSurvivesItsRole,
        Mutant::DropUnlogged,
    ];

    /// As on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Mutant::AckNewLeaderBeforeSync => "4646-ack-newleader-before-sync",
            Mutant::EpochBeforeTxns => "4643-epoch-before-txns",
            Mutant::VoteWithTheTree => "2845-vote-with-the-tree",
            Mutant::HoleInCommittedLog => "4925-hole-in-committed-log",
            Mutant::CutBeforeForwarding => "3104-cut-before-forwarding",
            Mutant::AckProposalBeforeSync => "ack-proposal-before-sync",
            Mutant::PromiseBeforeAcceptedEpoch => "promise-before-accepted-epoch",
            Mutant::SyncThreadSurvivesItsRole => "4712-sync-thread-survives-its-role",
            Mutant::DropUnlogged => "drop-unlogged",
        }
    }

    pub fn of_name(name: &str) -> Option<Mutant> {
        Mutant::ALL.into_iter().find(|mutant| mutant.name() == name)
    }
}

impl fmt::Display for Mutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
