//! Our followers and observers beside Java's leader: each way of synchronising forced, and clients
//! served through them. Trees are compared by their digests at the end.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use zabkeeper::client::{ClientError, SessionCredentials, ZooKeeper};
use zabkeeper::persistence::disk::RealDisk;
use zabkeeper::persistence::{FileTxnSnapLog, Sessions, SnapLogOptions};
use zabkeeper::proto::messages::{DeleteRequest, SetDataRequest};
use zabkeeper::proto::txn::SetDataTxn;
use zabkeeper::proto::{
    Acl, Code, CreateMode, EventType, Id, OpCode, SessionId, Txn, TxnHeader, TxnLogEntry, Zxid,
};
use zabkeeper::tree::{DataTree, TreeOptions};

use crate::cluster::{Cluster, ClusterSetup};
use crate::support::PATIENCE;
use crate::support::server::Target::{Java, Zabkeeper};

/// Ours with the ids 1 and 4, an observer; Java's 2 and 3, of which the larger leads.
fn mixed() -> ClusterSetup {
    ClusterSetup::new(&[Zabkeeper, Java, Java]).observers(&[Zabkeeper])
}

const OURS: usize = 1;
const OUR_OBSERVER: usize = 4;

fn start(setup: &ClusterSetup) -> Option<(Cluster, usize)> {
    if !setup.is_possible() {
        return None;
    }
    let mut cluster = Cluster::prepare(setup);
    // Java's first, so that one of them leads.
    cluster.spawn(2);
    cluster.spawn(3);
    let leader = cluster.await_leader(&[2, 3]);
    cluster.start_all();
    Some((cluster, leader))
}

fn create(client: &mut ZooKeeper, path: &str) {
    client.create(path, Some(b"0"), &Acl::open_unsafe(), CreateMode::Persistent).unwrap();
}

fn write_many(client: &mut ZooKeeper, prefix: &str, count: usize) {
    for n in 0..count {
        create(client, &format!("{prefix}{n}"));
    }
}

/// Stops all servers; what they have on their disks must be the same.
fn check_same_trees(cluster: &mut Cluster, ids: &[usize]) {
    cluster.await_same_zxid(ids);
    for id in ids {
        let mismatches = cluster.node(*id).metric("digest_mismatches_count");
        assert!(mismatches.is_none_or(|count| count == "0"), "{id}");
    }
    cluster.stop_all();
    check_same_disks(cluster, ids);
}

fn check_same_disks(cluster: &Cluster, ids: &[usize]) {
    let restored: Vec<_> = ids.iter().map(|id| cluster.node(*id).restored()).collect();
    for (id, one) in ids.iter().zip(&restored) {
        let of = |one: &crate::cluster::Restored| (one.zxid, one.digest, one.sessions);
        assert_eq!(of(one), of(&restored[0]), "server {id}: {}", cluster.report());
    }
}

fn reattach(addr: SocketAddr, session: &SessionCredentials) -> Result<ZooKeeper, ClientError> {
    ZooKeeper::reattach(addr, 10_000, session, Zxid(0), PATIENCE)
}

fn code<T: std::fmt::Debug>(result: Result<T, ClientError>) -> Code {
    match result {
        Err(ClientError::Code(code)) => code,
        other => panic!("an error was expected: {other:?}"),
    }
}

