//! What becomes of a notification before the election sees it, and what servers are told that are
//! not looking, or not in our round (Java: the rules in `Messenger.WorkerReceiver`).

use super::election::{ElectionView, Notification};
use super::vote::{Candidate, ServerState, Vote};
use crate::proto::ServerId;
use crate::quorum::verifier::QuorumVerifier;

/// What this server is and thinks when a notification comes.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// What it does.
    pub state: ServerState,
    /// Its vote outside of elections.
    pub current_vote: Vote,
    /// The number of its round.
    pub clock: i64,
    /// What it proposes in that round.
    pub proposal: Candidate,
}

/// What to do with a notification. What is sent must be on its way before anything else of ours is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reaction {
    /// A voter is looking while we are not: the leader wants to know.
    pub report_looking: bool,
    /// With it: it looks in a later round than the one in which our leader was elected. It comes
    /// back to this leader only if a quorum follows it.
    pub has_left: bool,
    /// Give it to the running election.
    pub deliver: Option<Notification>,
    /// Send this to where it came from.
    pub answer: Option<Vote>,
}

/// Whether a configuration that came with a notification is to be adopted: only while looking, and
/// only a newer one.
#[must_use]
pub fn adopts_config(state: ServerState, own: &QuorumVerifier, received: &QuorumVerifier) -> bool {
    state == ServerState::Looking && received.version() > own.version()
}

/// What to do with a notification of `sid`. `state` is the sender's, `None` if it is of a kind
/// that does not exist; `vote` carries the rest.
#[must_use]
pub fn react(
    view: &ElectionView,
    own: &Standing,
    sid: ServerId,
    state: Option<ServerState>,
    vote: Vote,
) -> Reaction {
    if !view.is_voter(sid) {
        // Observers only want to know where to go.
        let answer = Vote { election_epoch: own.clock, state: own.state, ..own.current_vote };
        return Reaction { answer: Some(answer), ..Reaction::default() };
    }
    let Some(state) = state else { return Reaction::default() };
    let is_sender_looking = state == ServerState::Looking;
    if own.state == ServerState::Looking {
        let is_behind = is_sender_looking && vote.election_epoch < own.clock;
        let Candidate { id, zxid, peer_epoch } = own.proposal;
        return Reaction {
            deliver: Some(Notification { sid, vote: Vote { state, ..vote } }),
            answer: is_behind.then(|| Vote::looking(id, zxid, own.clock, peer_epoch)),
            ..Reaction::default()
        };
    }
    Reaction {
        report_looking: is_sender_looking,
        has_left: is_sender_looking && vote.election_epoch > own.current_vote.election_epoch,
        deliver: None,
        answer: is_sender_looking.then_some(Vote { state: own.state, ..own.current_vote }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::proto::Zxid;
    use crate::quorum::verifier::VerifierOptions;

    fn config(version: i64) -> QuorumVerifier {
        let text = "server.1=h:1:2\nserver.2=h:1:2\nserver.3=h:1:2\nserver.4=h:1:2:observer";
        let options = VerifierOptions::default();
        QuorumVerifier::from_config_text(text, &options).unwrap().with_version(version)
    }

    fn standing(state: ServerState) -> Standing {
        Standing {
            state,
            current_vote: Vote::looking(ServerId(1), Zxid(5), 3, 2),
            clock: 7,
            proposal: Candidate { id: ServerId(2), zxid: Zxid(6), peer_epoch: 1 },
        }
    }

    fn check(own: ServerState, sid: i64, round: i64, state: Option<ServerState>, expected: &str) {
        let view = ElectionView { verifier: Arc::new(config(0)), last_seen: None };
        let vote = Vote::looking(ServerId(3), Zxid(9), round, 1);
        let reaction = react(&view, &standing(own), ServerId(sid), state, vote);
        let mut actual = Vec::new();
        if reaction.report_looking {
            actual.push(if reaction.has_left { "has left" } else { "report" }.to_owned());
        }
        if let Some(notification) = reaction.deliver {
            actual.push(format!("deliver {} {}", notification.vote, notification.vote.state));
        }
        if let Some(vote) = reaction.answer {
            actual.push(format!("answer {vote} round {} {}", vote.election_epoch, vote.state));
        }
        assert_eq!(actual.join(", "), expected);
    }

    #[test]
    fn who_is_not_looking_tells_the_looking_its_leader() {
        use ServerState::{Following, Leading, Looking, Observing};
        check(Following, 2, 3, Some(Looking), "report, answer (1, 5, 2) round 3 FOLLOWING");
        check(Leading, 2, 3, Some(Looking), "report, answer (1, 5, 2) round 3 LEADING");
        check(Leading, 2, 2, Some(Looking), "report, answer (1, 5, 2) round 3 LEADING");
        check(Leading, 2, 4, Some(Looking), "has left, answer (1, 5, 2) round 3 LEADING");
        check(Leading, 2, 4, Some(Following), "");
        check(Observing, 2, 9, Some(Following), "");
        check(Leading, 2, 9, Some(Leading), "");
        check(Leading, 2, 9, None, "");
    }

    #[test]
    fn who_is_looking_answers_only_who_is_behind() {
        use ServerState::{Following, Looking};
        check(Looking, 2, 7, Some(Looking), "deliver (3, 9, 1) LOOKING");
        check(Looking, 2, 8, Some(Looking), "deliver (3, 9, 1) LOOKING");
        check(
            Looking,
            2,
            6,
            Some(Looking),
            "deliver (3, 9, 1) LOOKING, answer (2, 6, 1) round 7 LOOKING",
        );
        check(Looking, 2, 6, Some(Following), "deliver (3, 9, 1) FOLLOWING");
        check(Looking, 2, 6, None, "");
    }

    #[test]
    fn who_has_no_vote_is_answered_and_not_counted() {
        use ServerState::{Following, Looking, Observing};
        check(Following, 4, 1, Some(Looking), "answer (1, 5, 2) round 7 FOLLOWING");
        check(Looking, 4, 1, Some(Looking), "answer (1, 5, 2) round 7 LOOKING");
        check(Looking, 9, 1, None, "answer (1, 5, 2) round 7 LOOKING");
        check(Looking, -3, 1, Some(Observing), "answer (1, 5, 2) round 7 LOOKING");
    }

    #[test]
    fn a_newer_configuration_is_adopted_only_while_looking() {
        use ServerState::{Following, Looking};
        assert!(adopts_config(Looking, &config(1), &config(2)));
        assert!(!adopts_config(Looking, &config(2), &config(2)));
        assert!(!adopts_config(Following, &config(1), &config(2)));
    }
}
