//! `ReadOnlyRequestProcessor`: lets reads and local sessions pass, and refuses everything else with
//! `NotReadOnly`.
//!
//! Deliberate difference: there is no PrepRequestProcessor behind it, for nothing that passes is
//! prepared.

use std::io;
use std::sync::Arc;

use crate::common::linked_blocking_queue::{Receiver, unbounded};
use crate::common::thread::{self, ServerListener};
use crate::common::time;
use crate::proto::{Code, OpCode};
use crate::server::cnxn::cnxn_thread;
use crate::server::cnxn::server_cnxn::{Reply, ReplyBody};
use crate::server::request::Request;
use crate::server::request_processor::RequestProcessor;
use crate::server::stage::Stage;
use crate::server::zookeeper_server::ZooKeeperServer;

/// Starts the stage.
pub(super) fn start(
    server: &Arc<ZooKeeperServer>,
    listener: &Arc<dyn ServerListener>,
    next: Arc<dyn RequestProcessor>,
) -> io::Result<Stage> {
    let (queue, requests) = unbounded();
    let (worker, to) = (Arc::clone(server), Arc::clone(&next));
    let name = format!("ReadOnlyRequestProcessor:{}", server.role().server_id());
    let thread = thread::spawn_critical(name, thread::STACK_BYTES, listener, move || {
        run(&worker, &requests, &*to);
        log::info!("ReadOnlyRequestProcessor exited loop!");
        Ok(())
    })?;
    Ok(Stage::new(queue, thread, next))
}

fn run(server: &ZooKeeperServer, requests: &Receiver<Box<Request>>, next: &dyn RequestProcessor) {
    while let Ok(request) = requests.recv() {
        if is_refused(&request) {
            refuse(server, &request);
        } else {
            next.process_requests(&mut vec![request]);
        }
    }
}

fn is_refused(request: &Request) -> bool {
    match request.body.op_code() {
        Some(OpCode::CreateSession | OpCode::CloseSession) => !request.is_local_session,
        Some(OpCode::Sync) => true,
        _ => request.body.is_write(),
    }
}

/// Compat: a connect request without local sessions is answered in this way as well, with a reply
/// header instead of a connect response.
fn refuse(server: &ZooKeeperServer, request: &Request) {
    if let Some(cnxn) = &request.cnxn {
        let reply = Reply {
            xid: request.cxid,
            zxid: server.db().last_processed_zxid().0,
            last_op: "NA",
            created_ms: request.created_ms,
            now_ms: time::elapsed_ms(),
        };
        cnxn.send_reply(reply, Code::NotReadOnly, &ReplyBody::default());
        server.stats().increment_packets_sent();
        cnxn_thread::flush(server, cnxn);
    }
    server.request_finished(request);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::SessionId;
    use crate::proto::messages::{ExistsRequest, SyncRequest};
    use crate::server::request_body::RequestBody;

    #[test]
    fn reads_and_local_sessions_pass() {
        let check = |body: RequestBody, is_local_session, expected| {
            let request = Request::internal(SessionId(1), body, 0);
            let request = Request { is_local_session, ..request };
            assert_eq!(is_refused(&request), expected, "{:?}", request.body);
        };
        check(RequestBody::Ping, false, false);
        check(RequestBody::Exists(ExistsRequest { path: "/".into(), watch: true }), false, false);
        check(RequestBody::Sync(SyncRequest { path: None }), false, true);
        check(RequestBody::Malformed(OpCode::Create), false, true);
        check(RequestBody::Malformed(OpCode::Exists), false, false);
        for (is_local, is_refused) in [(true, false), (false, true)] {
            check(RequestBody::CreateSession { timeout_ms: 1 }, is_local, is_refused);
            check(RequestBody::CloseSession, is_local, is_refused);
        }
    }
}
