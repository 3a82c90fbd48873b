//! `LearnerHandler.syncFollower` and the sending of a snapshot: carries out what
//! [`sync_plan`](crate::quorum::zab::sync_plan) decides.
//!
//! Deliberate differences: transactions from the log are written as they are read, before the
//! learner is made one of those that are sent what follows, while Java holds all of them in memory
//! and the committed log's lock all the while; a hole met on the way ends the connection, and the
//! next one gets a snapshot; the snapshot is that of the very zxid behind which forwarding starts.

use std::io;
use std::net::TcpStream;
use std::sync::Arc;

use super::learner_link::LearnerLink;
use super::learner_master::{LearnerError, LearnerMaster, SyncBegin};
use super::learner_sync_throttler::SyncSlot;
use crate::jute::OutputExt;
use crate::proto::{TxnLogEntry, Zxid};
use crate::quorum::packet_stream::{PacketType, PacketWriter};
use crate::quorum::zab::sync_plan::{LogStep, SyncStart, TxnLogSync};
use crate::tree::SnapshotWalk;

/// What follows a snapshot.
const SIGNATURE: &str = "BenWasHere";
/// Nodes of a snapshot written under one hold of the tree's guard.
const NODES_PER_CHUNK: usize = 1024;
/// How often the log is read again while commits outrun it. With a wait in between, enough for any
/// disk; then the learner is dropped and comes again.
const LOG_PASSES_MAX: u32 = 200;

/// What a learner was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncKind {
    /// DIFF or TRUNC.
    Diff,
    /// SNAP.
    Snap,
}

type Writer = PacketWriter<TcpStream>;

/// Brings a learner up to date whose log ends with `peer`; what follows is in the link's queue
/// afterwards. The slot is to be kept until the learner has acknowledged.
pub fn sync_follower(
    master: &dyn LearnerMaster,
    link: &Arc<LearnerLink>,
    peer: Zxid,
    writer: &mut Writer,
) -> Result<(SyncKind, SyncSlot), LearnerError> {
    let is_essential = link.is_participant();
    let begin_diff = || -> Result<SyncSlot, LearnerError> {
        let slot = master.diff_throttler().begin_sync(is_essential)?;
        let metrics = master.metrics();
        metrics.inflight_diff_count.add(master.diff_throttler().sync_in_progress().into());
        metrics.diff_count.increment();
        Ok(slot)
    };
    match master.begin_sync(link, peer)? {
        SyncBegin::Packets(packets) => {
            let slot = begin_diff()?;
            write_start(packets.start, link, writer)?;
            packets.entries.iter().try_for_each(|entry| write_txn(entry, writer))?;
            Ok((SyncKind::Diff, slot))
        }
        SyncBegin::TxnLog => {
            let slot = begin_diff()?;
            if sync_from_log(master, link, peer, writer)? {
                return Ok((SyncKind::Diff, slot));
            }
            drop(slot);
            let walk = master.begin_snapshot(link)?;
            let slot = write_snapshot(master, link, peer, walk, writer)?;
            Ok((SyncKind::Snap, slot))
        }
        SyncBegin::Snapshot(walk, reason) => {
            log::debug!("A snapshot for {}: {reason:?}", link.sid());
            let slot = write_snapshot(master, link, peer, walk, writer)?;
            Ok((SyncKind::Snap, slot))
        }
    }
}

fn write_start(start: SyncStart, link: &LearnerLink, writer: &mut Writer) -> io::Result<()> {
    let (kind, name, zxid) = match start {
        SyncStart::Diff(zxid) => (PacketType::Diff, "DIFF", zxid),
        SyncStart::Trunc(zxid) => (PacketType::Trunc, "TRUNC", zxid),
    };
    log::info!("Sending {name} zxid={zxid} for peer sid: {}", link.sid());
    writer.write(kind, zxid.0, None)
}

fn write_txn(entry: &TxnLogEntry, writer: &mut Writer) -> io::Result<()> {
    let zxid = entry.zxid().0;
    writer.write(PacketType::Proposal, zxid, Some(&entry.bytes))?;
    writer.write(PacketType::Commit, zxid, None)
}

