//! The decoded body of a client request, one variant per operation (`Request.readRequestRecord`).
//!
//! Java decodes in the processors; here it is done once, on the connection's own thread. A body
//! that cannot be decoded travels on as [`RequestBody::Malformed`], because Java answers it with
//! `MarshallingError` only when its turn comes.

use crate::jute::{Input, Jute, JuteError};
use crate::proto::OpCode;
use crate::proto::messages::{
    AddWatchRequest, CheckWatchesRequest, CreateRequest, CreateTtlRequest, DeleteContainerRequest,
    DeleteRequest, ExistsRequest, GetAclRequest, GetAllChildrenNumberRequest, GetChildren2Request,
    GetChildrenRequest, GetDataRequest, GetEphemeralsRequest, ReconfigRequest,
    RemoveWatchesRequest, SetAclRequest, SetDataRequest, SetWatches, SetWatches2, SyncRequest,
};
use crate::proto::multi::MultiOperationRecord;

/// What a client asks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as the operations")]
pub enum RequestBody {
    Create(CreateRequest),
    Create2(CreateRequest),
    CreateContainer(CreateRequest),
    CreateTtl(CreateTtlRequest),
    Delete(DeleteRequest),
    DeleteContainer(DeleteContainerRequest),
    SetData(SetDataRequest),
    SetAcl(SetAclRequest),
    Reconfig(ReconfigRequest),
    Multi(MultiOperationRecord),
    MultiRead(MultiOperationRecord),
    Exists(ExistsRequest),
    GetData(GetDataRequest),
    GetAcl(GetAclRequest),
    GetChildren(GetChildrenRequest),
    GetChildren2(GetChildren2Request),
    GetAllChildrenNumber(GetAllChildrenNumberRequest),
    GetEphemerals(GetEphemeralsRequest),
    Sync(SyncRequest),
    Ping,
    WhoAmI,
    SetWatches(SetWatches),
    SetWatches2(SetWatches2),
    AddWatch(AddWatchRequest),
    CheckWatches(CheckWatchesRequest),
    RemoveWatches(RemoveWatchesRequest),
    /// Made by the server from a connect request, never by a client.
    CreateSession {
        timeout_ms: i32,
    },
    CloseSession,
    /// The operation is known, its body is not: answered with `MarshallingError`.
    Malformed(OpCode),
    /// Known by its transaction only: what the log or another server told of, never what a client
    /// asked here.
    Txn(OpCode),
    /// No such operation (0, -1, a bare check and createSession by a client included): answered
    /// with `Unimplemented`, then the connection is closed.
    Unknown(i32),
}

impl RequestBody {
    /// Decodes the bytes behind a request header of type `op`. `Auth` and `Sasl` packets are not
    /// requests: the connection handles them before.
    pub fn decode(op: i32, input: &mut Input<'_>) -> RequestBody {
        let Some(op_code) = OpCode::from_i32(op) else { return RequestBody::Unknown(op) };
        RequestBody::decode_known(op_code, input).unwrap_or(RequestBody::Malformed(op_code))
    }

