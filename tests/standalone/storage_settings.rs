//! What the settings of the storage change in the data directory and in the time a write takes.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use zabkeeper::jute::Jute;
use zabkeeper::proto::messages::CreateRequest;
use zabkeeper::proto::{Acl, OpCode};

use crate::support::both::check_lines;
use crate::support::peer::text;
use crate::support::server::{Setup, TestServer};
use crate::support::wait_until;
use crate::support::wire::{Received, Wire, new_session, request_frame};

/// Snapshots are written in the background and forced to the disk; others may be busy with it too.
const LONG: Duration = Duration::from_secs(60);

fn creation(bytes: usize) -> Vec<u8> {
    let data = text(&"x".repeat(bytes));
    CreateRequest { path: "/n-".into(), data, acl: Acl::open_unsafe(), flags: 2 }.to_bytes()
}

/// A session that has made `count` nodes, one after the other, and waits.
fn writer(server: &TestServer, count: i32, bytes: usize) -> Wire {
    let mut wire = Wire::open(server.addr());
    assert!(wire.handshake(&new_session(20_000)).is_some());
    for xid in 1..=count {
        wire.send(xid, OpCode::Create.as_i32(), &creation(bytes));
        assert_eq!(wire.packet().header.err, 0);
    }
    wire
}

/// Makes nodes all at once.
fn burst(wire: &mut Wire, count: i32) {
    let mut bytes = Vec::new();
    for xid in 1..=count {
        let frame = request_frame(xid, OpCode::Create.as_i32(), &creation(10));
        bytes.extend(zabkeeper::client::frame(&frame));
    }
    wire.send_raw(&bytes);
    for _ in 0..count {
        assert_eq!(wire.packet().header.err, 0);
    }
}

fn leave(mut wire: Wire) {
    wire.send(1, OpCode::CloseSession.as_i32(), &[]);
    while let Received::Frame(_) = wire.receive() {}
}

/// The files of a directory whose names begin with `kind.`, by zxid.
fn files(directory: &Path, kind: &str) -> Vec<(i64, PathBuf)> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut files: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let zxid = name.strip_prefix(kind)?.strip_prefix('.')?.split('.').next()?;
            Some((i64::from_str_radix(zxid, 16).ok()?, entry.path()))
        })
        .collect();
    files.sort();
    files
}

fn extensions(files: &[(i64, PathBuf)]) -> BTreeSet<String> {
    let name = |path: &Path| path.file_name().unwrap().to_string_lossy().into_owned();
    files.iter().map(|(_, path)| name(path).splitn(3, '.').skip(2).collect()).collect()
}

fn metric(server: &TestServer, name: &str) -> String {
    let text = server.word("mntr");
    let line = text.lines().find(|line| line.split('\t').next() == Some(name));
    line.and_then(|line| line.split('\t').nth(1)).unwrap_or("none").to_owned()
}

fn check(name: &str, setup: &Setup, act: impl Fn(&mut TestServer, &mut Vec<String>)) {
    check_lines(name, &|target| {
        let mut server = TestServer::start(target, setup);
        let mut lines = Vec::new();
        act(&mut server, &mut lines);
        lines
    });
}

