//! `Follower`: the role of a voter that has found a leader.

use std::sync::Arc;

use super::learner;
use crate::quorum::quorum_database::QuorumDatabase;
use crate::quorum::quorum_peer::QuorumPeer;
use crate::quorum::quorum_peer_thread::RoleResult;
use crate::quorum::zab::learner_sync::LearnerKind;

/// Follows the leader of the current vote until it is over (`followLeader`). On the thread of the
/// peer. The database comes back with all threads of the role joined and the log closed.
///
/// Errors: our disk, or a history that does not reach back as far as the leader's; the process ends.
pub fn follow(peer: &Arc<QuorumPeer>, database: QuorumDatabase) -> RoleResult {
    let taken_ms = peer.state().end_election(peer.metrics());
    log::info!("FOLLOWING - LEADER ELECTION TOOK - {taken_ms} MS");
    learner::learn(peer, LearnerKind::Follower, database)
}
