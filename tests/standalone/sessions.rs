//! Sessions: handshakes, ids and passwords, expiry, re-attachment, closing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use zabkeeper::jute::{Jute, OutputExt};
use zabkeeper::proto::messages::ConnectRequest;
use zabkeeper::proto::{Acl, OpCode};

use crate::support::peer::create;
use crate::support::wire::{Received, new_session, old_session, request_frame};
use crate::support::{PATIENCE, wait_until};
use crate::{PLAIN, QUICK, story};

/// `java.util.Random(id ^ 0xB3415C00).nextBytes(16)`, written out once more.
fn java_random_bytes(id: i64) -> [u8; 16] {
    const MULTIPLIER: u64 = 0x5_DEEC_E66D;
    const MASK: u64 = (1 << 48) - 1;
    let mut seed = (id as u64 ^ 0xB341_5C00 ^ MULTIPLIER) & MASK;
    let mut bytes = [0; 16];
    for chunk in bytes.chunks_exact_mut(4) {
        seed = seed.wrapping_mul(MULTIPLIER).wrapping_add(0xB) & MASK;
        chunk.copy_from_slice(&((seed >> 16) as u32).to_le_bytes());
    }
    bytes
}

story!(b11_session_password_is_java_random on PLAIN, |s| {
    let a = s.client("a");
    let b = s.client("b");
    for peer in [&a, &b] {
        assert_eq!(peer.passwd, java_random_bytes(peer.id), "{:#x}", peer.id);
    }
    s.note(format!("server id {}", a.id >> 56));
    s.note(format!("the next id follows: {}", b.id - a.id));
    let clock = (a.id << 8 >> 8) >> 16;
    s.note(format!("the counter's low bits are {} free", if clock > 0 { "not" } else { "quite" }));
});

story!(b29_connect_request_with_and_without_the_read_only_byte on PLAIN, |s| {
    for read_only in [None, Some(false), Some(true)] {
        let mut wire = s.raw();
        let request = ConnectRequest { read_only, ..new_session(5000) };
        wire.send_frame(&request.to_bytes());
        let Received::Frame(frame) = wire.receive() else { panic!("an answer") };
        s.note(format!("{read_only:?}: {} bytes, {:02x?}", frame.len(), &frame[..8]));
        s.note(format!("the tail: {:02x?}", &frame[36..]));
        wire.send(1, OpCode::CloseSession.as_i32(), &[]);
        s.note(format!("then {} bytes", wire.packet().body.len()));
    }
});

story!(connect_request_variants on PLAIN, |s| {
    let variants = [
        ("protocol 7", ConnectRequest { protocol_version: 7, ..new_session(5000) }),
        ("protocol -1", ConnectRequest { protocol_version: -1, ..new_session(5000) }),
        ("null password", ConnectRequest { passwd: None, ..new_session(5000) }),
        ("empty password", ConnectRequest { passwd: Some(Arc::from([])), ..new_session(5000) }),
        ("long password", ConnectRequest { passwd: Some(Arc::from([1; 99])), ..new_session(5000) }),
        ("zxid -1", ConnectRequest { last_zxid_seen: -1, ..new_session(5000) }),
    ];
    for (what, request) in variants {
        s.note(what);
        if let Some(mut a) = s.connect("a", &request) {
            a.exists("/t", false);
            a.close();
        }
    }
    s.note("trailing bytes");
    let mut wire = s.raw();
    let mut bytes = new_session(5000).to_bytes();
    bytes.extend([9; 40]);
    wire.send_frame(&bytes);
    let Received::Frame(frame) = wire.receive() else { panic!("an answer") };
    s.note(format!("{} bytes", frame.len()));
    wire.send(1, OpCode::CloseSession.as_i32(), &[]);
    wire.packet();
});

story!(b24_replies_come_in_order_of_requests on PLAIN, |s| {
    let mut a = s.client("a");
    a.create("/t/n", "", 0);
    let mut bytes = Vec::new();
    for n in 0..200 {
        let (op, body) = if n % 3 == 0 {
            let mut body = "/t/n".to_owned().to_bytes();
            body.put_bytes(Some(n.to_string().as_bytes()));
            body.put_i32(-1);
            (OpCode::SetData, body)
        } else {
            let mut body = "/t/n".to_owned().to_bytes();
            body.put_bool(false);
            (OpCode::GetData, body)
        };
        let frame = request_frame(1000 + n, op.as_i32(), &body);
        bytes.put_bytes(Some(&frame));
    }
    a.wire.send_raw(&bytes);
    for n in 0..200 {
        let packet = a.wire.packet();
        assert_eq!(packet.header.xid, 1000 + n);
        assert_eq!(packet.header.err, 0);
        if n % 3 != 0 {
            // A read sees the last write before it, and none behind.
            let wanted = (n - n % 3).to_string();
            assert_eq!(&packet.body[4..4 + wanted.len()], wanted.as_bytes(), "read {n}");
        }
    }
    a.get("/t/n", false);
});

story!(reads_of_other_sessions_do_not_wait_for_a_pipeline on PLAIN, |s| {
    let mut a = s.client("a");
    let mut b = s.client("b");
    a.create("/t/n", "", 0);
    for _ in 0..3 {
        let body = create("/t/n/s-", "x", Acl::open_unsafe(), 2).to_bytes();
        for n in 0..100 {
            a.wire.send(5000 + n, OpCode::Create.as_i32(), &body);
        }
        b.wire.send(1, OpCode::Exists.as_i32(), &{
            let mut body = "/t".to_owned().to_bytes();
            body.push(0);
            body
        });
        assert_eq!(b.wire.packet().header.xid, 1);
        for n in 0..100 {
            assert_eq!(a.wire.packet().header.xid, 5000 + n);
        }
    }
    a.all_children_number("/t/n");
});

