//! Our leader with Java's followers and observers: each way of bringing a learner up to date, and
//! the trees compared at the end.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use zabkeeper::persistence::disk::RealDisk;
use zabkeeper::persistence::{FileTxnSnapLog, SnapLogOptions};
use zabkeeper::proto::txn::CreateTxn;
use zabkeeper::proto::{Acl, CreateMode, SessionId, Txn, TxnHeader, TxnLogEntry, Zxid};

use crate::cluster::{Cluster, ClusterSetup};
use crate::support::server::Target::{Java, Zabkeeper};

/// The server of ours: the largest id wins elections among equals.
const OURS: usize = 3;

/// Two voters and an observer of Java's, and one voter of ours, which leads.
fn setup() -> ClusterSetup {
    ClusterSetup::new(&[Java, Java, Zabkeeper]).observers(&[Java])
}

/// Started, with ours leading; nothing without a Java server.
fn start(setup: &ClusterSetup) -> Option<Cluster> {
    if !setup.is_possible() {
        return None;
    }
    let mut cluster = Cluster::prepare(setup);
    // Together the voters of Java could form an ensemble before ours is there.
    cluster.spawn(OURS);
    cluster.spawn(1);
    assert_eq!(cluster.await_leader(&[1, OURS]), OURS);
    cluster.start_all();
    assert_eq!(cluster.leader(), Some(OURS));
    Some(cluster)
}

fn create(cluster: &Cluster, id: usize, prefix: &str, count: usize) {
    let mut client = cluster.node(id).client(20_000);
    for n in 0..count {
        let path = format!("/{prefix}{n}");
        client.create(&path, Some(b"data"), &Acl::open_unsafe(), CreateMode::Persistent).unwrap();
    }
    client.close().unwrap();
}

/// Waits until all have the same, stops them, and compares what is on their disks.
#[track_caller]
fn compare(mut cluster: Cluster) {
    let ids: Vec<usize> = cluster.ids().collect();
    cluster.await_same_zxid(&ids);
    cluster.stop_all();
    let expected = cluster.node(OURS).restored();
    for id in ids {
        let restored = cluster.node(id).restored();
        let what = |r: &crate::cluster::Restored| (r.zxid, r.digest, r.nodes, r.sessions);
        assert_eq!(what(&restored), what(&expected), "{id}: {}", cluster.report());
    }
}

#[test]
fn javas_learners_follow_our_leader() {
    let Some(cluster) = start(&setup()) else { return };
    for id in cluster.ids() {
        create(&cluster, id, &format!("by-{id}-"), 20);
    }
    // Sessions: an ephemeral of a learner's client goes when its session is closed.
    let mut client = cluster.node(4).client(20_000);
    client.create("/e", None, &Acl::open_unsafe(), CreateMode::Ephemeral).unwrap();
    client.sync("/").unwrap();
    let mut reader = cluster.node(1).client(20_000);
    reader.sync("/").unwrap();
    assert!(reader.exists("/e", false).unwrap().is_some());
    client.close().unwrap();
    reader.sync("/").unwrap();
    assert!(reader.exists("/e", false).unwrap().is_none());
    reader.close().unwrap();
    assert_eq!(cluster.node(OURS).metric("synced_followers").as_deref(), Some("2"));
    assert_eq!(cluster.node(OURS).metric("synced_observers").as_deref(), Some("1"));
    assert_eq!(cluster.node(OURS).metric("learners").as_deref(), Some("3"));
    compare(cluster);
}

#[test]
fn what_is_in_the_committed_log_comes_as_a_diff() {
    let Some(mut cluster) = start(&setup()) else { return };
    create(&cluster, OURS, "a", 10);
    cluster.await_same_zxid(&[1, OURS, 4]);
    cluster.node_mut(1).kill();
    cluster.node_mut(4).kill();
    create(&cluster, 2, "b", 50);
    cluster.start_node(1);
    cluster.start_node(4);
    let sent = cluster.node(OURS).log();
    assert!(sent.contains("for peer sid: 1") && sent.contains("for peer sid: 4"), "{sent}");
    assert!(cluster.node(1).log().contains("Getting a diff from the leader"));
    assert!(cluster.node(4).log().contains("Getting a diff from the leader"));
    compare(cluster);
}

