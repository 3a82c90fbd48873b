//! Ensembles of real processes: of zabkeeper, of Java's server, and of both.
//!
//! `cluster` has the servers, `proxy` the links between them, `netns` networks of their own. What is
//! expected of zabkeeper is first shown on Java's server where one is at hand. `election` needs no
//! roles: its servers only elect.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]
#![allow(dead_code, reason = "the parts of the harness are for all the files")]

#[path = "../support/mod.rs"]
mod support;

mod chains;
mod cluster;
mod election;
mod failures;
mod fake_leader;
mod full_disk;
mod harness;
mod leader_sync;
mod learner_sync;
mod load;
mod mixed;
mod netns;
mod partitions;
mod proxy;
mod read_only;
mod roles;
mod scenarios;
mod words;
