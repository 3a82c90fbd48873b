//! Traces of the learner, and a model disk on which the power fails after every single action.

use proptest::prelude::*;

use super::*;
use crate::proto::txn::{ErrorTxn, TxnHeader};
use crate::proto::{OpCode, Txn};

/// A transaction; `tag` tells histories apart that use the same zxids.
fn txn(epoch: i64, counter: i64, tag: i32) -> Arc<TxnLogEntry> {
    let header = TxnHeader {
        client_id: SessionId(1),
        cxid: tag,
        zxid: Zxid::new(epoch, counter),
        time: 0,
        txn_type: OpCode::Error.as_i32(),
    };
    Arc::new(TxnLogEntry::new(header, Txn::Error(ErrorTxn { err: -101 }), None))
}

fn start(kind: LearnerKind, last: Zxid) -> LearnerStart {
    LearnerStart {
        kind,
        accepted_epoch: 4,
        current_epoch: 4,
        last_logged_zxid: last,
        must_write_snapshot: false,
    }
}

const FOLLOWER: LearnerKind = LearnerKind::Follower;
const OBSERVER: LearnerKind = LearnerKind::Observer { has_log: true };
const MEMORY_OBSERVER: LearnerKind = LearnerKind::Observer { has_log: false };

/// The tests' short form of packets, separated by blanks: `info5` `diff` `trunc4.7` `snap4.9`
/// `p5.1` `c5.1` `i5.1` `new5` `new5+config` `upto` `ping` `sync` `valid` `junk`.
fn packet(word: &str) -> LeaderPacket {
    let (name, rest) = word.split_at(word.find(|c: char| c.is_ascii_digit()).unwrap_or(word.len()));
    let (number, config) = rest.split_once('+').unwrap_or((rest, ""));
    let (epoch, counter) = number.split_once('.').unwrap_or((number, "0"));
    let epoch = epoch.parse().unwrap_or(0);
    let counter = counter.parse().unwrap_or(0);
    let zxid = Zxid::new(epoch, counter);
    match name {
        "info" => LeaderPacket::LeaderInfo { zxid, version: Some(PROTOCOL_VERSION) },
        "diff" => LeaderPacket::Diff(zxid),
        "trunc" => LeaderPacket::Trunc(zxid),
        "snap" => LeaderPacket::Snap(zxid),
        "p" => LeaderPacket::Proposal(txn(epoch, counter, 0)),
        "c" => LeaderPacket::Commit(zxid),
        "i" => LeaderPacket::Inform(txn(epoch, counter, 0)),
        "new" => LeaderPacket::NewLeader {
            zxid,
            config: Some(Arc::from(config.as_bytes())).filter(|text: &Arc<[u8]>| !text.is_empty()),
        },
        "upto" => LeaderPacket::UpToDate,
        "ping" => LeaderPacket::Ping(zxid),
        "sync" => LeaderPacket::Sync,
        "valid" => LeaderPacket::Revalidate { session: SessionId(1), is_valid: true },
        "junk" => LeaderPacket::Unknown(99),
        _ => panic!("no packet {word}"),
    }
}

fn show_zxid(zxid: Zxid) -> String {
    format!("{}.{}", zxid.epoch(), zxid.counter())
}