#[test]
fn an_empty_learner_gets_a_snapshot_while_writes_go_on() {
    let Some(mut cluster) = start(&setup()) else { return };
    create(&cluster, OURS, "a", 600);
    for id in [1, 4] {
        cluster.node_mut(id).kill();
        fs::remove_dir_all(cluster.node(id).version_dir()).unwrap();
    }
    let mut client = cluster.node(2).client(20_000);
    let writer = thread::spawn(move || {
        for n in 0..500 {
            let path = format!("/w{n}");
            let acl = Acl::open_unsafe();
            client.create(&path, Some(b"x"), &acl, CreateMode::Persistent).unwrap();
        }
        client.close().unwrap();
    });
    cluster.start_node(1);
    cluster.start_node(4);
    writer.join().unwrap();
    assert!(cluster.node(1).log().contains("Getting a snapshot from leader"));
    assert!(cluster.node(4).log().contains("Getting a snapshot from leader"));
    compare(cluster);
}

#[test]
fn what_is_older_than_memory_comes_from_the_transaction_log() {
    // Blocks of 64 KiB, or the padding alone would be more than a third of any snapshot here.
    let setup = setup().property("zookeeper.preAllocSize=64").property("zookeeper.snapCount=1000");
    let Some(mut cluster) = start(&setup) else { return };
    let mut client = cluster.node(OURS).client(20_000);
    let large = vec![b'x'; 700_000];
    for n in 0..8 {
        let acl = Acl::open_unsafe();
        client.create(&format!("/l{n}"), Some(&large), &acl, CreateMode::Persistent).unwrap();
    }
    client.close().unwrap();
    create(&cluster, OURS, "a", 1100);
    let dir = cluster.node(OURS).version_dir();
    cluster.await_that("a snapshot of our leader", || newest_snapshot(&dir).filter(|z| z.0 > 500));
    cluster.await_same_zxid(&[1, OURS]);
    cluster.node_mut(1).kill();
    create(&cluster, 2, "b", 700);
    cluster.start_node(1);
    assert!(cluster.node(1).log().contains("Getting a diff from the leader"));
    compare(cluster);
}

fn newest_snapshot(dir: &Path) -> Option<Zxid> {
    let names =
        fs::read_dir(dir).ok()?.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let zxids = names.filter_map(|name| {
        i64::from_str_radix(name.strip_prefix("snapshot.")?, 16).ok().map(|zxid| zxid & 0xffff_ffff)
    });
    zxids.max().map(Zxid)
}

/// Appends transactions that nobody else has to a stopped server's log.
fn append_uncommitted(cluster: &Cluster, id: usize, count: i64) {
    let last = cluster.node(id).restored().zxid;
    let data = cluster.node(id).data_dir();
    let options = SnapLogOptions::default();
    let mut log = FileTxnSnapLog::new(Arc::new(RealDisk), &data, &data, options).unwrap();
    for n in 1..=count {
        let zxid = Zxid(last.0 + n);
        let txn = CreateTxn {
            path: format!("/lost{n}"),
            data: None,
            acl: Acl::open_unsafe(),
            ephemeral: false,
            parent_cversion: 1000 + n as i32,
        };
        let header = TxnHeader {
            client_id: SessionId(1),
            cxid: n as i32,
            zxid,
            time: 0,
            txn_type: Txn::Create(txn.clone()).op_code().as_i32(),
        };
        log.append(&TxnLogEntry::new(header, Txn::Create(txn), None)).unwrap();
    }
    log.commit().unwrap();
    log.close().unwrap();
}

#[test]
fn what_was_never_committed_is_cut_off() {
    let Some(mut cluster) = start(&setup()) else { return };
    create(&cluster, OURS, "a", 10);
    let ids: Vec<usize> = cluster.ids().collect();
    cluster.await_same_zxid(&ids);
    cluster.stop_all();
    append_uncommitted(&cluster, 1, 3);
    append_uncommitted(&cluster, 4, 2);
    cluster.spawn(2);
    cluster.spawn(OURS);
    assert_eq!(cluster.await_leader(&[2, OURS]), OURS);
    cluster.start_node(1);
    cluster.start_node(4);
    assert!(cluster.node(1).log().contains("Truncating log to get in sync with the leader"));
    assert!(cluster.node(4).log().contains("Truncating log to get in sync with the leader"));
    create(&cluster, 1, "b", 10);
    compare(cluster);
}
