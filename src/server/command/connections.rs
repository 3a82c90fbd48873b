//! The words about connections and sessions: `cons`, the clients of `stat`, `dump` (`ConsCommand`,
//! `ServerCnxn.dumpConnectionInfo`, `DumpCommand`).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::common::time;
use crate::server::cnxn::server_cnxn::ServerCnxn;
use crate::server::zookeeper_server::ZooKeeperServer;

/// Java's interest in reading, which a connection always has here.
const OP_READ: u32 = 1;
/// Java's interest in writing: bytes are unsent.
const OP_WRITE: u32 = 4;

/// `cons`: all connections in full.
pub fn cons(server: &ZooKeeperServer, out: &mut String) {
    for cnxn in server.cnxns().all() {
        describe(&cnxn, false, out);
        out.push('\n');
    }
    out.push('\n');
}

/// The part of `stat` about clients.
pub fn clients(server: &ZooKeeperServer, out: &mut String) {
    out.push_str("Clients:\n");
    for cnxn in server.cnxns().all() {
        describe(&cnxn, true, out);
        out.push('\n');
    }
    out.push('\n');
}

/// `ServerCnxn.dumpConnectionInfo`.
fn describe(cnxn: &ServerCnxn, brief: bool, out: &mut String) {
    let (stats, unsent) = {
        let outbox = cnxn.outbox().lock();
        (outbox.stats.clone(), outbox.unsent())
    };
    // A connection that sent a word is not selected on in Java.
    let interest = match cnxn.session() {
        None => 0,
        Some(_) if unsent > 0 => OP_READ | OP_WRITE,
        Some(_) => OP_READ,
    };
    // Never fails on a String.
    let _ = write!(
        out,
        " /{}[{interest:x}](queued={},recved={},sent={}",
        cnxn.remote(),
        cnxn.gate().outstanding(),
        cnxn.packets_received(),
        stats.packets_sent
    );
    if let (false, Some(session)) = (brief, cnxn.session()) {
        let _ = write!(
            out,
            ",sid={},lop={},est={},to={}",
            session.id(),
            stats.last_op,
            cnxn.established_ms(),
            cnxn.session_timeout_ms()
        );
        if stats.last_cxid >= 0 {
            let _ = write!(out, ",lcxid={:#x}", stats.last_cxid);
        }
        let _ = write!(
            out,
            ",lzxid={:#x},lresp={},llat={},minlat={},avglat={},maxlat={}",
            stats.last_zxid,
            stats.last_response_ms,
            stats.last_latency_ms,
            stats.min_latency_ms(),
            stats.avg_latency_ms(),
            stats.max_latency_ms
        );
    }
    out.push(')');
}

/// `dump`: sessions by expiry, ephemeral nodes by session, connections by expiry.
pub fn dump(server: &ZooKeeperServer, out: &mut String) {
    let date = |elapsed_ms| time::java_date(time::elapsed_to_wall_ms(elapsed_ms));
    out.push_str("SessionTracker dump:\n");
    server.tracker().dump_sessions(out, &date);
    out.push_str("ephemeral nodes dump:\n");
    let tree = server.db().tree();
    let sessions = tree.sessions_with_ephemerals();
    // Never fails on a String.
    let _ = writeln!(out, "Sessions with Ephemerals ({}):", sessions.len());
    for session in sessions {
        let _ = writeln!(out, "{session}:");
        for path in tree.ephemerals(session) {
            let _ = writeln!(out, "\t{path}");
        }
    }
    drop(tree);
    out.push_str("Connections dump:\n");
    dump_connections(server, out);
}

/// `NIOServerCnxnFactory.dumpConnections`. Java's buckets tell when a silent connection is closed;
/// here that is when its session expires, or when a connection without one runs out of time.
fn dump_connections(server: &ZooKeeperServer, out: &mut String) {
    let bucket_ms = i64::from(server.config().nio_sessionless_cnxn_timeout_ms.max(1));
    let mut buckets: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    let all = server.cnxns().all();
    for cnxn in &all {
        let deadline_ms = match cnxn.session() {
            Some(session) => session.deadline_ms(),
            None => time::elapsed_ms() + bucket_ms,
        };
        let bucket = (deadline_ms / bucket_ms + 1) * bucket_ms;
        let line = format!("ip: /{} sessionId: {}", cnxn.remote(), cnxn.session_id());
        buckets.entry(bucket).or_default().push(line);
    }
    // Never fails on a String.
    let _ = writeln!(out, "Connections Sets ({})/({}):", buckets.len(), all.len());
    for (time_ms, lines) in buckets {
        let date = time::java_date(time::elapsed_to_wall_ms(time_ms));
        let _ = writeln!(out, "{} expire at {date}:", lines.len());
        for line in lines {
            let _ = writeln!(out, "\t{line}");
        }
    }
}
