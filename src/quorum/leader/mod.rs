//! The leader of an ensemble: it orders all changes, and brings its learners up to date.

mod ack_request_processor;
mod lead;
#[expect(clippy::module_inception, reason = "the file is named for Java's class")]
mod leader;
mod leader_zookeeper_server;
mod learner_cnx_acceptor;
mod learner_handler;
mod learner_link;
mod learner_master;
mod learner_sync_throttler;
mod proposal_request_processor;
mod sync_follower;
#[cfg(test)]
mod tests;
mod to_be_applied_request_processor;
mod txn_log_source;

pub use lead::lead;
pub use leader::Leader;
