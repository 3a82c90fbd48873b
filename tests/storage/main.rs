//! Logs and snapshots: what survives which crash, and whether Java's files are read here and ours
//! there. `ZOOKEEPER_HOME` names a directory with `lib/*.jar` of Apache ZooKeeper; without it, or
//! without `java`, the tests against a live Java are skipped with a message; so are those with a full
//! disk where the machine has no mount namespaces for its users.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test: failing is its work")]

mod crash;
mod golden;
mod java;
mod model;
mod real_disk;
#[path = "../support/small_disk.rs"]
mod small_disk;
