//! The rounds of an election (Java: `FastLeaderElection.lookForLeader` and what it calls).
//!
//! [`ElectionCore`] is told what happens and says what to do; it knows no clock, thread or socket.
//! It lives as long as the server, because the number of the round does. What servers that are not
//! looking answer is in [`election_replies`](super::election_replies).
//!
//! Different from Java, and not to be seen by others:
//! - the own vote counts at once instead of coming back through the queues;
//! - who is chosen by all voters, but those that refuse connections, leads at once: nobody is left
//!   to name a better one. It tells the others, who need not wait any longer then, for a quorum
//!   agrees and the leader leads;
//! - who votes for a worse leader than ours in our round is told our vote at once. It was not looking
//!   yet when we sent it, so it has never seen it. Java waits until its timer runs out, which every
//!   notification starts anew: after the loss of a leader up to twice its first interval;
//! - while it waits for a better vote, a notification of an old round does not restart the wait;
//!   and servers whose notifications came too late to count are answered when it decides.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::synced_learner_tracker::SyncedLearnerTracker;
use super::vote::{Candidate, ServerState, Vote, supersedes};
use crate::common::config::LearnerType;
use crate::proto::{ServerId, Zxid};
use crate::quorum::verifier::QuorumVerifier;

/// How long a quorum has to stay without a better vote (Java: `finalizeWait`).
pub const FINALIZE_WAIT_MS: u64 = 200;

/// The configurations an election counts by.
#[derive(Debug, Clone)]
pub struct ElectionView {
    /// The last committed one.
    pub verifier: Arc<QuorumVerifier>,
    /// The last proposed one.
    pub last_seen: Option<Arc<QuorumVerifier>>,
}

impl ElectionView {
    /// Whether a server votes in either of the configurations (Java: `validVoter`).
    #[must_use]
    pub fn is_voter(&self, sid: ServerId) -> bool {
        let votes = |verifier: &Arc<QuorumVerifier>| verifier.voting_members().contains_key(&sid);
        votes(&self.verifier) || self.last_seen.as_ref().is_some_and(votes)
    }

    /// The voters of both configurations (Java: `getCurrentAndNextConfigVoters`).
    #[must_use]
    pub fn voters(&self) -> BTreeSet<ServerId> {
        let verifiers = std::iter::once(&self.verifier).chain(&self.last_seen);
        verifiers.flat_map(|verifier| verifier.voting_members().keys().copied()).collect()
    }

    /// Those whose quorums count: the next one only if it is newer.
    fn counting(&self) -> impl Iterator<Item = &Arc<QuorumVerifier>> {
        let newer = |next: &&Arc<QuorumVerifier>| next.version() > self.verifier.version();
        std::iter::once(&self.verifier).chain(self.last_seen.as_ref().filter(newer))
    }
}

/// What a server brings into an election.
#[derive(Debug, Clone, Copy)]
pub struct OwnHistory {
    /// Whether it votes.
    pub learner_type: LearnerType,
    /// The last zxid in its log; -1 if it has no data and so must not choose.
    pub last_logged_zxid: Zxid,
    /// The content of `currentEpoch`.
    pub current_epoch: i64,
}

/// Another server's vote, and what it did when it sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Notification {
    /// Who sent it.
    pub sid: ServerId,
    /// What it voted, with its round and its state.
    pub vote: Vote,
}

/// What happens to an election.
#[derive(Debug, Clone, Copy)]
pub enum ElectionEvent {
    /// The server begins to look for a leader.
    Start(OwnHistory),
    /// A notification from a voter.
    Notification(Notification),
    /// The server cannot be connected to, because it does not run: nothing is to be expected of it.
    Unreachable(ServerId),
    /// The timer ran out.
    Timeout {
        /// Whether to some server everything was sent (Java: `haveDelivered`).
        has_delivered: bool,
    },
}

