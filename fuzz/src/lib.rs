//! The readers of bytes from outside, each as a function that must neither panic nor allocate
//! without bound, whatever it is given. Used twice: by `cargo fuzz` (package `fuzz`, nightly) and by
//! `tests/fuzz_smoke` (stable, seeded, part of `cargo test`).
//!
//! The functions assert what must hold of anything that was read: above all that it can be written
//! and read again.

use std::io::{self, Cursor};
use std::path::Path;
use std::sync::Arc;

use zabkeeper::common::config::parse_config;
use zabkeeper::jute::{Input, Jute, Limits, OutputExt};
use zabkeeper::persistence::disk::Disk;
use zabkeeper::persistence::sim_disk::SimDisk;
use zabkeeper::persistence::{
    Sessions, SnapReader, SnapshotSink, StreamMode, TxnLogIterator, read_snapshot,
};
use zabkeeper::proto::EventType;
use zabkeeper::proto::messages::{ConnectRequest, RequestHeader};
use zabkeeper::proto::{Acl, OpCode, TxnLogEntry, Zxid};
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
    Target { name: "config", run: config, seeds: seeds::configs },
];

/// Small, valid inputs.
pub mod seeds {
    use super::*;
    use zabkeeper::proto::SessionId;
    use zabkeeper::proto::messages::*;
    use zabkeeper::proto::multi::{MultiOp, MultiOperationRecord};
    use zabkeeper::proto::txn::*;

    fn data() -> Option<Arc<[u8]>> {
        Some(Arc::from(&b"data"[..]))
    }

    fn path() -> String {
        "/a/b".to_owned()
    }

    /// One request of each operation.
    pub fn packets() -> Vec<Vec<u8>> {
        let acl = Acl::open_unsafe;
        let create = || CreateRequest { path: path(), data: data(), acl: acl(), flags: 3 };
        let create_ttl =
            || CreateTtlRequest { path: path(), data: None, acl: acl(), flags: 5, ttl: 1000 };
        let delete = || DeleteRequest { path: path(), version: -1 };
        let set = || SetDataRequest { path: path(), data: data(), version: 4 };
        let get = || GetDataRequest { path: path(), watch: true };
        let children = || GetChildrenRequest { path: path(), watch: false };
        let watch = || CheckWatchesRequest { path: path(), watcher_type: 3 };
        let set_watches = SetWatches {
            relative_zxid: 7,
            data_watches: vec![path()],
            exist_watches: vec![],
            child_watches: vec![path(), "/".to_owned()],
        };
        let set_watches_2 = SetWatches2 {
            relative_zxid: 7,
            data_watches: vec![path()],
            exist_watches: vec![path()],
            child_watches: vec![],
            persistent_watches: vec![path()],
            persistent_recursive_watches: vec!["/".to_owned()],
        };
        let writes = MultiOperationRecord {
            ops: vec![
                MultiOp::Create(create()),
                MultiOp::CreateTtl(create_ttl()),
                MultiOp::Delete(delete()),
                MultiOp::SetData(set()),
                MultiOp::Check(CheckVersionRequest { path: path(), version: 1 }),
            ],
        };
        let reads = MultiOperationRecord {
            ops: vec![MultiOp::GetData(get()), MultiOp::GetChildren(children())],
        };
        let of = |op: OpCode, body: Vec<u8>| {
            let mut bytes = Vec::new();
            RequestHeader { xid: 1, op: op.as_i32() }.encode(&mut bytes);
            bytes.extend(body);
            bytes
        };
        vec![
            of(OpCode::Create, create().to_bytes()),
            of(OpCode::Create2, create().to_bytes()),
            of(OpCode::CreateContainer, create().to_bytes()),
            of(OpCode::CreateTtl, create_ttl().to_bytes()),
            of(OpCode::Delete, delete().to_bytes()),
            of(OpCode::SetData, set().to_bytes()),
            of(OpCode::SetAcl, SetAclRequest { path: path(), acl: acl(), version: 2 }.to_bytes()),
            of(OpCode::Multi, writes.to_bytes()),
            of(OpCode::MultiRead, reads.to_bytes()),
            of(OpCode::Exists, ExistsRequest { path: path(), watch: true }.to_bytes()),
            of(OpCode::GetData, get().to_bytes()),
            of(OpCode::GetAcl, GetAclRequest { path: path() }.to_bytes()),
            of(OpCode::GetChildren, children().to_bytes()),
            of(OpCode::GetChildren2, children().to_bytes()),
            of(OpCode::Sync, SyncRequest { path: Some(path()) }.to_bytes()),
            of(OpCode::Ping, Vec::new()),
            of(OpCode::SetWatches, set_watches.to_bytes()),
            of(OpCode::SetWatches2, set_watches_2.to_bytes()),
            of(OpCode::AddWatch, AddWatchRequest { path: path(), mode: 1 }.to_bytes()),
            of(OpCode::CheckWatches, watch().to_bytes()),
            of(OpCode::RemoveWatches, watch().to_bytes()),
            of(OpCode::CloseSession, Vec::new()),
        ]
    }

