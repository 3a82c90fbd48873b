//! Ensembles of zabkeeper and Java's servers together, in every combination of roles.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

use zabkeeper::client::ZooKeeper;

use crate::cluster::{Cluster, ClusterSetup};
use crate::roles::sync_in_every_way;
use crate::scenarios::{create, create_ephemeral, read, start_with_leader_3, stop_and_compare};
use crate::support::server::Target::{Java as J, Zabkeeper as Z};

#[test]
fn java_leads_zabkeeper() {
    check(ClusterSetup::new(&[Z, Z, J]));
}

#[test]
fn zabkeeper_leads_java() {
    check(ClusterSetup::new(&[J, J, Z]));
}

#[test]
fn java_leads_one_of_each() {
    check(ClusterSetup::new(&[Z, J, J]).observers(&[Z]));
}

#[test]
fn zabkeeper_leads_one_of_each() {
    check(ClusterSetup::new(&[J, Z, Z]).observers(&[J]));
}

/// 3 leads. Writes through all servers are read from all; the leader is killed, and comes back.
fn check(setup: ClusterSetup) {
    if !setup.is_possible() {
        return;
    }
    let mut cluster = Cluster::prepare(&setup);
    start_with_leader_3(&mut cluster);
    let ids: Vec<usize> = cluster.ids().collect();
    let mut clients: Vec<ZooKeeper> =
        ids.iter().map(|id| cluster.node(*id).client(20_000)).collect();
    for id in &ids {
        create(&mut clients[id - 1], &format!("/by{id}"), id.to_string().as_bytes());
        create_ephemeral(&mut clients[id - 1], &format!("/by{id}/e"));
        // An error is a transaction too.
        assert!(clients[id - 1].delete("/none", -1).is_err());
    }
    for client in &mut clients {
        client.sync("/").unwrap();
        for id in &ids {
            assert_eq!(read(client, &format!("/by{id}")), Some(id.to_string().into_bytes()));
            assert!(read(client, &format!("/by{id}/e")).is_some());
        }
    }
    for client in clients {
        client.close().unwrap();
    }
    cluster.await_same_zxid(&ids);

    cluster.node_mut(3).kill();
    let next = cluster.await_leader(&[1, 2]);
    let left: Vec<usize> = ids.iter().copied().filter(|id| *id != 3).collect();
    cluster.await_serving(&left);
    let mut client = cluster.node(next).client(20_000);
    create(&mut client, "/after", b"1");
    client.close().unwrap();
    cluster.start_node(3);
    stop_and_compare(&mut cluster);
    for id in ids {
        // Java counts them on its own proposals, too.
        let log = cluster.node(id).log();
        assert!(!log.contains("Digests are not matching"), "{}", cluster.node(id).log_tail(60));
    }
}

#[test]
fn java_brings_zabkeeper_up_to_date_in_every_way() {
    sync(&[Z, J, J]);
}

#[test]
fn zabkeeper_brings_java_up_to_date_in_every_way() {
    sync(&[J, Z, Z]);
}

/// DIFF and SNAP go to 1, from 3; TRUNC goes to 3.
fn sync(voters: &[crate::support::server::Target; 3]) {
    let setup = ClusterSetup::new(voters);
    if !setup.is_possible() {
        return;
    }
    let mut cluster = Cluster::prepare(&setup);
    start_with_leader_3(&mut cluster);
    sync_in_every_way(&mut cluster);
}

#[test]
fn zabkeeper_takes_back_what_java_never_heard_of() {
    sync(&[J, J, Z]);
}

#[test]
fn java_takes_back_what_zabkeeper_never_heard_of() {
    sync(&[Z, Z, J]);
}

/// Whether this machine speaks IPv6; says so if not.
fn has_ipv6() -> bool {
    let has_it = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_ok();
    if !has_it {
        eprintln!("skipped: no IPv6");
    }
    has_it
}

/// The leader is replaced three times.
fn check_each_leads(setup: &ClusterSetup) {
    let mut cluster = Cluster::start(setup);
    for round in 0..3 {
        let leader = cluster.await_leader(&[1, 2, 3]);
        create(&mut cluster.node(leader % 3 + 1).client(20_000), &format!("/{round}"), b"");
        cluster.restart(leader);
        cluster.await_serving(&[1, 2, 3]);
    }
    stop_and_compare(&mut cluster);
}

#[test]
fn servers_reach_each_other_by_ipv6() {
    let setup = ClusterSetup::new(&[Z, J, Z]).addresses(&[Ipv6Addr::LOCALHOST.into()]);
    if has_ipv6() && setup.is_possible() {
        check_each_leads(&setup);
    }
}

#[test]
fn servers_may_have_addresses_of_both_families() {
    let setup = ClusterSetup::new(&[Z, Z, Z])
        .property("zookeeper.multiAddress.enabled=true")
        .addresses(&[Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()]);
    if has_ipv6() {
        check_each_leads(&setup);
    }
}

#[test]
fn groups_of_both_decide_together() {
    let mut setup = ClusterSetup::new(&[Z, J, Z, J, Z, J]);
    for group in ["1:2", "3:4", "5:6"] {
        setup = setup.group(group);
    }
    if !setup.is_possible() {
        return;
    }
    let mut cluster = Cluster::start(&setup);
    let mut client = cluster.node(1).client(20_000);
    create(&mut client, "/a", b"1");
    client.close().unwrap();
    stop_and_compare(&mut cluster);
}

#[test]
fn one_node_after_the_other_is_replaced_and_put_back() {
    let setup = ClusterSetup::new(&[J, J, J]);
    if !setup.is_possible() {
        return;
    }
    let mut cluster = Cluster::start(&setup);
    let mut written = 0;
    for target in [Z, J] {
        for id in [1, 2, 3] {
            let mut client = cluster.node(id % 3 + 1).client(20_000);
            for _ in 0..10 {
                written += 1;
                create(&mut client, &format!("/n{written}"), b"x");
            }
            client.close().unwrap();
            cluster.node_mut(id).stop();
            cluster.node_mut(id).set_target(target);
            cluster.start_node(id);
            cluster.await_leader(&[1, 2, 3]);
            let others: Vec<usize> = [1, 2, 3].to_vec();
            cluster.await_serving(&others);
            let mut client = cluster.node(id).client(20_000);
            client.sync("/").unwrap();
            for number in 1..=written {
                assert!(read(&mut client, &format!("/n{number}")).is_some(), "/n{number}");
            }
            client.close().unwrap();
        }
    }
    stop_and_compare(&mut cluster);
}
