//! Foreign clients, recorded on their way to a server, and replayed against Java's and zabkeeper.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use zabkeeper::compare::launch::{Implementation, Server, Setup};
use zabkeeper::compare::recording::RecordingReader;
use zabkeeper::compare::recording_proxy::RecordingProxy;
use zabkeeper::compare::recording_script::{Replay, replay_of};
use zabkeeper::compare::replay::replay_on_both;
use zabkeeper::compare::side::Side;

use crate::java_client::zk_cli;
use crate::kazoo::python;
use crate::support::server::{Target, java_home, targets};
use crate::{run, skip};

fn setup() -> Setup {
    Setup::new(
        &[
            "4lw.commands.whitelist=*",
            "extendedTypesEnabled=true",
            "minSessionTimeout=1000",
            "maxSessionTimeout=60000",
            "maxClientCnxns=0",
        ],
        &["znode.container.checkIntervalMs=3600000"],
    )
}

fn zabkeeper() -> Implementation {
    Implementation::Zabkeeper { binary: PathBuf::from(env!("CARGO_BIN_EXE_zabkeeper")) }
}

/// Java's server where its answers are to be equal, else zabkeeper.
fn reference() -> Implementation {
    match java_home() {
        Some(home) if targets().contains(&Target::Java) => {
            Implementation::Java { home: home.to_owned() }
        }
        _ => zabkeeper(),
    }
}

/// Records what `act` does with the connect string it is given.
fn record(act: impl FnOnce(&str)) -> Replay {
    let server = Server::start(&reference(), &setup()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("recording");
    let proxy = RecordingProxy::start("127.0.0.1:0", server.addr(), &out).unwrap();
    act(&proxy.addr().to_string());
    proxy.shutdown().unwrap();
    replay_of(RecordingReader::open(&out).unwrap()).unwrap()
}

/// Replays against fresh servers: no difference, and the answers that were recorded.
fn check(recording: &Replay, operations: usize) {
    let left = Server::start(&reference(), &setup()).unwrap();
    let right = Server::start(&zabkeeper(), &setup()).unwrap();
    let sides =
        [&left, &right].map(|server| Side::at(&server.implementation().to_string(), server.addr()));
    let [left, right] = sides;
    let replayed = replay_on_both(recording, &left, &right).unwrap();
    assert!(replayed.compared.differences.is_empty(), "{:#?}", replayed.compared.differences);
    assert!(replayed.compared.operations >= operations, "{}", replayed.compared.operations);
    // Clients that compete are taken in turns, so that a few answers may be others'.
    let (same, all) = (replayed.as_recorded, replayed.recorded);
    assert!(same * 100 >= all * 95, "{same} of {all} answers are as recorded");
}

#[test]
fn kazoo_is_recorded_and_replayed() {
    let Some(python) = python() else { return };
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/interop/python/recipes.py");
    let recording = record(|connect_string| {
        for story in [
            "lock",
            "election",
            "counter",
            "data_watch",
            "persistent_watches",
            "transactions",
            "errors",
            "acl_and_auth",
            "reconnect_keeps_session_and_watches",
            "pipeline",
            "containers_and_ttl",
            "commands",
        ] {
            let mut command = Command::new(python);
            command.arg(&script).arg(connect_string).arg(story);
            let (done, output) = run(&mut command, Duration::from_secs(90));
            assert!(done, "{story}:\n{output}");
        }
    });
    check(&recording, 500);
}

#[test]
fn zk_cli_is_recorded_and_replayed() {
    let Some(home) = java_home() else { return skip("zkCli", "no Java") };
    let commands: &[&[&str]] = &[
        &["create", "/cli", "data"],
        &["create", "-s", "/cli/seq-", "x"],
        &["create", "-e", "/cli/e", "x"],
        &["set", "-s", "/cli", "more"],
        &["ls", "-R", "/cli"],
        &["getAcl", "/cli"],
        &["setquota", "-N", "5", "/cli"],
        &["deleteall", "/cli"],
        &["get", "/cli"],
    ];
    let recording = record(|connect_string| {
        for command in commands {
            zk_cli(home, connect_string, command);
        }
    });
    check(&recording, 30);
}
