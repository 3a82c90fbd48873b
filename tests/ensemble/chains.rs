//! What a client sees of the chains: the order of its own requests on whatever server it is, events
//! before replies, sessions that move and end. Every story is told to ensembles of
//! zabkeeper, of Java's servers and of both, on each of their servers.

use std::time::Duration;

use zabkeeper::client::{ClientError, RawConnection, Reply, SessionEvent, ZooKeeper};
use zabkeeper::jute::Jute;
use zabkeeper::proto::messages::{
    CreateRequest, CreateResponse, DeleteRequest, GetDataRequest, GetDataResponse, SetDataRequest,
    SyncRequest,
};
use zabkeeper::proto::{Acl, Code, CreateMode, EventType, OpCode, Zxid};

use crate::cluster::{Cluster, ClusterSetup};
use crate::support::PATIENCE;
use crate::support::server::Target::{self, Java, Zabkeeper};

const TIMEOUT_MS: i32 = 10_000;
/// Expires soon, but not while a busy machine does what stands between two requests.
const SHORT_MS: i32 = 5_000;

/// Tells all stories to an ensemble of these voters and an observer like the second.
fn tell(voters: &[Target]) {
    let setup = ClusterSetup::new(voters).observers(&voters[1..2]);
    if !setup.is_possible() {
        return;
    }
    let cluster = Cluster::start(&setup);
    a_session_reads_its_own_writes_on_every_server(&cluster);
    sync_shows_what_was_acknowledged_elsewhere(&cluster);
    watches_fire_before_the_change_is_seen(&cluster);
    a_session_moves_and_leaves_nothing_behind(&cluster);
    silent_sessions_expire_and_pinging_ones_do_not(&cluster);
}

#[test]
fn clients_of_zabkeeper_are_served_in_order() {
    tell(&[Zabkeeper, Zabkeeper, Zabkeeper]);
}

#[test]
fn clients_with_one_java_follower_are_served_in_order() {
    tell(&[Java, Zabkeeper, Zabkeeper]);
}

/// The greatest id is elected.
#[test]
fn clients_of_a_java_leader_are_served_in_order() {
    tell(&[Zabkeeper, Zabkeeper, Java]);
}

#[test]
fn clients_of_a_java_majority_are_served_in_order() {
    tell(&[Java, Java, Zabkeeper]);
}

#[test]
fn clients_of_java_are_served_in_order() {
    tell(&[Java, Java, Java]);
}

fn create(path: &str) -> CreateRequest {
    CreateRequest { path: path.into(), data: None, acl: Acl::open_unsafe(), flags: 0 }
}

fn get(path: &str) -> GetDataRequest {
    GetDataRequest { path: path.into(), watch: false }
}

fn set(path: &str, data: &str) -> SetDataRequest {
    SetDataRequest { path: path.into(), data: Some(data.as_bytes().into()), version: -1 }
}

fn next(client: &mut RawConnection, xid: i32) -> (Reply, Code) {
    let reply = client.read_reply().unwrap();
    assert_eq!(reply.header.xid, xid, "replies come in the order of the requests");
    let code = reply.code().unwrap();
    (reply, code)
}

fn data(reply: &Reply) -> String {
    let response: GetDataResponse = reply.decode().unwrap();
    String::from_utf8(response.data.as_deref().unwrap_or_default().into()).unwrap()
}

/// Reads see the session's writes before them, and errors take their turn too.
fn a_session_reads_its_own_writes_on_every_server(cluster: &Cluster) {
    for id in cluster.ids() {
        let (mut client, _) =
            RawConnection::open(cluster.node(id).addr(), TIMEOUT_MS, PATIENCE).unwrap();
        let path = format!("/own-{id}");
        client.send_request(1, OpCode::Create.as_i32(), &create(&path)).unwrap();
        let mut xid = 1;
        const ROUNDS: i32 = 50;
        for round in 0..ROUNDS {
            for (op, body) in [
                (OpCode::SetData, set(&path, &round.to_string()).to_bytes()),
                (OpCode::GetData, get(&path).to_bytes()),
                (OpCode::Create, create(&path).to_bytes()),
                (OpCode::Sync, SyncRequest { path: Some(path.clone()) }.to_bytes()),
                (OpCode::GetData, get(&path).to_bytes()),
            ] {
                xid += 1;
                client.send_request_bytes(xid, op.as_i32(), &body).unwrap();
            }
        }
        let (created, code) = next(&mut client, 1);
        assert_eq!(code, Code::Ok);
        assert_eq!(created.decode::<CreateResponse>().unwrap().path, path);
        let mut last_zxid = created.header.zxid;
        let mut xid = 1;
        let mut take = |expected: Code, text: Option<String>| {
            xid += 1;
            let (reply, code) = next(&mut client, xid);
            assert_eq!(code, expected, "{xid}");
            assert!(reply.header.zxid >= last_zxid, "time goes forward");
            last_zxid = reply.header.zxid;
            assert_eq!(text.as_ref().map(|_| data(&reply)), text);
        };
        for round in 0..ROUNDS {
            take(Code::Ok, None);
            take(Code::Ok, Some(round.to_string()));
            take(Code::NodeExists, None);
            take(Code::Ok, None);
            take(Code::Ok, Some(round.to_string()));
        }
    }
    cluster.await_same_zxid(&cluster.ids().collect::<Vec<_>>());
}

