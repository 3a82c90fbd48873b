//! Quorum packets on a socket: `BinaryInputArchive.readRecord` and `BinaryOutputArchive` as
//! `LearnerHandler` and `Learner` use them.
//!
//! ```text
//! packet  int type · long zxid · buffer data · vector<Id> authinfo      no length prefix
//! ```
//!
//! Packets stand back to back, and behind a SNAP packet follows a raw stream: the reader is `Read`
//! and `BufRead` as well, so that nothing is lost between the two.
//!
//! Deliberate differences: memory grows with what has arrived, never with what a length announces;
//! data longer than the limit, or an absurd list of ids, ends the connection; a null list of ids
//! reads as an empty one.

use std::io::{self, BufRead, Read, Write};
use std::sync::Arc;

use crate::jute::{Buffer, Input, Jute, JuteError, Limits, OutputExt};
use crate::proto::Id;
use crate::proto::quorum::QuorumPacket;

/// The types of quorum packets (constants of `Leader`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(i32)]
pub enum PacketType {
    /// A learner forwards a request.
    Request = 1,
    /// The leader proposes a transaction.
    Proposal = 2,
    /// A learner has a transaction on its disk, or has taken over NEWLEADER or UPTODATE.
    Ack = 3,
    /// Followers may apply.
    Commit = 4,
    /// Liveness; the echo carries the sessions touched.
    Ping = 5,
    /// Is this session alive?
    Revalidate = 6,
    /// The answer to a `sync`.
    Sync = 7,
    /// A commit with its content, for observers.
    Inform = 8,
    /// The commit of a reconfiguration.
    CommitAndActivate = 9,
    /// The end of history.
    NewLeader = 10,
    /// The first packet of a follower.
    FollowerInfo = 11,
    /// The learner may serve.
    UpToDate = 12,
    /// History follows as proposals and commits.
    Diff = 13,
    /// Cut the log first.
    Trunc = 14,
    /// A snapshot follows.
    Snap = 15,
    /// The first packet of an observer.
    ObserverInfo = 16,
    /// The new epoch.
    LeaderInfo = 17,
    /// The promise not to follow an older epoch.
    AckEpoch = 18,
    /// A reconfiguration, for observers.
    InformAndActivate = 19,
}

impl PacketType {
    const ALL: [PacketType; 19] = [
        PacketType::Request,
        PacketType::Proposal,
        PacketType::Ack,
        PacketType::Commit,
        PacketType::Ping,
        PacketType::Revalidate,
        PacketType::Sync,
        PacketType::Inform,
        PacketType::CommitAndActivate,
        PacketType::NewLeader,
        PacketType::FollowerInfo,
        PacketType::UpToDate,
        PacketType::Diff,
        PacketType::Trunc,
        PacketType::Snap,
        PacketType::ObserverInfo,
        PacketType::LeaderInfo,
        PacketType::AckEpoch,
        PacketType::InformAndActivate,
    ];

    /// The type of a number on the wire; `None` for one that is not known.
    pub fn from_i32(value: i32) -> Option<PacketType> {
        let index = usize::try_from(value.checked_sub(1)?).ok()?;
        PacketType::ALL.get(index).copied()
    }

    /// The number on the wire.
    pub fn as_i32(self) -> i32 {
        self as i32
    }

    /// A packet of this type without ids.
    pub fn packet(self, zxid: i64, data: Buffer) -> QuorumPacket {
        QuorumPacket { packet_type: self.as_i32(), zxid, data, authinfo: Vec::new() }
    }
}

/// What is read from the socket at once.
const READ_BYTES: usize = 64 << 10;
/// A larger buffer is given back once it is empty.
const KEEP_BYTES_MAX: usize = 1 << 20;
/// At most so much is made ready for one read, however much of a packet has come: to fill it with
/// zeros costs as well.
const READ_BYTES_MAX: usize = 1 << 20;
/// Bound on the list of ids of one packet: their number, and the bytes of all of them, if not even
/// one string may be so long.
const AUTH_IDS_MAX: i32 = 4096;
const AUTH_BYTES_MAX: usize = 4 << 20;

/// The bound on a packet's data on an established link: as `jute.maxbuffer` allows, but at least
/// 64 MiB. A transaction may be longer than the request it comes from, a closeSession with many
/// ephemerals even much longer (ZOOKEEPER-4306).
pub fn link_limits(jute: Limits) -> Limits {
    Limits { buffer_bytes_max: jute.buffer_bytes_max.max(64 << 20) }
}

