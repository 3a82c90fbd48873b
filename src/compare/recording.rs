//! The file of `zabkeeper compare record`: what clients and a server said to each other, frame by
//! frame, in the order in which the proxy saw it. No Java class.
//!
//! Numbers are big endian, *varint* is LEB128 (seven bits a byte, the lowest first):
//!
//! | bytes | what |
//! | --- | --- |
//! | 4, 4 | `ZKRC`, version 1 |
//! | 8 | wall time of the start, ms |
//! | | then records, each: |
//! | 1 | kind, see [`Kind`] |
//! | varint | connection, counted from 1 |
//! | varint | microseconds since the record before |
//! | varint, n | length and payload: a frame without its own length, or raw bytes |
//! | 4 | CRC-32 of the record up to here |
//!
//! Whole records are appended, so whatever ends the writer leaves a readable beginning: reading ends
//! at the first record that is cut short or does not fit its checksum, and says where.

use std::fs::File;
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use thiserror::Error;

/// The first four bytes of a recording.
pub const MAGIC: [u8; 4] = *b"ZKRC";
/// The version that is written and read.
pub const VERSION: u32 = 1;

/// No frame of a ZooKeeper connection is longer than this; longer ones are raw bytes.
pub const FRAME_BYTES_MAX: usize = 256 << 20;
/// No record's payload is longer than this.
const PAYLOAD_BYTES_MAX: u64 = (FRAME_BYTES_MAX as u64) + 64 * 1024;

/// What a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A client has connected.
    Opened = 1,
    /// A frame from the client, without its length.
    ClientFrame = 2,
    /// A frame from the server, without its length.
    ServerFrame = 3,
    /// Bytes from the client that are no whole frame: a four letter word, garbage, half a frame.
    ClientBytes = 4,
    /// Bytes from the server that are no whole frame: the answer to a four letter word.
    ServerBytes = 5,
    /// The client has ended its half of the connection.
    ClientClosed = 6,
    /// The server has ended its half of the connection.
    ServerClosed = 7,
}

impl Kind {
    fn from_u8(byte: u8) -> Option<Kind> {
        Some(match byte {
            1 => Kind::Opened,
            2 => Kind::ClientFrame,
            3 => Kind::ServerFrame,
            4 => Kind::ClientBytes,
            5 => Kind::ServerBytes,
            6 => Kind::ClientClosed,
            7 => Kind::ServerClosed,
            _ => return None,
        })
    }
}

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What.
    pub kind: Kind,
    /// On which connection, counted from 1.
    pub connection: u64,
    /// When, in microseconds since the recording began.
    pub at_us: u64,
    /// The frame without its length, or the raw bytes; empty for the other kinds.
    pub payload: Vec<u8>,
}

/// Why a file is no recording, or cannot be read.
#[derive(Debug, Error)]
pub enum RecordingError {
    /// The file does not begin as a recording does.
    #[error("not a recording of zabkeeper compare (it does not begin with ZKRC)")]
    NoRecording,
    /// Written by another release.
    #[error("version {0} of the recording's format is not known here (only {VERSION})")]
    Version(u32),
    /// The file system said so.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Appends records.
#[derive(Debug)]
pub struct RecordingWriter<W: Write> {
    out: W,
    last_us: u64,
    encoded: Vec<u8>,
}

impl RecordingWriter<File> {
    /// A new file. One that is there already is an error: recordings are not made twice.
    pub fn create(path: &Path, started_ms: i64) -> io::Result<Self> {
        let file = File::options().write(true).create_new(true).open(path)?;
        RecordingWriter::new(file, started_ms)
    }

    /// Waits until all of it is on the disk.
    pub fn sync(&self) -> io::Result<()> {
        self.out.sync_all()
    }
}

impl<W: Write> RecordingWriter<W> {
    /// Writes the head of the file.
    pub fn new(mut out: W, started_ms: i64) -> io::Result<Self> {
        let mut head = Vec::with_capacity(16);
        head.extend(MAGIC);
        head.extend(VERSION.to_be_bytes());
        head.extend(started_ms.to_be_bytes());
        out.write_all(&head)?;
        Ok(RecordingWriter { out, last_us: 0, encoded: Vec::new() })
    }

