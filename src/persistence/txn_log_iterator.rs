//! Reads transactions from the log files of a directory: `FileTxnLog.FileTxnIterator`.
//!
//! A record is: long Adler-32 of the payload · int length · payload · byte 0x42. A length of 0
//! (padding) or the end of the file ends a file.
//!
//! Deliberate differences: Java ends a file silently at a missing trailer byte, whatever follows,
//! and stops recovery at a wrong checksum even in the very last record. Here one rule covers every
//! unreadable record: when nothing readable lies behind it in the file, it is a torn tail of a crash
//! (dropped, and reported in [`TxnLogIterator::torn_tails`] so that recovery can cut it off);
//! otherwise it is damage, and an error that names the place. One thing more is a torn tail: a batch
//! of several pages, not yet synced when the power failed, of which the disk kept a later page but
//! not an earlier one. Where the lost page was, the zeros of the padding are left, and the whole
//! records behind it were never acknowledged. Files without a whole header hold no
//! transaction and count as absent (ZOOKEEPER-2332); Java refuses older ones.

use std::collections::VecDeque;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, InputFile, read_full};
use super::error::{AtPath, PersistenceError};
use super::util::{LOG_FILE_PREFIX, ZxidFile, log_files_from, sort_data_dir};
use crate::jute::{Input, Jute};
use crate::proto::file::{FileHeader, TXNLOG_MAGIC};
use crate::proto::{OpCode, TxnHeader, TxnLogEntry, Zxid};

/// Bytes of the file header.
pub(super) const FILE_HEADER_BYTES: u64 = 16;
/// Bytes before a payload: checksum and length.
pub(super) const RECORD_HEAD_BYTES: usize = 12;
/// Bytes of a transaction's header, the shortest payload.
const TXN_HEADER_BYTES: usize = 32;
/// Behind each payload: 'B'.
pub(super) const RECORD_TRAILER: u8 = 0x42;
/// What a kernel writes to a disk at once: a lost write leaves a hole that begins and ends at
/// multiples of this, or begins at the end of what had been synced.
const PAGE_BYTES: u64 = 4096;
/// The first bytes of a record, which are 0 in each: the upper half of its checksum.
const CHECKSUM_ZERO_BYTES: u64 = 4;
/// How many records may stand behind a hole: those of one batch. Java's default of `maxBatchSize`,
/// not the configured one: that may have changed since the batch was written, and the tools that
/// read logs have no configuration.
const BATCH_RECORDS_MAX: usize = 1000;
/// How much is read at once.
const WINDOW_BYTES: usize = 1 << 20;

/// The unreadable end of a file, left by a crash in the middle of a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The log file.
    pub path: PathBuf,
    /// Where the readable part ends: the length to cut the file to. Less than the 16 bytes of a
    /// header: the file holds nothing at all.
    pub offset: u64,
}

/// An iterator over the transactions from a zxid on, through all files that follow.
pub struct TxnLogIterator {
    disk: Arc<dyn Disk>,
    from: Zxid,
    files: VecDeque<ZxidFile>,
    reader: Option<LogReader>,
    torn_tails: Vec<TornTail>,
    has_failed: bool,
}

impl TxnLogIterator {
    /// Transactions with a zxid of at least `from` in the logs of `dir`.
    pub fn new(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        from: Zxid,
    ) -> Result<TxnLogIterator, PersistenceError> {
        let files = sort_data_dir(disk.as_ref(), dir, LOG_FILE_PREFIX)?;
        let files = log_files_from(&files, from).iter().cloned().collect();
        Ok(TxnLogIterator::over(disk, files, from))
    }

    /// Transactions with a zxid of at least `from` in these files.
    pub(super) fn over(
        disk: &Arc<dyn Disk>,
        files: VecDeque<ZxidFile>,
        from: Zxid,
    ) -> TxnLogIterator {
        TxnLogIterator {
            disk: Arc::clone(disk),
            from,
            files,
            reader: None,
            torn_tails: Vec::new(),
            has_failed: false,
        }
    }

