//! The files `currentEpoch` and `acceptedEpoch` beside the snapshots (Java: `loadDataBase`,
//! `readLongFromFile` and `writeLongToFile` of `QuorumPeer`).
//!
//! `acceptedEpoch` is the highest epoch that a leader proposed and this server promised to follow;
//! `currentEpoch` the last one whose leader it has synchronised with. Decimal text. A new value is
//! durable, the directory entry included, before it counts.
//!
//! Deliberate differences, all at the start (ZOOKEEPER-1653, 2307, 4269): a crash between two of
//! "log a transaction", "write currentEpoch" and "write acceptedEpoch" leaves files that disagree.
//! Java refuses to start on some of them; here the lower value is raised, for what is in the log
//! was sent by a leader whose epoch a quorum had accepted.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};

use crate::common::atomic_file::write_atomically;
use crate::common::java_number::parse_long;
use crate::proto::Zxid;

const CURRENT_EPOCH_FILE: &str = "currentEpoch";
const ACCEPTED_EPOCH_FILE: &str = "acceptedEpoch";
const TMP_EXTENSION: &str = ".tmp";

/// The two epochs of a server. Written by the thread of the peer alone, read by any.
#[derive(Debug)]
pub struct EpochFiles {
    snap_dir: PathBuf,
    /// Published after the file is durable.
    current: AtomicI64,
    accepted: AtomicI64,
}

impl EpochFiles {
    /// Reads the files in `snap_dir`, and makes or mends them by the last logged zxid.
    ///
    /// Errors: a file does not hold a number, or cannot be read or written.
    pub fn load(snap_dir: &Path, last_logged: Zxid) -> io::Result<EpochFiles> {
        let epoch_of_zxid = last_logged.epoch();
        let in_file = read(snap_dir, CURRENT_EPOCH_FILE)?;
        let left_over = read(snap_dir, &format!("{CURRENT_EPOCH_FILE}{TMP_EXTENSION}"));
        // A left-over that does not read is a write that was never finished.
        let current = start_epoch(in_file, left_over.ok().flatten(), epoch_of_zxid);
        match in_file {
            Some(epoch) if epoch == current => {}
            Some(epoch) => log::warn!(
                "The current epoch, {epoch:#x}, is older than the last zxid, {last_logged}. Setting \
                 current epoch to {current:#x}"
            ),
            None => log_default(CURRENT_EPOCH_FILE, current),
        }
        if in_file != Some(current) {
            write(snap_dir, CURRENT_EPOCH_FILE, current)?;
        }
        let in_file = read(snap_dir, ACCEPTED_EPOCH_FILE)?;
        let accepted = in_file.unwrap_or(epoch_of_zxid).max(current);
        match in_file {
            Some(epoch) if epoch == accepted => {}
            Some(epoch) => log::warn!(
                "The accepted epoch, {epoch:#x} is less than the current epoch, {current:#x}. \
                 Setting accepted epoch to {accepted:#x}"
            ),
            None => log_default(ACCEPTED_EPOCH_FILE, accepted),
        }
        if in_file != Some(accepted) {
            write(snap_dir, ACCEPTED_EPOCH_FILE, accepted)?;
        }
        Ok(EpochFiles {
            snap_dir: snap_dir.to_owned(),
            current: AtomicI64::new(current),
            accepted: AtomicI64::new(accepted),
        })
    }

    /// The epoch of the leader that this server last synchronised with.
    pub fn current_epoch(&self) -> i64 {
        self.current.load(Ordering::Acquire)
    }

    /// The highest epoch that this server has promised to follow.
    pub fn accepted_epoch(&self) -> i64 {
        self.accepted.load(Ordering::Acquire)
    }

    /// Writes `currentEpoch`; after an error the old value counts, in memory and after a restart
    /// either of the two.
    pub fn set_current_epoch(&self, epoch: i64) -> io::Result<()> {
        write(&self.snap_dir, CURRENT_EPOCH_FILE, epoch)?;
        self.current.store(epoch, Ordering::Release);
        Ok(())
    }

    /// Writes `acceptedEpoch`; as [`set_current_epoch`](Self::set_current_epoch).
    pub fn set_accepted_epoch(&self, epoch: i64) -> io::Result<()> {
        write(&self.snap_dir, ACCEPTED_EPOCH_FILE, epoch)?;
        self.accepted.store(epoch, Ordering::Release);
        Ok(())
    }
}

