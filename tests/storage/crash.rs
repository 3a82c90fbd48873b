//! Power loss and kill at every call that changes the disk, on a simulated one. What was
//! acknowledged is never lost, what is recovered is a prefix, and Java could read it as well.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use zabkeeper::persistence::disk::Disk;
use zabkeeper::persistence::sim_disk::{SimDisk, Unsynced};
use zabkeeper::persistence::{PersistenceError, StreamMode};

use crate::model::{Store, options};

const DATA: &str = "/data";
const DIR: &str = "/data/version-2";

#[derive(Debug, Clone, Copy)]
enum Step {
    /// So many transactions with so many bytes.
    Append(u8, u16),
    Commit,
    Roll,
    Save,
}

fn open(disk: &SimDisk) -> Result<Store, PersistenceError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    Store::open(&disk, Path::new(DATA), options(StreamMode::Checked))
}

/// Runs the steps until one fails.
fn run(store: &mut Store, steps: &[Step]) -> Result<(), PersistenceError> {
    for step in steps {
        match *step {
            Step::Append(count, bytes) => {
                for _ in 0..count {
                    store.append(&vec![b'B'; bytes.into()])?;
                }
            }
            Step::Commit => store.commit()?,
            Step::Roll => store.files.roll_log().map(|_| ())?,
            Step::Save => store.save()?,
        }
    }
    Ok(())
}

/// Recovers and checks: a prefix that has all of `acknowledged` and nothing behind `appended`. Then
/// goes on, and recovers once more.
fn check_recovery(disk: &SimDisk, acknowledged: i64, appended: i64, what: &str) -> i64 {
    assert_java_reads(disk, acknowledged, what);
    check_recovery_alone(disk, acknowledged, appended, what)
}

/// The same where Java stops: at a record that lost a page in its middle.
fn check_recovery_alone(disk: &SimDisk, acknowledged: i64, appended: i64, what: &str) -> i64 {
    let mut store = open(disk).unwrap_or_else(|error| panic!("{what}: {error}"));
    let recovered = store.prefix();
    assert!(
        (acknowledged..=appended).contains(&recovered),
        "{what}: {acknowledged} acknowledged, {appended} appended, {recovered} recovered"
    );
    run(&mut store, &[Step::Append(3, 10), Step::Commit]).unwrap();
    let again = open(&disk.after_power_loss(Unsynced::Lost)).unwrap().prefix();
    assert_eq!(again, recovered + 3, "{what}: after going on");
    assert_java_reads(disk, again, what);
    recovered
}

/// Java's `FileTxnIterator` in short: where it stops with an error, and where it ends silently.
fn assert_java_reads(disk: &SimDisk, acknowledged: i64, what: &str) {
    let dir = Path::new(DIR);
    let mut logs: Vec<(i64, Vec<u8>)> = disk
        .list(dir)
        .unwrap_or_default()
        .iter()
        .filter_map(|name| {
            let zxid = i64::from_str_radix(name.strip_prefix("log.")?, 16).ok()?;
            Some((zxid, disk.read(&dir.join(name)).unwrap()))
        })
        .collect();
    logs.sort();
    let mut last = 0;
    let count = logs.len();
    for (i, (_, bytes)) in logs.into_iter().enumerate() {
        if bytes.is_empty() && i + 1 == count {
            break;
        }
        assert_eq!(bytes.get(..4), Some(&b"ZKLG"[..]), "{what}: Java refuses the header");
        let mut at = 16;
        while let Some(head) = bytes.get(at..at + 12) {
            let length = u32::from_be_bytes(head[8..].try_into().unwrap()) as usize;
            let record = bytes.get(at + 12..at + 13 + length);
            let Some((&trailer, payload)) = record.and_then(<[u8]>::split_last) else { break };
            if length == 0 || trailer != b'B' {
                break;
            }
            let sum = u64::from_be_bytes(head[..8].try_into().unwrap());
            assert_eq!(sum, adler(payload), "{what}: Java stops at a wrong checksum");
            last = i64::from_be_bytes(payload[12..20].try_into().unwrap());
            at += 13 + length;
        }
    }
    assert!(last >= acknowledged || count == 0 || acknowledged == 0, "{what}: Java misses some");
}

fn adler(bytes: &[u8]) -> u64 {
    simd_adler32::adler32(&bytes).into()
}

const STEPS: &[Step] = &[
    Step::Append(2, 10),
    Step::Commit,
    Step::Append(1, 3000),
    Step::Append(5, 0),
    Step::Commit,
    Step::Roll,
    Step::Append(3, 100),
    Step::Roll,
    Step::Append(3, 5000),
    Step::Commit,
    Step::Save,
    Step::Append(4, 20),
    Step::Commit,
    Step::Append(2, 20),
];

/// How a crash leaves what was not synced.
fn outcomes() -> impl Iterator<Item = Unsynced> {
    let torn = [1, 50, 250, 500, 750, 950, 999].map(Unsynced::Torn);
    [Unsynced::Lost, Unsynced::Kept].into_iter().chain(torn)
}

#[test]
fn a_crash_at_any_call_loses_nothing_acknowledged() {
    let disk = SimDisk::default();
    run(&mut open(&disk).unwrap(), STEPS).unwrap();
    let calls = disk.calls();
    assert!(calls > 30, "{calls}");
    for call in 0..=calls {
        let disk = SimDisk::default();
        disk.fail_all_from(call);
        let (acknowledged, appended) = match open(&disk) {
            Ok(mut store) => {
                let _ = run(&mut store, STEPS);
                (store.acknowledged, store.tree.last_processed_zxid().0)
            }
            Err(_) => (0, 0),
        };
        check_recovery(&disk.after_kill(), acknowledged, appended, &format!("killed at {call}"));
        for unsynced in outcomes() {
            let what = format!("power lost at {call}, {unsynced:?}");
            check_recovery(&disk.after_power_loss(unsynced), acknowledged, appended, &what);
        }
    }
}

