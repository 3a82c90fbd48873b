//! What a leader's history replaces on the disk of a learner (`ZKDatabase.truncateLog`, and the files
//! that Java leaves lying after a snapshot from the leader).
//!
//! Nothing is deleted: files go into the folder `replaced` beside them, where recovery does not look,
//! and stay there until the next time.
//!
//! Deliberate differences:
//! - Snapshots that are newer than the point to which the log is cut go as well. Java loads such a
//!   snapshot right after cutting the log, with the transactions that had to go.
//! - Nothing is touched unless what is left reaches up to that point. Java finds out afterwards and
//!   ends the process (exit code 13).

use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::error::{AtPath, PersistenceError};
use super::file_txn_snap_log::{FileTxnSnapLog, follows};
use super::util::{LOG_FILE_PREFIX, SNAPSHOT_FILE_PREFIX, ZxidFile, sort_data_dir};
use crate::proto::Zxid;

/// The folder, inside `version-2`.
pub const REPLACED_DIR: &str = "replaced";

impl FileTxnSnapLog {
    /// Forgets everything behind `zxid`: cuts the log, then sets newer snapshots aside; durable. The
    /// tree has to be restored afterwards. An error, and nothing has changed, when snapshots and log
    /// do not hold what leads up to `zxid`.
    ///
    /// Not while a snapshot is being written.
    pub fn truncate_history(&mut self, zxid: Zxid) -> Result<(), PersistenceError> {
        self.check_reaches(zxid)?;
        self.discard_log_after(zxid)?;
        let snapshots = sort_data_dir(self.disk().as_ref(), self.snap_dir(), SNAPSHOT_FILE_PREFIX)?;
        let newer = snapshots.into_iter().filter(|file| file.zxid > zxid);
        set_aside(self.disk().as_ref(), self.snap_dir(), SNAPSHOT_FILE_PREFIX, newer)
    }

    /// Cuts what the log holds behind `zxid`, durable; nothing happens when it holds nothing there.
    pub fn discard_log_after(&mut self, zxid: Zxid) -> Result<(), PersistenceError> {
        match self.truncate_log(zxid) {
            Err(PersistenceError::NothingToTruncate) => Ok(()),
            other => other,
        }
    }

    /// Sets all logs and all snapshots aside but `snapshot`, which has replaced their history.
    pub fn set_aside_all_but(&mut self, snapshot: &Path) -> Result<(), PersistenceError> {
        self.close()?;
        let disk = self.disk().as_ref();
        let snapshots = sort_data_dir(disk, self.snap_dir(), SNAPSHOT_FILE_PREFIX)?;
        let others = snapshots.into_iter().filter(|file| file.path != snapshot);
        set_aside(disk, self.snap_dir(), SNAPSHOT_FILE_PREFIX, others)?;
        // Last: as long as an older snapshot is there, its log is too.
        let logs = sort_data_dir(disk, self.data_log_dir(), LOG_FILE_PREFIX)?;
        set_aside(disk, self.data_log_dir(), LOG_FILE_PREFIX, logs)
    }

    /// An error unless a snapshot and the log behind it lead up to `zxid` without a hole.
    fn check_reaches(&mut self, zxid: Zxid) -> Result<(), PersistenceError> {
        self.close()?;
        let snapshots = self.snap_log().find_n_valid_snapshots(usize::MAX)?;
        let base = snapshots.into_iter().map(|file| file.zxid).find(|named| *named <= zxid);
        let Some(mut last) = base else { return Err(PersistenceError::NothingToTruncate) };
        let start = last.next();
        for entry in self.read_txn_log(start)? {
            let found = entry?.zxid();
            if found > zxid || last == zxid {
                break;
            }
            if !follows(last, found) {
                let path = self.data_log_dir().to_owned();
                return Err(PersistenceError::Gap { path, after: last, found });
            }
            last = last.max(found);
        }
        if last == zxid { Ok(()) } else { Err(PersistenceError::NothingToTruncate) }
    }
}

