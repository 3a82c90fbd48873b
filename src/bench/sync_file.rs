//! A file for measuring syncs: its blocks are there and written before, so that an append changes
//! data only; it is unlinked at once, so that nothing is left behind.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// As much as a transaction log preallocates at a time.
const FILE_BYTES: u64 = 64 * 1024 * 1024;

/// The file and the end of what was appended.
pub struct SyncFile {
    file: File,
    end: u64,
}

impl SyncFile {
    /// In `dir`. Blocks that are reserved but not `written` cost the file system's journal at
    /// the first write to each.
    pub fn create(dir: &Path, written: bool) -> io::Result<SyncFile> {
        let path = dir.join(format!(".zabkeeper-bench-{}", std::process::id()));
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
        std::fs::remove_file(&path)?;
        if written {
            let zeros = vec![0; 1024 * 1024];
            for offset in (0..FILE_BYTES).step_by(zeros.len()) {
                file.write_all_at(&zeros, offset)?;
            }
        } else {
            use rustix::fs::{FallocateFlags, fallocate};
            fallocate(&file, FallocateFlags::empty(), 0, FILE_BYTES)?;
        }
        file.sync_all()?;
        Ok(SyncFile { file, end: 0 })
    }

    /// Writes the bytes behind the last ones, at the end of the file from its start again, and
    /// waits until they are on the disk.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let length = bytes.len() as u64;
        if self.end + length > FILE_BYTES {
            self.end = 0;
        }
        self.file.write_all_at(bytes, self.end)?;
        self.end += length;
        self.file.sync_data()
    }

    /// True when the next append of so many bytes starts from the beginning.
    pub fn is_full(&self, length: u64) -> bool {
        self.end + length > FILE_BYTES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_used_in_rounds_and_leaves_nothing() {
        for written in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let mut file = SyncFile::create(dir.path(), written).unwrap();
            file.append(&[1; 200]).unwrap();
            assert!(!file.is_full(200));
            assert!(file.is_full(FILE_BYTES));
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        }
    }
}
