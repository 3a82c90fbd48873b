//! `org.apache.zookeeper.server.persistence`: transaction log and snapshots, byte-compatible with
//! Java's in both directions.
//!
//! [`FileTxnSnapLog`] is the whole of a data directory; [`FileTxnLog`] appends and reads logs,
//! [`FileSnap`] writes and reads snapshots, both on a [`disk::Disk`] that tests can simulate.
//! What every part keeps to: nothing is acknowledged before it is durable, directory entries
//! included; and Java can read whatever lies on the disk at any instant.

pub mod disk;
mod error;
mod file_snap;
mod file_txn_log;
mod file_txn_snap_log;
mod mapped_file;
mod purge_txn_log;
mod replaced;
pub mod sim_disk;
pub mod snap_stream;
#[cfg(test)]
mod testing;
mod tree_snapshot;
mod txn_log_iterator;
pub mod util;

pub use error::PersistenceError;
pub use file_snap::{
    FileSnap, LoadedSnapshot, Sessions, SnapshotInfo, SnapshotSink, SnapshotSource,
    SnapshotTrailer, read_snapshot,
};
pub use file_txn_log::{CommitReport, FileTxnLog, TxnLogOptions};
pub use file_txn_snap_log::{FileTxnSnapLog, RestoreReport, RestoreTarget, SnapLogOptions};
pub use purge_txn_log::{RETAIN_COUNT_MIN, purge};
pub use replaced::REPLACED_DIR;
pub use snap_stream::{SnapReader, StreamMode};
pub use tree_snapshot::TreeSnapshot;
pub use txn_log_iterator::{TornTail, TxnLogIterator};
