//! A whole data directory: `org.apache.zookeeper.server.persistence.FileTxnSnapLog`.
//!
//! Owned by the thread that appends; the thread that writes snapshots shares [`FileSnap`] alone, so
//! a snapshot never waits for a commit or the other way round (ZOOKEEPER-4858).
//!
//! Deliberate differences:
//! - Recovery cuts torn tails off, and removes a newest log that holds nothing, before anything is
//!   appended (ZOOKEEPER-2332).
//! - Transactions missing between a snapshot and the logs, between two logs, or between the end of
//!   the logs and a newer snapshot that does not read, are an error. Java replays what is there.
//! - Snapshots exist, but none reads: an error even when all fail the quick check, where Java takes
//!   the directory for an empty one. Only a lone broken `snapshot.0` without logs counts as nothing:
//!   that is a server killed during its first start.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::disk::Disk;
use super::error::{AtPath, PersistenceError};
use super::file_snap::{FileSnap, Sessions, SnapshotInfo, SnapshotSink, SnapshotSource};
use super::file_txn_log::{CommitReport, FileTxnLog, TxnLogOptions};
use super::snap_stream::StreamMode;
use super::txn_log_iterator::{FILE_HEADER_BYTES, TxnLogIterator};
use super::util::{
    LOG_FILE_PREFIX, SNAPSHOT_FILE_PREFIX, is_log_file_name, is_snapshot_file_name, sort_data_dir,
};
use crate::proto::{Txn, TxnLogEntry, Zxid};
use crate::tree::ZxidDigest;

/// Logs and snapshots live in this directory below those of the configuration.
const VERSION_DIR: &str = "version-2";
/// Lets an empty database take part in votes; removed when read.
const INITIALIZE_FILE: &str = "initialize";

/// The settings of a data directory.
#[derive(Debug, Clone, Copy)]
pub struct SnapLogOptions {
    /// `datadir.autocreate`: whether missing directories are created.
    pub datadir_autocreate: bool,
    /// `db.autocreate`: whether an empty directory is an empty database.
    pub db_autocreate: bool,
    /// `snapshot.trust.empty`: logs without a snapshot are read from the start.
    pub trust_empty_snapshot: bool,
    /// Whether recovery fails when it ends before the zxid of an unreadable newer snapshot:
    /// transactions that were committed are gone. A learner gets them from its leader and may go on;
    /// without `forceSync` going on was agreed to.
    pub is_lost_tail_fatal: bool,
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
            is_lost_tail_fatal: true,
            compression: StreamMode::Checked,
            log: TxnLogOptions::default(),
        }
    }
}

/// What recovery builds up: the tree.
pub trait RestoreTarget: SnapshotSink {
    /// The tree was loaded from the snapshot of this zxid, with this digest section behind it; or it
    /// is empty, and `zxid` 0 or -1.
    fn snapshot_loaded(&mut self, zxid: Zxid, digest: Option<ZxidDigest>);
    /// Applies a transaction that may be in the snapshot already (`DataTree.processTxn`), advances
    /// the last processed zxid, and compares the digests.
    fn process_txn(&mut self, entry: &TxnLogEntry);
    /// The last transaction that is in the tree.
    fn last_processed_zxid(&self) -> Zxid;
    /// The zxid of the snapshot's digest, while it was not reached: the tree is fuzzy until then.
    fn fuzzy_until(&self) -> Option<Zxid>;
    /// For the first snapshot of an empty database.
    fn snapshot_source(&mut self) -> io::Result<Box<dyn SnapshotSource + '_>>;
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

    /// Where the files are.
    pub fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
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
    /// `listener` gets every transaction after it was applied. To be called before the first append
    /// and while no snapshot is being written.
    pub fn restore(
        &mut self,
        target: &mut dyn RestoreTarget,
        sessions: &mut Sessions,
        listener: &mut dyn FnMut(TxnLogEntry),
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
        target.snapshot_loaded(snapshot_zxid, loaded.trailer.digest);
        let mut report = RestoreReport {
            snapshot: Some(loaded.info),
            broken_snapshots: loaded.broken,
            snap_load_time,
            ..RestoreReport::default()
        };
        self.replay(target, sessions, listener, &mut report)?;
        self.check_reached(report.highest_zxid)?;
        Ok(report)
    }

