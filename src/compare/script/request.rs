//! The requests of a script: every operation with its record, and any bytes at all.

use super::Moment;
use crate::jute::{Buffer, Input, Jute, JuteError, OutputExt};
use crate::proto::OpCode;
use crate::proto::messages::{
    AddWatchRequest, AuthPacket, CheckVersionRequest, CheckWatchesRequest, CreateRequest,
    CreateTtlRequest, DeleteContainerRequest, DeleteRequest, ExistsRequest, GetAclRequest,
    GetAllChildrenNumberRequest, GetChildrenRequest, GetDataRequest, GetEphemeralsRequest,
    ReconfigRequest, RemoveWatchesRequest, SetAclRequest, SetDataRequest, SyncRequest,
};
use crate::proto::multi::{MultiOp, MultiOperationRecord};

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as the operations")]
pub enum Request {
    Create(CreateRequest),
    Create2(CreateRequest),
    CreateContainer(CreateRequest),
    CreateTtl(CreateTtlRequest),
    Delete(DeleteRequest),
    DeleteContainer(DeleteContainerRequest),
    Exists(ExistsRequest),
    GetData(GetDataRequest),
    SetData(SetDataRequest),
    GetAcl(GetAclRequest),
    SetAcl(SetAclRequest),
    GetChildren(GetChildrenRequest),
    GetChildren2(GetChildrenRequest),
    GetEphemerals(GetEphemeralsRequest),
    GetAllChildrenNumber(GetAllChildrenNumberRequest),
    Sync(SyncRequest),
    Check(CheckVersionRequest),
    Multi(Vec<MultiOp>),
    MultiRead(Vec<MultiOp>),
    AddWatch(AddWatchRequest),
    CheckWatches(CheckWatchesRequest),
    RemoveWatches(RemoveWatchesRequest),
    SetWatches(SetWatchesAt),
    SetWatches2(SetWatchesAt),
    Reconfig(ReconfigRequest),
    Auth {
        scheme: String,
        auth: Buffer,
    },
    WhoAmI,
    Ping,
    CloseSession,
    /// `op CODE HEX`: any operation with any body.
    Any {
        op: i32,
        body: Vec<u8>,
    },
}

/// setWatches with its lists: data, exist, child, and for setWatches2 persistent and recursive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetWatchesAt {
    /// What the client has seen.
    pub since: Moment,
    /// The lists; three for setWatches, five for setWatches2.
    pub lists: [Vec<String>; 5],
}

impl Request {
    /// The number of the operation.
    pub fn op(&self) -> i32 {
        let op = match self {
            Request::Create(_) => OpCode::Create,
            Request::Create2(_) => OpCode::Create2,
            Request::CreateContainer(_) => OpCode::CreateContainer,
            Request::CreateTtl(_) => OpCode::CreateTtl,
            Request::Delete(_) => OpCode::Delete,
            Request::DeleteContainer(_) => OpCode::DeleteContainer,
            Request::Exists(_) => OpCode::Exists,
            Request::GetData(_) => OpCode::GetData,
            Request::SetData(_) => OpCode::SetData,
            Request::GetAcl(_) => OpCode::GetAcl,
            Request::SetAcl(_) => OpCode::SetAcl,
            Request::GetChildren(_) => OpCode::GetChildren,
            Request::GetChildren2(_) => OpCode::GetChildren2,
            Request::GetEphemerals(_) => OpCode::GetEphemerals,
            Request::GetAllChildrenNumber(_) => OpCode::GetAllChildrenNumber,
            Request::Sync(_) => OpCode::Sync,
            Request::Check(_) => OpCode::Check,
            Request::Multi(_) => OpCode::Multi,
            Request::MultiRead(_) => OpCode::MultiRead,
            Request::AddWatch(_) => OpCode::AddWatch,
            Request::CheckWatches(_) => OpCode::CheckWatches,
            Request::RemoveWatches(_) => OpCode::RemoveWatches,
            Request::SetWatches(_) => OpCode::SetWatches,
            Request::SetWatches2(_) => OpCode::SetWatches2,
            Request::Reconfig(_) => OpCode::Reconfig,
            Request::Auth { .. } => OpCode::Auth,
            Request::WhoAmI => OpCode::WhoAmI,
            Request::Ping => OpCode::Ping,
            Request::CloseSession => OpCode::CloseSession,
            Request::Any { op, .. } => return *op,
        };
        op.as_i32()
    }

    /// The bytes behind the request header; `base` is the zxid that `+0` means.
    pub fn body(&self, base: i64) -> Vec<u8> {
        match self {
            Request::Create(r) | Request::Create2(r) | Request::CreateContainer(r) => r.to_bytes(),
            Request::CreateTtl(r) => r.to_bytes(),
            Request::Delete(r) => r.to_bytes(),
            Request::DeleteContainer(r) => r.to_bytes(),
            Request::Exists(r) => r.to_bytes(),
            Request::GetData(r) => r.to_bytes(),
            Request::SetData(r) => r.to_bytes(),
            Request::GetAcl(r) => r.to_bytes(),
            Request::SetAcl(r) => r.to_bytes(),
            Request::GetChildren(r) | Request::GetChildren2(r) => r.to_bytes(),
            Request::GetEphemerals(r) => r.to_bytes(),
            Request::GetAllChildrenNumber(r) => r.to_bytes(),
            Request::Sync(r) => r.to_bytes(),
            Request::Check(r) => r.to_bytes(),
            Request::Multi(ops) | Request::MultiRead(ops) => {
                MultiOperationRecord { ops: ops.clone() }.to_bytes()
            }
            Request::AddWatch(r) => r.to_bytes(),
            Request::CheckWatches(r) => r.to_bytes(),
            Request::RemoveWatches(r) => r.to_bytes(),
            Request::SetWatches(at) => at.body(base, 3),
            Request::SetWatches2(at) => at.body(base, 5),
            Request::Reconfig(r) => r.to_bytes(),
            Request::Auth { scheme, auth } => {
                AuthPacket { op: 0, scheme: scheme.clone(), auth: auth.clone() }.to_bytes()
            }
            Request::WhoAmI | Request::Ping | Request::CloseSession => Vec::new(),
            Request::Any { body, .. } => body.clone(),
        }
    }

