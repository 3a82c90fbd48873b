//! Recording and replaying with a raw client; foreign clients are recorded in tests/interop.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;
use zabkeeper::client::{ClientError, RawConnection, ZooKeeper, four_letter_word};
use zabkeeper::compare::launch::{Server, Setup};
use zabkeeper::compare::recording::{End, Kind, RecordingReader};
use zabkeeper::compare::recording_proxy::RecordingProxy;
use zabkeeper::compare::recording_script::{Replay, replay_of};
use zabkeeper::compare::replay::{Replayed, replay_on_both};
use zabkeeper::compare::side::Side;
use zabkeeper::proto::messages::SetWatches;
use zabkeeper::proto::{AddWatchMode, CreateMode};

use crate::servers::{java_of_the_port, zabkeeper};

const SOON: Duration = Duration::from_secs(20);

fn setup() -> Setup {
    Setup::new(
        &["4lw.commands.whitelist=*", "extendedTypesEnabled=true", "minSessionTimeout=500"],
        &[],
    )
}

/// What a client with two connections may do.
fn act(addr: SocketAddr) -> Result<(), ClientError> {
    let open = zabkeeper::proto::Acl::open_unsafe;
    let mut a = ZooKeeper::connect(addr, 20_000, SOON)?;
    let mut b = ZooKeeper::connect(addr, 20_000, SOON)?;
    a.create("/r", Some(b"data"), &open(), CreateMode::Persistent)?;
    b.add_watch("/r", AddWatchMode::PersistentRecursive)?;
    for n in 0..20 {
        a.create(
            "/r/s-",
            Some(n.to_string().as_bytes()),
            &open(),
            CreateMode::PersistentSequential,
        )?;
    }
    a.create("/r/e", Some(b""), &open(), CreateMode::Ephemeral)?;
    assert!(a.create("/r", None, &open(), CreateMode::Persistent).is_err());
    b.ping()?;
    // The session goes on on another connection, which has seen what the first one saw.
    let (credentials, seen) = (a.credentials(), a.last_zxid());
    drop(a);
    let mut a = ZooKeeper::reattach(addr, 20_000, &credentials, seen, SOON)?;
    a.set_watches(&SetWatches {
        relative_zxid: seen.0,
        data_watches: vec!["/r".into()],
        exist_watches: vec![],
        child_watches: vec![],
    })?;
    a.set("/r", Some(b"more"), -1)?;
    assert!(four_letter_word(addr, "ruok", SOON)?.contains("imok"));
    // Garbage ends a connection and nothing else.
    let mut garbage = RawConnection::connect(addr, SOON)?;
    garbage.send_bytes(&[0xff; 8])?;
    garbage.expect_closed()?;
    a.close()?;
    b.close()
}

fn record(server: &Server, out: &Path) -> Replay {
    let proxy = RecordingProxy::start("127.0.0.1:0", server.addr(), out).unwrap();
    act(proxy.addr()).unwrap();
    let recorded = proxy.shutdown().unwrap();
    assert!(recorded.connections >= 5 && recorded.frames > 50, "{recorded:?}");
    replay_of(RecordingReader::open(out).unwrap()).unwrap()
}

fn replay(replay: &Replay, servers: [&Server; 2]) -> Replayed {
    let [left, right] =
        servers.map(|server| Side::at(&server.implementation().to_string(), server.addr()));
    replay_on_both(replay, &left, &right).unwrap()
}