    /// Bytes of the files not yet opened and of the open one
    /// (`FileTxnIterator.getStorageSize`, when asked before the first transaction).
    pub fn storage_size(&self) -> Result<u64, PersistenceError> {
        let mut sum = 0u64;
        for file in &self.files {
            let input = self.disk.open(&file.path).at("open", &file.path)?;
            sum = sum.saturating_add(input.size().at("stat", &file.path)?);
        }
        Ok(sum.saturating_add(self.reader.as_ref().map_or(0, |reader| reader.size)))
    }

    /// The file of the last transaction returned.
    pub fn current_path(&self) -> Option<&Path> {
        self.reader.as_ref().map(|reader| reader.path.as_path())
    }

    /// Where the last transaction returned ends in its file.
    pub fn position(&self) -> u64 {
        self.reader.as_ref().map_or(0, |reader| reader.offset)
    }

    /// The files not yet opened.
    pub(super) fn following_files(&self) -> impl Iterator<Item = &ZxidFile> {
        self.files.iter()
    }

    /// The torn tails met so far, oldest file first.
    pub fn torn_tails(&self) -> &[TornTail] {
        &self.torn_tails
    }

    fn next_entry(&mut self) -> Result<Option<TxnLogEntry>, PersistenceError> {
        loop {
            let reader = match &mut self.reader {
                Some(reader) => reader,
                None => {
                    let Some(file) = self.files.pop_front() else { return Ok(None) };
                    let is_newest = self.files.is_empty();
                    let disk = self.disk.as_ref();
                    self.reader.insert(LogReader::open(disk, file, self.from, is_newest)?)
                }
            };
            match reader.next_record()? {
                Some(entry) => return Ok(Some(entry)),
                None => {
                    if let Some(reader) = self.reader.take()
                        && reader.is_torn
                    {
                        log::warn!(
                            "{}: dropping a torn record at offset {}",
                            reader.path.display(),
                            reader.offset
                        );
                        self.torn_tails.push(TornTail { path: reader.path, offset: reader.offset });
                    }
                }
            }
        }
    }
}

impl Iterator for TxnLogIterator {
    type Item = Result<TxnLogEntry, PersistenceError>;

    /// Nothing follows an error.
    fn next(&mut self) -> Option<Self::Item> {
        if self.has_failed {
            return None;
        }
        let result = self.next_entry();
        self.has_failed = result.is_err();
        result.transpose()
    }
}

/// One log file, read through a window.
struct LogReader {
    path: PathBuf,
    file: Box<dyn InputFile>,
    size: u64,
    /// The next record; when the file has ended, the length of its readable part.
    offset: u64,
    /// The part of the file that is in memory.
    window: Vec<u8>,
    /// Offset of the window's first byte.
    window_start: u64,
    last_zxid: Zxid,
    is_torn: bool,
    /// Records before this zxid are not wanted: the caller has them already.
    from: Zxid,
    /// The zxid in the file's name: no record has a lower one.
    first_zxid: Zxid,
    /// Whether no later file was begun.
    is_newest: bool,
}

/// A whole record behind an unreadable one.
struct FoundRecord {
    start: u64,
    end: u64,
    zxid: Zxid,
}

impl LogReader {
    /// Opens a file and checks its header. An incomplete or zero one reads as an empty file.
    fn open(
        disk: &dyn Disk,
        file: ZxidFile,
        from: Zxid,
        is_newest: bool,
    ) -> Result<LogReader, PersistenceError> {
        let ZxidFile { zxid: first_zxid, path } = file;
        let file = disk.open(&path).at("open", &path)?;
        let size = file.size().at("stat", &path)?;
        let mut reader = LogReader {
            path,
            file,
            size,
            offset: 0,
            window: Vec::new(),
            window_start: 0,
            last_zxid: Zxid::NONE,
            is_torn: false,
            from,
            first_zxid,
            is_newest,
        };
        let range = reader.load(0, FILE_HEADER_BYTES as usize)?;
        let head = range.and_then(|range| reader.window.get(range)).unwrap_or_default();
        match FileHeader::decode(&mut Input::unbounded(head)) {
            Ok(header) if header.magic == TXNLOG_MAGIC => reader.offset = FILE_HEADER_BYTES,
            Ok(header) if !is_torn_magic(header.magic) => {
                return Err(PersistenceError::LogHeader { path: reader.path, magic: header.magic });
            }
            // Created, but its header never reached the disk. Records may follow only behind a
            // damaged header: the header is synced before the first of them is written.
            Ok(_) | Err(_) => reader.end()?,
        }
        Ok(reader)
    }

