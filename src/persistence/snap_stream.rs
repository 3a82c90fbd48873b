//! The byte streams of snapshots: `org.apache.zookeeper.server.persistence.SnapStream`.
//!
//! A snapshot is one stream of bytes with an Adler-32 running over it, stored as it is, as gzip, or
//! in the framing of snappy-java's `SnappyOutputStream`:
//!
//! ```text
//! header  82 53 4e 41 50 50 59 00 ("\x82SNAPPY\0") · int version 1 · int compatible version 1
//! block   int length · raw snappy block (of up to 32 KiB uncompressed)
//! ```
//!
//! A seal is the checksum of everything before it as a long, then the string "/".

use std::io::{self, BufRead, Read, Write};
use std::path::Path;

use flate2::Compression;
use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;
use simd_adler32::Adler32;

use super::disk::{Disk, InputFile, OutputFile, read_full};
use super::error::{AtPath, PersistenceError};
use super::util::{SNAPSHOT_FILE_PREFIX, zxid_from_name};
use crate::jute::OutputExt;

/// How much is read or written at once.
const BUFFER_BYTES: usize = 1 << 20;
/// A snapshot is synced in pieces of this size while it is written: one large sync at the end would
/// fill the disk's queue in front of the log's.
const SYNC_STEP_BYTES: u64 = 2 << 20;
/// How much is decompressed at once: fits the cache.
const INFLATED_BYTES: usize = 64 << 10;
const SNAPPY_MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
/// Magic, version, compatible version.
const SNAPPY_HEADER_BYTES: usize = 16;
/// Uncompressed bytes of a block, as `SnappyOutputStream` makes them by default.
const SNAPPY_BLOCK_BYTES: usize = 32 << 10;
/// Larger blocks are taken for damage, compressed or not (Java writers go up to 512 MiB, but
/// ZooKeeper never asks for another size than the default).
const SNAPPY_BLOCK_BYTES_MAX: usize = 64 << 20;
/// Bytes of a seal.
pub(super) const SEAL_BYTES: usize = 13;
/// The end of every seal: the string "/".
const SEAL_PATH: [u8; 5] = [0, 0, 0, 1, b'/'];

/// How a snapshot is stored (`snapshot.compression.method`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StreamMode {
    /// As it is.
    #[default]
    Checked,
    /// gzip.
    Gzip,
    /// snappy-java.
    Snappy,
}

impl StreamMode {
    /// From the value of the option or a file extension; anything unknown is [`Checked`].
    ///
    /// [`Checked`]: StreamMode::Checked
    pub fn from_string(name: &str) -> StreamMode {
        if name.eq_ignore_ascii_case("gz") {
            StreamMode::Gzip
        } else if name.eq_ignore_ascii_case("snappy") {
            StreamMode::Snappy
        } else {
            StreamMode::Checked
        }
    }

    /// The mode that a file's name tells (`SnapStream.getStreamMode(String)`).
    pub fn of_file(name: &str) -> StreamMode {
        name.rsplit_once('.').map_or(StreamMode::Checked, |(_, end)| StreamMode::from_string(end))
    }

    /// What is added to the file's name.
    pub fn file_extension(self) -> &'static str {
        match self {
            StreamMode::Checked => "",
            StreamMode::Gzip => ".gz",
            StreamMode::Snappy => ".snappy",
        }
    }
}

/// Java's quick check (`SnapStream.isValidSnapshot`): the name, and the last bytes of a plain file
/// or the first ones of a compressed one. A file that passes may still be damaged.
pub fn is_valid_snapshot(disk: &dyn Disk, path: &Path) -> Result<bool, PersistenceError> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if zxid_from_name(name, SNAPSHOT_FILE_PREFIX).is_none() {
        return Ok(false);
    }
    let mut file = disk.open(path).at("open", path)?;
    let size = file.size().at("stat", path)?;
    let check = |file: &mut dyn InputFile, offset, want: &[u8]| {
        let mut bytes = vec![0; want.len()];
        let count = read_full(file, offset, &mut bytes).at("read", path)?;
        Ok(count == want.len() && bytes == want)
    };
    match StreamMode::of_file(name) {
        StreamMode::Checked if size < 10 => Ok(false),
        StreamMode::Checked => check(file.as_mut(), size - SEAL_PATH.len() as u64, &SEAL_PATH),
        StreamMode::Gzip => check(file.as_mut(), 0, &[0x1f, 0x8b]),
        StreamMode::Snappy => check(file.as_mut(), 0, &SNAPPY_MAGIC),
    }
}

