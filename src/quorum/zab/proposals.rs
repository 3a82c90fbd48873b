//! The leader's proposals: `Leader.propose`, `processAck`, `tryToCommit`, `processSync`,
//! `startForwarding` and the list `toBeApplied`.
//!
//! Transactions are proposed with consecutive zxids and committed in just this order: a follower of
//! Java's ends its process when one is left out or overtakes another.
//!
//! Deliberate differences:
//! - A proposal that does not follow the last one is refused, so no zxid is ever used twice
//!   (Java proposes the error of an undecodable request with a zxid that is in use, and the quorum
//!   hangs).
//! - When the oldest proposal commits, those behind it that have a quorum already commit too; Java
//!   waits for one more acknowledgement of each.
//! - At the end of the counter the leader stops to propose, but goes on to commit what is
//!   outstanding before it hands over; Java drops everything at once.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use crate::proto::{ServerId, TxnLogEntry, Zxid};
use crate::quorum::verifier::QuorumVerifier;

/// The counter that is never proposed: all lower 32 bits set.
const COUNTER_END: i64 = 0xffff_ffff;

/// Remembered answers to "is this a quorum?". More than this many different sets are not worth it.
const MEMO_MAX: usize = 1024;

/// What is to be done, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProposalAction<S> {
    /// COMMIT to the followers, INFORM to the observers, and to the leader's own CommitProcessor.
    Commit(Arc<TxnLogEntry>),
    /// SYNC to the learner that asked.
    AnswerSync(S),
}

/// What a new learner is sent behind its history, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forward {
    /// PROPOSAL.
    Proposal(Arc<TxnLogEntry>),
    /// COMMIT.
    Commit(Zxid),
}

/// Why a transaction is not proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// The epoch's zxids are used up: hand over once nothing is outstanding (ZOOKEEPER-1277).
    #[error(
        "zxid lower 32 bits have rolled over, forcing re-election, and therefore new epoch start"
    )]
    RolledOver,
    /// It does not follow the last one. The role must end: something would be lost or done twice.
    #[error("proposal {zxid} does not follow {last}")]
    NotNext {
        /// Of the transaction.
        zxid: Zxid,
        /// The last proposed.
        last: Zxid,
    },
}

/// What an acknowledgement was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckKind {
    /// Counted.
    Counted,
    /// Of something that is committed already, of UPTODATE, by a server without a vote, or over a
    /// connection that a later one of the same server has replaced.
    Ignored,
    /// Of something that was never proposed.
    Future,
}

/// Who acknowledges, over which connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AckSource {
    /// The server.
    pub sid: ServerId,
    /// Its connection; numbers are never used twice. Of no meaning for the leader itself.
    pub connection: u64,
}

/// A proposal under way.
struct Proposal {
    entry: Arc<TxnLogEntry>,
    /// Invariant: sorted, voters only.
    acks: Vec<ServerId>,
}

/// The configurations of which quorums must acknowledge, and what is known about sets of voters.
struct QuorumRule {
    verifiers: Vec<Arc<QuorumVerifier>>,
    /// Not used with an oracle, whose answers change.
    memo: HashMap<Vec<ServerId>, bool>,
    has_oracle: bool,
}

impl QuorumRule {
    fn new(verifiers: Vec<Arc<QuorumVerifier>>) -> QuorumRule {
        let has_oracle = verifiers.iter().any(|verifier| verifier.oracle().is_some());
        QuorumRule { verifiers, memo: HashMap::new(), has_oracle }
    }

    fn is_voter(&self, sid: ServerId) -> bool {
        self.verifiers.iter().any(|verifier| verifier.voting_members().contains_key(&sid))
    }

    fn has_quorum(&mut self, acks: &[ServerId]) -> bool {
        if let Some(known) = self.memo.get(acks) {
            return *known;
        }
        let answer = self.verifiers.iter().all(|verifier| {
            let voters = verifier.voting_members();
            let set: BTreeSet<ServerId> =
                acks.iter().copied().filter(|sid| voters.contains_key(sid)).collect();
            verifier.contains_quorum(&set)
        });
        if !self.has_oracle && self.memo.len() < MEMO_MAX {
            self.memo.insert(acks.to_vec(), answer);
        }
        answer
    }
}

