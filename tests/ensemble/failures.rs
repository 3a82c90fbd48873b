//! Servers die, sleep and are cut off while clients write.

use crate::cluster::{Cluster, ClusterSetup};
use crate::load::Load;
use crate::scenarios::stop_and_compare;
use crate::support::server::Target::{self, Java as J, Zabkeeper as Z};

const WRITERS: usize = 6;
/// Between two blows, of each writer.
const WRITES: u64 = 20;

/// Hurts an ensemble of three under load, then looks at what is left.
fn check(setup: ClusterSetup, hurt: impl FnOnce(&mut Cluster, &Load)) {
    if !setup.is_possible() {
        return;
    }
    let mut cluster = Cluster::start(&setup);
    let load = Load::start(&cluster, WRITERS);
    load.await_progress(&cluster, WRITES);
    hurt(&mut cluster, &load);
    load.await_progress(&cluster, WRITES);
    let outcome = load.finish(&cluster);
    eprintln!("{outcome:?}");
    assert_eq!(outcome.expired, 0, "{}", cluster.report());
    stop_and_compare(&mut cluster);
}

/// Every node of Java's is replaced by zabkeeper, and back.
fn replace_in_turn(cluster: &mut Cluster, load: &Load) {
    for target in [Z, J] {
        for id in [1, 2, 3] {
            cluster.node_mut(id).stop();
            cluster.node_mut(id).set_target(target);
            cluster.start_node(id);
            cluster.await_serving(&[1, 2, 3]);
            load.await_progress(cluster, WRITES);
        }
    }
}

#[test]
fn rolling_replacement_is_noticed_by_no_client() {
    check(ClusterSetup::new(&[J, J, J]), replace_in_turn);
}

#[test]
fn rolling_restart_is_noticed_by_no_client() {
    check(ClusterSetup::new(&[Z, Z, Z]), |cluster, load| {
        for id in [1, 2, 3] {
            cluster.restart(id);
            load.await_progress(cluster, WRITES);
        }
    });
}

/// Kills the leader again and again.
fn kill_leaders(voters: [Target; 3]) {
    check(ClusterSetup::new(&voters), |cluster, load| {
        for _ in 0..4 {
            let leader = cluster.await_leader(&[1, 2, 3]);
            cluster.node_mut(leader).kill();
            load.await_progress(cluster, WRITES);
            cluster.start_node(leader);
        }
    });
}

#[test]
fn killed_leaders_take_no_acknowledged_write_with_them() {
    kill_leaders([Z, Z, Z]);
}

#[test]
fn killed_leaders_of_either_kind_take_no_acknowledged_write_with_them() {
    kill_leaders([Z, J, Z]);
}

#[test]
fn killed_followers_catch_up_under_load() {
    check(ClusterSetup::new(&[Z, Z, Z]).observers(&[Z]), |cluster, load| {
        for id in [1, 2, 3, 4] {
            if cluster.leader() != Some(id) {
                cluster.node_mut(id).kill();
                load.await_progress(cluster, WRITES);
                cluster.start_node(id);
            }
        }
    });
}

#[test]
fn paused_leader_acknowledges_nothing_when_it_wakes() {
    check(ClusterSetup::new(&[Z, Z, Z]), |cluster, load| {
        for _ in 0..2 {
            let leader = cluster.await_leader(&[1, 2, 3]);
            let others: Vec<usize> = [1, 2, 3].into_iter().filter(|id| *id != leader).collect();
            cluster.node(leader).pause();
            cluster.await_leader(&others);
            cluster.node(leader).resume();
            cluster.await_serving(&[1, 2, 3]);
            load.await_progress(cluster, WRITES);
        }
    });
}

#[test]
fn leader_in_a_minority_serves_nobody() {
    check(ClusterSetup::new(&[Z, Z, Z]).links(), |cluster, load| {
        for is_silent in [true, false] {
            let leader = cluster.await_leader(&[1, 2, 3]);
            let others: Vec<usize> = [1, 2, 3].into_iter().filter(|id| *id != leader).collect();
            let groups: [&[usize]; 2] = [&[leader], &others];
            if is_silent {
                cluster.freeze(&groups)
            } else {
                cluster.partition(&groups)
            }
            cluster.await_leader(&others);
            load.await_progress(cluster, WRITES);
            cluster.heal();
            cluster.await_serving(&[1, 2, 3]);
        }
    });
}

#[test]
fn all_servers_are_killed_at_once_again_and_again() {
    check(ClusterSetup::new(&[Z, Z, Z]), |cluster, load| {
        for _ in 0..4 {
            for id in [1, 2, 3] {
                cluster.node_mut(id).kill();
            }
            cluster.start_all();
            load.await_progress(cluster, WRITES);
        }
    });
}