fn show(action: &LearnerAction) -> String {
    match action {
        LearnerAction::SendInfo(zxid) => format!("Info{}", show_zxid(*zxid)),
        LearnerAction::WriteAcceptedEpoch(epoch) => format!("Accepted{epoch}"),
        LearnerAction::SendAckEpoch { last_zxid, current_epoch } => {
            format!("AckEpoch{}:{current_epoch}", show_zxid(*last_zxid))
        }
        LearnerAction::Truncate(zxid) => format!("Truncate{}", show_zxid(*zxid)),
        LearnerAction::LoadSnapshot(zxid) => format!("Load{}", show_zxid(*zxid)),
        LearnerAction::Log(entry) => format!("Log{}", show_zxid(entry.zxid())),
        LearnerAction::Fsync => "Fsync".to_owned(),
        LearnerAction::Apply(entry) => format!("Apply{}", show_zxid(entry.zxid())),
        LearnerAction::DiscardLogAfter(zxid) => format!("DiscardLog{}", show_zxid(*zxid)),
        LearnerAction::WriteSnapshot => "Snapshot".to_owned(),
        LearnerAction::SetAsideOthers => "SetAside".to_owned(),
        LearnerAction::WriteCurrentEpoch(epoch) => format!("Current{epoch}"),
        LearnerAction::SendAck(zxid) => format!("Ack{}", show_zxid(*zxid)),
        LearnerAction::SeeConfig(_) => "See".to_owned(),
        LearnerAction::ActivateConfig { .. } => "Activate".to_owned(),
        LearnerAction::StartServing(epoch) => format!("Serve{epoch}"),
        LearnerAction::LogProposal(entry) => format!("LogProposal{}", show_zxid(entry.zxid())),
        LearnerAction::Commit(entry) => format!("Commit{}", show_zxid(entry.zxid())),
        LearnerAction::AnswerPing(_) => "Ping".to_owned(),
        LearnerAction::FinishRevalidation { .. } => "Revalidated".to_owned(),
        LearnerAction::CommitSync => "Sync".to_owned(),
        LearnerAction::Note(_) => "Note".to_owned(),
    }
}

/// Runs a story for a learner at `last`; per packet its actions, or the error.
fn trace(kind: LearnerKind, last: (i64, i64), packets: &str) -> String {
    let mut actions = Vec::new();
    let mut learner = LearnerSync::new(start(kind, Zxid::new(last.0, last.1)), &mut actions);
    let mut lines = Vec::new();
    for word in packets.split_whitespace() {
        actions.clear();
        let outcome = learner.on_packet(packet(word), &mut actions);
        let mut line: Vec<String> = actions.iter().map(show).collect();
        if let Err(error) = outcome {
            line.push(format!("! {error}"));
        }
        lines.push(line.join(" "));
    }
    lines.join(" | ")
}

fn check(kind: LearnerKind, last: (i64, i64), packets: &str, expected: impl AsRef<str>) {
    assert_eq!(trace(kind, last, packets), expected.as_ref(), "{packets}");
}

/// As `check`, behind LEADERINFO of epoch 5.
fn check_sync(kind: LearnerKind, last: (i64, i64), packets: &str, expected: impl AsRef<str>) {
    let all = trace(kind, last, &format!("info5 {packets}"));
    let (_, rest) = all.split_once(" | ").unwrap();
    assert_eq!(rest, expected.as_ref(), "{packets}");
}

const SERVE: &str = "Ack5.0 Serve5";
const NEW_DIFF: &str = "Fsync Current5 Ack5.0";

#[test]
fn an_epoch_is_accepted_durably_before_it_is_acknowledged() {
    check(FOLLOWER, (4, 7), "info5", "Accepted5 AckEpoch4.7:4");
    check(FOLLOWER, (4, 7), "info4", "AckEpoch4.7:-1");
    check(FOLLOWER, (4, 7), "info3", "! Leaders epoch, 3 is less than accepted epoch, 4");
    let mut actions = Vec::new();
    LearnerSync::new(start(OBSERVER, Zxid(0)), &mut actions);
    assert_eq!(actions, [LearnerAction::SendInfo(Zxid::new(4, 0))]);
}

#[test]
fn leaders_before_zab_1_0_are_refused() {
    let old = "! leader does not speak ZAB 1.0 (protocol version None)";
    check(FOLLOWER, (4, 7), "new5", old);
    for version in [None, Some(1)] {
        let mut learner = LearnerSync::new(start(FOLLOWER, Zxid(0)), &mut Vec::new());
        let info = LeaderPacket::LeaderInfo { zxid: Zxid::new(5, 0), version };
        let outcome = learner.on_packet(info, &mut Vec::new());
        assert_eq!(outcome, Err(LearnerSyncError::ProtocolVersion(version)));
    }
}

