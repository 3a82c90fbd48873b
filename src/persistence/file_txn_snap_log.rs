//! A whole data directory: `org.apache.zookeeper.server.persistence.FileTxnSnapLog`.
//!
//! Owned by the thread that appends; the thread that writes snapshots shares [`FileSnap`] alone, so
//! a snapshot never waits for a commit or the other way round (ZOOKEEPER-4858).
//!
//! Deliberate differences:
//! - Recovery cuts torn tails off, and removes a newest log that holds nothing, before anything is
//!   appended (ZOOKEEPER-2332).
//! - Transactions missing between a snapshot and the logs, or between two logs, are an error.
//!   Java replays what is there.
//! - Snapshots exist, but none reads: an error even when all fail the quick check, where Java takes
//!   the directory for an empty one. Only a lone broken `snapshot.0` without logs counts as nothing:
//!   that is a server killed during its first start.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::disk::Disk;
use super::error::{AtPath, PersistenceError};
use super::file_snap::{
    FileSnap, Sessions, SnapshotInfo, SnapshotSink, SnapshotSource, SnapshotTrailer, ZxidDigest,
};
use super::file_txn_log::{CommitReport, FileTxnLog, TxnLogOptions};
use super::snap_stream::StreamMode;
use super::txn_log_iterator::{FILE_HEADER_BYTES, TxnLogIterator};
use super::util::{
    LOG_FILE_PREFIX, SNAPSHOT_FILE_PREFIX, ZxidFile, is_log_file_name, is_snapshot_file_name,
    log_files_from, sort_data_dir,
};
use crate::proto::{Txn, TxnLogEntry, Zxid};

/// Logs and snapshots live in this directory below those of the configuration.
const VERSION_DIR: &str = "version-2";
/// Lets an empty database take part in votes; removed when read.
const INITIALIZE_FILE: &str = "initialize";
/// The version of the digests that can be compared.
const DIGEST_VERSION: i32 = 2;

/// The settings of a data directory.
#[derive(Debug, Clone, Copy)]
pub struct SnapLogOptions {
    /// `datadir.autocreate`: whether missing directories are created.
    pub datadir_autocreate: bool,
    /// `db.autocreate`: whether an empty directory is an empty database.
    pub db_autocreate: bool,
    /// `snapshot.trust.empty`: logs without a snapshot are read from the start.
    pub trust_empty_snapshot: bool,
    /// `snapshot.compression.method`.
    pub compression: StreamMode,
    /// Settings of the log.
    pub log: TxnLogOptions,
}

impl Default for SnapLogOptions {
    fn default() -> Self {
        SnapLogOptions {
            datadir_autocreate: true,
            db_autocreate: true,
            trust_empty_snapshot: false,
            compression: StreamMode::Checked,
            log: TxnLogOptions::default(),
        }
    }
}

/// What recovery builds up: the tree.
pub trait RestoreTarget: SnapshotSink {
    /// Applies a transaction that may be in the snapshot already (`DataTree.processTxn`), and
    /// advances the last processed zxid.
    fn process_txn(&mut self, entry: &TxnLogEntry);
    /// The last transaction that is in the tree.
    fn last_processed_zxid(&self) -> Zxid;
    /// Sets it, after a snapshot was loaded.
    fn set_last_processed_zxid(&mut self, zxid: Zxid);
    /// The tree's digest; `None` when digests are off.
    fn tree_digest(&self) -> Option<i64>;
    /// For the first snapshot of an empty database.
    fn snapshot_source(&mut self) -> Box<dyn SnapshotSource + '_>;
}

/// What recovery did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RestoreReport {
    /// The last transaction restored; 0 for a new database, -1 for an empty one that may not vote.
    pub highest_zxid: Zxid,
    /// The snapshot it began with.
    pub snapshot: Option<SnapshotInfo>,
    /// Newer snapshots that did not read.
    pub broken_snapshots: Vec<PathBuf>,
    /// For `startup_snap_load_time`.
    pub snap_load_time: Duration,
    /// For `startup_txns_loaded`.
    pub txns_loaded: u64,
    /// For `startup_txns_load_time`.
    pub txns_load_time: Duration,
    /// Digests that were not those of the tree, for `digest_mismatches_count`.
    pub digest_mismatches: u64,
    /// The snapshot was written while transactions were applied, and not all of those are in the
    /// logs: the tree may be inconsistent. The zxid that had to be reached.
    pub uncovered_snapshot_zxid: Option<Zxid>,
}

