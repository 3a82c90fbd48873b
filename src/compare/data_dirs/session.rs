//! A session of the comparison itself: one request at a time, the errors of the server kept apart
//! from those of the connection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow, bail};

use crate::client::{RawConnection, Reply, new_session_request};
use crate::compare::stage::SUPER_TOKEN;
use crate::compare::wire::old_session;
use crate::jute::Jute;
use crate::proto::messages::{ConnectRequest, CreateRequest};
use crate::proto::{Acl, Code, OpCode};

/// Longest wait for a reply.
const PATIENCE: Duration = Duration::from_secs(20);

/// What takes a session up again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Credentials {
    /// The session's id.
    pub id: i64,
    /// Its password.
    pub passwd: [u8; 16],
    /// The timeout that the server granted, in ms.
    pub timeout_ms: i32,
}

/// A session.
pub struct Session {
    raw: RawConnection,
    credentials: Credentials,
    xid: i32,
}

impl Session {
    /// A new session.
    pub fn open(addr: SocketAddr, timeout_ms: i32) -> anyhow::Result<Session> {
        let session = Session::connect(addr, &new_session_request(timeout_ms))?;
        session.ok_or_else(|| anyhow!("{addr} refuses a new session"))
    }

    /// Takes a session up again; `None` when the server refuses it.
    pub fn take(addr: SocketAddr, of: &Credentials) -> anyhow::Result<Option<Session>> {
        Session::connect(addr, &old_session(of.id, &of.passwd, of.timeout_ms))
    }

    /// A new session of the super user.
    pub fn of_super_user(addr: SocketAddr) -> anyhow::Result<Session> {
        let mut session = Session::open(addr, 30_000)?;
        session.auth(SUPER_TOKEN)?;
        Ok(session)
    }

    fn connect(addr: SocketAddr, request: &ConnectRequest) -> anyhow::Result<Option<Session>> {
        let mut raw = RawConnection::connect(addr, PATIENCE).with_context(|| addr.to_string())?;
        let response = raw.handshake(request).context("the answer to a connect request")?;
        let credentials = Credentials {
            id: response.session_id,
            passwd: response.passwd,
            timeout_ms: response.timeout_ms,
        };
        Ok((response.session_id != 0).then_some(Session { raw, credentials, xid: 0 }))
    }

    /// Id, password and timeout.
    pub fn credentials(&self) -> Credentials {
        self.credentials
    }

    /// Adds a digest identity.
    pub fn auth(&mut self, token: &str) -> anyhow::Result<()> {
        self.raw.send_auth("digest", token.as_bytes())?;
        let reply = self.raw.read_reply()?;
        if reply.header.err != 0 {
            bail!("auth digest {token}: {}", reply.header.err);
        }
        Ok(())
    }

    /// A request and its reply, whatever its code. Events are left out.
    pub fn call(&mut self, op: OpCode, record: &impl Jute) -> anyhow::Result<Reply> {
        self.xid = self.xid.wrapping_add(1) & i32::MAX;
        self.raw.send_request(self.xid, op.as_i32(), record)?;
        loop {
            let reply = self.raw.read_reply().with_context(|| op.name())?;
            if reply.header.xid == self.xid {
                return Ok(reply);
            }
        }
    }

    /// A request that must succeed.
    pub fn must(&mut self, op: OpCode, record: &impl Jute) -> anyhow::Result<Reply> {
        let reply = self.call(op, record)?;
        match reply.header.err {
            0 => Ok(reply),
            code => {
                let name = Code::from_i32(code).map_or("unknown", Code::name);
                bail!("{}: {name} ({code})", op.name())
            }
        }
    }

    /// A create that must succeed.
    pub fn create(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl: Vec<Acl>,
        flags: i32,
    ) -> anyhow::Result<()> {
        let request = CreateRequest { path: path.into(), data: data.map(Arc::from), acl, flags };
        self.must(OpCode::Create, &request).with_context(|| path.to_owned())?;
        Ok(())
    }

    /// Sends bytes as they are: a pipeline.
    pub fn send_bytes(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.raw.send_bytes(bytes)?)
    }

    /// The next reply; `None` at the end of the connection.
    pub fn next_reply(&mut self) -> Option<Reply> {
        self.raw.read_reply().ok()
    }

    /// Closes the session.
    pub fn close(mut self) -> anyhow::Result<()> {
        self.xid = self.xid.wrapping_add(1) & i32::MAX;
        self.raw.send_close_session(self.xid)?;
        while let Some(reply) = self.next_reply() {
            if reply.header.xid == self.xid {
                break;
            }
        }
        Ok(())
    }
}
