//! multi: all or nothing under one zxid.

use super::Preparation;
use super::create::Create;
use crate::proto::multi::{MultiOp, MultiOperationRecord};
use crate::proto::txn::{ErrorTxn, Txn};
use crate::proto::{Code, CreateMode, OpCode};

impl Preparation<'_, '_, '_> {
    /// A failed multi (behaviour 27) is not refused: it is logged as a multi, with the transactions
    /// of the operations before the failing one as they were, its code, and
    /// `RuntimeInconsistency` for those behind it. Applying it changes nothing. An empty one is
    /// legal.
    pub(super) fn multi(&mut self, request: &MultiOperationRecord) -> Result<Txn, Code> {
        if !request.ops.iter().all(is_decodable) {
            return Err(Code::MarshallingError);
        }
        let mut txns = Vec::with_capacity(request.ops.len());
        let mut failed = false;
        self.context.changes.begin();
        for op in &request.ops {
            if failed {
                txns.push(error(Code::RuntimeInconsistency));
                continue;
            }
            match self.multi_op(op) {
                Ok(txn) => txns.push(txn),
                Err(code) => {
                    self.context.changes.rollback();
                    // What is an unexpected exception in Java fails the request as a whole.
                    if code == Code::MarshallingError {
                        return Err(code);
                    }
                    failed = true;
                    txns.push(error(code));
                }
            }
        }
        self.context.changes.commit();
        Ok(Txn::Multi(txns))
    }

    fn multi_op(&mut self, op: &MultiOp) -> Result<Txn, Code> {
        match op {
            MultiOp::Create(request) => self.create(&by_flags((OpCode::Create, request).into())),
            MultiOp::Create2(request) => self.create(&by_flags((OpCode::Create2, request).into())),
            MultiOp::CreateContainer(request) => {
                self.create(&by_flags((OpCode::CreateContainer, request).into()))
            }
            MultiOp::CreateTtl(request) => self.create(&by_flags(request.into())),
            MultiOp::Delete(request) => self.delete(request),
            MultiOp::SetData(request) => self.set_data(request),
            MultiOp::Check(request) => self.check(request),
            MultiOp::GetData(_) | MultiOp::GetChildren(_) => Err(Code::MarshallingError),
        }
    }
}

fn error(code: Code) -> Txn {
    Txn::Error(ErrorTxn { err: code.as_i32() })
}

/// What `MultiOperationRecord.deserialize` lets pass: no reads, and of the creates without ttl none
/// with unknown flags or flags of a TTL mode.
fn is_decodable(op: &MultiOp) -> bool {
    match op {
        MultiOp::Create(request)
        | MultiOp::Create2(request)
        | MultiOp::CreateContainer(request) => {
            CreateMode::from_flag(request.flags).is_ok_and(|mode| !mode.is_ttl())
        }
        MultiOp::CreateTtl(_) | MultiOp::Delete(_) | MultiOp::SetData(_) | MultiOp::Check(_) => {
            true
        }
        MultiOp::GetData(_) | MultiOp::GetChildren(_) => false,
    }
}

/// In a multi the flags of a create decide over its operation, while alone the operation decides
/// (`Op.Create.getOpcode`): container flags make it createContainer, and a createTTL without flags
/// of a TTL mode is a create, whose ttl is forgotten.
fn by_flags(mut create: Create<'_>) -> Create<'_> {
    // Unknown flags of a createTTL count as a plain create here and are refused later.
    let mode = CreateMode::from_flag(create.flags).unwrap_or(CreateMode::Persistent);
    if mode.is_ttl() {
        return create;
    }
    create.ttl = -1;
    if mode.is_container() {
        create.op = OpCode::CreateContainer;
    } else if create.op == OpCode::CreateTtl {
        create.op = OpCode::Create;
    }
    create
}
