//! Servers that are cut off from others in silence, on networks of their own (see `netns`), while
//! clients reach all of them and write.

use crate::cluster::{Cluster, ClusterSetup};
use crate::failures::{WRITES, check_unnoticed};
use crate::load::Load;
use crate::netns::within;
use crate::support::server::Target::Zabkeeper as Z;

const IDS: [usize; 3] = [1, 2, 3];

fn check(test: &str, hurt: impl FnOnce(&mut Cluster, &Load)) {
    within(test, || {
        // Sessions outlive everything here.
        let setup = ClusterSetup::new(&[Z, Z, Z]).tick(200).conf("maxSessionTimeout=40000").hosts();
        check_unnoticed(setup, hurt);
    });
}

fn all_but(id: usize) -> Vec<usize> {
    IDS.into_iter().filter(|other| *other != id).collect()
}

fn await_not_leading(cluster: &Cluster, id: usize) {
    cluster.await_that("the leader that was cut off steps down", || {
        (cluster.node(id).mode().as_deref() != Some("leader")).then_some(())
    });
}

/// The others have a leader and serve; then everything is mended, and all serve.
fn others_go_on(cluster: &mut Cluster, load: &Load, cut_off: usize) {
    cluster.await_leader(&all_but(cut_off));
    await_not_leading(cluster, cut_off);
    load.await_progress(cluster, WRITES);
    cluster.heal();
    cluster.await_serving(&IDS);
    load.await_progress(cluster, WRITES);
}

#[test]
fn leader_that_is_cut_off_steps_down_and_has_acknowledged_nothing() {
    check(
        "partitions::leader_that_is_cut_off_steps_down_and_has_acknowledged_nothing",
        |cluster, load| {
            for _ in 0..2 {
                let leader = cluster.await_leader(&IDS);
                cluster.freeze(&[&[leader], &all_but(leader)]);
                others_go_on(cluster, load, leader);
            }
            // Nobody is left with a quorum.
            cluster.freeze(&[&[1], &[2], &[3]]);
            cluster.await_that("nobody serves", || {
                IDS.iter().all(|id| cluster.node(*id).mode().is_none()).then_some(())
            });
            cluster.heal();
            cluster.await_serving(&IDS);
        },
    );
}

#[test]
fn leader_that_hears_nobody_is_replaced() {
    check("partitions::leader_that_hears_nobody_is_replaced", |cluster, load| {
        let leader = cluster.await_leader(&IDS);
        for follower in all_but(leader) {
            cluster.deafen(follower, leader);
        }
        others_go_on(cluster, load, leader);
    });
}

#[test]
fn leader_that_nobody_hears_is_replaced() {
    check("partitions::leader_that_nobody_hears_is_replaced", |cluster, load| {
        let leader = cluster.await_leader(&IDS);
        for follower in all_but(leader) {
            cluster.deafen(leader, follower);
        }
        others_go_on(cluster, load, leader);
    });
}

#[test]
fn follower_that_does_not_hear_its_leader_disturbs_nobody() {
    check("partitions::follower_that_does_not_hear_its_leader_disturbs_nobody", |cluster, load| {
        let leader = cluster.await_leader(&IDS);
        let [follower, other] = all_but(leader)[..] else { panic!("three servers") };
        for is_heard in [false, true] {
            if is_heard {
                cluster.deafen(follower, leader);
            } else {
                cluster.deafen(leader, follower);
            }
            cluster.await_that("the follower has no leader", || {
                cluster.node(follower).mode().is_none().then_some(())
            });
            load.await_progress(cluster, WRITES);
            assert_eq!(cluster.node(leader).mode().as_deref(), Some("leader"));
            assert_eq!(cluster.node(other).mode().as_deref(), Some("follower"));
            cluster.heal();
            cluster.await_serving(&IDS);
        }
    });
}
