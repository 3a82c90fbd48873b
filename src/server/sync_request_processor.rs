//! `SyncRequestProcessor`: the thread that owns the open log. It appends what has queued up,
//! makes it durable with one sync, and only then hands it on.
//!
//! Batches form by themselves: while one is synced and applied, the next one queues up. An I/O
//! error is the end of the server: nothing may be acknowledged any more (ZOOKEEPER-3701).

use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::bounded;

use super::flush_policy::{FlushPolicy, SnapshotPolicy};
use super::request::Request;
use super::request_processor::RequestProcessor;
use super::snapshot_taker::SnapshotTaker;
use super::stage::Stage;
use super::zookeeper_server::ZooKeeperServer;
use crate::common::linked_blocking_queue::{Receiver, RecvTimeoutError, TryRecvError, unbounded};
use crate::common::thread::{self, CriticalError, ServerListener};
use crate::common::time;
use crate::persistence::{CommitReport, FileTxnSnapLog};

/// The stage. It owns the log until it has ended.
pub struct SyncStage {
    stage: Stage,
    given_back: crossbeam_channel::Receiver<FileTxnSnapLog>,
}

impl SyncStage {
    /// The log, closed and ready for the next owner, once the stage has ended in order. `None` when
    /// it has not ended, or died of an I/O error, which the listener knows.
    pub fn take_log(&self) -> Option<FileTxnSnapLog> {
        self.given_back.try_recv().ok()
    }
}

impl RequestProcessor for SyncStage {
    fn process_requests(&self, requests: &mut Vec<Box<Request>>) {
        self.stage.process_requests(requests);
    }

    fn shutdown(&self) {
        self.stage.shutdown();
    }
}

/// Starts the stage, whose thread owns `log` from now on. `log` must know the last zxid in it: what
/// is not greater is refused, as a fatal error (ZOOKEEPER-4712).
pub fn start(
    server: &Arc<ZooKeeperServer>,
    listener: &Arc<dyn ServerListener>,
    log: FileTxnSnapLog,
    snapshots: SnapshotTaker,
    next: Arc<dyn RequestProcessor>,
) -> std::io::Result<SyncStage> {
    let (queue, requests) = unbounded();
    let (give_back, given_back) = bounded(1);
    let config = server.config();
    let worker = SyncThread {
        server: Arc::clone(server),
        requests,
        log,
        give_back,
        next: Arc::clone(&next),
        flush_policy: FlushPolicy {
            flush_delay_ms: config.flush_delay_ms,
            max_write_queue_poll_time_ms: config.max_write_queue_poll_time_ms,
            max_batch_size: usize::try_from(config.max_batch_size).unwrap_or(0),
        },
        snapshot_policy: SnapshotPolicy::new(
            config.snap_count.into(),
            config.snap_size_limit_kb.saturating_mul(1024),
            random,
        ),
        snapshots,
        txns_since_snapshot: 0,
        to_flush: Vec::new(),
        last_flush_ms: time::elapsed_ms(),
        has_given_way: false,
    };
    let name = format!("SyncThread:{}", server.role().server_id());
    let thread = thread::spawn_critical(name, thread::STACK_BYTES, listener, || worker.run())?;
    Ok(SyncStage { stage: Stage::new(queue, thread, next), given_back })
}

struct SyncThread {
    server: Arc<ZooKeeperServer>,
    requests: Receiver<Box<Request>>,
    log: FileTxnSnapLog,
    give_back: crossbeam_channel::Sender<FileTxnSnapLog>,
    next: Arc<dyn RequestProcessor>,
    flush_policy: FlushPolicy,
    snapshot_policy: SnapshotPolicy,
    snapshots: SnapshotTaker,
    /// Transactions logged since the log was last rolled for a snapshot.
    txns_since_snapshot: i64,
    /// Appended (or read behind an append) and not synced yet, in order.
    #[expect(clippy::vec_box, reason = "requests travel boxed, a batch does not copy them")]
    to_flush: Vec<Box<Request>>,
    last_flush_ms: i64,
    /// Others have had a turn to add to `to_flush`.
    has_given_way: bool,
}

impl SyncThread {
    fn run(mut self) -> Result<(), CriticalError> {
        while let Some(request) = self.next_request()? {
            self.process(request)?;
        }
        self.flush()?;
        self.log.close()?;
        log::info!("SyncRequestProcessor exited!");
        let _ = self.give_back.send(self.log); // Nobody wants it: the process ends.
        Ok(())
    }

