//! Several of ours.

use std::time::Duration;

use zabkeeper::common::exit_code::ExitCode;
use zabkeeper::common::thread;
use zabkeeper::compare::port::Port;

use super::*;
use crate::support::wait_until;

/// How long a follower tries to reach its leader.
const FINDS_NOBODY: Duration = Duration::from_secs(2);

fn ensemble(config: &str, sids: &[i64]) -> Vec<Node> {
    sids.iter().map(|sid| Node::start(TestPeer::new(*sid, config))).collect()
}

/// Whom they elect, all at the same time.
fn leaders(nodes: &[Node]) -> Vec<i64> {
    nodes.iter().for_each(|node| node.peer.set_server_state(ServerState::Looking));
    std::thread::scope(|scope| {
        let voters: Vec<_> =
            nodes.iter().map(|node| scope.spawn(move || leader_of(node, nodes))).collect();
        voters.into_iter().map(|voter| voter.join().unwrap()).collect()
    })
}

/// As a server does it: who hears late of an older election may follow its leader, which looks for
/// another one by now, and then looks again.
fn leader_of(node: &Node, nodes: &[Node]) -> i64 {
    loop {
        let leader = node.look().leader();
        let elected = nodes.iter().find(|other| other.peer.my_id().0 == leader);
        let leads = |elected: &Node| (elected.state() == ServerState::Leading).then_some(());
        if elected.is_none_or(|elected| wait_until(FINDS_NOBODY, || leads(elected)).is_some()) {
            return leader;
        }
    }
}

#[test]
fn three_elect_the_largest_id_and_each_knows_its_part() {
    let config = Network::new().config(&[1, 2, 3], &[]);
    let nodes = ensemble(&config, &[1, 2, 3]);
    assert_eq!(leaders(&nodes), [3, 3, 3]);
    let states: Vec<ServerState> = nodes.iter().map(Node::state).collect();
    assert_eq!(states, [ServerState::Following, ServerState::Following, ServerState::Leading]);
    // Again, on the connections that are there.
    assert_eq!(leaders(&nodes), [3, 3, 3]);
}

#[test]
fn the_better_history_wins_whatever_the_id() {
    let config = Network::new().config(&[1, 2, 3], &[]);
    let nodes = [
        Node::start(TestPeer::new(1, &config).with(0x2_0000_0001, 2)),
        Node::start(TestPeer::new(2, &config).with(0x1_0000_0009, 2)),
        Node::start(TestPeer::new(3, &config).with(0x1_0000_0009, 1)),
    ];
    assert_eq!(leaders(&nodes), [1, 1, 1]);
}

#[test]
fn late_comers_join_whatever_their_id_and_round() {
    let config = Network::new().config(&[1, 2, 3, 4, 5], &[]);
    let nodes = ensemble(&config, &[2, 3, 4]);
    assert_eq!(leaders(&nodes), [4, 4, 4]);
    let late = ensemble(&config, &[1, 5]);
    assert_eq!(leaders(&late), [4, 4]);
    let state = late.iter().map(Node::state).collect::<Vec<_>>();
    assert_eq!(state, [ServerState::Following; 2]);
}

#[test]
fn an_observer_learns_who_leads() {
    let config = Network::new().config(&[1, 2], &[3, 4]);
    let nodes = ensemble(&config, &[1, 2, 4]);
    assert_eq!(leaders(&nodes), [2, 2, 2]);
    assert_eq!(nodes[2].state(), ServerState::Observing);
    let late = ensemble(&config, &[3]);
    assert_eq!(leaders(&late), [2]);
    assert_eq!(late[0].state(), ServerState::Observing);
}

#[test]
fn a_restarted_server_is_found_again() {
    let config = Network::new().config(&[1, 2, 3], &[]);
    let mut nodes = ensemble(&config, &[1, 2, 3]);
    assert_eq!(leaders(&nodes), [3, 3, 3]);
    for restarted in [2, 0, 2, 0] {
        let sid = nodes[restarted].peer.my_id.0;
        nodes[restarted].election.shutdown();
        // Without its leader the rest elects another one.
        if nodes[1].state() == ServerState::Following {
            assert_eq!(leaders(&nodes[..2]), [2, 2]);
        }
        nodes[restarted] = Node::start(TestPeer::new(sid, &config));
        assert_eq!(nodes[restarted].look().leader(), 2);
    }
}

#[test]
fn nobody_is_elected_without_a_quorum() {
    let config = Network::new().config(&[1, 2, 3], &[]);
    let node = Node::start(TestPeer::new(3, &config));
    let outcome = node.look();
    assert!(outcome.wait_for(Duration::from_millis(700)).is_none());
    node.election.shutdown();
    assert_eq!(outcome.wait(), None);
}

#[test]
fn a_single_voter_elects_itself_at_once() {
    let config = Network::new().config(&[1], &[]);
    assert_eq!(leaders(&ensemble(&config, &[1])), [1]);
}