/// See the module's documentation.
pub struct FileTxnSnapLog {
    disk: Arc<dyn Disk>,
    log_dir: PathBuf,
    snap_dir: PathBuf,
    options: SnapLogOptions,
    txn_log: FileTxnLog,
    snap_log: Arc<FileSnap>,
}

impl FileTxnSnapLog {
    /// Opens `data_log_dir/version-2` and `data_dir/version-2`, which may be the same.
    pub fn new(
        disk: Arc<dyn Disk>,
        data_log_dir: &Path,
        data_dir: &Path,
        options: SnapLogOptions,
    ) -> Result<FileTxnSnapLog, PersistenceError> {
        let log_dir = data_log_dir.join(VERSION_DIR);
        let snap_dir = data_dir.join(VERSION_DIR);
        log::debug!("Opening datadir:{} snapDir:{}", log_dir.display(), snap_dir.display());
        for (what, dir) in [("data", &log_dir), ("snap", &snap_dir)] {
            prepare_dir(disk.as_ref(), what, dir, options.datadir_autocreate)?;
        }
        if log_dir != snap_dir {
            // ZOOKEEPER-2967: the two settings may have been swapped.
            let any = |dir: &Path, is_misplaced: fn(&str) -> bool| {
                Ok(disk.list(dir).at("list", dir)?.iter().any(|name| is_misplaced(name)))
            };
            if any(&log_dir, is_snapshot_file_name)? {
                return Err(PersistenceError::LogDirContentCheck);
            }
            if any(&snap_dir, is_log_file_name)? {
                return Err(PersistenceError::SnapDirContentCheck);
            }
        }
        let txn_log = FileTxnLog::new(Arc::clone(&disk), log_dir.clone(), options.log);
        let snap_log = FileSnap::new(Arc::clone(&disk), snap_dir.clone(), options.compression);
        let snap_log = Arc::new(snap_log);
        Ok(FileTxnSnapLog { disk, log_dir, snap_dir, options, txn_log, snap_log })
    }

    /// The directory of the logs.
    pub fn data_log_dir(&self) -> &Path {
        &self.log_dir
    }

    /// The directory of the snapshots.
    pub fn snap_dir(&self) -> &Path {
        &self.snap_dir
    }

    /// The snapshots, for the thread that writes them.
    pub fn snap_log(&self) -> &Arc<FileSnap> {
        &self.snap_log
    }

    /// The log.
    pub fn txn_log(&self) -> &FileTxnLog {
        &self.txn_log
    }

    /// The last snapshot that was written or read.
    pub fn last_snapshot_info(&self) -> Option<SnapshotInfo> {
        self.snap_log.last_snapshot_info()
    }

    /// Whether a snapshot must be written at the start even when there is nothing new
    /// (ZOOKEEPER-3781).
    pub fn should_force_write_initial_snapshot(&self) -> bool {
        self.options.trust_empty_snapshot && self.last_snapshot_info().is_none()
    }

    /// Fills an empty tree and `sessions` from the newest readable snapshot and the logs behind it.
    /// `listener` sees every transaction after it was applied. To be called before the first append
    /// and while no snapshot is being written.
    pub fn restore(
        &mut self,
        target: &mut dyn RestoreTarget,
        sessions: &mut Sessions,
        listener: &mut dyn FnMut(&TxnLogEntry),
    ) -> Result<RestoreReport, PersistenceError> {
        self.txn_log.close()?;
        self.snap_log.remove_temporary_files()?;
        let start = Instant::now();
        let loaded = self.snap_log.deserialize(target, sessions)?;
        let snap_load_time = start.elapsed();
        let is_empty_trusted = self.take_initialize_file()? || self.options.db_autocreate;

        let Some(loaded) = loaded else {
            return self.restore_without_snapshot(target, sessions, listener, is_empty_trusted);
        };
        let snapshot_zxid = loaded.info.zxid;
        target.set_last_processed_zxid(snapshot_zxid);
        let mut report = RestoreReport {
            snapshot: Some(loaded.info),
            broken_snapshots: loaded.broken,
            snap_load_time,
            ..RestoreReport::default()
        };
        let mut digests = DigestCheck::new(loaded.trailer.digest, snapshot_zxid);
        digests.after_snapshot(target, snapshot_zxid);
        self.replay(target, sessions, listener, &mut digests, &mut report)?;
        Ok(report)
    }

