//! What transactions do, by the numbers of "the 40 behaviours" of the reference.

use crate::jute::Buffer;
use crate::proto::txn::*;
use crate::proto::{
    Acl, AddWatchMode, Code, EventType, ExtendedTypes, OpCode, SessionId, StatPersisted, Txn,
    TxnHeader, Zxid,
};
use crate::tree::{DataTree, NoWatches, StatsTrack, TreeOptions, WatchSink, WatcherId, ZxidDigest};

fn tree() -> DataTree {
    let extended_types = ExtendedTypes { enabled: true, emulate_353: false };
    DataTree::new(TreeOptions { digest_enabled: true, extended_types })
}

fn acl(perms: i32) -> Vec<Acl> {
    vec![Acl::new(perms, "world", "anyone")]
}

fn data(text: &str) -> Buffer {
    Some(text.as_bytes().into())
}

fn create_txn(path: &str) -> CreateTxn {
    CreateTxn {
        path: path.into(),
        data: data("x"),
        acl: acl(31),
        ephemeral: false,
        parent_cversion: -1,
    }
}

fn create(path: &str) -> Txn {
    Txn::Create(create_txn(path))
}

fn ephemeral(path: &str) -> Txn {
    Txn::Create2(CreateTxn { ephemeral: true, ..create_txn(path) })
}

fn delete(path: &str) -> Txn {
    Txn::Delete(DeleteTxn { path: path.into() })
}

fn set(path: &str) -> Txn {
    Txn::SetData(SetDataTxn { path: path.into(), data: data("yy"), version: 1 })
}

fn header(zxid: i64, txn: &Txn) -> TxnHeader {
    let txn_type = txn.op_code().as_i32();
    TxnHeader { client_id: SessionId(7), cxid: 1, zxid: Zxid(zxid), time: 100, txn_type }
}

fn apply(tree: &mut DataTree, zxid: i64, txn: &Txn) -> Code {
    tree.process_txn(&header(zxid, txn), txn, &mut NoWatches).code
}

fn stat(tree: &DataTree, path: &str) -> StatPersisted {
    tree.node(path).unwrap().stat_persisted()
}

#[derive(Default)]
struct Seen(Vec<String>);

impl WatchSink for Seen {
    fn deliver(
        &mut self,
        event: EventType,
        path: &str,
        zxid: Zxid,
        acl: &[Acl],
        watchers: &[WatcherId],
    ) {
        self.0.push(format!("{event:?} {path} {} {} {watchers:?}", zxid.0, acl[0].perms));
    }
}

fn seen(tree: &mut DataTree, zxid: i64, txn: &Txn) -> Vec<String> {
    let mut sink = Seen::default();
    tree.process_txn(&header(zxid, txn), txn, &mut sink);
    sink.0
}

#[test]
fn behaviour_7_create_on_an_existing_node_keeps_data_and_resets_the_acl() {
    let mut tree = tree();
    apply(&mut tree, 1, &create("/a"));
    apply(&mut tree, 2, &set("/a"));
    let again = CreateTxn { acl: acl(1), parent_cversion: 9, ..create_txn("/a") };
    let digest = tree.tree_digest();
    assert_eq!(apply(&mut tree, 3, &Txn::Create2(again.clone())), Code::NodeExists);
    assert_eq!(tree.node("/a").unwrap().data(), &data("yy"));
    assert_eq!(tree.node("/a").unwrap().acl()[0].perms, 1);
    // Only type 1 lifts the parent.
    assert_eq!((stat(&tree, "/").cversion, stat(&tree, "/").pzxid), (1, 1));
    assert_eq!(tree.tree_digest(), digest);
    assert_eq!(apply(&mut tree, 4, &Txn::Create(again.clone())), Code::NodeExists);
    assert_eq!((stat(&tree, "/").cversion, stat(&tree, "/").pzxid), (9, 4));
    assert_ne!(tree.tree_digest(), digest);
    let older = CreateTxn { parent_cversion: 8, ..again };
    apply(&mut tree, 5, &Txn::Create(older));
    assert_eq!((stat(&tree, "/").cversion, stat(&tree, "/").pzxid), (9, 4));
}

#[test]
fn behaviour_7_delete_of_a_missing_node_moves_the_parents_pzxid_up_only() {
    let mut tree = tree();
    apply(&mut tree, 5, &create("/a"));
    assert_eq!(apply(&mut tree, 8, &delete("/a/b")), Code::NoNode);
    assert_eq!((stat(&tree, "/a").pzxid, stat(&tree, "/a").cversion), (8, 0));
    assert_eq!(apply(&mut tree, 6, &delete("/a/b")), Code::NoNode);
    assert_eq!(stat(&tree, "/a").pzxid, 8);
    assert_eq!(apply(&mut tree, 9, &delete("/no/b")), Code::NoNode);
}

