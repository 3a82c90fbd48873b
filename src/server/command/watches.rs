//! The words about watches: `wchs`, `wchc`, `wchp` (`WatchCommand`). Data watches only, as in Java.

use std::fmt::Write as _;

use crate::proto::SessionId;
use crate::server::zookeeper_server::ZooKeeperServer;

/// `wchs`: the numbers.
pub fn wchs(server: &ZooKeeperServer, out: &mut String) {
    let _ = writeln!(out, "{}", server.db().tree().watches_summary()); // Never fails on a String.
}

/// `wchc`: each session with the paths that it watches.
pub fn wchc(server: &ZooKeeperServer, out: &mut String) {
    // The connections' table comes behind the watches' in the order of locks.
    server.db().tree().for_each_watcher(&mut |watcher, paths| {
        let session = server.cnxns().session_of(watcher).unwrap_or(SessionId(0));
        let _ = writeln!(out, "{session}"); // Never fails on a String.
        for path in paths {
            let _ = writeln!(out, "\t{path}"); // Never fails on a String.
        }
    });
    out.push('\n');
}

/// `wchp`: each watched path with the sessions that watch it.
pub fn wchp(server: &ZooKeeperServer, out: &mut String) {
    server.db().tree().for_each_watched_path(&mut |path, watchers| {
        let _ = writeln!(out, "{path}"); // Never fails on a String.
        for watcher in watchers {
            let session = server.cnxns().session_of(*watcher).unwrap_or(SessionId(0));
            let _ = writeln!(out, "\t{session}"); // Never fails on a String.
        }
    });
    out.push('\n');
}
