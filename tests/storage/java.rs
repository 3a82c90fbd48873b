//! What we write, read by Java: its tools print the same transactions and nodes, and its server
//! starts from our files with the same tree. Skipped without `ZOOKEEPER_HOME` and `java`.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use zabkeeper::persistence::StreamMode;
use zabkeeper::persistence::disk::{Disk, RealDisk};
use zabkeeper::persistence::snap_stream::verify_last_seal;

use crate::model::{Store, lines, options};

/// `java` with ZooKeeper's classes, or `None` with a message.
fn java() -> Option<Command> {
    let skip = |why: &str| {
        eprintln!("skipped: {why}");
        None
    };
    let Some(home) = std::env::var_os("ZOOKEEPER_HOME").map(PathBuf::from) else {
        return skip("ZOOKEEPER_HOME is not set");
    };
    if !home.join("lib").is_dir() {
        return skip("ZOOKEEPER_HOME has no lib");
    }
    let version = Command::new("java").arg("-version").stderr(Stdio::null()).status();
    if !version.is_ok_and(|status| status.success()) {
        return skip("`java` does not run");
    }
    let mut java = Command::new("java");
    java.args(["-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]);
    let logging = home.join("log4j2.properties");
    if logging.exists() {
        java.arg(format!("-Dlog4j2.configurationFile={}", logging.display()));
    }
    java.arg("-cp").arg(home.join("lib/*"));
    Some(java)
}

/// What a tool prints; it must succeed.
fn run_tool(class: &str, file: &Path) -> Option<String> {
    let output = java()?.arg(class).arg(file).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{class} {}:\n{text}\n{errors}", file.display());
    Some(text)
}

fn real_disk() -> Arc<dyn Disk> {
    Arc::new(RealDisk)
}

/// Snapshots of 0 and 25, logs from 1 and 26 up to 40; the last log has its padding.
fn data_dir(mode: StreamMode) -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let mut store = Store::open(&real_disk(), dir.path(), options(mode)).unwrap();
    for zxid in 1..=40 {
        store.append(&vec![b'x'; zxid * 50]).unwrap();
        store.commit().unwrap();
        if zxid == 25 {
            store.save().unwrap();
        }
    }
    (dir, store)
}

#[test]
fn the_txn_log_toolkit_reads_our_logs() {
    let (dir, _store) = data_dir(StreamMode::Checked);
    for (name, first, last) in [("log.1", 1, 25), ("log.1a", 26, 40)] {
        let path = dir.path().join("version-2").join(name);
        let class = "org.apache.zookeeper.server.persistence.TxnLogToolkit";
        let Some(text) = run_tool(class, &path) else { return };
        for zxid in first..=last {
            assert!(text.contains(&format!("zxid 0x{zxid:x} ")), "{zxid:x}:\n{text}");
        }
        let count = last - first + 1;
        assert!(text.contains(&format!("EOF reached after {count} txns.")), "{text}");
        assert!(!text.contains("CRC"), "{text}");
    }
}

#[test]
fn the_snapshot_formatter_reads_our_snapshots() {
    for mode in [StreamMode::Checked, StreamMode::Gzip, StreamMode::Snappy] {
        let (dir, _store) = data_dir(mode);
        let name = format!("version-2/snapshot.19{}", mode.file_extension());
        let class = "org.apache.zookeeper.server.SnapshotFormatter";
        let Some(text) = run_tool(class, &dir.path().join(name)) else { return };
        for zxid in (1..=25).filter(|zxid| zxid % 10 != 0) {
            assert!(text.contains(&format!("/n{zxid}\n")), "{mode:?} {zxid}:\n{text}");
        }
        assert!(!text.contains("/n26"), "{text}");
        assert!(text.contains("02, 30000, 0\n") && text.contains("03, 30000, 0\n"), "{text}");
        assert!(text.contains("Last zxid: 0x19"), "{text}");
    }
}

/// A server that is killed when dropped.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts Java's server there; it writes a snapshot of what it has restored as soon as it has.
fn restart_with_java(dir: &Path, last_zxid: i64) -> Option<()> {
    let mut java = java()?;
    let port = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let config = dir.join("zoo.cfg");
    let text = format!(
        "dataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\ntickTime=2000\n\
         admin.enableServer=false\nextendedTypesEnabled=true\n",
        dir.display()
    );
    std::fs::write(&config, text).unwrap();
    let output = dir.join("java.out");
    let server = java
        .arg("org.apache.zookeeper.server.quorum.QuorumPeerMain")
        .arg(&config)
        .stdout(File::create(&output).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut server = Server(server);
    let snapshot = dir.join(format!("version-2/snapshot.{last_zxid:x}"));
    let deadline = Instant::now() + Duration::from_secs(60);
    // Java writes in place: it is there when its last seal is.
    while !verify_last_seal(&RealDisk, &snapshot).unwrap_or(false) {
        let text = || std::fs::read_to_string(&output).unwrap_or_default();
        assert!(server.0.try_wait().unwrap().is_none(), "Java does not start:\n{}", text());
        assert!(Instant::now() < deadline, "Java writes no snapshot:\n{}", text());
        std::thread::sleep(Duration::from_millis(50));
    }
    let text = std::fs::read_to_string(&output).unwrap_or_default();
    assert!(!text.contains("mismatch"), "digests differ:\n{text}");
    Some(())
}

fn check_java_restores(dir: &Path, want: &Store) {
    let last = want.tree.last_processed_zxid().0;
    if restart_with_java(dir, last).is_none() {
        return;
    }
    let theirs = Store::open(&real_disk(), dir, options(StreamMode::Checked)).unwrap();
    assert_eq!(theirs.report.snapshot.as_ref().map(|info| info.zxid.0), Some(last));
    assert_eq!(lines(&theirs.tree), lines(&want.tree));
    assert_eq!(theirs.sessions, want.sessions);
    assert_eq!(theirs.tree.tree_digest(), want.tree.tree_digest());
}

#[test]
fn java_starts_from_our_files_with_the_same_tree() {
    for mode in [StreamMode::Checked, StreamMode::Gzip, StreamMode::Snappy] {
        let (dir, store) = data_dir(mode);
        check_java_restores(dir.path(), &store);
    }
}

#[test]
fn java_starts_from_what_a_killed_writer_leaves() {
    let (dir, mut store) = data_dir(StreamMode::Checked);
    // Written but not acknowledged, and cut in the middle of a record.
    let path = dir.path().join("version-2/log.1a");
    let before = std::fs::read(&path).unwrap();
    let end = before.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    store.append(&[b'B'; 900]).unwrap();
    store.commit().unwrap();
    let mut torn = std::fs::read(&path).unwrap();
    torn[end + 500..].fill(0);
    drop(store);
    std::fs::write(&path, torn).unwrap();
    // A snapshot that was being written.
    std::fs::write(dir.path().join("version-2/tmp-snapshot.0.snapshot.29"), b"ZKSN").unwrap();
    let copy = tempfile::tempdir().unwrap();
    crate::model::copy_dir(&dir.path().join("version-2"), &copy.path().join("version-2")).unwrap();
    let ours = Store::open(&real_disk(), copy.path(), options(StreamMode::Checked)).unwrap();
    assert_eq!(ours.prefix(), 40);
    check_java_restores(dir.path(), &ours);
}
