//! The cases of `syncFollower`, as tables.

use super::*;
use crate::quorum::zab::testing::entry;

const OPTIONS: SyncOptions = SyncOptions { force_snapshot: false, is_txn_log_sync_enabled: true };

/// Zxids are written as in `5:7`, epoch and counter.
fn zxid(text: &str) -> Zxid {
    let (epoch, counter) = text.split_once(':').unwrap();
    Zxid::new(epoch.parse().unwrap(), counter.parse().unwrap())
}

fn entries(zxids: &str) -> VecDeque<Arc<TxnLogEntry>> {
    zxids.split_whitespace().map(|text| entry(zxid(text).0)).collect()
}

fn short(zxid: Zxid) -> String {
    format!("{}:{}", zxid.epoch(), zxid.counter())
}

fn start_text(start: SyncStart) -> String {
    match start {
        SyncStart::Diff(zxid) => format!("DIFF {}", short(zxid)),
        SyncStart::Trunc(zxid) => format!("TRUNC {}", short(zxid)),
    }
}

fn text(plan: &SyncPlan) -> String {
    match plan {
        SyncPlan::TxnLog => "LOG".to_owned(),
        SyncPlan::Snapshot(reason) => format!("SNAP {reason:?}"),
        SyncPlan::Packets(packets) => {
            let mut words = Vec::new();
            for packet in packets.packets() {
                match packet {
                    SyncPacket::Start(start) => words.push(start_text(start)),
                    SyncPacket::Proposal(entry) => words.push(format!("P{}", short(entry.zxid()))),
                    SyncPacket::Commit(zxid) => words.push(format!("C{}", short(zxid))),
                }
            }
            format!("{} | {}", words.join(" "), short(packets.last))
        }
    }
}

#[track_caller]
fn check_all(last_processed: &str, committed: &str, applied: &str, peer: &str, expected: &str) {
    check_based("0:0", last_processed, committed, applied, peer, expected);
}

#[track_caller]
fn check_based(
    base: &str,
    last_processed: &str,
    committed: &str,
    applied: &str,
    peer: &str,
    expected: &str,
) {
    let (committed, to_be_applied) = (entries(committed), entries(applied));
    let history = LeaderHistory {
        base: zxid(base),
        last_processed: zxid(last_processed),
        committed: &committed,
        to_be_applied: &to_be_applied,
    };
    assert_eq!(text(&plan(zxid(peer), &history, OPTIONS)), expected, "peer {peer}");
}

#[track_caller]
fn check(committed: &str, peer: &str, expected: &str) {
    let last = committed.split_whitespace().last().unwrap();
    check_all(last, committed, "", peer, expected);
}

#[test]
fn within_the_committed_log() {
    let log = "5:3 5:4 5:5";
    check(log, "5:5", "DIFF 5:5 | 5:5");
    check(log, "5:4", "DIFF 5:5 P5:5 C5:5 | 5:5");
    check(log, "5:3", "DIFF 5:5 P5:4 C5:4 P5:5 C5:5 | 5:5");
    check(log, "5:2", "LOG");
    check(log, "4:9", "LOG");
    check(log, "0:0", "LOG");
}

#[test]
fn beyond_the_committed_log_only_the_same_epoch_is_cut() {
    let log = "5:3 5:4 5:5";
    check(log, "5:6", "TRUNC 5:5 | 5:5");
    check(log, "5:99", "TRUNC 5:5 | 5:5");
    check(log, "6:1", "SNAP OtherEpoch");
    check(log, "6:0", "SNAP TooOld");
    // At an epoch's start: the log is of older epochs.
    check_all("7:0", log, "", "7:0", "DIFF 7:0 | 7:0");
    check_all("7:0", log, "", "5:5", "DIFF 5:5 | 5:5");
    check_all("7:0", log, "", "5:6", "TRUNC 5:5 | 5:5");
    check_all("7:0", log, "", "7:1", "SNAP OtherEpoch");
    check_all("7:0", log, "", "6:0", "SNAP TooOld");
}

