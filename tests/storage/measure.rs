//! Measurements, not assertions:
//! `cargo test --release --test storage measure -- --ignored --nocapture --test-threads=1`.

use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use zabkeeper::persistence::disk::{Disk, RealDisk};
use zabkeeper::persistence::{
    FileTxnLog, FileTxnSnapLog, Sessions, SnapLogOptions, StreamMode, TreeSnapshot, TxnLogOptions,
};
use zabkeeper::proto::txn::{CreateTxn, SetDataTxn};
use zabkeeper::proto::{Acl, SessionId, Txn, TxnHeader, TxnLogEntry, Zxid};
use zabkeeper::tree::{DataTree, NoWatches};

use crate::model::empty_tree;

fn entry(zxid: i64, txn: Txn) -> TxnLogEntry {
    let txn_type = txn.op_code().as_i32();
    let header =
        TxnHeader { client_id: SessionId(1), cxid: 1, zxid: Zxid(zxid), time: zxid, txn_type };
    TxnLogEntry::new(header, txn, None)
}

fn create(zxid: i64) -> TxnLogEntry {
    let path = format!("/d{}/n{zxid}", zxid / 1000);
    let path = if zxid % 1000 == 0 { format!("/d{}", zxid / 1000) } else { path };
    entry(
        zxid,
        Txn::Create(CreateTxn {
            path,
            data: Some([b'x'; 100][..].into()),
            acl: Acl::open_unsafe(),
            ephemeral: false,
            parent_cversion: zxid as i32,
        }),
    )
}

/// A file that every file system tested on caches alike; not a tmpfs.
fn dir() -> tempfile::TempDir {
    tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |per_mille: usize| times[(times.len() * per_mille / 1000).min(times.len() - 1)];
    println!("{what:44} p50 {:>9.1?} p90 {:>9.1?} p99 {:>9.1?}", at(500), at(900), at(990));
}

#[test]
#[ignore = "a measurement: cargo test --release -- --ignored --nocapture measure"]
fn measure_commits() {
    const COMMITS: i64 = 1500;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    for records in [1, 10, 100, 500] {
        let dir = dir();
        let bare = std::fs::File::create(dir.path().join("bare")).unwrap();
        let mut log =
            FileTxnLog::new(Arc::clone(&disk), dir.path().to_owned(), TxnLogOptions::default());
        log.append(&create(1)).unwrap();
        log.commit().unwrap();
        let bytes = vec![b'x'; create(1).bytes.len() * records];
        let (mut bare_times, mut log_times, mut zxid) = (Vec::new(), Vec::new(), 1);
        for i in 0..COMMITS {
            let start = Instant::now();
            bare.write_all_at(&bytes, i as u64 * bytes.len() as u64).unwrap();
            rustix::fs::fdatasync(&bare).unwrap();
            bare_times.push(start.elapsed());
            let entries: Vec<_> = (0..records as i64).map(|n| create(zxid + 1 + n)).collect();
            zxid += records as i64;
            let start = Instant::now();
            for entry in &entries {
                log.append(entry).unwrap();
            }
            log.commit().unwrap();
            log_times.push(start.elapsed());
        }
        print(&format!("{records} records: bare append and fdatasync"), bare_times);
        print(&format!("{records} records: log"), log_times);
    }
}

#[test]
#[ignore = "a measurement: cargo test --release -- --ignored --nocapture measure"]
fn measure_a_million() {
    const COUNT: i64 = 1_000_000;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    for mode in [StreamMode::Checked, StreamMode::Gzip, StreamMode::Snappy] {
        let dir = dir();
        let options = SnapLogOptions { compression: mode, ..SnapLogOptions::default() };
        let open =
            || FileTxnSnapLog::new(Arc::clone(&disk), dir.path(), dir.path(), options).unwrap();
        let mut files = open();
        files.restore(&mut empty_tree(), &mut Sessions::new(), &mut |_| {}).unwrap();
        let start = Instant::now();
        for zxid in 1..=COUNT {
            files.append(&create(zxid)).unwrap();
            if zxid % 1000 == 0 {
                files.commit().unwrap();
            }
        }
        println!("{mode:?}: appended in {:.2?}", start.elapsed());

        let start = Instant::now();
        let count = files.read_txn_log(Zxid(0)).unwrap().map(Result::unwrap).count();
        println!("{mode:?}: {count} read from the log in {:.2?}", start.elapsed());

        let mut tree = empty_tree();
        let start = Instant::now();
        let report = open().restore(&mut tree, &mut Sessions::new(), &mut |_| {}).unwrap();
        println!("{mode:?}: {} txns restored in {:.2?}", report.txns_loaded, start.elapsed());

        let tree = parking_lot::RwLock::new(tree);
        save_beside_a_writer(&mut files, &tree, mode);
        let mut tree = empty_tree();
        let start = Instant::now();
        let report = open().restore(&mut tree, &mut Sessions::new(), &mut |_| {}).unwrap();
        println!(
            "{mode:?}: snapshot loaded in {:.2?}, with {} txns: {:.2?}",
            report.snap_load_time,
            report.txns_loaded,
            start.elapsed()
        );
    }
}

/// One snapshot while another thread appends, commits and applies, as fast as it can.
fn save_beside_a_writer(
    files: &mut FileTxnSnapLog,
    tree: &parking_lot::RwLock<DataTree>,
    mode: StreamMode,
) {
    let snap_log = Arc::clone(files.snap_log());
    files.roll_log().unwrap();
    let is_done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let saving = scope.spawn(|| {
            let start = Instant::now();
            let mut source = TreeSnapshot::begin(|act| act(&tree.read()), true).unwrap();
            let info = snap_log.serialize(source.zxid(), &Sessions::new(), &mut source).unwrap();
            is_done.store(true, std::sync::atomic::Ordering::Relaxed);
            let size = std::fs::metadata(&info.path).unwrap().len() >> 20;
            println!("{mode:?}: snapshot of {size} MiB written in {:.2?}", start.elapsed());
        });
        let (mut commits, mut applies) = (Vec::new(), Vec::new());
        let mut zxid = tree.read().last_processed_zxid().0;
        while !is_done.load(std::sync::atomic::Ordering::Relaxed) {
            zxid += 1;
            let txn = SetDataTxn { path: "/d5".into(), data: None, version: zxid as i32 };
            let entry = entry(zxid, Txn::SetData(txn));
            let start = Instant::now();
            files.append(&entry).unwrap();
            files.commit().unwrap();
            commits.push(start.elapsed());
            let start = Instant::now();
            tree.write().process_entry(&entry, &mut NoWatches);
            applies.push(start.elapsed());
        }
        println!(
            "{mode:?}: {} writes meanwhile, longest {:.1?} (commit) {:.1?} (tree)",
            commits.len(),
            commits.iter().max().unwrap(),
            applies.iter().max().unwrap()
        );
        print("    commits beside the snapshot", commits);
        saving.join().unwrap();
    });
}
