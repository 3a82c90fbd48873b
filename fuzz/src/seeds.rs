//! Small, valid inputs of each target.

use std::sync::Arc;

use zabkeeper::jute::{Jute, OutputExt};
use zabkeeper::proto::messages::*;
use zabkeeper::proto::multi::{MultiOp, MultiOperationRecord};
use zabkeeper::proto::txn::*;
use zabkeeper::proto::{Acl, OpCode, ServerId, SessionId, TxnLogEntry, Zxid};
use zabkeeper::quorum::election::notification;
use zabkeeper::quorum::zab::Vote;

use super::adler;

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
        of(vec![create("/a", false, 1), create("/a/b", true, 1), set("/a/b", "x"), delete("/a/b")]),
        of(vec![
            create("/a", false, 1),
            create("/a/e", true, 1),
            Txn::CloseSession(Some(CloseSessionTxn { paths_to_delete: vec!["/a/e".to_owned()] })),
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
            Txn::Multi(vec![Txn::Error(ErrorTxn { err: -110 }), Txn::Error(ErrorTxn { err: -2 })]),
            delete("/a"),
            delete("/zookeeper"),
            delete("/"),
        ]),
    ]
}

/// The forms of notifications, with either kind of quorum.
pub fn notifications() -> Vec<Vec<u8>> {
    let vote = Vote::looking(ServerId(3), Zxid(0x5_0000_0007), 9, 6);
    let majority = "server.1=a:1:2:participant;0.0.0.0:3\nserver.2=[::1]:1:2:observer\nversion=1f";
    let hierarchy =
        "server.1=a:1:2\nserver.2=b:1:2\ngroup.1=1:2\nweight.1=1\nweight.2=0\nversion=0";
    let whole = notification::encode(&vote, majority);
    vec![whole[..28].to_vec(), whole[..40].to_vec(), notification::encode(&vote, hierarchy), whole]
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

/// Bytes are choices here, so any will do; the same ones each time.
pub fn requests() -> Vec<Vec<u8>> {
    let mut state = 0x9e37_79b9_u32;
    let mut byte = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..24).map(|n| (0..40 + n * 20).map(|_| byte()).collect()).collect()
}
