//! What goes over the connections, seen by a server made of plain sockets.

use super::raw::*;
use super::*;

fn started(sid: i64, config: &str) -> (Node, Outcome) {
    let node = Node::start(TestPeer::new(sid, config).with(0x1_0000_0002, 1));
    let outcome = node.look();
    (node, outcome)
}

#[test]
fn the_server_with_the_larger_id_keeps_the_connection() {
    let network = Network::new();
    let config = network.config(&[1, 2, 3], &[]);
    let (one, three) = (listen(network, 1), listen(network, 3));
    let (_node, _outcome) = started(2, &config);
    let own = format!("{}:{ELECTION_PORT}", network.host(2));

    // To the smaller one it says hello and goes on.
    let kept = accept(&one);
    assert_eq!(read_hello(&kept), (V1, 2, own.clone()));
    let (state, vote, text) = read_notification(&kept);
    assert_eq!((state, vote), (0, [2, 0x1_0000_0002, 1, 1]));
    assert_eq!(text, format!("{config}version=0"));

    // To the larger one only hello; that one is to connect.
    let dropped = accept(&three);
    assert_eq!(read_hello(&dropped), (V1, 2, own));
    assert!(is_closed(&dropped, PATIENCE));
    let back = connect(network, 2);
    write(&back, &hello(V1, 3, &format!("{}:{ELECTION_PORT}", network.host(3))));
    assert_eq!(read_notification(&back).1, [2, 0x1_0000_0002, 1, 1]);

    // A smaller one that connects is connected to.
    for first in [
        hello(V1, 1, &format!("{}:{ELECTION_PORT}", network.host(1))),
        hello(V2, 1, &format!("{}:1|{0}:{ELECTION_PORT}", network.host(1))),
        hello(V1, 1, "0.0.0.0:3888"),
        1i64.to_be_bytes().to_vec(),
    ] {
        let asked = connect(network, 2);
        write(&asked, &first);
        assert!(is_closed(&asked, PATIENCE));
        let answered = accept(&one);
        assert_eq!(read_hello(&answered).1, 2);
        // The last message comes again.
        assert_eq!(read_notification(&answered).1, [2, 0x1_0000_0002, 1, 1]);
    }
    assert!(is_closed(&kept, PATIENCE), "the connection before is given up");
}

/// A server asks to be connected to while we still try an address where it does not answer.
#[test]
fn a_server_that_asks_is_connected_to_after_the_attempt_under_way() {
    let network = Network::new();
    let config = network.config(&[1, 2, 3], &[]);
    let _dead = listen_to_nobody(network, 1);
    let mut peer = TestPeer::new(2, &config);
    peer.settings.cnx_timeout_ms = 1000;
    // No other notification makes it try again.
    peer.settings.min_notification_interval_ms = 60_000;
    let node = Node::start(peer);
    let _outcome = node.look();
    let elsewhere = listen(network, 8);
    let asked = connect(network, 2);
    write(&asked, &hello(V1, 1, &format!("{}:{ELECTION_PORT}", network.host(8))));
    assert!(is_closed(&asked, PATIENCE));
    assert_eq!(read_hello(&accept(&elsewhere)).1, 2);
}

/// The system closes the sockets of a killed process one after the other. Connections that it still
/// takes tell nothing; that nobody listens any more does, and it is to be found out soon.
#[test]
fn a_server_that_is_being_killed_is_tried_again_until_it_has_gone() {
    for dying in [1, 3] {
        let network = Network::new();
        let listener = listen(network, dying);
        let mut peer = TestPeer::new(2, &network.config(&[1, 2, 3], &[]));
        // No other notification makes it try again.
        peer.settings.min_notification_interval_ms = 60_000;
        let node = Node::start(peer);
        let _outcome = node.look();
        for _ in 0..3 {
            let taken = accept(&listener);
            socket2::SockRef::from(&taken).set_linger(Some(Duration::ZERO)).unwrap();
        }
    }
}