/// After sync a server shows what was acknowledged anywhere before.
fn sync_shows_what_was_acknowledged_elsewhere(cluster: &Cluster) {
    let mut clients: Vec<ZooKeeper> =
        cluster.ids().map(|id| cluster.node(id).client(TIMEOUT_MS)).collect();
    let acl = Acl::open_unsafe();
    clients[0].create("/shared", None, &acl, CreateMode::Persistent).unwrap();
    for round in 0..20usize {
        let text = round.to_string();
        let writer = round % clients.len();
        clients[writer].set("/shared", Some(text.as_bytes()), -1).unwrap();
        for client in &mut clients {
            client.sync("/shared").unwrap();
            let (seen, _) = client.get("/shared", false).unwrap();
            assert_eq!(seen.as_deref(), Some(text.as_bytes()));
        }
    }
}

/// An event is there before anything that shows the change (behaviour 23), wherever the write came
/// from.
fn watches_fire_before_the_change_is_seen(cluster: &Cluster) {
    let acl = Acl::open_unsafe();
    for writer in cluster.ids() {
        let path = format!("/watched-{writer}");
        let mut writing = cluster.node(writer).client(TIMEOUT_MS);
        writing.create(&path, Some(b"old"), &acl, CreateMode::Persistent).unwrap();
        for watcher in cluster.ids() {
            let mut watching = cluster.node(watcher).client(TIMEOUT_MS);
            watching.sync(&path).unwrap();
            watching.get(&path, true).unwrap();
            let stat = writing.set(&path, Some(b"new"), -1).unwrap();
            let event = watching.next_event(PATIENCE).unwrap();
            let Some(SessionEvent { event, zxid, .. }) = event else {
                panic!("no event at {watcher} of {writer}");
            };
            assert_eq!(
                (event.event_type, zxid),
                (EventType::NodeDataChanged as i32, Zxid(stat.mzxid))
            );
            let (_, seen) = watching.get(&path, false).unwrap();
            assert_eq!(seen.mzxid, stat.mzxid);
        }
    }
}

/// The client goes on elsewhere; what it still sends on the old connection has no effect, and ends
/// that connection without an answer (ZOOKEEPER-710).
fn a_session_moves_and_leaves_nothing_behind(cluster: &Cluster) {
    for from in cluster.ids() {
        for to in cluster.ids().filter(|to| *to != from) {
            let mut client = cluster.node(from).client(TIMEOUT_MS);
            let path = format!("/moved-{from}-{to}");
            let acl = Acl::open_unsafe();
            client.create(&path, None, &acl, CreateMode::Ephemeral).unwrap();
            let credentials = client.credentials();
            let mut moved = ZooKeeper::reattach(
                cluster.node(to).addr(),
                TIMEOUT_MS,
                &credentials,
                // Otherwise a server that is behind refuses, rightly.
                Zxid(0),
                PATIENCE,
            )
            .unwrap();
            moved.sync(&path).unwrap();
            moved.set(&path, Some(b"moved"), -1).unwrap();
            let mut old = client.into_raw();
            let delete = DeleteRequest { path: path.clone(), version: -1 };
            old.send_request(900, OpCode::Delete.as_i32(), &delete).unwrap();
            old.expect_closed().unwrap();
            let (seen, stat) = moved.get(&path, false).unwrap();
            assert_eq!(seen.as_deref(), Some(b"moved".as_slice()));
            assert_eq!(stat.ephemeral_owner, credentials.id.0);
            moved.close().unwrap();
            let mut other = cluster.node(from).client(TIMEOUT_MS);
            other.sync("/").unwrap();
            assert!(other.exists(&path, false).unwrap().is_none(), "it goes with its session");
        }
    }
}

/// A session whose client is silent expires wherever it was, and is known as expired everywhere.
fn silent_sessions_expire_and_pinging_ones_do_not(cluster: &Cluster) {
    let acl = Acl::open_unsafe();
    let ids: Vec<usize> = cluster.ids().collect();
    let mut silent = Vec::new();
    let mut pinging = Vec::new();
    for id in &ids {
        let mut client = cluster.node(*id).client(SHORT_MS);
        let path = format!("/silent-{id}");
        client.create(&path, None, &acl, CreateMode::Ephemeral).unwrap();
        silent.push((path, client));
        let mut client = cluster.node(*id).client(SHORT_MS);
        client.create(&format!("/pinging-{id}"), None, &acl, CreateMode::Ephemeral).unwrap();
        pinging.push(client);
    }
    let (first, others) = pinging.split_first_mut().unwrap();
    cluster.await_that("the silent sessions have expired", || {
        others.iter_mut().for_each(|client| client.ping().unwrap());
        std::thread::sleep(Duration::from_millis(100));
        let left = first.children("/", false).unwrap();
        (!left.iter().any(|name| name.starts_with("silent"))).then_some(())
    });
    let left = first.children("/", false).unwrap();
    assert_eq!(left.iter().filter(|name| name.starts_with("pinging")).count(), ids.len());
    for (path, client) in silent {
        let credentials = client.credentials();
        client.into_raw().expect_closed().unwrap();
        for id in &ids {
            let addr = cluster.node(*id).addr();
            let again = ZooKeeper::reattach(addr, SHORT_MS, &credentials, Zxid(0), PATIENCE).err();
            assert!(matches!(again, Some(ClientError::SessionExpired)), "{path} {again:?}");
        }
    }
}

