//! Snapshots as files: `org.apache.zookeeper.server.persistence.FileSnap`.
//!
//! ```text
//! header    int 0x5a4b534e "ZKSN" · int 2 · long -1
//! sessions  int count · (long id · int timeout ms)*
//! tree      ACL map and nodes, by the tree itself, ended by the string "/"
//! seal      long adler32 of everything before · string "/"
//! digest    long zxid · int version 2 · long digest · seal         may be missing
//! last zxid long · seal                                            may be missing
//! ```
//!
//! Deliberate differences:
//! - Always written under a temporary name, synced, renamed, and the directory synced. Java writes
//!   most snapshots in place and syncs none of those. The temporary name is one that Java takes for
//!   no snapshot, so that it may be left behind at any moment.
//! - The trailing sections are found by trying, not by the settings: Java 3.9.4 cannot read its own
//!   snapshots after `digest.enabled` was switched off.
//! - A snapshot that does not load leaves nothing behind in the tree before the next is tried.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use byteorder::{BigEndian, ReadBytesExt};

use super::disk::Disk;
use super::error::{AtPath, PersistenceError};
use super::snap_stream::{
    SEAL_BYTES, SnapReader, SnapWriter, StreamMode, is_valid_snapshot, seal, verify_last_seal,
};
use super::util::{SNAPSHOT_FILE_PREFIX, ZxidFile, make_snapshot_name, sort_data_dir};
use crate::common::sync::{Mutex, Rank};
use crate::jute::{Input, Jute, OutputExt};
use crate::proto::file::{FILE_VERSION, FileHeader, SNAP_MAGIC};
use crate::proto::{SessionId, Zxid};
use crate::tree::ZxidDigest;

/// How many snapshots are tried before giving up.
const SNAPSHOTS_TRIED_MAX: usize = 100;
/// The `dbid` in a snapshot's header.
const DB_ID: i64 = -1;
/// Begins the name of a snapshot that is being written.
const TEMPORARY_PREFIX: &str = "tmp-snapshot.";

/// The sessions of a snapshot and their timeouts in milliseconds.
pub type Sessions = HashMap<SessionId, i32>;

/// What follows the tree in a snapshot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SnapshotTrailer {
    /// The digest section; `None` with `digest.enabled=false`.
    pub digest: Option<ZxidDigest>,
    /// The last zxid section; `None` with `serializeLastProcessedZxid.enabled=false`.
    pub last_processed_zxid: Option<Zxid>,
}

/// Where the tree's part of a snapshot comes from. Each call takes the tree's lock for itself, so
/// that no lock is held while bytes are compressed and written.
pub trait SnapshotSource {
    /// Appends the next piece; `true` when it was the last one. An error ends the snapshot.
    fn next_chunk(&mut self, out: &mut Vec<u8>) -> io::Result<bool>;
    /// Asked once, after the last piece: digest and zxid of the tree as it is then.
    fn trailer(&mut self) -> SnapshotTrailer;
}

/// Where the tree's part of a snapshot goes to.
pub trait SnapshotSink {
    /// Forgets what an earlier, failed `load` left.
    fn clear(&mut self);
    /// Reads ACL map and nodes up to and with the final "/", and not a byte more.
    fn load(&mut self, stream: &mut SnapReader) -> io::Result<()>;
}

/// Zxid and time of a snapshot file (`SnapshotInfo`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotInfo {
    /// The zxid in its name.
    pub zxid: Zxid,
    /// Last modified, seconds since 1970.
    pub timestamp_s: i64,
    /// The file.
    pub path: PathBuf,
}

/// A snapshot that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadedSnapshot {
    /// The file.
    pub info: SnapshotInfo,
    /// What followed the tree.
    pub trailer: SnapshotTrailer,
    /// Newer snapshots that did not read.
    pub broken: Vec<PathBuf>,
}

/// The snapshots of one directory. Shared by threads; writes may overlap, each with its own
/// temporary file.
#[derive(Debug)]
pub struct FileSnap {
    disk: Arc<dyn Disk>,
    snap_dir: PathBuf,
    mode: StreamMode,
    last_snapshot_info: Mutex<Option<SnapshotInfo>>,
    /// Tells temporary files apart.
    writes: AtomicU32,
}

