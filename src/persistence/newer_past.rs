//! Removing what a leader has taken away: logs and snapshots that are newer than the state a member
//! of an ensemble was brought to.
//!
//! Java has nothing like it: `FileTxnSnapLog.truncateLog` cuts the log alone, and a snapshot from
//! the leader is only written beside what is there. A newer snapshot of a history that lost, or a
//! log that goes on behind the leader's snapshot, would be restored by the next start.

use super::FileTxnSnapLog;
use super::error::{AtPath, PersistenceError};
use super::snap_stream::verify_last_seal;
use super::util::{SNAPSHOT_FILE_PREFIX, ZxidFile, sort_data_dir};
use crate::proto::Zxid;

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

    fn snapshots(
        &self,
        mut is_wanted: impl FnMut(&ZxidFile) -> bool,
    ) -> Result<Vec<ZxidFile>, PersistenceError> {
        let mut files = sort_data_dir(self.disk.as_ref(), &self.snap_dir, SNAPSHOT_FILE_PREFIX)?;
        files.retain(|file| is_wanted(file));
        Ok(files)
    }
}
