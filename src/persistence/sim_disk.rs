//! A disk in memory for crash tests: what a program sees (live) and what survives a loss of power
//! (durable) are kept apart, calls can be made to fail, and power can be cut at any call.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, InputFile, LogFile, OutputFile};
use crate::common::sync::{Mutex, Rank};

/// A file's two images.
#[derive(Debug, Clone, Default)]
struct SimFile {
    live: Vec<u8>,
    durable: Vec<u8>,
}

type FileId = u64;

#[derive(Debug, Clone, Default)]
struct State {
    files: BTreeMap<FileId, SimFile>,
    names: BTreeMap<PathBuf, FileId>,
    durable_names: BTreeMap<PathBuf, FileId>,
    dirs: BTreeSet<PathBuf>,
    next_id: FileId,
    /// Calls that change something, so far.
    calls: u64,
    fail_at: Option<u64>,
    fail_all_from: Option<u64>,
}

/// How much of what was written but not synced survives a loss of power.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unsynced {
    /// Nothing.
    Lost,
    /// All bytes; names still need their directory synced.
    Kept,
    /// The first part: so many of a thousand of the bytes that differ.
    Torn(u32),
    /// All but some of the pages: page `i` of each file is as it was at the last sync when bit
    /// `i % 64` is set. A disk may write pages in any order.
    Holes(u64),
}

/// The unit in which [`Unsynced::Holes`] loses bytes.
const PAGE_BYTES: usize = 4096;

/// See the module's documentation. Clones share the disk.
#[derive(Debug, Clone)]
pub struct SimDisk(Arc<Mutex<State>>);

impl Default for SimDisk {
    fn default() -> Self {
        SimDisk(Arc::new(Mutex::new(Rank::Leaf, State::default())))
    }
}

impl SimDisk {
    /// How many changing calls there were. Numbers of calls count from 0.
    pub fn calls(&self) -> u64 {
        self.0.lock().calls
    }

    /// Makes the call of this number fail, once.
    pub fn fail_at(&self, call: u64) {
        self.0.lock().fail_at = Some(call);
    }

    /// Makes every changing call from this number on fail, without any effect: the power is cut.
    pub fn fail_all_from(&self, call: u64) {
        self.0.lock().fail_all_from = Some(call);
    }

    /// The disk after a loss of power at this moment.
    pub fn after_power_loss(&self, unsynced: Unsynced) -> SimDisk {
        let state = self.0.lock();
        let mut files = state.files.clone();
        for file in files.values_mut() {
            let survived = match unsynced {
                Unsynced::Lost => file.durable.clone(),
                Unsynced::Kept => file.live.clone(),
                Unsynced::Torn(per_mille) => torn(file, per_mille),
                Unsynced::Holes(lost) => with_holes(file, lost),
            };
            *file = SimFile { live: survived.clone(), durable: survived };
        }
        let after = State {
            files,
            names: state.durable_names.clone(),
            durable_names: state.durable_names.clone(),
            dirs: state.dirs.clone(),
            next_id: state.next_id,
            ..State::default()
        };
        SimDisk(Arc::new(Mutex::new(Rank::Leaf, after)))
    }

    /// The disk after the process was killed: everything written is there.
    pub fn after_kill(&self) -> SimDisk {
        let mut state = self.0.lock().clone();
        (state.calls, state.fail_at, state.fail_all_from) = (0, None, None);
        SimDisk(Arc::new(Mutex::new(Rank::Leaf, state)))
    }

    /// The content of a file.
    pub fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let state = self.0.lock();
        Ok(state.file(path)?.live.clone())
    }

    /// Puts a durable file there.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.0.lock();
        let id = state.create(path);
        state.durable_names.insert(path.to_owned(), id);
        if let Some(file) = state.files.get_mut(&id) {
            *file = SimFile { live: bytes.to_vec(), durable: bytes.to_vec() };
        }
    }

    fn change<T>(&self, act: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.0.lock();
        let call = state.calls;
        state.calls += 1;
        if state.fail_at == Some(call) || state.fail_all_from.is_some_and(|from| call >= from) {
            return Err(io::Error::other("simulated failure"));
        }
        act(&mut state)
    }
}

/// The live image up to some byte behind the first one that differs, the durable one from there on.
fn torn(file: &SimFile, per_mille: u32) -> Vec<u8> {
    let same = file.live.iter().zip(&file.durable).take_while(|(a, b)| a == b).count();
    // Padding is no content: cut within the bytes that were written.
    let written = file.live.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    let cut = same + (written.saturating_sub(same)) * per_mille as usize / 1000;
    let mut out: Vec<u8> = file.live.iter().take(cut).copied().collect();
    out.extend(file.durable.iter().skip(cut));
    out
}