impl FileSnap {
    /// Snapshots in `snap_dir` (the `version-2` directory); new ones are stored as `mode` says.
    pub fn new(disk: Arc<dyn Disk>, snap_dir: PathBuf, mode: StreamMode) -> FileSnap {
        FileSnap {
            disk,
            snap_dir,
            mode,
            last_snapshot_info: Mutex::new(Rank::Leaf, None),
            writes: AtomicU32::new(0),
        }
    }

    /// The directory of the files.
    pub fn snap_dir(&self) -> &Path {
        &self.snap_dir
    }

    /// The last snapshot that was written or read.
    pub fn last_snapshot_info(&self) -> Option<SnapshotInfo> {
        self.last_snapshot_info.lock().clone()
    }

    /// Writes a snapshot named for `zxid`, the last transaction that is certain to be in it, and
    /// makes it durable. On an error nothing is left but, perhaps, a temporary file.
    pub fn serialize(
        &self,
        zxid: Zxid,
        sessions: &Sessions,
        source: &mut dyn SnapshotSource,
    ) -> Result<SnapshotInfo, PersistenceError> {
        let name = make_snapshot_name(zxid, self.mode);
        let path = self.snap_dir.join(&name);
        let write = self.writes.fetch_add(1, Ordering::Relaxed);
        let temporary = self.snap_dir.join(format!("{TEMPORARY_PREFIX}{write}.{name}"));
        let written = self.write(&temporary, sessions, source);
        if let Err(error) = written.at("write", &temporary) {
            // Best effort: the name is ignored by every reader.
            let _ = self.disk.remove(&temporary);
            return Err(error);
        }
        self.disk.rename(&temporary, &path).at("rename", &path)?;
        self.disk.sync_dir(&self.snap_dir).at("sync", &self.snap_dir)?;
        let timestamp_s = self.disk.modified_s(&path).at("stat", &path)?;
        let info = SnapshotInfo { zxid, timestamp_s, path };
        let superseded = self.last_snapshot_info.lock().replace(info.clone());
        if let Some(older) = superseded.filter(|older| older.path != info.path) {
            // The next snapshot finds its memory. The newest stays cached for a quick restart.
            self.disk.uncache(&older.path);
        }
        Ok(info)
    }

    fn write(
        &self,
        path: &Path,
        sessions: &Sessions,
        source: &mut dyn SnapshotSource,
    ) -> io::Result<()> {
        let mut stream = SnapWriter::new(self.disk.create(path)?, self.mode);
        let mut chunk = Vec::new();
        FileHeader { magic: SNAP_MAGIC, version: FILE_VERSION, dbid: DB_ID }.encode(&mut chunk);
        chunk.put_count(sessions.len());
        for (id, timeout_ms) in sessions {
            chunk.put_i64(id.0);
            chunk.put_i32(*timeout_ms);
        }
        stream.write(&chunk)?;
        loop {
            chunk.clear();
            let is_last = source.next_chunk(&mut chunk)?;
            stream.write(&chunk)?;
            if is_last {
                break;
            }
        }
        stream.seal()?;
        let trailer = source.trailer();
        if let Some(digest) = trailer.digest {
            chunk.clear();
            digest.encode(&mut chunk);
            stream.write(&chunk)?;
            stream.seal()?;
        }
        if let Some(zxid) = trailer.last_processed_zxid {
            stream.write(&zxid.to_bytes())?;
            stream.seal()?;
        }
        stream.finish()
    }

    /// Reads the newest snapshot that loads whole. `None` when there is none that even looks like a
    /// snapshot; an error when some do and none of them loads.
    pub fn deserialize(
        &self,
        sink: &mut dyn SnapshotSink,
        sessions: &mut Sessions,
    ) -> Result<Option<LoadedSnapshot>, PersistenceError> {
        let candidates = self.find_n_valid_snapshots(SNAPSHOTS_TRIED_MAX)?;
        if candidates.is_empty() {
            return Ok(None);
        }
        let mut broken = Vec::new();
        for ZxidFile { zxid, path } in candidates {
            log::info!("Reading snapshot {}", path.display());
            sessions.clear();
            sink.clear();
            // One that cannot be opened is as good as broken: an older one may still do.
            let read = SnapReader::open(self.disk.as_ref(), &path)
                .map_err(io::Error::other)
                .and_then(|mut stream| read_snapshot(&mut stream, sink, sessions));
            match read {
                Ok(trailer) => {
                    let timestamp_s = self.disk.modified_s(&path).at("stat", &path)?;
                    let info = SnapshotInfo { zxid, timestamp_s, path };
                    *self.last_snapshot_info.lock() = Some(info.clone());
                    return Ok(Some(LoadedSnapshot { info, trailer, broken }));
                }
                Err(error) => {
                    log::warn!("problem reading snap file {}: {error}", path.display());
                    broken.push(path);
                }
            }
        }
        sessions.clear();
        sink.clear();
        Err(PersistenceError::NoValidSnapshot(self.snap_dir.clone()))
    }

