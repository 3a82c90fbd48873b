//! The comparison's own session with a server, as the super user: prepares the tree before a script
//! and reads all of it afterwards.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use super::driver::PATIENCE;
use super::script::Request;
use super::transcript::{Entry, Seen, Transcript};
use crate::client::{ClientError, RawConnection, Reply};
use crate::jute::Jute;
use crate::proto::Acl;
use crate::proto::messages::{
    CreateRequest, DeleteRequest, GetAclRequest, GetChildren2Response, GetChildrenRequest,
    GetChildrenResponse, GetDataRequest,
};

/// The password of the super user of servers that are started here.
pub const SUPER_TOKEN: &str = "super:secret";

/// The node below which scripts work.
pub const ROOT: &str = "/t";

/// Why a server cannot be prepared.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The connection.
    #[error("{0}")]
    Client(#[from] ClientError),
    /// Not the super user.
    #[error(
        "the server does not know the super user: start it with \
         -Dzookeeper.DigestAuthenticationProvider.superDigest={digest}",
        digest = super::launch::SUPER_DIGEST
    )]
    NotSuper,
    /// Somebody's data.
    #[error("the server holds {0}: a comparison removes everything, and needs an empty server")]
    NotEmpty(String),
    /// A reply that was not expected.
    #[error("{request}: {reply}")]
    Refused {
        /// What was asked.
        request: String,
        /// The answer's header.
        reply: String,
    },
}

/// The session.
pub struct Stage {
    raw: RawConnection,
    xid: i32,
    /// The zxid of the last preparation.
    zxid: i64,
}

impl Stage {
    /// Opens a session of a minute, and becomes the super user.
    pub fn enter(addr: SocketAddr) -> Result<Stage, StageError> {
        let (mut raw, _) = RawConnection::open(addr, 60_000, PATIENCE)?;
        raw.send_auth("digest", SUPER_TOKEN.as_bytes())?;
        let reply = raw.read_reply()?;
        let mut stage = Stage { raw, xid: 0, zxid: 0 };
        if reply.header.err != 0 {
            return Err(StageError::NotSuper);
        }
        // A wrong password is accepted as just another identity.
        let reply = stage.call(Request::WhoAmI)?;
        if !is_super(&reply) {
            return Err(StageError::NotSuper);
        }
        Ok(stage)
    }

    /// An error when there is more than what every server has.
    pub fn check_empty(&mut self) -> Result<(), StageError> {
        let children = self.children("/")?.unwrap_or_default();
        match children.iter().find(|name| *name != "zookeeper" && *name != ROOT.trim_matches('/')) {
            None => Ok(()),
            Some(name) => Err(StageError::NotEmpty(format!("/{name}"))),
        }
    }

    /// Removes everything, and makes an empty node [`ROOT`].
    pub fn set(&mut self) -> Result<(), StageError> {
        self.remove_below("/")?;
        self.remove_below("/zookeeper/quota")?;
        let request = Request::Create(CreateRequest {
            path: ROOT.into(),
            data: Some(Arc::from([])),
            acl: Acl::open_unsafe(),
            flags: 0,
        });
        self.zxid = self.expect(request, &[0])?.header.zxid;
        Ok(())
    }

    /// Adds data, stat, ACL and children of every node but those that remember earlier scripts.
    pub fn dump(&mut self, transcript: &mut Transcript, step: usize) -> Result<(), StageError> {
        // A script without a session.
        transcript.names.base_zxid.get_or_insert(self.zxid);
        let mut level: Vec<String> = self.below("/")?;
        level.extend(self.below("/zookeeper/quota")?);
        while !level.is_empty() {
            let mut requests = Vec::with_capacity(level.len() * 3);
            for path in &level {
                requests
                    .push(Request::GetData(GetDataRequest { path: path.clone(), watch: false }));
                requests.push(Request::GetAcl(GetAclRequest { path: path.clone() }));
                let children = GetChildrenRequest { path: path.clone(), watch: false };
                requests.push(Request::GetChildren2(children));
            }
            let replies = self.burst(&requests)?;
            let mut next = Vec::new();
            for (request, (path, reply)) in
                requests.iter().zip(level.iter().flat_map(|path| [path; 3]).zip(replies))
            {
                if let Request::GetChildren2(_) = request
                    && let Ok(found) = reply.decode::<GetChildren2Response>()
                {
                    next.extend(found.children.iter().map(|name| format!("{path}/{name}")));
                }
                // The position in the pipeline of this session says nothing.
                let mut reply = reply;
                reply.header.xid = 0;
                reply.header.zxid = 0;
                transcript.entries.push(Entry {
                    step,
                    who: Arc::from(&**path),
                    answers: step,
                    op: request.op(),
                    seen: Seen::Packet(reply),
                });
            }
            next.sort();
            level = next;
        }
        Ok(())
    }