#[test]
fn a_diff_is_durable_before_the_epoch_and_the_epoch_before_the_ack() {
    check_sync(
        FOLLOWER,
        (4, 7),
        "diff4.9 p4.8 c4.8 p4.9 c4.9 new5 upto",
        format!(" |  | Log4.8 Apply4.8 |  | Log4.9 Apply4.9 | {NEW_DIFF} | {SERVE}"),
    );
    check_sync(FOLLOWER, (4, 7), "diff4.7 new5", format!(" | {NEW_DIFF}"));
}

#[test]
fn zookeeper_4394_proposals_outstanding_at_newleader_wait_for_their_commits() {
    check_sync(
        FOLLOWER,
        (4, 7),
        "diff4.8 p4.8 p5.1 c4.8 new5 p5.2 c5.1 upto c5.2 p5.3",
        format!(
            " |  |  | Log4.8 Apply4.8 | {NEW_DIFF} |  |  | {SERVE} LogProposal5.1 LogProposal5.2 \
             Commit5.1 | Commit5.2 | LogProposal5.3"
        ),
    );
}

#[test]
fn a_truncation_comes_before_everything_and_is_logged_like_a_diff() {
    check_sync(
        FOLLOWER,
        (4, 9),
        "trunc4.7 p4.8 c4.8 new5 upto",
        format!("Truncate4.7 |  | Log4.8 Apply4.8 | {NEW_DIFF} | {SERVE}"),
    );
}

#[test]
fn zookeeper_3642_nothing_is_logged_on_a_snapshot_that_is_not_written() {
    check_sync(
        FOLLOWER,
        (4, 2),
        "snap4.7 p4.8 p4.9 c4.8 new5 c4.9 upto",
        format!(
            "Load4.7 |  |  | Apply4.8 | Snapshot SetAside Current5 Ack5.0 |  | {SERVE} \
             LogProposal4.9 Commit4.9"
        ),
    );
}

#[test]
fn a_log_that_reaches_beyond_a_snapshot_is_cut_first() {
    check_sync(
        FOLLOWER,
        (4, 9),
        "snap4.7 new5",
        "Load4.7 | DiscardLog4.7 Snapshot SetAside Current5 Ack5.0",
    );
}

#[test]
fn what_was_sent_before_a_snapshots_zxid_is_skipped() {
    check_sync(
        FOLLOWER,
        (4, 2),
        "snap4.7 p4.6 c4.6 p4.7 c4.7 p4.8 c4.8",
        "Load4.7 | Note | Note | Note | Note |  | Apply4.8",
    );
}

#[test]
fn a_proposal_sent_twice_is_skipped_with_its_second_commit() {
    check_sync(
        FOLLOWER,
        (4, 7),
        "diff new5 upto p5.1 p5.1 c5.1 c5.1 p5.2 c5.2",
        format!(
            " | {NEW_DIFF} | {SERVE} | LogProposal5.1 | Note | Commit5.1 | Note | LogProposal5.2 | \
             Commit5.2"
        ),
    );
}

#[test]
fn zookeeper_4925_a_hole_in_the_history_is_refused() {
    let gap = |found, expected| {
        format!("! got proposal {found}, last queued 0x400000007, expected {expected}")
    };
    let gap = |found| gap(found, "0x400000008");
    check_sync(FOLLOWER, (4, 7), "diff p4.9", format!(" | {}", gap("0x400000009")));
    check_sync(FOLLOWER, (4, 7), "diff p5.2", format!(" | {}", gap("0x500000002")));
    check_sync(FOLLOWER, (4, 7), "diff p5.0", format!(" | {}", gap("0x500000000")));
    check_sync(OBSERVER, (4, 7), "diff i4.9", format!(" | {}", gap("0x400000009")));
    check_sync(FOLLOWER, (4, 7), "diff p5.1 p6.1", {
        " |  | ! got proposal 0x600000001 from the leader of epoch 5"
    });
    check_sync(FOLLOWER, (3, 7), "diff p5.1", " | ");
    check_sync(FOLLOWER, (4, 0), "diff p4.1", " | ");
    check_sync(FOLLOWER, (4, 0), "diff p5.1", " | ");
}

