//! Limits: connections, outstanding requests, clients that do not read.

use zabkeeper::jute::{Jute, OutputExt};
use zabkeeper::proto::messages::CreateRequest;
use zabkeeper::proto::{Acl, OpCode};

use crate::support::both::{Flavor, check_lines};
use crate::support::peer::{Story, text};
use crate::support::server::TestServer;
use crate::support::wire::{Received, Wire, new_session, request_frame};
use crate::support::{PATIENCE, wait_until};
use crate::{PLAIN, story};

static FEW_PER_ADDRESS: Flavor = Flavor::bare(&["maxClientCnxns=3"], &[]);
static FEW: Flavor = Flavor::bare(
    &[
        "maxCnxns=4",
        "globalOutstandingLimit=10",
        "largeRequestThreshold=50000",
        "largeRequestMaxBytes=100000",
    ],
    &[],
);
/// Two sessions, and then none for ten minutes.
static THROTTLED: Flavor = Flavor::bare(
    &[
        "connection_throttle_tokens=2",
        "connection_throttle_fill_time=600000",
        "connection_throttle_fill_count=1",
    ],
    &[],
);

/// A connection with a session; `None` when the server refuses it.
fn try_session(server: &TestServer) -> Option<Wire> {
    let mut wire = Wire::try_open(server.addr()).ok()?;
    wire.handshake(&new_session(10_000)).map(|_| wire)
}

fn limit_of(s: &Story<'_>, limit: usize) {
    // The connections of the harness and of the wait for the start may not have ended yet.
    let mut open = Vec::new();
    let reached = wait_until(PATIENCE, || {
        open.extend(try_session(s.server));
        (open.len() == limit).then_some(())
    });
    assert!(reached.is_some(), "only {} connections", open.len());
    for _ in 0..3 {
        assert!(try_session(s.server).is_none(), "one more than {limit}");
    }
    // Those that are there go on.
    for wire in &mut open {
        wire.send(-2, OpCode::Ping.as_i32(), &[]);
        assert_eq!(wire.packet().header.xid, -2);
    }
    // A place becomes free.
    let mut leaving = open.pop().unwrap();
    leaving.send(1, OpCode::CloseSession.as_i32(), &[]);
    assert!(wait_until(PATIENCE, || try_session(s.server)).is_some(), "the place stays taken");
    for mut wire in open {
        wire.send(1, OpCode::CloseSession.as_i32(), &[]);
        while let Received::Frame(_) = wire.receive() {}
    }
    s.note(format!("limit {limit} holds"));
}

story!(max_client_cnxns_counts_per_address on FEW_PER_ADDRESS, |s| {
    limit_of(s, 3);
});

story!(max_cnxns_counts_all on FEW, |s| {
    limit_of(s, 4);
});

fn data_request(path: &str) -> Vec<u8> {
    let mut body = path.to_owned().to_bytes();
    body.put_bool(false);
    body
}

story!(a_pipeline_beyond_the_outstanding_limit_is_answered_in_order on FEW, |s| {
    let mut wire = wait_until(PATIENCE, || try_session(s.server)).expect("a place");
    let body = CreateRequest {
        path: "/limit-".into(),
        data: text("x"),
        acl: Acl::open_unsafe(),
        flags: 3,
    }
    .to_bytes();
    let mut bytes = Vec::new();
    for xid in 1..=2000 {
        bytes.put_bytes(Some(&request_frame(xid, OpCode::Create.as_i32(), &body)));
    }
    wire.send_raw(&bytes);
    for xid in 1..=2000 {
        let packet = wire.packet();
        assert_eq!((packet.header.xid, packet.header.err), (xid, 0));
    }
    wire.send(1, OpCode::CloseSession.as_i32(), &[]);
    while let Received::Frame(_) = wire.receive() {}
    s.note("2000 answers");
});

story!(large_requests_beyond_their_sum_end_the_connection on FEW, |s| {
    for bytes in [49_000, 60_000, 99_000, 101_000] {
        let mut wire = wait_until(PATIENCE, || try_session(s.server)).expect("a place");
        let data = "x".repeat(bytes);
        let body = CreateRequest {
            path: "/large-".into(),
            data: text(&data),
            acl: Acl::open_unsafe(),
            flags: 3,
        };
        wire.send(1, OpCode::Create.as_i32(), &body.to_bytes());
        let answer = match wire.receive() {
            Received::Frame(_) => "answered",
            Received::Closed => "closed",
            Received::Nothing => "nothing",
        };
        s.note(format!("{bytes} bytes: {answer}"));
        wire.send(2, OpCode::CloseSession.as_i32(), &[]);
        while let Received::Frame(_) = wire.receive() {}
    }
});

// The throttle is never refilled within the story, so the story must be the server's only one.
#[test]
fn connection_throttle_closes_without_an_answer() {
    check_lines("connection_throttle_closes_without_an_answer", &|target| {
        let mut lines = Vec::new();
        let server = THROTTLED.server(target);
        let mut open = Vec::new();
        for n in 0..4 {
            let session = try_session(&server);
            lines.push(format!("{n}: {}", if session.is_some() { "session" } else { "closed" }));
            open.push(session);
        }
        lines
    });
}

story!(a_client_that_does_not_read_holds_up_nobody on PLAIN, |s| {
    let mut a = s.client("a");
    let big = "x".repeat(500_000);
    let body = CreateRequest {
        path: "/t/big".into(),
        data: text(&big),
        acl: Acl::open_unsafe(),
        flags: 0,
    };
    a.wire.send(1, OpCode::Create.as_i32(), &body.to_bytes());
    assert_eq!(a.wire.packet().header.err, 0);
    // More than the sockets' buffers hold: 100 MB of answers are asked for and not read.
    let mut slow = s.client("slow");
    let mut bytes = Vec::new();
    for xid in 1..=200 {
        let frame = request_frame(xid, OpCode::GetData.as_i32(), &data_request("/t/big"));
        bytes.put_bytes(Some(&frame));
    }
    slow.wire.send_raw(&bytes);
    slow.wire.send(201, OpCode::Exists.as_i32(), &data_request("/t/big"));
    for n in 0..50 {
        a.wire.send(100 + n, OpCode::SetData.as_i32(), &{
            let mut body = "/t".to_owned().to_bytes();
            body.put_bytes(Some(b"x"));
            body.put_i32(-1);
            body
        });
        assert_eq!(a.wire.packet().header.xid, 100 + n);
    }
    for xid in 1..=201 {
        let packet = slow.wire.packet();
        assert_eq!((packet.header.xid, packet.header.err), (xid, 0));
        assert!(xid == 201 || packet.body.len() > 500_000);
    }
    s.note("all answers came in order");
});

story!(events_to_a_client_that_does_not_read_hold_up_nobody on PLAIN, |s| {
    let mut slow = s.client("slow");
    let mut a = s.client("a");
    slow.add_watch("/t", 1);
    let mut bytes = Vec::new();
    let mut body = "/t".to_owned().to_bytes();
    body.put_bytes(Some(b"x"));
    body.put_i32(-1);
    for xid in 1..=3000 {
        bytes.put_bytes(Some(&request_frame(xid, OpCode::SetData.as_i32(), &body)));
    }
    a.wire.send_raw(&bytes);
    for xid in 1..=3000 {
        assert_eq!(a.wire.packet().header.xid, xid);
    }
    let mut last = 0;
    for _ in 1..=3000 {
        let packet = slow.wire.packet();
        assert_eq!(packet.header.xid, -1);
        assert!(packet.header.zxid > last, "events out of order");
        last = packet.header.zxid;
    }
    s.note("3000 events");
});
