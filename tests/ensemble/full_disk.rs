//! Disks that are full or cannot be written: the server ends and says which file it was, the others
//! go on, nothing that was acknowledged is lost, and with space again it catches up.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::OnceLock;

use zabkeeper::client::ZooKeeper;
use zabkeeper::proto::{Acl, CreateMode};

use crate::cluster::{Cluster, ClusterSetup, ELECTION_PATIENCE};
use crate::failures::{WRITES, check};
use crate::load::Load;
use crate::scenarios::stop_and_compare;
use crate::support::server::Target::Zabkeeper as Z;
use crate::support::small_disk::is_allowed;
use crate::support::wait_until;

const IDS: [usize; 3] = [1, 2, 3];
/// More than any test here needs.
const ROOM: u64 = 64 << 20;
const FULL: &str = "No space left on device";
const READ_ONLY: &str = "Read-only file system";

fn all_but(id: usize) -> Vec<usize> {
    IDS.into_iter().filter(|other| *other != id).collect()
}

/// A server of this role.
fn find(cluster: &Cluster, role: &str) -> usize {
    cluster.await_leader(&IDS);
    cluster.await_that(role, || {
        cluster.ids().find(|id| cluster.node(*id).mode().as_deref() == Some(role))
    })
}

/// The server ends by itself, with this code, and its log has a line with all of `words`.
fn await_end(cluster: &mut Cluster, id: usize, code: i32, words: &[&str]) {
    let status = cluster.node_mut(id).await_end();
    let log = cluster.node(id).log();
    assert_eq!(status.and_then(|status| status.code()), Some(code), "{}", cluster.report());
    let is_told =
        |line: &str| line.contains("ERROR") && words.iter().all(|word| line.contains(word));
    assert!(log.lines().any(is_told), "{words:?}: {}", cluster.report());
}

/// Those that are left elect if they have to, and serve.
fn others_go_on(cluster: &Cluster, load: &Load, id: usize) {
    cluster.await_leader(&all_but(id));
    load.await_progress(cluster, WRITES);
}

#[test]
fn full_disks_under_load_lose_nothing_and_are_told() {
    let setup = ClusterSetup::new(&[Z, Z, Z]).observers(&[Z]).disks(ROOM);
    check(setup, |cluster, load| {
        for role in ["follower", "leader", "observer"] {
            let id = find(cluster, role);
            cluster.disk(id).leave(32 << 10);
            await_end(cluster, id, 1, &["version-2/log.", FULL]);
            others_go_on(cluster, load, id);
            // As full as before: it may serve while what it has reserved lasts.
            cluster.spawn(id);
            await_end(cluster, id, 1, &["version-2/log.", FULL]);
            others_go_on(cluster, load, id);
            cluster.disk(id).resize(ROOM);
            cluster.start_node(id);
            load.await_progress(cluster, WRITES);
        }
        // Disks of the same size are full at the same time.
        for id in cluster.ids() {
            cluster.disk(id).leave(32 << 10);
        }
        let quorum_has_ended = wait_until(ELECTION_PATIENCE, || {
            let left = IDS.iter().filter(|id| cluster.node_mut(**id).is_running()).count();
            (left < 2).then_some(())
        });
        assert!(quorum_has_ended.is_some(), "{}", cluster.report());
        for id in cluster.ids() {
            cluster.disk(id).resize(ROOM);
        }
        cluster.start_all();
    });
}

#[test]
fn snapshots_that_cannot_be_written_end_the_server() {
    let setup = ClusterSetup::new(&[Z, Z, Z])
        .disks(ROOM)
        .log_elsewhere()
        .property("zookeeper.snapCount=400");
    check(setup, |cluster, load| {
        for (role, why) in
            [("follower", FULL), ("leader", FULL), ("follower", READ_ONLY), ("leader", READ_ONLY)]
        {
            let id = find(cluster, role);
            if why == FULL {
                cluster.disk(id).leave(0);
            } else {
                cluster.disk(id).make_read_only();
            }
            // Java's code for it.
            await_end(cluster, id, 10, &["version-2", "snapshot.", why]);
            others_go_on(cluster, load, id);
            cluster.disk(id).resize(ROOM);
            cluster.start_node(id);
        }
    });
}

/// The disk under a running process gives errors from now on: a tracer answers its system calls. It
/// ends with the process.
struct Tracer {
    process: Child,
    /// Open as long as it runs: it tells of new threads.
    _messages: BufReader<ChildStderr>,
}

impl Tracer {
    fn is_possible() -> bool {
        static POSSIBLE: OnceLock<bool> = OnceLock::new();
        *POSSIBLE.get_or_init(|| {
            let mut child = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
            let tried = Tracer::attach(child.id(), "fdatasync");
            child.kill().unwrap();
            child.wait().unwrap();
            is_allowed("no system calls that fail", tried)
        })
    }

    /// Lets these system calls fail.
    fn attach(pid: u32, calls: &str) -> Result<Tracer, String> {
        let mut process = Command::new("strace")
            .args(["-f", "-o", "/dev/null", "-e", &format!("inject={calls}:error=EIO")])
            .args(["-p", &pid.to_string()])
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| format!("strace: {error}"))?;
        let mut messages = BufReader::new(process.stderr.take().unwrap());
        let mut answer = String::new();
        let _ = messages.read_line(&mut answer);
        let tracer = Tracer { process, _messages: messages };
        if answer.contains("attached") { Ok(tracer) } else { Err(answer) }
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = self.process.kill(); // It may have ended by itself.
        let _ = self.process.wait();
    }
}

