//! Removing what a leader has taken away: logs and snapshots that are newer than the state a member
//! of an ensemble was brought to.
//!
//! Java has nothing like it: `FileTxnSnapLog.truncateLog` cuts the log alone, and a snapshot from
//! the leader is only written beside what is there. A newer snapshot of a history that lost, or a
//! log that goes on behind the leader's snapshot, would be restored by the next start.

use super::FileTxnSnapLog;
use super::error::{AtPath, PersistenceError};
use super::snap_stream::verify_last_seal;
use super::util::{LOG_FILE_PREFIX, SNAPSHOT_FILE_PREFIX, ZxidFile, sort_data_dir};
use crate::proto::Zxid;

/// In front of the names of files that no recovery looks at, Java's neither.
const REPLACED_PREFIX: &str = "replaced.";

impl FileTxnSnapLog {
    /// Whether a whole snapshot of a state at or before `zxid` exists.
    pub fn has_snapshot_up_to(&self, zxid: Zxid) -> Result<bool, PersistenceError> {
        let snapshots = self.snapshots(|file| file.zxid <= zxid)?;
        for file in snapshots.iter().rev() {
            if verify_last_seal(self.disk.as_ref(), &file.path)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes the snapshots of states after `zxid`, durably. The newest goes first, so that a crash
    /// in between leaves no hole.
    pub fn remove_snapshots_after(&self, zxid: Zxid) -> Result<(), PersistenceError> {
        let newer = self.snapshots(|file| file.zxid > zxid)?;
        for file in newer.iter().rev() {
            log::warn!("Removing {}, which is newer than {zxid}", file.path.display());
            self.disk.remove(&file.path).at("remove", &file.path)?;
            self.disk.sync_dir(&self.snap_dir).at("sync", &self.snap_dir)?;
        }
        Ok(())
    }

    /// Removes the transactions after `zxid` if there are any; the next one may be any later than
    /// `zxid`.
    pub fn remove_log_after(&mut self, zxid: Zxid) -> Result<(), PersistenceError> {
        if self.last_logged_zxid()? > zxid {
            match self.truncate_log(zxid) {
                Ok(()) | Err(PersistenceError::NothingToTruncate) => {}
                Err(error) => return Err(error),
            }
        }
        self.txn_log.set_last_zxid_seen(zxid);
        Ok(())
    }

    /// Sets all logs and all snapshots but that of `zxid` aside, under names that begin with
    /// `replaced.`; those of an earlier time are removed. The snapshot of `zxid` must be durable.
    pub fn set_aside_others(&mut self, zxid: Zxid) -> Result<(), PersistenceError> {
        for dir in [&self.snap_dir, &self.log_dir] {
            for name in self.disk.list(dir).at("list", dir)? {
                if name.starts_with(REPLACED_PREFIX) {
                    let path = dir.join(name);
                    self.disk.remove(&path).at("remove", &path)?;
                }
            }
        }
        // Snapshots of a newer past first: a start in between must not find them without their log.
        let snapshots = self.snapshots(|file| file.zxid != zxid)?;
        let logs = sort_data_dir(self.disk.as_ref(), &self.log_dir, LOG_FILE_PREFIX)?;
        for (dir, files) in [(&self.snap_dir, snapshots), (&self.log_dir, logs)] {
            for file in files.iter().rev() {
                let name = file.path.file_name().and_then(|name| name.to_str());
                let to = dir.join(format!("{REPLACED_PREFIX}{}", name.unwrap_or_default()));
                self.disk.rename(&file.path, &to).at("rename", &file.path)?;
                self.disk.sync_dir(dir).at("sync", dir)?;
            }
        }
        self.txn_log.set_last_zxid_seen(zxid);
        Ok(())
    }

    fn snapshots(
        &self,
        mut is_wanted: impl FnMut(&ZxidFile) -> bool,
    ) -> Result<Vec<ZxidFile>, PersistenceError> {
        let mut files = sort_data_dir(self.disk.as_ref(), &self.snap_dir, SNAPSHOT_FILE_PREFIX)?;
        files.retain(|file| is_wanted(file));
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::super::disk::Disk;
    use super::super::sim_disk::SimDisk;
    use super::super::testing::{FakeSource, FakeTree, entry};
    use super::super::{Sessions, SnapLogOptions};
    use super::*;

    /// Snapshots of 0 and `snapshots`, and a log from 1 to 9.
    fn database(snapshots: &[i64]) -> (SimDisk, FileTxnSnapLog) {
        let disk = SimDisk::default();
        let mut store = reopen(&disk);
        restore(&mut store);
        for zxid in 1..=9 {
            store.append(&entry(zxid)).unwrap();
            if snapshots.contains(&zxid) {
                store.commit().unwrap();
                let tree = FakeTree::with(1..=zxid);
                store.save(Zxid(zxid), &Sessions::new(), &mut FakeSource::new(&tree)).unwrap();
                store.roll_log().unwrap();
            }
        }
        store.close().unwrap();
        (disk, store)
    }

    fn reopen(disk: &SimDisk) -> FileTxnSnapLog {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let data = Path::new("/data");
        FileTxnSnapLog::new(disk, data, data, SnapLogOptions::default()).unwrap()
    }

    fn restore(store: &mut FileTxnSnapLog) -> Vec<i64> {
        let (mut tree, mut sessions) = (FakeTree::default(), Sessions::new());
        store.restore(&mut tree, &mut sessions, &mut |_| {}).unwrap();
        tree.zxids
    }

    fn names(disk: &SimDisk) -> Vec<String> {
        let mut names = disk.list(Path::new("/data/version-2")).unwrap();
        names.sort();
        names
    }

    #[test]
    fn truncation_does_not_come_back_with_a_newer_snapshot() {
        let (disk, mut store) = database(&[3, 7]);
        assert!(store.has_snapshot_up_to(Zxid(5)).unwrap());
        store.remove_snapshots_after(Zxid(5)).unwrap();
        store.truncate_log(Zxid(5)).unwrap();
        assert_eq!(restore(&mut reopen(&disk)), [1, 2, 3, 4, 5]);
        assert_eq!(names(&disk), ["log.1", "log.4", "snapshot.0", "snapshot.3"]);
    }

    #[test]
    fn log_behind_a_received_snapshot_goes() {
        let (disk, mut store) = database(&[]);
        store.remove_log_after(Zxid(4)).unwrap();
        assert_eq!(restore(&mut reopen(&disk)), [1, 2, 3, 4]);
        let mut store = reopen(&disk);
        restore(&mut store);
        store.remove_log_after(Zxid(20)).unwrap();
        store.append(&entry(21)).unwrap();
        assert!(store.append(&entry(20)).is_err());
    }

    #[test]
    fn files_of_a_replaced_history_are_set_aside() {
        let (disk, mut store) = database(&[3, 7]);
        let tree = FakeTree::with(1..=5);
        store.save(Zxid(5), &Sessions::new(), &mut FakeSource::new(&tree)).unwrap();
        store.set_aside_others(Zxid(5)).unwrap();
        assert_eq!(restore(&mut reopen(&disk)), [1, 2, 3, 4, 5]);
        let is_aside = |name: &&String| name.starts_with("replaced.");
        assert_eq!(names(&disk).iter().filter(is_aside).count(), 6);
        store.set_aside_others(Zxid(5)).unwrap();
        assert_eq!(names(&disk), ["snapshot.5"]);
    }
}