/// The proposals of one epoch. `S` says who asked for a sync.
pub struct Proposals<S> {
    rule: QuorumRule,
    /// The last transaction of the history that the epoch began with.
    base: Zxid,
    last_proposed: Zxid,
    last_committed: Zxid,
    /// Invariant: consecutive zxids, from the one behind `last_committed` to `last_proposed`.
    outstanding: VecDeque<Proposal>,
    /// Committed, but perhaps not yet in the committed log. Invariant: ascending.
    to_be_applied: VecDeque<Arc<TxnLogEntry>>,
    /// By the proposal after whose commit they are answered.
    pending_syncs: BTreeMap<Zxid, Vec<S>>,
    /// The connection over which a voter was last brought up to date.
    connections: BTreeMap<ServerId, u64>,
    has_rolled_over: bool,
}

impl<S> Proposals<S> {
    /// Nothing is proposed yet; `start` is the zxid before the first proposal: the epoch with
    /// counter 0. Of each of `verifiers` a quorum must acknowledge.
    pub fn new(start: Zxid, verifiers: Vec<Arc<QuorumVerifier>>) -> Proposals<S> {
        Proposals {
            rule: QuorumRule::new(verifiers),
            base: Zxid::NONE,
            last_proposed: start,
            last_committed: start,
            outstanding: VecDeque::new(),
            to_be_applied: VecDeque::new(),
            pending_syncs: BTreeMap::new(),
            connections: BTreeMap::new(),
            has_rolled_over: false,
        }
    }

    /// With a history that ends with `base`.
    #[must_use]
    pub fn with_base(self, base: Zxid) -> Proposals<S> {
        Proposals { base, ..self }
    }

    /// The last transaction of the history that the epoch began with; [`Zxid::NONE`] if that was not
    /// said.
    pub fn base(&self) -> Zxid {
        self.base
    }

    /// The last proposal, or the zxid before the first.
    pub fn last_proposed(&self) -> Zxid {
        self.last_proposed
    }

    /// The last commit, or the zxid before the first.
    pub fn last_committed(&self) -> Zxid {
        self.last_committed
    }

    /// How many proposals are not committed.
    pub fn outstanding_count(&self) -> usize {
        self.outstanding.len()
    }

    /// How many proposals syncs are waiting for (`getNumPendingSyncs`).
    pub fn pending_sync_count(&self) -> usize {
        self.pending_syncs.len()
    }

    /// Whether the counter has come to its end: the leader must hand over.
    pub fn has_rolled_over(&self) -> bool {
        self.has_rolled_over
    }

    /// The counter has come to its end and everything proposed is committed: now is the time.
    pub fn is_ready_to_hand_over(&self) -> bool {
        self.has_rolled_over && self.outstanding.is_empty()
    }

    /// Makes a transaction the last proposal; the caller sends PROPOSAL to all that follow.
    pub fn propose(&mut self, entry: Arc<TxnLogEntry>) -> Result<(), ProposeError> {
        let zxid = entry.zxid();
        if self.has_rolled_over || zxid.counter() == COUNTER_END {
            self.has_rolled_over = true;
            return Err(ProposeError::RolledOver);
        }
        let last = self.last_proposed;
        if zxid != last.next() || zxid.epoch() != last.epoch() {
            return Err(ProposeError::NotNext { zxid, last });
        }
        self.last_proposed = zxid;
        self.outstanding.push_back(Proposal { entry, acks: Vec::new() });
        Ok(())
    }

    /// `from` has the proposal `zxid` on its disk. Commits are appended to `actions`.
    pub fn ack(
        &mut self,
        from: AckSource,
        zxid: Zxid,
        actions: &mut Vec<ProposalAction<S>>,
    ) -> AckKind {
        let kind = self.note_ack(from, zxid);
        self.commit_what_can(actions);
        kind
    }

