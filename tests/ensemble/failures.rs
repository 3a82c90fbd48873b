//! Servers die, sleep and are cut off while clients write.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::cluster::{Cluster, ClusterSetup};
use crate::load::Load;
use crate::scenarios::stop_and_compare;
use crate::support::server::Target::{self, Java as J, Zabkeeper as Z};

const WRITERS: usize = 6;
/// Between two blows, of each writer.
pub const WRITES: u64 = 20;

/// Hurts an ensemble of three under load, then looks at what is left.
pub fn check(setup: ClusterSetup, hurt: impl FnOnce(&mut Cluster, &Load)) {
    check_with(true, setup, hurt);
}

/// As [`check`], for what leaders do not notice at once.
pub fn check_unnoticed(setup: ClusterSetup, hurt: impl FnOnce(&mut Cluster, &Load)) {
    check_with(false, setup, hurt);
}

fn check_with(is_sync_exact: bool, setup: ClusterSetup, hurt: impl FnOnce(&mut Cluster, &Load)) {
    if !setup.is_possible() {
        return;
    }
    let mut cluster = Cluster::start(&setup);
    let load = Load::start(&cluster, WRITERS, is_sync_exact);
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
    check_unnoticed(ClusterSetup::new(&[Z, Z, Z]), |cluster, load| {
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
    check_unnoticed(ClusterSetup::new(&[Z, Z, Z]).links(), |cluster, load| {
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

#[test]
fn server_whose_files_are_lost_ends_and_the_others_go_on() {
    check(ClusterSetup::new(&[Z, Z, Z]), |cluster, load| {
        let leader = cluster.await_leader(&[1, 2, 3]);
        let lost = if leader == 1 { 2 } else { 1 };
        let (from, to) = {
            let dir = cluster.node(lost).version_dir();
            (dir.clone(), dir.with_extension("away"))
        };
        std::fs::rename(&from, &to).unwrap();
        // A new epoch has to be written down.
        cluster.node_mut(leader).kill();
        let status = cluster.node_mut(lost).await_end().expect("an end");
        assert_eq!(status.code(), Some(1), "{}", cluster.report());
        cluster.start_node(leader);
        load.await_progress(cluster, WRITES);
        if from.exists() {
            std::fs::remove_dir_all(&from).unwrap();
        }
        std::fs::rename(&to, &from).unwrap();
        cluster.start_node(lost);
    });
}

#[test]
fn garbage_at_the_ports_between_servers_is_noticed_by_no_client() {
    check(ClusterSetup::new(&[Z, Z, Z]).observers(&[Z]), |cluster, load| {
        let mut random = Random(7);
        let mut open = Vec::new();
        for round in 0..40 {
            for id in cluster.ids() {
                for port in [cluster.node(id).quorum_port(), cluster.node(id).election_port()] {
                    let Ok(mut stream) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                    let length = random.below(300);
                    let mut bytes: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
                    match round % 4 {
                        // A right beginning, then anything.
                        0 => bytes.splice(0..0, (-65536i64).to_be_bytes()).for_each(drop),
                        1 => bytes.splice(0..0, 0i32.to_be_bytes()).for_each(drop),
                        2 => bytes.splice(0..0, i32::MAX.to_be_bytes()).for_each(drop),
                        _ => {}
                    }
                    let _ = stream.write_all(&bytes); // It may be closed already.
                    if random.below(2) == 0 {
                        open.push(stream);
                    }
                }
            }
        }
        load.await_progress(cluster, WRITES);
        drop(open);
    });
}

struct Random(u64);

impl Random {
    /// Less than `bound`.
    fn below(&mut self, bound: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

/// Kills, pauses and partitions in an order that the seed gives, and mends everything in the end.
/// `ZABKEEPER_CHAOS_SECONDS` makes it longer, `ZABKEEPER_CHAOS_SEED` repeats an order.
fn chaos(voters: &[Target], observers: &[Target]) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let seed = number("ZABKEEPER_CHAOS_SEED").unwrap_or(20_251_122);
    let length = Duration::from_secs(number("ZABKEEPER_CHAOS_SECONDS").unwrap_or(20));
    let setup = ClusterSetup::new(voters).observers(observers).links();
    check_unnoticed(setup, |cluster, load| {
        let mut random = Random(seed);
        let ids: Vec<usize> = cluster.ids().collect();
        let voters = voters.len();
        let start = Instant::now();
        while start.elapsed() < length {
            let id = ids[random.below(ids.len())];
            let act = random.below(7);
            eprintln!("chaos {seed}: {:?}: act {act} on {id}", start.elapsed());
            match act {
                0 | 1 => {
                    cluster.node_mut(id).kill();
                    pause(&mut random);
                    cluster.spawn(id);
                }
                2 => {
                    cluster.node(id).pause();
                    pause(&mut random);
                    pause(&mut random);
                    cluster.node(id).resume();
                }
                3 | 4 => {
                    // Any split of the servers in two.
                    let (one, other): (Vec<usize>, Vec<usize>) =
                        ids.iter().partition(|_| random.below(2) == 0);
                    let groups: [&[usize]; 2] = [&one, &other];
                    if act == 3 {
                        cluster.partition(&groups)
                    } else {
                        cluster.freeze(&groups)
                    }
                    pause(&mut random);
                    pause(&mut random);
                    cluster.heal();
                }
                5 => {
                    // One of them is not heard by some others, or does not hear them.
                    let is_heard = random.below(2) == 0;
                    for other in ids.iter().filter(|other| **other != id) {
                        if random.below(3) > 0 {
                            let (from, to) = if is_heard { (*other, id) } else { (id, *other) };
                            cluster.deafen(from, to);
                        }
                    }
                    pause(&mut random);
                    pause(&mut random);
                    cluster.heal();
                }
                _ => {
                    // A majority at once.
                    for id in 1..=voters / 2 + 1 {
                        cluster.node_mut(id).kill();
                    }
                    for id in 1..=voters / 2 + 1 {
                        cluster.spawn(id);
                    }
                }
            }
            pause(&mut random);
        }
        cluster.start_all();
        load.await_progress(cluster, WRITES);
    });
}

/// Up to two seconds.
fn pause(random: &mut Random) {
    std::thread::park_timeout(Duration::from_millis(random.below(2000) as u64));
}

#[test]
fn chaos_among_three_of_ours() {
    chaos(&[Z, Z, Z], &[]);
}

#[test]
fn chaos_among_both_kinds() {
    chaos(&[Z, J, Z], &[]);
}

#[test]
fn chaos_among_five_and_an_observer() {
    chaos(&[Z; 5], &[Z]);
}