/// Reads packets, and the raw stream behind a SNAP packet.
pub struct PacketReader<R> {
    inner: R,
    buffer: Vec<u8>,
    /// Invariant: `start <= buffer.len()`; the bytes behind it are not read yet.
    start: usize,
    limits: Limits,
}

impl<R: Read> PacketReader<R> {
    /// Packets of which no data is longer than `limits`.
    pub fn new(inner: R, limits: Limits) -> PacketReader<R> {
        PacketReader { inner, buffer: Vec::new(), start: 0, limits }
    }

    /// Other limits from the next packet on, such as larger ones once a peer is known.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The stream itself, for timeouts. Reading from it past this reader loses bytes.
    pub fn get_ref(&self) -> &R {
        &self.inner
    }

    /// The next packet, waiting for it. After a timeout of the stream (`WouldBlock`, `TimedOut`) it
    /// may be called again: what has arrived is kept. The end of the stream is `UnexpectedEof`.
    pub fn read_packet(&mut self) -> io::Result<QuorumPacket> {
        loop {
            if let Some(packet) = self.next_buffered()? {
                return Ok(packet);
            }
            if self.fill_more()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// The next packet if the whole of it has been read from the stream already.
    pub fn next_buffered(&mut self) -> io::Result<Option<QuorumPacket>> {
        let bytes = self.unread();
        let mut input = Input::new(bytes, self.limits);
        match decode(&mut input) {
            Ok(packet) => {
                let used = bytes.len() - input.rest().len();
                self.consume(used);
                Ok(Some(packet))
            }
            Err(JuteError::Eof { .. }) => Ok(None),
            Err(error) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        }
    }

    fn unread(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    /// Reads once from the stream; the number of bytes, 0 at its end.
    fn fill_more(&mut self) -> io::Result<usize> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        let filled = self.buffer.len();
        // Grows with what has arrived, so that a large packet takes few reads.
        let room = filled.clamp(READ_BYTES, READ_BYTES_MAX);
        self.buffer.resize(filled.saturating_add(room), 0);
        let room = self.buffer.get_mut(filled..).unwrap_or_default();
        let result = loop {
            match self.inner.read(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        self.buffer.truncate(filled + result.as_ref().map_or(0, |count| *count));
        result
    }
}

fn decode(input: &mut Input<'_>) -> Result<QuorumPacket, JuteError> {
    let packet_type = input.read_i32()?;
    let zxid = input.read_i64()?;
    let data = input.read_bytes()?;
    let before_ids = input.rest().len();
    let ids_max = usize::try_from(input.limits().buffer_bytes_max).unwrap_or(0).min(AUTH_BYTES_MAX);
    let count = input.read_i32()?;
    if count > AUTH_IDS_MAX {
        return Err(JuteError::Length(count));
    }
    let mut authinfo = Vec::new();
    for _ in 0..count {
        // Checked first: a list that never ends must not be taken for one that is still coming.
        if before_ids - input.rest().len() > ids_max {
            return Err(JuteError::Length(count));
        }
        authinfo.push(Id::decode(input)?);
    }
    Ok(QuorumPacket { packet_type, zxid, data: data.map(Arc::from), authinfo })
}

impl<R: Read> Read for PacketReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(out)?;
        self.consume(count);
        Ok(count)
    }
}

impl<R: Read> BufRead for PacketReader<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.unread().is_empty() {
            self.fill_more()?;
        }
        Ok(self.unread())
    }

    fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.buffer.len());
        if self.start == self.buffer.len() {
            self.buffer.clear();
            self.start = 0;
            if self.buffer.capacity() > KEEP_BYTES_MAX {
                self.buffer = Vec::new();
            }
        }
    }
}

/// Gathers packets and writes them at once.
pub struct PacketWriter<W> {
    inner: W,
    buffer: Vec<u8>,
}

/// So much is gathered before it is written without being asked to.
const WRITE_BYTES: usize = 256 << 10;

impl<W: Write> PacketWriter<W> {
    /// Nothing is written before the first [`flush`](PacketWriter::flush), or 256 KiB.
    pub fn new(inner: W) -> PacketWriter<W> {
        PacketWriter { inner, buffer: Vec::new() }
    }

    /// The stream itself, to shut it.
    pub fn get_ref(&self) -> &W {
        &self.inner
    }

    /// Adds a packet.
    pub fn write_packet(&mut self, packet: &QuorumPacket) -> io::Result<()> {
        packet.encode(&mut self.buffer);
        self.flush_full()
    }

