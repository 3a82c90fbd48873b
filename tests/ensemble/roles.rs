//! Ensembles of zabkeeper alone, in every role.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use zabkeeper::client::{ClientError, SessionCredentials, ZooKeeper};
use zabkeeper::jute::Jute;
use zabkeeper::proto::Zxid;
use zabkeeper::proto::messages::ConnectRequest;

use crate::cluster::{Cluster, ClusterSetup, ELECTION_PATIENCE, Node};
use crate::scenarios::{
    create, create_ephemeral, leave_behind_in_3, read, retry, start_with_leader_3,
    stop_and_compare, try_create,
};
use crate::support::server::Target::{Java as J, Zabkeeper as Z};

fn reattach(
    node: &Node,
    session: &SessionCredentials,
    timeout_ms: i32,
) -> Result<ZooKeeper, ClientError> {
    let patience = Duration::from_secs(15);
    ZooKeeper::reattach(node.addr(), timeout_ms, session, Zxid(0), patience)
}

fn three() -> ClusterSetup {
    ClusterSetup::new(&[Z, Z, Z])
}

#[test]
fn writes_through_every_server_are_read_from_every_other() {
    let mut cluster = Cluster::start(&three().observers(&[Z]));
    let ids: Vec<usize> = cluster.ids().collect();
    let mut clients: Vec<ZooKeeper> =
        ids.iter().map(|id| cluster.node(*id).client(10_000)).collect();
    for id in &ids {
        create(&mut clients[id - 1], &format!("/by{id}"), id.to_string().as_bytes());
    }
    for client in &mut clients {
        client.sync("/").unwrap();
        for id in &ids {
            assert_eq!(read(client, &format!("/by{id}")), Some(id.to_string().into_bytes()));
        }
    }
    // Own writes are seen without a sync, and order is kept.
    for (index, client) in clients.iter_mut().enumerate() {
        for round in 0..50 {
            let text = format!("{index} {round}");
            client.set("/by1", Some(text.as_bytes()), -1).unwrap();
            let (_, stat) = client.get("/by1", false).unwrap();
            assert_eq!(stat.version, (index * 50 + round + 1) as i32);
        }
    }
    for client in clients {
        client.close().unwrap();
    }
    stop_and_compare(&mut cluster);
}

#[test]
fn leader_is_replaced_and_nothing_acknowledged_is_lost() {
    let mut cluster = Cluster::start(&three());
    let mut written = Vec::new();
    for round in 0..4 {
        let leader = cluster.await_leader(&[1, 2, 3]);
        let through = [1, 2, 3][round % 3];
        let mut client = cluster.node(through).client(10_000);
        for number in 0..20 {
            let path = format!("/n{round}-{number}");
            create(&mut client, &path, b"x");
            written.push(path);
        }
        cluster.node_mut(leader).kill();
        let others: Vec<usize> = [1, 2, 3].into_iter().filter(|id| *id != leader).collect();
        let next = cluster.await_leader(&others);
        let mut client = cluster.node(next).client(10_000);
        for path in &written {
            assert!(read(&mut client, path).is_some(), "{path} is lost\n{}", cluster.report());
        }
        cluster.start_node(leader);
        assert_eq!(cluster.node(leader).mode().as_deref(), Some("follower"));
    }
    stop_and_compare(&mut cluster);
}

#[test]
fn all_servers_are_killed_and_come_back_with_everything() {
    let mut cluster = Cluster::start(&three());
    let mut client = cluster.node(1).client(10_000);
    for number in 0..100 {
        create(&mut client, &format!("/n{number}"), b"x");
    }
    for id in [1, 2, 3] {
        cluster.node_mut(id).kill();
    }
    cluster.start_all();
    let mut client = cluster.node(2).client(10_000);
    client.sync("/").unwrap();
    for number in 0..100 {
        assert!(read(&mut client, &format!("/n{number}")).is_some());
    }
    for id in [1, 2, 3] {
        let node = cluster.node(id);
        assert_eq!(node.epoch("currentEpoch"), node.epoch("acceptedEpoch"));
        assert_eq!(node.epoch("currentEpoch"), Some(2));
    }
    drop(client);
    stop_and_compare(&mut cluster);
}