#[test]
fn behaviour_19_close_session_deletes_its_list_and_then_the_leftovers() {
    let mut tree = tree();
    for (zxid, path) in (1..).zip(["/a", "/b", "/c"]) {
        apply(&mut tree, zxid, &ephemeral(path));
    }
    apply(&mut tree, 4, &create("/other"));
    assert_eq!(tree.ephemerals_count(), 3);
    let list = vec!["/b".to_owned(), "/gone".to_owned(), "/other".to_owned()];
    let close = Txn::CloseSession(Some(CloseSessionTxn { paths_to_delete: list }));
    assert_eq!(apply(&mut tree, 5, &close), Code::Ok);
    for path in ["/a", "/b", "/c", "/other"] {
        assert!(tree.node(path).is_none(), "{path}");
    }
    assert_eq!(stat(&tree, "/").pzxid, 5);
    assert!(tree.sessions_with_ephemerals().is_empty());
    apply(&mut tree, 6, &ephemeral("/d"));
    apply(&mut tree, 7, &Txn::CloseSession(None));
    assert!(tree.node("/d").is_none());
}

#[test]
fn behaviour_20_the_stored_cversion_counts_creates_only() {
    let mut tree = tree();
    apply(&mut tree, 1, &create("/p"));
    for zxid in 0..3 {
        apply(&mut tree, 2 + 2 * zxid, &create("/p/c"));
        apply(&mut tree, 3 + 2 * zxid, &delete("/p/c"));
    }
    assert_eq!(stat(&tree, "/p").cversion, 3);
    let numbered = CreateTxn { parent_cversion: 8, ..create_txn("/p/n") };
    apply(&mut tree, 9, &Txn::Create(numbered));
    assert_eq!(stat(&tree, "/p").cversion, 8);
}

#[test]
fn behaviour_21_clients_see_changes_in_cversion_and_owners_of_ephemerals_only() {
    let mut tree = tree();
    assert_eq!(tree.node("/").unwrap().stat().cversion, -1);
    apply(&mut tree, 1, &ephemeral("/e"));
    let root = tree.node("/").unwrap().stat();
    assert_eq!((root.cversion, root.num_children), (0, 2));
    assert_eq!(tree.node("/e").unwrap().stat().ephemeral_owner, 7);
    let ttl =
        CreateTtlTxn { path: "/t".into(), data: None, acl: acl(31), parent_cversion: -1, ttl: 5 };
    apply(&mut tree, 2, &Txn::CreateTtl(ttl));
    assert_eq!(tree.node("/t").unwrap().stat().ephemeral_owner, 0);
    assert_eq!(stat(&tree, "/t").ephemeral_owner as u64, 0xff00_0000_0000_0005);
    assert_eq!(tree.ttls(), ["/t"]);
    let container =
        CreateContainerTxn { path: "/c".into(), data: None, acl: acl(31), parent_cversion: -1 };
    apply(&mut tree, 3, &Txn::CreateContainer(container));
    assert_eq!(tree.node("/c").unwrap().stat().ephemeral_owner, 0);
    assert_eq!(tree.containers(), ["/c"]);
}

#[test]
fn behaviour_27_a_failed_multi_changes_nothing_and_fires_nothing() {
    let mut tree = tree();
    tree.add_data_watch("/a", 1);
    let digest = tree.tree_digest();
    let multi = Txn::Multi(vec![create("/a"), Txn::Error(ErrorTxn { err: -101 }), create("/b")]);
    let mut sink = Seen::default();
    let result = tree.process_txn(&header(3, &multi), &multi, &mut sink);
    assert_eq!((result.op, result.code), (OpCode::Multi, Code::NoNode));
    let parts: Vec<(OpCode, Code)> = result.multi.iter().map(|part| (part.op, part.code)).collect();
    let error = |code| (OpCode::Error, code);
    assert_eq!(parts, [error(Code::Ok), error(Code::NoNode), error(Code::RuntimeInconsistency)]);
    assert!(sink.0.is_empty());
    assert_eq!(tree.tree_digest(), digest);
    assert_eq!(tree.last_processed_zxid(), Zxid(3));
}