#[test]
fn clients_are_served_through_followers_and_observers_of_a_java_leader() {
    let Some((mut cluster, leader)) = start(&mixed()) else { return };
    let mut follower = cluster.node(OURS).client(10_000);
    let mut observer = cluster.node(OUR_OBSERVER).client(10_000);
    let mut java = cluster.node(leader).client(10_000);
    for (name, client) in [("follower", &mut follower), ("observer", &mut observer)] {
        let path = format!("/{name}");
        create(client, &path);
        // Own writes are read without a sync.
        for n in 0..100 {
            let text = n.to_string();
            client.set(&path, Some(text.as_bytes()), n).unwrap();
            let (data, stat) = client.get(&path, false).unwrap();
            assert_eq!((data.as_deref(), stat.version), (Some(text.as_bytes()), n + 1));
        }
        assert_eq!(code(client.set(&path, None, 7)), Code::BadVersion);
        assert_eq!(code(client.delete("/missing", -1)), Code::NoNode);
        assert_eq!(code(client.create(&path, None, &[], CreateMode::Persistent)), Code::InvalidAcl);
        let sequential = client
            .create(
                &format!("{path}/s-"),
                None,
                &Acl::open_unsafe(),
                CreateMode::PersistentSequential,
            )
            .unwrap();
        assert_eq!(sequential, format!("{path}/s-0000000000"));
    }
    // A sync shows what others have written before.
    java.set("/follower", Some(b"by java"), -1).unwrap();
    for client in [&mut follower, &mut observer] {
        client.sync("/follower").unwrap();
        let (data, _) = client.get("/follower", true).unwrap();
        assert_eq!(data.as_deref(), Some(&b"by java"[..]));
    }
    // Watches see what is written elsewhere.
    java.set("/follower", Some(b"again"), -1).unwrap();
    for client in [&mut follower, &mut observer] {
        let event = client.next_event(PATIENCE).unwrap().expect("an event");
        assert_eq!(event.event.event_type, EventType::NodeDataChanged as i32);
        assert_eq!(event.event.path.as_str(), "/follower");
        let (data, _) = client.get("/follower", false).unwrap();
        assert_eq!(data.as_deref(), Some(&b"again"[..]));
    }
    drop((follower, observer, java));
    check_same_trees(&mut cluster, &[1, 2, 3, 4]);
}

#[test]
fn sessions_move_between_our_and_java_servers() {
    let Some((mut cluster, leader)) = start(&mixed()) else { return };
    let mut client = cluster.node(OURS).client(10_000);
    let credentials = client.credentials();
    client.create("/e", None, &Acl::open_unsafe(), CreateMode::Ephemeral).unwrap();
    let attach = |id: usize, passwd: [u8; 16]| {
        let credentials = SessionCredentials { passwd, ..credentials };
        reattach(cluster.node(id).addr(), &credentials)
    };
    // From server to server, and back; the ephemeral node stays, and may be written through each.
    for id in [leader, OUR_OBSERVER, 5 - leader, OURS] {
        let mut moved = attach(id, credentials.passwd).unwrap();
        assert_eq!(moved.session_id(), credentials.id);
        moved.sync("/e").unwrap();
        let stat = moved.exists("/e", false).unwrap().expect("the node is there");
        assert_eq!(stat.ephemeral_owner, credentials.id.0);
        moved.set("/e", Some(b"x"), -1).unwrap();
        client = moved;
    }
    // A request through a server that the session has left closes that connection without an answer.
    let mut stale = attach(OURS, credentials.passwd).unwrap();
    // Else its next request had the number of the other's, and could be taken for it, in Java too.
    stale.exists("/e", false).unwrap();
    let mut fresh = attach(leader, credentials.passwd).unwrap();
    fresh.set("/e", Some(b"y"), -1).unwrap();
    let answer = stale.set("/e", Some(b"z"), -1);
    assert!(matches!(answer, Err(ClientError::Closed)), "{answer:?}");
    assert_eq!(fresh.get("/e", false).unwrap().0.as_deref(), Some(&b"y"[..]));
    // A wrong password and an unknown session are refused by an answer.
    for id in [OURS, OUR_OBSERVER] {
        let refused = attach(id, [1; 16]).map(|client| client.session_id());
        assert!(matches!(refused, Err(ClientError::SessionExpired)), "{refused:?}");
    }
    drop(client);
    fresh.close().unwrap();
    for id in [OURS, OUR_OBSERVER] {
        let mut other = cluster.node(id).client(10_000);
        other.sync("/e").unwrap();
        assert_eq!(other.exists("/e", false).unwrap(), None);
        let refused = attach(id, credentials.passwd).map(|client| client.session_id());
        assert!(matches!(refused, Err(ClientError::SessionExpired)), "{refused:?}");
        other.close().unwrap();
    }
    check_same_trees(&mut cluster, &[1, 2, 3, 4]);
}

