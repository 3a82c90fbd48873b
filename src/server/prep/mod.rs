//! The rules of `PrepRequestProcessor`: a request and the state it will meet become a transaction,
//! or the code why not. No thread, no clock, no I/O: the processor's thread calls [`prepare`] with
//! the tree's read guard and the outstanding changes locked, and carries the outcome on.
//!
//! Every write takes a zxid, a refused one too: it becomes an `ErrorTxn`. Each operation checks in
//! Java's order, since a client sees which check failed first.
//!
//! Deliberate differences from Java:
//! - A body that cannot be decoded takes a zxid of its own. Java answers the same code but proposes
//!   the error under the zxid of the transaction before, which blocks an ensemble for good.
//! - createTTL without a flag of a TTL mode is refused with `BadArguments`. Java accepts it when
//!   the ttl is negative, and dies from applying it.
//! - A version that reaches -1 becomes 0 (ZOOKEEPER-4743): -1 would match every later check.
//! - Outstanding changes say exactly what applying will do. Java's records miss the new ACL of a
//!   setACL and the lower child count of a parent whose ephemeral children go with their session,
//!   so that its answers depend on how far the pipeline has come.

mod changes;
mod create;
mod delete;
mod digest;
mod multi;
mod quota;
mod reconfig;
mod session;
mod set_acl;
mod set_data;

use std::cell::Cell;
use std::sync::Arc;

pub use changes::{OutstandingChanges, Pending, PendingNode};
pub use delete::deletable_parent_path;

use crate::auth::AclPolicy;
use crate::common::config::ServerConfig;
use crate::jute::Buffer;
use crate::metrics::ServerMetrics;
use crate::proto::txn::{ErrorTxn, Txn, TxnDigest, TxnHeader};
use crate::proto::{Acl, Code, EphemeralType, Id, OpCode, SessionId, Zxid};
use crate::server::request_body::RequestBody;
use crate::session::{Session, SessionTracker};
use crate::tree::DataTree;

/// The settings that the rules depend on, besides those of the tree.
#[derive(Debug, Clone)]
pub struct PrepOptions {
    /// `enforceQuota`: hard limits refuse, and soft ones warn.
    pub enforce_quota: bool,
    /// `closeSessionTxn.enabled`: closeSession lists the nodes that go.
    pub close_session_txn_enabled: bool,
    /// `reconfigEnabled`.
    pub reconfig_enabled: bool,
    /// `jute.maxbuffer`: a longer list of nodes is left out of closeSession.
    pub max_buffer: i32,
}

impl From<&ServerConfig> for PrepOptions {
    fn from(config: &ServerConfig) -> Self {
        PrepOptions {
            enforce_quota: config.enforce_quota,
            close_session_txn_enabled: config.close_session_txn_enabled,
            reconfig_enabled: config.reconfig_enabled,
            max_buffer: config.jute_maxbuffer,
        }
    }
}

/// What the rules ask and tell the session tracker.
pub trait PrepSessions {
    /// `SessionTracker.checkSession`: `UnknownSession`, `SessionExpired` or `SessionMoved`.
    fn check_session(&self, session: SessionId, owner: u64) -> Result<(), Code>;
    /// `SessionTracker.checkGlobalSession`: `SessionExpired` or `SessionMoved`.
    fn check_global_session(&self, session: SessionId, owner: u64) -> Result<(), Code>;
    /// `SessionTracker.trackSession`, `setOwner`: from now on the session may be used, by `owner`.
    fn track_session(&self, session: SessionId, timeout_ms: i32, owner: u64);
    /// `SessionTracker.setSessionClosing`: from now on its requests fail.
    fn set_session_closing(&self, session: SessionId);
}

/// A server's session tracker as the rules see it.
pub struct TrackedSessions<'a>(pub &'a dyn SessionTracker);

impl PrepSessions for TrackedSessions<'_> {
    fn check_session(&self, session: SessionId, owner: u64) -> Result<(), Code> {
        self.0.check_session(session, owner)
    }
    fn check_global_session(&self, session: SessionId, owner: u64) -> Result<(), Code> {
        self.0.check_global_session(session, owner)
    }
    fn track_session(&self, session: SessionId, timeout_ms: i32, owner: u64) {
        self.0.track_session(session, timeout_ms);
        if owner != Session::NO_OWNER {
            // It may be closing: then its owner is of no importance any more.
            let _ = self.0.set_owner(session, owner);
        }
    }
    fn set_session_closing(&self, session: SessionId) {
        self.0.set_session_closing(session);
    }
}