    /// The newest snapshot that passes the quick check.
    pub fn find_most_recent_snapshot(&self) -> Result<Option<ZxidFile>, PersistenceError> {
        Ok(self.find_n_valid_snapshots(1)?.into_iter().next())
    }

    /// Up to `n` snapshots that pass the quick check, newest first.
    pub fn find_n_valid_snapshots(&self, n: usize) -> Result<Vec<ZxidFile>, PersistenceError> {
        self.find(n, |path| is_valid_snapshot(self.disk.as_ref(), path))
    }

    /// Up to `n` snapshots that pass the quick check and whose last seal is right, newest first.
    /// Reads them whole.
    pub fn find_n_verified_snapshots(&self, n: usize) -> Result<Vec<ZxidFile>, PersistenceError> {
        self.find(n, |path| {
            let disk = self.disk.as_ref();
            Ok(is_valid_snapshot(disk, path)? && verify_last_seal(disk, path)?)
        })
    }

    /// Up to `n` snapshots by name alone, newest first.
    pub fn find_n_recent_snapshots(&self, n: usize) -> Result<Vec<ZxidFile>, PersistenceError> {
        self.find(n, |_| Ok(true))
    }

    fn find(
        &self,
        n: usize,
        mut is_valid: impl FnMut(&Path) -> Result<bool, PersistenceError>,
    ) -> Result<Vec<ZxidFile>, PersistenceError> {
        let files = sort_data_dir(self.disk.as_ref(), &self.snap_dir, SNAPSHOT_FILE_PREFIX)?;
        let mut found = Vec::new();
        for file in files.into_iter().rev() {
            if found.len() == n {
                break;
            }
            match is_valid(&file.path) {
                Ok(true) => found.push(file),
                Ok(false) => log::info!("Invalid snapshot {}", file.path.display()),
                Err(error) => log::warn!("invalid snapshot: {error}"),
            }
        }
        Ok(found)
    }

    /// Removes what interrupted writes have left. Not while a snapshot is being written.
    pub fn remove_temporary_files(&self) -> Result<(), PersistenceError> {
        for name in self.disk.list(&self.snap_dir).at("list", &self.snap_dir)? {
            if name.starts_with(TEMPORARY_PREFIX) {
                let path = self.snap_dir.join(name);
                self.disk.remove(&path).at("remove", &path)?;
            }
        }
        Ok(())
    }
}

/// Reads a whole snapshot from a stream, seals verified. Also for a stream from the network.
pub fn read_snapshot(
    stream: &mut SnapReader,
    sink: &mut dyn SnapshotSink,
    sessions: &mut Sessions,
) -> io::Result<SnapshotTrailer> {
    let mut header = [0; 16];
    stream.read_exact(&mut header)?;
    let header = FileHeader::decode(&mut Input::unbounded(&header)).map_err(io::Error::other)?;
    if header.magic != SNAP_MAGIC {
        let reason = format!("mismatching magic headers {} !=  {SNAP_MAGIC}", header.magic);
        return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
    }
    let count = stream.read_i32::<BigEndian>()?;
    for _ in 0..count {
        let id = SessionId(stream.read_i64::<BigEndian>()?);
        sessions.insert(id, stream.read_i32::<BigEndian>()?);
    }
    sink.load(stream)?;
    stream.check_seal_integrity()?;
    read_trailer(stream)
}