#[test]
fn five_serve_while_two_are_down() {
    let mut cluster = Cluster::start(&ClusterSetup::new(&[Z, Z, Z, Z, Z]));
    let leader = cluster.await_leader(&[1, 2, 3, 4, 5]);
    let other = if leader == 1 { 2 } else { 1 };
    cluster.node_mut(leader).kill();
    cluster.node_mut(other).kill();
    let left: Vec<usize> =
        [1, 2, 3, 4, 5].into_iter().filter(|id| *id != leader && *id != other).collect();
    cluster.await_leader(&left);
    cluster.await_serving(&left);
    let mut client = cluster.node(left[0]).client(10_000);
    create(&mut client, "/a", b"1");
    drop(client);
    cluster.start_all();
    stop_and_compare(&mut cluster);
}

#[test]
fn without_a_quorum_nobody_serves_and_words_say_so() {
    let mut cluster = Cluster::start(&three());
    let leader = cluster.await_leader(&[1, 2, 3]);
    for id in [1, 2, 3].into_iter().filter(|id| *id != leader) {
        cluster.node_mut(id).kill();
    }
    cluster.await_that("the leader steps down", || {
        cluster.node(leader).mode().is_none().then_some(())
    });
    let not_serving = "This ZooKeeper instance is not currently serving requests\n";
    for word in ["srvr", "stat", "mntr", "conf", "cons", "dump", "wchs"] {
        assert_eq!(cluster.node(leader).word(word).as_deref(), Some(not_serving), "{word}");
    }
    assert_eq!(cluster.node(leader).word("isro").as_deref(), Some("null"));
    assert_eq!(cluster.node(leader).word("ruok").as_deref(), Some("imok"));
    assert!(cluster.node(leader).try_client(4000).is_err());
    cluster.await_that("the threads of the role have ended", || {
        let names = cluster.node(leader).thread_names();
        let of_roles =
            ["ProcessThread", "SyncThread", "CommitProcessor", "SessionTracker", "Learner"];
        let is_of_role = |name: &String| of_roles.iter().any(|of| name.starts_with(of));
        (!names.is_empty() && !names.iter().any(is_of_role)).then_some(())
    });
    cluster.start_all();
    stop_and_compare(&mut cluster);
}

#[test]
fn paused_leader_is_replaced_and_follows_when_it_wakes() {
    let mut cluster = Cluster::start(&three());
    let leader = cluster.await_leader(&[1, 2, 3]);
    let others: Vec<usize> = [1, 2, 3].into_iter().filter(|id| *id != leader).collect();
    cluster.node(leader).pause();
    let next = cluster.await_leader(&others);
    retry(&cluster, &[next], |client| try_create(client, "/while-it-slept", b"1"));
    cluster.node(leader).resume();
    cluster.await_that("the old leader follows", || {
        (cluster.node(leader).mode().as_deref() == Some("follower")).then_some(())
    });
    stop_and_compare(&mut cluster);
}

#[test]
fn leader_behind_a_cut_steps_down_and_loses_what_it_could_not_commit() {
    let mut cluster = Cluster::start(&three().links());
    let leader = cluster.await_leader(&[1, 2, 3]);
    let others: Vec<usize> = [1, 2, 3].into_iter().filter(|id| *id != leader).collect();
    let mut client = cluster.node(leader).client(20_000);
    cluster.freeze(&[&[leader], &others]);
    // Whatever becomes of the connection, it is not acknowledged.
    assert!(try_create(&mut client, "/alone", b"1").is_err());
    let next = cluster.await_leader(&others);
    retry(&cluster, &[next], |client| try_create(client, "/together", b"1"));
    cluster.heal();
    cluster.await_that("the old leader follows", || {
        (cluster.node(leader).mode().as_deref() == Some("follower")).then_some(())
    });
    let mut client = cluster.node(leader).client(10_000);
    client.sync("/").unwrap();
    assert!(read(&mut client, "/together").is_some() && read(&mut client, "/alone").is_none());
    drop(client);
    stop_and_compare(&mut cluster);
}

#[test]
fn learners_are_synchronised_by_diff_snap_and_trunc() {
    let mut cluster = Cluster::prepare(&three());
    start_with_leader_3(&mut cluster);
    sync_in_every_way(&mut cluster);
}

