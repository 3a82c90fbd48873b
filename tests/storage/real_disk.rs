//! The same on the machine's own disk: a writer in a process of its own, killed at any moment.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use zabkeeper::persistence::StreamMode;
use zabkeeper::persistence::disk::{Disk, RealDisk};

use crate::model::{Store, options};

/// Tells the child process where to write.
const DIR_VARIABLE: &str = "ZABKEEPER_TEST_STORAGE_DIR";

/// The child: appends until it is killed, telling what is acknowledged.
#[test]
#[ignore = "run by the_writer_may_be_killed_at_any_moment"]
fn writer() {
    let Some(dir) = std::env::var_os(DIR_VARIABLE) else { return };
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let mut options = options(StreamMode::Gzip);
    options.log.pre_alloc_bytes = 64 << 10;
    let mut store = Store::open(&disk, dir.as_ref(), options).unwrap();
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
    let dir = tempfile::tempdir().unwrap();
    let mut known = 0;
    for life in 1..=8u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "real_disk::writer", "--ignored", "--nocapture"])
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

/// Needs a small file system to fill: ext4, XFS or tmpfs.
#[test]
#[ignore = "set ZABKEEPER_TEST_SMALL_DISK to a directory on a small file system"]
fn a_full_disk_is_an_error_and_loses_nothing_acknowledged() {
    let Some(small) = std::env::var_os("ZABKEEPER_TEST_SMALL_DISK") else { return };
    for pre_alloc_bytes in [0, 64 << 10, 64 << 20] {
        let dir = tempfile::tempdir_in(&small).unwrap();
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