#[test]
fn what_was_recorded_is_replayed_with_the_recorded_answers() {
    let dir = TempDir::new().unwrap();
    let zabkeeper = zabkeeper();
    let reference = java_of_the_port().unwrap_or(&zabkeeper);
    let recorded_server = Server::start(reference, &setup()).unwrap();
    let recording = record(&recorded_server, &dir.path().join("r"));
    let left = Server::start(reference, &setup()).unwrap();
    let right = Server::start(&zabkeeper, &setup()).unwrap();
    let replayed = replay(&recording, [&left, &right]);
    assert!(replayed.compared.differences.is_empty(), "{:#?}", replayed.compared.differences);
    assert!(replayed.compared.operations > 30, "{}", replayed.compared.operations);
    assert_eq!(replayed.as_recorded, replayed.recorded);
    // A second time the nodes are there already: other answers, on both sides.
    let again = replay(&recording, [&left, &right]);
    assert!(again.compared.differences.is_empty(), "{:#?}", again.compared.differences);
    assert!(again.as_recorded < again.recorded, "{again:?}");
    // A server with another tree is found out.
    let fresh = Server::start(&zabkeeper, &setup()).unwrap();
    let unequal = replay(&recording, [&fresh, &right]);
    assert!(unequal.compared.unexplained().is_some());
}

/// A running `zabkeeper compare record`, and where it listens.
fn start_recording(server: &Server, out: &Path) -> (Child, SocketAddr) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_zabkeeper"))
        .args(["compare", "record", "--to", &server.addr().to_string(), "--out"])
        .arg(out)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let addr = line.split_whitespace().find_map(|word| word.parse().ok());
    (child, addr.unwrap_or_else(|| panic!("no address in {line:?}")))
}

#[test]
fn a_recording_survives_the_kill_of_its_recorder() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("r");
    let server = Server::start(&zabkeeper(), &setup()).unwrap();
    let (mut recorder, addr) = start_recording(&server, &out);
    act(addr).unwrap();
    // What was answered before was written before: the file is written behind the traffic, so the
    // last few frames may lack.
    let mut client = ZooKeeper::connect(addr, 20_000, SOON).unwrap();
    let open = zabkeeper::proto::Acl::open_unsafe();
    let written = || RecordingReader::open(&out).unwrap().map(Result::unwrap).count();
    let before = written();
    while written() < before + 100 {
        client.create("/k-", None, &open, CreateMode::PersistentSequential).unwrap();
    }
    recorder.kill().unwrap();
    recorder.wait().unwrap();
    let mut reader = RecordingReader::open(&out).unwrap();
    let records: Vec<_> = reader.by_ref().map(Result::unwrap).collect();
    assert!(matches!(reader.end(), Some(End::Clean | End::Torn(_))));
    assert!(records.iter().filter(|record| record.kind == Kind::ServerFrame).count() > 50);
    let recording = replay_of(records.into_iter().map(Ok)).unwrap();
    let (left, right) = (
        Server::start(&zabkeeper(), &setup()).unwrap(),
        Server::start(&zabkeeper(), &setup()).unwrap(),
    );
    let replayed = replay(&recording, [&left, &right]);
    assert!(replayed.compared.differences.is_empty(), "{:#?}", replayed.compared.differences);
}

#[test]
fn the_commands_record_print_and_replay() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("r");
    let server = Server::start(&zabkeeper(), &setup()).unwrap();
    let (mut recorder, addr) = start_recording(&server, &out);
    act(addr).unwrap();
    let pid = rustix::process::Pid::from_child(&recorder);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert!(recorder.wait().unwrap().success());
    let compare = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_zabkeeper"));
        command.arg("compare").args(args).current_dir(dir.path());
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, script) = compare(&["replay", "r", "--print"]);
    assert_eq!(code, Some(0));
    assert!(script.contains("create \"/r\" \"data\"") && script.contains("take c1"), "{script}");
    let sides = ["--left", "zabkeeper", "--right", "zabkeeper"];
    let (code, text) = compare(&[&["replay", "r", "--json", "r.json"][..], &sides].concat());
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("No unexplained difference"), "{text}");
    assert!(dir.path().join("r.json").exists());
    let addr = server.addr().to_string();
    // The recorded server holds the nodes already.
    let (code, text) = compare(&["replay", "r", "--left", "zabkeeper", "--right", &addr]);
    assert_eq!(code, Some(1), "{text}");
    let (code, _) = compare(&["replay", "r.json", "--left", "zabkeeper", "--right", "zabkeeper"]);
    assert_eq!(code, Some(1), "a file that is no recording");
}