    /// The next record that is wanted, or `None` at the end of the file.
    fn next_record(&mut self) -> Result<Option<TxnLogEntry>, PersistenceError> {
        loop {
            if self.is_torn || self.offset < FILE_HEADER_BYTES {
                return Ok(None);
            }
            let Some(range) = self.record_at(self.offset)? else {
                self.end()?;
                return Ok(None);
            };
            let start = self.offset;
            let payload = self.window.get(range).unwrap_or_default();
            let decode_error = |source| PersistenceError::Record {
                path: self.path.clone(),
                offset: start,
                source,
            };
            self.offset += (RECORD_HEAD_BYTES + payload.len() + 1) as u64;
            let header = TxnHeader::decode(&mut Input::unbounded(payload)).map_err(decode_error)?;
            self.last_zxid = header.zxid;
            if header.zxid >= self.from {
                return Ok(Some(TxnLogEntry::decode(payload).map_err(decode_error)?));
            }
        }
    }

    /// Brings `bytes` bytes from `offset` into the window; their place in it, or `None` beyond the
    /// end of the file.
    fn load(
        &mut self,
        offset: u64,
        bytes: usize,
    ) -> Result<Option<Range<usize>>, PersistenceError> {
        if offset.checked_add(bytes as u64).is_none_or(|end| end > self.size) {
            return Ok(None);
        }
        let from =
            offset.checked_sub(self.window_start).and_then(|from| usize::try_from(from).ok());
        if let Some(from) = from
            && from + bytes <= self.window.len()
        {
            return Ok(Some(from..from + bytes));
        }
        // Bounded by the size of the file, checked above.
        let left = usize::try_from(self.size - offset).unwrap_or(usize::MAX);
        let size = bytes.max(WINDOW_BYTES).min(left);
        if self.window.len() < size {
            self.window = vec![0; size];
        }
        self.window.truncate(size);
        self.window_start = offset;
        let count =
            read_full(self.file.as_mut(), offset, &mut self.window).at("read", &self.path)?;
        self.window.truncate(count);
        Ok((bytes <= count).then_some(0..bytes))
    }

    /// The payload of the record at `offset`, in the window, when it is whole: length, trailer and
    /// checksum fit.
    fn record_at(&mut self, offset: u64) -> Result<Option<Range<usize>>, PersistenceError> {
        let Some(head) = self.load(offset, RECORD_HEAD_BYTES)? else { return Ok(None) };
        let Some(head) = RecordHead::parse(self.window.get(head).unwrap_or_default()) else {
            return Ok(None);
        };
        let Some(range) = self.load(offset, RECORD_HEAD_BYTES + head.length + 1)? else {
            return Ok(None);
        };
        let payload = range.start + RECORD_HEAD_BYTES..range.end - 1;
        let is_whole = self.window.get(range.end - 1) == Some(&RECORD_TRAILER)
            && self.window.get(payload.clone()).is_some_and(|bytes| head.matches(bytes));
        Ok(is_whole.then_some(payload))
    }

    /// The file's readable part ends at `self.offset`: is the rest padding, a torn tail or damage?
    fn end(&mut self) -> Result<(), PersistenceError> {
        let mut at = self.offset;
        let mut first: Option<FoundRecord> = None;
        let (mut count, mut last_zxid) = (0, Zxid::NONE);
        // Zeros and holes are passed over.
        while let Some(data) = self.next_nonzero(at)? {
            self.is_torn = true;
            let Some(found) = self.record_with_first_data(data, at)? else {
                at = data + 1;
                continue;
            };
            at = found.end;
            count += 1;
            last_zxid = last_zxid.max(found.zxid);
            let is_damage = match &first {
                None => !self.is_lost_write(found.start)?,
                Some(_) => count > BATCH_RECORDS_MAX,
            };
            let first = first.get_or_insert(found);
            if is_damage {
                return Err(PersistenceError::DamagedLog {
                    path: self.path.clone(),
                    offset: self.offset,
                    last_zxid: self.last_zxid,
                    next_zxid: first.zxid,
                    next_offset: first.start,
                });
            }
        }
        if let Some(first) = first {
            log::error!(
                "{}: a page at offset {} was never written, a power failure in the middle of a batch; \
                 dropping the {count} whole records behind it, zxid {} to {last_zxid}: they cannot \
                 have been acknowledged",
                self.path.display(),
                self.offset,
                first.zxid
            );
        }
        // An incomplete header counts as torn even where it is all zeros: the file holds nothing.
        self.is_torn |= self.offset < FILE_HEADER_BYTES;
        Ok(())
    }