/// Server 1 gets a DIFF and a SNAP from the leader 3; then 3 has a transaction too much, and 2 or 1
/// takes it back. Also used with Java's servers.
pub fn sync_in_every_way(cluster: &mut Cluster) {
    let mut client = cluster.node(2).client(20_000);
    create(&mut client, "/base", b"1");
    client.close().unwrap();
    // What follows has a history before it: else an empty server needs no SNAP.
    cluster.stop_all();
    start_with_leader_3(cluster);
    let mut client = cluster.node(2).client(20_000);

    cluster.node_mut(1).stop();
    create(&mut client, "/diff", b"1");
    cluster.start_node(1);
    cluster.node(1).await_log("synchronization - diff");
    cluster.await_same_zxid(&[1, 2, 3]);

    cluster.node_mut(1).stop();
    create(&mut client, "/snap", b"1");
    std::fs::remove_dir_all(cluster.node(1).version_dir()).unwrap();
    cluster.start_node(1);
    cluster.node(1).await_log("synchronization - snap");
    cluster.await_same_zxid(&[1, 2, 3]);
    client.close().unwrap();

    // TRUNC alone.
    leave_behind_in_3(cluster, "/lost");
    cluster.await_leader(&[1, 2]);
    cluster.await_serving(&[1, 2]);
    cluster.start_node(3);
    cluster.node(3).await_log("Truncating log to get in sync with the leader");
    cluster.await_same_zxid(&[1, 2, 3]);
    let mut client = cluster.node(3).client(20_000);
    assert!(read(&mut client, "/lost").is_none() && read(&mut client, "/snap").is_some());
    create(&mut client, "/after", b"1");
    client.close().unwrap();
    stop_and_compare(cluster);

    // What is to be lost is of an older epoch than what follows it in the leader's history: a TRUNC
    // does not cross epochs, so a SNAP replaces the files.
    start_with_leader_3(cluster);
    retry(cluster, &[2], |client| try_create(client, "/same-epoch", b"1"));
    leave_behind_in_3(cluster, "/lost-too");
    let next = cluster.await_leader(&[1, 2]);
    retry(cluster, &[next], |client| try_create(client, "/meanwhile", b"1"));
    let snapshots =
        |cluster: &Cluster| cluster.node(3).log().matches("Getting a snapshot from leader").count();
    let before = snapshots(cluster);
    cluster.start_node(3);
    assert_eq!(snapshots(cluster), before + 1, "{}", cluster.report());
    let mut client = cluster.node(3).client(20_000);
    client.sync("/").unwrap();
    assert!(read(&mut client, "/lost-too").is_none() && read(&mut client, "/meanwhile").is_some());
    client.close().unwrap();
    stop_and_compare(cluster);
}

#[test]
fn session_moves_between_servers_and_its_ephemerals_live_as_long_as_it() {
    let mut cluster = Cluster::start(&three());
    let mut client = cluster.node(1).client(6000);
    create_ephemeral(&mut client, "/e");
    let session = client.credentials();
    drop(client);
    let mut moved = reattach(cluster.node(2), &session, 6000).unwrap();
    assert_eq!(moved.session_id(), session.id);
    assert!(read(&mut moved, "/e").is_some());
    moved.set("/e", Some(b"moved"), -1).unwrap();
    drop(moved);
    let mut other = cluster.node(3).client(30_000);
    cluster.await_that("the session expires", || {
        other.ping().unwrap();
        read(&mut other, "/e").is_none().then_some(())
    });
    let gone = reattach(cluster.node(1), &session, 6000);
    assert!(gone.is_err());
    other.close().unwrap();
    stop_and_compare(&mut cluster);
}

/// Asks for a session on a connection of its own, without waiting for an answer.
fn ask_for(node: &Node, session: &SessionCredentials) -> TcpStream {
    let request = ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: 0,
        timeout_ms: 60_000,
        session_id: session.id.0,
        passwd: Some(Arc::from(session.passwd)),
        read_only: Some(false),
    };
    let bytes = request.to_bytes();
    let mut stream = TcpStream::connect(node.addr()).unwrap();
    stream.write_all(&[&(bytes.len() as i32).to_be_bytes()[..], &bytes].concat()).unwrap();
    stream
}

