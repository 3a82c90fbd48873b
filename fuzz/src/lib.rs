//! The readers of bytes from outside, each as a function that must neither panic nor allocate
//! without bound, whatever it is given. Used twice: by `cargo fuzz` (package `fuzz`, nightly) and by
//! `tests/fuzz_smoke` (stable, seeded, part of `cargo test`).
//!
//! The functions assert what must hold of anything that was read: above all that it can be written
//! and read again.

use std::io::{self, Cursor};
use std::path::Path;
use std::sync::Arc;

mod requests;
pub mod seeds;

use zabkeeper::common::config::parse_config;
use zabkeeper::jute::{Input, Jute, Limits};
use zabkeeper::persistence::disk::Disk;
use zabkeeper::persistence::sim_disk::SimDisk;
use zabkeeper::persistence::{
    Sessions, SnapReader, SnapshotSink, StreamMode, TxnLogIterator, read_snapshot,
};
use zabkeeper::proto::EventType;
use zabkeeper::proto::messages::{ConnectRequest, RequestHeader};
use zabkeeper::proto::{Acl, OpCode, TxnLogEntry, Zxid};
use zabkeeper::quorum::verifier::{QuorumVerifier, VerifierOptions};
use zabkeeper::server::request_body::RequestBody;
use zabkeeper::tree::{DataTree, TreeOptions, WatchSink, WatcherId};

/// A frame of a client behind its length: header and body.
pub fn packet(data: &[u8]) {
    let mut input = Input::new(data, Limits::default());
    let Ok(header) = RequestHeader::decode(&mut input) else { return };
    let body = RequestBody::decode(header.op, &mut input);
    match &body {
        RequestBody::Unknown(op) => assert_eq!(*op, header.op),
        _ => assert_eq!(body.op_code().map(OpCode::as_i32), Some(header.op)),
    }
    if let RequestBody::Multi(multi) | RequestBody::MultiRead(multi) = &body {
        assert_eq!(reread(multi).as_ref(), Some(multi));
    }
}

/// The first frame of a connection.
pub fn connect(data: &[u8]) {
    let mut input = Input::new(data, Limits::default());
    if let Ok(request) = ConnectRequest::decode(&mut input) {
        assert_eq!(reread(&request), Some(request));
    }
}

fn reread<T: Jute>(value: &T) -> Option<T> {
    T::decode(&mut Input::unbounded(&value.to_bytes())).ok()
}

/// The payload of one record of a transaction log.
pub fn txn(data: &[u8]) {
    let Ok(entry) = TxnLogEntry::decode(data) else { return };
    assert_eq!(entry.header.txn_type, header_type(data));
    let written = TxnLogEntry::new(entry.header, entry.txn.clone(), entry.digest);
    let again = TxnLogEntry::decode(&written.bytes).expect("what was written can be read");
    assert_eq!((again.header, &again.txn, again.digest), (entry.header, &entry.txn, entry.digest));
}

/// The type, the last of the header's fields.
fn header_type(entry: &[u8]) -> i32 {
    Input::unbounded(&entry[28..]).read_i32().expect("a header was read")
}

/// A log file. The first byte says whether the checksums are put right first, for a wrong one hides
/// everything behind it.
pub fn txn_log(data: &[u8]) {
    let Some((mode, file)) = data.split_first() else { return };
    let mut file = file.to_vec();
    if mode & 1 == 1 {
        put_checksums_right(&mut file);
    }
    let (entries, torn_at, failed) = read_log(&file);
    if failed {
        return;
    }
    let Some(torn_at) = torn_at else { return };
    // What recovery does with a torn tail leaves the same entries and no torn tail.
    assert!(torn_at <= file.len() as u64);
    let (again, torn_again, failed) = read_log(&file[..torn_at as usize]);
    // Less than a header: the whole file counts as absent.
    assert!(torn_again.is_none() || torn_at < 16, "torn again at {torn_again:?}");
    assert_eq!((again, failed), (entries, false));
}

/// The zxids in the file, where its torn tail begins, and whether it is damaged.
fn read_log(file: &[u8]) -> (Vec<Zxid>, Option<u64>, bool) {
    let sim = SimDisk::default();
    let folder = Path::new("/data/version-2");
    sim.create_dir_all(folder).expect("a simulated disk takes it");
    sim.put(&folder.join("log.1"), file);
    let disk: Arc<dyn Disk> = Arc::new(sim);
    let mut iterator = TxnLogIterator::new(&disk, folder, Zxid(0)).expect("the folder is there");
    let (mut zxids, mut failed) = (Vec::new(), false);
    for entry in iterator.by_ref() {
        match entry {
            Ok(entry) => zxids.push(entry.zxid()),
            Err(_) => failed = true,
        }
        assert!(zxids.len() <= file.len() / 40, "more entries than the file can hold");
    }
    (zxids, iterator.torn_tails().last().map(|tail| tail.offset), failed)
}

