//! `org.apache.zookeeper.server.watch`: who wants to know of what.
//!
//! Two tables as in Java: data watches (getData, exists, both kinds of addWatch) and child watches
//! (getChildren, persistent addWatch). A watcher is a connection, known here by a number.

mod path_parent_iterator;
mod tree_watches;
mod watch_manager;
mod watch_stats;
mod watches_report;

pub use path_parent_iterator::PathParentIterator;
pub(super) use tree_watches::{Table, TreeWatches};
pub use watch_manager::WatchManager;
pub use watch_stats::{WatchStats, WatcherMode};
pub use watches_report::WatchesSummary;

use crate::proto::{Acl, EventType, Zxid};

/// A connection, as the server numbers it. Numbers of live connections are never equal; after
/// [`DataTree::remove_watcher`](super::DataTree::remove_watcher) a number may be used again.
pub type WatcherId = u32;

/// Where events go while a transaction is applied.
///
/// Called under the writer's guard of the tree, in the order in which clients must see the events
/// and before the reply of the write that caused them. The sink checks for each watcher whether
/// `acl` lets it read, encodes the event once, and puts it into the outboxes.
pub trait WatchSink {
    /// `event` happened at `path` by transaction `zxid`. `acl` is the node's: of a deleted node
    /// its last, of a created one its new one. `watchers` are distinct and in rising order.
    fn deliver(
        &mut self,
        event: EventType,
        path: &str,
        zxid: Zxid,
        acl: &[Acl],
        watchers: &[WatcherId],
    );

    /// A table was asked for `event` and held `count` > 0 watchers of it, those included that are
    /// not told twice: what Java adds to `node_created_watch_count` and its kin.
    fn triggered(&mut self, event: EventType, count: usize) {
        let _ = (event, count);
    }

    /// `path` was written with this many bytes of data: what Java adds, path included, to
    /// `write_per_namespace`.
    fn written(&mut self, path: &str, data_bytes: usize) {
        let _ = (path, data_bytes);
    }
}

/// Drops all events: for replay.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoWatches;

impl WatchSink for NoWatches {
    fn deliver(&mut self, _: EventType, _: &str, _: Zxid, _: &[Acl], _: &[WatcherId]) {}
}