#[test]
fn the_leader_keeps_the_sessions_of_active_clients_of_our_learners_and_expires_the_others() {
    let Some((mut cluster, _)) = start(&mixed().tick(200)) else { return };
    let mut active = [cluster.node(OURS).client(1200), cluster.node(OUR_OBSERVER).client(1200)];
    let silent = [cluster.node(OURS).client(1200), cluster.node(OUR_OBSERVER).client(1200)];
    for (n, client) in active.iter_mut().enumerate() {
        client.create(&format!("/a{n}"), None, &Acl::open_unsafe(), CreateMode::Ephemeral).unwrap();
    }
    let gone = |id: SessionId| {
        let dump = cluster.node(OURS).word("dump").unwrap_or_default();
        !dump.contains(&format!("{id}\t"))
    };
    // The silent ones end; the others ping and read only, which no transaction tells of.
    cluster.await_that("the silent sessions end", || {
        for client in &mut active {
            client.ping().unwrap();
            client.exists("/", false).unwrap();
        }
        silent.iter().all(|client| gone(client.session_id())).then_some(())
    });
    for (n, client) in active.iter_mut().enumerate() {
        assert!(client.exists(&format!("/a{n}"), false).unwrap().is_some());
    }
    drop((active, silent));
    cluster.await_that("all sessions end", || {
        let dump = cluster.node(OUR_OBSERVER).word("dump")?;
        dump.contains("Global Sessions(0):").then_some(())
    });
    check_same_trees(&mut cluster, &[1, 2, 3, 4]);
}

#[test]
fn local_sessions_are_upgraded_by_an_ephemeral_create() {
    let setup =
        mixed().conf("localSessionsEnabled=true").conf("localSessionsUpgradingEnabled=true");
    let Some((mut cluster, leader)) = start(&setup) else { return };
    for id in [OURS, OUR_OBSERVER] {
        let mut client = cluster.node(id).client(10_000);
        create(&mut client, &format!("/persistent-{id}"));
        let global = |at: usize| cluster.node(at).metric("global_sessions").unwrap();
        assert_eq!(global(id), "0");
        assert_eq!(cluster.node(id).metric("local_sessions").unwrap(), "1");
        // A local session is known to nobody else.
        let credentials = client.credentials();
        let elsewhere = reattach(cluster.node(leader).addr(), &credentials);
        assert!(matches!(elsewhere.map(|_| ()), Err(ClientError::SessionExpired)));
        let path = format!("/ephemeral-{id}");
        client.create(&path, None, &Acl::open_unsafe(), CreateMode::Ephemeral).unwrap();
        assert_eq!(global(id), "1");
        assert_eq!(cluster.node(id).metric("local_sessions").unwrap(), "0");
        let mut moved = reattach(cluster.node(leader).addr(), &credentials).unwrap();
        let stat = moved.exists(&path, false).unwrap().unwrap();
        assert_eq!(stat.ephemeral_owner, credentials.id.0);
        moved.close().unwrap();
    }
    check_same_trees(&mut cluster, &[1, 2, 3, 4]);
}

#[test]
fn local_sessions_create_no_ephemerals_without_upgrading() {
    let Some((mut cluster, _)) = start(&mixed().conf("localSessionsEnabled=true")) else { return };
    for id in [OURS, OUR_OBSERVER] {
        let mut client = cluster.node(id).client(10_000);
        let refused = client.create("/e", None, &Acl::open_unsafe(), CreateMode::Ephemeral);
        assert_eq!(code(refused), Code::EphemeralOnLocalSession);
        create(&mut client, &format!("/p{id}"));
        client.close().unwrap();
    }
    check_same_trees(&mut cluster, &[1, 2, 3, 4]);
}

#[test]
fn a_learner_that_was_away_gets_a_diff() {
    let Some((mut cluster, leader)) = start(&mixed()) else { return };
    let mut client = cluster.node(leader).client(20_000);
    write_many(&mut client, "/a", 20);
    cluster.await_same_zxid(&[1, 2, 3, 4]);
    for id in [OURS, OUR_OBSERVER] {
        cluster.node_mut(id).kill();
    }
    write_many(&mut client, "/b", 100);
    for id in [OURS, OUR_OBSERVER] {
        let before = cluster.node(id).log().len();
        cluster.start_node(id);
        let log = cluster.node(id).log().split_off(before);
        assert!(log.contains("Getting a diff from the leader"), "{id}: {log}");
        assert!(!log.contains("Getting a snapshot from leader"), "{id}: {log}");
    }
    drop(client);
    check_same_trees(&mut cluster, &[1, 2, 3, 4]);
}