#[test]
fn behaviour_31_an_event_goes_with_the_acl_of_its_node() {
    let mut tree = tree();
    let with = |path: &str, perms| Txn::Create(CreateTxn { acl: acl(perms), ..create_txn(path) });
    apply(&mut tree, 1, &with("/p", 3));
    tree.add_data_watch("/p/c", 1);
    tree.add_child_watch("/p", 2);
    let created = seen(&mut tree, 2, &with("/p/c", 5));
    assert_eq!(created, ["NodeCreated /p/c 2 5 [1]", "NodeChildrenChanged /p 2 3 [2]"]);
    tree.add_data_watch("/p/c", 1);
    assert_eq!(seen(&mut tree, 3, &set("/p/c")), ["NodeDataChanged /p/c 3 5 [1]"]);
    tree.add_data_watch("/p/c", 1);
    tree.add_child_watch("/p/c", 3);
    tree.add_child_watch("/p", 2);
    let deleted = seen(&mut tree, 4, &delete("/p/c"));
    let expected =
        ["NodeDeleted /p/c 4 5 [1]", "NodeDeleted /p/c 4 5 [3]", "NodeChildrenChanged /p 4 3 [2]"];
    assert_eq!(deleted, expected);
    assert_eq!(tree.watch_count(), 0);
}

#[test]
fn behaviour_32_a_deletion_is_told_once_and_persistent_watches_stay() {
    let mut tree = tree();
    apply(&mut tree, 1, &create("/a"));
    tree.add_data_watch("/a", 1);
    tree.add_child_watch("/a", 1);
    tree.add_watch("/a", 1, AddWatchMode::Persistent);
    tree.add_watch("/", 2, AddWatchMode::PersistentRecursive);
    tree.add_child_watch("/a", 3);
    let expected = ["NodeDeleted /a 2 31 [1, 2]", "NodeDeleted /a 2 31 [3]"];
    assert_eq!(seen(&mut tree, 2, &delete("/a")), expected);
    // No NodeChildrenChanged of "/" for the recursive one.
    assert_eq!(seen(&mut tree, 3, &create("/a")), ["NodeCreated /a 3 31 [1, 2]"]);
    assert_eq!(
        seen(&mut tree, 4, &create("/a/b")),
        ["NodeCreated /a/b 4 31 [2]", "NodeChildrenChanged /a 4 31 [1]"]
    );
    assert_eq!(tree.watch_count(), 3);
}

#[test]
fn behaviour_33_null_and_empty_data_differ() {
    let mut tree = tree();
    let null = CreateTxn { data: None, ..create_txn("/null") };
    apply(&mut tree, 1, &Txn::Create(null));
    let empty = CreateTxn { data: data(""), ..create_txn("/empty") };
    apply(&mut tree, 2, &Txn::Create(empty));
    let bytes = tree.serialize();
    let tree = DataTree::load(TreeOptions::default(), &mut &bytes[..]).unwrap();
    assert_eq!(tree.node("/null").unwrap().data(), &None);
    assert_eq!(tree.node("/empty").unwrap().data(), &data(""));
    assert_eq!(tree.node("/null").unwrap().stat().data_length, 0);
}

#[test]
fn behaviour_35_without_extended_types_a_ttl_node_is_an_ephemeral_of_a_ghost() {
    let mut tree = DataTree::new(TreeOptions::default());
    let ttl =
        CreateTtlTxn { path: "/t".into(), data: None, acl: acl(31), parent_cversion: -1, ttl: 5 };
    apply(&mut tree, 1, &Txn::CreateTtl(ttl));
    let ghost = SessionId(0xff00_0000_0000_0005_u64 as i64);
    assert_eq!(tree.sessions_with_ephemerals(), [ghost]);
    assert_eq!(tree.node("/t").unwrap().stat().ephemeral_owner, ghost.0);
    // As a server does at start with sessions that it does not know.
    tree.kill_session(ghost, Zxid(1), &[], &mut NoWatches);
    assert!(tree.node("/t").is_none());
}

#[test]
fn a_ttl_out_of_range_becomes_a_persistent_node() {
    for ttl in [-1, 0, 1 << 40, i64::MIN] {
        let mut tree = tree();
        let (path, data, acl) = ("/t".to_owned(), None, acl(31));
        let txn = Txn::CreateTtl(CreateTtlTxn { path, data, acl, parent_cversion: -1, ttl });
        assert_eq!(apply(&mut tree, 1, &txn), Code::Ok);
        assert_eq!(stat(&tree, "/t").ephemeral_owner, 0);
    }
}

