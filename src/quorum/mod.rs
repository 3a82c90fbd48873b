//! The ensemble: election, leader, learners (Java: `o.a.z.server.quorum`).
//!
//! [`verifier`] says who decides; [`zab`] holds the pure state machines; [`election`] finds a
//! leader.

pub mod commit_processor;
pub mod election;
pub mod epoch_files;
pub mod leader;
pub mod learner;
pub mod packet_stream;
pub mod peer_state;
pub mod quorum_database;
pub mod quorum_peer;
pub mod quorum_peer_thread;
pub mod quorum_words;
pub mod read_only;
pub mod session;
pub mod shutdown;
pub mod verifier;
pub mod zab;

pub use crate::common::config::{LearnerType, QuorumServer};
