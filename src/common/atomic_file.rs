//! Files that are there completely or not at all (Java: `AtomicFileOutputStream`,
//! `AtomicFileWritingIdiom`): written beside the target, forced to the disk, renamed.
//!
//! Difference: the directory is forced to the disk as well, else a crash may undo the rename.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use log::warn;

/// What Java appends to the name while the file is written.
const TMP_EXTENSION: &str = ".tmp";

/// A file being written. Dropped without [`commit`](Self::commit), it leaves no trace.
#[derive(Debug)]
pub struct AtomicFileOutputStream {
    target: PathBuf,
    temporary: PathBuf,
    /// `None` once closed.
    out: Option<BufWriter<File>>,
}

impl AtomicFileOutputStream {
    /// Starts to write `<target>.tmp`, replacing a left one.
    pub fn create(target: impl Into<PathBuf>) -> io::Result<Self> {
        let target = target.into();
        let mut temporary = target.clone().into_os_string();
        temporary.push(TMP_EXTENSION);
        let temporary = PathBuf::from(temporary);
        let out = Some(BufWriter::new(File::create(&temporary)?));
        Ok(Self { target, temporary, out })
    }

    /// Makes the content the target's, durably: after `Ok` a crash cannot bring the old one back,
    /// after `Err` the old one is still there.
    pub fn commit(mut self) -> io::Result<()> {
        self.commit_file()
    }

    fn commit_file(&mut self) -> io::Result<()> {
        let Some(out) = self.out.take() else { return Ok(()) };
        let result = out
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
            .and_then(|file| file.sync_all())
            .and_then(|()| fs::rename(&self.temporary, &self.target));
        if result.is_err() {
            self.remove();
        }
        result?;
        let parent = self.target.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn remove(&self) {
        if let Err(error) = fs::remove_file(&self.temporary) {
            warn!("Unable to delete tmp file {}: {error}", self.temporary.display());
        }
    }
}

impl Write for AtomicFileOutputStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.as_mut().map_or(Ok(0), |out| out.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.as_mut().map_or(Ok(()), Write::flush)
    }
}

impl Drop for AtomicFileOutputStream {
    fn drop(&mut self) {
        if self.out.take().is_some() {
            self.remove();
        }
    }
}

/// Writes a whole file: all of it, or nothing if `write` fails.
pub fn write_atomically(
    target: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut file = AtomicFileOutputStream::create(target)?;
    write(&mut file)?;
    file.commit()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_is_replaced_completely_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("currentEpoch");
        let names = || fs::read_dir(directory.path()).unwrap().count();
        write_atomically(&path, |out| out.write_all(b"1")).unwrap();
        assert_eq!((fs::read(&path).unwrap(), names()), (b"1".to_vec(), 1));
        let failed = write_atomically(&path, |out| {
            out.write_all(b"2")?;
            Err(io::Error::other("no"))
        });
        assert!(failed.is_err());
        assert_eq!((fs::read(&path).unwrap(), names()), (b"1".to_vec(), 1));
        fs::write(directory.path().join("currentEpoch.tmp"), "left by a crash").unwrap();
        write_atomically(&path, |out| out.write_all(b"3")).unwrap();
        assert_eq!((fs::read(&path).unwrap(), names()), (b"3".to_vec(), 1));
    }

    #[test]
    fn failed_rename_leaves_no_temporary_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("taken");
        fs::create_dir_all(path.join("full")).unwrap();
        assert!(write_atomically(&path, |_| Ok(())).is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(AtomicFileOutputStream::create(directory.path().join("none/x")).is_err());
    }
}