    /// Adds a packet without ids, from parts that are not owned.
    pub fn write(&mut self, kind: PacketType, zxid: i64, data: Option<&[u8]>) -> io::Result<()> {
        self.buffer.put_i32(kind.as_i32());
        self.buffer.put_i64(zxid);
        self.buffer.put_bytes(data);
        self.buffer.put_count(0);
        self.flush_full()
    }

    /// Adds raw bytes: the stream behind a SNAP packet.
    pub fn write_raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.buffer.extend_from_slice(bytes);
        self.flush_full()
    }

    /// A place to append raw bytes to; call [`flush_full`](PacketWriter::flush_full) afterwards.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Writes what has gathered if it is much.
    pub fn flush_full(&mut self) -> io::Result<()> {
        if self.buffer.len() >= WRITE_BYTES { self.flush() } else { Ok(()) }
    }

    /// Writes what has gathered.
    pub fn flush(&mut self) -> io::Result<()> {
        let result = self.inner.write_all(&self.buffer);
        self.buffer.clear();
        self.buffer.shrink_to(2 * WRITE_BYTES);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives its bytes in pieces of the given size.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(out.len()).min(self.0.len());
            let (head, tail) = self.0.split_at(count);
            out[..count].copy_from_slice(head);
            self.0 = tail;
            Ok(count)
        }
    }

    fn packets() -> Vec<QuorumPacket> {
        let ids = vec![Id::new("ip", "::1")];
        vec![
            PacketType::FollowerInfo.packet(5, Some(Arc::from(&[1u8; 20][..]))),
            QuorumPacket { packet_type: 1, zxid: -1, data: None, authinfo: ids },
            PacketType::Commit.packet(0x5_0000_0001, Some(Arc::from(&[][..]))),
            PacketType::Proposal.packet(7, Some(Arc::from(vec![9; 200_000]))),
            QuorumPacket { packet_type: 99, zxid: 0, data: None, authinfo: vec![] },
        ]
    }

    #[test]
    fn packets_come_back_however_the_stream_is_cut() {
        let mut writer = PacketWriter::new(Vec::new());
        for packet in packets() {
            writer.write_packet(&packet).unwrap();
        }
        writer.flush().unwrap();
        for piece in [1000, 4096, usize::MAX] {
            let mut reader = PacketReader::new(Trickle(writer.get_ref(), piece), Limits::default());
            for packet in packets() {
                assert_eq!(reader.read_packet().unwrap(), packet);
            }
            let end = reader.read_packet().unwrap_err();
            assert_eq!(end.kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    #[test]
    fn a_raw_stream_follows_a_packet() {
        let mut writer = PacketWriter::new(Vec::new());
        writer.write(PacketType::Snap, 3, None).unwrap();
        writer.write_raw(b"raw").unwrap();
        writer.write(PacketType::NewLeader, 4, None).unwrap();
        writer.flush().unwrap();
        let mut reader = PacketReader::new(&writer.get_ref()[..], Limits::default());
        assert_eq!(reader.read_packet().unwrap().packet_type, 15);
        let mut raw = [0; 3];
        reader.read_exact(&mut raw).unwrap();
        assert_eq!(&raw, b"raw");
        assert_eq!(reader.read_packet().unwrap().zxid, 4);
    }

    #[test]
    fn what_is_too_long_is_refused_before_it_has_arrived() {
        let check = |bytes: &[u8]| {
            let mut reader = PacketReader::new(bytes, Limits { buffer_bytes_max: 1000 });
            let error = reader.read_packet().unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        };
        let mut head = Vec::new();
        head.put_i32(2);
        head.put_i64(1);
        let with = |count: i32| {
            let mut bytes = head.clone();
            bytes.put_i32(count);
            bytes
        };
        check(&with(1001));
        check(&with(-2));
        let mut ids = with(-1);
        ids.put_i32(i32::MAX);
        check(&ids);
        // As many ids as there may be, and not all of them.
        let mut ids = with(-1);
        ids.put_i32(AUTH_IDS_MAX);
        (0..200).for_each(|_| Id::new("ip", "::1").encode(&mut ids));
        check(&ids);
    }

    #[test]
    fn numbers_of_types_are_those_of_java() {
        for (index, kind) in PacketType::ALL.into_iter().enumerate() {
            assert_eq!(kind.as_i32(), index as i32 + 1);
            assert_eq!(PacketType::from_i32(kind.as_i32()), Some(kind));
        }
        for unknown in [0, -1, 20, i32::MIN, i32::MAX] {
            assert_eq!(PacketType::from_i32(unknown), None);
        }
    }
}