#[test]
fn a_commit_of_anything_but_the_oldest_proposal_ends_the_connection() {
    let unmatched = "! Committing 0x500000002 but next proposal is Some(0x500000001)";
    check_sync(FOLLOWER, (4, 7), "diff p5.1 p5.2 c5.2 c5.1", {
        format!(" |  |  | {unmatched} | ! the connection has failed before")
    });
    check_sync(FOLLOWER, (4, 7), "diff p5.1 new5 p5.2 c5.2", {
        format!(" |  | {NEW_DIFF} |  | {unmatched}")
    });
    check_sync(FOLLOWER, (4, 7), "diff new5 upto p5.1 p5.2 c5.2", {
        format!(" | {NEW_DIFF} | {SERVE} | LogProposal5.1 | LogProposal5.2 | {unmatched}")
    });
    check_sync(FOLLOWER, (4, 7), "diff new5 c4.8", {
        format!(" | {NEW_DIFF} | ! Committing 0x400000008 but next proposal is None")
    });
}

#[test]
fn packets_out_of_their_order_end_the_connection() {
    let cases = [
        ("diff4.7 diff4.7", "unexpected DIFF while synchronizing"),
        ("diff4.7 upto", "unexpected UPTODATE while synchronizing"),
        ("p4.8", "unexpected PROPOSAL while waiting for DIFF, TRUNC or SNAP"),
        ("ping", "unexpected PING while waiting for DIFF, TRUNC or SNAP"),
        ("diff new5 new5", "unexpected NEWLEADER while waiting for UPTODATE"),
        ("diff new5 snap4.7", "unexpected SNAP while waiting for UPTODATE"),
        ("diff new6", "NEWLEADER 0x600000000 from the leader of epoch 5"),
        ("diff new5 upto trunc4.7", "unexpected TRUNC while serving"),
        ("diff new5 upto new5", "unexpected NEWLEADER while serving"),
        ("diff new5 upto info6", "unexpected LEADERINFO while serving"),
    ];
    for (packets, error) in cases {
        let trace = trace(FOLLOWER, (4, 7), &format!("info5 {packets}"));
        assert!(trace.ends_with(&format!("! {error}")), "{packets}: {trace}");
    }
}

#[test]
fn strange_packets_are_ignored_as_in_java() {
    check_sync(FOLLOWER, (4, 7), "diff junk ping sync new5 junk upto junk upto i5.1", {
        format!(" | Note | Note | Note | {NEW_DIFF} | Note | {SERVE} | Note | Note | Note")
    });
    check_sync(OBSERVER, (4, 7), "diff new5 upto p5.1 c5.1", {
        format!(" | {NEW_DIFF} | {SERVE} | Note | Note")
    });
}

#[test]
fn questions_of_a_serving_learner_are_answered() {
    check_sync(FOLLOWER, (4, 7), "diff new5 upto ping sync valid", {
        format!(" | {NEW_DIFF} | {SERVE} | Ping | Sync | Revalidated")
    });
}

#[test]
fn observers_log_what_they_are_informed_of() {
    check_sync(
        OBSERVER,
        (4, 7),
        "diff p4.8 c4.8 i4.9 new5 i5.1 upto i5.2",
        format!(
            " |  | Log4.8 Apply4.8 | Log4.9 Apply4.9 | {NEW_DIFF} |  | {SERVE} LogProposal5.1 \
             Commit5.1 | LogProposal5.2 Commit5.2"
        ),
    );
    assert_eq!(LearnerSync::on_logged(OBSERVER, &txn(5, 1, 0)), None);
    let ack = Some(LearnerAction::SendAck(Zxid::new(5, 1)));
    assert_eq!(LearnerSync::on_logged(FOLLOWER, &txn(5, 1, 0)), ack);
}