#[test]
fn a_learner_without_data_gets_a_snapshot() {
    let Some((mut cluster, leader)) = start(&mixed().property("zookeeper.forceSnapshotSync=true"))
    else {
        return;
    };
    let mut client = cluster.node(leader).client(20_000);
    write_many(&mut client, "/a", 50);
    for id in [OURS, OUR_OBSERVER] {
        cluster.node_mut(id).kill();
        fs::remove_dir_all(cluster.node(id).version_dir()).unwrap();
        write_many(&mut client, &format!("/b{id}-"), 50);
        cluster.start_node(id);
        cluster.node(id).await_log("Getting a snapshot from leader");
        write_many(&mut client, &format!("/c{id}-"), 5);
        cluster.await_same_zxid(&[1, 2, 3, 4]);
        // What it has is on its disk.
        cluster.node_mut(id).kill();
        assert!(cluster.node(id).restored().tree.node("/b4-49").is_some() || id == OURS);
        cluster.start_node(id);
    }
    drop(client);
    check_same_trees(&mut cluster, &[1, 2, 3, 4]);
}

#[test]
fn snapshots_under_load_are_completed_by_what_follows_them() {
    let setup = mixed().property("zookeeper.forceSnapshotSync=true");
    let Some((mut cluster, leader)) = start(&setup) else { return };
    let mut client = cluster.node(leader).client(20_000);
    for n in 0..200 {
        create(&mut client, &format!("/n{n}"));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let stop = Arc::clone(&stop);
        std::thread::spawn(move || {
            // Changes all over the tree, so that a snapshot has some of them too early.
            for n in (0..200).cycle() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let path = format!("/n{n}");
                client.set(&path, Some(path.as_bytes()), -1).unwrap();
                create(&mut client, &format!("{path}/child"));
                client.delete(&format!("{path}/child"), -1).unwrap();
                client.set_acl(&path, &Acl::open_unsafe(), -1).unwrap();
            }
        })
    };
    for _ in 0..3 {
        for id in [OURS, OUR_OBSERVER] {
            cluster.node_mut(id).kill();
            cluster.start_node(id);
        }
    }
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    assert!(cluster.node(OURS).log().contains("Getting a snapshot from leader"));
    // What is compared meanwhile may differ: the snapshot has more than the transaction that is
    // applied. In the end nothing does.
    cluster.await_same_zxid(&[1, 2, 3, 4]);
    cluster.stop_all();
    check_same_disks(&cluster, &[1, 2, 3, 4]);
}

/// Appends transactions to the log of a server that does not run: proposals that it has logged and
/// nobody else. They change a node that is there.
fn forge_proposals(version_dir: &Path, path: &str, count: i64) -> Zxid {
    let data_dir = version_dir.parent().unwrap();
    let options = SnapLogOptions { is_lost_tail_fatal: false, ..SnapLogOptions::default() };
    let mut snap_log =
        FileTxnSnapLog::new(Arc::new(RealDisk), data_dir, data_dir, options).unwrap();
    let mut tree = DataTree::new(TreeOptions::default());
    snap_log.restore(&mut tree, &mut Sessions::new(), &mut |_| {}).unwrap();
    let mut zxid = tree.last_processed_zxid();
    for n in 0..count {
        zxid = zxid.next();
        let header = TxnHeader {
            client_id: SessionId(1),
            cxid: n as i32,
            zxid,
            time: 1,
            txn_type: OpCode::SetData.as_i32(),
        };
        let data = Some(Arc::from(&b"never committed"[..]));
        let txn = SetDataTxn { path: path.to_owned(), data, version: 1000 };
        snap_log.append(&TxnLogEntry::new(header, Txn::SetData(txn), None)).unwrap();
    }
    snap_log.commit().unwrap();
    snap_log.close().unwrap();
    zxid
}

#[test]
fn proposals_that_were_never_committed_are_truncated() {
    let Some((mut cluster, leader)) = start(&mixed()) else { return };
    let mut client = cluster.node(leader).client(20_000);
    create(&mut client, "/a");
    cluster.await_same_zxid(&[1, 2, 3, 4]);
    for id in [OURS, OUR_OBSERVER] {
        cluster.await_same_zxid(&[1, 2, 3, 4]);
        cluster.node_mut(id).kill();
        let forged = forge_proposals(&cluster.node(id).version_dir(), "/a", 5);
        assert_eq!(cluster.node(id).restored().zxid, forged);
        cluster.start_node(id);
        cluster.node(id).await_log("Truncating log to get in sync with the leader");
        let mut through = cluster.node(id).client(10_000);
        let (data, _) = through.get("/a", false).unwrap();
        assert_eq!(data.as_deref(), Some(&b"0"[..]), "{id}");
        through.close().unwrap();
    }
    drop(client);
    check_same_trees(&mut cluster, &[1, 2, 3, 4]);
}

