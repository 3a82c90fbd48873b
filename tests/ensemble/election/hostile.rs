//! Connections that mean no good: none of them stops an election, takes memory or a thread for long.

use std::net::TcpStream;
use std::time::Duration;

use zabkeeper::common::thread;

use super::raw::*;
use super::*;
use crate::support::wait_until;

/// Two of three servers, the third being the enemy.
fn victims() -> (Network, String, [Node; 2]) {
    let network = Network::new();
    let config = network.config(&[1, 2, 3], &[]);
    let nodes = [Node::start(TestPeer::new(1, &config)), Node::start(TestPeer::new(2, &config))];
    (network, config, nodes)
}

fn check_they_elect(nodes: &[Node; 2]) {
    let outcomes = [nodes[0].look(), nodes[1].look()];
    assert_eq!([outcomes[0].leader(), outcomes[1].leader()], [2, 2]);
}

#[test]
fn silent_connections_do_not_keep_others_out() {
    let (network, _, nodes) = victims();
    let silent: Vec<TcpStream> = (0..300).map(|n| connect(network, 1 + n % 2)).collect();
    check_they_elect(&nodes);
    // Too many are dropped, the oldest first.
    assert!(is_closed(&silent[0], PATIENCE));
    let last = silent.last().unwrap();
    write(last, &hello(V1, 3, "h:1"));
    write(last, &notification(0, [3, 0, 1, 0], ""));
    assert!((0..100).any(|_| read_notification(last).0 != 0));
}

#[test]
fn whoever_says_half_a_hello_is_dropped_in_time() {
    let network = Network::new();
    let mut peer = TestPeer::new(1, &network.config(&[1, 2], &[]));
    peer.settings.socket_timeout_ms = 300;
    let _node = Node::start(peer);
    for part in [0, 5, 8, 19, 21] {
        let stream = connect(network, 1);
        write(&stream, &hello(V1, 2, "host:3888")[..part]);
        assert!(is_closed(&stream, PATIENCE), "{part}");
    }
}

#[test]
fn hellos_that_are_none_are_closed_at_once() {
    let (network, _, nodes) = victims();
    let huge = |length: i32| {
        let mut bytes = hello(V1, 3, "");
        bytes[16..20].copy_from_slice(&length.to_be_bytes());
        bytes
    };
    let cases: Vec<(&str, Vec<u8>)> = vec![
        ("text", b"GET / HTTP/1.1\r\n\r\n".to_vec()),
        ("unknown version", hello(-1, 3, "h:1")),
        ("smallest version", hello(i64::MIN, 3, "h:1")),
        ("no addresses", huge(0)),
        ("negative length", huge(-1)),
        ("length of 2 GiB", huge(i32::MAX)),
        ("2049 bytes", huge(2049)),
        ("no port", hello(V1, 3, "host")),
        ("no bracket", hello(V2, 3, "[::1:3888")),
        ("port out of range", hello(V1, 3, "h:99999")),
        ("no UTF-8", {
            let mut bytes = hello(V1, 3, "hhhh");
            bytes[20] = 0xff;
            bytes
        }),
        ("our own id", hello(V1, 1, "h:1")),
        ("an observer without an id", hello(V1, i64::MAX, "h:1")),
    ];
    for (name, bytes) in cases {
        let stream = connect(network, 1);
        write(&stream, &bytes);
        // Text begins like an old server's id, a large one, and is then no message.
        let limit = if name == "text" { Duration::from_secs(1) } else { PATIENCE };
        let closed = is_closed(&stream, limit);
        assert!(closed || name == "text", "{name}");
    }
    check_they_elect(&nodes);
}