/// What lasts from one request to the next, owned by the thread that prepares.
#[derive(Debug)]
pub struct PrepState {
    /// The newest zxid given out (`ZooKeeperServer.hzxid`).
    pub last_zxid: Zxid,
    /// The settings.
    pub options: PrepOptions,
    quota_log: quota::QuotaLog,
    /// The ACL of the last created node. Most nodes of a run share theirs.
    last_acl: Arc<[Acl]>,
}

impl PrepState {
    /// Goes on from `last_zxid`.
    pub fn new(last_zxid: Zxid, options: PrepOptions) -> Self {
        let quota_log = quota::QuotaLog::default();
        PrepState { last_zxid, options, quota_log, last_acl: Acl::open_unsafe().into() }
    }

    /// `acl` as a shared slice.
    fn share_acl(&mut self, acl: &[Acl]) -> Arc<[Acl]> {
        if *self.last_acl != *acl {
            self.last_acl = acl.into();
        }
        self.last_acl.clone()
    }
}

/// Everything a request is judged against.
pub struct PrepContext<'a> {
    /// What lasts.
    pub state: &'a mut PrepState,
    /// The applied tree. Its guard is held over the call.
    pub tree: &'a DataTree,
    /// The changes not applied yet. Locked over the call.
    pub changes: &'a mut OutstandingChanges,
    /// The sessions.
    pub sessions: &'a dyn PrepSessions,
    /// The authentication schemes, and whether ACLs are checked at all.
    pub acl_policy: &'a AclPolicy,
    /// Where to count.
    pub metrics: &'a ServerMetrics,
    /// The wall clock, in ms: the time of the transaction.
    pub wall_ms: i64,
    /// The monotonic clock, in ms: for the rate of log lines.
    pub elapsed_ms: i64,
}

/// A request as it comes to the rules.
#[derive(Debug, Clone, Copy)]
pub struct PrepRequest<'a> {
    /// Whose it is; 0 for requests of the server itself.
    pub session: SessionId,
    /// The client's number of the request.
    pub cxid: i32,
    /// What is asked.
    pub body: &'a RequestBody,
    /// The identities of the connection.
    pub auth: &'a [Id],
    /// Through whom it came: [`Session::NO_OWNER`], [`Session::OWNER_ME`] or a learner handler.
    pub owner: u64,
    /// Its session is known to this server only: its createSession and closeSession are no
    /// transactions.
    pub is_local_session: bool,
    /// Why it fails in any case, found before: its local session could not be upgraded.
    pub error: Option<Code>,
}

impl<'a> PrepRequest<'a> {
    /// A request of a global session, whoever it came through.
    pub fn new(session: SessionId, cxid: i32, body: &'a RequestBody, auth: &'a [Id]) -> Self {
        let owner = Session::NO_OWNER;
        PrepRequest { session, cxid, body, auth, owner, is_local_session: false, error: None }
    }
}

/// A transaction before it is encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreparedTxn {
    /// Its header.
    pub header: TxnHeader,
    /// Its record.
    pub txn: Txn,
    /// The digest of the tree after it; not with a single error.
    pub digest: Option<TxnDigest>,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// The transaction to log and apply; `None` for what changes nothing.
    pub txn: Option<PreparedTxn>,
    /// Why the request failed (`Request.getException`), if it did. A failed multi has none: its
    /// transaction carries the codes and its reply header says 0.
    pub error: Option<Code>,
}

