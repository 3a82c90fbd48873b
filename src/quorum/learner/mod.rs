//! The two roles that follow a leader: follower and observer (Java: `Learner` and its kin).

mod leader_connector;
mod leader_link;
pub mod leader_packet;

pub use leader_connector::{ConnectSettings, connect_to_leader};
pub use leader_link::{LeaderLink, LearnerSender};
