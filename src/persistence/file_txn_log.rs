//! The transaction log: `org.apache.zookeeper.server.persistence.FileTxnLog`.
//!
//! ```text
//! file    header, record*, zeros                       DataOutput, big endian
//! header  int 0x5a4b4c47 "ZKLG" · int 2 · long dbid 0
//! record  long adler32(payload) · int length · payload · byte 0x42
//! payload TxnHeader · txn · [TxnDigest]
//! ```
//!
//! Deliberate differences:
//! - An append whose zxid is not greater than the last one is refused (Java warns and appends:
//!   ZOOKEEPER-4712).
//! - A new file's header and its directory entry are made durable before its first record is
//!   written; Java never syncs the directory, so a whole file can vanish after a power loss.
//! - After a failed write or sync every later call fails.
//! - A file that is left gives its padding back, for it consists of real blocks here.
//! - `txnLogSizeLimitInKb` and the total size count bytes written. Java counts the padding too, and
//!   so rolls after every single commit once the limit is below `preAllocSize`.
//!
//! Owned by one thread (`SyncThread`); nothing here locks.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::disk::{Disk, LogFile};
use super::error::{AtPath, PersistenceError};
use super::txn_log_iterator::{
    FILE_HEADER_BYTES, RECORD_HEAD_BYTES, RECORD_TRAILER, TxnLogIterator,
};
use super::util::{LOG_FILE_PREFIX, make_log_name, sort_data_dir};
use crate::jute::{Jute, OutputExt};
use crate::proto::file::{FILE_VERSION, FileHeader, TXNLOG_MAGIC};
use crate::proto::{TxnLogEntry, Zxid};

/// Appended records are handed to the file when so many bytes have gathered, synced or not.
const BUFFER_BYTES_MAX: usize = 1 << 20;

/// The settings of the log.
#[derive(Debug, Clone, Copy)]
pub struct TxnLogOptions {
    /// `preAllocSize` in bytes; 0 or less: no padding.
    pub pre_alloc_bytes: i64,
    /// `forceSync`: whether commits wait for the disk.
    pub force_sync: bool,
    /// `fsync.warningthresholdms`: a sync that takes longer is logged.
    pub fsync_warning_threshold: Duration,
    /// `txnLogSizeLimitInKb` in bytes: a larger log is rolled after a flush.
    pub size_limit_bytes: Option<u64>,
}

impl Default for TxnLogOptions {
    fn default() -> Self {
        TxnLogOptions {
            pre_alloc_bytes: 64 << 20,
            force_sync: true,
            fsync_warning_threshold: Duration::from_millis(1000),
            size_limit_bytes: None,
        }
    }
}

/// What a commit did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CommitReport {
    /// How long the sync took, for `fsynctime`; `None` when nothing was synced.
    pub sync_time: Option<Duration>,
    /// How many syncs took longer than the warning threshold
    /// (`ServerStats.incrementFsyncThresholdExceedCount`): 0 or 1.
    pub slow_syncs: u32,
    /// Whether the log was rolled for its size.
    pub has_rolled: bool,
}

struct OpenLog {
    file: Box<dyn LogFile>,
    path: PathBuf,
}

/// The log of one data directory, see the module's documentation.
pub struct FileTxnLog {
    disk: Arc<dyn Disk>,
    log_dir: PathBuf,
    options: TxnLogOptions,
    /// The file being appended to; none before the first append and after a roll.
    current: Option<OpenLog>,
    /// Records not yet handed to the file.
    buffer: Vec<u8>,
    /// Invariant: zxids in the log strictly increase up to this one.
    last_zxid_seen: Zxid,
    /// Whether something was written since the last sync.
    is_dirty: bool,
    /// Bytes of the files that were left.
    prev_logs_running_total: u64,
    failure: Option<String>,
}

impl FileTxnLog {
    /// A log in `log_dir` (the `version-2` directory). Opens nothing.
    pub fn new(disk: Arc<dyn Disk>, log_dir: PathBuf, options: TxnLogOptions) -> FileTxnLog {
        FileTxnLog {
            disk,
            log_dir,
            options,
            current: None,
            buffer: Vec::new(),
            last_zxid_seen: Zxid::NONE,
            is_dirty: false,
            prev_logs_running_total: 0,
            failure: None,
        }
    }

    /// The directory of the files.
    pub fn log_dir(&self) -> &Path {
        &self.log_dir
    }

    /// The zxid that the next append must exceed.
    pub fn last_zxid_seen(&self) -> Zxid {
        self.last_zxid_seen
    }