#[test]
fn hello_names_all_addresses_if_that_is_enabled() {
    let network = Network::new();
    let one = listen(network, 1);
    let config = format!(
        "server.1={}:1:{ELECTION_PORT}\nserver.2={}:1:{ELECTION_PORT}|{}:1:{ELECTION_PORT}\n",
        network.host(1),
        network.host(2),
        network.host(4)
    );
    let mut peer = TestPeer::new(2, &config);
    peer.settings.multi_address_enabled = true;
    let node = Node::start(peer);
    let _outcome = node.look();
    let both = format!("{}:{ELECTION_PORT}|{}:{ELECTION_PORT}", network.host(2), network.host(4));
    assert_eq!(read_hello(&accept(&one)), (V2, 2, both));
    // And it listens on both.
    connect(network, 4);
}

#[test]
fn notifications_are_resent_at_growing_intervals_and_the_newest_counts() {
    let network = Network::new();
    let config = network.config(&[1, 2, 3], &[]);
    let one = listen(network, 1);
    let (_node, _outcome) = started(2, &config);
    let kept = accept(&one);
    read_hello(&kept);
    for _ in 0..3 {
        assert_eq!(read_notification(&kept).1, [2, 0x1_0000_0002, 1, 1]);
    }
    // A better vote is taken over at once.
    let better = notification(0, [3, 0x1_0000_0009, 1, 1], &config);
    write(&kept, &better);
    let taken = (0..10).find(|_| read_notification(&kept).1 == [3, 0x1_0000_0009, 1, 1]);
    assert!(taken.is_some());
    // A connection breaks: the last message comes again over the next one.
    drop(kept);
    let asked = connect(network, 2);
    write(&asked, &hello(V1, 1, &format!("{}:{ELECTION_PORT}", network.host(1))));
    let again = accept(&one);
    read_hello(&again);
    assert_eq!(read_notification(&again).1, [3, 0x1_0000_0009, 1, 1]);
}

/// All forms of notifications elect.
#[test]
fn votes_of_all_versions_count() {
    for form in ["28", "40", "1", "2"] {
        let network = Network::new();
        let config = network.config(&[1, 2, 3], &[]);
        let (_node, outcome) = started(2, &config);
        let back = connect(network, 2);
        write(&back, &hello(V1, 3, &format!("{}:{ELECTION_PORT}", network.host(3))));
        assert_eq!(read_notification(&back).0, 0);
        // For the same leader as the other one, of the same round; the epoch is that of the zxid.
        let whole = notification(0, [3, 0x1_0000_0009, 1, 1], &config);
        let bytes = match form {
            "28" => framed(&whole[4..32]),
            "40" => framed(&whole[4..44]),
            "1" => {
                let mut version_1 = whole[4..].to_vec();
                version_1[39] = 1;
                framed(&version_1)
            }
            _ => whole,
        };
        write(&back, &bytes);
        assert_eq!(outcome.leader(), 3, "form {form}");
    }
}

#[test]
fn who_has_decided_answers_the_looking_and_the_strangers() {
    let network = Network::new();
    let config = network.config(&[1, 2, 3], &[5]);
    let nodes = [Node::start(TestPeer::new(1, &config)), Node::start(TestPeer::new(2, &config))];
    let outcomes = [nodes[0].look(), nodes[1].look()];
    assert_eq!([outcomes[0].leader(), outcomes[1].leader()], [2, 2]);
    let round = nodes[0].peer.current_vote().election_epoch;
    // What the synchronisation does to the vote.
    for node in &nodes {
        let vote = node.peer.current_vote().with_peer_epoch(1);
        node.peer.set_current_vote(vote);
    }
    // A voter, an observer of the configuration, and a server that is in no configuration.
    for sid in [3, 5, 77] {
        for (to, state) in [(1, 1), (2, 2)] {
            let stream = connect(network, to);
            write(&stream, &hello(V1, sid, "h:1"));
            write(&stream, &notification(0, [sid, 0, 1, 0], &config));
            // What was said last, before the epoch was known, may come first.
            let expected = (state, [2, 0, round, 1]);
            let answer = (0..100).map(|_| read_notification(&stream));
            let mut answer = answer.map(|(state, vote, _)| (state, vote));
            assert!(answer.any(|answer| answer == expected), "{sid} asks {to}");
        }
    }
    // The first may still have been looking when the second had decided.
    let mut looking = nodes[1].peer.looking.lock().clone();
    looking.retain(|sid| *sid != ServerId(1));
    assert_eq!(looking, [ServerId(3)]);
}
