//! `CommitProcessor`: the thread that applies what the ensemble has committed, and answers this
//! server's own requests in their turn.
//!
//! Requests and commits come through one queue. A request must be put there before it is sent to
//! the leader (or proposed), so that it is here when its commit comes. What runs when is decided by
//! [`CommitMatcher`]; this is the driver. It hands batches to the next stage, which applies many
//! transactions under one hold of the tree's guard.
//!
//! Differences from Java: reads with nothing of their session before them are answered on their
//! connection's thread and do not come here; the others run on this thread, between the commits,
//! in the order in which they come, so that there are no workers to wait for and no batch sizes to
//! balance.

use std::io;
use std::sync::Arc;

use super::zab::commit_matcher::{CommitMatcher, LocalRequest};
use crate::common::linked_blocking_queue::{Receiver, Sender, unbounded};
use crate::common::sync::{Mutex, Rank};
use crate::common::thread::{self, OwnedThread, ServerListener};
use crate::common::time;
use crate::metrics::ServerMetrics;
use crate::proto::{OpCode, SessionId, TxnLogEntry};
use crate::server::request::Request;
use crate::server::request_processor::RequestProcessor;
use crate::server::zookeeper_server::ZooKeeperServer;

/// Messages that are looked at before what they let run is handed on.
const BATCH_MAX: usize = 256;

/// What the leader says is to happen next.
#[derive(Debug, Clone)]
pub enum Commit {
    /// A transaction (COMMIT, INFORM).
    Txn(Arc<TxnLogEntry>),
    /// The sync of one of this server's sessions (SYNC).
    Sync {
        /// Whose it is.
        session_id: SessionId,
        /// The client's number of it.
        cxid: i32,
    },
}

impl From<Arc<TxnLogEntry>> for Commit {
    fn from(entry: Arc<TxnLogEntry>) -> Self {
        Commit::Txn(entry)
    }
}

/// The stage. Its owner ends it with [`RequestProcessor::shutdown`].
pub struct CommitProcessor {
    queue: Mutex<Option<Sender<Message>>>,
    thread: Mutex<Option<OwnedThread>>,
    next: Arc<dyn RequestProcessor>,
    metrics: Arc<ServerMetrics>,
}

enum Message {
    Request(Box<Request>),
    Commit(Commit, i64),
}

impl CommitProcessor {
    /// Starts the thread. With `match_syncs`, on learners, a sync waits for its [`Commit::Sync`].
    pub fn start(
        server: &Arc<ZooKeeperServer>,
        listener: &Arc<dyn ServerListener>,
        match_syncs: bool,
        next: Arc<dyn RequestProcessor>,
    ) -> io::Result<CommitProcessor> {
        let (queue, messages) = unbounded();
        let worker = Worker {
            server: Arc::clone(server),
            messages,
            next: Arc::clone(&next),
            match_syncs,
            matcher: CommitMatcher::default(),
            to_run: Vec::new(),
            released: Vec::new(),
        };
        let name = format!("CommitProcessor:{}", server.role().server_id());
        let thread = thread::spawn_critical(name, thread::STACK_BYTES, listener, move || {
            worker.run();
            Ok(())
        })?;
        Ok(CommitProcessor {
            queue: Mutex::new(Rank::Inbox, Some(queue)),
            thread: Mutex::new(Rank::Inbox, Some(thread)),
            next,
            metrics: server.metrics_arc(),
        })
    }

    /// The leader committed these, in this order. Any thread, but one at a time; never blocks.
    pub fn commit(&self, commits: impl IntoIterator<Item = Commit>) {
        let now_ms = time::elapsed_ms();
        let mut count = 0;
        self.send(commits.into_iter().inspect(|_| count += 1).map(|c| Message::Commit(c, now_ms)));
        self.metrics.request_commit_queued.add(count);
    }

    fn send(&self, messages: impl Iterator<Item = Message>) {
        if let Some(queue) = &*self.queue.lock() {
            queue.send_all(messages);
        }
    }
}

impl RequestProcessor for CommitProcessor {
    /// This server's requests, in the order of their arrival.
    fn process_requests(&self, requests: &mut Vec<Box<Request>>) {
        let now_ms = time::elapsed_ms();
        self.send(requests.drain(..).map(|mut request| {
            request.queued_ms = now_ms;
            Message::Request(request)
        }));
    }

    /// What was committed before is still applied.
    fn shutdown(&self) {
        let queue = self.queue.lock().take();
        drop(queue);
        let thread = self.thread.lock().take();
        drop(thread);
        self.next.shutdown();
    }
}

/// A request with what the matcher asks of it.
struct Pending {
    request: Box<Request>,
    needs_commit: bool,
}

impl LocalRequest for Pending {
    fn session_id(&self) -> SessionId {
        self.request.session_id
    }

    fn cxid(&self) -> i32 {
        self.request.cxid
    }

    fn op(&self) -> Option<OpCode> {
        self.request.body.op_code()
    }

    fn needs_commit(&self) -> bool {
        self.needs_commit
    }
}

struct Worker {
    server: Arc<ZooKeeperServer>,
    messages: Receiver<Message>,
    next: Arc<dyn RequestProcessor>,
    match_syncs: bool,
    matcher: CommitMatcher<Pending>,
    /// What runs next, in order.
    #[expect(clippy::vec_box, reason = "requests travel boxed, a batch does not copy them")]
    to_run: Vec<Box<Request>>,
    /// Empty between commits.
    released: Vec<Pending>,
}

