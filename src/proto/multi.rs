//! `MultiOperationRecord` and `MultiResponse`: several operations or results in one packet.
//!
//! Layout: `(MultiHeader{type, done=false, err} record)* MultiHeader{-1, true, -1}`.

use super::data::Stat;
use super::messages::{
    CheckVersionRequest, CreateRequest, CreateTtlRequest, DeleteRequest, GetChildrenRequest,
    GetDataRequest, SetDataRequest,
};
use super::{Code, OpCode};
use crate::jute::{Buffer, Input, Jute, JuteError, OutputExt};
use crate::records;

records! {
    /// Stands before each element and behind the last.
    #[derive(Copy)]
    #[allow(missing_docs, reason = "field names are those of zookeeper.jute")]
    MultiHeader { op: i32, done: bool, err: i32 }
}

const END: MultiHeader = MultiHeader { op: -1, done: true, err: -1 };

/// One operation of a multi or multiRead request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as the operations")]
pub enum MultiOp {
    Create(CreateRequest),
    Create2(CreateRequest),
    CreateContainer(CreateRequest),
    CreateTtl(CreateTtlRequest),
    Delete(DeleteRequest),
    SetData(SetDataRequest),
    Check(CheckVersionRequest),
    GetData(GetDataRequest),
    GetChildren(GetChildrenRequest),
}

impl MultiOp {
    /// The operation's code.
    pub fn op_code(&self) -> OpCode {
        match self {
            MultiOp::Create(_) => OpCode::Create,
            MultiOp::Create2(_) => OpCode::Create2,
            MultiOp::CreateContainer(_) => OpCode::CreateContainer,
            MultiOp::CreateTtl(_) => OpCode::CreateTtl,
            MultiOp::Delete(_) => OpCode::Delete,
            MultiOp::SetData(_) => OpCode::SetData,
            MultiOp::Check(_) => OpCode::Check,
            MultiOp::GetData(_) => OpCode::GetData,
            MultiOp::GetChildren(_) => OpCode::GetChildren,
        }
    }

    /// The path the operation is about.
    pub fn path(&self) -> &str {
        match self {
            MultiOp::Create(r) | MultiOp::Create2(r) | MultiOp::CreateContainer(r) => &r.path,
            MultiOp::CreateTtl(r) => &r.path,
            MultiOp::Delete(r) => &r.path,
            MultiOp::SetData(r) => &r.path,
            MultiOp::Check(r) => &r.path,
            MultiOp::GetData(r) => &r.path,
            MultiOp::GetChildren(r) => &r.path,
        }
    }

    fn is_read(&self) -> bool {
        matches!(self, MultiOp::GetData(_) | MultiOp::GetChildren(_))
    }
}

/// The body of a multi or multiRead request. Reads and writes cannot be mixed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MultiOperationRecord {
    /// The operations in order; an empty multi is legal.
    pub ops: Vec<MultiOp>,
}

impl Jute for MultiOperationRecord {
    fn encode(&self, out: &mut Vec<u8>) {
        for op in &self.ops {
            MultiHeader { op: op.op_code().as_i32(), done: false, err: -1 }.encode(out);
            match op {
                MultiOp::Create(r) | MultiOp::Create2(r) | MultiOp::CreateContainer(r) => {
                    r.encode(out);
                }
                MultiOp::CreateTtl(r) => r.encode(out),
                MultiOp::Delete(r) => r.encode(out),
                MultiOp::SetData(r) => r.encode(out),
                MultiOp::Check(r) => r.encode(out),
                MultiOp::GetData(r) => r.encode(out),
                MultiOp::GetChildren(r) => r.encode(out),
            }
        }
        END.encode(out);
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, JuteError> {
        let mut ops: Vec<MultiOp> = Vec::new();
        loop {
            let header = MultiHeader::decode(input)?;
            if header.done {
                return Ok(MultiOperationRecord { ops });
            }
            let unknown = JuteError::Value { what: "multi operation", value: header.op.into() };
            let op = match OpCode::from_i32(header.op) {
                Some(OpCode::Create) => MultiOp::Create(Jute::decode(input)?),
                Some(OpCode::Create2) => MultiOp::Create2(Jute::decode(input)?),
                Some(OpCode::CreateContainer) => MultiOp::CreateContainer(Jute::decode(input)?),
                Some(OpCode::CreateTtl) => MultiOp::CreateTtl(Jute::decode(input)?),
                Some(OpCode::Delete) => MultiOp::Delete(Jute::decode(input)?),
                Some(OpCode::SetData) => MultiOp::SetData(Jute::decode(input)?),
                Some(OpCode::Check) => MultiOp::Check(Jute::decode(input)?),
                Some(OpCode::GetData) => MultiOp::GetData(Jute::decode(input)?),
                Some(OpCode::GetChildren) => MultiOp::GetChildren(Jute::decode(input)?),
                _ => return Err(unknown),
            };
            if ops.first().is_some_and(|first| first.is_read() != op.is_read()) {
                return Err(JuteError::Value {
                    what: "multi mixing reads and writes",
                    value: header.op.into(),
                });
            }
            ops.push(op);
        }
    }
}

/// One result of a multi or multiRead.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as in OpResult")]
pub enum MultiResult {
    Create {
        path: String,
    },
    /// The answer to create2, createTTL and createContainer alike: type 15 on the wire.
    Create2 {
        path: String,
        stat: Stat,
    },
    Delete,
    SetData {
        stat: Stat,
    },
    Check,
    GetData {
        data: Buffer,
        stat: Stat,
    },
    GetChildren {
        children: Vec<String>,
    },
    /// The code stands in the header and in the body.
    Error(Code),
}

/// The body of the reply to a multi or multiRead.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MultiResponse {
    /// One result for each operation, in order.
    pub results: Vec<MultiResult>,
}

