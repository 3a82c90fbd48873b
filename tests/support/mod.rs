//! What the integration tests share: servers to start (zabkeeper and Java's), a client that speaks
//! the protocol byte by byte, and transcripts that are compared between the two servers.
//!
//! Environment:
//!
//! | variable | meaning |
//! | --- | --- |
//! | `ZOOKEEPER_HOME` | an unpacked Apache ZooKeeper 3.9.4 (`lib/*.jar`); without it and `java` the Java half is skipped |
//! | `ZABKEEPER_REQUIRE_JAVA=1` | fail instead of skipping when there is no Java server |
//! | `ZABKEEPER_REQUIRE_NAMESPACES=1` | fail instead of skipping where the machine gives its users no mount and network namespaces, or has no `strace` |
//! | `ZABKEEPER_TEST_TARGETS` | `java`, `zabkeeper` or both, separated by a comma (both) |
//! | `ZABKEEPER_BLESS=1` | write the transcripts of the Java server to `expected/` |
#![allow(dead_code, reason = "each test binary uses a part of this")]

pub mod both;
pub mod peer;
pub mod server;
pub mod small_disk;
pub mod wire;

use std::time::{Duration, Instant};

/// Longest wait for anything a healthy server does at once.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// Polls `probe` until it answers `Some`; `None` once `limit` has passed.
pub fn wait_until<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = probe() {
            return Some(value);
        }
        if Instant::now() >= deadline {
            return None;
        }
        std::thread::park_timeout(Duration::from_millis(15));
    }
}