    /// The record behind the unreadable one that begins at `at` or later and whose first byte other
    /// than 0 is the one at `data`: one of the low four of its checksum, which is never 0.
    fn record_with_first_data(
        &mut self,
        data: u64,
        at: u64,
    ) -> Result<Option<FoundRecord>, PersistenceError> {
        for start in data.saturating_sub(7).max(at)..=data.saturating_sub(CHECKSUM_ZERO_BYTES) {
            if start != self.offset
                && let Some(range) = self.record_at(start)?
                && let Some(payload) = self.window.get(range)
                && let Some(zxid) = plausible_zxid(payload, self.last_zxid)
            {
                let end = start + (RECORD_HEAD_BYTES + payload.len() + 1) as u64;
                return Ok(Some(FoundRecord { start, end, zxid }));
            }
        }
        Ok(None)
    }

    /// Whether the record at `self.offset` is unreadable because a write of a page of it, or of its
    /// beginning, was lost before it was synced. `next` is where the next whole record begins.
    fn is_lost_write(&mut self, next: u64) -> Result<bool, PersistenceError> {
        // What is known to have been synced before lost no write: the header, a file that was left
        // for a newer one, and what the caller's snapshot shows to be committed.
        let zxid = match self.last_zxid {
            Zxid::NONE => self.first_zxid,
            last => last.next(),
        };
        if self.offset < FILE_HEADER_BYTES || !self.is_newest || zxid < self.from {
            return Ok(false);
        }
        let start = self.offset;
        let Some(head) = self.load(start, RECORD_HEAD_BYTES)? else { return Ok(false) };
        let head = RecordHead::parse(self.window.get(head).unwrap_or_default());
        let payload_and_trailer = head.map_or(0, |head| head.length as u64 + 1);
        // A length that reaches into the next record is wrong itself.
        let end = next.min(start + RECORD_HEAD_BYTES as u64 + payload_and_trailer);
        let mut from = start;
        while from < end {
            let page_end = (from | (PAGE_BYTES - 1)) + 1;
            // These are zeros in any record: no loss.
            let is_visible = from != start || page_end - from > CHECKSUM_ZERO_BYTES;
            if is_visible && self.is_zero(from, page_end)? {
                return Ok(true);
            }
            from = page_end;
        }
        Ok(false)
    }

    /// Whether there are only zeros in these bytes of a page, all of them in the file.
    fn is_zero(&mut self, from: u64, to: u64) -> Result<bool, PersistenceError> {
        let range = self.load(from, to.saturating_sub(from) as usize)?;
        let bytes = range.and_then(|range| self.window.get(range));
        Ok(bytes.is_some_and(|bytes| bytes.iter().all(|&byte| byte == 0)))
    }

    /// Where the next byte other than 0 lies.
    fn next_nonzero(&mut self, mut at: u64) -> Result<Option<u64>, PersistenceError> {
        loop {
            let from =
                at.checked_sub(self.window_start).and_then(|from| usize::try_from(from).ok());
            let loaded = from.and_then(|from| self.window.get(from..)).unwrap_or_default();
            if let Some(skip) = loaded.iter().position(|&byte| byte != 0) {
                return Ok(Some(at + skip as u64));
            }
            at += loaded.len() as u64;
            if at >= self.size {
                return Ok(None);
            }
            match self.file.next_data(at).at("seek", &self.path)? {
                Some(data) => at = data.max(at),
                None => return Ok(None),
            }
            if self.load(at, 1)?.is_none() {
                return Ok(None);
            }
        }
    }
}

