//! Data directories that Java 3.9.4 has left when it was killed, in all three forms of snapshots:
//! logs with padding, a snapshot from the middle of the run, and what a client saw at the end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zabkeeper::persistence::disk::{Disk, RealDisk};
use zabkeeper::persistence::{Sessions, StreamMode, TxnLogIterator};
use zabkeeper::proto::{SessionId, TxnLogEntry, Zxid};

use crate::model::{Store, copy_dir, hex, lines, options};

const KINDS: [(&str, StreamMode); 3] =
    [("plain", StreamMode::Checked), ("gz", StreamMode::Gzip), ("snappy", StreamMode::Snappy)];

fn golden(kind: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/storage").join(kind)
}

fn real_disk() -> Arc<dyn Disk> {
    Arc::new(RealDisk)
}

/// A copy to write to, with the files in its `version-2`.
fn data_dir(kind: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let version = dir.path().join("version-2");
    copy_dir(&golden(kind), &version).unwrap();
    std::fs::remove_file(version.join("tree.tsv")).unwrap();
    dir
}

/// The nodes as the client saw them: path, data, the fields of the stat, ACL.
fn seen(store: &Store) -> String {
    let mut out = BTreeMap::new();
    let mut open = vec![String::new()];
    while let Some(path) = open.pop() {
        let node = store.tree.node(&path).unwrap();
        let stat = node.stat();
        let acls: Vec<String> = node
            .acl()
            .iter()
            .map(|acl| format!("{}:{}:{}", &*acl.id.scheme, &*acl.id.id, acl.perms))
            .collect();
        let line = format!(
            "{}\t{}\t{} {} {} {} {} {} {} {} {} {} {}\t{}",
            if path.is_empty() { "/" } else { &path },
            hex(node.data().as_deref().unwrap_or_default()),
            stat.czxid,
            stat.mzxid,
            stat.ctime,
            stat.mtime,
            stat.version,
            stat.cversion,
            stat.aversion,
            stat.ephemeral_owner,
            stat.data_length,
            stat.num_children,
            stat.pzxid,
            acls.join(",")
        );
        open.extend(node.children().map(|child| format!("{path}/{child}")));
        out.insert(path, line);
    }
    out.into_values().map(|line| line + "\n").collect()
}

#[test]
fn a_directory_of_java_is_restored_as_its_clients_saw_it() {
    for (kind, mode) in KINDS {
        let dir = data_dir(kind);
        let store = Store::open(&real_disk(), dir.path(), options(mode)).unwrap();
        let want = std::fs::read_to_string(golden(kind).join("tree.tsv")).unwrap();
        assert_eq!(seen(&store), want, "{kind}");
        assert_eq!(store.report.highest_zxid, Zxid(0x1d));
        assert!(store.report.snapshot.as_ref().is_some_and(|info| info.zxid > Zxid(8)));
        assert!(store.report.txns_loaded > 8);
        // Java put a digest into every transaction and into the snapshot.
        assert_eq!(store.tree.digest_mismatches(), 0, "{kind}");
        let mut timeouts: Vec<i32> = store.sessions.values().copied().collect();
        timeouts.sort_unstable();
        assert_eq!(timeouts, [30_000, 30_000, 30_000, 30_000], "{kind}");
        let owner = SessionId(store.tree.node("/eph").unwrap().ephemeral_owner());
        assert!(store.sessions.contains_key(&owner));
    }
}

#[test]
fn without_the_snapshot_from_the_middle_the_result_is_the_same() {
    for (kind, mode) in KINDS {
        let dir = data_dir(kind);
        let store = Store::open(&real_disk(), dir.path(), options(mode)).unwrap();
        let snapshot = store.report.snapshot.as_ref().unwrap().path.clone();
        let mut bytes = std::fs::read(&snapshot).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x20;
        std::fs::write(&snapshot, bytes).unwrap();
        let older = Store::open(&real_disk(), dir.path(), options(mode)).unwrap();
        assert_eq!(older.report.broken_snapshots, [snapshot]);
        assert_eq!(lines(&older.tree), lines(&store.tree));
        assert_eq!(older.sessions, store.sessions);
    }
}

#[test]
fn logs_written_again_are_the_same_bytes() {
    for (kind, _) in KINDS {
        let dir = data_dir(kind);
        let version = dir.path().join("version-2");
        let disk = real_disk();
        let theirs: Vec<TxnLogEntry> =
            TxnLogIterator::new(&disk, &version, Zxid(0)).unwrap().map(Result::unwrap).collect();
        assert_eq!(theirs.len(), 0x1d, "{kind}");
        let ours = tempfile::tempdir().unwrap();
        let mut store = Store::open(&disk, ours.path(), options(StreamMode::Checked)).unwrap();
        let starts: Vec<String> = std::fs::read_dir(&version)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.starts_with("log."))
            .collect();
        for entry in theirs {
            let again = TxnLogEntry::new(entry.header, entry.txn.clone(), entry.digest);
            assert_eq!(again.bytes, entry.bytes, "{entry:?}");
            if starts.contains(&format!("log.{:x}", entry.zxid().0)) {
                store.files.roll_log().unwrap();
            }
            store.files.append(&again).unwrap();
        }
        store.files.commit().unwrap();
        for name in starts {
            let their_file = std::fs::read(version.join(&name)).unwrap();
            let our_file = std::fs::read(ours.path().join("version-2").join(&name)).unwrap();
            let end = their_file.iter().rposition(|&byte| byte != 0).unwrap() + 1;
            assert_eq!(our_file[..end], their_file[..end], "{kind} {name}");
            assert!(our_file[end..].iter().all(|&byte| byte == 0));
        }
    }
}

#[test]
fn snapshots_written_again_hold_the_same() {
    for (kind, mode) in KINDS {
        let dir = data_dir(kind);
        let mut store = Store::open(&real_disk(), dir.path(), options(mode)).unwrap();
        store.save().unwrap();
        let again = Store::open(&real_disk(), dir.path(), options(mode)).unwrap();
        assert_eq!((again.report.txns_loaded, again.report.highest_zxid), (0, Zxid(0x1d)));
        assert_eq!(lines(&again.tree), lines(&store.tree), "{kind}");
        assert_eq!(again.sessions, store.sessions);
        assert_eq!(again.tree.tree_digest(), store.tree.tree_digest());
        let sessions: &Sessions = &again.sessions;
        assert_eq!(sessions.len(), 4);
    }
}
