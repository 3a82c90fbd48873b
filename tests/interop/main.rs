//! The server between other people's programs: kazoo, the Java client and its command line, the C
//! client, directly and recorded.
//!
//! What is not installed is skipped with a message; `ZABKEEPER_REQUIRE_INTEROP=1` (and
//! `ZABKEEPER_REQUIRE_JAVA=1`) turn that into a failure.
#![allow(clippy::unwrap_used, clippy::panic, reason = "tests")]

#[path = "../support/mod.rs"]
mod support;

mod c_client;
mod java_client;
mod kazoo;
mod recorded;

use std::process::{Command, Stdio};
use std::time::Duration;

use support::both::Flavor;
use support::wait_until;

/// Shared by all foreign clients: each story has a root of its own there.
pub static SHARED: Flavor = Flavor::bare(
    &[
        "4lw.commands.whitelist=*",
        "extendedTypesEnabled=true",
        "minSessionTimeout=1000",
        "maxSessionTimeout=60000",
        "maxClientCnxns=0",
    ],
    &["znode.container.checkIntervalMs=3600000"],
);

/// Says why something is skipped, or fails when skipping is not allowed.
pub fn skip(what: &str, why: &str) {
    let required = std::env::var("ZABKEEPER_REQUIRE_INTEROP").is_ok_and(|value| value == "1");
    assert!(!required, "ZABKEEPER_REQUIRE_INTEROP=1, but {what}: {why}");
    eprintln!("skipped: {what}: {why}");
}

/// Runs a command to its end, within `limit`: success and all it printed.
pub fn run(command: &mut Command, limit: Duration) -> (bool, String) {
    let out = tempfile::NamedTempFile::new().unwrap();
    let file = out.reopen().unwrap();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let status = wait_until(limit, || child.try_wait().unwrap());
    if status.is_none() {
        let _ = child.kill(); // It may end just now.
        let _ = child.wait();
    }
    let text = String::from_utf8_lossy(&std::fs::read(out.path()).unwrap()).into_owned();
    match status {
        Some(status) => (status.success(), text),
        None => (false, format!("{text}\nnot finished after {limit:?}")),
    }
}