#[test]
fn a_crash_during_recovery_is_recovered_from() {
    let disk = SimDisk::default();
    run(&mut open(&disk).unwrap(), STEPS).unwrap();
    // A torn tail and a file without a header: both are repaired.
    let torn = disk.after_power_loss(Unsynced::Torn(500));
    torn.put(&Path::new(DIR).join("log.fff"), &[]);
    let calls = {
        let disk = torn.after_kill();
        open(&disk).unwrap();
        disk.calls()
    };
    assert!(calls >= 3);
    for call in 0..calls {
        let disk = torn.after_kill();
        disk.fail_all_from(call);
        assert!(open(&disk).is_err());
        for unsynced in outcomes() {
            let what = format!("second crash at {call}, {unsynced:?}");
            check_recovery(&disk.after_power_loss(unsynced), 18, 20, &what);
        }
    }
}

#[test]
fn a_failed_call_stops_the_log_and_loses_nothing_acknowledged() {
    let disk = SimDisk::default();
    let mut store = open(&disk).unwrap();
    let first = disk.calls();
    run(&mut store, STEPS).unwrap();
    for call in first..disk.calls() {
        let disk = SimDisk::default();
        let mut store = open(&disk).unwrap();
        disk.fail_at(call);
        let result = run(&mut store, STEPS);
        // Only tidying up behind a roll may fail unnoticed, and a snapshot leaves the log in order.
        if let Err(PersistenceError::Io { path, .. }) = &result
            && path.to_string_lossy().contains("log.")
        {
            assert!(matches!(store.commit(), Err(PersistenceError::Poisoned(_))), "call {call}");
        }
        let appended = store.tree.last_processed_zxid().0;
        for unsynced in outcomes() {
            let what = format!("failed call {call}, {unsynced:?}");
            let after = disk.after_power_loss(unsynced);
            check_recovery(&after, store.acknowledged, appended, &what);
        }
    }
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1u8..6, prop_oneof![0u16..50, 3000u16..9000]).prop_map(|(n, b)| Step::Append(n, b)),
        4 => Just(Step::Commit),
        1 => Just(Step::Roll),
        1 => Just(Step::Save),
    ]
}

fn outcome() -> impl Strategy<Value = Option<Unsynced>> {
    prop_oneof![
        Just(None),
        Just(Some(Unsynced::Lost)),
        Just(Some(Unsynced::Kept)),
        (0u32..1000).prop_map(|per_mille| Some(Unsynced::Torn(per_mille))),
        any::<u64>().prop_map(|lost| Some(Unsynced::Holes(lost))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Lives of a server that end in a crash each: steps, the call at which it comes, and what is
    /// left of the unsynced.
    #[test]
    fn any_number_of_crashes_is_recovered_from(
        lives in prop::collection::vec((prop::collection::vec(step(), 1..12), 0u64..60, outcome()), 1..5)
    ) {
        let mut disk = SimDisk::default();
        let mut known = 0;
        for (steps, call, outcome) in lives {
            disk.fail_all_from(call);
            let (mut acknowledged, mut appended) = (known, known);
            if let Ok(mut store) = open(&disk) {
                prop_assert!(store.prefix() >= known);
                let _ = run(&mut store, &steps);
                (acknowledged, appended) = (store.acknowledged, store.tree.last_processed_zxid().0);
            }
            let after = match outcome {
                None => disk.after_kill(),
                Some(unsynced) => disk.after_power_loss(unsynced),
            };
            // An unacknowledged rest of the life before may be found at first, and then again not:
            // nothing promised it. But recovery itself promises what it has found.
            let check = match outcome {
                Some(Unsynced::Holes(_)) => check_recovery_alone,
                _ => check_recovery,
            };
            known = check(&after, acknowledged, appended.max(known), "a life") + 3;
            disk = after.after_kill();
        }
    }

    /// The power fails in the sync of a batch of many pages, and the disk kept any of them.
    #[test]
    fn any_lost_pages_of_an_unsynced_batch_are_recovered_from(
        before in prop::collection::vec((1u8..20, 0u16..6000), 0..3),
        batch in prop::collection::vec((1u8..60, prop_oneof![0u16..50, 0u16..9000]), 1..5),
        lost in prop::collection::vec(prop_oneof![any::<u64>(), (0..64u32).prop_map(|i| 1 << i)], 1..8),
    ) {
        let disk = SimDisk::default();
        let mut store = open(&disk).unwrap();
        for (count, bytes) in before {
            run(&mut store, &[Step::Append(count, bytes), Step::Commit]).unwrap();
        }
        for (count, bytes) in batch {
            run(&mut store, &[Step::Append(count, bytes)]).unwrap();
        }
        // The header of a new log is written and synced at its first append: what is left is one
        // write and the sync.
        disk.fail_all_from(disk.calls() + 1);
        prop_assert!(store.commit().is_err());
        let appended = store.tree.last_processed_zxid().0;
        for lost in lost {
            let what = format!("pages {lost:#b}");
            let after = disk.after_power_loss(Unsynced::Holes(lost));
            check_recovery_alone(&after, store.acknowledged, appended, &what);
        }
    }
}