/// What to do, in the order given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ElectionAction {
    /// Send this vote to every voter but oneself.
    Broadcast(Vote),
    /// Send this vote to a voter that may not have seen it.
    Answer {
        /// The voter.
        sid: ServerId,
        /// The vote.
        vote: Vote,
    },
    /// Nothing could be sent: connect to all servers for which there is something to send.
    Reconnect,
    /// Wait that long for the next notification, instead of what was said before.
    SetTimer {
        /// From now.
        after_ms: u64,
    },
    /// The election is over. The votes to send to those in `answer` have the new state.
    Decided {
        /// The leader.
        vote: Vote,
        /// What this server does now.
        state: ServerState,
        /// Who may not know the outcome: tell them.
        answer: BTreeSet<ServerId>,
    },
}

/// For traces.
impl fmt::Display for ElectionAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broadcast(vote) => write!(f, "broadcast {vote} round {}", vote.election_epoch),
            Self::Answer { sid, vote } => {
                write!(f, "answer {sid} {vote} round {}", vote.election_epoch)
            }
            Self::Reconnect => write!(f, "reconnect"),
            Self::SetTimer { after_ms } => write!(f, "timer {after_ms}"),
            Self::Decided { vote, state, answer } => {
                write!(f, "decided {vote} round {}: {state}", vote.election_epoch)?;
                answer.iter().try_for_each(|sid| write!(f, ", answer {sid}"))
            }
        }
    }
}

/// Those of `votes` that agree with `vote` (Java: `getVoteTracker`).
fn vote_tracker(
    view: &ElectionView,
    votes: &BTreeMap<ServerId, Vote>,
    vote: &Vote,
) -> SyncedLearnerTracker {
    let mut tracker = SyncedLearnerTracker::new(view.counting().map(Arc::clone));
    for (sid, _) in votes.iter().filter(|(_, other)| vote.agrees_with(other)) {
        tracker.add_ack(*sid);
    }
    tracker
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    /// Not in an election.
    Idle,
    /// No quorum yet.
    Looking,
    /// There is a quorum; the timer is the wait for a better vote.
    Finalizing {
        /// Who sent something that no longer counted.
        late: BTreeSet<ServerId>,
    },
}

/// The state of a server's elections.
#[derive(Debug, Clone)]
pub struct ElectionCore {
    my_id: ServerId,
    min_interval_ms: u64,
    max_interval_ms: u64,
    history: OwnHistory,
    /// The number of the round (Java: `logicalclock`); never goes back, except to join an ensemble
    /// of an older round.
    clock: i64,
    proposal: Candidate,
    phase: Phase,
    interval_ms: u64,
    /// The votes of this round.
    received: BTreeMap<ServerId, Vote>,
    /// The votes of servers that are not looking, of any round.
    out_of_election: BTreeMap<ServerId, Vote>,
    /// Who agreed with the proposal when it was last asked.
    tracker: Option<SyncedLearnerTracker>,
    /// Who does not run, as far as is known.
    unreachable: BTreeSet<ServerId>,
    /// Without our shortcuts, for tests of ensembles that have Java's servers in them.
    #[cfg(test)]
    is_java: bool,
}

const NO_CANDIDATE: Candidate =
    Candidate { id: ServerId(-1), zxid: Zxid::NONE, peer_epoch: i64::MIN };

impl ElectionCore {
    /// A server that has not looked for a leader yet. Waits for notifications begin with `min` and
    /// double up to `max`; an interval of 0 or less counts as 1 ms.
    #[must_use]
    pub fn new(my_id: ServerId, min_interval_ms: i32, max_interval_ms: i32) -> Self {
        let positive = |ms: i32| u64::try_from(ms).unwrap_or_default().max(1);
        Self {
            my_id,
            min_interval_ms: positive(min_interval_ms),
            max_interval_ms: positive(max_interval_ms),
            history: OwnHistory {
                learner_type: LearnerType::Participant,
                last_logged_zxid: Zxid::NONE,
                current_epoch: i64::MIN,
            },
            clock: 0,
            proposal: NO_CANDIDATE,
            phase: Phase::Idle,
            interval_ms: 1,
            received: BTreeMap::new(),
            out_of_election: BTreeMap::new(),
            tracker: None,
            unreachable: BTreeSet::new(),
            #[cfg(test)]
            is_java: false,
        }
    }