/// Reads the whole file and verifies its last seal, without decoding what is before it. Errors
/// other than those of opening the file count as damage.
pub fn verify_last_seal(disk: &dyn Disk, path: &Path) -> Result<bool, PersistenceError> {
    let mut stream = SnapReader::open(disk, path)?;
    // Held back from the checksum: what may be the seal.
    let mut tail: Vec<u8> = Vec::new();
    let mut adler = Adler32::new();
    loop {
        let chunk = match stream.source.fill_buf() {
            Ok([]) => break,
            Ok(chunk) => chunk,
            Err(_) => return Ok(false),
        };
        tail.extend_from_slice(chunk);
        let count = chunk.len();
        stream.source.consume(count);
        let certain = tail.len().saturating_sub(SEAL_BYTES);
        adler.write(tail.get(..certain).unwrap_or_default());
        tail.drain(..certain);
    }
    Ok(tail == seal(adler.finish()))
}

/// The bytes of a seal.
pub(super) fn seal(checksum: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(SEAL_BYTES);
    out.put_i64(checksum.into());
    out.extend_from_slice(&SEAL_PATH);
    out
}

/// Writes a snapshot's stream into a file: checksum, compression, large writes.
pub struct SnapWriter {
    adler: Adler32,
    encoder: Encoder,
}

enum Encoder {
    Checked(Stepped),
    Gzip(Box<GzEncoder<Stepped>>),
    Snappy(Box<SnappyWriter>),
}

impl SnapWriter {
    /// Begins a stream.
    pub fn new(file: Box<dyn OutputFile>, mode: StreamMode) -> SnapWriter {
        let file = Stepped { file, buffer: Vec::with_capacity(BUFFER_BYTES), unsynced: 0 };
        let encoder = match mode {
            StreamMode::Checked => Encoder::Checked(file),
            // Java's default level is zlib's 6, too.
            StreamMode::Gzip => Encoder::Gzip(Box::new(GzEncoder::new(file, Compression::new(6)))),
            StreamMode::Snappy => Encoder::Snappy(Box::new(SnappyWriter::new(file))),
        };
        SnapWriter { adler: Adler32::new(), encoder }
    }

    /// Appends bytes to the stream.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.adler.write(bytes);
        match &mut self.encoder {
            Encoder::Checked(file) => file.write_all(bytes),
            Encoder::Gzip(encoder) => encoder.write_all(bytes),
            Encoder::Snappy(encoder) => encoder.write_all(bytes),
        }
    }

    /// Appends a seal over everything so far (`SnapStream.sealStream`).
    pub fn seal(&mut self) -> io::Result<()> {
        self.write(&seal(self.adler.finish()))
    }

    /// Writes out what is buffered and makes the file durable.
    pub fn finish(self) -> io::Result<()> {
        let mut file = match self.encoder {
            Encoder::Checked(file) => file,
            Encoder::Gzip(encoder) => encoder.finish()?,
            Encoder::Snappy(encoder) => encoder.finish()?,
        };
        file.write_out()?;
        file.file.sync()
    }
}

/// The file under the encoders: gathers large writes, syncs in steps.
struct Stepped {
    file: Box<dyn OutputFile>,
    buffer: Vec<u8>,
    unsynced: u64,
}

impl Stepped {
    fn write_out(&mut self) -> io::Result<()> {
        self.file.write(&self.buffer)?;
        self.unsynced += self.buffer.len() as u64;
        self.buffer.clear();
        if self.unsynced >= SYNC_STEP_BYTES {
            self.unsynced = 0;
            self.file.sync()?;
        }
        Ok(())
    }
}

impl Write for Stepped {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let space = BUFFER_BYTES.saturating_sub(self.buffer.len());
        let (now, _) = bytes.split_at(space.min(bytes.len()));
        self.buffer.extend_from_slice(now);
        if self.buffer.len() >= BUFFER_BYTES {
            self.write_out()?;
        }
        Ok(now.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct SnappyWriter {
    file: Stepped,
    encoder: snap::raw::Encoder,
    block: Vec<u8>,
    has_header: bool,
}

impl SnappyWriter {
    fn new(file: Stepped) -> SnappyWriter {
        let block = Vec::with_capacity(SNAPPY_BLOCK_BYTES);
        SnappyWriter { file, encoder: snap::raw::Encoder::new(), block, has_header: false }
    }

    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let space = SNAPPY_BLOCK_BYTES.saturating_sub(self.block.len());
            let (now, later) = bytes.split_at(space.min(bytes.len()));
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() >= SNAPPY_BLOCK_BYTES {
                self.write_block()?;
            }
        }
        Ok(())
    }