/// What was run of a batch.
#[derive(Default)]
struct Counts {
    commits: i64,
    reads: i64,
    released: i64,
    queues: i64,
}

impl Worker {
    fn run(mut self) {
        while let Ok(first) = self.messages.recv() {
            let started_ms = time::elapsed_ms();
            self.count_queues();
            let mut counts = Counts::default();
            self.take(first, started_ms, &mut counts);
            for _ in 1..BATCH_MAX {
                match self.messages.try_recv() {
                    Ok(message) => self.take(message, started_ms, &mut counts),
                    Err(_) => break,
                }
            }
            let decided_ms = time::elapsed_ms();
            if !self.to_run.is_empty() {
                self.next.process_requests(&mut self.to_run);
            }
            self.count_batch(&counts, started_ms, decided_ms);
        }
        // Their clients are gone, and learn nothing of their fate, as in Java.
        for pending in self.matcher.into_pending() {
            self.server.request_finished(&pending.request);
        }
        log::info!("CommitProcessor exited loop!");
    }

    fn take(&mut self, message: Message, now_ms: i64, counts: &mut Counts) {
        match message {
            Message::Request(request) => {
                let id = request.session_id;
                let needs_commit = request.needs_commit(self.match_syncs);
                match self.matcher.request(Pending { request, needs_commit }) {
                    Some(Pending { request, .. }) => {
                        counts.reads += 1;
                        self.run_read(request, now_ms);
                    }
                    None => {
                        let queued = self.matcher.pending_requests(id) as i64;
                        self.server.metrics().requests_in_session_queue.add(queued);
                    }
                }
            }
            Message::Commit(Commit::Txn(entry), received_ms) => {
                let (id, cxid) = (entry.header.client_id, entry.header.cxid);
                let own = self.matched(id, cxid, entry.txn.op_code(), counts);
                let metrics = self.server.metrics();
                let request = match own {
                    Some(mut request) => {
                        metrics.write_commitproc_time_ms.add(now_ms - request.queued_ms);
                        metrics.local_write_committed_time_ms.add(now_ms - received_ms);
                        request.entry = Some(entry);
                        request
                    }
                    None => {
                        metrics.server_write_committed_time_ms.add(now_ms - received_ms);
                        Box::new(Request::from_txn(entry, received_ms))
                    }
                };
                counts.commits += 1;
                self.to_run.push(request);
                self.run_released(now_ms, counts);
            }
            Message::Commit(Commit::Sync { session_id, cxid }, _) => {
                match self.matched(session_id, cxid, OpCode::Sync, counts) {
                    Some(request) => {
                        counts.commits += 1;
                        self.to_run.push(request);
                    }
                    None => {
                        log::warn!("Nobody waits for the sync of session {session_id} {cxid:#x}")
                    }
                }
                self.run_released(now_ms, counts);
            }
        }
    }

    fn matched(
        &mut self,
        id: SessionId,
        cxid: i32,
        op: OpCode,
        counts: &mut Counts,
    ) -> Option<Box<Request>> {
        let own = self.matcher.commit(id, cxid, op, &mut self.released)?;
        counts.queues += 1;
        let metrics = self.server.metrics();
        metrics.pending_session_queue_size.add(self.matcher.pending_sessions() as i64);
        metrics.reads_after_write_in_session_queue.add(self.released.len() as i64);
        Some(own.request)
    }

    fn run_released(&mut self, now_ms: i64, counts: &mut Counts) {
        let mut released = std::mem::take(&mut self.released);
        counts.released += released.len() as i64;
        for Pending { request, .. } in released.drain(..) {
            self.run_read(request, now_ms);
        }
        self.released = released;
    }

    fn run_read(&mut self, request: Box<Request>, now_ms: i64) {
        self.server.metrics().read_commitproc_time_ms.add(now_ms - request.queued_ms);
        self.to_run.push(request);
    }

    fn count_queues(&self) {
        let metrics = self.server.metrics();
        metrics.read_commit_proc_req_queued.add(self.matcher.pending_reads() as i64);
        metrics.write_commit_proc_req_queued.add(self.matcher.pending_writes() as i64);
        metrics.commit_commit_proc_req_queued.add(self.messages.len() as i64 + 1);
    }

    fn count_batch(&self, counts: &Counts, started_ms: i64, decided_ms: i64) {
        let metrics = self.server.metrics();
        let now_ms = time::elapsed_ms();
        let (elapsed_ms, final_ms) = (now_ms - started_ms, now_ms - decided_ms);
        // Java measures each request; here it is the batch that a client waits for.
        if counts.reads + counts.released > 0 {
            metrics.read_final_proc_time_ms.add(final_ms);
        }
        if counts.commits > 0 {
            metrics.write_final_proc_time_ms.add(final_ms);
        }
        metrics.read_commit_proc_issued.add(counts.reads);
        metrics.commit_process_time.add(elapsed_ms);
        if counts.commits > 0 {
            metrics.write_commit_proc_issued.add(counts.commits);
            metrics.write_batch_time_in_commit_processor.add(elapsed_ms);
            metrics.session_queues_drained.add(counts.queues);
            metrics.reads_issued_from_session_queue.add(counts.released);
        }
    }
}