#[test]
fn snapshots_and_logs_are_as_configured() {
    let setup = Setup::new(
        &[
            "4lw.commands.whitelist=*",
            "dataLogDir=./logs",
            "snapCount=20",
            "preAllocSize=64",
            "forceSync=no",
            "snapshot.compression.method=gz",
            "serializeLastProcessedZxid.enabled=false",
            "digest.enabled=false",
            "jvm.pause.monitor=true",
            "jvm.pause.sleep.time.ms=1",
            "jvm.pause.info-threshold.ms=-1",
            "autopurge.snapRetainCount=1",
        ],
        &[],
    );
    check("snapshots_and_logs_are_as_configured", &setup, |server, lines| {
        let logs = server.dir().join("logs/version-2");
        let snapshots = || files(&server.version_dir(), "snapshot");
        // None is begun while another one is being written, so it takes more than 20 nodes each.
        let enough = wait_until(LONG, || {
            leave(writer(server, 20, 10));
            (snapshots().len() >= 5).then_some(())
        });
        lines.push(format!("5 snapshots: {}", enough.is_some()));
        lines.push(format!("extensions: {:?}", extensions(&snapshots())));
        lines.push(format!(
            "logs beside the snapshots: {}",
            files(&server.version_dir(), "log").len()
        ));
        let found = files(&logs, "log");
        lines.push(format!("at least 4 logs: {}", found.len() >= 4));
        // Files that are complete keep their padding in Java only, and the newest may be complete.
        let is_padded = || {
            leave(writer(server, 1, 10));
            let (_, newest) = files(&logs, "log").pop()?;
            (65536..=65552).contains(&fs::metadata(newest).unwrap().len()).then_some(())
        };
        lines.push(format!("preallocated: {}", wait_until(LONG, is_padded).is_some()));
        lines.push(format!("fsyncs: {}", metric(server, "zk_cnt_fsynctime")));
        let has_paused = || (metric(server, "zk_cnt_jvm_pause_time_ms") != "0").then_some(());
        lines.push(format!("pauses are counted: {}", wait_until(LONG, has_paused).is_some()));
        let nodes = metric(server, "zk_znode_count");
        server.stop();
        // Without digest and zxid the content ends with the first seal: adler32 and "/".
        let (_, newest) = files(&server.version_dir(), "snapshot").pop().unwrap();
        let mut content = Vec::new();
        let file = fs::File::open(newest).unwrap();
        flate2::read::GzDecoder::new(file).read_to_end(&mut content).unwrap();
        let (sealed, seal) = content.split_at(content.len() - 13);
        let checksum = i64::from_be_bytes(seal[..8].try_into().unwrap());
        let is_only_seal = checksum == i64::from(simd_adler32::adler32(&sealed));
        lines.push(format!("one section: {is_only_seal}, then {:?}", &seal[8..]));

        // Fewer than three snapshots are never kept.
        server.setup_mut().conf.push("autopurge.purgeInterval=1".into());
        let before = files(&server.version_dir(), "snapshot");
        let kept = before[before.len() - 3..].to_vec();
        server.restart();
        // The start may have added one.
        let is_purged = || {
            let now = files(&server.version_dir(), "snapshot");
            let is_kept = kept.iter().any(|file| file == &now[0]);
            (is_kept && now.len() <= 4).then_some(())
        };
        lines.push(format!("purged: {}", wait_until(LONG, is_purged).is_some()));
        let left = files(&logs, "log").len();
        lines.push(format!("logs purged: {}", left < found.len()));
        lines.push(format!("nodes are there: {}", nodes == metric(server, "zk_znode_count")));
    });
}

#[test]
fn sizes_make_snapshots_and_logs() {
    let setup = Setup::new(
        &[
            "4lw.commands.whitelist=*",
            "snapSizeLimitInKb=64",
            "txnLogSizeLimitInKb=8",
            "preAllocSize=0",
            "maxBatchSize=1",
            "snapshot.compression.method=snappy",
            "fsync.warningthresholdms=-1",
        ],
        &[],
    );
    check("sizes_make_snapshots_and_logs", &setup, |server, lines| {
        let directory = server.version_dir();
        let mut wire = writer(server, 200, 1000);
        let snapshots = || files(&directory, "snapshot");
        let enough = wait_until(LONG, || (snapshots().len() >= 3).then_some(()));
        lines.push(format!("3 snapshots: {}", enough.is_some()));
        lines.push(format!("extensions: {:?}", extensions(&snapshots())));
        let logs = files(&directory, "log");
        lines.push(format!("20 logs: {}", logs.len() >= 20));
        let is_longest = logs.iter().all(|(_, path)| fs::metadata(path).unwrap().len() < 10_000);
        lines.push(format!("logs are short: {is_longest}"));
        let ends: BTreeSet<u8> =
            logs.iter().filter_map(|(_, path)| fs::read(path).unwrap().last().copied()).collect();
        lines.push(format!("last bytes: {ends:?}"));
        let is_warned = server.log().contains("fsync-ing the write ahead log in");
        lines.push(format!("fsyncs are warned of: {is_warned}"));
        burst(&mut wire, 200);
        lines
            .push(format!("largest batch: {}", metric(server, "zk_max_sync_processor_batch_size")));
        leave(wire);
        server.stop();
        let nodes = "zk_znode_count";
        for (_, snapshot) in snapshots() {
            fs::remove_file(snapshot).unwrap();
        }
        lines.push(format!("logs without a snapshot: {:?}", server.try_restart()));
        server.setup_mut().conf.push("snapshot.trust.empty=true".into());
        lines.push(format!("trusted: {:?}", server.try_restart()));
        lines.push(format!("nodes: {}", metric(server, nodes)));
    });
}

#[test]
fn an_empty_directory_without_db_autocreate() {
    check("an_empty_directory_without_db_autocreate", &Setup::default(), |server, lines| {
        let has_session =
            |server: &TestServer| Wire::open(server.addr()).handshake(&new_session(4000)).is_some();
        server.stop();
        fs::remove_dir_all(server.version_dir()).unwrap();
        server.setup_mut().conf.push("db.autocreate=false".into());
        server.restart();
        lines.push(format!("serves: {}", has_session(server)));
        server.stop();
        fs::remove_dir_all(server.version_dir()).unwrap();
        let mark = server.dir().join("data/initialize");
        fs::write(&mark, "").unwrap();
        server.restart();
        lines.push(format!("initialized, serves: {}", has_session(server)));
        lines.push(format!("mark: {}", mark.exists()));
        server.stop();
        server.restart();
        lines.push(format!("again, serves: {}", has_session(server)));
    });
}