#[test]
fn an_observer_without_a_log_claims_no_epoch_that_its_disk_does_not_have() {
    check_sync(
        MEMORY_OBSERVER,
        (4, 7),
        "diff p4.8 c4.8 i4.9 new5 i5.1 upto i5.2",
        format!(" |  | Apply4.8 | Apply4.9 | Ack5.0 |  | {SERVE} Commit5.1 | Commit5.2"),
    );
    check_sync(MEMORY_OBSERVER, (4, 7), "snap5.7 new5", {
        "Load5.7 | Snapshot SetAside Current5 Ack5.0"
    });
}

#[test]
fn configurations_are_seen_at_newleader_and_active_at_uptodate() {
    check_sync(FOLLOWER, (4, 7), "diff new5+version=0 upto", {
        " | See Fsync Current5 Ack5.0 | Activate Ack5.0 Serve5"
    });
}

#[test]
fn a_snapshot_that_must_be_written_follows_the_diff() {
    let start = LearnerStart { must_write_snapshot: true, ..start(FOLLOWER, Zxid::new(4, 7)) };
    let mut learner = LearnerSync::new(start, &mut Vec::new());
    let mut actions = Vec::new();
    for word in ["info5", "diff", "new5"] {
        actions.clear();
        learner.on_packet(packet(word), &mut actions).unwrap();
    }
    let shown: Vec<String> = actions.iter().map(show).collect();
    assert_eq!(shown.join(" "), "Fsync Snapshot Current5 Ack5.0");
}

/// A history as a list of (zxid, tag).
type History = Vec<(Zxid, i32)>;

/// What a disk holds. `durable_log` of the log's records survive a power cut for certain.
#[derive(Debug, Clone, Default)]
struct ModelDisk {
    accepted_epoch: i64,
    current_epoch: i64,
    log: History,
    durable_log: usize,
    snapshots: Vec<History>,
}

impl ModelDisk {
    /// Newest snapshot and the log behind it; `None` when a hole shows.
    fn recover(&self) -> Option<History> {
        let newest = self.snapshots.iter().max_by_key(|history| history.last().copied());
        let mut history = newest.cloned().unwrap_or_default();
        for (zxid, tag) in &self.log {
            let last = history.last().map_or(Zxid(0), |(last, _)| *last);
            if *zxid <= last {
                continue;
            }
            let is_next = *zxid == last.next();
            let is_first = zxid.epoch() > last.epoch() && zxid.counter() == 1;
            if !is_next && !is_first {
                return None;
            }
            history.push((*zxid, *tag));
        }
        Some(history)
    }

    fn power_cut(&self, kept: usize) -> ModelDisk {
        let mut disk = self.clone();
        disk.log.truncate(self.durable_log.max(kept.min(self.log.len())));
        disk.durable_log = disk.log.len();
        disk
    }
}

/// A learner that carries its actions out on a model disk.
struct ModelLearner {
    disk: ModelDisk,
    tree: History,
    /// What LoadSnapshot finds on the stream.
    snapshot: History,
    acks: Vec<Zxid>,
    is_serving: bool,
}

