//! The roles of a member as `QuorumPeer`'s thread runs them: election, leader, learners and the
//! read-only server put together.

use std::io;
use std::sync::Arc;

use crate::quorum::election::{ElectionPeer, FastLeaderElection};
use crate::quorum::leader;
use crate::quorum::learner::{follower, observer};
use crate::quorum::quorum_database::QuorumDatabase;
use crate::quorum::quorum_peer::QuorumPeer;
use crate::quorum::quorum_peer_thread::{ReadOnlyServer, RoleResult, Roles};
use crate::quorum::read_only::ReadOnlyZooKeeperServer;
use crate::quorum::zab::Vote;
use crate::server::zk_database::ZkDatabase;

/// See the module.
pub(super) struct QuorumRoles {
    election: FastLeaderElection,
}

impl QuorumRoles {
    /// Starts the election's listener and messengers.
    pub(super) fn start(peer: &Arc<QuorumPeer>) -> io::Result<QuorumRoles> {
        let peer: Arc<dyn ElectionPeer> = Arc::clone(peer) as _;
        Ok(QuorumRoles { election: FastLeaderElection::start(peer)? })
    }

    /// Ends a running election and joins its threads.
    pub(super) fn stop_election(&self) {
        self.election.shutdown();
    }
}

impl Roles for QuorumRoles {
    fn look_for_leader(&self) -> Option<Vote> {
        self.election.look_for_leader()
    }

    fn follow(&self, peer: &Arc<QuorumPeer>, database: QuorumDatabase) -> RoleResult {
        follower::follow(peer, database)
    }

    fn observe(&self, peer: &Arc<QuorumPeer>, database: QuorumDatabase) -> RoleResult {
        observer::observe(peer, database)
    }

    fn lead(&self, peer: &Arc<QuorumPeer>, database: QuorumDatabase) -> RoleResult {
        leader::lead(peer, database)
    }

    fn serve_read_only(
        &self,
        peer: &Arc<QuorumPeer>,
        database: &Arc<ZkDatabase>,
    ) -> io::Result<Box<dyn ReadOnlyServer>> {
        Ok(Box::new(ReadOnlyZooKeeperServer::start(peer, database)?))
    }
}