    fn write_block(&mut self) -> io::Result<()> {
        let mut out = Vec::new();
        if !self.has_header {
            self.has_header = true;
            out.extend_from_slice(&SNAPPY_MAGIC);
            out.put_i32(1);
            out.put_i32(1);
        }
        let compressed = self.encoder.compress_vec(&self.block).map_err(io::Error::other)?;
        out.put_bytes(Some(&compressed));
        self.block.clear();
        self.file.write_all(&out)
    }

    fn finish(mut self) -> io::Result<Stepped> {
        if !self.block.is_empty() || !self.has_header {
            self.write_block()?;
        }
        Ok(self.file)
    }
}

/// Reads a snapshot's stream from a file: large reads, decompression, and the running checksum over
/// what was consumed. Decoders read it through [`BufRead`] or [`Read`].
pub struct SnapReader {
    source: Box<dyn BufRead + Send>,
    adler: Adler32,
}

impl SnapReader {
    /// Opens a snapshot; its name tells the compression.
    pub fn open(disk: &dyn Disk, path: &Path) -> Result<SnapReader, PersistenceError> {
        let file = disk.open(path).at("open", path)?;
        let size = usize::try_from(file.size().at("stat", path)?).unwrap_or(usize::MAX);
        let buffer = vec![0; size.clamp(1, BUFFER_BYTES)];
        let file = FileReader { file, offset: 0, buffer, filled: 0, taken: 0 };
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        Ok(SnapReader::new(file, StreamMode::of_file(name)))
    }

    /// Reads a stream that comes from anywhere, stored as `mode` says.
    pub fn new(stored: impl BufRead + Send + 'static, mode: StreamMode) -> SnapReader {
        let source: Box<dyn BufRead + Send> = match mode {
            StreamMode::Checked => Box::new(stored),
            StreamMode::Gzip => {
                Box::new(io::BufReader::with_capacity(INFLATED_BYTES, MultiGzDecoder::new(stored)))
            }
            StreamMode::Snappy => Box::new(SnappyReader::new(stored)),
        };
        SnapReader { source, adler: Adler32::new() }
    }

    /// The checksum of all bytes read so far.
    pub fn checksum(&self) -> u32 {
        self.adler.finish()
    }

    /// Reads a seal and compares it with the checksum of what was read before it
    /// (`SnapStream.checkSealIntegrity`).
    pub fn check_seal_integrity(&mut self) -> io::Result<()> {
        let want = seal(self.checksum());
        let mut found = [0; SEAL_BYTES];
        self.read_exact(&mut found)?;
        if want != found {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "CRC corruption"));
        }
        Ok(())
    }

    /// Everything that is left, when it is no more than `bytes_max`; longer rests are cut there.
    /// Not counted in the checksum.
    pub(super) fn rest(&mut self, bytes_max: u64) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        Read::take(&mut self.source, bytes_max).read_to_end(&mut rest)?;
        Ok(rest)
    }
}

impl Read for SnapReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(out)?;
        self.adler.write(out.get(..count).unwrap_or_default());
        Ok(count)
    }
}

impl BufRead for SnapReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.source.fill_buf()
    }

    /// `count` is at most what the last `fill_buf` returned.
    fn consume(&mut self, count: usize) {
        if count > 0 {
            // What `fill_buf` returned is still there: this returns it again, without reading.
            if let Ok(bytes) = self.source.fill_buf() {
                self.adler.write(bytes.get(..count).unwrap_or(bytes));
            }
            self.source.consume(count);
        }
    }
}

/// Large reads from the file.
struct FileReader {
    file: Box<dyn InputFile>,
    offset: u64,
    /// Never empty.
    buffer: Vec<u8>,
    filled: usize,
    taken: usize,
}

impl BufRead for FileReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken >= self.filled {
            (self.taken, self.filled) = (0, 0);
            self.filled = read_full(self.file.as_mut(), self.offset, &mut self.buffer)?;
            self.offset += self.filled as u64;
        }
        Ok(self.buffer.get(self.taken..self.filled).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.taken += count;
    }
}

impl Read for FileReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, out)
    }
}