/// Whether these are the first bytes of the magic number, then zeros: none of a new file's header,
/// or a part of it, reached the disk.
fn is_torn_magic(magic: i32) -> bool {
    [0, 8, 16, 24].iter().any(|bits| magic == TXNLOG_MAGIC & !(u32::MAX >> bits) as i32)
}

/// The twelve bytes before a payload.
struct RecordHead {
    checksum: u32,
    length: usize,
}

impl RecordHead {
    /// `None` when no record can begin so: the checksum is a 32-bit number in 8 bytes, and the
    /// payload holds at least a header.
    fn parse(bytes: &[u8]) -> Option<RecordHead> {
        let mut input = Input::unbounded(bytes);
        let checksum = u32::try_from(input.read_i64().ok()?).ok()?;
        let length = usize::try_from(input.read_i32().ok()?).ok()?;
        (length >= TXN_HEADER_BYTES).then_some(RecordHead { checksum, length })
    }

    fn matches(&self, payload: &[u8]) -> bool {
        simd_adler32::adler32(&payload) == self.checksum
    }
}

/// The zxid of a payload found behind an unreadable record, when it can be a transaction that was
/// written there: of a known type and later than the last readable one. Data of a client that looks
/// like a log record inside a torn one is ruled out by the former in practice, by the latter where
/// it was copied from this very log.
fn plausible_zxid(payload: &[u8], last: Zxid) -> Option<Zxid> {
    let header = TxnHeader::decode(&mut Input::unbounded(payload)).ok()?;
    OpCode::from_i32(header.txn_type)?;
    (header.zxid > last).then_some(header.zxid)
}

#[cfg(test)]
mod tests {
    use super::super::disk::RealDisk;
    use super::super::sim_disk::SimDisk;
    use super::super::testing::{entry, entry_of, log_in, sim_dir, zxids};
    use super::*;

    /// One file with the transactions 1 to `count`, padding included, and where each record ends.
    fn small_log(count: i64) -> (Vec<u8>, Vec<usize>) {
        let (sim, disk, dir) = sim_dir();
        let mut log = log_in(&disk, &dir);
        let mut ends = vec![16];
        for zxid in 1..=count {
            log.append(&entry(zxid)).unwrap();
            ends.push(log.current_log_size() as usize);
        }
        log.commit().unwrap();
        (sim.read(&dir.join("log.1")).unwrap(), ends)
    }

    fn read(bytes: &[u8]) -> (Result<Vec<i64>, String>, Vec<TornTail>) {
        let (sim, disk, dir) = sim_dir();
        sim.put(&dir.join("log.1"), bytes);
        let mut entries = TxnLogIterator::new(&disk, &dir, Zxid(0)).unwrap();
        let all = entries
            .by_ref()
            .map(|entry| entry.map(|entry| entry.zxid().0).map_err(|error| error.to_string()))
            .collect();
        (all, entries.torn_tails().to_vec())
    }

    #[test]
    fn a_log_cut_anywhere_yields_the_whole_records_before_the_cut() {
        let (bytes, ends) = small_log(5);
        for cut in 0..bytes.len() {
            let whole = ends.iter().filter(|&&end| end <= cut).count() as i64;
            for padding in [0, 1, 100] {
                let mut cut_bytes = bytes[..cut].to_vec();
                cut_bytes.resize(cut + padding, 0);
                let (all, torn) = read(&cut_bytes);
                assert_eq!(all, Ok((1..whole).collect()), "cut at {cut}");
                for tail in torn {
                    assert!(tail.offset == 0 || ends.contains(&(tail.offset as usize)));
                    assert!(tail.offset as usize <= cut);
                }
            }
        }
    }

