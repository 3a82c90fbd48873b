//! What the ensemble decides: pure state machines without clock, thread, socket or file.
//!
//! They see only `proto`, `common` and the verifiers.

pub mod commit_matcher;
pub mod election;
pub mod election_replies;
pub mod epoch;
pub mod learner_sync;
pub mod proposals;
pub mod sync_limit_check;
pub mod sync_plan;
pub mod synced_learner_tracker;
#[cfg(test)]
pub(crate) mod testing;
mod vote;

pub use vote::{Candidate, ServerState, Vote, supersedes};