#[test]
fn any_path_may_stand_in_a_txn() {
    let mut tree = tree();
    apply(&mut tree, 1, &create("/a"));
    let before = tree.node_count();
    for path in ["", "/", "foo", "//", "/a/", "//a", "/a//b", "/zookeeper/", "a/b"] {
        let txns = [create(path), ephemeral(path), delete(path)];
        for txn in txns {
            assert_ne!(apply(&mut tree, 2, &txn), Code::Ok, "{txn:?}");
        }
        let close = CloseSessionTxn { paths_to_delete: vec![path.into()] };
        apply(&mut tree, 2, &Txn::CloseSession(Some(close)));
    }
    assert_eq!(tree.node_count(), before);
    let bytes = tree.serialize();
    assert!(DataTree::load(TreeOptions::default(), &mut &bytes[..]).is_ok());
    assert_eq!(apply(&mut tree, 3, &set("/")), Code::Ok);
    assert_eq!(apply(&mut tree, 3, &set("")), Code::Ok);
    assert_eq!(apply(&mut tree, 3, &set("/a/")), Code::NoNode);
}

#[test]
fn quota_nodes_that_are_none_do_no_harm() {
    let mut tree = tree();
    for path in [
        "/zookeeper/quota/zookeeper_limits",
        "/zookeeper/quota/zookeeper_stats",
        "/zookeeper/zookeeper_limits",
        "/zookeeper/x",
        "/zookeeper/x/zookeeper_limits",
    ] {
        assert_eq!(apply(&mut tree, 1, &create(path)), Code::Ok, "{path}");
        apply(&mut tree, 2, &create("/zookeeper/quota/q"));
    }
    for path in ["/zookeeper/x/zookeeper_limits", "/zookeeper/quota/zookeeper_limits"] {
        assert_eq!(apply(&mut tree, 3, &delete(path)), Code::Ok, "{path}");
    }
    let bytes = tree.serialize();
    assert!(DataTree::load(TreeOptions::default(), &mut &bytes[..]).is_ok());
}

#[test]
fn usage_is_counted_when_its_node_comes_and_kept_up_to_date() {
    let mut tree = tree();
    let usage = |tree: &DataTree| {
        let node = tree.node("/zookeeper/quota/a/zookeeper_stats").unwrap();
        StatsTrack::parse(node.data().as_deref().unwrap()).unwrap().to_string()
    };
    apply(&mut tree, 1, &create("/a"));
    apply(&mut tree, 2, &create("/a/b"));
    apply(&mut tree, 3, &create("/zookeeper/quota/a"));
    let limits = CreateTxn {
        data: data("count=2,bytes=100"),
        ..create_txn("/zookeeper/quota/a/zookeeper_limits")
    };
    apply(&mut tree, 4, &Txn::Create(limits));
    apply(&mut tree, 5, &create("/zookeeper/quota/a/zookeeper_stats"));
    assert_eq!(usage(&tree), "count=2,bytes=2");
    apply(&mut tree, 6, &create("/a/b/c"));
    apply(&mut tree, 7, &set("/a"));
    assert_eq!(usage(&tree), "count=3,bytes=4");
    apply(&mut tree, 8, &delete("/a/b/c"));
    assert_eq!(usage(&tree), "count=2,bytes=3");
    let node = stat(&tree, "/zookeeper/quota/a/zookeeper_stats");
    assert_eq!((node.version, node.mzxid), (0, 5));
    assert_eq!(tree.quota_path("/a/b"), Some("/a"));
    let shown = tree.quota_usage();
    let shown = shown.get("a").unwrap();
    assert_eq!((shown.count_limit, shown.bytes_limit), (Some(2), Some(100)));
    assert_eq!((shown.count_usage, shown.bytes_usage), (Some(2), Some(3)));
    // A text that is no usage is replaced, and nothing dies of it.
    let path = "/zookeeper/quota/a/zookeeper_stats".to_owned();
    let broken = Txn::SetData(SetDataTxn { path, data: data("rubbish"), version: 1 });
    apply(&mut tree, 9, &broken);
    apply(&mut tree, 10, &create("/a/d"));
    assert_eq!(usage(&tree), "count=0,bytes=0");
    apply(&mut tree, 11, &delete("/zookeeper/quota/a/zookeeper_limits"));
    assert_eq!(tree.quota_path("/a/b"), None);
}