/// `PrepRequestProcessor.pRequest`: judges one request. Requests that are no writes only have their
/// session checked.
pub fn prepare(context: &mut PrepContext<'_>, request: &PrepRequest<'_>) -> Prepared {
    if !request.body.is_write() {
        let error = match request.body {
            RequestBody::Unknown(_) => Some(Code::Unimplemented),
            _ => context.sessions.check_session(request.session, request.owner).err(),
        };
        return Prepared { txn: None, error };
    }
    if request.is_local_session
        && matches!(request.body, RequestBody::CreateSession { .. } | RequestBody::CloseSession)
    {
        return Prepared { txn: None, error: None };
    }
    let zxid = context.state.last_zxid.next();
    context.state.last_zxid = zxid;
    let header = TxnHeader {
        client_id: request.session,
        cxid: request.cxid,
        zxid,
        time: context.wall_ms,
        txn_type: OpCode::Error.as_i32(),
    };
    let queued_before = context.changes.len();
    let mut preparation = Preparation {
        context,
        header,
        auth: request.auth,
        owner: request.owner,
        error: request.error,
        has_moved: Cell::new(false),
    };
    let (txn, digest, error) = match preparation.p_request_2_txn(request.body) {
        Ok(txn) => {
            // A multi of a moved session carries the code, but it is its connection that ends.
            let error = preparation.has_moved.get().then_some(Code::SessionMoved);
            (txn, preparation.txn_digest(), error)
        }
        Err(code) => {
            // As in Java only the codes above APIERROR: those that a correct client never gets.
            if code.as_i32() > -100 {
                log::info!(
                    "Got user-level KeeperException when processing sessionid:{} cxid:{:#x} \
                     zxid:{zxid} Error:{code}",
                    request.session,
                    request.cxid
                );
            }
            (Txn::Error(ErrorTxn { err: code.as_i32() }), None, Some(code))
        }
    };
    let queued = context.changes.len().saturating_sub(queued_before);
    if queued > 0 {
        context.metrics.outstanding_changes_queued.add(queued as i64);
    }
    let header = TxnHeader { txn_type: txn.op_code().as_i32(), ..header };
    Prepared { txn: Some(PreparedTxn { header, txn, digest }), error }
}

/// One write being judged; its rules are spread over the files of this folder.
struct Preparation<'c, 'a, 'r> {
    context: &'c mut PrepContext<'a>,
    header: TxnHeader,
    auth: &'r [Id],
    owner: u64,
    error: Option<Code>,
    /// A check of the session said so.
    has_moved: Cell<bool>,
}