impl Jute for MultiResponse {
    fn encode(&self, out: &mut Vec<u8>) {
        for result in &self.results {
            let (op, err) = match result {
                MultiResult::Create { .. } => (OpCode::Create, 0),
                MultiResult::Create2 { .. } => (OpCode::Create2, 0),
                MultiResult::Delete => (OpCode::Delete, 0),
                MultiResult::SetData { .. } => (OpCode::SetData, 0),
                MultiResult::Check => (OpCode::Check, 0),
                MultiResult::GetData { .. } => (OpCode::GetData, 0),
                MultiResult::GetChildren { .. } => (OpCode::GetChildren, 0),
                MultiResult::Error(code) => (OpCode::Error, code.as_i32()),
            };
            MultiHeader { op: op.as_i32(), done: false, err }.encode(out);
            match result {
                MultiResult::Create { path } => out.put_str(path),
                MultiResult::Create2 { path, stat } => {
                    out.put_str(path);
                    stat.encode(out);
                }
                MultiResult::SetData { stat } => stat.encode(out),
                MultiResult::GetData { data, stat } => {
                    data.encode(out);
                    stat.encode(out);
                }
                MultiResult::GetChildren { children } => children.encode(out),
                MultiResult::Error(code) => out.put_i32(code.as_i32()),
                MultiResult::Delete | MultiResult::Check => {}
            }
        }
        END.encode(out);
    }

    fn decode(input: &mut Input<'_>) -> Result<Self, JuteError> {
        let mut results = Vec::new();
        loop {
            let header = MultiHeader::decode(input)?;
            if header.done {
                return Ok(MultiResponse { results });
            }
            let unknown = JuteError::Value { what: "multi result", value: header.op.into() };
            results.push(match OpCode::from_i32(header.op) {
                Some(OpCode::Create) => MultiResult::Create { path: Jute::decode(input)? },
                Some(OpCode::Create2) => {
                    MultiResult::Create2 { path: Jute::decode(input)?, stat: Jute::decode(input)? }
                }
                Some(OpCode::Delete) => MultiResult::Delete,
                Some(OpCode::SetData) => MultiResult::SetData { stat: Jute::decode(input)? },
                Some(OpCode::Check) => MultiResult::Check,
                Some(OpCode::GetData) => {
                    MultiResult::GetData { data: Jute::decode(input)?, stat: Jute::decode(input)? }
                }
                Some(OpCode::GetChildren) => {
                    MultiResult::GetChildren { children: Jute::decode(input)? }
                }
                Some(OpCode::Error) => {
                    let err = i32::decode(input)?;
                    MultiResult::Error(
                        Code::from_i32(err)
                            .ok_or(JuteError::Value { what: "error code", value: err.into() })?,
                    )
                }
                _ => return Err(unknown),
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_do_not_mix() {
        let record = MultiOperationRecord {
            ops: vec![
                MultiOp::Delete(DeleteRequest { path: "/a".into(), version: -1 }),
                MultiOp::GetData(GetDataRequest { path: "/a".into(), watch: false }),
            ],
        };
        let bytes = record.to_bytes();
        assert!(MultiOperationRecord::decode(&mut Input::unbounded(&bytes)).is_err());
    }

    #[test]
    fn requests_and_responses_come_back_as_they_were() {
        let request = MultiOperationRecord {
            ops: vec![MultiOp::Check(CheckVersionRequest { path: "/a".into(), version: 3 })],
        };
        let bytes = request.to_bytes();
        assert_eq!(MultiOperationRecord::decode(&mut Input::unbounded(&bytes)), Ok(request));
        let response = MultiResponse {
            results: vec![MultiResult::Check, MultiResult::Error(Code::RuntimeInconsistency)],
        };
        let bytes = response.to_bytes();
        assert_eq!(MultiResponse::decode(&mut Input::unbounded(&bytes)), Ok(response));
    }
}