/// snappy-java's `SnappyInputStream`.
struct SnappyReader<R> {
    source: R,
    decoder: snap::raw::Decoder,
    block: Vec<u8>,
    taken: usize,
    has_header: bool,
}

impl<R: Read> SnappyReader<R> {
    fn new(source: R) -> SnappyReader<R> {
        let decoder = snap::raw::Decoder::new();
        SnappyReader { source, decoder, block: Vec::new(), taken: 0, has_header: false }
    }

    /// Decodes the next block; `false` at the end.
    fn next_block(&mut self) -> io::Result<bool> {
        let damaged = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        loop {
            let mut head = [0; 4];
            match read_up_to(&mut self.source, &mut head)? {
                0 if self.has_header => return Ok(false),
                4 => {}
                _ => return Err(io::ErrorKind::UnexpectedEof.into()),
            }
            let [m0, m1, m2, m3, ..] = SNAPPY_MAGIC;
            if head == [m0, m1, m2, m3] {
                // A header, at the start or between two streams that were joined.
                let mut rest = [0; SNAPPY_HEADER_BYTES - 4];
                self.source.read_exact(&mut rest)?;
                if !rest.starts_with(SNAPPY_MAGIC.get(4..).unwrap_or_default()) {
                    return Err(damaged("invalid snappy header"));
                }
                self.has_header = true;
                continue;
            }
            let length = usize::try_from(i32::from_be_bytes(head)).unwrap_or(usize::MAX);
            if !self.has_header || length > SNAPPY_BLOCK_BYTES_MAX {
                return Err(damaged("invalid snappy block"));
            }
            // Grows with what is there, whatever the length says.
            let mut compressed = Vec::new();
            Read::take(&mut self.source, length as u64).read_to_end(&mut compressed)?;
            if compressed.len() < length {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let plain = snap::raw::decompress_len(&compressed).map_err(io::Error::other)?;
            if plain > SNAPPY_BLOCK_BYTES_MAX {
                return Err(damaged("invalid snappy block"));
            }
            self.block.resize(plain, 0);
            self.decoder.decompress(&compressed, &mut self.block).map_err(io::Error::other)?;
            self.taken = 0;
            if plain > 0 {
                return Ok(true);
            }
        }
    }
}

impl<R: Read> BufRead for SnappyReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.taken >= self.block.len() && !self.next_block()? {
            self.block.clear();
            self.taken = 0;
        }
        Ok(self.block.get(self.taken..).unwrap_or_default())
    }

    fn consume(&mut self, count: usize) {
        self.taken += count;
    }
}

impl<R: Read> Read for SnappyReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        read_buffered(self, out)
    }
}

fn read_buffered(source: &mut impl BufRead, out: &mut [u8]) -> io::Result<usize> {
    let mut bytes = source.fill_buf()?;
    let count = bytes.read(out)?;
    source.consume(count);
    Ok(count)
}