    /// Snapshots are named for transactions that were committed, so all of them must be there in the
    /// end, in whatever file. A zxid with counter 0 is a new leader's and no transaction.
    fn check_reached(&self, highest: Zxid) -> Result<(), PersistenceError> {
        let snapshots = sort_data_dir(self.disk.as_ref(), &self.snap_dir, SNAPSHOT_FILE_PREFIX)?;
        let newest = snapshots.into_iter().rfind(|file| file.zxid.counter() != 0);
        let Some(newest) = newest.filter(|newest| newest.zxid > highest) else { return Ok(()) };
        let gap = PersistenceError::Gap { path: newest.path, after: highest, found: newest.zxid };
        if self.options.is_lost_tail_fatal && self.options.log.force_sync {
            return Err(gap);
        }
        log::error!("{gap}");
        Ok(())
    }

    /// ZOOKEEPER-2325: no snapshot may mean a new server or a lost file.
    fn restore_without_snapshot(
        &mut self,
        target: &mut dyn RestoreTarget,
        sessions: &mut Sessions,
        listener: &mut dyn FnMut(TxnLogEntry),
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
            target.snapshot_loaded(Zxid(0), None);
            self.replay(target, sessions, listener, &mut report)?;
            return Ok(report);
        }
        let snapshots = sort_data_dir(self.disk.as_ref(), &self.snap_dir, SNAPSHOT_FILE_PREFIX)?;
        if snapshots.iter().any(|file| file.zxid > Zxid(0)) {
            return Err(PersistenceError::NoValidSnapshot(self.snap_dir.clone()));
        }
        self.repair_empty_logs()?;
        if is_empty_trusted {
            target.snapshot_loaded(Zxid(0), None);
            let mut source = target.snapshot_source().at("write a snapshot in", &self.snap_dir)?;
            self.save(Zxid(0), sessions, source.as_mut())?;
            report.snapshot = self.last_snapshot_info();
        } else {
            log::warn!("Unexpected empty data tree, setting zxid to -1");
            target.snapshot_loaded(Zxid::NONE, None);
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
        listener: &mut dyn FnMut(TxnLogEntry),
    ) -> Result<RestoreReport, PersistenceError> {
        let mut report = RestoreReport::default();
        self.replay(target, sessions, listener, &mut report)?;
        Ok(report)
    }

    fn replay(
        &mut self,
        target: &mut dyn RestoreTarget,
        sessions: &mut Sessions,
        listener: &mut dyn FnMut(TxnLogEntry),
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
            report.txns_loaded += 1;
            listener(entry);
        }
        self.repair(&entries)?;
        self.make_durable()?;
        report.txns_load_time = start.elapsed();
        report.highest_zxid = highest;
        report.uncovered_snapshot_zxid = target.fuzzy_until();
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

    /// What was found will be told to clients, so it must stay. A killed process may have left the
    /// newest log and the entries of the directories in the kernel's memory alone; older logs were
    /// synced before the next was begun.
    fn make_durable(&self) -> Result<(), PersistenceError> {
        let logs = sort_data_dir(self.disk.as_ref(), &self.log_dir, LOG_FILE_PREFIX)?;
        if let Some(newest) = logs.last() {
            self.disk.sync_file(&newest.path).at("sync", &newest.path)?;
        }
        self.disk.sync_dir(&self.log_dir).at("sync", &self.log_dir)?;
        self.disk.sync_dir(&self.snap_dir).at("sync", &self.snap_dir)
    }

    /// Cuts torn tails off where no log holds a transaction.
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