    /// ZOOKEEPER-2325: no snapshot may mean a new server or a lost file.
    fn restore_without_snapshot(
        &mut self,
        target: &mut dyn RestoreTarget,
        sessions: &mut Sessions,
        listener: &mut dyn FnMut(&TxnLogEntry),
        is_empty_trusted: bool,
    ) -> Result<RestoreReport, PersistenceError> {
        let mut report = RestoreReport::default();
        if self.txn_log.last_logged_zxid()? != Zxid::NONE {
            if !self.options.trust_empty_snapshot {
                return Err(PersistenceError::LogWithoutSnapshot);
            }
            log::warn!(
                "No snapshot found, but there are log entries. This should only be allowed during \
                 upgrading."
            );
            let mut digests = DigestCheck::new(None, Zxid(0));
            self.replay(target, sessions, listener, &mut digests, &mut report)?;
            return Ok(report);
        }
        let snapshots = sort_data_dir(self.disk.as_ref(), &self.snap_dir, SNAPSHOT_FILE_PREFIX)?;
        if snapshots.iter().any(|file| file.zxid > Zxid(0)) {
            return Err(PersistenceError::NoValidSnapshot(self.snap_dir.clone()));
        }
        self.repair_empty_logs()?;
        if is_empty_trusted {
            target.set_last_processed_zxid(Zxid(0));
            self.save(Zxid(0), sessions, target.snapshot_source().as_mut())?;
            report.snapshot = self.last_snapshot_info();
        } else {
            log::warn!("Unexpected empty data tree, setting zxid to -1");
            target.set_last_processed_zxid(Zxid::NONE);
            report.highest_zxid = Zxid::NONE;
        }
        self.txn_log.set_last_zxid_seen(report.highest_zxid);
        Ok(report)
    }

    /// Applies what is in the logs behind the tree's last processed zxid, without a snapshot. Call it
    /// with the log closed, see [`close`](FileTxnSnapLog::close).
    pub fn fast_forward_from_edits(
        &mut self,
        target: &mut dyn RestoreTarget,
        sessions: &mut Sessions,
        listener: &mut dyn FnMut(&TxnLogEntry),
    ) -> Result<RestoreReport, PersistenceError> {
        let mut report = RestoreReport::default();
        let mut digests = DigestCheck::new(None, Zxid(0));
        self.replay(target, sessions, listener, &mut digests, &mut report)?;
        Ok(report)
    }

