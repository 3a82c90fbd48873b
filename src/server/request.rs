//! `Request`: what a client, or the server itself, asks, on its way along the chain.

use std::sync::Arc;

use super::cnxn::server_cnxn::ServerCnxn;
use super::request_body::RequestBody;
use super::request_throttler::LargeRequestPermit;
use crate::proto::{Code, Id, SessionId, TxnLogEntry};
use crate::session::Session;

/// A request. What came in stays as it is; `Prep` adds the transaction or the error.
pub struct Request {
    /// Whose it is; 0 for the server's own.
    pub session_id: SessionId,
    /// The session, when the request counts as one of its requests in flight.
    pub session: Option<Arc<Session>>,
    /// The client's number for it.
    pub cxid: i32,
    /// What is asked.
    pub body: RequestBody,
    /// Where the reply goes; `None` for the server's own requests and those of learners.
    pub cnxn: Option<Arc<ServerCnxn>>,
    /// Who the client had shown to be when it asked.
    pub auth_info: Arc<Vec<Id>>,
    /// Elapsed-clock ms at which it came.
    pub created_ms: i64,
    /// Elapsed-clock ms at which it entered the queue that it is in.
    pub queued_ms: i64,
    /// Counts it as a large request, if it is one, for as long as it lives.
    pub large_permit: Option<LargeRequestPermit>,
    /// It waited too long and is answered without being executed.
    pub is_throttled: bool,
    /// The transaction, once prepared.
    pub entry: Option<Arc<TxnLogEntry>>,
    /// The error found while preparing it.
    pub error: Option<Code>,
}

impl Request {
    /// A request of the server itself: closing an expired session, deleting a container.
    pub fn internal(session_id: SessionId, body: RequestBody, now_ms: i64) -> Request {
        Request {
            session_id,
            session: None,
            cxid: 0,
            body,
            cnxn: None,
            auth_info: Arc::default(),
            created_ms: now_ms,
            queued_ms: now_ms,
            large_permit: None,
            is_throttled: false,
            entry: None,
            error: None,
        }
    }
}