    /// Appends a transaction; see [`FileTxnLog::append`].
    pub fn append(&mut self, entry: &TxnLogEntry) -> Result<(), PersistenceError> {
        self.txn_log.append(entry)
    }

    /// Makes all appends durable; see [`FileTxnLog::commit`].
    pub fn commit(&mut self) -> Result<CommitReport, PersistenceError> {
        self.txn_log.commit()
    }

    /// The next append begins a new file; see [`FileTxnLog::roll_log`].
    pub fn roll_log(&mut self) -> Result<CommitReport, PersistenceError> {
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
pub(super) fn follows(last: Zxid, next: Zxid) -> bool {
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

#[cfg(test)]
mod tests {
    use super::super::sim_disk::SimDisk;
    use super::super::testing::{FakeSource, FakeTree, entry};
    use super::*;

    fn open_with(disk: &SimDisk, options: SnapLogOptions) -> FileTxnSnapLog {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        FileTxnSnapLog::new(disk, Path::new("/data"), Path::new("/data"), options).unwrap()
    }

    fn open(disk: &SimDisk) -> FileTxnSnapLog {
        open_with(disk, SnapLogOptions::default())
    }

    fn restore(store: &mut FileTxnSnapLog) -> Result<(FakeTree, RestoreReport), PersistenceError> {
        let (mut tree, mut sessions) = (FakeTree::default(), Sessions::new());
        let mut heard = Vec::new();
        let report =
            store.restore(&mut tree, &mut sessions, &mut |entry| heard.push(entry.zxid().0))?;
        assert_eq!(report.txns_loaded, heard.len() as u64);
        assert_eq!(heard[..], tree.zxids[tree.zxids.len() - heard.len()..]);
        Ok((tree, report))
    }

    fn append(store: &mut FileTxnSnapLog, zxids: impl IntoIterator<Item = i64>) {
        for zxid in zxids {
            store.append(&entry(zxid)).unwrap();
        }
        store.commit().unwrap();
    }

    fn save(store: &FileTxnSnapLog, zxid: i64) -> PathBuf {
        let tree = FakeTree::with(1..=zxid);
        let mut source = FakeSource::new(&tree);
        store.save(Zxid(zxid), &Sessions::new(), &mut source).unwrap().path
    }

    fn zxids(disk: &SimDisk) -> Result<Vec<i64>, PersistenceError> {
        restore(&mut open(disk)).map(|(tree, _)| tree.zxids)
    }

    /// A new database with the transactions 1 to 9, snapshots of 0 and 5, logs from 1 and 6.
    fn small_database() -> SimDisk {
        let disk = SimDisk::default();
        let mut store = open(&disk);
        restore(&mut store).unwrap();
        append(&mut store, 1..=5);
        store.roll_log().unwrap();
        save(&store, 5);
        append(&mut store, 6..=9);
        disk
    }

    fn all() -> Vec<i64> {
        (1..=9).collect()
    }

    #[test]
    fn a_new_database_begins_with_snapshot_0() {
        let disk = SimDisk::default();
        let (tree, report) = restore(&mut open(&disk)).unwrap();
        assert_eq!((tree.last, report.highest_zxid), (0, Zxid(0)));
        assert_eq!(disk.list(Path::new("/data/version-2")).unwrap(), ["snapshot.0"]);
    }

    #[test]
    fn an_empty_directory_may_not_vote_unless_it_was_initialized() {
        let options = SnapLogOptions { db_autocreate: false, ..SnapLogOptions::default() };
        let disk = SimDisk::default();
        let (tree, report) = restore(&mut open_with(&disk, options)).unwrap();
        assert_eq!((tree.last, report.highest_zxid), (-1, Zxid(-1)));
        assert!(disk.list(Path::new("/data/version-2")).unwrap().is_empty());
        disk.put(Path::new("/data/initialize"), b"");
        let (tree, _) = restore(&mut open_with(&disk, options)).unwrap();
        assert_eq!(tree.last, 0);
        assert!(!disk.exists(Path::new("/data/initialize")));
    }

    #[test]
    fn the_tree_is_the_newest_snapshot_and_the_logs_behind_it() {
        let disk = small_database();
        let (tree, report) = restore(&mut open(&disk)).unwrap();
        assert_eq!((tree.zxids, tree.last), (all(), 9));
        assert_eq!((report.highest_zxid, report.txns_loaded), (Zxid(9), 4));
        assert_eq!(report.snapshot.map(|info| info.zxid), Some(Zxid(5)));
    }

    #[test]
    fn without_the_newest_snapshot_an_older_one_and_its_logs_do() {
        let disk = small_database();
        disk.put(Path::new("/data/version-2/snapshot.5"), b"broken all over..\0\0\0\x01/");
        let (tree, report) = restore(&mut open(&disk)).unwrap();
        assert_eq!((tree.zxids, report.txns_loaded), (all(), 9));
        assert_eq!(report.broken_snapshots.len(), 1);
    }

    #[test]
    fn a_gap_is_an_error() {
        let dir = Path::new("/data/version-2");
        let check = |damage: &dyn Fn(&SimDisk), want_after: i64, want_found: i64| {
            let disk = small_database();
            damage(&disk);
            match zxids(&disk) {
                Err(PersistenceError::Gap { after, found, .. }) => {
                    assert_eq!((after, found), (Zxid(want_after), Zxid(want_found)));
                }
                other => panic!("{other:?}"),
            }
        };
        // Between an older snapshot and the logs.
        let break_newest = |disk: &SimDisk| disk.put(&dir.join("snapshot.5"), b"");
        check(
            &|disk| {
                break_newest(disk);
                disk.remove(&dir.join("log.1")).unwrap();
            },
            0,
            6,
        );
        // The end of the older log is lost.
        check(
            &|disk| {
                break_newest(disk);
                let log = disk.read(&dir.join("log.1")).unwrap();
                disk.put(&dir.join("log.1"), &log[..300]);
            },
            3,
            6,
        );
    }

    #[test]
    fn a_lost_end_of_the_log_is_noticed_by_the_name_of_a_broken_snapshot() {
        let disk = small_database();
        let broken = Path::new("/data/version-2/snapshot.9");
        disk.put(broken, b"cut");
        assert_eq!(zxids(&disk).unwrap(), all());
        disk.remove(broken).unwrap();
        let broken = Path::new("/data/version-2/snapshot.c");
        disk.put(broken, b"cut");
        let found = |disk| match zxids(disk) {
            Err(PersistenceError::Gap { path, after: Zxid(9), found }) if path == broken => found,
            other => panic!("{other:?}"),
        };
        assert_eq!(found(&disk), Zxid(12));
        let options = SnapLogOptions { is_lost_tail_fatal: false, ..SnapLogOptions::default() };
        assert_eq!(restore(&mut open_with(&disk, options)).unwrap().0.zxids, all());
        // A new leader's snapshot has no transaction of that name.
        disk.remove(broken).unwrap();
        disk.put(Path::new("/data/version-2/snapshot.300000000"), b"cut");
        assert_eq!(zxids(&disk).unwrap(), all());
    }

    #[test]
    fn a_new_epoch_is_no_gap() {
        let disk = small_database();
        let mut store = open(&disk);
        restore(&mut store).unwrap();
        append(&mut store, [(3 << 32) + 1, (3 << 32) + 2]);
        assert_eq!(zxids(&disk).unwrap().len(), 11);
        store.roll_log().unwrap();
        append(&mut store, [(4 << 32) + 2]);
        assert!(matches!(zxids(&disk), Err(PersistenceError::Gap { .. })));
    }

    #[test]
    fn a_torn_tail_is_cut_off_before_anything_is_appended() {
        let disk = small_database();
        let path = Path::new("/data/version-2/log.6");
        let mut log = disk.read(path).unwrap();
        let end = log.iter().rposition(|&byte| byte == b'B').unwrap();
        log[end - 3] ^= 1;
        disk.put(path, &log);
        let mut store = open(&disk);
        let (tree, _) = restore(&mut store).unwrap();
        assert_eq!(tree.zxids, (1..=8).collect::<Vec<_>>());
        assert!(disk.read(path).unwrap().len() < end);
        append(&mut store, 9..=12);
        assert_eq!(zxids(&disk).unwrap(), (1..=12).collect::<Vec<_>>());
    }

    #[test]
    fn zookeeper_2332_logs_without_content_are_removed() {
        for content in [&b""[..], b"ZK", &[0; 5000]] {
            let disk = small_database();
            let path = Path::new("/data/version-2/log.a");
            disk.put(path, content);
            assert_eq!(zxids(&disk).unwrap(), all());
            assert!(!disk.exists(path));
        }
    }

    #[test]
    fn logs_without_a_snapshot_need_trust() {
        let disk = small_database();
        for name in ["snapshot.0", "snapshot.5"] {
            disk.remove(&Path::new("/data/version-2").join(name)).unwrap();
        }
        assert!(matches!(zxids(&disk), Err(PersistenceError::LogWithoutSnapshot)));
        let options = SnapLogOptions { trust_empty_snapshot: true, ..SnapLogOptions::default() };
        let mut store = open_with(&disk, options);
        assert_eq!(restore(&mut store).unwrap().0.zxids, all());
        assert!(store.should_force_write_initial_snapshot());
    }

    #[test]
    fn broken_snapshots_are_no_empty_database() {
        let check = |name: &str, is_new: bool| {
            let disk = SimDisk::default();
            open(&disk);
            disk.put(&Path::new("/data/version-2").join(name), b"cut");
            match zxids(&disk) {
                Ok(zxids) => assert!(is_new && zxids.is_empty()),
                Err(PersistenceError::NoValidSnapshot(_)) => assert!(!is_new),
                Err(other) => panic!("{other:?}"),
            }
        };
        check("snapshot.0", true);
        check("snapshot.1", false);
        check("snapshot.100.gz", false);
    }

    #[test]
    fn swapped_directories_are_refused() {
        let open = |disk: &SimDisk| {
            let disk: Arc<dyn Disk> = Arc::new(disk.clone());
            let options = SnapLogOptions::default();
            FileTxnSnapLog::new(disk, Path::new("/log"), Path::new("/snap"), options).map(|_| ())
        };
        let disk = SimDisk::default();
        open(&disk).unwrap();
        disk.put(Path::new("/log/version-2/snapshot.1"), b"");
        assert!(matches!(open(&disk), Err(PersistenceError::LogDirContentCheck)));
        let disk = SimDisk::default();
        open(&disk).unwrap();
        disk.put(Path::new("/snap/version-2/log.1"), b"");
        assert!(matches!(open(&disk), Err(PersistenceError::SnapDirContentCheck)));
    }

    #[test]
    fn missing_directories_are_created_only_when_allowed() {
        let options = SnapLogOptions { datadir_autocreate: false, ..SnapLogOptions::default() };
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::default());
        let data = Path::new("/data");
        let result = FileTxnSnapLog::new(Arc::clone(&disk), data, data, options);
        assert!(matches!(result.map(|_| ()), Err(PersistenceError::Datadir(_))));
        FileTxnSnapLog::new(Arc::clone(&disk), data, data, SnapLogOptions::default()).unwrap();
        FileTxnSnapLog::new(disk, data, data, options).unwrap();
    }

    #[test]
    fn an_append_after_recovery_must_be_newer_than_what_was_recovered() {
        let disk = small_database();
        let mut store = open(&disk);
        restore(&mut store).unwrap();
        assert!(matches!(store.append(&entry(9)), Err(PersistenceError::ZxidOrder { .. })));
        append(&mut store, [10]);
    }
}