    /// The number of the round (Java: `getLogicalClock`).
    #[must_use]
    pub const fn clock(&self) -> i64 {
        self.clock
    }

    /// What this server proposes (Java: `getVote`).
    #[must_use]
    pub const fn proposal(&self) -> Candidate {
        self.proposal
    }

    /// Takes one event; the actions are to be carried out in order. After [`ElectionAction::Decided`]
    /// only [`ElectionEvent::Start`] counts.
    pub fn on_event(&mut self, view: &ElectionView, event: ElectionEvent) -> Vec<ElectionAction> {
        let mut actions = Vec::new();
        match event {
            ElectionEvent::Start(history) => self.start(view, history, &mut actions),
            _ if self.phase == Phase::Idle => {}
            ElectionEvent::Timeout { has_delivered } => {
                self.timeout(view, has_delivered, &mut actions);
            }
            ElectionEvent::Unreachable(sid) => {
                self.unreachable.insert(sid);
                if let Some(tracker) = &self.tracker
                    && self.is_chosen_by_all(tracker)
                {
                    self.decide_proposal(view, &mut actions);
                }
            }
            ElectionEvent::Notification(Notification { sid, vote }) => {
                self.unreachable.remove(&sid);
                self.notification(view, sid, &vote, &mut actions);
            }
        }
        actions
    }

    fn start(
        &mut self,
        view: &ElectionView,
        history: OwnHistory,
        actions: &mut Vec<ElectionAction>,
    ) {
        self.history = history;
        self.clock = self.clock.wrapping_add(1);
        self.phase = Phase::Looking;
        self.interval_ms = self.min_interval_ms;
        self.received.clear();
        self.out_of_election.clear();
        self.tracker = None;
        self.unreachable.clear();
        self.proposal = self.own_candidate(view);
        self.broadcast(view, actions);
        self.count_votes(view, actions);
        self.set_looking_timer(actions);
    }

    fn timeout(
        &mut self,
        view: &ElectionView,
        has_delivered: bool,
        actions: &mut Vec<ElectionAction>,
    ) {
        if let Phase::Finalizing { .. } = self.phase {
            return self.decide_proposal(view, actions);
        }
        self.interval_ms = self.interval_ms.saturating_mul(2).min(self.max_interval_ms);
        // With an oracle the quorum may have come to be since, without any message.
        let has_quorum = self.tracker.as_ref().is_some_and(SyncedLearnerTracker::has_all_quorums);
        let has_waited = self.interval_ms != self.min_interval_ms;
        if view.verifier.revalidates_voteset(has_quorum, has_waited) {
            return self.decide_proposal(view, actions);
        }
        if has_delivered {
            self.broadcast(view, actions);
            self.count_votes(view, actions);
        } else {
            actions.push(ElectionAction::Reconnect);
        }
        self.set_looking_timer(actions);
    }

    fn notification(
        &mut self,
        view: &ElectionView,
        sid: ServerId,
        vote: &Vote,
        actions: &mut Vec<ElectionAction>,
    ) {
        if view.is_voter(sid) && view.is_voter(vote.id) {
            if let Phase::Finalizing { .. } = self.phase {
                let is_old = vote.state == ServerState::Looking && vote.election_epoch < self.clock;
                if is_old || !supersedes(&view.verifier, &vote.candidate(), &self.proposal) {
                    return self.while_finalizing(view, sid, vote, actions);
                }
                self.phase = Phase::Looking;
            }
            match vote.state {
                ServerState::Looking => self.looking(view, sid, vote, actions),
                ServerState::Following | ServerState::Leading => {
                    self.not_looking(view, sid, vote, actions);
                }
                ServerState::Observing => {}
            }
        }
        self.set_looking_timer(actions);
    }