    #[test]
    fn b36_a_flipped_byte_is_damage_before_the_last_record_and_a_torn_tail_in_it() {
        let (bytes, ends) = small_log(4);
        for at in 0..bytes.len() {
            for bit in [0x01, 0x80] {
                let mut flipped = bytes.clone();
                flipped[at] ^= bit;
                let (all, torn) = read(&flipped);
                let (last_start, end) = (ends[3], ends[4]);
                match at {
                    0..4 => assert!(all.is_err(), "at {at}"),
                    4..16 => assert_eq!(all, Ok(vec![1, 2, 3, 4])), // Nobody reads these.
                    _ if at < last_start => {
                        let error = all.unwrap_err();
                        assert!(error.contains("log.1: transaction log is damaged at offset"));
                        let start = ends.iter().rfind(|&&end| end <= at).unwrap();
                        assert!(error.contains(&format!("offset {start}:")), "{at}: {error}");
                        assert!(torn.is_empty());
                    }
                    _ if at < end => {
                        assert_eq!(all, Ok(vec![1, 2, 3]));
                        assert_eq!(torn[0].offset, last_start as u64);
                    }
                    // Junk in the padding is cut off.
                    _ => {
                        assert_eq!(all, Ok(vec![1, 2, 3, 4]));
                        assert_eq!(torn[0].offset, end as u64);
                    }
                }
            }
        }
    }

    #[test]
    fn a_zeroed_record_in_the_middle_is_not_the_end() {
        let (bytes, ends) = small_log(4);
        for first in 1..4 {
            let mut zeroed = bytes.clone();
            zeroed[ends[first - 1]..ends[first]].fill(0);
            let (all, _) = read(&zeroed);
            let error = all.unwrap_err();
            assert!(error.contains(&format!("offset {}:", ends[first - 1])), "{error}");
        }
    }

    #[test]
    fn a_flipped_byte_in_a_log_of_many_pages_is_no_lost_write() {
        let (bytes, ends) = small_log(400);
        let last_start = ends[399];
        assert!(last_start > 6 * 4096);
        // Each byte near the boundaries of pages, and some of the others.
        let is_tried = |at: &usize| (at + 64) % 4096 < 128 || at.is_multiple_of(61);
        for at in (16..last_start).filter(is_tried) {
            let mut flipped = bytes.clone();
            flipped[at] ^= 0x04;
            let error = read(&flipped).0.expect_err(&format!("at {at}"));
            assert!(error.contains("damaged"), "{error}");
        }
    }

    #[test]
    fn a_lost_page_is_a_torn_tail_only_before_the_records_of_one_batch() {
        let (bytes, ends) = small_log(1400);
        for page in 0..ends[1400] / 4096 {
            let zeros = (page * 4096).max(16)..(page + 1) * 4096;
            let mut holed = bytes.clone();
            holed[zeros.clone()].fill(0);
            let whole = ends.iter().filter(|&&end| end <= zeros.start).count() as i64 - 1;
            let behind = ends[..1400].iter().filter(|&&start| start >= zeros.end).count();
            let (all, torn) = read(&holed);
            if behind > BATCH_RECORDS_MAX {
                assert!(all.unwrap_err().contains("damaged"), "page {page}");
            } else {
                assert_eq!(all, Ok((1..=whole).collect()), "page {page}");
                assert_eq!(torn[0].offset, ends[whole as usize] as u64);
            }
        }
    }

    #[test]
    fn no_more_than_a_batch_may_stand_behind_a_lost_page() {
        for (behind, is_torn) in [(1, true), (1000, true), (1001, false)] {
            let (sim, disk, dir) = sim_dir();
            let mut log = log_in(&disk, &dir);
            log.append(&entry_of(1, 9000)).unwrap();
            for zxid in 2..2 + behind {
                log.append(&entry(zxid)).unwrap();
            }
            log.commit().unwrap();
            let mut bytes = sim.read(&dir.join("log.1")).unwrap();
            bytes[4096..8192].fill(0);
            let (all, torn) = read(&bytes);
            assert_eq!(all.is_ok(), is_torn, "{behind}");
            assert_eq!(torn.len(), usize::from(is_torn));
        }
    }

