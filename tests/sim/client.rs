//! Clients: each writes through one server at a time, keeps a few requests under way, goes to
//! another server when its own is gone, and remembers what it was told.

use std::collections::BTreeSet;

use zabkeeper::proto::messages::{CreateRequest, DeleteRequest, SetDataRequest};
use zabkeeper::proto::multi::{MultiOp, MultiOperationRecord};
use zabkeeper::proto::{Acl, Code, SessionId};
use zabkeeper::server::request_body::RequestBody;

use crate::net::Process;
use crate::rng::Rng;
use crate::shared::{ClientRequest, Reply};

/// The run of a server that a client is connected to.
pub type Connection = (Process, u32);

pub struct Client {
    pub index: usize,
    pub connection: Option<Connection>,
    session: SessionId,
    has_session: bool,
    next_session: i64,
    next_cxid: i32,
    outstanding: BTreeSet<i32>,
    window: usize,
    /// Replies since the count was taken last.
    pub replies: u64,
    pub is_stopped: bool,
}

impl Client {
    pub fn new(index: usize, window: usize) -> Client {
        let mut client = Client {
            index,
            connection: None,
            session: SessionId(0),
            has_session: false,
            next_session: 1,
            next_cxid: 1,
            outstanding: BTreeSet::new(),
            window,
            replies: 0,
            is_stopped: false,
        };
        client.new_session();
        client
    }

    fn new_session(&mut self) {
        self.session = SessionId((self.index as i64 + 1) << 56 | self.next_session);
        self.next_session += 1;
        self.has_session = false;
    }

    pub fn session(&self) -> SessionId {
        self.session
    }

    /// What was under way may be done or not.
    pub fn disconnected(&mut self) {
        self.connection = None;
        self.outstanding.clear();
    }

    /// `knows_session`: whether the server still has the session. A lost one is given up.
    pub fn connected(&mut self, connection: Connection, knows_session: bool) {
        self.connection = Some(connection);
        if self.has_session && !knows_session {
            self.new_session();
        }
        self.has_session &= knows_session;
    }

    pub fn replied(&mut self, reply: &Reply) {
        if !self.outstanding.remove(&reply.cxid) {
            return;
        }
        self.replies += 1;
        match reply.code {
            Code::SessionExpired | Code::UnknownSession => self.new_session(),
            _ => self.has_session = true,
        }
    }

    /// The next request, if another may be under way.
    pub fn next_request(&mut self, rng: &mut Rng) -> Option<ClientRequest> {
        // Nothing is sent in a session before there is one.
        let window = if self.has_session { self.window } else { 1 };
        if self.is_stopped || self.outstanding.len() >= window {
            return None;
        }
        let cxid = self.next_cxid;
        self.next_cxid += 1;
        self.outstanding.insert(cxid);
        let session = self.session;
        let body = if self.has_session {
            self.next_body(rng, cxid)
        } else {
            RequestBody::CreateSession { timeout_ms: 30_000 }
        };
        if body == RequestBody::CloseSession {
            self.new_session();
        }
        Some(ClientRequest { client: self.index, session, cxid, body })
    }

    fn next_body(&self, rng: &mut Rng, cxid: i32) -> RequestBody {
        let own = format!("/c{}-{cxid}", self.index);
        match rng.below(20) {
            0..8 => RequestBody::Create(create(&own, 0, cxid)),
            8 => RequestBody::Create(create(&format!("{}/q-", shared_path(rng)), 2, cxid)),
            9..11 => RequestBody::Create(create(&own, 1, cxid)),
            11..13 => RequestBody::Create(create(shared_path(rng), 0, cxid)),
            13..16 => RequestBody::SetData(set_data(rng, cxid)),
            16 => RequestBody::Delete(DeleteRequest {
                path: shared_path(rng).to_owned(),
                version: -1,
            }),
            17..19 => RequestBody::Multi(MultiOperationRecord {
                ops: vec![
                    MultiOp::Create(create(&own, 0, cxid)),
                    MultiOp::SetData(set_data(rng, cxid)),
                ],
            }),
            _ if rng.is_one_in(4) => RequestBody::CloseSession,
            _ => RequestBody::SetData(set_data(rng, cxid)),
        }
    }
}

/// Paths that all clients write to.
fn shared_path(rng: &mut Rng) -> &'static str {
    rng.pick(&["/a", "/b", "/b", "/c"])
}

fn data(cxid: i32) -> Option<std::sync::Arc<[u8]>> {
    Some(cxid.to_be_bytes().as_slice().into())
}

fn create(path: &str, flags: i32, cxid: i32) -> CreateRequest {
    CreateRequest { path: path.to_owned(), data: data(cxid), acl: Acl::open_unsafe(), flags }
}

fn set_data(rng: &mut Rng, cxid: i32) -> SetDataRequest {
    let version = if rng.is_one_in(3) { rng.below(4) as i32 } else { -1 };
    SetDataRequest { path: shared_path(rng).to_owned(), data: data(cxid), version }
}