    /// Appends records with one write. Times that run backwards, as they may between two threads,
    /// are taken for the one before.
    pub fn append<'a>(&mut self, records: impl IntoIterator<Item = &'a Record>) -> io::Result<()> {
        self.encoded.clear();
        for record in records {
            let from = self.encoded.len();
            self.encoded.push(record.kind as u8);
            put_varint(&mut self.encoded, record.connection);
            put_varint(&mut self.encoded, record.at_us.saturating_sub(self.last_us));
            put_varint(&mut self.encoded, record.payload.len() as u64);
            self.encoded.extend(&record.payload);
            let checksum = crc32fast::hash(self.encoded.get(from..).unwrap_or_default());
            self.encoded.extend(checksum.to_be_bytes());
            self.last_us = self.last_us.max(record.at_us);
        }
        let written = self.out.write_all(&self.encoded);
        if self.encoded.capacity() > 1 << 20 {
            self.encoded = Vec::new();
        }
        written
    }
}

/// Reads the records one by one.
#[derive(Debug)]
pub struct RecordingReader<R: Read> {
    input: Checked<R>,
    started_ms: i64,
    last_us: u64,
    /// Bytes of the head and of the whole records read so far.
    good_bytes: u64,
    end: Option<End>,
}

/// How a recording ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// With a whole record.
    Clean,
    /// With something else behind this many bytes: the writer was ended while it wrote.
    Torn(u64),
}

impl RecordingReader<BufReader<File>> {
    /// Opens a file and checks its head.
    pub fn open(path: &Path) -> Result<Self, RecordingError> {
        RecordingReader::new(BufReader::with_capacity(256 * 1024, File::open(path)?))
    }
}

impl<R: Read> RecordingReader<R> {
    /// Checks the head.
    pub fn new(input: R) -> Result<Self, RecordingError> {
        let mut input = Checked::new(input);
        let head: [u8; 16] = match input.array() {
            Ok(head) => head,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(RecordingError::NoRecording);
            }
            Err(error) => return Err(error.into()),
        };
        let [a, b, c, d, v0, v1, v2, v3, ms @ ..] = head;
        if [a, b, c, d] != MAGIC {
            return Err(RecordingError::NoRecording);
        }
        let version = u32::from_be_bytes([v0, v1, v2, v3]);
        if version != VERSION {
            return Err(RecordingError::Version(version));
        }
        let started_ms = i64::from_be_bytes(ms);
        Ok(RecordingReader { input, started_ms, last_us: 0, good_bytes: 16, end: None })
    }

    /// Wall time of the recording's start, in ms.
    pub fn started_ms(&self) -> i64 {
        self.started_ms
    }

    /// How the file ends; `None` before its end was reached.
    pub fn end(&self) -> Option<End> {
        self.end
    }

    /// The next record; `None` at the end, torn or not.
    pub fn next_record(&mut self) -> io::Result<Option<Record>> {
        if self.end.is_some() {
            return Ok(None);
        }
        self.input.begin();
        let read = match self.read_record() {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => None,
            read => read?,
        };
        match &read {
            Some(record) => {
                self.good_bytes = self.good_bytes.saturating_add(self.input.count);
                self.last_us = record.at_us;
            }
            None if self.input.count == 0 => self.end = Some(End::Clean),
            None => self.end = Some(End::Torn(self.good_bytes)),
        }
        Ok(read)
    }

    /// `None` for what is no record.
    fn read_record(&mut self) -> io::Result<Option<Record>> {
        let [kind] = self.input.array()?;
        let Some(kind) = Kind::from_u8(kind) else { return Ok(None) };
        let Some(connection) = self.input.varint()? else { return Ok(None) };
        let Some(since_us) = self.input.varint()? else { return Ok(None) };
        let Some(length) = self.input.varint()? else { return Ok(None) };
        if length > PAYLOAD_BYTES_MAX {
            return Ok(None);
        }
        let payload = self.input.bytes(length)?;
        let computed = self.input.checksum();
        let stored = u32::from_be_bytes(self.input.array()?);
        let at_us = self.last_us.saturating_add(since_us);
        Ok((computed == stored).then_some(Record { kind, connection, at_us, payload }))
    }
}

impl<R: Read> Iterator for RecordingReader<R> {
    type Item = io::Result<Record>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_record().transpose()
    }
}

/// Reads and remembers the checksum of what was read since `begin`.
#[derive(Debug)]
struct Checked<R> {
    input: R,
    hasher: crc32fast::Hasher,
    count: u64,
}

impl<R: Read> Checked<R> {
    fn new(input: R) -> Self {
        Checked { input, hasher: crc32fast::Hasher::new(), count: 0 }
    }

    fn begin(&mut self) {
        self.hasher = crc32fast::Hasher::new();
        self.count = 0;
    }

    fn checksum(&self) -> u32 {
        self.hasher.clone().finalize()
    }

    fn note(&mut self, bytes: &[u8]) {
        self.hasher.update(bytes);
        self.count = self.count.saturating_add(bytes.len() as u64);
    }

