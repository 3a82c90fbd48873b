//! What only the server's own state shows: a server inside the test's process.

use std::net::Ipv4Addr;
use std::sync::Arc;

use tempfile::TempDir;
use zabkeeper::client::{RawConnection, ZooKeeper, new_session_request};
use zabkeeper::common::config::ServerConfig;
use zabkeeper::common::exit_code::ExitCode;
use zabkeeper::common::thread::ServerListener;
use zabkeeper::metrics::ServerMetrics;
use zabkeeper::persistence::disk::RealDisk;
use zabkeeper::persistence::{FileTxnSnapLog, SnapLogOptions};
use zabkeeper::proto::{Acl, CreateMode};
use zabkeeper::server::standalone::StandaloneServer;

use crate::support::PATIENCE;

struct Listener;

impl ServerListener for Listener {
    fn notify_stopping(&self, thread: &str, _: ExitCode, why: &str) {
        panic!("{thread}: {why}");
    }
}

fn start(change: impl FnOnce(&mut ServerConfig)) -> (TempDir, StandaloneServer) {
    let directory = TempDir::with_prefix("zabkeeper-test-").unwrap();
    let mut config = ServerConfig {
        client_port: Some(0),
        client_port_address: Some(Ipv4Addr::LOCALHOST.into()),
        ..ServerConfig::default()
    };
    change(&mut config);
    let path = directory.path();
    let options = SnapLogOptions::default();
    let snap_log = FileTxnSnapLog::new(Arc::new(RealDisk), path, path, options).unwrap();
    let listener: Arc<dyn ServerListener> = Arc::new(Listener);
    let metrics = Arc::new(ServerMetrics::default());
    let server = StandaloneServer::start(config.into(), snap_log, metrics, &listener).unwrap();
    (directory, server)
}

#[test]
fn path_statistics_count_reads_and_writes() {
    let (_directory, server) = start(|config| {
        config.path_stats_enabled = true;
        config.path_stats_sample_rate = 1.0;
    });
    let address = (Ipv4Addr::LOCALHOST, server.server().client_port());
    let mut client = ZooKeeper::connect(address, 10_000, PATIENCE).unwrap();
    let acl = Acl::open_unsafe();
    client.create("/a", Some(b"x"), &acl, CreateMode::Persistent).unwrap();
    // Refused: not counted.
    assert!(client.create("/a", Some(b"x"), &acl, CreateMode::Persistent).is_err());
    client.create("/a/b", None, &acl, CreateMode::Persistent).unwrap();
    client.set("/a", Some(b"y"), -1).unwrap();
    client.delete("/a/b", -1).unwrap();
    for _ in 0..5 {
        client.get("/a", false).unwrap();
    }
    assert!(client.exists("/a/b", false).unwrap().is_none());
    assert!(client.children("/missing", false).is_err());
    let paths = server.server().path_stats().unwrap();
    let reads = "The top read requests are\n/a : 5\n/missing : 1\n";
    assert_eq!(paths.dump_top_read_paths(4), reads);
    let writes = "The top write requests are\n/a : 2\n/a/b : 2\n";
    assert_eq!(paths.dump_top_write_paths(4), writes);
    server.shutdown();
}

#[test]
fn path_statistics_are_off_by_default() {
    let (_directory, server) = start(|_| ());
    assert!(server.server().path_stats().is_none());
    server.shutdown();
}

/// Java does not read from a connection before its session is there.
#[test]
fn an_auth_packet_behind_the_connect_request_does_not_overtake_its_answer() {
    let (_directory, server) = start(|_| {});
    let address = (Ipv4Addr::LOCALHOST, server.server().client_port());
    for _ in 0..20 {
        let mut client = RawConnection::connect(address, PATIENCE).unwrap();
        client.send_connect(&new_session_request(10_000)).unwrap();
        client.send_auth("digest", b"user:password").unwrap();
        assert_ne!(client.read_connect_response().unwrap().session_id, 0);
        let header = client.read_reply().unwrap().header;
        assert_eq!((header.xid, header.err), (-4, 0));
    }
    server.shutdown();
}