/// Follows the lengths from the first record on.
fn put_checksums_right(file: &mut [u8]) {
    let mut at = 16;
    while let Some(head) = file.get(at..at + 12) {
        let length = i32::from_be_bytes([head[8], head[9], head[10], head[11]]);
        let Ok(length) = usize::try_from(length) else { return };
        let Some(payload) = file.get(at + 12..(at + 12).saturating_add(length)) else { return };
        let sum = u64::from(adler(payload)).to_be_bytes();
        file[at..at + 8].copy_from_slice(&sum);
        at += 12 + length + 1;
    }
}

fn adler(bytes: &[u8]) -> u32 {
    let mut adler = simd_adler32::Adler32::new();
    adler.write(bytes);
    adler.finish()
}

/// A snapshot file; the first byte says how it is stored.
pub fn snapshot(data: &[u8]) {
    let Some((mode, file)) = data.split_first() else { return };
    let mode = match mode % 3 {
        0 => StreamMode::Checked,
        1 => StreamMode::Gzip,
        _ => StreamMode::Snappy,
    };
    let mut stream = SnapReader::new(Cursor::new(file.to_vec()), mode);
    let mut sessions = Sessions::new();
    let mut sink = Loaded(None);
    let _ = read_snapshot(&mut stream, &mut sink, &mut sessions); // Errors are fine.
    assert!(mode != StreamMode::Checked || sessions.len() <= file.len() / 12);
    if let Some(tree) = sink.0 {
        check_tree(&tree);
    }
}

struct Loaded(Option<DataTree>);

impl SnapshotSink for Loaded {
    fn clear(&mut self) {
        self.0 = None;
    }

    fn load(&mut self, stream: &mut SnapReader) -> io::Result<()> {
        let tree = DataTree::load(TreeOptions::default(), stream).map_err(io::Error::other)?;
        self.0 = Some(tree);
        Ok(())
    }
}

/// A tree that is written and read again is the same.
fn check_tree(tree: &DataTree) {
    let bytes = tree.serialize();
    let again = DataTree::load(tree.options(), &mut &bytes[..]).expect("it was written whole");
    assert_eq!(again.node_count(), tree.node_count());
    assert_eq!(again.tree_digest(), tree.tree_digest());
    assert_eq!(again.ephemerals_count(), tree.ephemerals_count());
}

/// Transactions, each behind its length, applied to a fresh tree: applying is total, whatever a
/// log or a leader says.
pub fn apply(data: &[u8]) {
    let mut tree = DataTree::new(TreeOptions::default());
    let mut input = Input::unbounded(data);
    while let Ok(Some(bytes)) = input.read_bytes() {
        let Ok(entry) = TxnLogEntry::decode(bytes) else { continue };
        tree.process_txn(&entry.header, &entry.txn, &mut NoWatchers);
    }
    check_tree(&tree);
}

struct NoWatchers;

impl WatchSink for NoWatchers {
    fn deliver(&mut self, _: EventType, path: &str, _: Zxid, _: &[Acl], watchers: &[WatcherId]) {
        unreachable!("{path}: nobody watches, but {watchers:?} are told");
    }
}

/// A story of requests, chosen by the bytes, from judging them to the tree: the same with every
/// transaction applied at once and with some outstanding.
pub fn requests(data: &[u8]) {
    let Some((lag, choices)) = data.split_first() else { return };
    let lag = usize::from(lag % 8);
    let at_once = requests::run(choices, 0);
    if lag > 0 {
        assert_eq!(requests::run(choices, lag), at_once, "with {lag} outstanding");
    }
}

/// A notification between servers, with the configuration it carries.
pub fn notification(data: &[u8]) {
    let Ok(read) = zabkeeper::quorum::election::notification::decode(data) else { return };
    let Some(text) = &read.config else { return };
    assert!(text.len() <= 3 * data.len(), "a replacement takes three bytes");
    let options = VerifierOptions { standalone_enabled: true, ..VerifierOptions::default() };
    let Ok(verifier) = QuorumVerifier::from_config_text(text, &options) else { return };
    let voters = verifier.voting_members().keys().copied().collect();
    let _ = verifier.contains_quorum(&voters);
    // Odd names of hosts need not survive this.
    let _ = QuorumVerifier::from_config_text(&verifier.to_string(), &options);
}

/// The text of a configuration file.
pub fn config(data: &[u8]) {
    if let Ok(configuration) = parse_config(data) {
        assert!(configuration.server.tick_time_ms > 0);
    }
}

/// A target: its name, its function, and inputs from which to start.
pub struct Target {
    /// As `cargo fuzz run` knows it.
    pub name: &'static str,
    /// The function.
    pub run: fn(&[u8]),
    /// Inputs that are read whole, without an error.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "packet", run: packet, seeds: seeds::packets },
    Target { name: "connect", run: connect, seeds: seeds::connects },
    Target { name: "txn", run: txn, seeds: seeds::txns },
    Target { name: "txn_log", run: txn_log, seeds: seeds::txn_logs },
    Target { name: "snapshot", run: snapshot, seeds: seeds::snapshots },
    Target { name: "apply", run: apply, seeds: seeds::applied },
    Target { name: "notification", run: notification, seeds: seeds::notifications },
    Target { name: "config", run: config, seeds: seeds::configs },
    Target { name: "requests", run: requests, seeds: seeds::requests },
];
