//! `Request`: what a client, or the server itself, asks, on its way along the chain.

use std::sync::Arc;

use super::cnxn::server_cnxn::ServerCnxn;
use super::request_body::RequestBody;
use super::request_throttler::LargeRequestPermit;
use crate::jute::{Input, JuteError, Limits};
use crate::proto::{Code, Id, OpCode, SessionId, TxnLogEntry};
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
    /// Through whom it came (`Request.owner`): [`Session::NO_OWNER`], [`Session::OWNER_ME`], or the
    /// id of a learner handler, which is greater than both.
    pub owner: u64,
    /// A createSession or closeSession that concerns this server only.
    pub is_local_session: bool,
    /// The undecoded body, on a server that forwards it to another.
    pub bytes: Vec<u8>,
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
            owner: Session::NO_OWNER,
            is_local_session: false,
            bytes: Vec::new(),
            created_ms: now_ms,
            queued_ms: now_ms,
            large_permit: None,
            is_throttled: false,
            entry: None,
            error: None,
        }
    }

    /// A transaction without the request it was made from: to be logged, or committed by somebody
    /// else's request.
    pub fn from_txn(entry: Arc<TxnLogEntry>, now_ms: i64) -> Request {
        let header = &entry.header;
        let op = OpCode::from_i32(header.txn_type).unwrap_or(OpCode::Error);
        let request = Request::internal(header.client_id, RequestBody::Txn(op), now_ms);
        Request { cxid: header.cxid, entry: Some(entry), ..request }
    }

    /// The request in the data of a REQUEST packet: session id, cxid, operation, body
    /// (`LearnerHandler.run`). An undecodable body is answered in its turn.
    ///
    /// Errors: the data end before the body; the learner is not to be talked with any longer.
    pub fn from_learner(
        data: &[u8],
        auth_info: Vec<Id>,
        owner: u64,
        limits: Limits,
        now_ms: i64,
    ) -> Result<Request, JuteError> {
        let mut input = Input::new(data, limits);
        let (session_id, cxid, op) = (input.read_i64()?, input.read_i32()?, input.read_i32()?);
        let body = RequestBody::decode_forwarded(op, &mut input);
        let auth_info = Arc::new(auth_info);
        let request = Request::internal(SessionId(session_id), body, now_ms);
        Ok(Request { cxid, auth_info, owner, ..request })
    }

    /// What a learner's handler asked, not a client of this server nor the server itself.
    pub fn is_of_learner(&self) -> bool {
        self.owner > Session::OWNER_ME
    }

    /// Whether it waits for a commit (`CommitProcessor.needCommit`). `match_syncs` is true on
    /// learners: their syncs wait for the leader's answer.
    pub fn needs_commit(&self, match_syncs: bool) -> bool {
        if self.is_throttled {
            return false;
        }
        match &self.body {
            RequestBody::Sync(_) | RequestBody::Malformed(OpCode::Sync) => match_syncs,
            RequestBody::CreateSession { .. } | RequestBody::CloseSession => !self.is_local_session,
            body => body.is_write(),
        }
    }
}