    /// Closes the session.
    pub fn leave(mut self) {
        if self.raw.send_close_session(self.xid + 1).is_ok() {
            let _ = self.raw.read_reply(); // The end, either way.
        }
    }

    fn call(&mut self, request: Request) -> Result<Reply, StageError> {
        let replies = self.burst(std::slice::from_ref(&request))?;
        replies.into_iter().next().ok_or(StageError::Client(ClientError::Closed))
    }

    fn expect(&mut self, request: Request, codes: &[i32]) -> Result<Reply, StageError> {
        let text = request.to_string();
        let reply = self.call(request)?;
        if codes.contains(&reply.header.err) {
            Ok(reply)
        } else {
            Err(StageError::Refused { request: text, reply: format!("{:?}", reply.header) })
        }
    }

    fn burst(&mut self, requests: &[Request]) -> Result<Vec<Reply>, StageError> {
        let mut replies = Vec::with_capacity(requests.len());
        // In pieces: neither side's buffers shall fill while the other only writes.
        for chunk in requests.chunks(200) {
            let mut bytes = Vec::new();
            for request in chunk {
                self.xid = self.xid.wrapping_add(1) & i32::MAX;
                let body = request.body(0);
                bytes.extend(super::wire::framed_request(self.xid, request.op(), &body));
            }
            self.raw.send_bytes(&bytes)?;
            for _ in chunk {
                replies.push(self.raw.read_reply()?);
            }
        }
        Ok(replies)
    }

    fn children(&mut self, path: &str) -> Result<Option<Vec<String>>, StageError> {
        let request =
            Request::GetChildren(GetChildrenRequest { path: path.to_owned(), watch: false });
        let reply = self.expect(request, &[0, -101])?;
        if reply.header.err != 0 {
            return Ok(None);
        }
        Ok(Some(reply.decode::<GetChildrenResponse>()?.children))
    }

    /// The paths of the children, sorted, without those that every server has.
    fn below(&mut self, path: &str) -> Result<Vec<String>, StageError> {
        let mut names = self.children(path)?.unwrap_or_default();
        names.sort();
        let parent = if path == "/" { "" } else { path };
        Ok(names
            .into_iter()
            .map(|name| format!("{parent}/{name}"))
            .filter(|path| path != "/zookeeper")
            .collect())
    }

    /// All at once, the deepest first.
    fn remove_below(&mut self, path: &str) -> Result<(), StageError> {
        let mut found = Vec::new();
        let mut open = VecDeque::from(self.below(path)?);
        while !open.is_empty() {
            let level: Vec<String> = open.drain(..).collect();
            let requests: Vec<Request> = level
                .iter()
                .map(|path| GetChildrenRequest { path: path.clone(), watch: false })
                .map(Request::GetChildren)
                .collect();
            for (path, reply) in level.iter().zip(self.burst(&requests)?) {
                if let Ok(reply) = reply.decode::<GetChildrenResponse>() {
                    open.extend(reply.children.iter().map(|name| format!("{path}/{name}")));
                }
            }
            found.extend(level);
        }
        let requests: Vec<Request> = found
            .into_iter()
            .rev()
            .map(|path| Request::Delete(DeleteRequest { path, version: -1 }))
            .collect();
        for (reply, request) in self.burst(&requests)?.iter().zip(&requests) {
            // Ephemerals and containers may have gone by themselves.
            if !matches!(reply.header.err, 0 | -101) {
                let reply = format!("{:?}", reply.header);
                return Err(StageError::Refused { request: request.to_string(), reply });
            }
        }
        Ok(())
    }
}

/// whoAmI lists the scheme `super`.
fn is_super(reply: &Reply) -> bool {
    let scheme = "super".to_owned().to_bytes();
    reply.body.windows(scheme.len()).any(|window| window == scheme)
}