    fn replay(
        &mut self,
        target: &mut dyn RestoreTarget,
        sessions: &mut Sessions,
        listener: &mut dyn FnMut(&TxnLogEntry),
        digests: &mut DigestCheck,
        report: &mut RestoreReport,
    ) -> Result<(), PersistenceError> {
        let start = Instant::now();
        let mut highest = target.last_processed_zxid();
        let mut entries = self.txn_log.read(highest.next())?;
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let zxid = entry.zxid();
            if !follows(highest, zxid) {
                let path = entries.current_path().unwrap_or(&self.log_dir).to_owned();
                return Err(PersistenceError::Gap { path, after: highest, found: zxid });
            }
            if zxid < highest {
                log::error!(
                    "{highest}(highestZxid) > {zxid}(next log) for type {:?}",
                    entry.txn.op_code()
                );
            }
            highest = highest.max(zxid);
            match &entry.txn {
                Txn::CreateSession(txn) => {
                    sessions.insert(entry.header.client_id, txn.timeout_ms);
                }
                Txn::CloseSession(_) => {
                    sessions.remove(&entry.header.client_id);
                }
                _ => {}
            }
            target.process_txn(&entry);
            digests.after_txn(target, &entry);
            listener(&entry);
            report.txns_loaded += 1;
        }
        self.repair(&entries)?;
        report.txns_load_time = start.elapsed();
        report.highest_zxid = highest;
        report.digest_mismatches = digests.mismatches;
        report.uncovered_snapshot_zxid = digests.from_snapshot.map(|digest| digest.zxid);
        if let Some(zxid) = report.uncovered_snapshot_zxid {
            log::warn!(
                "Highest txn zxid {highest} is not covering the snapshot digest zxid {zxid}, which \
                 might lead to inconsistent state"
            );
        }
        log::info!(
            "{} txns loaded in {} ms",
            report.txns_loaded,
            report.txns_load_time.as_millis()
        );
        self.txn_log.set_last_zxid_seen(highest);
        Ok(())
    }

    /// Cuts torn tails off, so that nothing unreadable is ever followed by something readable.
    fn repair(&self, entries: &TxnLogIterator) -> Result<(), PersistenceError> {
        for tail in entries.torn_tails() {
            if tail.offset < FILE_HEADER_BYTES {
                log::warn!("Removing a log without content: {}", tail.path.display());
                self.disk.remove(&tail.path).at("remove", &tail.path)?;
                self.disk.sync_dir(&self.log_dir).at("sync", &self.log_dir)?;
            } else {
                log::warn!("Cutting {} at offset {}", tail.path.display(), tail.offset);
                self.disk.set_len(&tail.path, tail.offset).at("truncate", &tail.path)?;
            }
        }
        Ok(())
    }

    /// The same where no log holds a transaction.
    fn repair_empty_logs(&self) -> Result<(), PersistenceError> {
        let mut entries = self.txn_log.read(Zxid::NONE)?;
        entries.by_ref().try_for_each(|entry| entry.map(|_| ()))?;
        self.repair(&entries)
    }

    /// Whether the `initialize` file was there.
    fn take_initialize_file(&self) -> Result<bool, PersistenceError> {
        let Some(dir) = self.log_dir.parent() else { return Ok(false) };
        let path = dir.join(INITIALIZE_FILE);
        if !self.disk.exists(&path) {
            return Ok(false);
        }
        self.disk.remove(&path).at("remove", &path)?;
        log::info!("Initialize file found, an empty database will not block voting participation");
        Ok(true)
    }

    /// Writes a snapshot named for `zxid`, the last transaction certain to be in it.
    pub fn save(
        &self,
        zxid: Zxid,
        sessions: &Sessions,
        source: &mut dyn SnapshotSource,
    ) -> Result<SnapshotInfo, PersistenceError> {
        log::info!("Snapshotting: {zxid} to {}", self.snap_dir.display());
        self.snap_log.serialize(zxid, sessions, source)
    }

    /// Forgets everything behind `zxid` in the logs; see [`FileTxnLog::truncate`].
    pub fn truncate_log(&mut self, zxid: Zxid) -> Result<(), PersistenceError> {
        self.txn_log.truncate(zxid)
    }

    /// The last transaction in the logs, `Zxid::NONE` when there is none.
    pub fn last_logged_zxid(&self) -> Result<Zxid, PersistenceError> {
        self.txn_log.last_logged_zxid()
    }

    /// The transactions from `zxid` on.
    pub fn read_txn_log(&self, zxid: Zxid) -> Result<TxnLogIterator, PersistenceError> {
        self.txn_log.read(zxid)
    }

    /// The logs that may hold transactions newer than `zxid`, ascending.
    pub fn snapshot_logs(&self, zxid: Zxid) -> Result<Vec<ZxidFile>, PersistenceError> {
        let files = sort_data_dir(self.disk.as_ref(), &self.log_dir, LOG_FILE_PREFIX)?;
        Ok(log_files_from(&files, zxid).to_vec())
    }

    /// Appends a transaction; see [`FileTxnLog::append`].
    pub fn append(&mut self, entry: &TxnLogEntry) -> Result<(), PersistenceError> {
        self.txn_log.append(entry)
    }

    /// Makes all appends durable; see [`FileTxnLog::commit`].
    pub fn commit(&mut self) -> Result<CommitReport, PersistenceError> {
        self.txn_log.commit()
    }

    /// The next append begins a new file.
    pub fn roll_log(&mut self) -> Result<(), PersistenceError> {
        self.txn_log.roll_log()
    }

    /// Bytes appended since the last [`set_total_log_size`](FileTxnSnapLog::set_total_log_size).
    pub fn total_log_size(&self) -> u64 {
        self.txn_log.total_log_size()
    }

    /// Sets the bytes of earlier logs; 0 at each snapshot.
    pub fn set_total_log_size(&mut self, bytes: u64) {
        self.txn_log.set_total_log_size(bytes);
    }

    /// Writes out and closes the log; it opens again with the next append.
    pub fn close(&mut self) -> Result<(), PersistenceError> {
        self.txn_log.close()
    }
}