impl Preparation<'_, '_, '_> {
    fn p_request_2_txn(&mut self, body: &RequestBody) -> Result<Txn, Code> {
        match body {
            RequestBody::Create(request) => self.create(&(OpCode::Create, request).into()),
            RequestBody::Create2(request) => self.create(&(OpCode::Create2, request).into()),
            RequestBody::CreateContainer(request) => {
                self.create(&(OpCode::CreateContainer, request).into())
            }
            RequestBody::CreateTtl(request) => self.create(&request.into()),
            RequestBody::Delete(request) => self.delete(request),
            RequestBody::DeleteContainer(request) => self.delete_container(&request.path),
            RequestBody::SetData(request) => self.set_data(request),
            RequestBody::SetAcl(request) => self.set_acl(request),
            RequestBody::Reconfig(_) => self.reconfig(),
            RequestBody::Multi(request) => self.multi(request),
            RequestBody::CreateSession { timeout_ms } => Ok(self.create_session(*timeout_ms)),
            RequestBody::CloseSession => self.close_session(),
            RequestBody::Malformed(op) => {
                log::error!("Failed to process {}: its body cannot be decoded", op.name());
                Err(Code::MarshallingError)
            }
            // No writes; they do not come here.
            RequestBody::MultiRead(_)
            | RequestBody::Exists(_)
            | RequestBody::GetData(_)
            | RequestBody::GetAcl(_)
            | RequestBody::GetChildren(_)
            | RequestBody::GetChildren2(_)
            | RequestBody::GetAllChildrenNumber(_)
            | RequestBody::GetEphemerals(_)
            | RequestBody::Sync(_)
            | RequestBody::Ping
            | RequestBody::WhoAmI
            | RequestBody::SetWatches(_)
            | RequestBody::SetWatches2(_)
            | RequestBody::AddWatch(_)
            | RequestBody::CheckWatches(_)
            | RequestBody::RemoveWatches(_)
            | RequestBody::Txn(_)
            | RequestBody::Unknown(_) => Err(Code::MarshallingError),
        }
    }

    /// True for the node of a session, which has no children and goes with it.
    fn is_ephemeral(&self, node: &PendingNode) -> bool {
        let types = self.context.tree.options().extended_types;
        EphemeralType::of(node.stat.ephemeral_owner, types) == EphemeralType::Normal
    }

    fn check_session(&self) -> Result<(), Code> {
        self.note_moved(self.context.sessions.check_session(self.header.client_id, self.owner))
    }

    /// The session may own nodes: `checkGlobalSession`, and before it what is known to be wrong.
    fn check_global_session(&self) -> Result<(), Code> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let sessions = self.context.sessions;
        self.note_moved(sessions.check_global_session(self.header.client_id, self.owner))
    }

    fn note_moved(&self, checked: Result<(), Code>) -> Result<(), Code> {
        if checked == Err(Code::SessionMoved) {
            self.has_moved.set(true);
        }
        checked
    }

    /// `getRecordForPath`: the node as the request will meet it.
    fn record_for_path(&self, path: &str) -> Result<PendingNode, Code> {
        match self.context.changes.get(path) {
            Pending::Node(node) => Ok(node.clone()),
            Pending::Deleted => Err(Code::NoNode),
            Pending::Unchanged => {
                let node = self.context.tree.node(path).ok_or(Code::NoNode)?;
                Ok(PendingNode::of(&node, node.data()))
            }
        }
    }

    /// The node as the request will meet it, but with `data`, and how many bytes it has without.
    /// The old data are not touched, which spares a cache miss.
    fn record_to_overwrite(&self, path: &str, data: &Buffer) -> Result<(PendingNode, usize), Code> {
        match self.context.changes.get(path) {
            Pending::Node(node) => {
                let old_len = node.data.as_ref().map_or(0, |data| data.len());
                Ok((PendingNode { data: data.clone(), ..node.clone() }, old_len))
            }
            Pending::Deleted => Err(Code::NoNode),
            Pending::Unchanged => {
                let node = self.context.tree.node(path).ok_or(Code::NoNode)?;
                Ok((PendingNode::of(&node, data), node.data_len()))
            }
        }
    }

    /// True when the request will meet a node at `path`.
    fn exists(&self, path: &str) -> bool {
        match self.context.changes.get(path) {
            Pending::Node(_) => true,
            Pending::Deleted => false,
            Pending::Unchanged => self.context.tree.node(path).is_some(),
        }
    }

    /// `ZooKeeperServer.checkACL`; `set_acls` is the ACL that the request sets, if it does.
    fn check_acl(
        &self,
        acl: &[Acl],
        perm: i32,
        path: &str,
        set_acls: Option<&[Acl]>,
    ) -> Result<(), Code> {
        self.context.acl_policy.check_acl(acl, perm, self.auth, Some(path), set_acls)
    }

    /// `fixupACL`: the list that a node gets, checked, without duplicates, `auth` expanded.
    fn fixup_acl(&self, acl: &[Acl]) -> Result<Vec<Acl>, Code> {
        self.context.acl_policy.fixup_acl(self.auth, acl)
    }
}

/// `validatePath`.
fn validate_path(path: &str) -> Result<(), Code> {
    crate::common::path_utils::validate_path(path).map_err(|reason| {
        log::info!("Invalid path {path:?}: {reason}");
        Code::BadArguments
    })
}

/// The parent's path: "" is the root's. `BadArguments` without a slash or with a NUL.
fn parent_path(path: &str) -> Result<&str, Code> {
    match path.rfind('/') {
        Some(slash) if !path.contains('\0') => Ok(path.get(..slash).unwrap_or_default()),
        _ => {
            log::info!("Invalid path {path:?}");
            Err(Code::BadArguments)
        }
    }
}

/// `checkAndIncVersion`: the next version, if `expected` is -1 or the current one.
fn check_and_inc_version(current: i32, expected: i32) -> Result<i32, Code> {
    if expected != -1 && expected != current {
        return Err(Code::BadVersion);
    }
    // ZOOKEEPER-4743: never -1 again, which would match every check.
    Ok(if current == -2 { 0 } else { current.wrapping_add(1) })
}

#[cfg(test)]
mod tests;