/// The sections behind the tree's seal, told apart by whose seal fits.
fn read_trailer(stream: &mut SnapReader) -> io::Result<SnapshotTrailer> {
    const ZXID_BYTES: usize = 8;
    /// More than both sections can have.
    const REST_BYTES_MAX: usize = 128;
    let checksum = stream.checksum();
    let rest = stream.rest(REST_BYTES_MAX as u64)?;
    let mut trailer = SnapshotTrailer::default();
    let mut at = 0;
    let mut section = Input::unbounded(&rest);
    if let Ok(digest) = ZxidDigest::decode(&mut section) {
        let end = rest.len() - section.rest().len();
        if is_sealed(checksum, &rest, end) {
            trailer.digest = Some(digest);
            at = end + SEAL_BYTES;
        }
    }
    if let Ok(zxid) = Zxid::decode(&mut Input::unbounded(rest.get(at..).unwrap_or_default()))
        && is_sealed(checksum, &rest, at + ZXID_BYTES)
    {
        trailer.last_processed_zxid = Some(zxid);
        at += ZXID_BYTES + SEAL_BYTES;
    }
    // Java takes an end within the first number of a section for its absence, and does not look
    // behind the last section.
    let is_complete = trailer.last_processed_zxid.is_some() || rest.len() - at < ZXID_BYTES;
    if !is_complete {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "CRC corruption"));
    }
    Ok(trailer)
}

/// Whether a fitting seal begins at `end`. `checksum` is that of the stream before `rest`.
fn is_sealed(checksum: u32, rest: &[u8], end: usize) -> bool {
    let Some((sealed, behind)) = rest.split_at_checked(end) else { return false };
    let mut adler = simd_adler32::Adler32::from_checksum(checksum);
    adler.write(sealed);
    behind.starts_with(&seal(adler.finish()))
}

#[cfg(test)]
mod tests {
    use super::super::sim_disk::SimDisk;
    use super::super::testing::{FakeSource, FakeTree, sim_dir};
    use super::*;

    const MODES: [StreamMode; 3] = [StreamMode::Checked, StreamMode::Gzip, StreamMode::Snappy];

    fn snaps(mode: StreamMode) -> (SimDisk, FileSnap, PathBuf) {
        let (sim, disk, dir) = sim_dir();
        (sim, FileSnap::new(disk, dir.clone(), mode), dir)
    }

    fn sessions() -> Sessions {
        (1..50).map(|id| (SessionId(id), id as i32 * 1000)).collect()
    }

    fn write(snap: &FileSnap, zxid: i64, trailer: SnapshotTrailer) -> SnapshotInfo {
        let tree = FakeTree::with(1..=zxid);
        let mut source = FakeSource { tree: &tree, done: 0, trailer };
        snap.serialize(Zxid(zxid), &sessions(), &mut source).unwrap()
    }

    fn read(snap: &FileSnap) -> Result<Option<(i64, FakeTree, LoadedSnapshot)>, PersistenceError> {
        let (mut tree, mut read_sessions) = (FakeTree::with([99]), Sessions::new());
        let loaded = snap.deserialize(&mut tree, &mut read_sessions)?;
        Ok(loaded.map(|loaded| {
            assert_eq!(read_sessions, sessions());
            (loaded.info.zxid.0, tree, loaded)
        }))
    }

    fn digest() -> ZxidDigest {
        ZxidDigest { zxid: Zxid(7), digest_version: 2, digest: u64::MAX - 42 }
    }

    #[test]
    fn every_set_of_trailing_sections_is_read_whatever_the_settings() {
        for mode in MODES {
            for digest in [None, Some(digest())] {
                for last_processed_zxid in [None, Some(Zxid(9))] {
                    let trailer = SnapshotTrailer { digest, last_processed_zxid };
                    let (_, snap, _) = snaps(mode);
                    let info = write(&snap, 250, trailer);
                    let (zxid, tree, loaded) = read(&snap).unwrap().unwrap();
                    assert_eq!((zxid, &loaded.trailer), (250, &trailer));
                    assert_eq!(tree.zxids, (1..=250).collect::<Vec<_>>());
                    assert_eq!((loaded.info, loaded.broken), (info, vec![]));
                }
            }
        }
    }