/// The leader has not said yet whether the session lives when it is asked for again.
#[test]
fn the_newest_of_two_connections_gets_the_session() {
    // So that nobody leaves the leader because it is silent.
    let mut cluster = Cluster::start(&three().tick(20_000));
    let leader = cluster.await_leader(&[1, 2, 3]);
    let follower = leader % 3 + 1;
    let client = cluster.node(leader).client(60_000);
    let session = client.credentials();
    drop(client);
    cluster.node(leader).pause();
    let mut first = ask_for(cluster.node(follower), &session);
    cluster.node(follower).await_log(&format!("Revalidating client: {}", session.id));
    let second = ask_for(cluster.node(follower), &session);
    first.set_read_timeout(Some(ELECTION_PATIENCE)).unwrap();
    let end = first.read(&mut [0; 64]).or_else(|error| match error.kind() {
        ErrorKind::ConnectionReset => Ok(0),
        _ => Err(error),
    });
    assert_eq!(end.unwrap(), 0);
    cluster.node(leader).resume();
    drop(second);
    stop_and_compare(&mut cluster);
}

#[test]
fn sessions_survive_the_leader_they_were_made_with() {
    let mut cluster = Cluster::start(&three());
    let leader = cluster.await_leader(&[1, 2, 3]);
    let mut client = cluster.node(leader).client(20_000);
    create_ephemeral(&mut client, "/e");
    let session = client.credentials();
    cluster.node_mut(leader).kill();
    let others: Vec<usize> = [1, 2, 3].into_iter().filter(|id| *id != leader).collect();
    let next = cluster.await_leader(&others);
    cluster.await_serving(&others);
    let at = others.into_iter().find(|id| *id != next).unwrap();
    let mut client = cluster.await_that("the session is taken up", || {
        reattach(cluster.node(at), &session, 20_000).ok()
    });
    assert!(read(&mut client, "/e").is_some());
    client.close().unwrap();
    cluster.start_node(leader);
    stop_and_compare(&mut cluster);
}

#[test]
fn words_tell_of_the_ensemble() {
    let cluster = Cluster::start(&three().observers(&[Z]));
    let leader = cluster.await_leader(&[1, 2, 3]);
    for id in cluster.ids() {
        let node = cluster.node(id);
        let mode = match id {
            4 => "observer",
            id if id == leader => "leader",
            _ => "follower",
        };
        assert_eq!(node.mode().as_deref(), Some(mode));
        assert_eq!(node.metric("server_state").as_deref(), Some(mode));
        assert_eq!(node.metric("quorum_size").as_deref(), Some("3"));
        let verb =
            if mode == "leader" { "leading" } else { &format!("{}ing", &mode[..mode.len() - 2]) };
        let verb = if mode == "follower" { "following" } else { verb };
        assert_eq!(node.metric("peer_state"), Some(format!("{verb} - broadcast")));
        assert_eq!(node.word("isro").as_deref(), Some("rw"));
        let conf = node.word("conf").unwrap();
        let expected = format!(
            "serverId={id}\ninitLimit=20\nsyncLimit=8\nelectionAlg=3\nelectionPort={}\n\
             quorumPort={}\npeerType={}\nmembership: \nserver.1=",
            node.election_port(),
            node.quorum_port(),
            i32::from(id == 4)
        );
        assert!(conf.contains(&expected), "{conf}");
        assert!(conf.ends_with(":observer\nversion=0"), "{conf}");
    }
}

#[test]
fn one_server_may_be_an_ensemble() {
    let setup = ClusterSetup::new(&[Z]).conf("standaloneEnabled=false");
    let mut cluster = Cluster::start(&setup);
    assert_eq!(cluster.node(1).mode().as_deref(), Some("leader"));
    let mut client = cluster.node(1).client(10_000);
    create(&mut client, "/a", b"1");
    client.close().unwrap();
    cluster.restart(1);
    assert_eq!(cluster.node(1).zxid().map(Zxid::epoch), Some(2));
    let mut client = cluster.node(1).client(10_000);
    assert!(read(&mut client, "/a").is_some());
}

