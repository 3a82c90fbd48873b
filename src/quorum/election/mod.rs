//! Finding a leader (Java: `FastLeaderElection`, `QuorumCnxManager`): the threads and sockets around
//! the pure rules of `zab::election`.

mod election_peer;
mod fast_leader_election;
mod initial_message;
mod listener;
pub mod notification;
mod peer_queue;
mod quorum_cnx_manager;
mod recv_worker;
mod send_worker;
pub(super) mod sockets;

pub use election_peer::{ElectionPeer, ElectionSettings};
pub use fast_leader_election::FastLeaderElection;