    /// A vote that is not better than the one that a quorum has.
    fn while_finalizing(
        &mut self,
        view: &ElectionView,
        sid: ServerId,
        vote: &Vote,
        actions: &mut Vec<ElectionAction>,
    ) {
        let is_looking = vote.state == ServerState::Looking;
        match vote.election_epoch.cmp(&self.clock) {
            Ordering::Equal if is_looking => {
                self.answer_worse(view, sid, vote, actions);
                self.received.insert(sid, *vote);
                let tracker = vote_tracker(view, &self.received, &self.own_vote());
                if self.is_chosen_by_all(&tracker) {
                    return self.decide_proposal(view, actions);
                }
                self.tracker = Some(tracker);
            }
            Ordering::Equal
                if self.takes_shortcuts()
                    && vote.state == ServerState::Leading
                    && sid == vote.id
                    && vote.candidate() == self.proposal =>
            {
                return self.decide_proposal(view, actions);
            }
            Ordering::Less if is_looking => return,
            _ if !is_looking => {}
            Ordering::Less | Ordering::Equal => {}
            Ordering::Greater => {
                if let Phase::Finalizing { late } = &mut self.phase {
                    late.insert(sid);
                }
            }
        }
        actions.push(ElectionAction::SetTimer { after_ms: FINALIZE_WAIT_MS });
    }

    /// A vote of a server that is looking as well.
    fn looking(
        &mut self,
        view: &ElectionView,
        sid: ServerId,
        vote: &Vote,
        actions: &mut Vec<ElectionAction>,
    ) {
        // Who has no data although it should must neither choose nor be chosen.
        if self.own_zxid() == Zxid::NONE || vote.zxid == Zxid::NONE {
            return;
        }
        let new = vote.candidate();
        if vote.election_epoch > self.clock {
            self.clock = vote.election_epoch;
            self.received.clear();
            let own = self.own_candidate(view);
            self.proposal = if supersedes(&view.verifier, &new, &own) { new } else { own };
            self.broadcast(view, actions);
        } else if vote.election_epoch < self.clock {
            // It was told our round when its notification came in.
            return;
        } else if supersedes(&view.verifier, &new, &self.proposal) {
            self.proposal = new;
            self.broadcast(view, actions);
        } else {
            self.answer_worse(view, sid, vote, actions);
        }
        let vote = Vote::looking(vote.id, vote.zxid, vote.election_epoch, vote.peer_epoch);
        self.received.insert(sid, vote);
        self.count_votes(view, actions);
    }

    /// Tells a server of our round whose vote is worse ours: with it, it would have changed its own.
    fn answer_worse(
        &self,
        view: &ElectionView,
        sid: ServerId,
        vote: &Vote,
        actions: &mut Vec<ElectionAction>,
    ) {
        let is_worse = supersedes(&view.verifier, &self.proposal, &vote.candidate());
        if is_worse && view.is_voter(self.my_id) && self.takes_shortcuts() {
            actions.push(ElectionAction::Answer { sid, vote: self.own_vote() });
        }
    }

    /// A vote of a server that follows or leads: perhaps there is an ensemble to join (Java:
    /// `receivedFollowingNotification`, `receivedLeadingNotification`).
    fn not_looking(
        &mut self,
        view: &ElectionView,
        sid: ServerId,
        vote: &Vote,
        actions: &mut Vec<ElectionAction>,
    ) {
        let outcome = Vote::looking(vote.id, vote.zxid, vote.election_epoch, vote.peer_epoch);
        if vote.election_epoch == self.clock {
            // Compat: kept without its version, so that two such votes need not agree in the epoch.
            self.received.insert(sid, Vote { version: 0, ..*vote });
            if self.is_established(view, &self.received, vote) {
                return self.decide(view, outcome, actions);
            }
        }
        // These are of any round: who comes late cannot know the one in which the ensemble was made
        // (ZOOKEEPER-1732).
        self.out_of_election.insert(sid, *vote);
        if self.is_established(view, &self.out_of_election, vote) {
            self.clock = vote.election_epoch;
            return self.decide(view, outcome, actions);
        }
        // Of two servers the one that goes on alone has the oracle's word; the other one, which is
        // refused it, may follow (ZOOKEEPER-3922).
        if vote.state == ServerState::Leading
            && view.verifier.needs_oracle()
            && !view.verifier.ask_oracle()
        {
            self.decide(view, outcome, actions);
        }
    }

