//! What the ensemble decides: pure state machines without clock, thread, socket or file.
//!
//! They see only `proto`, `common` and the verifiers.

pub mod learner_sync;
mod vote;

pub use vote::{Candidate, ServerState, Vote, supersedes};
