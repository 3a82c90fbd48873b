//! The transaction log of a stopped server, read record by record without the server's own code, and
//! ways to damage its end.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail, ensure};

use crate::proto::TxnLogEntry;

/// A record: the entry and the length of its payload.
#[derive(Debug, Clone)]
pub struct LogRecord {
    /// The transaction.
    pub entry: TxnLogEntry,
    /// Bytes of the payload.
    pub bytes: usize,
}

const HEADER_BYTES: usize = 16;
/// Checksum and length before the payload.
const PREFIX_BYTES: usize = 12;

/// The log files below `version-2`, by zxid.
pub fn log_files(version_dir: &Path) -> anyhow::Result<Vec<(i64, PathBuf)>> {
    let mut files = Vec::new();
    let entries = fs::read_dir(version_dir).with_context(|| version_dir.display().to_string())?;
    for file in entries {
        let file = file?;
        let name = file.file_name().to_string_lossy().into_owned();
        let zxid = name.strip_prefix("log.").and_then(|hex| i64::from_str_radix(hex, 16).ok());
        files.extend(zxid.map(|zxid| (zxid, file.path())));
    }
    files.sort();
    Ok(files)
}

/// All records of all files, in order; an error for anything that Java would not have written.
pub fn log_records(version_dir: &Path) -> anyhow::Result<Vec<LogRecord>> {
    let mut records = Vec::new();
    for (first, path) in log_files(version_dir)? {
        let bytes = fs::read(&path)?;
        let file = path.display();
        ensure!(bytes.get(..4) == Some(b"ZKLG"), "{file}: no log");
        let version = [0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0];
        ensure!(bytes.get(4..HEADER_BYTES) == Some(&version), "{file}: not version 2, dbid 0");
        let mut at = HEADER_BYTES;
        let from = records.len();
        while let Some(record) = Record::at(&bytes, at) {
            ensure!(record.is_whole, "{file}: the record at {at} is not whole");
            ensure!(record.is_checked, "{file}: the checksum of the record at {at}");
            let entry =
                TxnLogEntry::decode(record.payload).with_context(|| format!("{file}: {at}"))?;
            if records.len() == from {
                ensure!(entry.header.zxid.0 == first, "{file} begins with {}", entry.header.zxid);
            }
            records.push(LogRecord { entry, bytes: record.payload.len() });
            at = record.end;
        }
        let rest = bytes.get(at..).unwrap_or_default();
        ensure!(rest.iter().all(|byte| *byte == 0), "{file} has no clean end at {at}");
    }
    Ok(records)
}

/// A record as it lies in the file.
struct Record<'a> {
    payload: &'a [u8],
    /// Behind its last byte.
    end: usize,
    is_whole: bool,
    is_checked: bool,
}

impl Record<'_> {
    /// `None` for padding and at the end.
    fn at(bytes: &[u8], at: usize) -> Option<Record<'_>> {
        let rest = bytes.get(at..)?;
        let (checksum, behind) = rest.split_first_chunk::<8>()?;
        let (length, behind) = behind.split_first_chunk::<4>()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        if length == 0 {
            return None;
        }
        let payload = behind.get(..length).unwrap_or(behind);
        let computed = i64::from(simd_adler32::adler32(&payload));
        Some(Record {
            payload,
            end: at + PREFIX_BYTES + length + 1,
            is_whole: behind.get(length) == Some(&b'B'),
            is_checked: i64::from_be_bytes(*checksum) == computed,
        })
    }
}

/// What is done to the last record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tear {
    /// The file ends within it.
    Cut,
    /// It is there, but its second half was never written: zeros in its place.
    Zeros,
    /// One byte of it is another.
    Flip,
}

/// The last zxid in the logs, whatever stands behind it.
pub fn last_logged(version_dir: &Path) -> anyhow::Result<Option<i64>> {
    let mut last = None;
    for (_, path) in log_files(version_dir)? {
        let bytes = fs::read(&path)?;
        let mut at = HEADER_BYTES;
        while let Some(record) = Record::at(&bytes, at).filter(|one| one.is_whole && one.is_checked)
        {
            last = last.max(Some(TxnLogEntry::decode(record.payload)?.header.zxid.0));
            at = record.end;
        }
    }
    Ok(last)
}