    /// The next request; what was appended is flushed before waiting for one. `None`: no more will
    /// come.
    fn next_request(&mut self) -> Result<Option<Box<Request>>, CriticalError> {
        match self.requests.try_recv() {
            Ok(request) => return Ok(Some(request)),
            Err(TryRecvError::Disconnected) => return Ok(None),
            Err(TryRecvError::Empty) => {}
        }
        if !self.to_flush.is_empty() {
            if !std::mem::replace(&mut self.has_given_way, true) {
                // One turn for who is about to send more: a sync costs the same for all of it.
                std::thread::yield_now();
                match self.requests.try_recv() {
                    Ok(request) => return Ok(Some(request)),
                    Err(TryRecvError::Disconnected) => return Ok(None),
                    Err(TryRecvError::Empty) => {}
                }
            }
            let poll_ms = self.flush_policy.poll_time_ms(time::elapsed_ms() - self.last_flush_ms);
            if poll_ms > 0 {
                let timeout = Duration::from_millis(poll_ms.unsigned_abs());
                match self.requests.recv_timeout(timeout) {
                    Ok(request) => return Ok(Some(request)),
                    Err(RecvTimeoutError::Disconnected) => return Ok(None),
                    Err(RecvTimeoutError::Timeout) => {}
                }
            }
            self.flush()?;
        }
        Ok(self.requests.recv().ok())
    }

    fn process(&mut self, request: Box<Request>) -> Result<(), CriticalError> {
        let metrics = self.server.metrics();
        metrics.sync_processor_queue_size.add(self.requests.len() as i64 + 1);
        metrics.sync_processor_request_queued.increment();
        if let Some(entry) = &request.entry {
            self.log.append(entry)?;
            self.txns_since_snapshot += 1;
            if self
                .snapshot_policy
                .should_snapshot(self.txns_since_snapshot, self.log.total_log_size() as i64)
            {
                self.roll_and_snapshot()?;
            }
        } else if self.to_flush.is_empty() {
            // A read behind nothing that needs the disk.
            self.to_flush.push(request);
            self.next.process_requests(&mut self.to_flush);
            return Ok(());
        }
        self.to_flush.push(request);
        let since_flush_ms = time::elapsed_ms() - self.last_flush_ms;
        if self.flush_policy.should_flush(self.to_flush.len(), since_flush_ms) {
            self.flush()?;
        }
        Ok(())
    }

    fn roll_and_snapshot(&mut self) -> Result<(), CriticalError> {
        self.snapshot_policy.reset(random);
        self.txns_since_snapshot = 0;
        let report = self.log.roll_log()?;
        self.count_sync(&report);
        self.log.set_total_log_size(0);
        if !self.snapshots.start(&self.server) {
            log::warn!("Too busy to snap, skipping");
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), CriticalError> {
        if self.to_flush.is_empty() {
            return Ok(());
        }
        self.has_given_way = false;
        let metrics = self.server.metrics();
        metrics.sync_processor_batch_size.add(self.to_flush.len() as i64);
        let started_ms = time::elapsed_ms();
        let report = self.log.commit()?;
        let flushed_ms = time::elapsed_ms();
        metrics.sync_processor_queue_flush_time_ms.add(flushed_ms - started_ms);
        self.count_sync(&report);
        for request in &self.to_flush {
            metrics.sync_processor_queue_time_ms.add(started_ms - request.queued_ms);
            metrics.sync_processor_queue_and_flush_time_ms.add(flushed_ms - request.queued_ms);
        }
        self.next.process_requests(&mut self.to_flush);
        self.last_flush_ms = time::elapsed_ms();
        let metrics = self.server.metrics();
        metrics.sync_process_time.add(self.last_flush_ms - started_ms);
        Ok(())
    }

    fn count_sync(&self, report: &CommitReport) {
        if let Some(sync_time) = report.sync_time {
            let millis = i64::try_from(sync_time.as_millis()).unwrap_or(i64::MAX);
            self.server.metrics().fsynctime.add(millis);
        }
        if report.slow_syncs > 0 {
            self.server.stats().fsync_threshold_exceed_count().add(report.slow_syncs.into());
        }
    }
}

/// A random number for the spread of snapshots; no secret depends on it.
fn random() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(time::elapsed_ms())
}