#[test]
fn over_the_border_of_an_epoch() {
    let log = "5:3 5:4 6:1 6:2";
    check(log, "5:4", "DIFF 6:2 P6:1 C6:1 P6:2 C6:2 | 6:2");
    check(log, "6:0", "DIFF 6:2 P6:1 C6:1 P6:2 C6:2 | 6:2");
    check(log, "6:1", "DIFF 6:2 P6:2 C6:2 | 6:2");
    // Never a TRUNC across an epoch: such a learner has what the next leader did not know.
    check(log, "5:5", "SNAP OtherEpoch");
    // An epoch without a transaction.
    check("5:3 5:4 7:1", "6:0", "DIFF 7:1 P7:1 C7:1 | 7:1");
    check("5:3 5:4 7:1", "6:3", "SNAP OtherEpoch");
}

#[test]
fn a_hole_means_a_snapshot() {
    check("5:3 5:5 5:6", "5:3", "SNAP Gap");
    check("5:3 5:5 5:6", "5:5", "DIFF 5:6 P5:6 C5:6 | 5:6");
    check("5:3 6:2", "5:3", "SNAP Gap");
    check("5:3 6:2", "6:0", "SNAP Gap");
    // Unknown within the epoch: there is a hole already, whatever the learner has.
    check("5:3 5:5 5:6", "5:4", "SNAP Gap");
}

#[test]
fn what_is_committed_but_not_applied_counts() {
    check_all("5:5", "5:3 5:4", "5:5 5:6", "5:6", "DIFF 5:6 | 5:6");
    check_all("5:5", "5:3 5:4", "5:5 5:6", "5:5", "DIFF 5:5 | 5:5");
    check_all("5:4", "5:3 5:4", "5:5 5:6", "5:5", "DIFF 5:6 P5:6 C5:6 | 5:6");
    check_all(
        "5:5",
        "5:3 5:4 5:5",
        "5:5 5:6",
        "5:3",
        "DIFF 5:6 P5:4 C5:4 P5:5 C5:5 P5:6 C5:6 | 5:6",
    );
    check_all("5:5", "5:3 5:4", "5:5 5:6", "5:7", "TRUNC 5:6 | 5:6");
    check_all("7:0", "5:3 5:4", "7:1", "5:4", "DIFF 7:1 P7:1 C7:1 | 7:1");
    check_all("7:0", "5:3 5:4", "7:1", "7:2", "TRUNC 7:1 | 7:1");
}

#[test]
fn without_a_committed_log() {
    check_all("5:9", "", "", "5:9", "DIFF 5:9 | 5:9");
    check_all("5:9", "", "", "5:8", "LOG");
    check_all("5:9", "", "", "5:12", "TRUNC 5:9 | 5:9");
    check_all("7:0", "", "", "7:3", "SNAP OtherEpoch");
    check_all("7:0", "", "", "9:0", "SNAP TooOld");
    check_all("0:0", "", "", "0:0", "DIFF 0:0 | 0:0");
}

#[test]
fn where_the_leaders_epoch_began() {
    check_based("5:9", "7:0", "", "", "5:9", "DIFF 5:9 | 5:9");
    check_based("5:9", "7:0", "", "7:1", "5:9", "DIFF 7:1 P7:1 C7:1 | 7:1");
    check_based("5:9", "7:2", "7:1 7:2", "", "5:9", "DIFF 7:2 P7:1 C7:1 P7:2 C7:2 | 7:2");
    check_based("5:9", "7:2", "7:1 7:2", "", "5:8", "LOG");
    // The beginning is gone from memory.
    check_based("5:9", "7:9", "7:8 7:9", "", "5:9", "LOG");
    check_based("5:9", "7:2", "5:8 5:9 7:1 7:2", "", "5:9", "DIFF 7:2 P7:1 C7:1 P7:2 C7:2 | 7:2");
    check_based("5:9", "7:3", "7:1 7:3", "", "5:9", "LOG");
}

