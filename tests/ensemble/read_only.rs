//! A member that finds no leader serves clients that only read, as Java's does.

use zabkeeper::client::ZooKeeper;
use zabkeeper::jute::{Input, Jute};
use zabkeeper::proto::messages::{
    ConnectRequest, ConnectResponse, CreateRequest, ExistsRequest, GetDataRequest, SyncRequest,
};
use zabkeeper::proto::{Acl, CreateMode, OpCode};

use crate::cluster::{Cluster, ClusterSetup};
use crate::support::server::Target::{self, Java, Zabkeeper};
use crate::support::server::java_home;
use crate::support::wire::{Received, Wire, new_session, old_session, parse_packet};

fn read_only(request: ConnectRequest) -> ConnectRequest {
    ConnectRequest { read_only: Some(true), ..request }
}

/// What a server answers to a connect request, without what differs from session to session.
fn connect(wire: &mut Wire, request: &ConnectRequest) -> String {
    wire.send_frame(&request.to_bytes());
    match wire.receive() {
        Received::Frame(frame) if frame.len() == 16 => {
            let header = parse_packet(&frame).header;
            format!("header xid {} err {}", header.xid, header.err)
        }
        Received::Frame(frame) => {
            let response = ConnectResponse::decode(&mut Input::unbounded(&frame)).unwrap();
            format!(
                "timeout {} session {} read-only {:?}",
                response.timeout_ms,
                response.session_id != 0,
                response.read_only
            )
        }
        Received::Closed => "closed".to_owned(),
        Received::Nothing => "nothing".to_owned(),
    }
}

fn call(wire: &mut Wire, xid: i32, op: OpCode, body: &[u8]) -> String {
    wire.send(xid, op.as_i32(), body);
    match wire.receive() {
        Received::Frame(frame) => {
            let packet = parse_packet(&frame);
            format!(
                "{op:?}: xid {} err {} {} bytes",
                packet.header.xid,
                packet.header.err,
                packet.body.len()
            )
        }
        other => format!("{op:?}: {other:?}"),
    }
}

/// The story of one kind of server, which is left alone with its data.
fn story(target: Target, conf: &str) -> Vec<String> {
    let setup = ClusterSetup::new(&[target; 3]).conf(conf).property("readonlymode.enabled=true");
    let mut cluster = Cluster::start(&setup);
    let mut client: ZooKeeper = cluster.node(1).client(30_000);
    client.create("/a", Some(b"data"), &Acl::open_unsafe(), CreateMode::Persistent).unwrap();
    // With local sessions this makes it a global one.
    let _ = client.create("/e", None, &Acl::open_unsafe(), CreateMode::Ephemeral);
    let global = client.credentials();
    drop(client);
    cluster.node_mut(2).kill();
    cluster.node_mut(3).kill();
    cluster.await_that("the read-only server", || {
        (cluster.node(1).mode().as_deref() == Some("read-only")).then_some(())
    });
    let node = cluster.node(1);
    let mut lines = vec![
        format!("isro {:?}", node.word("isro").map(|answer| answer.trim().to_owned())),
        format!("ruok {:?}", node.word("ruok").map(|answer| answer.trim().to_owned())),
    ];
    let mut note = |line: String| lines.push(line);
    note(format!("plain: {}", connect(&mut Wire::open(node.addr()), &new_session(10_000))));
    let again = old_session(global.id.0, &global.passwd, 10_000);
    note(format!("global: {}", connect(&mut Wire::open(node.addr()), &read_only(again))));
    let mut wire = Wire::open(node.addr());
    note(format!("new: {}", connect(&mut wire, &read_only(new_session(10_000)))));
    if conf.ends_with("true") {
        let exists = ExistsRequest { path: "/a".into(), watch: false };
        note(call(&mut wire, 1, OpCode::Exists, &exists.to_bytes()));
        let get = GetDataRequest { path: "/a".into(), watch: true };
        note(call(&mut wire, 2, OpCode::GetData, &get.to_bytes()));
        let create =
            CreateRequest { path: "/b".into(), data: None, acl: Acl::open_unsafe(), flags: 0 };
        note(call(&mut wire, 3, OpCode::Create, &create.to_bytes()));
        note(call(&mut wire, 4, OpCode::Sync, &SyncRequest { path: Some("/a".into()) }.to_bytes()));
        note(call(&mut wire, 5, OpCode::Multi, &[0, 0, 0, 0]));
        note(call(&mut wire, 6, OpCode::Exists, &exists.to_bytes()));
        note(call(&mut wire, -2, OpCode::Ping, &[]));
        note(call(&mut wire, 7, OpCode::CloseSession, &[]));
        note(format!("closed: {}", wire.is_closed_by_server()));
    }
    // Back in an ensemble it serves everybody again.
    cluster.start_all();
    let mut client = cluster.node(1).client(30_000);
    client.create("/b", None, &Acl::open_unsafe(), CreateMode::Persistent).unwrap();
    assert!(client.exists("/a", false).unwrap().is_some());
    lines
}

fn check(conf: &str, expected: &[&str]) {
    assert_eq!(story(Zabkeeper, conf), expected, "zabkeeper");
    if java_home().is_some() {
        assert_eq!(story(Java, conf), expected, "Java");
    }
}

#[test]
fn clients_that_only_read_get_local_sessions() {
    check(
        "localSessionsEnabled=true\nlocalSessionsUpgradingEnabled=true",
        &[
            r#"isro Some("ro")"#,
            r#"ruok Some("imok")"#,
            "plain: closed",
            "global: closed",
            "new: timeout 10000 session true read-only Some(true)",
            "Exists: xid 1 err 0 68 bytes",
            "GetData: xid 2 err 0 76 bytes",
            "Create: xid 3 err -119 0 bytes",
            "Sync: xid 4 err -119 0 bytes",
            "Multi: xid 5 err -119 0 bytes",
            "Exists: xid 6 err 0 68 bytes",
            "Ping: xid -2 err 0 0 bytes",
            "CloseSession: xid 7 err 0 0 bytes",
            "closed: true",
        ],
    );
}

#[test]
fn without_local_sessions_nobody_gets_one() {
    check(
        "localSessionsEnabled=false",
        &[
            r#"isro Some("ro")"#,
            r#"ruok Some("imok")"#,
            "plain: closed",
            "global: closed",
            "new: header xid 0 err -119",
        ],
    );
}
