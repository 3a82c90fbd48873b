//! Finding a leader (Java: `FastLeaderElection`, `QuorumCnxManager`): the threads and sockets around
//! the pure rules of `zab::election`.

mod election_peer;
pub mod notification;

pub use election_peer::{ElectionPeer, ElectionSettings};