    fn array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        let mut filled = 0;
        // Not `read_exact`: the bytes of a torn end count as well.
        while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
            match self.input.read(rest) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    self.count = self.count.saturating_add(count as u64);
                    filled += count;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.hasher.update(&bytes);
        Ok(bytes)
    }

    /// `None` for more than nine bytes.
    fn varint(&mut self) -> io::Result<Option<u64>> {
        let mut value = 0u64;
        for shift in (0..63).step_by(7) {
            let [byte] = self.array()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// Allocates as the bytes come, not as the length says.
    fn bytes(&mut self, length: u64) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.input.by_ref().take(length).read_to_end(&mut bytes)?;
        self.note(&bytes);
        if (bytes.len() as u64) < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(bytes)
    }
}

fn put_varint(out: &mut Vec<u8>, value: u64) {
    // Nine groups of seven bits: nothing here needs the last bit.
    let mut rest = value.min(u64::MAX >> 1);
    while rest >= 0x80 {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn records() -> Vec<Record> {
        let record = |kind, connection, at_us, payload: &[u8]| Record {
            kind,
            connection,
            at_us,
            payload: payload.to_vec(),
        };
        vec![
            record(Kind::Opened, 1, 0, b""),
            record(Kind::ClientFrame, 1, 130, b"connect"),
            record(Kind::ServerFrame, 1, 70_000, &[7; 300]),
            record(Kind::Opened, 200, 70_000, b""),
            record(Kind::ClientBytes, 200, 5_000_000_000, b"ruok"),
            record(Kind::ServerBytes, 200, 5_000_000_001, b"imok"),
            record(Kind::ServerClosed, 200, 5_000_000_001, b""),
            record(Kind::ClientClosed, 1, 5_000_000_002, b""),
        ]
    }

    fn written(records: &[Record]) -> Vec<u8> {
        let mut out = Vec::new();
        RecordingWriter::new(&mut out, 77).unwrap().append(records).unwrap();
        out
    }

    fn read(bytes: &[u8]) -> (Vec<Record>, Option<End>) {
        let mut reader = RecordingReader::new(bytes).unwrap();
        assert_eq!(reader.started_ms(), 77);
        let records = reader.by_ref().map(Result::unwrap).collect();
        (records, reader.end())
    }

    #[test]
    fn records_come_back_as_they_were() {
        assert_eq!(read(&written(&records())), (records(), Some(End::Clean)));
        assert_eq!(read(&written(&[])), (vec![], Some(End::Clean)));
    }

    #[test]
    fn times_that_run_backwards_stand_still() {
        let mut late = records();
        late[1].at_us = 9;
        late[2].at_us = 3;
        let (back, _) = read(&written(&late[..3]));
        assert_eq!(back[2].at_us, 9);
    }

    #[test]
    fn any_beginning_of_a_file_has_the_whole_records_in_it() {
        let all = records();
        let bytes = written(&all);
        let mut ends = Vec::new();
        for count in 0..=all.len() {
            ends.push(written(&all[..count]).len());
        }
        for cut in 16..=bytes.len() {
            let (back, end) = read(&bytes[..cut]);
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            assert_eq!(back, all[..whole], "cut at {cut}");
            let expected =
                if ends.contains(&cut) { End::Clean } else { End::Torn(ends[whole] as u64) };
            assert_eq!(end, Some(expected), "cut at {cut}");
        }
        for cut in 0..16 {
            assert!(matches!(
                RecordingReader::new(&bytes[..cut]),
                Err(RecordingError::NoRecording)
            ));
        }
    }

    #[test]
    fn a_flipped_bit_ends_the_recording_before_its_record() {
        let all = records();
        let bytes = written(&all);
        for at in 16..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x10;
            let (back, end) = read(&flipped);
            assert!(back.len() < all.len() && back == all[..back.len()], "flipped at {at}");
            assert!(matches!(end, Some(End::Torn(_))), "flipped at {at}");
        }
    }

    #[test]
    fn other_files_and_versions_are_told() {
        let other = RecordingReader::new(&b"ZKSN0000111122223333"[..]);
        assert!(matches!(other, Err(RecordingError::NoRecording)));
        let mut newer = written(&[]);
        newer[7] = 2;
        assert!(matches!(RecordingReader::new(&newer[..]), Err(RecordingError::Version(2))));
    }

    #[test]
    fn a_recording_is_not_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("r");
        let mut writer = RecordingWriter::create(&path, 77).unwrap();
        writer.append(&records()).unwrap();
        writer.sync().unwrap();
        assert!(RecordingWriter::create(&path, 78).is_err());
        let read: Vec<Record> = RecordingReader::open(&path).unwrap().map(Result::unwrap).collect();
        assert_eq!(read, records());
    }
}