#[test]
fn groups_decide_by_majorities_of_majorities() {
    let mut setup = ClusterSetup::new(&[Z; 6]);
    for group in ["1:2", "3:4", "5:6"] {
        setup = setup.group(group);
    }
    let mut cluster = Cluster::start(&setup);
    // Two of three groups, each whole.
    let leader = cluster.await_leader(&[1, 2, 3, 4, 5, 6]);
    let group = |id: usize| (id - 1) / 2;
    let away: Vec<usize> = (1..=6).filter(|id| group(*id) == group(leader)).collect();
    for id in &away {
        cluster.node_mut(*id).kill();
    }
    let left: Vec<usize> = (1..=6).filter(|id| !away.contains(id)).collect();
    let leader = cluster.await_leader(&left);
    cluster.await_serving(&left);
    let mut client = cluster.node(leader).client(10_000);
    create(&mut client, "/a", b"1");
    // A third server away breaks one of the two groups.
    let other = left.into_iter().find(|id| *id != leader).unwrap();
    cluster.node_mut(other).kill();
    cluster.await_that("the leader steps down", || {
        cluster.node(leader).mode().is_none().then_some(())
    });
    cluster.start_all();
    stop_and_compare(&mut cluster);
}

#[test]
fn an_empty_server_without_the_mark_neither_votes_nor_leads() {
    let mut cluster = Cluster::prepare(&three().conf("db.autocreate=false"));
    let mark = |id| cluster.node(id).data_dir().join("initialize");
    let marks = [mark(1), mark(2)];
    for mark in &marks {
        std::fs::write(mark, "").unwrap();
    }
    cluster.start_all();
    // Its id is the largest, and its history is none.
    assert_eq!(cluster.node(3).mode().as_deref(), Some("follower"));
    assert!(marks.iter().all(|mark| !mark.exists()));
    create(&mut cluster.node(3).client(10_000), "/a", b"1");
    // Now it has one.
    cluster.stop_all();
    cluster.start_all();
    stop_and_compare(&mut cluster);
}

#[test]
fn a_leader_may_serve_nobody() {
    let setup = three().conf("leaderServes=no").conf("quorumListenOnAllIPs=true");
    let mut cluster = Cluster::prepare(&setup);
    [1, 2, 3].into_iter().for_each(|id| cluster.spawn(id));
    let is_follower = |id: &usize| cluster.node(*id).mode().as_deref() == Some("follower");
    let leader = cluster.await_that("two follow", || {
        let (followers, others): (Vec<usize>, _) = [1, 2, 3].into_iter().partition(is_follower);
        (followers.len() == 2).then(|| others[0])
    });
    let not_serving = "This ZooKeeper instance is not currently serving requests\n";
    assert_eq!(cluster.node(leader).word("srvr").as_deref(), Some(not_serving));
    assert!(cluster.node(leader).try_client(4000).is_err());
    let followers: Vec<usize> = [1, 2, 3].into_iter().filter(|id| *id != leader).collect();
    for id in &followers {
        create(&mut cluster.node(*id).client(10_000), &format!("/by{id}"), b"");
    }
    cluster.await_same_zxid(&followers);
    cluster.stop_all();
    let digests = [1, 2, 3].map(|id| cluster.node(id).restored().digest);
    assert!(digests.iter().all(|digest| *digest == digests[0]), "{digests:?}");
}

/// It would wait for its followers until `initLimit`; they look in the next round, and come back to
/// none that has no quorum.
fn leader_is_left_before_its_epoch(setup: ClusterSetup) {
    if !setup.is_possible() {
        return;
    }
    let mut cluster = Cluster::prepare(&setup);
    cluster.cut_quorum_ports(true);
    cluster.ids().for_each(|id| cluster.spawn(id));
    cluster.node(3).await_log("Quit leading: without those that look for a leader again");
    cluster.cut_quorum_ports(false);
    cluster.await_serving(&[1, 2, 3]);
}

#[test]
fn a_leader_that_is_left_before_its_epoch_begins_gives_up_at_once() {
    // `initLimit` is longer than this test is patient.
    leader_is_left_before_its_epoch(three().links().tick(4_000));
}

#[test]
fn a_leader_that_javas_servers_left_before_its_epoch_begins_gives_up_at_once() {
    // A leader of Java's that is elected meanwhile does wait.
    leader_is_left_before_its_epoch(ClusterSetup::new(&[J, J, Z]).links());
}
