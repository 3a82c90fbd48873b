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
