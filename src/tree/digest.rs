//! `DigestCalculator`, `AdHash` and `DataTree.ZxidDigest`: one number that tells whether two
//! servers have the same tree.
//!
//! The digest of a node is the CRC32 of its path, its data and its raw statistics; the digest of
//! the tree is their sum. Nodes under `/zookeeper/` do not count, since each server writes some of
//! them by itself.

use std::collections::VecDeque;

use crate::jute::{Input, JuteError, OutputExt};
use crate::proto::{StatPersisted, Zxid};

/// The version of the way digests are computed; digests of other versions are not compared.
pub const DIGEST_VERSION: i32 = 2;
/// A zxid divisible by this has its digest kept (`DIGEST_LOG_INTERVAL`).
const DIGEST_LOG_INTERVAL: i64 = 128;
/// How many are kept (`DIGEST_LOG_LIMIT`).
const DIGEST_LOG_LIMIT: usize = 1024;
/// Path and data together up to this are hashed as one piece.
const STACK_BYTES: usize = 512;
const STAT_BYTES: usize = 60;

/// Computes digests of nodes, or 0 for all of them when digests are switched off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DigestCalculator {
    /// `zookeeper.digest.enabled`.
    pub enabled: bool,
}

impl DigestCalculator {
    /// The digest of a node at `path` with this content.
    pub fn calculate(self, path: &str, data: Option<&[u8]>, stat: &StatPersisted) -> u64 {
        u64::from(self.calculate_u32(path, data, stat))
    }

    pub(super) fn calculate_u32(
        self,
        path: &str,
        data: Option<&[u8]>,
        stat: &StatPersisted,
    ) -> u32 {
        if !self.enabled || path.starts_with("/zookeeper/") {
            return 0;
        }
        let path = if path == "/" { "" } else { path };
        let data = data.unwrap_or_default();
        let stat = stat_bytes(stat);
        let mut crc = crc32fast::Hasher::new();
        let mut buffer = [0u8; STACK_BYTES + STAT_BYTES];
        let parts = [path.as_bytes(), data, &stat];
        // One long piece is several times faster than three short ones.
        match gather(&mut buffer, &parts) {
            Some(length) => crc.update(buffer.get(..length).unwrap_or_default()),
            None => parts.iter().for_each(|part| crc.update(part)),
        }
        crc.finalize()
    }
}

/// Puts `parts` behind each other; `None` if they do not fit.
fn gather(buffer: &mut [u8], parts: &[&[u8]]) -> Option<usize> {
    let mut at = 0;
    for part in parts {
        let end = at + part.len();
        buffer.get_mut(at..end)?.copy_from_slice(part);
        at = end;
    }
    Some(at)
}

fn stat_bytes(stat: &StatPersisted) -> [u8; STAT_BYTES] {
    let mut bytes = [0; STAT_BYTES];
    let longs = [stat.czxid, stat.mzxid, stat.pzxid, stat.ctime, stat.mtime];
    let ints = [stat.version, stat.cversion, stat.aversion];
    let (head, owner) = bytes.split_at_mut(52);
    let (long_part, int_part) = head.split_at_mut(40);
    for (place, value) in long_part.chunks_exact_mut(8).zip(longs) {
        place.copy_from_slice(&value.to_be_bytes());
    }
    for (place, value) in int_part.chunks_exact_mut(4).zip(ints) {
        place.copy_from_slice(&value.to_be_bytes());
    }
    owner.copy_from_slice(&stat.ephemeral_owner.to_be_bytes());
    bytes
}

/// A sum of digests that is changed bit by bit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AdHash(u64);

impl AdHash {
    /// The sum so far, as the start of a prediction.
    pub fn new(sum: u64) -> AdHash {
        AdHash(sum)
    }

    /// A node came.
    pub fn add_digest(&mut self, digest: u64) {
        self.0 = self.0.wrapping_add(digest);
    }

    /// A node went.
    pub fn remove_digest(&mut self, digest: u64) {
        self.0 = self.0.wrapping_sub(digest);
    }

    /// The sum. Java shows it as a signed long: the same bits.
    pub fn hash(self) -> u64 {
        self.0
    }
}

/// The digest that a tree had after a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZxidDigest {
    /// The transaction.
    pub zxid: Zxid,
    /// [`DIGEST_VERSION`] of the server that computed it.
    pub digest_version: i32,
    /// The digest of the tree.
    pub digest: u64,
}

impl ZxidDigest {
    /// "No digest yet", as written by `serializeZxidDigest` of a tree that saw no transaction.
    pub const NONE: ZxidDigest =
        ZxidDigest { zxid: Zxid(0), digest_version: DIGEST_VERSION, digest: 0 };

    /// Appends the digest section of a snapshot: | long zxid | int version | long digest |.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_i64(self.zxid.0);
        out.put_i32(self.digest_version);
        out.put_i64(self.digest as i64);
    }

    /// Reads the digest section of a snapshot. Before version 2 the digest was a string in hex.
    pub fn decode(input: &mut Input<'_>) -> Result<ZxidDigest, JuteError> {
        let zxid = Zxid(input.read_i64()?);
        let digest_version = input.read_i32()?;
        let digest = if digest_version < 2 {
            let text = input.read_bytes()?.and_then(|bytes| std::str::from_utf8(bytes).ok());
            text.and_then(|text| u64::from_str_radix(text, 16).ok()).unwrap_or(0)
        } else {
            input.read_i64()? as u64
        };
        Ok(ZxidDigest { zxid, digest_version, digest })
    }
}

/// The digest of the last transaction and of some before it.
#[derive(Debug, Default)]
pub(super) struct DigestLog {
    last: Option<ZxidDigest>,
    log: VecDeque<ZxidDigest>,
}

impl DigestLog {
    /// `logZxidDigest`.
    pub(super) fn add(&mut self, zxid: Zxid, digest: u64) {
        let entry = ZxidDigest { zxid, digest_version: DIGEST_VERSION, digest };
        self.last = Some(entry);
        if zxid.0 % DIGEST_LOG_INTERVAL == 0 {
            self.log.push_back(entry);
            if self.log.len() > DIGEST_LOG_LIMIT {
                self.log.pop_front();
            }
        }
    }

    pub(super) fn last(&self) -> Option<ZxidDigest> {
        self.last
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &ZxidDigest> {
        self.log.iter()
    }
}