    /// A proposal under way.
    pub fn outstanding(&self, zxid: Zxid) -> Option<&Arc<TxnLogEntry>> {
        let first = self.last_committed.0.checked_add(1)?;
        let index = usize::try_from(zxid.0.checked_sub(first)?).ok()?;
        self.outstanding.get(index).map(|proposal| &proposal.entry)
    }

    /// Several acknowledgements of one server. How many were of things never proposed.
    pub fn ack_all(
        &mut self,
        from: AckSource,
        zxids: &[Zxid],
        actions: &mut Vec<ProposalAction<S>>,
    ) -> usize {
        let future =
            zxids.iter().filter(|zxid| self.note_ack(from, **zxid) == AckKind::Future).count();
        self.commit_what_can(actions);
        future
    }

    /// Looks again whether there is a quorum for what is outstanding: an oracle may answer
    /// otherwise than before (`revalidateOutstandingProp`).
    pub fn revalidate_outstanding(&mut self, actions: &mut Vec<ProposalAction<S>>) {
        self.commit_what_can(actions);
    }

    /// A learner asks for everything proposed so far. Answered at once, or with a later commit.
    pub fn sync(&mut self, request: S, actions: &mut Vec<ProposalAction<S>>) {
        if self.outstanding.is_empty() {
            actions.push(ProposalAction::AnswerSync(request));
        } else {
            self.pending_syncs.entry(self.last_proposed).or_default().push(request);
        }
    }

    /// Committed by a quorum, but perhaps not yet in the committed log.
    pub fn to_be_applied(&self) -> &VecDeque<Arc<TxnLogEntry>> {
        &self.to_be_applied
    }

    /// Everything up to `zxid` is applied, and in the committed log.
    pub fn applied(&mut self, zxid: Zxid) {
        while self.to_be_applied.front().is_some_and(|entry| entry.zxid() <= zxid) {
            self.to_be_applied.pop_front();
        }
    }

    /// What a learner needs whose history ends with `last_seen`, and from when on it is sent all
    /// that follows. Call it under the lock under which `propose` and `ack` are called, together
    /// with what adds the learner to those who are sent packets (ZOOKEEPER-3104). Observers learn
    /// of commits only.
    ///
    /// What the server has acknowledged beyond `last_seen` does not count any more: it will cut it
    /// off its log, and acknowledge it again. Nor does anything that still comes over an earlier
    /// connection. Otherwise a transaction could be committed of which a copy has just been removed.
    pub fn start_forwarding(
        &mut self,
        to: AckSource,
        last_seen: Zxid,
        is_participant: bool,
    ) -> Vec<Forward> {
        // Of others no acknowledgement counts, and there may be any number of them.
        if self.rule.is_voter(to.sid) {
            self.connections.insert(to.sid, to.connection);
        }
        for proposal in self.outstanding.iter_mut().filter(|p| p.entry.zxid() > last_seen) {
            proposal.acks.retain(|sid| *sid != to.sid);
        }
        let mut forwards = Vec::new();
        for entry in self.to_be_applied.iter().filter(|entry| entry.zxid() > last_seen) {
            forwards.push(Forward::Proposal(Arc::clone(entry)));
            forwards.push(Forward::Commit(entry.zxid()));
        }
        if is_participant {
            let outstanding = self.outstanding.iter().map(|proposal| &proposal.entry);
            let unseen = outstanding.filter(|entry| entry.zxid() > last_seen);
            forwards.extend(unseen.map(|entry| Forward::Proposal(Arc::clone(entry))));
        }
        forwards
    }

