//! The words `srvr`, `stat`, `mntr` and `hash` (`StatCommand`, `MonitorCommand`, `DigestCommand`).

use std::fmt::Write as _;

use super::connections;
use crate::server::version;
use crate::server::zookeeper_server::ZooKeeperServer;

/// `srvr`, or `stat` with the clients.
pub fn srvr(server: &ZooKeeperServer, with_clients: bool, out: &mut String) {
    let _ = writeln!(out, "Zookeeper version: {}", version::full()); // Never fails on a String.
    if server.role().is_read_only() {
        out.push_str("READ-ONLY mode; serving only read-only clients\n");
    }
    if with_clients {
        connections::clients(server, out);
    }
    out.push_str(&server.stats().report(server));
    let _ = writeln!(out, "Node count: {}", server.db().tree().node_count()); // Never fails on a String.
    server.role().srvr_lines(out);
}

/// `mntr`: version and state, then every metric.
pub fn mntr(server: &ZooKeeperServer, out: &mut String) {
    // Never fails on a String.
    let _ = writeln!(out, "zk_version\t{}", version::full());
    let _ = writeln!(out, "zk_server_state\t{}", server.server_state());
    server.role().dump_monitor_values(&mut |name, value| {
        let _ = writeln!(out, "zk_{name}\t{value}"); // Never fails on a String.
    });
    if server.config().has_metrics() {
        server.metrics().dump(&mut |name, value| {
            let _ = writeln!(out, "zk_{name}\t{value}"); // Never fails on a String.
        });
    }
}

/// `hash`: the digests of the tree at the zxids that were logged.
pub fn hash(server: &ZooKeeperServer, out: &mut String) {
    for logged in server.db().tree().digest_log() {
        // Never fails on a String.
        let _ = writeln!(out, "{:x}: {}", logged.zxid.0, logged.digest as i64);
    }
}