/// Whether `next` can come right after `last`: the next counter, or the first one of a later epoch.
/// Equal and lower zxids are let pass: a Java leader may log one twice.
fn follows(last: Zxid, next: Zxid) -> bool {
    next <= last.next() || (next.epoch() > last.epoch() && next.counter() <= 1)
}

fn prepare_dir(
    disk: &dyn Disk,
    what: &str,
    dir: &Path,
    autocreate: bool,
) -> Result<(), PersistenceError> {
    if !disk.exists(dir) {
        if !autocreate {
            return Err(PersistenceError::Datadir(format!(
                "Missing {what} directory {}, automatic data directory creation is disabled \
                 (zookeeper.datadir.autocreate is false). Please create this directory manually.",
                dir.display()
            )));
        }
        disk.create_dir_all(dir).map_err(|error| {
            let dir = dir.display();
            PersistenceError::Datadir(format!("Unable to create {what} directory {dir}: {error}"))
        })?;
    }
    if !disk.can_write(dir) {
        return Err(PersistenceError::Datadir(format!(
            "Cannot write to {what} directory {}",
            dir.display()
        )));
    }
    Ok(())
}

/// Compares digests while transactions are replayed (`DataTree.compareSnapshotDigests`,
/// `compareDigest`). A difference is counted and logged, no more: as in Java.
struct DigestCheck {
    /// The digest in the snapshot, until its zxid is reached: before, the tree is fuzzy, and digests
    /// of transactions say nothing.
    from_snapshot: Option<ZxidDigest>,
    mismatches: u64,
}

impl DigestCheck {
    fn new(from_snapshot: Option<ZxidDigest>, snapshot_zxid: Zxid) -> DigestCheck {
        // Lower than the snapshot: taken by a new leader before its first transaction.
        let from_snapshot =
            from_snapshot.filter(|digest| digest.zxid > Zxid(0) && digest.zxid >= snapshot_zxid);
        DigestCheck { from_snapshot, mismatches: 0 }
    }

    fn after_snapshot(&mut self, target: &dyn RestoreTarget, zxid: Zxid) {
        let Some(tree_digest) = target.tree_digest() else {
            self.from_snapshot = None;
            return;
        };
        if let Some(wanted) = self.from_snapshot.filter(|digest| digest.zxid == zxid) {
            self.from_snapshot = None;
            self.compare(zxid, wanted.version, wanted.digest, tree_digest);
        }
    }

    fn after_txn(&mut self, target: &dyn RestoreTarget, entry: &TxnLogEntry) {
        let Some(tree_digest) = target.tree_digest() else { return };
        if self.from_snapshot.is_some() {
            self.after_snapshot(target, entry.zxid());
        }
        if self.from_snapshot.is_none()
            && let Some(wanted) = &entry.digest
        {
            self.compare(entry.zxid(), wanted.version, wanted.tree_digest, tree_digest);
        }
    }

    fn compare(&mut self, zxid: Zxid, version: i32, wanted: i64, found: i64) {
        if version == DIGEST_VERSION && wanted != found {
            if self.mismatches == 0 {
                log::error!("First digest mismatch on txn: {zxid}: expected {wanted}, is {found}");
            }
            self.mismatches += 1;
        }
    }
}

impl SnapshotTrailer {
    /// Both sections, for a tree that has the digest at the zxid.
    pub fn of(zxid: Zxid, digest: Option<i64>) -> SnapshotTrailer {
        let digest = digest.map(|digest| ZxidDigest { zxid, version: DIGEST_VERSION, digest });
        SnapshotTrailer { digest, last_processed_zxid: Some(zxid) }
    }
}