#[test]
fn a_node_that_is_deleted_in_a_replay_takes_its_children_along() {
    let mut tree = tree();
    apply(&mut tree, 1, &create("/a"));
    let digest = tree.tree_digest();
    let count = tree.node_count();
    apply(&mut tree, 2, &create("/a/b"));
    apply(&mut tree, 3, &ephemeral("/a/b/c"));
    assert_eq!(apply(&mut tree, 4, &delete("/a")), Code::Ok);
    assert_eq!((tree.node_count(), tree.ephemerals_count()), (count - 1, 0));
    assert!(tree.node("/a/b/c").is_none());
    let mut fresh = self::tree();
    apply(&mut fresh, 1, &create("/a"));
    assert_eq!(fresh.tree_digest(), digest);
}

#[test]
fn digests_are_compared_and_every_128th_is_kept() {
    let mut tree = tree();
    let txn = create("/a");
    let entry = |zxid, digest: u64| {
        let tree_digest = digest as i64;
        TxnLogEntry::new(
            header(zxid, &txn),
            txn.clone(),
            Some(TxnDigest { version: 2, tree_digest }),
        )
    };
    let mut expected = self::tree();
    apply(&mut expected, 127, &txn);
    let right = entry(127, expected.tree_digest());
    tree.process_entry(&right, &mut NoWatches);
    assert_eq!((tree.digest_mismatches(), tree.digest_log().count()), (0, 0));
    tree.process_entry(&entry(128, 1), &mut NoWatches);
    assert_eq!(tree.digest_mismatches(), 1);
    let kept: Vec<i64> = tree.digest_log().map(|digest| digest.zxid.0).collect();
    assert_eq!(kept, [128]);
    assert_eq!(tree.last_processed_zxid_digest().unwrap().digest, tree.tree_digest());
    for zxid in 129..=128 * 1100 {
        apply(&mut tree, zxid, &Txn::Error(ErrorTxn { err: -1 }));
    }
    assert_eq!(tree.digest_log().count(), 1024);
    assert_eq!(tree.digest_log().last().unwrap().zxid, Zxid(128 * 1100));
}

#[test]
fn digests_wait_until_a_fuzzy_snapshot_is_replayed() {
    let mut tree = tree();
    let digest = ZxidDigest { zxid: Zxid(3), digest_version: 2, digest: 1 };
    tree.set_digest_from_loaded_snapshot(digest, Zxid(4));
    assert_eq!(tree.digest_from_loaded_snapshot(), None);
    tree.set_digest_from_loaded_snapshot(digest, Zxid(1));
    tree.compare_snapshot_digests(Zxid(1));
    let txn = create("/a");
    let wrong = Some(TxnDigest { version: 2, tree_digest: 5 });
    let entry = TxnLogEntry::new(header(2, &txn), txn, wrong);
    tree.process_entry(&entry, &mut NoWatches);
    assert_eq!((tree.digest_mismatches(), tree.last_processed_zxid_digest()), (0, None));
    apply(&mut tree, 3, &create("/b"));
    assert_eq!((tree.digest_mismatches(), tree.digest_from_loaded_snapshot()), (1, None));
}

#[test]
fn switched_off_digests_are_zero() {
    let mut tree = DataTree::new(TreeOptions { digest_enabled: false, ..TreeOptions::default() });
    apply(&mut tree, 1, &create("/a"));
    assert_eq!((tree.tree_digest(), tree.node("/a").unwrap().digest()), (0, 0));
    assert_eq!(tree.zxid_digest_section(), None);
}

#[test]
fn the_sink_hears_what_metrics_count() {
    #[derive(Default)]
    struct Counts(Vec<(EventType, usize)>, Vec<(String, usize)>);
    impl WatchSink for Counts {
        fn deliver(&mut self, _: EventType, _: &str, _: Zxid, _: &[Acl], _: &[WatcherId]) {}
        fn triggered(&mut self, event: EventType, count: usize) {
            self.0.push((event, count));
        }
        fn written(&mut self, path: &str, bytes: usize) {
            self.1.push((path.to_owned(), bytes));
        }
    }
    let mut tree = tree();
    apply(&mut tree, 1, &create("/a"));
    tree.add_data_watch("/a", 1);
    tree.add_child_watch("/a", 1);
    let (mut counts, txn) = (Counts::default(), delete("/a"));
    tree.process_txn(&header(2, &txn), &txn, &mut counts);
    let deleted = EventType::NodeDeleted;
    assert_eq!(counts.0, [(deleted, 1), (deleted, 1)]);
    assert_eq!(counts.1, [("/a".to_owned(), 0)]);
}
