//! `Observer`: the role of a member that does not vote.
//!
//! An observer without `syncEnabled` keeps no log: after a restart it gets what it lacks from the
//! leader.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use super::learner;
use crate::quorum::quorum_database::QuorumDatabase;
use crate::quorum::quorum_peer::QuorumPeer;
use crate::quorum::quorum_peer_thread::RoleResult;
use crate::quorum::zab::learner_sync::LearnerKind;

/// Observes the leader of the current vote until it is over (`observeLeader`); otherwise as
/// [`follow`](super::follower::follow).
pub fn observe(peer: &Arc<QuorumPeer>, database: QuorumDatabase) -> RoleResult {
    wait_for_reconnect_delay(peer);
    learner::learn(peer, LearnerKind::Observer { has_log: peer.is_sync_enabled() }, database)
}

/// A random time up to `observer.reconnectDelayMs`, so that not all observers come back at once.
fn wait_for_reconnect_delay(peer: &QuorumPeer) {
    let bound_ms = u64::try_from(peer.settings().observer_reconnect_delay_ms).unwrap_or(0);
    if bound_ms > 0 {
        let delay_ms = RandomState::new().hash_one(0u8) % bound_ms;
        log::info!("Waiting for {delay_ms} ms before reconnecting with the leader");
        peer.shutdown().wait_for(Duration::from_millis(delay_ms));
    }
}
