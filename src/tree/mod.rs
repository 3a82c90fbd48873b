//! The replicated state: nodes, ACLs, quotas, digests, ephemerals, watches. No I/O, no threads.
//!
//! Start with [`DataTree`]. It has no lock for its nodes: the server keeps it behind one
//! read-write lock, readers share a guard, one writer applies transactions. The watch tables are
//! behind locks of their own, so that readers can register watches.

mod acl_cache;
mod apply;
mod data_node;
mod data_tree;
mod digest;
mod ephemerals;
mod error;
#[cfg(test)]
mod fuzzy_tests;
mod load;
mod node_ref;
mod node_store;
#[cfg(test)]
mod oracle_tests;
pub mod quotas;
mod serialize;
mod watch;

pub use apply::ProcessTxnResult;
pub use data_tree::{DataTree, TreeOptions};
pub use digest::{AdHash, DIGEST_VERSION, DigestCalculator, ZxidDigest};
pub use error::TreeError;
pub use node_ref::NodeRef;
pub use quotas::{QuotaUsage, StatsTrack};
pub use serialize::SnapshotWalk;
pub use watch::{
    NoWatches, PathParentIterator, WatchManager, WatchSink, WatchStats, WatcherId, WatcherMode,
    WatchesSummary,
};