#[test]
fn a_truncation_is_followed_by_what_is_committed_meanwhile() {
    let Some((mut cluster, leader)) = start(&mixed()) else { return };
    let mut client = cluster.node(leader).client(20_000);
    create(&mut client, "/a");
    client.close().unwrap();
    cluster.await_same_zxid(&[1, 2, 3, 4]);
    // Only a leader that has proposed nothing yet lets a learner cut its log back into an earlier
    // epoch; within one epoch no zxid stands for two transactions.
    cluster.node_mut(OURS).kill();
    cluster.node_mut(2).stop();
    cluster.node_mut(3).stop();
    forge_proposals(&cluster.node(OURS).version_dir(), "/a", 1000);
    cluster.spawn(2);
    cluster.spawn(3);
    let leader = cluster.await_leader(&[2, 3]);
    cluster.spawn(OURS);
    cluster.node(OURS).await_log("Truncating log to get in sync with the leader");
    let mut client = cluster.node(leader).client(20_000);
    write_many(&mut client, "/load", 200);
    cluster.start_all();
    let mut through = cluster.node(OURS).client(10_000);
    write_many(&mut through, "/through", 50);
    through.sync("/").unwrap();
    assert!(through.exists("/load199", false).unwrap().is_some());
    drop((client, through));
    check_same_trees(&mut cluster, &[1, 2, 3, 4]);
}

#[test]
fn killed_again_and_again_a_follower_comes_back_with_what_it_acknowledged() {
    let Some((mut cluster, leader)) = start(&mixed()) else { return };
    // The quorum is the leader and ours: what is committed was acknowledged by ours.
    cluster.node_mut(5 - leader).kill();
    let mut written = 0;
    for _ in 0..5 {
        let mut client = cluster.node(leader).client(20_000);
        for _ in 0..30 {
            create(&mut client, &format!("/n{written}"));
            written += 1;
        }
        cluster.node_mut(OURS).kill();
        let restored = cluster.node(OURS).restored();
        assert!(restored.tree.node(&format!("/n{}", written - 1)).is_some(), "lost a write");
        cluster.start_node(OURS);
        cluster.await_leader(&[leader]);
        drop(client);
    }
    cluster.start_node(5 - leader);
    check_same_trees(&mut cluster, &[1, 2, 3, 4]);
}

#[test]
fn killed_at_any_moment_under_load_learners_come_back_to_the_same_history() {
    let Some((mut cluster, leader)) = start(&mixed()) else { return };
    let mut client = cluster.node(leader).client(20_000);
    let stop = Arc::new(AtomicBool::new(false));
    let written = Arc::new(AtomicUsize::new(0));
    let writer = {
        let (stop, written) = (Arc::clone(&stop), Arc::clone(&written));
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let n = written.fetch_add(1, Ordering::Relaxed);
                create(&mut client, &format!("/n{n}"));
            }
        })
    };
    // Each kill comes after another number of writes, wherever the servers are then: looking,
    // synchronising or serving.
    for (round, id) in [OURS, OUR_OBSERVER].into_iter().cycle().take(24).enumerate() {
        cluster.node_mut(id).kill();
        cluster.spawn(id);
        let until = written.load(Ordering::Relaxed) + (round * 37) % 101;
        cluster
            .await_that("more writes", || (written.load(Ordering::Relaxed) >= until).then_some(()));
    }
    cluster.await_serving(&[OURS, OUR_OBSERVER]);
    stop.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    let last = format!("/n{}", written.load(Ordering::Relaxed) - 1);
    for id in [OURS, OUR_OBSERVER] {
        let mut client = cluster.node(id).client(10_000);
        client.sync("/").unwrap();
        assert!(client.exists(&last, false).unwrap().is_some(), "{id}");
        client.close().unwrap();
    }
    check_same_trees(&mut cluster, &[1, 2, 3, 4]);
}