    fn note_ack(&mut self, from: AckSource, zxid: Zxid) -> AckKind {
        let sid = from.sid;
        let is_replaced = self.connections.get(&sid).is_some_and(|last| *last != from.connection);
        // The acknowledgement of UPTODATE has the zxid of NEWLEADER.
        if zxid.counter() == 0
            || zxid <= self.last_committed
            || is_replaced
            || !self.rule.is_voter(sid)
        {
            return AckKind::Ignored;
        }
        let first = self.last_committed.0.saturating_add(1);
        let index = zxid.0.checked_sub(first).and_then(|index| usize::try_from(index).ok());
        let Some(proposal) = index.and_then(|index| self.outstanding.get_mut(index)) else {
            return AckKind::Future;
        };
        if let Err(place) = proposal.acks.binary_search(&sid) {
            proposal.acks.insert(place, sid);
        }
        AckKind::Counted
    }

    fn commit_what_can(&mut self, actions: &mut Vec<ProposalAction<S>>) {
        while let Some(oldest) = self.outstanding.front()
            && self.rule.has_quorum(&oldest.acks)
            && let Some(Proposal { entry, .. }) = self.outstanding.pop_front()
        {
            let zxid = entry.zxid();
            self.last_committed = zxid;
            self.to_be_applied.push_back(Arc::clone(&entry));
            actions.push(ProposalAction::Commit(entry));
            for request in self.pending_syncs.remove(&zxid).unwrap_or_default() {
                actions.push(ProposalAction::AnswerSync(request));
            }
        }
    }
}

/// What the acknowledgements of one connection count for.
///
/// A learner's acknowledgement of a proposal may overtake that of NEWLEADER (ZOOKEEPER-4685). It is
/// kept until the learner has taken over the history, and counts then: before, the proposal is on
/// its disk, but perhaps not everything that stands before it.
#[derive(Debug, Default)]
pub struct LearnerAcks {
    has_acked_new_leader: bool,
    early: Vec<Zxid>,
}

/// So many early acknowledgements are kept at most; a learner that sends more is out of order.
const EARLY_ACKS_MAX: usize = 1 << 20;

impl LearnerAcks {
    /// The learner acknowledged a proposal: true if that counts now. False also when there are too
    /// many to be kept: what is forgotten here is not counted, which is always safe.
    pub fn counts(&mut self, zxid: Zxid) -> bool {
        if !self.has_acked_new_leader && self.early.len() < EARLY_ACKS_MAX {
            self.early.push(zxid);
        }
        self.has_acked_new_leader
    }