    #[test]
    fn the_layout_is_that_of_java() {
        let (sim, snap, _) = snaps(StreamMode::Checked);
        let trailer =
            SnapshotTrailer { digest: Some(digest()), last_processed_zxid: Some(Zxid(9)) };
        let info = write(&snap, 3, trailer);
        let bytes = sim.read(&info.path).unwrap();
        assert!(bytes.starts_with(b"ZKSN\0\0\0\x02\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\x31"));
        let tree_end = 16 + 4 + 49 * 12 + 4 + 3 * 8 + 5;
        assert_eq!(bytes.len(), tree_end + 13 + 20 + 13 + 8 + 13);
        for end in [tree_end, tree_end + 33, tree_end + 54] {
            let sum = i64::from(simd_adler32::adler32(&&bytes[..end]));
            assert_eq!(bytes[end..end + 8], sum.to_be_bytes());
            assert_eq!(bytes[end + 8..end + 13], [0, 0, 0, 1, b'/']);
        }
    }

    #[test]
    fn a_broken_newest_snapshot_gives_way_to_an_older_one() {
        let trailer =
            SnapshotTrailer { digest: Some(digest()), last_processed_zxid: Some(Zxid(9)) };
        let (sim, snap, dir) = snaps(StreamMode::Checked);
        write(&snap, 5, trailer);
        let newest = sim.read(&write(&snap, 8, trailer).path).unwrap();
        for at in 0..newest.len() {
            let mut flipped = newest.clone();
            flipped[at] ^= 0x40;
            sim.put(&dir.join("snapshot.8"), &flipped);
            let (zxid, tree, _) = read(&snap).unwrap().unwrap();
            // Version and dbid of the header are not looked at, but are in the checksum.
            assert_eq!((zxid, tree.zxids.len()), (5, 5), "flipped at {at}");
            sim.put(&dir.join("snapshot.8"), &newest[..at]);
            let (zxid, tree, _) = read(&snap).unwrap().unwrap();
            let seals = [newest.len() - 54, newest.len() - 21];
            if zxid == 8 {
                assert!(seals.contains(&at), "cut at {at}: only whole sections may be missing");
            } else {
                assert_eq!((zxid, tree.zxids.len()), (5, 5), "cut at {at}");
            }
        }
    }

    #[test]
    fn no_readable_snapshot_among_likely_ones_is_an_error() {
        let (sim, snap, dir) = snaps(StreamMode::Checked);
        assert!(read(&snap).unwrap().is_none());
        sim.put(&dir.join("snapshot.1"), b"not valid at all");
        assert!(read(&snap).unwrap().is_none(), "does not even look like one");
        sim.put(&dir.join("snapshot.2"), b"looks valid from behind\0\0\0\x01/");
        assert!(matches!(read(&snap), Err(PersistenceError::NoValidSnapshot(_))));
    }

    #[test]
    fn a_failed_write_leaves_the_older_snapshots_alone() {
        let (sim, snap, dir) = snaps(StreamMode::Gzip);
        write(&snap, 5, SnapshotTrailer::default());
        let calls_before = sim.calls();
        write(&snap, 6, SnapshotTrailer::default());
        let calls = sim.calls() - calls_before;
        sim.remove(&dir.join("snapshot.6.gz")).unwrap();
        for call in 0..calls {
            sim.fail_at(sim.calls() + call);
            let tree = FakeTree::with(1..=8);
            let mut source = FakeSource::new(&tree);
            assert!(snap.serialize(Zxid(8), &sessions(), &mut source).is_err());
            let (zxid, ..) = read(&snap).unwrap().unwrap();
            // Only the directory's sync comes after the rename.
            assert_eq!(zxid, if call + 1 == calls { 8 } else { 5 });
        }
        snap.remove_temporary_files().unwrap();
        let mut names = sim.list(&dir).unwrap();
        names.sort();
        assert_eq!(names, ["snapshot.5.gz", "snapshot.8.gz"]);
    }

    #[test]
    fn temporary_names_are_no_snapshots_for_java() {
        use super::super::util::{is_snapshot_file_name, zxid_from_name};
        let name = format!("{TEMPORARY_PREFIX}0.snapshot.1f.gz");
        assert!(!is_snapshot_file_name(&name));
        assert_eq!(zxid_from_name(&name, SNAPSHOT_FILE_PREFIX), None);
    }
}