/// False when the log cannot be used, and nothing was sent.
fn sync_from_log(
    master: &dyn LearnerMaster,
    link: &Arc<LearnerLink>,
    peer: Zxid,
    writer: &mut Writer,
) -> Result<bool, LearnerError> {
    let snapshots = match master.txn_log_source().snapshots() {
        Ok(snapshots) => snapshots,
        Err(error) => {
            log::error!("Unable to list snapshots: {error}");
            return Ok(false);
        }
    };
    let mut sync = TxnLogSync::new(peer).with_snapshots(snapshots);
    for pass in 0..LOG_PASSES_MAX {
        if link.is_closed() {
            return Err(LearnerError::Stopped);
        }
        let before = sync.last();
        if !read_pass(master, link, &mut sync, writer)? {
            return Ok(false);
        }
        if let Some(rest) = master.join_forwarding(link, sync.last()) {
            rest.iter().try_for_each(|entry| write_txn(entry, writer))?;
            return Ok(true);
        }
        if sync.last() == before && pass > 0 {
            // Committed by the followers' disks; ours is a little behind.
            std::thread::park_timeout(std::time::Duration::from_millis(10));
        }
    }
    master.require_snapshot(link.sid());
    Err(LearnerError::History(sync.last()))
}

/// Sends what the log holds behind what was sent, as far as it is committed.
fn read_pass(
    master: &dyn LearnerMaster,
    link: &LearnerLink,
    sync: &mut TxnLogSync,
    writer: &mut Writer,
) -> Result<bool, LearnerError> {
    let is_continued = sync.has_started();
    let from = sync.last();
    let committed = master.last_committed();
    let records = match master.txn_log_source().read(from, is_continued) {
        Ok(Some(records)) => records,
        Ok(None) => return Ok(false),
        Err(error) if !is_continued => {
            log::error!("Unable to read txnlog from disk: {error}");
            return Ok(false);
        }
        Err(error) => {
            log::error!("Unable to read txnlog from disk: {error}");
            master.require_snapshot(link.sid());
            return Err(LearnerError::History(from));
        }
    };
    for entry in records {
        let zxid = entry.zxid();
        if zxid > committed {
            break;
        }
        if is_continued && zxid <= from {
            continue;
        }
        match sync.record(zxid, committed) {
            Ok(LogStep::Skip) => {}
            Ok(LogStep::Start(start)) => write_start(start, link, writer)?,
            Ok(LogStep::StartAndSend(start)) => {
                write_start(start, link, writer)?;
                write_txn(&entry, writer)?;
            }
            Ok(LogStep::Send) => write_txn(&entry, writer)?,
            Err(reason) if !sync.has_started() => {
                log::info!("Txnlog cannot be used for sid {}: {reason:?}", link.sid());
                return Ok(false);
            }
            Err(reason) => {
                log::error!("Txnlog behind {} has a hole: {reason:?}", sync.last());
                master.require_snapshot(link.sid());
                return Err(LearnerError::History(sync.last()));
            }
        }
    }
    Ok(sync.has_started())
}

/// Sends the bare stream: sessions, ACLs, nodes, `/`, and the signature.
fn write_snapshot(
    master: &dyn LearnerMaster,
    link: &LearnerLink,
    peer: Zxid,
    mut walk: SnapshotWalk,
    writer: &mut Writer,
) -> Result<SyncSlot, LearnerError> {
    let is_essential = link.is_participant();
    let slot = master.snap_throttler().begin_sync(is_essential)?;
    let metrics = master.metrics();
    let in_progress = master.snap_throttler().sync_in_progress();
    metrics.inflight_snap_count.add(in_progress.into());
    let zxid = walk.zxid();
    writer.write(PacketType::Snap, zxid.0, None)?;
    log::info!(
        "Sending snapshot last zxid of peer is {peer}, send zxid of db as {zxid}, {in_progress} \
         concurrent snapshot sync, snapshot sync was {} from throttle",
        if is_essential { "exempt" } else { "not exempt" }
    );
    metrics.snap_count.increment();
    let db = master.zk_database();
    let out = writer.buffer();
    let sessions = db.sessions();
    out.put_count(sessions.len());
    for (id, timeout_ms) in sessions {
        out.put_i64(id.0);
        out.put_i32(timeout_ms);
    }
    loop {
        let chunk = db.tree().walk_chunk(&mut walk, writer.buffer(), NODES_PER_CHUNK);
        let is_complete = chunk.map_err(io::Error::other)?;
        writer.flush_full()?;
        if is_complete {
            break;
        }
    }
    writer.buffer().put_str(SIGNATURE);
    writer.flush()?;
    Ok(slot)
}