/// Fills `out` as far as the source reaches.
fn read_up_to(source: &mut impl Read, out: &mut [u8]) -> io::Result<usize> {
    let length = out.len();
    let mut left = &mut *out;
    while !left.is_empty() {
        match source.read(left) {
            Ok(0) => break,
            Ok(count) => left = left.get_mut(count..).unwrap_or_default(),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length - left.len())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::sim_disk::SimDisk;
    use super::*;

    const MODES: [StreamMode; 3] = [StreamMode::Checked, StreamMode::Gzip, StreamMode::Snappy];

    fn path(mode: StreamMode) -> PathBuf {
        format!("/snapshot.1{}", mode.file_extension()).into()
    }

    /// Bytes that compress a little.
    fn content(size: usize) -> Vec<u8> {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 28) as u8
        };
        (0..size).map(|_| next()).collect()
    }

    fn stored(mode: StreamMode, pieces: &[&[u8]]) -> SimDisk {
        let disk = SimDisk::default();
        let mut writer = SnapWriter::new(disk.create(&path(mode)).unwrap(), mode);
        for piece in pieces {
            writer.write(piece).unwrap();
        }
        writer.seal().unwrap();
        writer.finish().unwrap();
        disk
    }

    #[test]
    fn modes_are_told_by_name() {
        let check = |name, mode| assert_eq!(StreamMode::of_file(name), mode, "{name}");
        check("snapshot.1", StreamMode::Checked);
        check("snapshot.1.gz", StreamMode::Gzip);
        check("snapshot.1.GZ", StreamMode::Gzip);
        check("snapshot.1.snappy", StreamMode::Snappy);
        check("snapshot.1.xz", StreamMode::Checked);
        check("gz", StreamMode::Checked);
    }

    #[test]
    fn what_is_written_is_read_in_every_mode() {
        for mode in MODES {
            for size in [0, 1, 100, SNAPPY_BLOCK_BYTES - 13, SNAPPY_BLOCK_BYTES, 3 * BUFFER_BYTES] {
                let bytes = content(size);
                let (head, tail) = bytes.split_at(size / 3);
                let disk = stored(mode, &[head, tail]);
                let mut reader = SnapReader::open(&disk, &path(mode)).unwrap();
                let mut read = vec![0; size];
                reader.read_exact(&mut read).unwrap();
                assert!(read == bytes, "{mode:?} {size}");
                reader.check_seal_integrity().unwrap();
                assert!(reader.rest(10).unwrap().is_empty());
                assert!(is_valid_snapshot(&disk, &path(mode)).unwrap());
                assert!(verify_last_seal(&disk, &path(mode)).unwrap());
            }
        }
    }

    #[test]
    fn reading_through_the_buffer_counts_in_the_checksum() {
        for mode in MODES {
            let disk = stored(mode, &[&content(100_000)]);
            let mut reader = SnapReader::open(&disk, &path(mode)).unwrap();
            let mut left = 100_000;
            while left > 0 {
                let count = reader.fill_buf().unwrap().len().min(left).min(777);
                reader.consume(count);
                left -= count;
            }
            reader.check_seal_integrity().unwrap();
        }
    }

    #[test]
    fn a_cut_file_never_verifies() {
        for mode in MODES {
            let whole = stored(mode, &[&content(500)]).read(&path(mode)).unwrap();
            for cut in 0..whole.len() {
                let disk = SimDisk::default();
                disk.put(&path(mode), &whole[..cut]);
                assert!(!verify_last_seal(&disk, &path(mode)).unwrap(), "{mode:?} {cut}");
            }
        }
    }

    #[test]
    fn a_flipped_byte_is_found() {
        for mode in MODES {
            let whole = stored(mode, &[&content(500)]).read(&path(mode)).unwrap();
            for at in 0..whole.len() {
                let disk = SimDisk::default();
                let mut flipped = whole.clone();
                flipped[at] ^= 0x10;
                disk.put(&path(mode), &flipped);
                // Time, flags and system of a gzip header, and snappy's versions, mean nothing.
                let is_idle = match mode {
                    StreamMode::Gzip => (3..10).contains(&at),
                    StreamMode::Snappy => (8..16).contains(&at),
                    StreamMode::Checked => false,
                };
                let verified = verify_last_seal(&disk, &path(mode)).unwrap();
                assert!(is_idle || !verified, "{mode:?} {at}");
            }
        }
    }

    #[test]
    fn the_quick_check_is_that_of_java() {
        let check = |name: &str, bytes: &[u8], want| {
            let disk = SimDisk::default();
            disk.put(Path::new(name), bytes);
            assert_eq!(is_valid_snapshot(&disk, Path::new(name)).unwrap(), want, "{name}");
        };
        check("/snapshot.1", b"12345\0\0\0\x01/", true);
        check("/snapshot.1", b"1234\0\0\0\x01/", false);
        check("/snapshot.1", b"12345\0\0\0\x01.", false);
        check("/snapshot.1", b"", false);
        check("/snapshot.1.gz", b"\x1f\x8b", true);
        check("/snapshot.1.gz", b"\x1f", false);
        check("/snapshot.1.snappy", &SNAPPY_MAGIC, true);
        check("/snapshot.1.snappy", b"\x1f\x8b", false);
        check("/snapshot.x", b"12345\0\0\0\x01/", false);
        check("/other.1", b"12345\0\0\0\x01/", false);
    }

    #[test]
    fn lengths_in_snappy_blocks_are_not_believed() {
        for length in [-1, i32::MIN, i32::MAX, 1000] {
            let mut bytes = SNAPPY_MAGIC.to_vec();
            bytes.put_i64(0x1_0000_0001);
            bytes.put_i32(length);
            bytes.extend_from_slice(&[0xff; 100]);
            let disk = SimDisk::default();
            disk.put(&path(StreamMode::Snappy), &bytes);
            let mut reader = SnapReader::open(&disk, &path(StreamMode::Snappy)).unwrap();
            assert!(reader.read_exact(&mut [0; 10]).is_err());
        }
    }
}