story!(b19_close_takes_ephemerals_that_are_still_on_their_way on PLAIN, |s| {
    let mut a = s.client("a");
    let mut b = s.client("b");
    let create_e = |path: &str| create(path, "", Acl::open_unsafe(), 1).to_bytes();
    let mut bytes = Vec::new();
    bytes.put_bytes(Some(&request_frame(1, 1, &create_e("/t/e1"))));
    bytes.put_bytes(Some(&request_frame(2, 1, &create_e("/t/e2"))));
    bytes.put_bytes(Some(&request_frame(3, OpCode::CloseSession.as_i32(), &[])));
    a.wire.send_raw(&bytes);
    for xid in 1..=3 {
        let packet = a.wire.packet();
        assert_eq!(packet.header.xid, xid);
        s.note(format!("xid {xid}: {}", packet.header.err));
    }
    a.expect_closed();
    b.children("/t", false);
    let (id, passwd) = (a.id, a.passwd);
    s.connect("late", &old_session(id, &passwd, 5000));
});

// Whether a late request is still answered, with -112, is a matter of chance in Java.
story!(requests_behind_a_close_have_no_effect on PLAIN, |s| {
    let mut a = s.client("a");
    let mut bytes = Vec::new();
    bytes.put_bytes(Some(&request_frame(1, OpCode::CloseSession.as_i32(), &[])));
    let late = create("/t/late", "", Acl::open_unsafe(), 0).to_bytes();
    bytes.put_bytes(Some(&request_frame(2, OpCode::Create.as_i32(), &late)));
    a.wire.send_raw(&bytes);
    s.note(format!("xid {}", a.wire.packet().header.xid));
    loop {
        match a.wire.receive() {
            Received::Frame(frame) => assert_eq!(frame[12..16], (-112i32).to_be_bytes()),
            Received::Closed => break,
            Received::Nothing => panic!("not closed"),
        }
    }
    let mut b = s.client("b");
    b.wire.send(8, OpCode::GetAllChildrenNumber.as_i32(), &"/t".to_owned().to_bytes());
    s.note(format!("children: {:?}", b.wire.packet().body));
});

/// The time until the server ends a silent session, seen by another client.
fn time_to_expiry(s: &crate::support::peer::Story<'_>, timeout: i32) -> Duration {
    let mut watcher = s.client("watcher");
    let mut a = s.client_for("a", timeout);
    // Before the server hears of the session for the last time.
    let begin = Instant::now();
    a.create("/t/e", "", 1);
    watcher.exists("/t/e", true);
    loop {
        match watcher.wire.receive_within(Duration::from_millis(300)) {
            Received::Frame(frame) => {
                // A ping's reply or the event.
                if frame[..4] == (-1i32).to_be_bytes() {
                    break;
                }
            }
            Received::Nothing => watcher.wire.send(-2, OpCode::Ping.as_i32(), &[]),
            Received::Closed => panic!("the watcher has lost its connection"),
        }
        assert!(begin.elapsed() < Duration::from_secs(20), "never expires");
    }
    let took = begin.elapsed();
    // The connection ends with the session, and the session stays dead. Java may have ended the
    // connection before, for its silence: then it still ends whichever has the session now.
    watcher.wire.send(77, OpCode::Exists.as_i32(), &[&*"/t".to_owned().to_bytes(), &[0]].concat());
    while watcher.wire.packet().header.xid != 77 {}
    a.expect_closed();
    s.connect("dead", &old_session(a.id, &a.passwd, timeout));
    took
}

story!(b38_sessions_expire_at_the_next_tick_after_their_timeout on QUICK, |s| {
    for timeout in [3000, 5000] {
        let took = time_to_expiry(s, timeout);
        let at_least = Duration::from_millis(timeout as u64);
        assert!(took >= at_least, "{timeout} ms expired after {took:?}");
    }
});

story!(b38_any_request_keeps_a_session_alive on QUICK, |s| {
    let mut pinging = s.client_for("pinging", 4000);
    let mut reading = s.client_for("reading", 4000);
    // The youngest, so that the others would have ended before it.
    let mut silent = s.client_for("silent", 4000);
    let has_ended = wait_until(PATIENCE, || {
        pinging.wire.send(-2, OpCode::Ping.as_i32(), &[]);
        assert_eq!(pinging.wire.packet().header.xid, -2);
        let mut body = "/t".to_owned().to_bytes();
        body.push(0);
        reading.wire.send(9, OpCode::Exists.as_i32(), &body);
        assert_eq!(reading.wire.packet().header.err, 0);
        // Also the pause between two requests.
        let received = silent.wire.receive_within(Duration::from_millis(150));
        (received == Received::Closed).then_some(())
    });
    assert!(has_ended.is_some(), "the silent one never ends");
    s.note("the silent one has ended");
    pinging.close();
    reading.close();
});

story!(a_connection_that_never_says_hello_is_dropped on QUICK, |s| {
    let begin = Instant::now();
    let mut silent = s.raw();
    let mut slow = s.raw();
    slow.send_raw(&[0, 0]);
    let mut a = s.client("a");
    a.exists("/t", false);
    assert!(silent.is_closed_by_server());
    assert!(slow.is_closed_by_server());
    let took = begin.elapsed();
    assert!(took > Duration::from_secs(1), "closed after {took:?} already");
    a.exists("/t", false);
});