/// The current epoch to start with: the file's, unless the log is of a later one. Then the value
/// whose rename a crash prevented counts, if it is one (ZOOKEEPER-4269).
fn start_epoch(in_file: Option<i64>, left_over: Option<i64>, epoch_of_zxid: i64) -> i64 {
    match in_file {
        Some(epoch) if epoch >= epoch_of_zxid => epoch,
        Some(_) => left_over.unwrap_or(epoch_of_zxid).max(epoch_of_zxid),
        None => epoch_of_zxid,
    }
}

fn log_default(name: &str, epoch: i64) {
    log::info!(
        "{name} not found! Creating with a reasonable default of {epoch}. This should only happen \
         when you are upgrading your installation"
    );
}

/// The number in the first line; `None` without a file.
fn read(dir: &Path, name: &str) -> io::Result<Option<i64>> {
    let path = dir.join(name);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other.map_err(|error| at(&path, &error))?,
    };
    let line = text.split(['\n', '\r']).next().unwrap_or_default();
    let number = parse_long(line);
    let error =
        || io::Error::new(ErrorKind::InvalidData, format!("Found {line:?} in {}", path.display()));
    number.ok_or_else(error).map(Some)
}

fn write(dir: &Path, name: &str, epoch: i64) -> io::Result<()> {
    let path = dir.join(name);
    write_atomically(&path, |out| write!(out, "{epoch}")).map_err(|error| at(&path, &error))
}

fn at(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `[currentEpoch, currentEpoch.tmp, acceptedEpoch]` and the last zxid's epoch give the two
    /// epochs, in memory and in the files.
    fn check(files: [Option<&str>; 3], epoch_of_zxid: i64, expected: Option<(i64, i64)>) {
        let dir = tempfile::tempdir().unwrap();
        let names = ["currentEpoch", "currentEpoch.tmp", "acceptedEpoch"];
        for (name, text) in names.iter().zip(files) {
            if let Some(text) = text {
                fs::write(dir.path().join(name), text).unwrap();
            }
        }
        let loaded = EpochFiles::load(dir.path(), Zxid::new(epoch_of_zxid, 7));
        let actual =
            loaded.as_ref().ok().map(|epochs| (epochs.current_epoch(), epochs.accepted_epoch()));
        assert_eq!(actual, expected, "{files:?}, {epoch_of_zxid}");
        if let Some((current, accepted)) = expected {
            let first = |name| read(dir.path(), name).unwrap();
            assert_eq!(first(names[0]), Some(current));
            assert_eq!(first(names[2]), Some(accepted));
        }
    }

    #[test]
    fn agreeing_files_are_taken_as_they_are() {
        check([Some("3"), None, Some("4")], 3, Some((3, 4)));
        check([Some("3\n"), None, Some("3\r\nx")], 1, Some((3, 3)));
        // The left-over of a write that did not become valid does not count.
        check([Some("3"), Some("9"), Some("9")], 3, Some((3, 9)));
    }

    #[test]
    fn missing_files_are_made_from_the_log() {
        check([None, None, None], 0, Some((0, 0)));
        check([None, None, None], 5, Some((5, 5)));
        check([Some("6"), None, None], 5, Some((6, 6)));
    }

    #[test]
    fn epochs_behind_the_log_are_raised_and_the_start_goes_on() {
        check([Some("3"), None, Some("5")], 5, Some((5, 5)));
        check([Some("3"), None, Some("3")], 5, Some((5, 5)));
        check([Some("3"), Some("6"), Some("6")], 5, Some((6, 6)));
        check([Some("3"), Some("4"), Some("6")], 5, Some((5, 6)));
        check([Some("3"), Some(""), Some("6")], 5, Some((5, 6)));
        // ZOOKEEPER-2307.
        check([Some("4"), None, Some("3")], 4, Some((4, 4)));
    }

    #[test]
    fn damaged_files_stop_the_start() {
        check([Some(""), None, Some("3")], 3, None);
        check([Some("3"), None, Some("x")], 3, None);
    }

    #[test]
    fn new_epochs_are_in_the_files_before_they_count() {
        let dir = tempfile::tempdir().unwrap();
        let epochs = EpochFiles::load(dir.path(), Zxid(0)).unwrap();
        epochs.set_accepted_epoch(8).unwrap();
        epochs.set_current_epoch(7).unwrap();
        let file = |name| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!((file("currentEpoch"), file("acceptedEpoch")), ("7".into(), "8".into()));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        fs::remove_dir_all(dir.path()).unwrap();
        assert!(epochs.set_current_epoch(9).is_err());
        assert_eq!((epochs.current_epoch(), epochs.accepted_epoch()), (7, 8));
    }
}
