//! File names of logs and snapshots: the parts of `org.apache.zookeeper.server.persistence.Util`
//! that are still in use. Its record framing is in `file_txn_log` and `txn_log_iterator`.
//!
//! Deliberate difference: a name that ends in `.tmp` is no snapshot. Java would take the left-over
//! `snapshot.5.tmp` of an interrupted atomic write for snapshot 5.

use std::path::{Path, PathBuf};

use super::disk::Disk;
use super::error::{AtPath, PersistenceError};
use super::snap_stream::StreamMode;
use crate::proto::Zxid;

/// The first part of a log's name.
pub const LOG_FILE_PREFIX: &str = "log";
/// The first part of a snapshot's name.
pub const SNAPSHOT_FILE_PREFIX: &str = "snapshot";

/// `log.<zxid>` (`Util.makeLogName`): zxid of its first transaction, hexadecimal, no padding.
pub fn make_log_name(zxid: Zxid) -> String {
    format!("{LOG_FILE_PREFIX}.{:x}", zxid.0)
}

/// `snapshot.<zxid>[.gz|.snappy]` (`Util.makeSnapshotName`): last processed zxid when the write
/// began.
pub fn make_snapshot_name(zxid: Zxid, mode: StreamMode) -> String {
    format!("{SNAPSHOT_FILE_PREFIX}.{:x}{}", zxid.0, mode.file_extension())
}

/// The zxid in a file name (`Util.getZxidFromName`); `None` where Java answers -1.
pub fn zxid_from_name(name: &str, prefix: &str) -> Option<Zxid> {
    let mut parts = name.split('.');
    if parts.next() != Some(prefix) {
        return None;
    }
    let zxid = i64::from_str_radix(parts.next()?, 16).ok()?;
    (zxid >= 0 && !name.ends_with(".tmp")).then_some(Zxid(zxid))
}

/// Whether the content checks of the directories count `name` as a log (`Util.isLogFileName`).
pub fn is_log_file_name(name: &str) -> bool {
    name.strip_prefix(LOG_FILE_PREFIX).is_some_and(|rest| rest.starts_with('.'))
}

/// Whether the content checks count `name` as a snapshot (`Util.isSnapshotFileName`).
pub fn is_snapshot_file_name(name: &str) -> bool {
    name.strip_prefix(SNAPSHOT_FILE_PREFIX).is_some_and(|rest| rest.starts_with('.'))
}

/// A log or snapshot and the zxid in its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZxidFile {
    /// The zxid in the name.
    pub zxid: Zxid,
    /// The whole path.
    pub path: PathBuf,
}

/// The files of `dir` named `prefix.<zxid>…`, by ascending zxid (`Util.sortDataDir`). Files of
/// other names are left out; a missing directory is empty, as in Java.
pub fn sort_data_dir(
    disk: &dyn Disk,
    dir: &Path,
    prefix: &str,
) -> Result<Vec<ZxidFile>, PersistenceError> {
    let names = match disk.list(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        other => other.at("list", dir)?,
    };
    let mut files: Vec<ZxidFile> = names
        .into_iter()
        .filter_map(|name| {
            let zxid = zxid_from_name(&name, prefix)?;
            Some(ZxidFile { zxid, path: dir.join(name) })
        })
        .collect();
    files.sort_by(|a, b| (a.zxid, &a.path).cmp(&(b.zxid, &b.path)));
    Ok(files)
}

/// The files that may hold transactions from `zxid` on (`FileTxnLog.getLogFiles`): the newest one
/// whose first transaction is not after `zxid`, and all behind it. `files` is sorted ascending.
pub fn log_files_from(files: &[ZxidFile], zxid: Zxid) -> &[ZxidFile] {
    let start = files.iter().rposition(|file| file.zxid <= zxid).unwrap_or(0);
    files.get(start..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_hex_without_padding() {
        assert_eq!(make_log_name(Zxid(0x1_0000_00ab)), "log.1000000ab");
        assert_eq!(make_snapshot_name(Zxid(0), StreamMode::Checked), "snapshot.0");
        assert_eq!(make_snapshot_name(Zxid(0xa), StreamMode::Gzip), "snapshot.a.gz");
        assert_eq!(make_snapshot_name(Zxid(0xa), StreamMode::Snappy), "snapshot.a.snappy");
    }

    #[test]
    fn the_zxid_is_the_second_part_of_the_name() {
        let check = |name, prefix, zxid: i64| {
            assert_eq!(zxid_from_name(name, prefix).map_or(-1, |z| z.0), zxid, "{name}");
        };
        check("log.1f", "log", 0x1f);
        check("log.1F", "log", 0x1f);
        check("snapshot.1f.gz", "snapshot", 0x1f);
        check("snapshot.1f.snappy", "snapshot", 0x1f);
        check("snapshot.1f", "log", -1);
        check("log", "log", -1);
        check("log.", "log", -1);
        check("log.xyz", "log", -1);
        check("log.ffffffffffffffff", "log", -1);
        check("logs.1", "log", -1);
        check("snapshot.5.tmp", "snapshot", -1);
    }

    #[test]
    fn reading_starts_in_the_newest_file_that_may_hold_the_zxid() {
        let file = |zxid| ZxidFile { zxid: Zxid(zxid), path: make_log_name(Zxid(zxid)).into() };
        let files = [file(1), file(5), file(9)];
        let check = |zxid, first: usize| {
            assert_eq!(log_files_from(&files, Zxid(zxid)), &files[first..], "{zxid}");
        };
        check(0, 0);
        check(1, 0);
        check(4, 0);
        check(5, 1);
        check(8, 1);
        check(9, 2);
        check(99, 2);
        assert_eq!(log_files_from(&[], Zxid(1)), &[]);
    }
}
