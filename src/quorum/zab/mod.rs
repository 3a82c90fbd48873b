//! What the ensemble decides: pure state machines without clock, thread, socket or file.
//!
//! They see only `proto`, `common` and the verifiers.

mod vote;

pub use vote::{Candidate, ServerState, Vote, supersedes};
