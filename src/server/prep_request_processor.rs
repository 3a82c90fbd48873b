//! `PrepRequestProcessor`: the thread that turns requests into transactions, in order.
//!
//! The rules are in [`prep`](super::prep); this is the driver. It takes what has queued up, judges
//! it under the outstanding changes' lock and the tree's read guard, encodes each transaction
//! once, and hands the batch on. It parses nothing: connection threads have done that.

use std::sync::Arc;

use super::prep::{PrepContext, PrepRequest, PrepState, TrackedSessions, prepare};
use super::request::Request;
use super::request_body::RequestBody;
use super::request_processor::RequestProcessor;
use super::stage::Stage;
use super::zookeeper_server::ZooKeeperServer;
use crate::common::linked_blocking_queue::{Receiver, unbounded};
use crate::common::thread::{self, ServerListener};
use crate::common::time;
use crate::proto::TxnLogEntry;

/// Requests judged under one hold of the locks: long enough to make taking them cheap, short
/// enough (about 100 µs) not to hold up the thread that applies.
const BATCH_MAX: usize = 64;

/// Starts the stage. `state` goes on from the last zxid.
pub fn start(
    server: &Arc<ZooKeeperServer>,
    listener: &Arc<dyn ServerListener>,
    state: PrepState,
    next: Arc<dyn RequestProcessor>,
) -> std::io::Result<Stage> {
    let (queue, requests) = unbounded();
    let (worker, worker_next) = (Arc::clone(server), Arc::clone(&next));
    let sid = server.role().server_id();
    let name = format!("ProcessThread(sid:{sid} cport:{}):", server.client_port());
    let thread = thread::spawn_critical(name, thread::STACK_BYTES, listener, move || {
        let reconfig_enabled = state.options.reconfig_enabled;
        log::info!("PrepRequestProcessor (sid:{sid}) started, reconfigEnabled={reconfig_enabled}");
        run(&worker, &requests, state, &*worker_next);
        log::info!("PrepRequestProcessor exited loop!");
        Ok(())
    })?;
    Ok(Stage::new(queue, thread, next))
}

fn run(
    server: &ZooKeeperServer,
    requests: &Receiver<Box<Request>>,
    mut state: PrepState,
    next: &dyn RequestProcessor,
) {
    let mut batch: Vec<Box<Request>> = Vec::with_capacity(BATCH_MAX);
    while let Ok(request) = requests.recv() {
        server.metrics().prep_processor_queue_size.add(requests.len() as i64 + 1);
        batch.push(request);
        batch.extend(requests.try_iter().take(BATCH_MAX - 1));
        prepare_batch(server, &mut state, &mut batch);
        next.process_requests(&mut batch);
    }
}

fn prepare_batch(server: &ZooKeeperServer, state: &mut PrepState, batch: &mut [Box<Request>]) {
    let metrics = server.metrics();
    let (wall_ms, elapsed_ms) = (time::wall_ms(), time::elapsed_ms());
    let mut changes = server.outstanding_changes().lock();
    let tree = server.db().tree();
    let mut context = PrepContext {
        state,
        tree: &tree,
        changes: &mut changes,
        sessions: &TrackedSessions(&**server.tracker()),
        acl_policy: server.acl_policy(),
        metrics,
        wall_ms,
        elapsed_ms,
    };
    for request in batch {
        metrics.prep_processor_queue_time_ms.add(elapsed_ms - request.queued_ms);
        request.queued_ms = elapsed_ms;
        if request.is_throttled {
            continue;
        }
        let close_started_ms =
            matches!(request.body, RequestBody::CloseSession).then(time::elapsed_ms);
        let prepared = prepare(
            &mut context,
            &PrepRequest {
                session: request.session_id,
                cxid: request.cxid,
                body: &request.body,
                auth: &request.auth_info,
                owner: request.owner,
                is_local_session: request.is_local_session,
                error: request.error,
            },
        );
        if let Some(started_ms) = close_started_ms {
            metrics.close_session_prep_time.add(time::elapsed_ms() - started_ms);
        }
        request.error = prepared.error;
        request.entry =
            prepared.txn.map(|txn| Arc::new(TxnLogEntry::new(txn.header, txn.txn, txn.digest)));
    }
    drop(tree);
    drop(changes);
    metrics.prep_process_time.add(time::elapsed_ms() - elapsed_ms);
}