    /// New and old sessions, with and without the last byte.
    pub fn connects() -> Vec<Vec<u8>> {
        let of = |session_id, passwd: Option<Arc<[u8]>>, read_only| {
            let request = ConnectRequest {
                protocol_version: 0,
                last_zxid_seen: 0x1_0000_0007,
                timeout_ms: 30_000,
                session_id,
                passwd,
                read_only,
            };
            request.to_bytes()
        };
        vec![
            of(0, Some(Arc::from([0; 16])), Some(false)),
            of(0, None, None),
            of(0x100_1234_5678_0000, Some(Arc::from([7; 16])), Some(true)),
        ]
    }

    /// One transaction of each type.
    pub fn txns() -> Vec<Vec<u8>> {
        let acl = Acl::open_unsafe;
        let create = || CreateTxn {
            path: path(),
            data: data(),
            acl: acl(),
            ephemeral: true,
            parent_cversion: 3,
        };
        let set = || SetDataTxn { path: path(), data: data(), version: 2 };
        let txns = vec![
            Txn::CreateSession(CreateSessionTxn { timeout_ms: 4000 }),
            Txn::CloseSession(None),
            Txn::CloseSession(Some(CloseSessionTxn { paths_to_delete: vec![path(), path()] })),
            Txn::Create(create()),
            Txn::Create2(create()),
            Txn::CreateTtl(CreateTtlTxn {
                path: path(),
                data: None,
                acl: acl(),
                parent_cversion: 1,
                ttl: 5000,
            }),
            Txn::CreateContainer(CreateContainerTxn {
                path: path(),
                data: data(),
                acl: acl(),
                parent_cversion: 1,
            }),
            Txn::Delete(DeleteTxn { path: path() }),
            Txn::SetData(set()),
            Txn::SetAcl(SetAclTxn { path: path(), acl: acl(), version: 1 }),
            Txn::Error(ErrorTxn { err: -101 }),
            Txn::Multi(vec![
                Txn::Create(create()),
                Txn::CheckVersion(CheckVersionTxn { path: path(), version: 1 }),
                Txn::SetData(set()),
                Txn::Error(ErrorTxn { err: -2 }),
            ]),
        ];
        let entry = |(n, txn): (usize, Txn)| {
            let header = TxnHeader {
                client_id: SessionId(0x100),
                cxid: 1,
                zxid: Zxid(n as i64 + 1),
                time: 1_700_000_000_000,
                txn_type: txn.op_code().as_i32(),
            };
            let digest = (n % 3 > 0).then_some(TxnDigest { version: 2, tree_digest: 99 });
            TxnLogEntry::new(header, txn, digest).bytes.to_vec()
        };
        txns.into_iter().enumerate().map(entry).collect()
    }

    /// A log of all transactions, padded and not, and an empty one.
    pub fn txn_logs() -> Vec<Vec<u8>> {
        let of = |entries: &[Vec<u8>], padding: usize| {
            let mut file = vec![1]; // Mode: checksums are put right.
            file.extend(*b"ZKLG");
            file.put_i32(2);
            file.put_i64(0);
            for entry in entries {
                file.put_i64(adler(entry).into());
                file.put_count(entry.len());
                file.extend(entry);
                file.push(0x42);
            }
            file.resize(file.len() + padding, 0);
            file
        };
        vec![of(&txns(), 0), of(&txns(), 5000), of(&[], 100), of(&[], 0)]
    }