/// Moves `files` of `dir`, all named with `prefix`, into its folder, in place of those there.
fn set_aside(
    disk: &dyn Disk,
    dir: &Path,
    prefix: &str,
    files: impl IntoIterator<Item = ZxidFile>,
) -> Result<(), PersistenceError> {
    let mut files = files.into_iter().peekable();
    if files.peek().is_none() {
        return Ok(());
    }
    let folder = dir.join(REPLACED_DIR);
    disk.create_dir_all(&folder).at("create", &folder)?;
    for old in sort_data_dir(disk, &folder, prefix)? {
        disk.remove(&old.path).at("remove", &old.path)?;
    }
    for ZxidFile { path, .. } in files {
        let to: PathBuf = folder.join(path.file_name().unwrap_or_default());
        log::info!("Setting {} aside as {}", path.display(), to.display());
        disk.rename(&path, &to).at("rename", &path)?;
    }
    disk.sync_dir(&folder).at("sync", &folder)?;
    disk.sync_dir(dir).at("sync", dir)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::file_snap::Sessions;
    use super::super::file_txn_snap_log::SnapLogOptions;
    use super::super::sim_disk::{SimDisk, Unsynced};
    use super::super::testing::{FakeSource, FakeTree, entry};
    use super::*;

    fn open(disk: &SimDisk) -> FileTxnSnapLog {
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        let data = Path::new("/data");
        FileTxnSnapLog::new(disk, data, data, SnapLogOptions::default()).unwrap()
    }

    fn recover(disk: &SimDisk) -> Result<Vec<i64>, PersistenceError> {
        let mut tree = FakeTree::default();
        open(disk).restore(&mut tree, &mut Sessions::new(), &mut |_| {})?;
        Ok(tree.zxids)
    }

    fn save(store: &FileTxnSnapLog, zxid: i64) -> PathBuf {
        let tree = FakeTree::with(1..=zxid);
        let mut source = FakeSource::new(&tree);
        store.save(Zxid(zxid), &Sessions::new(), &mut source).unwrap().path
    }

    /// Transactions 1 to 9, a log from 1 and one from 6, snapshots of these zxids.
    fn database(snapshots: &[i64]) -> (SimDisk, FileTxnSnapLog) {
        let disk = SimDisk::default();
        let mut store = open(&disk);
        store.restore(&mut FakeTree::default(), &mut Sessions::new(), &mut |_| {}).unwrap();
        for zxid in 1..=9 {
            store.append(&entry(zxid)).unwrap();
            if zxid == 5 {
                store.roll_log().unwrap();
            }
            if snapshots.contains(&zxid) {
                save(&store, zxid);
            }
        }
        store.commit().unwrap();
        (disk, store)
    }

    fn names(disk: &SimDisk, dir: &str) -> Vec<String> {
        let mut names = disk.list(Path::new(dir)).unwrap();
        names.sort();
        names
    }

    #[test]
    fn a_newer_snapshot_does_not_bring_back_what_was_cut_off() {
        let (disk, mut store) = database(&[3, 8]);
        store.truncate_history(Zxid(6)).unwrap();
        assert_eq!(recover(&disk).unwrap(), (1..=6).collect::<Vec<_>>());
        assert_eq!(names(&disk, "/data/version-2/replaced"), ["snapshot.8"]);
        assert_eq!(
            store.append(&entry(7)).and_then(|()| store.commit()).map(|_| ()).ok(),
            Some(())
        );
        assert_eq!(recover(&disk).unwrap(), (1..=7).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_changes_when_the_files_do_not_reach_so_far_back() {
        let (disk, mut store) = database(&[8]);
        let snapshot_0 = Path::new("/data/version-2/snapshot.0");
        disk.remove(snapshot_0).unwrap();
        let before = names(&disk, "/data/version-2");
        assert!(store.truncate_history(Zxid(6)).is_err());
        assert!(store.truncate_history(Zxid(12)).is_err());
        assert_eq!(names(&disk, "/data/version-2"), before);
        assert_eq!(recover(&disk).unwrap(), (1..=9).collect::<Vec<_>>());
    }

    #[test]
    fn a_snapshot_from_the_leader_takes_the_place_of_everything() {
        let (disk, mut store) = database(&[3]);
        let snapshot = save(&store, 20);
        store.set_aside_all_but(&snapshot).unwrap();
        assert_eq!(names(&disk, "/data/version-2"), ["snapshot.14"]);
        let aside = ["log.1", "log.6", "snapshot.0", "snapshot.3"];
        assert_eq!(names(&disk, "/data/version-2/replaced"), aside);
        assert_eq!(recover(&disk).unwrap(), (1..=20).collect::<Vec<_>>());
        let snapshot = save(&store, 30);
        store.set_aside_all_but(&snapshot).unwrap();
        let aside = ["log.1", "log.6", "snapshot.14"];
        assert_eq!(names(&disk, "/data/version-2/replaced"), aside);
    }

    /// Cuts the power at each call of `act` and looks at what is recovered.
    fn at_every_call(
        prepare: impl Fn() -> (SimDisk, FileTxnSnapLog),
        act: impl Fn(&mut FileTxnSnapLog),
        check: impl Fn(&[i64]),
    ) {
        let (disk, mut store) = prepare();
        let begin = disk.calls();
        act(&mut store);
        for call in begin..=disk.calls() {
            for unsynced in [Unsynced::Lost, Unsynced::Kept] {
                let (disk, mut store) = prepare();
                disk.fail_all_from(call);
                act(&mut store);
                let recovered = recover(&disk.after_power_loss(unsynced));
                check(&recovered.unwrap_or_else(|error| panic!("call {call}: {error}")));
            }
        }
    }

    #[test]
    fn power_may_fail_at_any_moment_of_a_truncation() {
        let act = |store: &mut FileTxnSnapLog| {
            let _ = store.truncate_history(Zxid(4));
        };
        for snapshots in [&[3][..], &[], &[3, 8], &[4, 7, 8]] {
            at_every_call(
                || database(snapshots),
                act,
                |zxids| {
                    assert!(zxids.len() >= 4, "{zxids:?}");
                    assert!(zxids.iter().copied().eq(1..=zxids.len() as i64), "{zxids:?}");
                },
            );
        }
    }

    #[test]
    fn power_may_fail_at_any_moment_of_setting_aside() {
        let prepare = || {
            let (disk, store) = database(&[3, 8]);
            save(&store, 20);
            (disk, store)
        };
        let act = |store: &mut FileTxnSnapLog| {
            let _ = store.set_aside_all_but(Path::new("/data/version-2/snapshot.14"));
        };
        at_every_call(prepare, act, |zxids| assert_eq!(zxids.len(), 20));
    }
}