#[test]
fn flags() {
    let committed = entries("5:3 5:4");
    let none = VecDeque::new();
    let history = LeaderHistory {
        base: zxid("5:2"),
        last_processed: zxid("5:4"),
        committed: &committed,
        to_be_applied: &none,
    };
    let forced = SyncOptions { force_snapshot: true, ..OPTIONS };
    assert_eq!(text(&plan(zxid("5:4"), &history, forced)), "SNAP Forced");
    let without_log = SyncOptions { is_txn_log_sync_enabled: false, ..OPTIONS };
    assert_eq!(text(&plan(zxid("5:1"), &history, without_log)), "SNAP TooOld");
    assert_eq!(text(&plan(Zxid::NONE, &history, without_log)), "SNAP TooOld");
}

#[track_caller]
fn check_log(peer: &str, records: &str, expected: &str) {
    check_log_with(&[], peer, records, expected);
}

#[track_caller]
fn check_log_with(snapshots: &[&str], peer: &str, records: &str, expected: &str) {
    let snapshots = snapshots.iter().map(|snapshot| zxid(snapshot)).collect();
    let mut sync = TxnLogSync::new(zxid(peer)).with_snapshots(snapshots);
    let mut words = Vec::new();
    for record in records.split_whitespace() {
        match sync.record(zxid(record), zxid("9:9")) {
            Ok(LogStep::Skip) => {}
            Ok(LogStep::Start(start)) => words.push(start_text(start)),
            Ok(LogStep::StartAndSend(start)) => {
                words.push(format!("{} {record}", start_text(start)));
            }
            Ok(LogStep::Send) => words.push(record.to_owned()),
            Err(reason) => {
                words.push(format!("{reason:?}"));
                break;
            }
        }
    }
    words.push(format!("| {}", short(sync.last())));
    assert_eq!(words.join(" "), expected, "peer {peer}");
}

#[test]
fn from_the_transaction_log() {
    check_log("5:2", "5:1 5:2 5:3 6:1", "DIFF 9:9 5:3 6:1 | 6:1");
    check_log("5:2", "5:2 5:3", "DIFF 9:9 5:3 | 5:3");
    check_log("5:2", "5:3 5:4", "TooOld | 5:2");
    check_log("5:2", "5:1 5:2 5:4", "DIFF 9:9 Gap | 5:2");
    check_log("5:2", "5:1 5:3", "Gap | 5:2");
    check_log("5:2", "5:1 6:1", "OtherEpoch | 5:2");
    check_log("6:0", "5:1 6:1 6:2", "DIFF 9:9 6:1 6:2 | 6:2");
    check_log("6:0", "5:1 6:2", "Gap | 6:0");
    check_log("0:0", "1:1", "TooOld | 0:0");
    check_log("5:2", "5:1", "| 5:2");
}

#[test]
fn the_log_joins_memory_without_a_hole() {
    let (committed, to_be_applied) = (entries("5:3 5:4"), entries("5:5"));
    let history = LeaderHistory {
        base: zxid("5:2"),
        last_processed: zxid("5:4"),
        committed: &committed,
        to_be_applied: &to_be_applied,
    };
    let check = |last: &str, expected: Option<&str>| {
        let joined = history.join(zxid(last)).map(|entries| {
            entries.iter().map(|entry| short(entry.zxid())).collect::<Vec<_>>().join(" ")
        });
        assert_eq!(joined.as_deref(), expected, "{last}");
    };
    check("5:1", None);
    check("5:2", Some("5:3 5:4 5:5"));
    check("5:3", Some("5:4 5:5"));
    check("5:4", Some("5:5"));
    check("5:5", Some(""));
}

#[test]
fn what_only_a_snapshot_holds_is_not_left_out() {
    // Taken over from a leader, while the log ended before; then an epoch began.
    check_log_with(&["5:9"], "5:2", "5:1 5:2 6:1", "DIFF 9:9 Gap | 5:2");
    check_log_with(&["6:0"], "5:1", "5:1 6:1", "DIFF 9:9 Gap | 5:1");
    // The learner has it, or it is in the log as well.
    check_log_with(&["5:9", "6:0"], "6:0", "5:1 6:1 6:2", "DIFF 9:9 6:1 6:2 | 6:2");
    check_log_with(&["5:1", "5:3", "6:1"], "5:2", "5:2 5:3 6:1", "DIFF 9:9 5:3 6:1 | 6:1");
}
