//! create, create2, createContainer, createTTL (`pRequest2TxnCreate`).

use super::{Preparation, parent_path, validate_path};
use crate::jute::Buffer;
use crate::proto::messages::{CreateRequest, CreateTtlRequest};
use crate::proto::txn::{CreateContainerTxn, CreateTtlTxn, CreateTxn, Txn};
use crate::proto::{Acl, Code, CreateMode, EphemeralType, OpCode, StatPersisted, perms};
use crate::server::prep::PendingNode;

/// The four operations in one form.
pub(super) struct Create<'r> {
    pub op: OpCode,
    pub path: &'r str,
    pub data: &'r Buffer,
    pub acl: &'r [Acl],
    pub flags: i32,
    /// -1 for all but createTTL.
    pub ttl: i64,
}

impl<'r> From<(OpCode, &'r CreateRequest)> for Create<'r> {
    fn from((op, request): (OpCode, &'r CreateRequest)) -> Self {
        let CreateRequest { path, data, acl, flags } = request;
        Create { op, path, data, acl, flags: *flags, ttl: -1 }
    }
}

impl<'r> From<&'r CreateTtlRequest> for Create<'r> {
    fn from(request: &'r CreateTtlRequest) -> Self {
        let CreateTtlRequest { path, data, acl, flags, ttl } = request;
        Create { op: OpCode::CreateTtl, path, data, acl, flags: *flags, ttl: *ttl }
    }
}

impl Preparation<'_, '_, '_> {
    pub(super) fn create(&mut self, request: &Create<'_>) -> Result<Txn, Code> {
        let mode = CreateMode::from_flag(request.flags)?;
        self.validate_create_request(request, mode)?;
        let parent_path = parent_path(request.path)?;
        let acl = self.fixup_acl(request.acl)?;
        let mut parent = self.record_for_path(parent_path)?;
        self.check_acl(&parent.acl, perms::CREATE, request.path, Some(&acl))?;

        let path = if mode.is_sequential() {
            // The counter before this create; negative after 2^31 of them, with its sign counted
            // among the ten digits as in Java's %010d.
            format!("{}{:010}", request.path, parent.stat.cversion)
        } else {
            request.path.to_owned()
        };
        validate_path(&path)?;
        if self.exists(&path) {
            return Err(Code::NodeExists);
        }
        if self.is_ephemeral(&parent) {
            return Err(Code::NoChildrenForEphemerals);
        }
        self.check_quota(&path, None, request.data)?;

        // The owner as the tree will set it, by the kind of the transaction. Compat: the container
        // flag of a plain create makes a persistent node (Java's record, and so its digest, says
        // container), and createContainer makes containers whatever its flags say.
        let ephemeral_owner = match request.op {
            OpCode::CreateContainer => EphemeralType::CONTAINER_OWNER,
            OpCode::CreateTtl => EphemeralType::ttl_owner(request.ttl).ok_or(Code::BadArguments)?,
            _ if mode.is_ephemeral() => self.header.client_id.0,
            _ => 0,
        };
        let zxid = self.header.zxid.0;
        let parent_cversion = parent.stat.cversion.wrapping_add(1);
        parent.child_count = parent.child_count.saturating_add(1);
        parent.stat.cversion = parent_cversion;
        parent.stat.pzxid = zxid;
        self.change_node(parent_path, parent);
        let node = PendingNode {
            stat: StatPersisted {
                czxid: zxid,
                mzxid: zxid,
                pzxid: zxid,
                ctime: self.header.time,
                mtime: self.header.time,
                ephemeral_owner,
                ..StatPersisted::default()
            },
            child_count: 0,
            acl: self.context.state.share_acl(&acl),
            data: request.data.clone(),
            digest: 0,
        };
        self.change_node(&path, node);

        let data = request.data.clone();
        Ok(match request.op {
            OpCode::CreateContainer => {
                Txn::CreateContainer(CreateContainerTxn { path, data, acl, parent_cversion })
            }
            OpCode::CreateTtl => {
                let ttl = request.ttl;
                Txn::CreateTtl(CreateTtlTxn { path, data, acl, parent_cversion, ttl })
            }
            op => {
                let ephemeral = mode.is_ephemeral();
                let txn = CreateTxn { path, data, acl, ephemeral, parent_cversion };
                if op == OpCode::Create2 { Txn::Create2(txn) } else { Txn::Create(txn) }
            }
        })
    }

    /// `validateCreateRequest`: mode, ttl and session, before anything is said of the path.
    fn validate_create_request(&self, request: &Create<'_>, mode: CreateMode) -> Result<(), Code> {
        if mode.is_ttl() {
            if !self.context.tree.options().extended_types.enabled {
                return Err(Code::Unimplemented);
            }
            EphemeralType::ttl_owner(request.ttl).ok_or(Code::BadArguments)?;
        } else if request.ttl >= 0 || request.op == OpCode::CreateTtl {
            return Err(Code::BadArguments);
        }
        if mode.is_ephemeral() { self.check_global_session() } else { self.check_session() }
    }
}