    /// Stories of transactions that touch one another.
    pub fn applied() -> Vec<Vec<u8>> {
        let acl = Acl::open_unsafe;
        let create = |path: &str, ephemeral, parent_cversion| {
            let path = path.to_owned();
            Txn::Create(CreateTxn { path, data: data(), acl: acl(), ephemeral, parent_cversion })
        };
        let set = |path: &str, text: &str| {
            let data = Some(Arc::from(text.as_bytes()));
            Txn::SetData(SetDataTxn { path: path.to_owned(), data, version: 1 })
        };
        let delete = |path: &str| Txn::Delete(DeleteTxn { path: path.to_owned() });
        let of = |txns: Vec<Txn>| {
            let mut bytes = Vec::new();
            for (n, txn) in txns.into_iter().enumerate() {
                let header = TxnHeader {
                    client_id: SessionId(0x100),
                    cxid: n as i32,
                    zxid: Zxid(n as i64 + 1),
                    time: 1_700_000_000_000,
                    txn_type: txn.op_code().as_i32(),
                };
                let entry = TxnLogEntry::new(header, txn, None);
                bytes.put_count(entry.bytes.len());
                bytes.extend_from_slice(&entry.bytes);
            }
            bytes
        };
        let ttl = Txn::CreateTtl(CreateTtlTxn {
            path: "/t".to_owned(),
            data: None,
            acl: acl(),
            parent_cversion: 2,
            ttl: 1000,
        });
        let container = Txn::CreateContainer(CreateContainerTxn {
            path: "/c".to_owned(),
            data: None,
            acl: acl(),
            parent_cversion: 3,
        });
        let acl_txn = Txn::SetAcl(SetAclTxn { path: "/a".to_owned(), acl: vec![], version: 1 });
        let quota = "/zookeeper/quota/a";
        vec![
            of(vec![
                create("/a", false, 1),
                create("/a/b", true, 1),
                set("/a/b", "x"),
                delete("/a/b"),
            ]),
            of(vec![
                create("/a", false, 1),
                create("/a/e", true, 1),
                Txn::CloseSession(Some(CloseSessionTxn {
                    paths_to_delete: vec!["/a/e".to_owned()],
                })),
            ]),
            of(vec![create("/a", true, 1), Txn::CloseSession(None), ttl, container, acl_txn]),
            of(vec![
                create("/a", false, 1),
                create(quota, false, 1),
                create(&format!("{quota}/zookeeper_limits"), false, 1),
                create(&format!("{quota}/zookeeper_stats"), false, 2),
                set(&format!("{quota}/zookeeper_limits"), "count=1,bytes=5=;byteHardLimit=3"),
                create("/a/b", false, 1),
                set("/a/b", "longer"),
                delete("/a/b"),
                delete(&format!("{quota}/zookeeper_limits")),
            ]),
            of(vec![
                create("/a", false, 1),
                Txn::Multi(vec![create("/a/x", false, 1), set("/a", "m"), delete("/a/x")]),
                Txn::Multi(vec![
                    Txn::Error(ErrorTxn { err: -110 }),
                    Txn::Error(ErrorTxn { err: -2 }),
                ]),
                delete("/a"),
                delete("/zookeeper"),
                delete("/"),
            ]),
        ]
    }

    /// The sample, and a file with a bit of everything.
    pub fn configs() -> Vec<Vec<u8>> {
        vec![
            include_bytes!("../../conf/zoo_sample.cfg").to_vec(),
            b"tickTime=2000\ndataDir = /data\\\n  /more\nclientPort: 2181\nclientPortAddress 127.0.0.1\n\
              maxClientCnxns=60\nminSessionTimeout=4000\nmaxSessionTimeout=40000\n! comment\n\
              autopurge.snapRetainCount=3\nautopurge.purgeInterval=1\nsnapCount=100\nforceSync=no\n\
              4lw.commands.whitelist=*, srvr\nunknown.key=\\u0041\nflushDelay=5\njute.maxbuffer=1\n"
                .to_vec(),
            b"dataDir=/d\nserver.1=a:1:2:participant;127.0.0.1:3\nserver.2=[::1]:1:2|b:1:2;3\ngroup.1=1:2\n\
              weight.1=2\ninitLimit=5\nsyncLimit=2\npeerType=observer\n"
                .to_vec(),
        ]
    }

    /// A tree of two nodes, with and without what may follow it.
    pub fn snapshots() -> Vec<Vec<u8>> {
        let mut tree = Vec::new();
        tree.put_i32(1); // ACL map.
        tree.put_i64(1);
        Acl::open_unsafe().encode(&mut tree);
        for path in ["", "/a"] {
            tree.put_str(path);
            data().encode(&mut tree);
            tree.put_i64(1);
            tree.extend([0; 60]); // StatPersisted.
        }
        tree.put_str("/");
        let of = |sections: &[&[u8]]| {
            let mut file = Vec::from(*b"ZKSN");
            file.put_i32(2);
            file.put_i64(-1);
            file.put_i32(1); // Sessions.
            file.put_i64(0x100);
            file.put_i32(4000);
            for section in [&tree[..]].iter().chain(sections) {
                file.extend(*section);
                let sum = adler(&file);
                file.put_i64(sum.into());
                file.put_str("/");
            }
            file.insert(0, 0); // Mode: not compressed.
            file
        };
        let mut digest = Vec::new();
        digest.put_i64(7);
        digest.put_i32(2);
        digest.put_i64(1234);
        vec![of(&[]), of(&[&digest]), of(&[&digest, &7i64.to_be_bytes()])]
    }
}