/// Local sessions write, read and watch like others; nobody else knows them until they need to own a
/// node.
fn tell_of_local_sessions(voters: &[Target]) {
    let setup = ClusterSetup::new(voters)
        .observers(&voters[1..2])
        .conf("localSessionsEnabled=true")
        .conf("localSessionsUpgradingEnabled=true");
    if !setup.is_possible() {
        return;
    }
    let cluster = Cluster::start(&setup);
    let acl = Acl::open_unsafe();
    for id in cluster.ids() {
        let mut client = cluster.node(id).client(TIMEOUT_MS);
        let session = client.session_id();
        let path = format!("/local-{id}");
        client.create(&path, Some(b"x"), &acl, CreateMode::Persistent).unwrap();
        client.set(&path, Some(b"y"), -1).unwrap();
        assert_eq!(client.get(&path, true).unwrap().0.as_deref(), Some(b"y".as_slice()));
        let elsewhere = cluster.ids().find(|other| *other != id).unwrap();
        let credentials = client.credentials();
        let addr = cluster.node(elsewhere).addr();
        let moved = ZooKeeper::reattach(addr, TIMEOUT_MS, &credentials, Zxid(0), PATIENCE).err();
        assert!(matches!(moved, Some(ClientError::SessionExpired)), "{id}: {moved:?}");

        let ephemeral = format!("{path}/ephemeral");
        client.create(&ephemeral, None, &acl, CreateMode::Ephemeral).unwrap();
        assert_eq!(client.session_id(), session, "it keeps its id");
        let stat = client.exists(&ephemeral, false).unwrap().unwrap();
        assert_eq!(stat.ephemeral_owner, session.0);
        // Now it may move.
        let mut moved =
            ZooKeeper::reattach(addr, TIMEOUT_MS, &credentials, Zxid(0), PATIENCE).unwrap();
        moved.sync(&path).unwrap();
        assert!(moved.exists(&ephemeral, false).unwrap().is_some());
        moved.close().unwrap();
        let mut other = cluster.node(id).client(TIMEOUT_MS);
        other.sync("/").unwrap();
        assert!(other.exists(&ephemeral, false).unwrap().is_none());
        other.close().unwrap();
        // Of one that ends without ever having been upgraded nothing is heard.
        let before = cluster.await_same_zxid(&cluster.ids().collect::<Vec<_>>());
        let mut quiet = cluster.node(id).client(TIMEOUT_MS);
        quiet.get(&path, false).unwrap();
        quiet.close().unwrap();
        let after = cluster.await_same_zxid(&cluster.ids().collect::<Vec<_>>());
        assert_eq!(before, after, "a local session is no transaction");
    }
}

#[test]
fn local_sessions_of_zabkeeper_are_upgraded() {
    tell_of_local_sessions(&[Zabkeeper, Zabkeeper, Zabkeeper]);
}

#[test]
fn local_sessions_beside_a_java_leader_are_upgraded() {
    tell_of_local_sessions(&[Zabkeeper, Zabkeeper, Java]);
}

#[test]
fn local_sessions_with_java_followers_are_upgraded() {
    tell_of_local_sessions(&[Java, Java, Zabkeeper]);
}

#[test]
fn local_sessions_of_java_are_upgraded() {
    tell_of_local_sessions(&[Java, Java, Java]);
}

/// Without upgrades a local session cannot own a node; on the way to that answer nothing is lost.
fn tell_of_forbidden_upgrades(voters: &[Target]) {
    let setup = ClusterSetup::new(voters).conf("localSessionsEnabled=true");
    if !setup.is_possible() {
        return;
    }
    let cluster = Cluster::start(&setup);
    let acl = Acl::open_unsafe();
    for id in cluster.ids() {
        let mut client = cluster.node(id).client(TIMEOUT_MS);
        let refused = client.create("/ephemeral", None, &acl, CreateMode::Ephemeral).err();
        let code = refused.as_ref().and_then(ClientError::code);
        assert_eq!(code, Some(Code::EphemeralOnLocalSession), "{id}: {refused:?}");
        client.create(&format!("/plain-{id}"), None, &acl, CreateMode::Persistent).unwrap();
        client.close().unwrap();
    }
}

#[test]
fn upgrades_can_be_forbidden_on_zabkeeper() {
    tell_of_forbidden_upgrades(&[Zabkeeper, Zabkeeper, Zabkeeper]);
}

#[test]
fn upgrades_can_be_forbidden_on_java() {
    tell_of_forbidden_upgrades(&[Java, Java, Java]);
}
