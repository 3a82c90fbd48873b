//! Removes old snapshots and logs: `org.apache.zookeeper.server.PurgeTxnLog` without its `main`.
//!
//! Deliberate difference: a snapshot counts as one to keep only when its checksum is right. Java
//! looks at its last bytes (its first ones, when it is compressed), and so may remove the logs that
//! the newest readable snapshot needs (ZOOKEEPER-3231). The price is to read the kept ones.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::Disk;
use super::error::{AtPath, PersistenceError};
use super::file_snap::FileSnap;
use super::snap_stream::StreamMode;
use super::util::{LOG_FILE_PREFIX, SNAPSHOT_FILE_PREFIX, log_files_from, sort_data_dir};

/// The least number of snapshots that can be kept.
pub const RETAIN_COUNT_MIN: usize = 3;

/// Keeps the newest `count` readable snapshots and every log that recovery from the oldest of them
/// needs; removes what is older and returns it. The directories are the `version-2` ones. A file
/// that cannot be removed is logged and left.
pub fn purge(
    disk: &Arc<dyn Disk>,
    log_dir: &Path,
    snap_dir: &Path,
    count: usize,
) -> Result<Vec<PathBuf>, PersistenceError> {
    if count < RETAIN_COUNT_MIN {
        return Err(PersistenceError::RetainCount);
    }
    let snapshots = FileSnap::new(Arc::clone(disk), snap_dir.to_owned(), StreamMode::Checked)
        .find_n_verified_snapshots(count)?;
    let Some(oldest) = snapshots.last() else { return Ok(Vec::new()) };

    let logs = sort_data_dir(disk.as_ref(), log_dir, LOG_FILE_PREFIX)?;
    // A log may hold transactions behind the snapshot although its name is below it, and may even
    // reach over several snapshots: the newest such log stays.
    let kept = log_files_from(&logs, oldest.zxid).len();
    let old_logs = logs.get(..logs.len() - kept).unwrap_or_default();
    let old_snapshots = sort_data_dir(disk.as_ref(), snap_dir, SNAPSHOT_FILE_PREFIX)?;
    let old_snapshots = old_snapshots.iter().filter(|file| file.zxid < oldest.zxid);

    let mut removed = Vec::new();
    for file in old_logs.iter().chain(old_snapshots) {
        match disk.remove(&file.path).at("remove", &file.path) {
            Ok(()) => {
                log::info!("Removing file: {}", file.path.display());
                removed.push(file.path.clone());
            }
            Err(error) => log::warn!("Failed to remove {error}"),
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::super::file_snap::Sessions;
    use super::super::sim_disk::SimDisk;
    use super::super::testing::{FakeSource, FakeTree, entry, log_in, sim_dir};
    use super::*;
    use crate::proto::Zxid;

    /// Logs that begin at these zxids and go on up to 100, snapshots at those.
    fn data_dir(logs: &[i64], snapshots: &[i64]) -> (SimDisk, Arc<dyn Disk>, PathBuf) {
        let (sim, disk, dir) = sim_dir();
        let mut log = log_in(&disk, &dir);
        for zxid in logs[0]..=100 {
            if logs.contains(&zxid) {
                log.roll_log().unwrap();
            }
            log.append(&entry(zxid)).unwrap();
        }
        log.close().unwrap();
        let snap = FileSnap::new(Arc::clone(&disk), dir.clone(), StreamMode::Checked);
        for &zxid in snapshots {
            let tree = FakeTree::with(1..=zxid);
            let mut source = FakeSource::new(&tree);
            snap.serialize(Zxid(zxid), &Sessions::new(), &mut source).unwrap();
        }
        (sim, disk, dir)
    }

    fn names(disk: &SimDisk, dir: &Path) -> Vec<String> {
        let mut names = disk.list(dir).unwrap();
        names.sort();
        names
    }

    #[test]
    fn logs_needed_from_the_oldest_kept_snapshot_stay() {
        let (sim, disk, dir) = data_dir(&[1, 16, 32, 48], &[15, 32, 40, 64, 80]);
        purge(&disk, &dir, &dir, 3).unwrap();
        // 40 is the oldest to stay, and log.20 reaches over it.
        assert_eq!(
            names(&sim, &dir),
            ["log.20", "log.30", "snapshot.28", "snapshot.40", "snapshot.50"]
        );
        assert!(purge(&disk, &dir, &dir, 3).unwrap().is_empty());
    }

    #[test]
    fn zookeeper_3231_broken_snapshots_do_not_count() {
        let (sim, disk, dir) = data_dir(&[1, 16, 32], &[8, 16, 24]);
        for (name, bytes) in [
            ("snapshot.50", &b""[..]),
            ("snapshot.51", b"looks valid from behind\0\0\0\x01/"),
            ("snapshot.52.gz", b"\x1f\x8b"),
            ("snapshot.53.snappy", b"\x82SNAPPY\0"),
        ] {
            sim.put(&dir.join(name), bytes);
        }
        purge(&disk, &dir, &dir, 3).unwrap();
        let left = names(&sim, &dir);
        for name in ["log.1", "log.10", "log.20", "snapshot.8", "snapshot.10", "snapshot.18"] {
            assert!(left.iter().any(|left| left == name), "{name} is needed");
        }
    }

    #[test]
    fn nothing_goes_without_a_readable_snapshot_and_fewer_than_three_are_refused() {
        let (sim, disk, dir) = data_dir(&[1, 16], &[]);
        assert!(purge(&disk, &dir, &dir, 3).unwrap().is_empty());
        assert_eq!(names(&sim, &dir), ["log.1", "log.10"]);
        assert!(matches!(purge(&disk, &dir, &dir, 2), Err(PersistenceError::RetainCount)));
    }
}