impl ModelLearner {
    fn carry_out(&mut self, action: &LearnerAction) {
        let item = |entry: &TxnLogEntry| (entry.zxid(), entry.header.cxid);
        let disk = &mut self.disk;
        match action {
            LearnerAction::WriteAcceptedEpoch(epoch) => disk.accepted_epoch = *epoch,
            LearnerAction::WriteCurrentEpoch(epoch) => disk.current_epoch = *epoch,
            LearnerAction::Truncate(zxid) => {
                disk.log.retain(|(logged, _)| logged <= zxid);
                disk.durable_log = disk.log.len();
                disk.snapshots
                    .retain(|history| history.last().is_none_or(|(last, _)| last <= zxid));
                self.tree = disk.recover().unwrap();
            }
            LearnerAction::LoadSnapshot(_) => self.tree = self.snapshot.clone(),
            LearnerAction::Log(entry) | LearnerAction::LogProposal(entry) => {
                disk.log.push(item(entry));
            }
            LearnerAction::Fsync => disk.durable_log = disk.log.len(),
            LearnerAction::Apply(entry) | LearnerAction::Commit(entry) => {
                self.tree.push(item(entry));
            }
            LearnerAction::DiscardLogAfter(zxid) => {
                disk.log.retain(|(logged, _)| logged <= zxid);
                disk.durable_log = disk.log.len();
            }
            LearnerAction::WriteSnapshot => disk.snapshots.push(self.tree.clone()),
            LearnerAction::SetAsideOthers => {
                disk.log.clear();
                disk.durable_log = 0;
                disk.snapshots = disk.snapshots.pop().into_iter().collect();
            }
            LearnerAction::SendAck(zxid) => self.acks.push(*zxid),
            LearnerAction::StartServing(_) => self.is_serving = true,
            _ => {}
        }
    }
}

/// A history of epochs 1, 2, …, each with so many transactions.
fn history(counts: &[usize], tag: i32) -> History {
    let epochs = counts.iter().zip(1i64..);
    epochs
        .flat_map(|(count, epoch)| (1..=*count as i64).map(move |n| (Zxid::new(epoch, n), tag)))
        .collect()
}

#[derive(Debug, Clone)]
struct Story {
    /// What both have.
    shared: History,
    /// What the learner's disk has behind it; never committed.
    own: usize,
    /// What the leader has behind it, its initial history.
    leader: History,
    /// Proposals of the new epoch that are sent before NEWLEADER, before UPTODATE, after it.
    forwarded: [usize; 3],
    /// How many of them are committed before NEWLEADER, before UPTODATE, in the end.
    committed: [usize; 3],
    use_snapshot: bool,
    /// How much of `shared` was snapshotted.
    snapshot_at: usize,
    kind: LearnerKind,
}

fn story() -> impl Strategy<Value = Story> {
    let counts = prop::collection::vec(1..4usize, 1..4);
    (
        (counts, 0..4usize, 0..4usize, 0..2usize),
        (prop::array::uniform3(0..3usize), prop::array::uniform3(0..3usize)),
        (any::<bool>(), 0..8usize, any::<bool>()),
    )
        .prop_map(
            |(
                (counts, own, rest, extra_epoch),
                (forwarded, commits),
                (use_snapshot, at, follower),
            )| {
                let shared = history(&counts, 0);
                let (last_epoch, last_count) =
                    (counts.len() as i64, counts[counts.len() - 1] as i64);
                let mut leader: History = (1..=rest as i64)
                    .map(|n| match extra_epoch {
                        0 => (Zxid::new(last_epoch, last_count + n), 1),
                        _ => (Zxid::new(last_epoch + 1, n), 1),
                    })
                    .collect();
                leader.splice(0..0, shared.iter().copied());
                let mut committed = [0; 3];
                let (mut sent, mut done) = (0, 0);
                for (n, slot) in committed.iter_mut().enumerate() {
                    sent += forwarded[n];
                    done = (done + commits[n]).min(sent);
                    *slot = done;
                }
                let kind = if follower { FOLLOWER } else { OBSERVER };
                Story {
                    snapshot_at: at.min(shared.len()),
                    shared,
                    own,
                    leader,
                    forwarded,
                    committed,
                    use_snapshot,
                    kind,
                }
            },
        )
}

impl Story {
    const EPOCH: i64 = 9;

