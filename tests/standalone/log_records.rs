//! What a server writes to its transaction log, record for record as Java: type, cxid, body,
//! whether there is a digest. Zxids without a gap, failures included.

use zabkeeper::compare::data_dirs::{log_records, record_lines};
use zabkeeper::jute::Jute;
use zabkeeper::proto::{Acl, OpCode, Txn};

use crate::support::both::check_lines;
use crate::support::peer::{
    Peer, Story, create, op_check, op_create, op_create2, op_delete, op_set,
};
use crate::support::server::{Setup, TestServer};
use crate::support::wire::request_frame;

fn log_of(setup: &Setup, name: &str, act: fn(&Story<'_>)) {
    check_lines(name, &|target| {
        let mut server = TestServer::start(target, setup);
        let story = Story::new(&server);
        act(&story);
        let mut lines = story.finish();
        server.stop();
        let records = log_records(&server.version_dir()).unwrap();
        lines.extend(record_lines(records).into_iter().map(|line| format!("log: {line}")));
        lines
    });
}

fn everything(s: &Story<'_>) {
    let mut a = s.client("a");
    let open = Acl::open_unsafe;
    a.create("/n", "data", 0);
    a.create("/n", "data", 0);
    a.create_buffer("/null", None);
    a.create2("/two", "2", 0);
    a.create("/e", "", 1);
    a.create("/n/seq-", "", 2);
    a.create2("/n/seq-", "", 3);
    a.create_container("/c", 4);
    a.create_container("/c/seq-", 2);
    a.create("/flag4", "", 4);
    a.create_ttl("/ttl", 5, 123_456);
    a.create_ttl("/ttl-", 6, 123_456);
    a.create_ttl("/bad", 5, -1);
    a.set("/n", "changed", 0);
    a.set_buffer("/n", None, -1);
    a.set("/n", "x", 99);
    a.delete("/two", 0);
    a.delete("/two", 0);
    a.auth("digest", "u:p");
    a.create_acl("/acl", "", vec![Acl::new(31, "auth", ""), Acl::new(1, "ip", "10.0.0.0/8")], 0);
    a.set_acl("/acl", open(), 0);
    a.set_acl("/acl", vec![], -1);
    a.delete_container("/c/seq-0000000000");
    a.delete_container("/missing");
    a.multi(vec![
        op_create("/m", 0),
        op_create2("/m/x", 1),
        op_check("/m", 0),
        op_set("/m", "y", 0),
        op_create("/m/seq-", 2),
        op_delete("/m/seq-0000000001", -1),
    ]);
    a.multi(vec![op_create("/m2", 0), op_delete("/missing", -1), op_check("/n", 0)]);
    a.multi(vec![]);
    a.sync("/");
    a.get("/missing", false);
    a.delete("/ttl", -1);
    let mut b = s.client("b");
    b.create("/b", "", 1);
    b.create("/b2", "", 1);
    b.delete("/b", -1);
    b.close();
    a.close();
}

#[test]
fn b16_log_records_are_those_of_java() {
    let setup = Setup::new(&["extendedTypesEnabled=true"], &[]);
    log_of(&setup, "b16_log_records_are_those_of_java", everything);
}

#[test]
fn b16_log_records_without_digests() {
    let setup = Setup::new(
        &["extendedTypesEnabled=true", "closeSessionTxn.enabled=false"],
        &["zookeeper.digest.enabled=false"],
    );
    log_of(&setup, "b16_log_records_without_digests", everything);
}

fn close_behind_creates(s: &Story<'_>) {
    let mut a: Peer = s.client("a");
    let mut bytes = Vec::new();
    for n in 1..=3 {
        let body = create(&format!("/e{n}"), "", Acl::open_unsafe(), 1).to_bytes();
        let frame = request_frame(n, OpCode::Create.as_i32(), &body);
        bytes.extend(zabkeeper::client::frame(&frame));
    }
    bytes.extend(zabkeeper::client::frame(&request_frame(4, OpCode::CloseSession.as_i32(), &[])));
    a.wire.send_raw(&bytes);
    for xid in 1..=4 {
        assert_eq!(a.wire.packet().header.xid, xid);
    }
    a.expect_closed();
}

fn one_ephemeral(s: &Story<'_>) {
    let mut a = s.client("a");
    a.create("/e", "", 1);
    a.create("/gone", "", 1);
    a.delete("/gone", -1);
    a.close();
}

#[test]
fn b19_close_session_lists_its_ephemerals() {
    log_of(&Setup::default(), "b19_close_session_lists_its_ephemerals", one_ephemeral);
}

#[test]
fn b19_close_session_lists_ephemerals_on_their_way() {
    for &target in crate::support::server::targets() {
        let mut server = TestServer::start(target, &Setup::default());
        let story = Story::new(&server);
        close_behind_creates(&story);
        story.finish();
        server.stop();
        let records = log_records(&server.version_dir()).unwrap();
        let mut txns = records.iter().map(|record| &record.entry.txn);
        let close = txns.find(|txn| txn.op_code() == OpCode::CloseSession);
        let Txn::CloseSession(Some(txn)) = close.unwrap() else { panic!("{target}: {close:?}") };
        let mut paths = txn.paths_to_delete.clone();
        paths.sort();
        assert_eq!(paths, ["/e1", "/e2", "/e3"], "{target}");
    }
}