    #[test]
    fn what_is_known_to_have_been_synced_lost_no_page() {
        let (mut bytes, ends) = small_log(200);
        bytes[4096..8192].fill(0);
        let last = ends.iter().filter(|&&end| end <= 4096).count() as i64 - 1;
        let check = |from: i64, next_file: Option<&str>, is_torn: bool| {
            let (sim, disk, dir) = sim_dir();
            sim.put(&dir.join("log.1"), &bytes);
            if let Some(name) = next_file {
                sim.put(&dir.join(name), &small_log(1).0);
            }
            let result = zxids(&log_in(&disk, &dir), from);
            assert_eq!(result.is_ok(), is_torn, "{from} {next_file:?} {result:?}");
        };
        check(0, None, true);
        check(last + 1, None, true);
        // A snapshot has more than the readable part of the log.
        check(last + 2, None, false);
        check(0, Some("log.c9"), false);
    }

    #[test]
    fn b36_padding_is_passed_over_without_reading_it() {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let mut log = log_in(&disk, dir.path());
        log.append(&entry(1)).unwrap();
        log.commit().unwrap();
        let path = dir.path().join("log.1");
        // A hole of a terabyte, or the test does not end.
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1 << 40).unwrap();
        assert_eq!(zxids(&log, 0), Ok(vec![1]));
    }

    #[test]
    fn files_without_a_header_count_as_absent() {
        let (bytes, _) = small_log(3);
        let check = |name: &str, content: &[u8], want: &[i64]| {
            let (sim, disk, dir): (SimDisk, _, _) = sim_dir();
            sim.put(&dir.join("log.1"), &bytes);
            sim.put(&dir.join(name), content);
            assert_eq!(zxids(&log_in(&disk, &dir), 0), Ok(want.to_vec()), "{name}");
        };
        check("log.4", &[], &[1, 2, 3]);
        check("log.4", &[0; 10_000], &[1, 2, 3]);
        check("log.4", b"ZKLG\0\0", &[1, 2, 3]);
        check("log.0", &[], &[1, 2, 3]);
    }

    #[test]
    fn a_header_lost_before_readable_records_is_damage() {
        let (mut bytes, _) = small_log(3);
        bytes[..16].fill(0);
        assert!(read(&bytes).0.unwrap_err().contains("damaged at offset 0"));
    }

    #[test]
    fn reading_starts_at_the_wanted_zxid_and_crosses_files() {
        let (_, disk, dir) = sim_dir();
        let mut log = log_in(&disk, &dir);
        for zxid in 1..=30 {
            log.append(&entry(zxid)).unwrap();
            if zxid % 10 == 0 {
                log.commit().unwrap();
                log.roll_log().unwrap();
            }
        }
        for from in 0..=31 {
            assert_eq!(zxids(&log, from), Ok((from.max(1)..=30).collect()));
        }
        let mut entries = log.read(Zxid(15)).unwrap();
        assert!(entries.storage_size().unwrap() > 20 * 80);
        assert_eq!(entries.next().unwrap().unwrap(), entry(15));
        assert_eq!(entries.current_path(), Some(dir.join("log.b").as_path()));
    }

    #[test]
    fn records_larger_than_the_window_are_read() {
        let (_, disk, dir) = sim_dir();
        let mut log = log_in(&disk, &dir);
        let sizes = [10, WINDOW_BYTES - 100, WINDOW_BYTES, 3 * WINDOW_BYTES, 10];
        for (zxid, size) in (1..).zip(sizes) {
            log.append(&entry_of(zxid, size)).unwrap();
        }
        log.commit().unwrap();
        let all: Vec<_> = log.read(Zxid(0)).unwrap().map(Result::unwrap).collect();
        assert!(all.into_iter().eq((1..).zip(sizes).map(|(zxid, size)| entry_of(zxid, size))));
    }

    #[test]
    fn an_unknown_type_with_a_right_checksum_is_an_error() {
        let (sim, disk, dir) = sim_dir();
        let mut log = log_in(&disk, &dir);
        let mut strange = entry(1);
        let mut bytes = strange.bytes.to_vec();
        bytes[31] = 99;
        strange.bytes = bytes.into();
        log.append(&strange).unwrap();
        log.commit().unwrap();
        let error = zxids(&log, 0).unwrap_err();
        assert!(error.contains("offset 16") && error.contains("99"), "{error}");
        drop(sim);
    }
}
