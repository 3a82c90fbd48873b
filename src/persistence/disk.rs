//! What this module needs from a disk, as two traits with a real implementation here and a
//! simulated one in [`super::sim_disk`]. Java calls `java.io` directly.
//!
//! Every call that makes something durable is visible here, because crash tests cut power between
//! any two of them: `LogFile::sync`, `Disk::sync_dir`, and the syncs inside `set_len`.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use rustix::fs::{Access, Advice, SeekFrom, access, fadvise, fdatasync, seek};

use super::mapped_file::MappedFile;

/// A directory tree on one disk.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Creates a log for appending, which must not exist. `pre_alloc_bytes` is the step by which
    /// space is reserved ahead; 0 or less reserves nothing.
    fn create_log(&self, path: &Path, pre_alloc_bytes: i64) -> io::Result<Box<dyn LogFile>>;

    /// Creates or empties a file that is written once, front to back.
    fn create(&self, path: &Path) -> io::Result<Box<dyn OutputFile>>;

    /// Opens a file for reading.
    fn open(&self, path: &Path) -> io::Result<Box<dyn InputFile>>;

    /// The names in a directory, unsorted; names that are not UTF-8 are none of ours and left out.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;

    /// Whether a file or directory of this name exists.
    fn exists(&self, path: &Path) -> bool;

    /// Whether the directory can be written.
    fn can_write(&self, dir: &Path) -> bool;

    /// Cuts a file and makes the cut durable.
    fn set_len(&self, path: &Path, bytes: u64) -> io::Result<()>;

    /// Makes a file durable that another process may have written.
    fn sync_file(&self, path: &Path) -> io::Result<()>;

    /// Replaces `to` by `from`; durable after `sync_dir`.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file; durable after `sync_dir`.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Creates a directory and its parents, durably.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Makes creations, renames and removals in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// When a file was last modified, in seconds since 1970.
    fn modified_s(&self, path: &Path) -> io::Result<i64>;

    /// A file will hardly be read again: the operating system may use the memory that it is cached
    /// in for something else. A hint.
    fn uncache(&self, path: &Path) {
        let _ = path; // Nothing is cached.
    }
}

/// An open transaction log: appended to, synced, finished. After an error the content of the file
/// behind the last successful sync is unknown.
pub trait LogFile: Send {
    /// Writes `bytes` behind what is there. Not durable before `sync`.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes everything appended durable (`fdatasync`).
    fn sync(&mut self) -> io::Result<()>;
    /// Bytes appended so far.
    fn position(&self) -> u64;
    /// Size of the file with the space reserved ahead.
    fn allocated(&self) -> u64;
    /// Gives back the space reserved ahead; nothing is appended afterwards.
    fn finish(&mut self) -> io::Result<()>;
}

/// A file written front to back.
pub trait OutputFile: Send {
    /// Writes all of `bytes` behind what is there.
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    /// Makes everything written durable.
    fn sync(&mut self) -> io::Result<()>;
}

/// A file open for reading.
pub trait InputFile: Send {
    /// Reads up to `out.len()` bytes from `offset`; 0 is the end.
    fn read_at(&mut self, offset: u64, out: &mut [u8]) -> io::Result<usize>;
    /// Bytes in the file.
    fn size(&self) -> io::Result<u64>;
    /// The first offset from `offset` on that may hold anything but zeros; `None` when only a hole
    /// follows. Padding of 64 MiB is passed over without reading it.
    fn next_data(&mut self, offset: u64) -> io::Result<Option<u64>>;
}

/// Fills `out` from `offset`; fewer bytes only at the end of the file.
pub(super) fn read_full(
    file: &mut dyn InputFile,
    offset: u64,
    out: &mut [u8],
) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = out.get_mut(done..) {
        if rest.is_empty() {
            break;
        }
        match file.read_at(offset + done as u64, rest) {
            Ok(0) => break,
            Ok(count) => done += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// The operating system's files.
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create_log(&self, path: &Path, pre_alloc_bytes: i64) -> io::Result<Box<dyn LogFile>> {
        Ok(Box::new(MappedFile::create(path, pre_alloc_bytes)?))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn OutputFile>> {
        Ok(Box::new(RealOutput(File::create(path)?)))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn InputFile>> {
        Ok(Box::new(RealInput(File::open(path)?)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(dir)? {
            if let Ok(name) = entry?.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn can_write(&self, dir: &Path) -> bool {
        access(dir, Access::WRITE_OK).is_ok()
    }

    fn set_len(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(path)?;
        file.set_len(bytes)?;
        file.sync_all()
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        Ok(fdatasync(File::open(path)?)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        // The parents whose entries are new have to be synced, from the innermost outwards.
        let mut missing = Vec::new();
        let mut next = Some(dir);
        while let Some(dir) = next.filter(|dir| !dir.as_os_str().is_empty() && !dir.exists()) {
            missing.push(dir);
            next = dir.parent();
        }
        fs::create_dir_all(dir)?;
        for dir in missing {
            if let Some(parent) = dir.parent() {
                self.sync_dir(if parent.as_os_str().is_empty() { Path::new(".") } else { parent })?;
            }
        }
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn modified_s(&self, path: &Path) -> io::Result<i64> {
        let modified = fs::metadata(path)?.modified()?;
        Ok(match modified.duration_since(std::time::UNIX_EPOCH) {
            Ok(since) => i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            Err(_) => 0, // Before 1970: a clock that was never set.
        })
    }

    fn uncache(&self, path: &Path) {
        // Only what is on the disk is dropped; and a hint that is not taken is no loss.
        let _ = File::open(path).map(|file| fadvise(&file, 0, None, Advice::DontNeed));
    }
}

struct RealOutput(File);

impl OutputFile for RealOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        io::Write::write_all(&mut self.0, bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(fdatasync(&self.0)?)
    }
}

struct RealInput(File);

impl InputFile for RealInput {
    fn read_at(&mut self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        FileExt::read_at(&self.0, out, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn next_data(&mut self, offset: u64) -> io::Result<Option<u64>> {
        match seek(&self.0, SeekFrom::Data(offset)) {
            Ok(data) => Ok(Some(data)),
            Err(rustix::io::Errno::NXIO) => Ok(None),
            // A file system without holes: everything may be data.
            Err(rustix::io::Errno::INVAL) => Ok((offset < self.size()?).then_some(offset)),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_a_hole_for_the_reader() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.1");
        let mut log = RealDisk.create_log(&path, 1 << 20).unwrap();
        log.append(&[7; 16]).unwrap();
        log.append(&[7; 84]).unwrap();
        log.sync().unwrap();
        let mut file = RealDisk.open(&path).unwrap();
        assert_eq!(file.size().unwrap(), log.allocated());
        assert_eq!(file.next_data(0).unwrap(), Some(0));
        let mut out = [1; 8];
        assert_eq!(file.read_at(100, &mut out).unwrap(), 8);
        assert_eq!(out, [0; 8]);
        assert_eq!(file.next_data(u64::MAX >> 2).unwrap(), None);
    }

    #[test]
    fn directories_are_created_with_their_parents() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b/c");
        RealDisk.create_dir_all(&deep).unwrap();
        RealDisk.create_dir_all(&deep).unwrap();
        assert!(RealDisk.can_write(&deep));
    }

    #[test]
    fn an_existing_log_is_not_created_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.1");
        fs::write(&path, b"precious").unwrap();
        assert!(RealDisk.create_log(&path, 0).is_err());
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }
}
