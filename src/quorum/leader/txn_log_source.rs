//! The transaction log as a source for learners: `ZKDatabase.getProposalsFromTxnLog`,
//! `calculateTxnLogSizeLimit`, `TxnLogProposalIterator`.
//!
//! Reads the files while the SyncThread appends to them. What cannot be read counts as the end:
//! only what is committed is sent, and it is taken from memory if the files do not hold it yet.

use std::path::PathBuf;
use std::sync::Arc;

use crate::persistence::disk::Disk;
use crate::persistence::util::{LOG_FILE_PREFIX, log_files_from, sort_data_dir};
use crate::persistence::{FileSnap, PersistenceError, TxnLogIterator};
use crate::proto::{TxnLogEntry, Zxid};

/// Java's `snapshotSizeFactor`.
const DEFAULT_SNAPSHOT_SIZE_FACTOR: f64 = 0.33;

/// See the module.
pub struct TxnLogSource {
    disk: Arc<dyn Disk>,
    log_dir: PathBuf,
    snap: Arc<FileSnap>,
    snapshot_size_factor: f64,
}

impl TxnLogSource {
    /// The log in `log_dir`. It is used if it is not larger than `snapshot_size_factor` times the
    /// newest snapshot of `snap`; a negative factor means never. Above 1 the default counts, as in
    /// Java.
    pub fn new(
        disk: Arc<dyn Disk>,
        log_dir: PathBuf,
        snap: Arc<FileSnap>,
        snapshot_size_factor: f64,
    ) -> TxnLogSource {
        let is_valid = snapshot_size_factor <= 1.0;
        let snapshot_size_factor =
            if is_valid { snapshot_size_factor } else { DEFAULT_SNAPSHOT_SIZE_FACTOR };
        TxnLogSource { disk, log_dir, snap, snapshot_size_factor }
    }

    /// Whether the log may be used at all (`isTxnLogSyncEnabled`).
    pub fn is_enabled(&self) -> bool {
        self.snapshot_size_factor >= 0.0
    }

    /// The transactions from `zxid` on, if the log may be used: beginning with that of `zxid`, or,
    /// where there is none, at the start of the file in which it would stand. Without a limit of
    /// the size when `is_continued`: some were sent already.
    pub fn read(
        &self,
        zxid: Zxid,
        is_continued: bool,
    ) -> Result<Option<TxnLogRecords>, PersistenceError> {
        let mut entries = TxnLogIterator::new(&self.disk, &self.log_dir, zxid)?;
        if !is_continued {
            let (size, limit) = (entries.storage_size()?, self.size_limit()?);
            if limit > 0 && size > limit {
                log::info!("Txnlog size: {size} exceeds sizeLimit: {limit}");
                return Ok(None);
            }
        }
        let mut first = entries.next().transpose()?;
        if first.as_ref().is_none_or(|first| first.zxid() != zxid) {
            let files = sort_data_dir(&*self.disk, &self.log_dir, LOG_FILE_PREFIX)?;
            let start = log_files_from(&files, zxid).first().map_or(zxid, |file| file.zxid);
            entries = TxnLogIterator::new(&self.disk, &self.log_dir, start)?;
            first = entries.next().transpose()?;
        }
        Ok(Some(TxnLogRecords { first, entries }))
    }

    /// What the snapshots are named for, in any order and whether they read or not.
    pub fn snapshots(&self) -> Result<Vec<Zxid>, PersistenceError> {
        let files = self.snap.find_n_recent_snapshots(usize::MAX)?;
        Ok(files.into_iter().map(|file| file.zxid).collect())
    }

    /// Bytes; 0, without a snapshot, means no limit as in Java.
    fn size_limit(&self) -> Result<u64, PersistenceError> {
        let Some(newest) = self.snap.find_most_recent_snapshot()? else { return Ok(0) };
        let size = self.disk.open(&newest.path).and_then(|file| file.size()).unwrap_or(0);
        Ok((size as f64 * self.snapshot_size_factor) as u64)
    }
}

/// Transactions of the log in their order.
pub struct TxnLogRecords {
    first: Option<TxnLogEntry>,
    entries: TxnLogIterator,
}

impl Iterator for TxnLogRecords {
    type Item = TxnLogEntry;

    /// `None` also at what cannot be read: it may be half written just now.
    fn next(&mut self) -> Option<TxnLogEntry> {
        if let Some(first) = self.first.take() {
            return Some(first);
        }
        match self.entries.next()? {
            Ok(entry) => Some(entry),
            Err(error) => {
                log::debug!("Txnlog read up to here: {error}");
                None
            }
        }
    }
}