    fn disk(&self) -> ModelDisk {
        let mut log = self.shared.clone();
        let last = self.shared.last().unwrap().0;
        log.extend((1..=self.own as i64).map(|n| (Zxid(last.0 + n), 2)));
        let snapshots = vec![self.shared[..self.snapshot_at].to_vec()];
        let epoch = last.epoch();
        ModelDisk {
            accepted_epoch: epoch,
            current_epoch: epoch,
            durable_log: log.len(),
            log,
            snapshots,
        }
    }

    fn new_txns(&self) -> Vec<Arc<TxnLogEntry>> {
        let count = self.forwarded.iter().sum::<usize>() as i64;
        (1..=count).map(|n| txn(Story::EPOCH, n, 3)).collect()
    }

    /// What the leader's history is in the end.
    fn whole(&self) -> History {
        let mut whole = self.leader.clone();
        whole.extend(self.new_txns().iter().map(|entry| (entry.zxid(), entry.header.cxid)));
        whole
    }

    /// The leader's packets.
    fn packets(&self) -> Vec<LeaderPacket> {
        let end = self.leader.last().unwrap().0;
        let mut packets = vec![LeaderPacket::LeaderInfo {
            zxid: Zxid::new(Story::EPOCH, 0),
            version: Some(PROTOCOL_VERSION),
        }];
        let from = if self.use_snapshot {
            packets.push(LeaderPacket::Snap(end));
            self.leader.len()
        } else {
            packets.push(match self.own {
                0 => LeaderPacket::Diff(end),
                _ => LeaderPacket::Trunc(self.shared.last().unwrap().0),
            });
            self.shared.len()
        };
        for (zxid, tag) in &self.leader[from..] {
            packets.push(LeaderPacket::Proposal(txn(zxid.epoch(), zxid.counter(), *tag)));
            packets.push(LeaderPacket::Commit(*zxid));
        }
        let new_txns = self.new_txns();
        let (mut sent, mut done) = (0, 0);
        for stage in 0..3 {
            match self.kind {
                LearnerKind::Follower => {
                    for entry in &new_txns[sent..sent + self.forwarded[stage]] {
                        packets.push(LeaderPacket::Proposal(Arc::clone(entry)));
                    }
                    for entry in &new_txns[done..self.committed[stage]] {
                        packets.push(LeaderPacket::Commit(entry.zxid()));
                    }
                }
                LearnerKind::Observer { .. } => {
                    for entry in &new_txns[done..self.committed[stage]] {
                        packets.push(LeaderPacket::Inform(Arc::clone(entry)));
                    }
                }
            }
            sent += self.forwarded[stage];
            done = self.committed[stage];
            match stage {
                0 => packets.push(LeaderPacket::NewLeader {
                    zxid: Zxid::new(Story::EPOCH, 0),
                    config: None,
                }),
                1 => packets.push(LeaderPacket::UpToDate),
                _ => {}
            }
        }
        packets
    }

    /// What must be true of a disk after a power cut at any moment.
    fn check_recovery(&self, before: &ModelDisk, disk: &ModelDisk, acks: &[Zxid]) {
        let recovered = disk.recover().expect("a hole");
        let old = before.recover().unwrap();
        let whole = self.whole();
        assert!(
            old.starts_with(&recovered) || whole.starts_with(&recovered),
            "neither a prefix of its own nor of the leader's history: {recovered:?}"
        );
        assert!(recovered.starts_with(&self.shared), "lost what was committed: {recovered:?}");
        assert!(disk.accepted_epoch >= disk.current_epoch);
        if disk.current_epoch == Story::EPOCH || !acks.is_empty() {
            assert_eq!(
                disk.current_epoch,
                Story::EPOCH,
                "acknowledged before the epoch was written"
            );
            assert!(recovered.starts_with(&self.leader), "an epoch without its history");
        }
        for zxid in acks.iter().filter(|zxid| zxid.counter() != 0) {
            assert!(recovered.iter().any(|(found, _)| found == zxid), "lost {zxid}, acknowledged");
        }
    }