/// Damages the last record of the newest log that has one; its zxid.
pub fn tear_tail(version_dir: &Path, how: Tear) -> anyhow::Result<i64> {
    for (_, path) in log_files(version_dir)?.into_iter().rev() {
        let mut bytes = fs::read(&path)?;
        let (mut at, mut last) = (HEADER_BYTES, None);
        while let Some(record) = Record::at(&bytes, at) {
            last = Some((at, record.end, TxnLogEntry::decode(record.payload)?.header.zxid.0));
            at = record.end;
        }
        let Some((from, to, zxid)) = last else { continue };
        let middle = from + (to - from) / 2;
        match how {
            Tear::Cut => File::options().write(true).open(&path)?.set_len(middle as u64)?,
            Tear::Zeros => {
                if let Some(lost) = bytes.get_mut(middle..to) {
                    lost.fill(0);
                }
                fs::write(&path, bytes)?;
            }
            Tear::Flip => {
                if let Some(byte) = bytes.get_mut(middle) {
                    *byte ^= 0x20;
                }
                fs::write(&path, bytes)?;
            }
        }
        return Ok(zxid);
    }
    bail!("no log in {} has a record", version_dir.display())
}

/// Removes all snapshots: what is left is in the logs. How many there were.
pub fn remove_snapshots(version_dir: &Path) -> anyhow::Result<usize> {
    let found = snapshots(version_dir)?;
    for path in &found {
        fs::remove_file(path).with_context(|| path.display().to_string())?;
    }
    Ok(found.len())
}

/// The snapshots below `version-2`.
pub fn snapshots(version_dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for file in fs::read_dir(version_dir).with_context(|| version_dir.display().to_string())? {
        let path = file?.path();
        let is_snapshot = path
            .file_name()
            .and_then(|name| name.to_str())
            .is_some_and(|name| name.starts_with("snapshot."));
        if is_snapshot {
            found.push(path);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::txn::ErrorTxn;
    use crate::proto::{OpCode, SessionId, Txn, TxnHeader, Zxid};

    fn log(zxids: std::ops::Range<i64>) -> Vec<u8> {
        let mut bytes = b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0".to_vec();
        for zxid in zxids {
            let header = TxnHeader {
                client_id: SessionId(1),
                cxid: 1,
                zxid: Zxid(zxid),
                time: 5,
                txn_type: OpCode::Error.as_i32(),
            };
            let entry = TxnLogEntry::new(header, Txn::Error(ErrorTxn { err: -101 }), None);
            bytes.extend(i64::from(simd_adler32::adler32(&&*entry.bytes)).to_be_bytes());
            bytes.extend((entry.bytes.len() as i32).to_be_bytes());
            bytes.extend(&*entry.bytes);
            bytes.push(b'B');
        }
        bytes.extend([0; 50]);
        bytes
    }

    fn zxids(dir: &Path) -> Vec<i64> {
        log_records(dir).unwrap().iter().map(|record| record.entry.header.zxid.0).collect()
    }

    #[test]
    fn records_of_all_files_are_read_in_order_and_checked() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("log.1"), log(1..4)).unwrap();
        fs::write(dir.path().join("log.10"), log(16..18)).unwrap();
        fs::write(dir.path().join("snapshot.0"), b"").unwrap();
        assert_eq!(zxids(dir.path()), [1, 2, 3, 16, 17]);
        fs::write(dir.path().join("log.20"), log(5..6)).unwrap();
        assert!(log_records(dir.path()).is_err(), "a file with another zxid than its name");
    }

    #[test]
    fn the_last_record_is_torn() {
        for how in [Tear::Cut, Tear::Zeros, Tear::Flip] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("log.1"), log(1..4)).unwrap();
            assert_eq!(tear_tail(dir.path(), how).unwrap(), 3);
            assert!(log_records(dir.path()).is_err(), "{how:?}");
            assert_eq!(last_logged(dir.path()).unwrap(), Some(2));
        }
    }

    #[test]
    fn only_snapshots_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["log.1", "snapshot.0", "snapshot.5.gz", "acceptedEpoch"] {
            fs::write(dir.path().join(name), b"").unwrap();
        }
        assert_eq!(remove_snapshots(dir.path()).unwrap(), 2);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