#[test]
fn a_server_with_several_addresses_is_found_at_one_that_works() {
    let network = Network::new();
    let own = |sid| format!("{}:{QUORUM_PORT}:{ELECTION_PORT}", network.host(sid));
    // Nobody is at 9 and at the name; 8 is another address of server 2.
    let config = format!(
        "server.1={}\nserver.2=no.such.host.invalid:{QUORUM_PORT}:{ELECTION_PORT}|{}:1:2|{}\n",
        own(1),
        network.host(9),
        own(8)
    );
    let two = format!("server.1={}\nserver.2={}\n", own(1), own(8));
    let mut first = TestPeer::new(1, &config);
    first.settings.multi_address_enabled = true;
    let nodes = [Node::start(first), Node::start(TestPeer::new(2, &two))];
    assert_eq!(leaders(&nodes), [2, 2]);
}

#[test]
fn servers_find_each_other_by_ipv6() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("skipped: there is no IPv6 here");
        return;
    }
    let ports = [(); 2].map(|()| Port::claim().unwrap());
    let [one, two] = ports.each_ref().map(Port::number);
    let config = format!("server.1=[::1]:1:{one}\nserver.2=[::1]:1:{two}\n");
    assert_eq!(leaders(&ensemble(&config, &[1, 2])), [2, 2]);
}

#[test]
fn all_addresses_can_be_listened_on() {
    let config = Network::new().config(&[1, 2], &[]);
    let port = Port::claim().unwrap();
    let config = config.replacen(&ELECTION_PORT.to_string(), &port.number().to_string(), 1);
    let mut first = TestPeer::new(1, &config);
    first.settings.quorum_listen_on_all_ips = true;
    let nodes = [Node::start(first), Node::start(TestPeer::new(2, &config))];
    assert_eq!(leaders(&nodes), [2, 2]);
    assert!(std::net::TcpStream::connect(port.addr()).is_ok());
}

#[test]
fn a_server_that_cannot_bind_its_port_says_so_with_javas_code() {
    let network = Network::new();
    let taken = std::net::TcpListener::bind((network.host(1), ELECTION_PORT)).unwrap();
    let mut peer = TestPeer::new(1, &network.config(&[1, 2], &[]));
    peer.settings.election_port_bind_retry = 1;
    let node = Node::start(peer);
    let deaths = Arc::clone(&node.peer.deaths);
    let death = wait_until(PATIENCE, || deaths.0.lock().first().cloned()).unwrap();
    assert_eq!(death.1, ExitCode::UnableToBindQuorumPort);
    drop(taken);
}

#[test]
fn a_port_that_becomes_free_is_taken() {
    let network = Network::new();
    let taken = std::net::TcpListener::bind((network.host(1), ELECTION_PORT)).unwrap();
    let config = network.config(&[1, 2], &[]);
    let mut peer = TestPeer::new(1, &config);
    peer.settings.election_port_bind_retry = 0;
    let nodes = [Node::start(peer), Node::start(TestPeer::new(2, &config))];
    drop(taken);
    assert_eq!(leaders(&nodes), [2, 2]);
}

#[test]
fn a_shutdown_leaves_no_thread_behind() {
    // These ids are this test's alone.
    let config = Network::new().config(&[91, 92, 93], &[]);
    let names = || -> Vec<String> {
        let is_ours = |name: &str| {
            name.ends_with(":91")
                || name.ends_with(":92")
                || name.contains("[myid=91]")
                || name.contains("[myid=92]")
        };
        let running = thread::running().into_iter().map(|thread| thread.name.to_string());
        running.filter(|name| is_ours(name)).collect()
    };
    let nodes = ensemble(&config, &[91, 92]);
    assert_eq!(leaders(&nodes), [92, 92]);
    assert!(names().len() >= 6, "{:?}", names());
    let outcome = nodes[0].look();
    nodes.iter().for_each(|node| node.election.shutdown());
    assert_eq!(names(), Vec::<String>::new());
    outcome.wait();
    nodes[0].election.shutdown();
    assert_eq!(nodes[0].election.look_for_leader(), None);
}

#[test]
fn a_newer_configuration_is_offered_and_may_end_the_election() {
    let config = Network::new().config(&[1, 2, 3], &[]);
    let newer = format!("{config}version=5\n");
    let mut peer = TestPeer::new(1, &config);
    peer.adopts_configs = true;
    let node = Node::start(peer);
    let outcome = node.look();
    let other = Node::start(TestPeer::new(2, &newer));
    let others = other.look();
    assert_eq!(outcome.wait(), None);
    assert_eq!(node.peer.configs.lock().first(), Some(&5));
    other.election.shutdown();
    others.wait();
    // Whoever does not adopt it goes on, and elects.
    let nodes = [Node::start(TestPeer::new(3, &config)), Node::start(TestPeer::new(2, &newer))];
    assert_eq!(leaders(&nodes), [3, 3]);
    assert_eq!(nodes[0].peer.configs.lock().first(), Some(&5));
}