    /// It has taken over the history: these count now.
    pub fn new_leader_acked(&mut self) -> Vec<Zxid> {
        self.has_acked_new_leader = true;
        std::mem::take(&mut self.early)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::quorum::zab::testing::{entry, observers_and_voters};

    const START: i64 = 0x5_0000_0000;
    const NOTHING: [i64; 0] = [];

    fn proposals(count: i64) -> Proposals<u32> {
        let mut core = Proposals::new(Zxid(START), vec![observers_and_voters(&[4], &[1, 2, 3])]);
        for counter in 1..=count {
            core.propose(entry(START + counter)).unwrap();
        }
        core
    }

    /// Commits as positive counters, answered syncs as negative numbers.
    fn texts(actions: &[ProposalAction<u32>]) -> Vec<i64> {
        let number = |action: &ProposalAction<u32>| match action {
            ProposalAction::Commit(entry) => entry.zxid().counter(),
            ProposalAction::AnswerSync(request) => -i64::from(*request),
        };
        actions.iter().map(number).collect()
    }

    fn from(sid: i64) -> AckSource {
        AckSource { sid: ServerId(sid), connection: 7 }
    }

    fn ack(core: &mut Proposals<u32>, sid: i64, counter: i64) -> Vec<i64> {
        let mut actions = Vec::new();
        core.ack(from(sid), Zxid(START + counter), &mut actions);
        texts(&actions)
    }

    #[test]
    fn a_proposal_commits_with_a_quorum_and_behind_its_predecessor() {
        let mut core = proposals(3);
        assert_eq!(ack(&mut core, 1, 1), NOTHING);
        assert_eq!(ack(&mut core, 1, 1), NOTHING, "twice the same server");
        assert_eq!(ack(&mut core, 4, 1), NOTHING, "an observer");
        assert_eq!(ack(&mut core, 2, 2), NOTHING);
        assert_eq!(ack(&mut core, 3, 2), NOTHING, "a quorum, but the first is outstanding");
        assert_eq!(ack(&mut core, 3, 1), [1, 2]);
        assert_eq!(core.last_committed(), Zxid(START + 2));
        assert_eq!(core.outstanding_count(), 1);
    }

    #[test]
    fn strange_acknowledgements_change_nothing() {
        let mut core = proposals(2);
        let mut actions = Vec::new();
        let mut check = |zxid: i64, kind| {
            assert_eq!(core.ack(from(1), Zxid(zxid), &mut actions), kind, "{zxid:x}");
        };
        check(START, AckKind::Ignored);
        check(START + 1, AckKind::Counted);
        check(START + 3, AckKind::Future);
        check(i64::MAX, AckKind::Future);
        check(i64::MIN + 1, AckKind::Ignored);
        check(-1, AckKind::Ignored);
        check(0x4_0000_0001, AckKind::Ignored);
        check(0x6_0000_0001, AckKind::Future);
        check(0x6_0000_0000, AckKind::Ignored);
        assert_eq!(ack(&mut core, 2, 1), [1]);
        assert_eq!(core.ack(from(3), Zxid(START + 1), &mut Vec::new()), AckKind::Ignored);
    }

    #[test]
    fn batches_count_as_single_ones() {
        let mut core = proposals(3);
        let zxids: Vec<Zxid> = (1..=4).map(|counter| Zxid(START + counter)).collect();
        let mut actions = Vec::new();
        assert_eq!(core.ack_all(from(1), &zxids, &mut actions), 1);
        assert_eq!(core.ack_all(from(2), &zxids[..2], &mut actions), 0);
        assert_eq!(texts(&actions), [1, 2]);
    }

    #[test]
    fn no_zxid_is_proposed_twice_or_left_out() {
        let mut core = proposals(2);
        let check = |core: &mut Proposals<u32>, zxid: i64| {
            let expected = ProposeError::NotNext { zxid: Zxid(zxid), last: Zxid(START + 2) };
            assert_eq!(core.propose(entry(zxid)), Err(expected));
        };
        check(&mut core, START + 2);
        check(&mut core, START + 4);
        check(&mut core, 0x6_0000_0001);
        assert_eq!(core.propose(entry(START + 3)), Ok(()));
    }

    #[test]
    fn syncs_are_answered_behind_what_was_proposed_before() {
        let mut core = proposals(0);
        let mut actions = Vec::new();
        core.sync(1, &mut actions);
        assert_eq!(texts(&actions), [-1]);
        core.propose(entry(START + 1)).unwrap();
        core.propose(entry(START + 2)).unwrap();
        let mut later = Vec::new();
        core.sync(2, &mut later);
        core.propose(entry(START + 3)).unwrap();
        core.sync(3, &mut later);
        core.sync(4, &mut later);
        assert_eq!((later.len(), core.pending_sync_count()), (0, 2));
        for counter in 1..=3 {
            ack(&mut core, 1, counter);
        }
        assert_eq!(ack(&mut core, 2, 1), [1]);
        assert_eq!(ack(&mut core, 2, 2), [2, -2]);
        assert_eq!(ack(&mut core, 2, 3), [3, -3, -4]);
    }

    #[test]
    fn the_counters_end_is_handed_over_without_losing_what_is_outstanding() {
        let start = Zxid(0x5_ffff_fffd);
        let mut core: Proposals<u32> =
            Proposals::new(start, vec![observers_and_voters(&[], &[1, 2, 3])]);
        core.propose(entry(0x5_ffff_fffe)).unwrap();
        assert_eq!(core.propose(entry(0x5_ffff_ffff)), Err(ProposeError::RolledOver));
        assert_eq!(core.propose(entry(0x6_0000_0000)), Err(ProposeError::RolledOver));
        assert!(core.has_rolled_over() && !core.is_ready_to_hand_over());
        let mut actions = Vec::new();
        core.ack(from(1), Zxid(0x5_ffff_fffe), &mut actions);
        core.ack(from(2), Zxid(0x5_ffff_fffe), &mut actions);
        assert_eq!(actions.len(), 1);
        assert!(core.is_ready_to_hand_over());
    }

    #[test]
    fn a_learner_is_forwarded_each_transaction_once() {
        let mut core = proposals(4);
        for counter in 1..=2 {
            ack(&mut core, 1, counter);
            ack(&mut core, 2, counter);
        }
        let check = |core: &mut Proposals<u32>, last_seen: i64, participant, expected: &[i64]| {
            let numbers: Vec<i64> = core
                .start_forwarding(from(4), Zxid(START + last_seen), participant)
                .iter()
                .map(|forward| match forward {
                    Forward::Proposal(entry) => entry.zxid().counter(),
                    Forward::Commit(zxid) => -zxid.counter(),
                })
                .collect();
            assert_eq!(numbers, expected);
        };
        check(&mut core, 0, true, &[1, -1, 2, -2, 3, 4]);
        check(&mut core, 1, true, &[2, -2, 3, 4]);
        check(&mut core, 1, false, &[2, -2]);
        check(&mut core, 3, true, &[4]);
        core.applied(Zxid(START + 1));
        check(&mut core, 1, true, &[2, -2, 3, 4]);
        core.applied(Zxid(START + 2));
        check(&mut core, 2, true, &[3, 4]);
        check(&mut core, 2, false, &[]);
    }

    #[test]
    fn what_a_learner_cuts_off_must_be_acknowledged_again() {
        let mut core = proposals(3);
        for counter in 1..=3 {
            assert_eq!(ack(&mut core, 1, counter), NOTHING);
        }
        let anew = AckSource { sid: ServerId(1), connection: 8 };
        assert_eq!(core.start_forwarding(anew, Zxid(START + 1), true).len(), 2);
        assert_eq!(ack(&mut core, 2, 1), [1], "this one it kept");
        assert_eq!(ack(&mut core, 2, 2), NOTHING);
        assert_eq!(ack(&mut core, 1, 2), NOTHING, "still on its way over the earlier connection");
        let mut actions = Vec::new();
        assert_eq!(core.ack(anew, Zxid(START + 2), &mut actions), AckKind::Counted);
        assert_eq!(texts(&actions), [2]);
    }

    #[test]
    fn early_acknowledgements_count_once_the_history_is_taken_over() {
        let mut acks = LearnerAcks::default();
        assert!(!acks.counts(Zxid(START + 1)));
        assert!(!acks.counts(Zxid(START + 2)));
        assert_eq!(acks.new_leader_acked(), [Zxid(START + 1), Zxid(START + 2)]);
        assert!(acks.counts(Zxid(START + 3)));
        assert_eq!(acks.new_leader_acked(), []);
    }

    proptest! {
        /// Against a list: whatever the order of acknowledgements, exactly the longest prefix of
        /// which each has two voters is committed, in order.
        #[test]
        fn commits_are_the_prefix_with_quorums(
            events in prop::collection::vec((0i64..5, 0i64..12), 0..200)
        ) {
            let mut core = proposals(0);
            let mut model: Vec<BTreeSet<i64>> = Vec::new();
            let mut committed = Vec::new();
            for (sid, counter) in events {
                if sid == 0 {
                    model.push(BTreeSet::new());
                    core.propose(entry(START + model.len() as i64)).unwrap();
                    continue;
                }
                if sid <= 3 && let Some(acks) = model.get_mut((counter - 1).max(0) as usize) && counter > 0 {
                    acks.insert(sid);
                }
                let mut actions = Vec::new();
                core.ack(from(sid), Zxid(START + counter), &mut actions);
                committed.extend(texts(&actions));
            }
            let prefix = model.iter().take_while(|acks| acks.len() >= 2).count() as i64;
            prop_assert_eq!(committed, (1..=prefix).collect::<Vec<_>>());
        }
    }
}
