//! `Observer`: the role of a member that does not vote.
//!
//! An observer without `syncEnabled` keeps no log: after a restart it gets what it lacks from the
//! leader.

use std::sync::Arc;

use super::learner;
use crate::quorum::quorum_database::QuorumDatabase;
use crate::quorum::quorum_peer::QuorumPeer;
use crate::quorum::quorum_peer_thread::RoleResult;
use crate::quorum::zab::learner_sync::LearnerKind;

/// Observes the leader of the current vote until it is over (`observeLeader`); otherwise as
/// [`follow`](super::follower::follow).
pub fn observe(peer: &Arc<QuorumPeer>, database: QuorumDatabase) -> RoleResult {
    // So that not all observers come back at once.
    let bound_ms = peer.settings().observer_reconnect_delay_ms;
    peer.wait_at_random(bound_ms, "reconnecting with the leader");
    learner::learn(peer, LearnerKind::Observer { has_log: peer.is_sync_enabled() }, database)
}