#[test]
fn messages_that_are_none_end_their_connection_only() {
    let (network, config, nodes) = victims();
    let hi = || hello(V1, 3, "h:1");
    for length in [0, -1, i32::MIN, i32::MAX, 512 * 1024 + 1] {
        let stream = connect(network, 1);
        write(&stream, &hi());
        write(&stream, &length.to_be_bytes());
        assert!(is_closed(&stream, PATIENCE), "{length}");
    }
    // Whole messages that say nothing are skipped; the connection stays.
    let stream = connect(network, 1);
    write(&stream, &hi());
    let lie = |length: i32| {
        let mut bytes = notification(0, [3, 0, 0, 0], &config);
        bytes[44..48].copy_from_slice(&length.to_be_bytes());
        bytes
    };
    for bytes in [
        framed(b"x"),
        framed(&[0; 27]),
        framed(&[0xff; 39]),
        framed(&[0xff; 41]),
        framed(&[0xff; 4096]),
        lie(-1),
        lie(i32::MAX),
        notification(77, [3, 0, 1, 0], &config),
        // Of a round that is over, or it would be a vote like any other.
        notification(0, [3, 0, 0, 0], "no configuration at all"),
        notification(0, [3, 0, 0, 0], "server.1=x\nversion=ffffffffffffffff"),
        notification(0, [i64::MIN, i64::MIN, i64::MIN, i64::MIN], &config),
    ] {
        write(&stream, &bytes);
    }
    check_they_elect(&nodes);
    write(&stream, &notification(0, [3, 0, 1, 0], &config));
    let answer = (0..100).map(|_| read_notification(&stream)).find(|answer| answer.0 != 0);
    assert_eq!(answer.unwrap().1[0], 2);
}

#[test]
fn a_message_that_never_ends_holds_only_what_has_come() {
    let (network, _, nodes) = victims();
    let endless: Vec<TcpStream> = (0..20)
        .map(|n| {
            let stream = connect(network, 1);
            write(&stream, &hello(V1, 1000 + n, "h:1"));
            write(&stream, &(512i32 * 1024).to_be_bytes());
            stream
        })
        .collect();
    check_they_elect(&nodes);
    drop(endless);
}

#[test]
fn unknown_servers_are_few_and_forgotten() {
    let (network, config, nodes) = victims();
    let workers = || {
        let count = |name: &str| name.starts_with("RecvWorker:70000");
        thread::running().iter().filter(|thread| count(&thread.name)).count()
    };
    let strangers: Vec<TcpStream> = (0..200)
        .map(|n| {
            let stream = connect(network, 1);
            write(&stream, &hello(V1, 70_000_000 + n, "h:1"));
            stream
        })
        .collect();
    // The first are served, as servers that are about to join must be.
    write(&strangers[0], &notification(0, [3, 0, 1, 0], &config));
    assert_eq!(read_notification(&strangers[0]).1[0], 1);
    assert!(is_closed(strangers.last().unwrap(), PATIENCE));
    assert!((1..=32).contains(&workers()), "{}", workers());
    check_they_elect(&nodes);
    drop(strangers);
    assert!(wait_until(PATIENCE, || (workers() == 0).then_some(())).is_some());
}

#[test]
fn a_flood_of_notifications_is_survived() {
    let (network, config, nodes) = victims();
    let flood = connect(network, 1);
    write(&flood, &hello(V1, 3, "h:1"));
    // Of a round that is over, so that the election does not depend on it; the answers are not read.
    let one = notification(0, [3, 0, 0, 0], &config);
    for _ in 0..2000 {
        write(&flood, &one);
    }
    check_they_elect(&nodes);
}

/// Strangers ask to be connected to where nobody answers.
#[test]
fn attempts_to_reach_strangers_leave_room_for_members() {
    let network = Network::new();
    let config = network.config(&[1, 2], &[]);
    let _nobody = listen_to_nobody(network, 9);
    let mut peer = TestPeer::new(2, &config);
    peer.settings.cnx_timeout_ms = i32::MAX;
    let two = Node::start(peer);
    for n in 0..40 {
        let stream = connect(network, 2);
        let there = format!("{}:{ELECTION_PORT}", network.host(9));
        write(&stream, &hello(V1, -100 - n, &there));
        assert!(is_closed(&stream, PATIENCE));
    }
    let one = Node::start(TestPeer::new(1, &config));
    check_they_elect(&[one, two]);
}

/// Somebody pretends to be server 1 and to be elsewhere: the connection to the real one stays.
#[test]
fn a_false_hello_does_not_break_a_connection() {
    let network = Network::new();
    let config = network.config(&[1, 2, 3], &[]);
    let one = listen(network, 1);
    let node = Node::start(TestPeer::new(2, &config));
    let _outcome = node.look();
    let kept = accept(&one);
    read_hello(&kept);
    read_notification(&kept);
    drop(one);
    for _ in 0..10 {
        let stream = connect(network, 2);
        write(&stream, &hello(V1, 1, &format!("{}:1", network.host(9))));
        assert!(is_closed(&stream, PATIENCE));
    }
    write(&kept, &notification(0, [3, 9, 1, 9], &config));
    assert!((0..10).any(|_| read_notification(&kept).1[0] == 3));
}
