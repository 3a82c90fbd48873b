//! Logs and snapshots: what survives which crash, and whether Java's files are read here and ours
//! there. `ZOOKEEPER_HOME` names a directory with `lib/*.jar` of Apache ZooKeeper; without it, or
//! without `java`, the tests against a live Java are skipped with a message.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test: failing is its work")]

mod crash;
mod golden;
mod java;
mod measure;
mod model;
mod real_disk;
