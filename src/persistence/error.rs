//! What can go wrong on disk: the errors of `org.apache.zookeeper.server.persistence`, which are
//! plain `IOException`s there. Here each kind carries what an operator needs to find the place.

use std::io;
use std::path::{Path, PathBuf};

use crate::jute::JuteError;
use crate::proto::Zxid;

/// A failure of the transaction log, of a snapshot or of their directories. All of them are "our
/// disk or our bug": the server stops, it never goes on with a part of its data.
#[derive(Debug, thiserror::Error)]
pub enum PersistenceError {
    /// A system call failed.
    #[error("{path}: {action}: {source}", path = path.display())]
    Io {
        /// What was being done: "write", "fdatasync", …
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// A directory is missing and must not be created, cannot be created or cannot be written
    /// (Java's `DatadirException`, exit code 3).
    #[error("{0}")]
    Datadir(String),
    /// A snapshot lies among the logs (`LogDirContentCheckException`).
    #[error(
        "Log directory has snapshot files. Check if dataLogDir and dataDir configuration is correct."
    )]
    LogDirContentCheck,
    /// A log lies among the snapshots (`SnapDirContentCheckException`).
    #[error(
        "Snapshot directory has log files. Check if dataLogDir and dataDir configuration is correct."
    )]
    SnapDirContentCheck,
    /// A record is unreadable although readable ones follow: not a torn tail. Going on would drop
    /// acknowledged transactions silently.
    #[error(
        "{path}: transaction log is damaged at offset {offset}: unreadable record after zxid \
         {last_zxid}, but a valid record with zxid {next_zxid} follows at offset {next_offset}",
        path = path.display()
    )]
    DamagedLog {
        /// The log file.
        path: PathBuf,
        /// Where the unreadable record begins.
        offset: u64,
        /// The last readable transaction before it; -1 when there is none in this file.
        last_zxid: Zxid,
        /// The readable transaction behind it.
        next_zxid: Zxid,
        /// Where that one begins.
        next_offset: u64,
    },
    /// The file does not begin with a log header.
    #[error("{path}: invalid magic number {magic:#x} of a transaction log", path = path.display())]
    LogHeader {
        /// The log file.
        path: PathBuf,
        /// The first four bytes.
        magic: i32,
    },
    /// A record's checksum is right but its content cannot be decoded.
    #[error("{path}: record at offset {offset}: {source}", path = path.display())]
    Record {
        /// The log file.
        path: PathBuf,
        /// Where the record begins.
        offset: u64,
        /// Why.
        source: JuteError,
    },
    /// Transactions are missing between a snapshot and the logs, or between two logs.
    #[error(
        "{path}: transactions are missing: {after} is followed by {found}; a log file was lost or \
         the snapshot that covers them is unreadable", path = path.display()
    )]
    Gap {
        /// The log file with the later transaction.
        path: PathBuf,
        /// The last transaction before the gap.
        after: Zxid,
        /// The first one behind it.
        found: Zxid,
    },
    /// An append whose zxid is not greater than the last one (ZOOKEEPER-4712).
    #[error("zxid {zxid} is not greater than {last}, the last one in the log")]
    ZxidOrder {
        /// The refused transaction.
        zxid: Zxid,
        /// The last one appended.
        last: Zxid,
    },
    /// A transaction without bytes.
    #[error("faulty serialization: transaction {0} is empty or too long")]
    FaultySerialization(Zxid),
    /// An earlier write or sync failed: what the file holds is unknown, so nothing may be
    /// acknowledged any more.
    #[error("the transaction log is out of order after an earlier failure: {0}")]
    Poisoned(String),
    /// A snapshot does not read.
    #[error("{path}: {reason}", path = path.display())]
    Snapshot {
        /// The snapshot file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// There are snapshot files, but not one that reads.
    #[error("Not able to find valid snapshots in {}", .0.display())]
    NoValidSnapshot(PathBuf),
    /// There are log entries but no snapshot (ZOOKEEPER-2325, 3056).
    #[error(
        "No snapshot found, but there are log entries. Something is broken! \
         (zookeeper.snapshot.trust.empty=true skips this check after an upgrade from 3.4)"
    )]
    LogWithoutSnapshot,
    /// Nothing to truncate (`FileTxnLog.truncate`).
    #[error(
        "No log files found to truncate! This could happen if you still have snapshots from an \
         old setup or log files were deleted accidentally or dataLogDir was changed in zoo.cfg."
    )]
    NothingToTruncate,
    /// Fewer than three snapshots to keep.
    #[error("count should be greater than or equal to 3")]
    RetainCount,
}

/// Adds the place to a system error.
pub(super) trait AtPath<T> {
    /// `action` on `path` failed.
    fn at(self, action: &'static str, path: &Path) -> Result<T, PersistenceError>;
}

impl<T> AtPath<T> for io::Result<T> {
    fn at(self, action: &'static str, path: &Path) -> Result<T, PersistenceError> {
        self.map_err(|source| PersistenceError::Io { action, path: path.to_owned(), source })
    }
}