    /// Whether a quorum of `votes` agrees with `vote`, and its leader says itself that it leads
    /// (Java: `checkLeader`): else servers would go on electing one that has crashed.
    fn is_established(
        &self,
        view: &ElectionView,
        votes: &BTreeMap<ServerId, Vote>,
        vote: &Vote,
    ) -> bool {
        let does_lead = if vote.id == self.my_id {
            self.clock == vote.election_epoch
        } else {
            votes.get(&vote.id).is_some_and(|leader| leader.state == ServerState::Leading)
        };
        does_lead && vote_tracker(view, votes, vote).has_all_quorums()
    }

    fn own_zxid(&self) -> Zxid {
        match self.history.learner_type {
            LearnerType::Participant => self.history.last_logged_zxid,
            LearnerType::Observer => Zxid(i64::MIN),
        }
    }

    fn own_candidate(&self, view: &ElectionView) -> Candidate {
        let is_voter = view.verifier.voting_members().contains_key(&self.my_id);
        let peer_epoch = match self.history.learner_type {
            LearnerType::Participant => self.history.current_epoch,
            LearnerType::Observer => i64::MIN,
        };
        let id = if is_voter { self.my_id } else { ServerId::NONE };
        Candidate { id, zxid: self.own_zxid(), peer_epoch }
    }

    fn own_vote(&self) -> Vote {
        let Candidate { id, zxid, peer_epoch } = self.proposal;
        Vote::looking(id, zxid, self.clock, peer_epoch)
    }

    fn broadcast(&mut self, view: &ElectionView, actions: &mut Vec<ElectionAction>) {
        let vote = self.own_vote();
        actions.push(ElectionAction::Broadcast(vote));
        if view.is_voter(self.my_id) && view.is_voter(vote.id) && self.own_zxid() != Zxid::NONE {
            self.received.insert(self.my_id, vote);
        }
    }

    /// Waits for better votes once a quorum agrees with the proposal.
    fn count_votes(&mut self, view: &ElectionView, actions: &mut Vec<ElectionAction>) {
        if self.received.is_empty() {
            // An oracle would take nobody for a quorum.
            return;
        }
        let tracker = vote_tracker(view, &self.received, &self.own_vote());
        let has_quorum = tracker.has_all_quorums();
        let is_chosen_by_all = has_quorum && self.is_chosen_by_all(&tracker);
        self.tracker = Some(tracker);
        if is_chosen_by_all {
            self.decide_proposal(view, actions);
        } else if has_quorum {
            self.phase = Phase::Finalizing { late: BTreeSet::new() };
            actions.push(ElectionAction::SetTimer { after_ms: FINALIZE_WAIT_MS });
        }
    }

    fn set_looking_timer(&self, actions: &mut Vec<ElectionAction>) {
        if self.phase == Phase::Looking {
            actions.push(ElectionAction::SetTimer { after_ms: self.interval_ms });
        }
    }

    /// Whether this server is the choice of a quorum and of everybody who can say so.
    fn is_chosen_by_all(&self, tracker: &SyncedLearnerTracker) -> bool {
        self.takes_shortcuts()
            && self.proposal.id == self.my_id
            && tracker.has_all_voters_but(&self.unreachable)
            && tracker.has_all_quorums()
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "tests ask it")]
    const fn takes_shortcuts(&self) -> bool {
        true
    }

    #[cfg(test)]
    const fn takes_shortcuts(&self) -> bool {
        !self.is_java
    }

    fn decide_proposal(&mut self, view: &ElectionView, actions: &mut Vec<ElectionAction>) {
        self.decide(view, self.own_vote(), actions);
    }

    fn decide(&mut self, view: &ElectionView, vote: Vote, actions: &mut Vec<ElectionAction>) {
        let state = match self.history.learner_type {
            _ if vote.id == self.my_id => ServerState::Leading,
            LearnerType::Participant => ServerState::Following,
            LearnerType::Observer => ServerState::Observing,
        };
        let mut answer = match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Finalizing { late } => late,
            Phase::Looking | Phase::Idle => BTreeSet::new(),
        };
        if state == ServerState::Leading {
            answer.extend(view.voters());
            answer.remove(&self.my_id);
        }
        actions.push(ElectionAction::Decided { vote, state, answer });
    }
}

#[cfg(test)]
mod tests;