    /// The xid that clients send it with, when it is not the next in the row.
    pub fn fixed_xid(&self) -> Option<i32> {
        match self {
            Request::Ping => Some(-2),
            Request::Auth { .. } => Some(-4),
            Request::SetWatches(_) | Request::SetWatches2(_) => Some(-8),
            _ => None,
        }
    }

    /// May make a transaction, in some state of the tree.
    pub fn is_write(&self) -> bool {
        let op = OpCode::from_i32(self.op());
        op.is_some_and(|op| op.is_change() || op == OpCode::Check)
    }
}

impl SetWatchesAt {
    fn body(&self, base: i64, lists: usize) -> Vec<u8> {
        let mut body = Vec::new();
        body.put_i64(self.since.zxid(base));
        for list in self.lists.iter().take(lists) {
            list.encode(&mut body);
        }
        body
    }
}

impl Moment {
    /// The number to send when the script's first zxid is `base`.
    pub fn zxid(self, base: i64) -> i64 {
        match self {
            Moment::Absolute(zxid) => zxid,
            Moment::Relative(offset) => base.wrapping_add(offset),
        }
    }
}

impl Request {
    /// The request with this operation and body: typed when the body is exactly what its record
    /// makes, any bytes otherwise. What a setWatches has seen stays the zxid that it is.
    pub fn from_wire(op: i32, body: &[u8]) -> Request {
        let typed = Request::decode(op, body).ok().flatten();
        typed
            .filter(|request| request.body(0) == body)
            .unwrap_or_else(|| Request::Any { op, body: body.to_vec() })
    }

    fn decode(op: i32, body: &[u8]) -> Result<Option<Request>, JuteError> {
        let input = &mut Input::unbounded(body);
        let Some(op) = OpCode::from_i32(op) else { return Ok(None) };
        Ok(Some(match op {
            OpCode::Create => Request::Create(Jute::decode(input)?),
            OpCode::Create2 => Request::Create2(Jute::decode(input)?),
            OpCode::CreateContainer => Request::CreateContainer(Jute::decode(input)?),
            OpCode::CreateTtl => Request::CreateTtl(Jute::decode(input)?),
            OpCode::Delete => Request::Delete(Jute::decode(input)?),
            OpCode::DeleteContainer => Request::DeleteContainer(Jute::decode(input)?),
            OpCode::Exists => Request::Exists(Jute::decode(input)?),
            OpCode::GetData => Request::GetData(Jute::decode(input)?),
            OpCode::SetData => Request::SetData(Jute::decode(input)?),
            OpCode::GetAcl => Request::GetAcl(Jute::decode(input)?),
            OpCode::SetAcl => Request::SetAcl(Jute::decode(input)?),
            OpCode::GetChildren => Request::GetChildren(Jute::decode(input)?),
            OpCode::GetChildren2 => Request::GetChildren2(Jute::decode(input)?),
            OpCode::GetEphemerals => Request::GetEphemerals(Jute::decode(input)?),
            OpCode::GetAllChildrenNumber => Request::GetAllChildrenNumber(Jute::decode(input)?),
            OpCode::Sync => Request::Sync(Jute::decode(input)?),
            OpCode::Check => Request::Check(Jute::decode(input)?),
            OpCode::Multi => Request::Multi(MultiOperationRecord::decode(input)?.ops),
            OpCode::MultiRead => Request::MultiRead(MultiOperationRecord::decode(input)?.ops),
            OpCode::AddWatch => Request::AddWatch(Jute::decode(input)?),
            OpCode::CheckWatches => Request::CheckWatches(Jute::decode(input)?),
            OpCode::RemoveWatches => Request::RemoveWatches(Jute::decode(input)?),
            OpCode::SetWatches => Request::SetWatches(SetWatchesAt::decode(input, 3)?),
            OpCode::SetWatches2 => Request::SetWatches2(SetWatchesAt::decode(input, 5)?),
            OpCode::Reconfig => Request::Reconfig(Jute::decode(input)?),
            OpCode::Auth => {
                let AuthPacket { scheme, auth, .. } = Jute::decode(input)?;
                Request::Auth { scheme, auth }
            }
            OpCode::WhoAmI => Request::WhoAmI,
            OpCode::Ping => Request::Ping,
            OpCode::CloseSession => Request::CloseSession,
            OpCode::Notification | OpCode::Sasl | OpCode::CreateSession | OpCode::Error => {
                return Ok(None);
            }
        }))
    }
}

impl SetWatchesAt {
    fn decode(input: &mut Input<'_>, count: usize) -> Result<Self, JuteError> {
        let since = Moment::Absolute(input.read_i64()?);
        let mut lists = [const { Vec::new() }; 5];
        for list in lists.iter_mut().take(count) {
            *list = Jute::decode(input)?;
        }
        Ok(SetWatchesAt { since, lists })
    }
}