    fn run(&self) {
        let before = self.disk();
        let old = before.recover().unwrap();
        let mut actions = Vec::new();
        let start = LearnerStart {
            kind: self.kind,
            accepted_epoch: before.accepted_epoch,
            current_epoch: before.current_epoch,
            last_logged_zxid: old.last().unwrap().0,
            must_write_snapshot: false,
        };
        let mut learner = LearnerSync::new(start, &mut actions);
        let mut model = ModelLearner {
            disk: before.clone(),
            tree: old,
            snapshot: self.leader.clone(),
            acks: Vec::new(),
            is_serving: false,
        };
        for packet in self.packets() {
            learner.on_packet(packet, &mut actions).unwrap();
            for action in actions.drain(..) {
                if matches!(action, LearnerAction::LogProposal(_) | LearnerAction::Commit(_)) {
                    assert!(model.is_serving);
                }
                model.carry_out(&action);
                for kept in 0..=model.disk.log.len() {
                    self.check_recovery(&before, &model.disk.power_cut(kept), &model.acks);
                }
                if let LearnerAction::LogProposal(entry) = &action {
                    // The thread that logs: flush, then acknowledge.
                    model.carry_out(&LearnerAction::Fsync);
                    if let Some(ack) = LearnerSync::on_logged(self.kind, entry) {
                        model.carry_out(&ack);
                    }
                    self.check_recovery(&before, &model.disk.power_cut(0), &model.acks);
                }
            }
        }
        assert!(model.is_serving);
        let whole = self.whole();
        let committed = self.leader.len() + self.committed[2];
        assert_eq!(model.tree, whole[..committed], "the tree has what is committed");
        let logged = match self.kind {
            LearnerKind::Follower => whole.len(),
            LearnerKind::Observer { .. } => committed,
        };
        assert_eq!(model.disk.recover().unwrap(), whole[..logged], "the disk has what was sent");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn a_power_cut_after_any_action_leaves_a_disk_to_recover_from(story in story()) {
        story.run();
    }

    /// Whatever arrives, in whatever order: no panic, and the order of the durable steps is kept.
    #[test]
    fn no_packets_break_the_order_of_durable_steps(words in prop::collection::vec(
        prop::sample::select(vec![
            "info5", "info4", "diff", "trunc4.3", "snap4.9", "snap5.2", "p4.8", "c4.8", "p4.9",
            "c4.9", "p5.1", "c5.1", "p5.2", "c5.2", "i5.1", "i5.2", "new5", "upto", "ping", "junk",
        ]), 0..20), kind in prop::sample::select(vec![FOLLOWER, OBSERVER, MEMORY_OBSERVER])) {
        let mut actions = Vec::new();
        let mut learner = LearnerSync::new(start(kind, Zxid::new(4, 7)), &mut actions);
        for word in words {
            let _ = learner.on_packet(packet(word), &mut actions);
        }
        let place = |wanted: &str| actions.iter().position(|action| show(action).starts_with(wanted));
        let acked = place("Ack5.0").unwrap_or(usize::MAX);
        for later in ["Serve", "LogProposal", "Commit"] {
            prop_assert!(place(later).is_none_or(|at| at > acked), "{later}: {actions:?}");
        }
        if kind == FOLLOWER && acked != usize::MAX {
            let epoch = place("Current5").unwrap();
            prop_assert!(epoch < acked);
            prop_assert!(place("Fsync").or(place("Snapshot")).unwrap() < epoch);
        }
        let mut last = Zxid(0);
        for action in &actions {
            if let LearnerAction::Apply(entry) | LearnerAction::Commit(entry) = action {
                prop_assert!(entry.zxid() > last, "applied twice or out of order: {actions:?}");
                last = entry.zxid();
            }
        }
    }
}
