//! The harness itself, on Java's servers: what it shows of them is what tests of zabkeeper rely on.

use zabkeeper::proto::{Acl, CreateMode};

use crate::cluster::{Cluster, ClusterSetup};
use crate::support::server::Target::Java;

#[test]
fn java_ensemble_elects_replicates_and_survives_its_leader() {
    let setup = ClusterSetup::new(&[Java, Java, Java]).observers(&[Java]);
    if !setup.is_possible() {
        return;
    }
    let mut cluster = Cluster::start(&setup);
    let leader = cluster.await_leader(&[1, 2, 3]);
    assert_eq!(cluster.node(4).mode().as_deref(), Some("observer"));
    let mut client = cluster.node(4).client(10_000);
    client.create("/a", Some(b"1"), &Acl::open_unsafe(), CreateMode::Persistent).unwrap();
    cluster.await_same_zxid(&[1, 2, 3, 4]);
    cluster.node_mut(leader).kill();
    let others: Vec<usize> = [1, 2, 3].into_iter().filter(|id| *id != leader).collect();
    let next = cluster.await_leader(&others);
    assert_ne!(next, leader);
    cluster.start_node(leader);
    client = cluster.node(leader).client(10_000);
    client.create("/a/b", Some(b"2"), &Acl::open_unsafe(), CreateMode::Persistent).unwrap();
    cluster.await_same_zxid(&[1, 2, 3, 4]);
    cluster.stop_all();
    let restored: Vec<_> = cluster.ids().map(|id| cluster.node(id).restored()).collect();
    for one in &restored {
        assert_eq!((one.zxid, one.digest), (restored[0].zxid, restored[0].digest));
        assert!(one.tree.node("/a/b").is_some());
    }
}

#[test]
fn java_leader_behind_a_cut_steps_down_and_comes_back() {
    let setup = ClusterSetup::new(&[Java, Java, Java]).links();
    if !setup.is_possible() {
        return;
    }
    let cluster = Cluster::start(&setup);
    let leader = cluster.await_leader(&[1, 2, 3]);
    let others: Vec<usize> = [1, 2, 3].into_iter().filter(|id| *id != leader).collect();
    cluster.partition(&[&[leader], &others]);
    cluster.await_leader(&others);
    cluster.await_that("the old leader looks for a new one", || {
        cluster.node(leader).mode().is_none().then_some(())
    });
    cluster.heal();
    cluster.await_that("the old leader follows", || {
        (cluster.node(leader).mode().as_deref() == Some("follower")).then_some(())
    });
}
