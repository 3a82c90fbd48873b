//! The two roles that follow a leader: follower and observer (Java: `Learner` and its kin).
//!
//! [`learner`] drives the state machine of [`zab::learner_sync`](super::zab::learner_sync) on the
//! thread of the peer; once it serves, [`LearnerZooKeeperServer`] has the chain.

pub mod follower;
mod follower_request_processor;
mod leader_connector;
mod leader_link;
pub mod leader_packet;
#[expect(clippy::module_inception, reason = "the file is named after its class, as all are")]
mod learner;
mod learner_role;
mod learner_zookeeper_server;
pub mod observer;
mod send_ack_request_processor;

pub use leader_connector::{ConnectSettings, connect_to_leader};
pub use leader_link::{LeaderLink, LearnerSender};
pub use learner_zookeeper_server::LearnerZooKeeperServer;