#[test]
fn log_that_cannot_be_synced_ends_the_server() {
    if !Tracer::is_possible() {
        return;
    }
    check(ClusterSetup::new(&[Z, Z, Z]), |cluster, load| {
        for role in ["follower", "leader"] {
            let id = find(cluster, role);
            let _tracer = Tracer::attach(cluster.node(id).pid().unwrap(), "fdatasync").unwrap();
            await_end(cluster, id, 1, &["version-2/log.", "fdatasync", "Input/output error"]);
            others_go_on(cluster, load, id);
            cluster.start_node(id);
        }
    });
}

fn create(client: &mut ZooKeeper, names: impl Iterator<Item = String>, data: &[u8]) {
    for name in names {
        client.create(&name, Some(data), &Acl::open_unsafe(), CreateMode::Persistent).unwrap();
    }
}

#[test]
fn snapshot_of_the_leader_that_does_not_fit_replaces_nothing() {
    let setup =
        ClusterSetup::new(&[Z, Z, Z]).disks(ROOM).property("zookeeper.forceSnapshotSync=true");
    if !setup.is_possible() {
        return;
    }
    let mut cluster = Cluster::start(&setup);
    let leader = cluster.await_leader(&IDS);
    let id = all_but(leader)[0];
    let mut client = cluster.node(leader).client(20_000);
    create(&mut client, (0..20).map(|n| format!("/a{n}")), b"a");
    let known = cluster.await_same_zxid(&IDS);
    cluster.node_mut(id).stop();
    create(&mut client, (0..20).map(|n| format!("/b{n}")), &[b'b'; 50_000]);
    for left in [0, 400 << 10] {
        cluster.disk(id).leave(left);
        cluster.spawn(id);
        await_end(&mut cluster, id, 1, &["version-2", "snapshot.", FULL]);
        assert!(cluster.node(id).log().contains("Getting a snapshot from leader"));
        // What it had acknowledged is what it has.
        let restored = cluster.node(id).restored();
        assert!(restored.zxid >= known && restored.tree.node("/a19").is_some());
        assert!(restored.tree.node("/b0").is_none());
        create(&mut client, (0..3).map(|n| format!("/c{left}-{n}")), b"c");
    }
    cluster.disk(id).resize(ROOM);
    cluster.start_node(id);
    client.close().unwrap();
    cluster.await_same_zxid(&IDS);
    cluster.node_mut(id).kill();
    assert!(cluster.node(id).restored().tree.node("/b19").is_some());
    cluster.start_node(id);
    stop_and_compare(&mut cluster);
}

/// What happens to the files of epochs.
#[derive(Debug, Clone, Copy)]
enum Epochs {
    Full,
    ReadOnly,
    /// The second of the two cannot be written, the first is.
    NoCurrentEpoch,
}

/// Neither as a leader nor as a follower goes a server on without its epoch: what it has promised or
/// taken over would be forgotten.
fn epochs_cannot_be_written(how: Epochs) {
    let setup = ClusterSetup::new(&[Z, Z, Z]).disks(ROOM).log_elsewhere();
    if !setup.is_possible() {
        return;
    }
    let mut cluster = Cluster::start(&setup);
    for round in 0..2 {
        let old = cluster.await_leader(&IDS);
        let mut client = cluster.node(old).client(20_000);
        create(&mut client, (0..5).map(|n| format!("/{round}-{n}")), b"x");
        client.close().unwrap();
        cluster.await_same_zxid(&IDS);
        // The greater id will lead: both have the same.
        let [follower, leader] = all_but(old)[..] else { panic!("three servers") };
        let (id, other) = if round == 0 { (follower, leader) } else { (leader, follower) };
        let before = cluster.node(id).epoch("currentEpoch");
        let tmp = cluster.node(id).version_dir().join("currentEpoch.tmp");
        let (file, why) = match how {
            Epochs::Full => ("acceptedEpoch", FULL),
            Epochs::ReadOnly => ("acceptedEpoch", READ_ONLY),
            Epochs::NoCurrentEpoch => ("currentEpoch", "Is a directory"),
        };
        match how {
            Epochs::Full => cluster.disk(id).leave(0),
            Epochs::ReadOnly => cluster.disk(id).make_read_only(),
            Epochs::NoCurrentEpoch => fs::create_dir(&tmp).unwrap(),
        }
        cluster.node_mut(old).kill();
        await_end(&mut cluster, id, 1, &["version-2", file, why]);
        assert_eq!(cluster.node(id).epoch("currentEpoch"), before, "{}", cluster.report());
        cluster.start_node(old);
        cluster.await_leader(&[old, other]);
        match how {
            Epochs::NoCurrentEpoch => fs::remove_dir(&tmp).unwrap(),
            _ => cluster.disk(id).resize(ROOM),
        }
        cluster.start_node(id);
    }
    stop_and_compare(&mut cluster);
    for id in IDS {
        let tree = cluster.node(id).restored().tree;
        assert!((0..2).all(|round| tree.node(&format!("/{round}-4")).is_some()), "{id}");
    }
}

#[test]
fn server_whose_epoch_finds_no_space_ends() {
    epochs_cannot_be_written(Epochs::Full);
}

#[test]
fn server_whose_epoch_is_on_a_read_only_disk_ends() {
    epochs_cannot_be_written(Epochs::ReadOnly);
}

#[test]
fn server_that_cannot_write_the_epoch_it_has_taken_over_ends() {
    epochs_cannot_be_written(Epochs::NoCurrentEpoch);
}