#[test]
fn observers_may_do_without_a_log() {
    let setup = mixed().conf("syncEnabled=false");
    let Some((mut cluster, leader)) = start(&setup) else { return };
    let mut client = cluster.node(leader).client(20_000);
    write_many(&mut client, "/a", 20);
    let mut through = cluster.node(OUR_OBSERVER).client(10_000);
    write_many(&mut through, "/b", 20);
    let files = |cluster: &Cluster| {
        let names = fs::read_dir(cluster.node(OUR_OBSERVER).version_dir()).unwrap();
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
        names.map(name).filter(|name| name.to_string_lossy().starts_with("log.")).count()
    };
    assert_eq!(files(&cluster), 0);
    cluster.node_mut(OUR_OBSERVER).kill();
    write_many(&mut client, "/c", 20);
    cluster.start_node(OUR_OBSERVER);
    let mut through = cluster.node(OUR_OBSERVER).client(10_000);
    through.sync("/").unwrap();
    assert!(through.exists("/c19", false).unwrap().is_some());
    assert_eq!(files(&cluster), 0);
    drop((client, through));
    check_same_trees(&mut cluster, &[1, 2, 3]);
}

#[test]
fn a_write_that_is_not_allowed_may_be_refused_without_the_leader() {
    let setup = mixed().property("zookeeper.enableEagerACLCheck=true");
    let Some((mut cluster, leader)) = start(&setup) else { return };
    let mut owner = cluster.node(leader).client(10_000);
    owner.auth("digest", b"a:b").unwrap();
    let acl = [Acl { perms: 31, id: Id { scheme: "auth".into(), id: "".into() } }];
    owner.create("/mine", None, &acl, CreateMode::Persistent).unwrap();
    let zxid = cluster.await_same_zxid(&[1, 2, 3, 4]);
    for id in [OURS, OUR_OBSERVER, 5 - leader, leader] {
        let mut client = cluster.node(id).client(10_000);
        let set = SetDataRequest { path: "/mine".into(), data: None, version: -1 };
        let xid = client.send(OpCode::SetData, &set).unwrap();
        let reply = client.receive(xid).unwrap();
        let header = (reply.header.err, reply.header.zxid);
        assert_eq!(header, (Code::NoAuth.as_i32(), 0), "server {id}");
        let delete = DeleteRequest { path: "/mine/child".into(), version: -1 };
        let xid = client.send(OpCode::Delete, &delete).unwrap();
        assert_eq!(client.receive(xid).unwrap().header.zxid, 0, "server {id}");
        create(&mut client, &format!("/theirs{id}"));
        client.auth("digest", b"a:b").unwrap();
        client.set("/mine", Some(b"x"), -1).unwrap();
        client.close().unwrap();
    }
    assert!(cluster.await_same_zxid(&[1, 2, 3, 4]) > zxid);
    drop(owner);
    check_same_trees(&mut cluster, &[1, 2, 3, 4]);
}

#[test]
fn packets_may_be_sent_by_a_thread_of_its_own() {
    let Some((mut cluster, _)) = start(&mixed().property("zookeeper.learner.asyncSending=true"))
    else {
        return;
    };
    let mut client = cluster.node(OURS).client(10_000);
    write_many(&mut client, "/a", 100);
    client.sync("/").unwrap();
    drop(client);
    check_same_trees(&mut cluster, &[1, 2, 3, 4]);
}

#[test]
fn a_new_leader_is_followed_by_all() {
    let Some((mut cluster, leader)) = start(&mixed()) else { return };
    let other = 5 - leader;
    let mut client = cluster.node(OURS).client(10_000);
    write_many(&mut client, "/a", 20);
    let credentials = client.credentials();
    client.create("/e", None, &Acl::open_unsafe(), CreateMode::Ephemeral).unwrap();
    // Ours must not win: it has the smallest id, and the same history.
    cluster.await_same_zxid(&[1, 2, 3, 4]);
    cluster.node_mut(leader).kill();
    cluster.await_leader(&[other]);
    cluster.await_that("ours follows", || {
        let is = |id: usize, mode| cluster.node(id).mode().as_deref() == Some(mode);
        (is(OURS, "follower") && is(OUR_OBSERVER, "observer")).then_some(())
    });
    let mut client = cluster.await_that("the session goes on", || {
        let addr = cluster.node(OURS).addr();
        reattach(addr, &credentials).ok()
    });
    assert!(client.exists("/e", false).unwrap().is_some());
    write_many(&mut client, "/b", 20);
    cluster.start_node(leader);
    drop(client);
    check_same_trees(&mut cluster, &[1, 2, 3, 4]);
}