    /// Says what is in the log already, or is covered by a snapshot.
    pub fn set_last_zxid_seen(&mut self, zxid: Zxid) {
        self.last_zxid_seen = zxid;
    }

    /// Appends a record. It is durable, and may be acknowledged, after the next [`commit`].
    ///
    /// [`commit`]: FileTxnLog::commit
    pub fn append(&mut self, entry: &TxnLogEntry) -> Result<(), PersistenceError> {
        self.check_failure()?;
        let zxid = entry.zxid();
        if zxid <= self.last_zxid_seen {
            return Err(PersistenceError::ZxidOrder { zxid, last: self.last_zxid_seen });
        }
        let length = i32::try_from(entry.bytes.len()).unwrap_or(0);
        if length == 0 {
            return Err(PersistenceError::FaultySerialization(zxid));
        }
        if self.current.is_none() {
            let opened = self.open_log(zxid);
            self.current = Some(self.note_failure(opened)?);
        }
        self.buffer.put_i64(simd_adler32::adler32(&&*entry.bytes).into());
        self.buffer.put_i32(length);
        self.buffer.extend_from_slice(&entry.bytes);
        self.buffer.put_u8(RECORD_TRAILER);
        self.last_zxid_seen = zxid;
        self.is_dirty = true;
        if self.buffer.len() >= BUFFER_BYTES_MAX {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes what was appended and makes it durable, unless `forceSync` is off. Rolls the log when
    /// it has outgrown its limit.
    pub fn commit(&mut self) -> Result<CommitReport, PersistenceError> {
        let mut report = self.make_durable()?;
        if let Some(limit) = self.options.size_limit_bytes
            && self.current_log_size() > limit
        {
            log::debug!("Log size limit reached: {}", self.current_log_size());
            self.roll_log()?;
            report.has_rolled = true;
        }
        Ok(report)
    }

    /// The next append begins a new file.
    ///
    /// What was appended before is made durable first, other than in Java: else a crash could keep
    /// the beginning of the new file but not the end of the old one, a gap.
    pub fn roll_log(&mut self) -> Result<CommitReport, PersistenceError> {
        let report = self.make_durable()?;
        if let Some(log) = self.current.take() {
            self.prev_logs_running_total =
                self.prev_logs_running_total.saturating_add(log.file.position());
            finish(log);
        }
        Ok(report)
    }

    /// Bytes written to the open file, without padding (`getCurrentLogSize`).
    pub fn current_log_size(&self) -> u64 {
        self.current.as_ref().map_or(0, |log| log.file.position() + self.buffer.len() as u64)
    }

    /// Bytes written since the last [`set_total_log_size`](FileTxnLog::set_total_log_size).
    pub fn total_log_size(&self) -> u64 {
        self.prev_logs_running_total.saturating_add(self.current_log_size())
    }

    /// Sets the size of the files that were left; 0 at each snapshot.
    pub fn set_total_log_size(&mut self, bytes: u64) {
        self.prev_logs_running_total = bytes;
    }

    /// The transactions from `zxid` on. What was appended but not committed may be missing.
    pub fn read(&self, zxid: Zxid) -> Result<TxnLogIterator, PersistenceError> {
        TxnLogIterator::new(&self.disk, &self.log_dir, zxid)
    }

    /// The last transaction in the files, `Zxid::NONE` when there is none. Unlike Java's, a file
    /// without a record does not count by its name: nothing in it was ever acknowledged.
    pub fn last_logged_zxid(&self) -> Result<Zxid, PersistenceError> {
        let files = sort_data_dir(self.disk.as_ref(), &self.log_dir, LOG_FILE_PREFIX)?;
        for file in files.into_iter().rev() {
            let newest = [file].into();
            let mut last = Zxid::NONE;
            for entry in TxnLogIterator::over(&self.disk, newest, Zxid::NONE) {
                last = last.max(entry?.zxid());
            }
            if last != Zxid::NONE {
                return Ok(last);
            }
        }
        Ok(Zxid::NONE)
    }

    /// Forgets everything after `zxid`: cuts the file behind that record, removes later files.
    /// Closes the open file. Snapshots are left alone. It is an error when the log does not reach
    /// up to `zxid`.
    ///
    /// When there is no record of just this zxid, the cut is before the first later one; Java keeps
    /// that record, which is one that had to go.
    pub fn truncate(&mut self, zxid: Zxid) -> Result<(), PersistenceError> {
        self.close()?;
        let mut entries = self.read(zxid)?;
        let found = entries.next().transpose()?;
        let (Some(found), Some(path)) = (found, entries.current_path()) else {
            return Err(PersistenceError::NothingToTruncate);
        };
        let mut cut = entries.position();
        if found.zxid() > zxid {
            cut = cut.saturating_sub((RECORD_HEAD_BYTES + found.bytes.len() + 1) as u64);
        }
        // Newest first, so that a crash in between leaves a log without a gap.
        let later: Vec<PathBuf> = entries.following_files().map(|file| file.path.clone()).collect();
        for path in later.iter().rev() {
            self.disk.remove(path).at("remove", path)?;
            self.disk.sync_dir(&self.log_dir).at("sync", &self.log_dir)?;
        }
        self.disk.set_len(path, cut).at("truncate", path)?;
        self.last_zxid_seen = self.last_zxid_seen.min(zxid);
        Ok(())
    }

    /// Writes out, syncs and closes everything. The log can be used again afterwards.
    pub fn close(&mut self) -> Result<(), PersistenceError> {
        if self.failure.is_some() {
            // Nothing to save; the caller knows already.
            self.current = None;
            return Ok(());
        }
        self.roll_log().map(|_| ())
    }

    /// Creates the file whose first transaction is `zxid`.
    fn open_log(&mut self, zxid: Zxid) -> Result<OpenLog, PersistenceError> {
        let name = make_log_name(zxid);
        let path = self.log_dir.join(&name);
        log::info!("Creating new log file: {name}");
        if self.disk.exists(&path) {
            // Left by a crash before its first commit. Whatever can be read there would have made
            // `last_zxid_seen` at least `zxid`, so this is a second line of defence.
            let there = [super::util::ZxidFile { zxid, path: path.clone() }].into();
            if let Some(entry) = TxnLogIterator::over(&self.disk, there, Zxid::NONE).next() {
                return Err(PersistenceError::ZxidOrder { zxid, last: entry?.zxid() });
            }
            self.disk.remove(&path).at("remove", &path)?;
        }
        let mut file =
            self.disk.create_log(&path, self.options.pre_alloc_bytes).at("create", &path)?;
        let header = FileHeader { magic: TXNLOG_MAGIC, version: FILE_VERSION, dbid: 0 }.to_bytes();
        file.append(&header).at("write", &path)?;
        debug_assert_eq!(file.position(), FILE_HEADER_BYTES);
        if self.options.force_sync {
            file.sync().at("fdatasync", &path)?;
            self.disk.sync_dir(&self.log_dir).at("sync", &self.log_dir)?;
        }
        Ok(OpenLog { file, path })
    }

    /// Hands the buffered records to the file.
    fn flush(&mut self) -> Result<(), PersistenceError> {
        self.check_failure()?;
        if self.buffer.is_empty() {
            return Ok(());
        }
        if let Some(log) = &mut self.current {
            let written = log.file.append(&self.buffer).at("write", &log.path);
            self.note_failure(written)?;
        }
        self.buffer.clear();
        // One huge transaction should not hold its memory for ever.
        self.buffer.shrink_to(2 * BUFFER_BYTES_MAX);
        Ok(())
    }

    fn make_durable(&mut self) -> Result<CommitReport, PersistenceError> {
        self.flush()?;
        let mut report = CommitReport::default();
        if self.is_dirty && self.options.force_sync {
            let synced = self.sync();
            let took = self.note_failure(synced)?;
            report.sync_time = took;
            let is_slow = took.is_some_and(|took| took > self.options.fsync_warning_threshold);
            report.slow_syncs = is_slow.into();
        }
        self.is_dirty = false;
        Ok(report)
    }

    fn sync(&mut self) -> Result<Option<Duration>, PersistenceError> {
        let Some(log) = &mut self.current else { return Ok(None) };
        let start = Instant::now();
        log.file.sync().at("fdatasync", &log.path)?;
        let took = start.elapsed();
        if took > self.options.fsync_warning_threshold {
            log::warn!(
                "fsync-ing the write ahead log in {} took {}ms which will adversely effect \
                 operation latency. File size is {} bytes. See the ZooKeeper troubleshooting guide",
                std::thread::current().name().unwrap_or("?"),
                took.as_millis(),
                log.file.allocated()
            );
        }
        Ok(Some(took))
    }

    fn check_failure(&self) -> Result<(), PersistenceError> {
        match &self.failure {
            Some(failure) => Err(PersistenceError::Poisoned(failure.clone())),
            None => Ok(()),
        }
    }

    /// Remembers a failure: after it nobody knows what the file holds, and a sync that is repeated
    /// succeeds without having written anything (the kernel reports a write-back error once).
    fn note_failure<T>(
        &mut self,
        result: Result<T, PersistenceError>,
    ) -> Result<T, PersistenceError> {
        if let Err(error) = &result {
            self.failure = Some(error.to_string());
        }
        result
    }
}

impl Drop for FileTxnLog {
    fn drop(&mut self) {
        // What was not committed was not acknowledged either: only tidy up.
        if self.failure.is_none()
            && let Some(log) = self.current.take()
        {
            finish(log);
        }
    }
}

/// Gives the padding of a complete file back. A failure does no harm: readers stop at the zeros.
fn finish(mut log: OpenLog) {
    if let Err(error) = log.file.finish() {
        let error: io::Error = error;
        log::warn!("{}: could not cut off the padding: {error}", log.path.display());
    }
}

#[cfg(test)]
mod tests {
    use super::super::disk::RealDisk;
    use super::super::testing::{entry, entry_of, log_in, sim_dir, zxids};
    use super::*;

    #[test]
    fn the_bytes_are_those_of_java() {
        let (sim, disk, dir) = sim_dir();
        let mut log = log_in(&disk, &dir);
        log.append(&entry(0x1f)).unwrap();
        log.commit().unwrap();
        let bytes = sim.read(&dir.join("log.1f")).unwrap();
        let payload = &entry(0x1f).bytes;
        let mut want = b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0".to_vec();
        want.put_i64(i64::from(simd_adler32::adler32(&&payload[..])));
        want.put_bytes(Some(payload));
        want.push(b'B');
        assert_eq!(bytes[..want.len()], want);
        assert!(bytes[want.len()..].iter().all(|&byte| byte == 0));
    }

    #[test]
    fn zxids_must_rise() {
        let (_, disk, dir) = sim_dir();
        let mut log = log_in(&disk, &dir);
        log.append(&entry(5)).unwrap();
        for zxid in [5, 4, 0, -1] {
            let error = log.append(&entry(zxid)).unwrap_err();
            assert!(matches!(error, PersistenceError::ZxidOrder { last: Zxid(5), .. }));
        }
        log.append(&entry(6)).unwrap();
        log.commit().unwrap();
        assert_eq!(zxids(&log, 0), Ok(vec![5, 6]));
    }

    #[test]
    fn what_is_committed_is_durable_also_across_rolls() {
        use super::super::sim_disk::Unsynced;
        let (sim, disk, dir) = sim_dir();
        let mut log = log_in(&disk, &dir);
        log.append(&entry(1)).unwrap();
        log.roll_log().unwrap();
        log.append(&entry(2)).unwrap();
        let report = log.commit().unwrap();
        assert!(report.sync_time.is_some() && !report.has_rolled);
        log.append(&entry(3)).unwrap();
        let after: Arc<dyn Disk> = Arc::new(sim.after_power_loss(Unsynced::Lost));
        assert_eq!(zxids(&log_in(&after, &dir), 0), Ok(vec![1, 2]));
    }

    #[test]
    fn commits_without_appends_do_not_sync() {
        let (sim, disk, dir) = sim_dir();
        let mut log = log_in(&disk, &dir);
        assert_eq!(log.commit().unwrap(), CommitReport::default());
        log.append(&entry(1)).unwrap();
        log.commit().unwrap();
        let calls = sim.calls();
        assert_eq!(log.commit().unwrap(), CommitReport::default());
        assert_eq!(sim.calls(), calls);
    }

    #[test]
    fn without_force_sync_nothing_is_synced() {
        let (_, disk, dir) = sim_dir();
        let options = TxnLogOptions { force_sync: false, ..TxnLogOptions::default() };
        let mut log = FileTxnLog::new(disk, dir, options);
        log.append(&entry(1)).unwrap();
        assert_eq!(log.commit().unwrap().sync_time, None);
        assert_eq!(zxids(&log, 0), Ok(vec![1]));
    }

    #[test]
    fn the_log_rolls_once_it_has_outgrown_its_limit() {
        let (_, disk, dir) = sim_dir();
        let options = TxnLogOptions { size_limit_bytes: Some(300), ..TxnLogOptions::default() };
        let mut log = FileTxnLog::new(Arc::clone(&disk), dir.clone(), options);
        let mut rolls = 0;
        for zxid in 1..=12 {
            log.append(&entry(zxid)).unwrap();
            rolls += usize::from(log.commit().unwrap().has_rolled);
        }
        let files = sort_data_dir(disk.as_ref(), &dir, LOG_FILE_PREFIX).unwrap();
        assert_eq!((rolls, files.len()), (3, 3));
        assert_eq!(zxids(&log, 0), Ok((1..=12).collect()));
    }

    #[test]
    fn after_a_failed_call_every_later_one_fails() {
        // Create, header, sync, directory; record, sync.
        for call in 0..6 {
            let (sim, disk, dir) = sim_dir();
            sim.fail_at(sim.calls() + call);
            let mut log = log_in(&disk, &dir);
            let result = log.append(&entry(1)).and_then(|()| log.commit());
            assert!(matches!(result, Err(PersistenceError::Io { .. })), "call {call}");
            for zxid in 1..4 {
                let error = log.append(&entry(zxid)).unwrap_err();
                assert!(matches!(error, PersistenceError::Poisoned(_)), "call {call}");
                assert!(matches!(log.commit(), Err(PersistenceError::Poisoned(_))));
                assert!(matches!(log.roll_log(), Err(PersistenceError::Poisoned(_))));
            }
        }
    }

    fn check_truncate(target: i64, want: Option<&[i64]>) {
        let (_, disk, dir) = sim_dir();
        let mut log = log_in(&disk, &dir);
        for zxid in [1, 2, 3, 4, 7, 8, 9, 10] {
            log.append(&entry(zxid)).unwrap();
            log.commit().unwrap();
            if zxid % 3 == 0 {
                log.roll_log().unwrap();
            }
        }
        match (log.truncate(Zxid(target)), want) {
            (Ok(()), Some(want)) => {
                assert_eq!(zxids(&log, 0), Ok(want.to_vec()), "truncated to {target}");
                log.append(&entry(target + 1)).unwrap();
                log.commit().unwrap();
                let all: Vec<i64> = want.iter().copied().chain([target + 1]).collect();
                assert_eq!(zxids(&log, 0), Ok(all));
            }
            (Err(PersistenceError::NothingToTruncate), None) => {}
            (other, _) => panic!("{target}: {other:?}"),
        }
    }

    #[test]
    fn truncation_keeps_everything_up_to_the_target() {
        check_truncate(10, Some(&[1, 2, 3, 4, 7, 8, 9, 10]));
        check_truncate(9, Some(&[1, 2, 3, 4, 7, 8, 9]));
        check_truncate(8, Some(&[1, 2, 3, 4, 7, 8]));
        check_truncate(4, Some(&[1, 2, 3, 4]));
        check_truncate(3, Some(&[1, 2, 3]));
        check_truncate(1, Some(&[1]));
        check_truncate(0, Some(&[]));
        // Not in the log: the next one goes.
        check_truncate(5, Some(&[1, 2, 3, 4]));
        // Beyond the log.
        check_truncate(11, None);
    }

    #[test]
    fn a_left_over_file_is_replaced_unless_it_holds_something() {
        let (sim, disk, dir) = sim_dir();
        let path = dir.join("log.5");
        sim.put(&path, b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0");
        let mut log = log_in(&disk, &dir);
        log.append(&entry(5)).unwrap();
        log.commit().unwrap();
        assert_eq!(zxids(&log, 0), Ok(vec![5]));
        let mut other = log_in(&disk, &dir);
        let before = sim.read(&path).unwrap();
        assert!(other.append(&entry(5)).is_err());
        assert_eq!(sim.read(&path).unwrap(), before);
    }

    #[test]
    fn the_last_logged_zxid_is_that_of_the_last_record() {
        let (sim, disk, dir) = sim_dir();
        let mut log = log_in(&disk, &dir);
        assert_eq!(log.last_logged_zxid().unwrap(), Zxid::NONE);
        log.append(&entry(3)).unwrap();
        log.append(&entry(4)).unwrap();
        log.commit().unwrap();
        sim.put(&dir.join("log.9"), &[]);
        assert_eq!(log.last_logged_zxid().unwrap(), Zxid(4));
    }

    #[test]
    fn huge_batches_are_written_on_the_way() {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let mut log = log_in(&disk, dir.path());
        for zxid in 1..=40 {
            log.append(&entry_of(zxid, 100_000)).unwrap();
        }
        assert!(log.buffer.len() < BUFFER_BYTES_MAX);
        log.commit().unwrap();
        assert_eq!(zxids(&log, 0), Ok((1..=40).collect()));
        let size = log.current_log_size();
        assert_eq!((log.total_log_size(), size / 100_000), (size, 40));
        log.close().unwrap();
        let file = std::fs::metadata(dir.path().join("log.1")).unwrap();
        assert_eq!(file.len(), size, "the padding is given back");
        assert_eq!(log.total_log_size(), size);
    }
}
