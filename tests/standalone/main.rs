//! A standalone server, seen by its clients. Nearly every test is a story that runs against Java's
//! server and against zabkeeper; `support` says how. Numbers in names (`b11_…`) are those of the
//! forty behaviours that a naive port gets wrong.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod acls;
mod concurrency;
mod hostile;
mod in_process;
mod limits;
mod log_records;
mod nodes;
mod roles;
mod scenarios;
mod sessions;
mod settings;
mod starts;
mod storage_settings;
mod words;

use support::both::Flavor;

/// Everything on: all four-letter words, TTL nodes, sessions up to a minute; the reaper hardly ever.
pub static PLAIN: Flavor = Flavor::named("plain");

/// As it comes: nothing configured.
pub static DEFAULTS: Flavor = Flavor::named("defaults");

/// Short sessions, so that expiry is seen soon.
pub static QUICK: Flavor = Flavor::named("quick");
