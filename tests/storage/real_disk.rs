//! The same on the machine's own disk: a writer in a process of its own, killed at any moment; and on
//! one that is full.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use zabkeeper::persistence::StreamMode;
use zabkeeper::persistence::disk::{Disk, RealDisk};

use crate::model::{Store, options};
use crate::small_disk::SmallDisk;

/// Tells the child process where to write, and that it is one.
const DIR_VARIABLE: &str = "ZABKEEPER_TEST_STORAGE_DIR";

/// The child: appends until it is killed, telling what is acknowledged.
fn write_for_ever(dir: &Path) {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let mut options = options(StreamMode::Gzip);
    options.log.pre_alloc_bytes = 64 << 10;
    let mut store = Store::open(&disk, dir, options).unwrap();
    let mut out = std::io::stdout();
    for round in 0u32.. {
        for i in 0..round % 7 + 1 {
            store.append(&vec![b'B'; (round * 37 + i * 311) as usize % 3000]).unwrap();
        }
        store.commit().unwrap();
        writeln!(out, "acknowledged {}", store.acknowledged).unwrap();
        if round % 13 == 12 {
            store.save().unwrap();
        }
    }
}

#[test]
fn the_writer_may_be_killed_at_any_moment() {
    if let Some(dir) = std::env::var_os(DIR_VARIABLE) {
        return write_for_ever(dir.as_ref());
    }
    let dir = tempfile::tempdir().unwrap();
    let mut known = 0;
    for life in 1..=8u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "real_disk::the_writer_may_be_killed_at_any_moment", "--nocapture"])
            .env(DIR_VARIABLE, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = known;
        let mut left = 5 * life;
        for line in lines {
            let line = line.unwrap();
            let Some((_, zxid)) = line.split_once("acknowledged ") else { continue };
            acknowledged = zxid.trim().parse().unwrap();
            left = left.saturating_sub(1);
            if left == 0 {
                // Somewhere inside what comes next; lines already written are read to the end.
                std::thread::sleep(Duration::from_micros(137 * life));
                child.kill().unwrap();
            }
        }
        child.wait().unwrap();
        assert!(acknowledged > known);
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let store = Store::open(&disk, dir.path(), options(StreamMode::Checked)).unwrap();
        known = store.prefix();
        assert!(known >= acknowledged, "{acknowledged} acknowledged, {known} recovered");
    }
}

#[test]
fn a_full_disk_is_an_error_and_loses_nothing_acknowledged() {
    if !SmallDisk::is_possible() {
        return;
    }
    let small = SmallDisk::new(2 << 20);
    for pre_alloc_bytes in [0, 64 << 10, 64 << 20] {
        let dir = tempfile::tempdir_in(small.path()).unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let mut options = options(StreamMode::Checked);
        options.log.pre_alloc_bytes = pre_alloc_bytes;
        let mut store = Store::open(&disk, dir.path(), options).unwrap();
        let error = loop {
            let size = store.acknowledged as usize * 97 % 9000;
            if let Err(error) = store.append(&vec![b'B'; size]).and_then(|()| store.commit()) {
                break error;
            }
        };
        assert!(error.to_string().contains("No space left"), "{error}");
        assert!(store.commit().is_err());
        assert!(store.acknowledged > 20, "the last step need not fit as a whole");
        let acknowledged = store.acknowledged;
        drop(store);
        // Recovery needs no space.
        let store = Store::open(&disk, dir.path(), options).unwrap();
        assert!(store.prefix() >= acknowledged);
    }
}

#[test]
fn a_snapshot_on_a_full_or_read_only_disk_leaves_the_others_alone() {
    if !SmallDisk::is_possible() {
        return;
    }
    let small = SmallDisk::new(2 << 20);
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let open = || Store::open(&disk, small.path(), options(StreamMode::Checked)).unwrap();
    let mut store = open();
    for is_full in [true, false] {
        for _ in 0..50 {
            store.append(&[b'B'; 1000]).unwrap();
        }
        store.commit().unwrap();
        store.files.close().unwrap();
        if is_full {
            small.leave(0)
        } else {
            small.make_read_only()
        }
        let error = store.save().unwrap_err().to_string();
        let wanted = if is_full { "No space left" } else { "Read-only file system" };
        assert!(error.contains("snapshot.") && error.contains(wanted), "{error}");
        let acknowledged = store.acknowledged;
        drop(store);
        small.resize(2 << 20);
        store = open();
        assert_eq!(store.prefix(), acknowledged);
        assert!(store.report.broken_snapshots.is_empty());
    }
}
