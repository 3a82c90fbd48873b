//! What a peer is doing, for the roles, the election and the operator (Java: the fields `state`,
//! `zabState`, `syncMode`, `currentVote`, `leaderAddress`, `leaderId`, `start_fle`, `end_fle` and
//! `unavailableStartTime` of `QuorumPeer`).

use std::fmt;

use crate::common::sync::{Mutex, Rank};
use crate::common::time;
use crate::metrics::ServerMetrics;
use crate::proto::ServerId;
use crate::quorum::zab::{ServerState, Vote};

/// The phase of the protocol that a peer is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ZabState {
    /// No leader is known.
    #[default]
    Election,
    /// Leader and learners agree on an epoch.
    Discovery,
    /// Learners are brought to the leader's history.
    Synchronization,
    /// Transactions are proposed and committed.
    Broadcast,
}

/// How a learner is synchronised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SyncMode {
    /// Not just now.
    #[default]
    None,
    /// By the transactions it lacks.
    Diff,
    /// By a snapshot.
    Snap,
    /// By taking back what the leader does not have.
    Trunc,
}

/// Names as `mntr` shows them.
impl fmt::Display for ZabState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ZabState::Election => "election",
            ZabState::Discovery => "discovery",
            ZabState::Synchronization => "synchronization",
            ZabState::Broadcast => "broadcast",
        })
    }
}

/// Names as `mntr` shows them.
impl fmt::Display for SyncMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SyncMode::None => "none",
            SyncMode::Diff => "diff",
            SyncMode::Snap => "snap",
            SyncMode::Trunc => "trunc",
        })
    }
}

/// Changed by the thread of the peer, read by any.
pub struct PeerState(Mutex<Fields>);

struct Fields {
    server: ServerState,
    zab: ZabState,
    sync_mode: SyncMode,
    vote: Vote,
    leader: Option<(ServerId, String)>,
    /// Since when there is no leader.
    unavailable_since_ms: Option<i64>,
    election_since_ms: Option<i64>,
}

impl PeerState {
    /// Looking, with this vote.
    pub fn new(vote: Vote) -> PeerState {
        let fields = Fields {
            server: ServerState::Looking,
            zab: ZabState::Election,
            sync_mode: SyncMode::None,
            vote,
            leader: None,
            unavailable_since_ms: Some(time::elapsed_ms()),
            election_since_ms: None,
        };
        PeerState(Mutex::new(Rank::Leaf, fields))
    }

    /// What the server does.
    pub fn server_state(&self) -> ServerState {
        self.0.lock().server
    }

    /// A new role, or the way back to none.
    pub fn set_server_state(&self, state: ServerState) {
        let text = {
            let mut fields = self.0.lock();
            fields.server = state;
            if state == ServerState::Looking {
                fields.leader = None;
                fields.zab = ZabState::Election;
                fields.sync_mode = SyncMode::None;
                fields.unavailable_since_ms.get_or_insert_with(time::elapsed_ms);
            }
            detailed(&fields)
        };
        log::info!("Peer state changed: {text}");
    }

    /// The phase of the protocol.
    pub fn zab_state(&self) -> ZabState {
        self.0.lock().zab
    }

    /// A new phase. `Broadcast` ends the time in which the ensemble could not be used from here.
    pub fn set_zab_state(&self, state: ZabState, metrics: &ServerMetrics) {
        let text = {
            let mut fields = self.0.lock();
            fields.zab = state;
            if state == ZabState::Broadcast
                && let Some(since_ms) = fields.unavailable_since_ms.take()
            {
                let elapsed_ms = time::elapsed_ms() - since_ms;
                metrics.unavailable_time.add(elapsed_ms);
                if fields.server == ServerState::Leading {
                    metrics.leader_unavailable_time.add(elapsed_ms);
                }
            }
            detailed(&fields)
        };
        log::info!("Peer state changed: {text}");
    }

    /// How this server is being synchronised.
    pub fn set_sync_mode(&self, mode: SyncMode) {
        let text = {
            let mut fields = self.0.lock();
            fields.sync_mode = mode;
            detailed(&fields)
        };
        log::info!("Peer state changed: {text}");
    }

    /// What others are told while this server is not looking.
    pub fn current_vote(&self) -> Vote {
        self.0.lock().vote
    }

    /// The result of an election, or our own proposal before one.
    pub fn set_current_vote(&self, vote: Vote) {
        self.0.lock().vote = vote;
    }

    /// After the synchronisation: our vote is for the leader in its new epoch (ZOOKEEPER-1732).
    pub fn update_election_vote(&self, epoch: i64) {
        let mut fields = self.0.lock();
        fields.vote = fields.vote.with_peer_epoch(epoch);
    }

    /// The leader or learner master and its quorum addresses, `host:port|host:port`.
    pub fn leader(&self) -> Option<(ServerId, String)> {
        self.0.lock().leader.clone()
    }

    /// Sets the leader that is being followed, or ourselves.
    pub fn set_leader(&self, id: ServerId, addresses: String) {
        self.0.lock().leader = Some((id, addresses));
    }

    /// An election begins.
    pub fn start_election(&self) {
        self.0.lock().election_since_ms = Some(time::elapsed_ms());
    }

    /// The role that the election gave begins: the time that it took, ms.
    pub fn end_election(&self, metrics: &ServerMetrics) -> i64 {
        let since_ms = self.0.lock().election_since_ms.take();
        let now_ms = time::elapsed_ms();
        let taken_ms = now_ms - since_ms.unwrap_or(now_ms);
        metrics.election_time.add(taken_ms);
        taken_ms
    }

    /// `mntr`'s `peer_state`: `following - broadcast`.
    pub fn detailed(&self) -> String {
        detailed(&self.0.lock())
    }
}

/// Java: `getDetailedPeerState`.
fn detailed(fields: &Fields) -> String {
    let mut text = fields.server.to_string().to_lowercase();
    if fields.zab != ZabState::Election {
        text.push_str(" - ");
        text.push_str(&fields.zab.to_string());
    }
    if fields.sync_mode != SyncMode::None {
        text.push_str(" - ");
        text.push_str(&fields.sync_mode.to_string());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Zxid;

    #[test]
    fn detailed_state_has_javas_words() {
        let metrics = ServerMetrics::default();
        let state = PeerState::new(Vote::looking(ServerId(1), Zxid(0), 0, 0));
        assert_eq!(state.detailed(), "looking");
        state.set_server_state(ServerState::Following);
        state.set_leader(ServerId(2), "h:1".to_owned());
        assert_eq!(state.detailed(), "following");
        state.set_zab_state(ZabState::Synchronization, &metrics);
        state.set_sync_mode(SyncMode::Diff);
        assert_eq!(state.detailed(), "following - synchronization - diff");
        state.set_sync_mode(SyncMode::None);
        state.set_zab_state(ZabState::Broadcast, &metrics);
        assert_eq!(state.detailed(), "following - broadcast");
        state.set_server_state(ServerState::Looking);
        assert_eq!((state.detailed().as_str(), state.leader()), ("looking", None));
    }

    #[test]
    fn votes_get_the_leaders_epoch() {
        let state = PeerState::new(Vote::looking(ServerId(1), Zxid(7), 3, 4));
        state.update_election_vote(5);
        let vote = state.current_vote();
        assert_eq!((vote.zxid, vote.election_epoch, vote.peer_epoch), (Zxid(7), 3, 5));
    }
}