/// The live image, but the durable one in the lost pages: zeros where the file was shorter.
fn with_holes(file: &SimFile, lost: u64) -> Vec<u8> {
    let mut out = file.live.clone();
    for (page, bytes) in out.chunks_mut(PAGE_BYTES).enumerate() {
        if lost >> (page % 64) & 1 == 1 {
            let durable = file.durable.iter().skip(page * PAGE_BYTES);
            bytes.fill(0);
            bytes.iter_mut().zip(durable).for_each(|(byte, durable)| *byte = *durable);
        }
    }
    out
}

impl State {
    fn create(&mut self, path: &Path) -> FileId {
        self.next_id += 1;
        self.files.insert(self.next_id, SimFile::default());
        self.names.insert(path.to_owned(), self.next_id);
        self.next_id
    }

    fn file(&self, path: &Path) -> io::Result<&SimFile> {
        let id = self.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        self.files.get(id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn file_mut(&mut self, id: FileId) -> io::Result<&mut SimFile> {
        self.files.get_mut(&id).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

impl Disk for SimDisk {
    fn create_log(&self, path: &Path, pre_alloc_bytes: i64) -> io::Result<Box<dyn LogFile>> {
        let id = self.change(|state| {
            if state.names.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            Ok(state.create(path))
        })?;
        // Enough to see padding; the real step would be slow to copy.
        let pre_alloc = usize::try_from(pre_alloc_bytes).unwrap_or(0).min(4096);
        Ok(Box::new(SimWriter { disk: self.clone(), id, position: 0, pre_alloc }))
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn OutputFile>> {
        let id = self.change(|state| Ok(state.create(path)))?;
        Ok(Box::new(SimWriter { disk: self.clone(), id, position: 0, pre_alloc: 0 }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn InputFile>> {
        Ok(Box::new(SimInput(self.read(path)?)))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.0.lock();
        if !state.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn exists(&self, path: &Path) -> bool {
        let state = self.0.lock();
        state.names.contains_key(path) || state.dirs.contains(path)
    }

    fn can_write(&self, _dir: &Path) -> bool {
        true
    }

    fn set_len(&self, path: &Path, bytes: u64) -> io::Result<()> {
        self.change(|state| {
            let id = *state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
            let file = state.file_mut(id)?;
            file.live.resize(usize::try_from(bytes).map_err(io::Error::other)?, 0);
            file.durable = file.live.clone();
            Ok(())
        })
    }

    fn sync_file(&self, path: &Path) -> io::Result<()> {
        self.change(|state| {
            let id = *state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
            let file = state.file_mut(id)?;
            file.durable = file.live.clone();
            Ok(())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(|state| {
            let id = state.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            state.names.insert(to.to_owned(), id);
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(|state| {
            state.names.remove(path).ok_or(io::ErrorKind::NotFound)?;
            Ok(())
        })
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.change(|state| {
            state.dirs.extend(dir.ancestors().map(Path::to_owned));
            Ok(())
        })
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.change(|state| {
            state.durable_names.retain(|path, _| path.parent() != Some(dir));
            let inside = state.names.iter().filter(|(path, _)| path.parent() == Some(dir));
            state.durable_names.extend(inside.map(|(path, id)| (path.clone(), *id)));
            Ok(())
        })
    }

    fn modified_s(&self, path: &Path) -> io::Result<i64> {
        self.0.lock().file(path).map(|_| 0)
    }
}

struct SimWriter {
    disk: SimDisk,
    id: FileId,
    position: usize,
    pre_alloc: usize,
}

impl SimWriter {
    fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        let end = self.position + bytes.len();
        self.disk.change(|state| {
            let file = state.file_mut(self.id)?;
            if file.live.len() < end {
                file.live.resize(end + self.pre_alloc, 0);
            }
            if let Some(target) = file.live.get_mut(self.position..end) {
                target.copy_from_slice(bytes);
            }
            Ok(())
        })?;
        self.position = end;
        Ok(())
    }

    fn sync_bytes(&mut self) -> io::Result<()> {
        self.disk.change(|state| {
            let file = state.file_mut(self.id)?;
            file.durable = file.live.clone();
            Ok(())
        })
    }
}

impl LogFile for SimWriter {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_bytes(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_bytes()
    }

    fn position(&self) -> u64 {
        self.position as u64
    }

    fn allocated(&self) -> u64 {
        (self.position + self.pre_alloc) as u64
    }

    fn finish(&mut self) -> io::Result<()> {
        self.disk.change(|state| {
            state.file_mut(self.id)?.live.truncate(self.position);
            Ok(())
        })
    }
}

impl OutputFile for SimWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_bytes(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_bytes()
    }
}

struct SimInput(Vec<u8>);

impl InputFile for SimInput {
    fn read_at(&mut self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.0.get(offset..));
        io::Read::read(&mut rest.unwrap_or_default(), out)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn next_data(&mut self, offset: u64) -> io::Result<Option<u64>> {
        Ok((offset < self.0.len() as u64).then_some(offset))
    }
}