    fn decode_known(op: OpCode, input: &mut Input<'_>) -> Result<RequestBody, JuteError> {
        Ok(match op {
            OpCode::Create => RequestBody::Create(Jute::decode(input)?),
            OpCode::Create2 => RequestBody::Create2(Jute::decode(input)?),
            OpCode::CreateContainer => RequestBody::CreateContainer(Jute::decode(input)?),
            OpCode::CreateTtl => RequestBody::CreateTtl(Jute::decode(input)?),
            OpCode::Delete => RequestBody::Delete(Jute::decode(input)?),
            OpCode::DeleteContainer => RequestBody::DeleteContainer(Jute::decode(input)?),
            OpCode::SetData => RequestBody::SetData(Jute::decode(input)?),
            OpCode::SetAcl => RequestBody::SetAcl(Jute::decode(input)?),
            OpCode::Reconfig => RequestBody::Reconfig(Jute::decode(input)?),
            OpCode::Multi => RequestBody::Multi(Jute::decode(input)?),
            OpCode::MultiRead => RequestBody::MultiRead(Jute::decode(input)?),
            OpCode::Exists => RequestBody::Exists(Jute::decode(input)?),
            OpCode::GetData => RequestBody::GetData(Jute::decode(input)?),
            OpCode::GetAcl => RequestBody::GetAcl(Jute::decode(input)?),
            OpCode::GetChildren => RequestBody::GetChildren(Jute::decode(input)?),
            OpCode::GetChildren2 => RequestBody::GetChildren2(Jute::decode(input)?),
            OpCode::GetAllChildrenNumber => RequestBody::GetAllChildrenNumber(Jute::decode(input)?),
            OpCode::GetEphemerals => RequestBody::GetEphemerals(Jute::decode(input)?),
            OpCode::Sync => RequestBody::Sync(Jute::decode(input)?),
            OpCode::Ping => RequestBody::Ping,
            OpCode::WhoAmI => RequestBody::WhoAmI,
            OpCode::SetWatches => RequestBody::SetWatches(Jute::decode(input)?),
            OpCode::SetWatches2 => RequestBody::SetWatches2(Jute::decode(input)?),
            OpCode::AddWatch => RequestBody::AddWatch(Jute::decode(input)?),
            OpCode::CheckWatches => RequestBody::CheckWatches(Jute::decode(input)?),
            OpCode::RemoveWatches => RequestBody::RemoveWatches(Jute::decode(input)?),
            OpCode::CloseSession => RequestBody::CloseSession,
            OpCode::Notification
            | OpCode::Error
            | OpCode::Check
            | OpCode::CreateSession
            | OpCode::Auth
            | OpCode::Sasl => RequestBody::Unknown(op.as_i32()),
        })
    }

    /// Decodes a request that a learner forwarded: as of a client, and createSession besides.
    pub fn decode_forwarded(op: i32, input: &mut Input<'_>) -> RequestBody {
        if op == OpCode::CreateSession.as_i32() {
            return match input.read_i32() {
                Ok(timeout_ms) => RequestBody::CreateSession { timeout_ms },
                Err(_) => RequestBody::Malformed(OpCode::CreateSession),
            };
        }
        RequestBody::decode(op, input)
    }

    /// The operation; `None` for an unknown one.
    pub fn op_code(&self) -> Option<OpCode> {
        Some(match self {
            RequestBody::Create(_) => OpCode::Create,
            RequestBody::Create2(_) => OpCode::Create2,
            RequestBody::CreateContainer(_) => OpCode::CreateContainer,
            RequestBody::CreateTtl(_) => OpCode::CreateTtl,
            RequestBody::Delete(_) => OpCode::Delete,
            RequestBody::DeleteContainer(_) => OpCode::DeleteContainer,
            RequestBody::SetData(_) => OpCode::SetData,
            RequestBody::SetAcl(_) => OpCode::SetAcl,
            RequestBody::Reconfig(_) => OpCode::Reconfig,
            RequestBody::Multi(_) => OpCode::Multi,
            RequestBody::MultiRead(_) => OpCode::MultiRead,
            RequestBody::Exists(_) => OpCode::Exists,
            RequestBody::GetData(_) => OpCode::GetData,
            RequestBody::GetAcl(_) => OpCode::GetAcl,
            RequestBody::GetChildren(_) => OpCode::GetChildren,
            RequestBody::GetChildren2(_) => OpCode::GetChildren2,
            RequestBody::GetAllChildrenNumber(_) => OpCode::GetAllChildrenNumber,
            RequestBody::GetEphemerals(_) => OpCode::GetEphemerals,
            RequestBody::Sync(_) => OpCode::Sync,
            RequestBody::Ping => OpCode::Ping,
            RequestBody::WhoAmI => OpCode::WhoAmI,
            RequestBody::SetWatches(_) => OpCode::SetWatches,
            RequestBody::SetWatches2(_) => OpCode::SetWatches2,
            RequestBody::AddWatch(_) => OpCode::AddWatch,
            RequestBody::CheckWatches(_) => OpCode::CheckWatches,
            RequestBody::RemoveWatches(_) => OpCode::RemoveWatches,
            RequestBody::CreateSession { .. } => OpCode::CreateSession,
            RequestBody::CloseSession => OpCode::CloseSession,
            RequestBody::Malformed(op) | RequestBody::Txn(op) => *op,
            RequestBody::Unknown(_) => return None,
        })
    }

    /// True for what becomes a transaction (`Request.isQuorum` without sync).
    pub fn is_write(&self) -> bool {
        self.op_code().is_some_and(|op| {
            op.is_change() || matches!(op, OpCode::CreateSession | OpCode::CloseSession)
        })
    }
}
