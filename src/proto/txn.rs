//! `org.apache.zookeeper.txn`: transactions as logged, proposed and applied.
#![allow(missing_docs, reason = "field names are those of zookeeper.jute")]

use std::cell::RefCell;
use std::sync::Arc;

use super::data::Acl;
use super::{OpCode, SessionId, Zxid};
use crate::jute::{Buffer, Input, Jute, JuteError, OutputExt};
use crate::records;

records! {
    /// Stands before every transaction. `time` is the leader's wall clock in ms.
    #[derive(Copy)]
    TxnHeader { client_id: SessionId, cxid: i32, zxid: Zxid, time: i64, txn_type: i32 }
    /// The digest of the whole tree after the transaction; optional trailer of an entry.
    #[derive(Copy)]
    TxnDigest { version: i32, tree_digest: i64 }

    CreateTxnV0 { path: String, data: Buffer, acl: Vec<Acl>, ephemeral: bool }
    /// `parent_cversion` -1 (from a `CreateTxnV0`) means: one more than the parent has.
    CreateTxn { path: String, data: Buffer, acl: Vec<Acl>, ephemeral: bool, parent_cversion: i32 }
    CreateTtlTxn { path: String, data: Buffer, acl: Vec<Acl>, parent_cversion: i32, ttl: i64 }
    CreateContainerTxn { path: String, data: Buffer, acl: Vec<Acl>, parent_cversion: i32 }
    DeleteTxn { path: String }
    /// `version` is the new version.
    SetDataTxn { path: String, data: Buffer, version: i32 }
    CheckVersionTxn { path: String, version: i32 }
    /// `version` is the new aversion.
    SetAclTxn { path: String, acl: Vec<Acl>, version: i32 }
    CreateSessionTxn { timeout_ms: i32 }
    CloseSessionTxn { paths_to_delete: Vec<String> }
    ErrorTxn { err: i32 }
}

/// A transaction record; its type is the variant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Txn {
    CreateSession(CreateSessionTxn),
    /// The list is missing in older logs and with `closeSessionTxn.enabled=false`.
    CloseSession(Option<CloseSessionTxn>),
    Create(CreateTxn),
    Create2(CreateTxn),
    CreateTtl(CreateTtlTxn),
    CreateContainer(CreateContainerTxn),
    Delete(DeleteTxn),
    DeleteContainer(DeleteTxn),
    SetData(SetDataTxn),
    Reconfig(SetDataTxn),
    SetAcl(SetAclTxn),
    /// Only inside a multi.
    CheckVersion(CheckVersionTxn),
    Error(ErrorTxn),
    Multi(Vec<Txn>),
}

impl Txn {
    /// The type field of a [`TxnHeader`] for this record.
    pub fn op_code(&self) -> OpCode {
        match self {
            Txn::CreateSession(_) => OpCode::CreateSession,
            Txn::CloseSession(_) => OpCode::CloseSession,
            Txn::Create(_) => OpCode::Create,
            Txn::Create2(_) => OpCode::Create2,
            Txn::CreateTtl(_) => OpCode::CreateTtl,
            Txn::CreateContainer(_) => OpCode::CreateContainer,
            Txn::Delete(_) => OpCode::Delete,
            Txn::DeleteContainer(_) => OpCode::DeleteContainer,
            Txn::SetData(_) => OpCode::SetData,
            Txn::Reconfig(_) => OpCode::Reconfig,
            Txn::SetAcl(_) => OpCode::SetAcl,
            Txn::CheckVersion(_) => OpCode::Check,
            Txn::Error(_) => OpCode::Error,
            Txn::Multi(_) => OpCode::Multi,
        }
    }

    /// Appends the record without its header.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Txn::CreateSession(txn) => txn.encode(out),
            Txn::CloseSession(txn) => {
                if let Some(txn) = txn {
                    txn.encode(out);
                }
            }
            Txn::Create(txn) | Txn::Create2(txn) => txn.encode(out),
            Txn::CreateTtl(txn) => txn.encode(out),
            Txn::CreateContainer(txn) => txn.encode(out),
            Txn::Delete(txn) | Txn::DeleteContainer(txn) => txn.encode(out),
            Txn::SetData(txn) | Txn::Reconfig(txn) => txn.encode(out),
            Txn::SetAcl(txn) => txn.encode(out),
            Txn::CheckVersion(txn) => txn.encode(out),
            Txn::Error(txn) => txn.encode(out),
            Txn::Multi(txns) => {
                out.put_count(txns.len());
                for txn in txns {
                    out.put_i32(txn.op_code().as_i32());
                    // The sub-record as a buffer: its length is known once it is written.
                    let length_at = out.len();
                    out.put_i32(0);
                    txn.encode(out);
                    let length = out.len() - length_at - 4;
                    if let Some(slot) = out.get_mut(length_at..length_at + 4) {
                        slot.copy_from_slice(&(length as u32).to_be_bytes());
                    }
                }
            }
        }
    }

    /// Reads a record of type `txn_type` (`SerializeUtils.deserializeTxn`), older forms included.
    /// An unknown type is an error: such a log or proposal cannot be applied.
    pub fn decode(txn_type: i32, input: &mut Input<'_>) -> Result<Txn, JuteError> {
        let unknown = JuteError::Value { what: "txn type", value: txn_type.into() };
        Ok(match OpCode::from_i32(txn_type).ok_or(unknown.clone())? {
            OpCode::CreateSession => Txn::CreateSession(Jute::decode(input)?),
            OpCode::CloseSession => Txn::CloseSession(decode_close_session(input)?),
            OpCode::Create => Txn::Create(decode_create(input)?),
            OpCode::Create2 => Txn::Create2(Jute::decode(input)?),
            OpCode::CreateTtl => Txn::CreateTtl(Jute::decode(input)?),
            OpCode::CreateContainer => Txn::CreateContainer(Jute::decode(input)?),
            OpCode::Delete => Txn::Delete(Jute::decode(input)?),
            OpCode::DeleteContainer => Txn::DeleteContainer(Jute::decode(input)?),
            OpCode::SetData => Txn::SetData(Jute::decode(input)?),
            OpCode::Reconfig => Txn::Reconfig(Jute::decode(input)?),
            OpCode::SetAcl => Txn::SetAcl(Jute::decode(input)?),
            OpCode::Error => Txn::Error(Jute::decode(input)?),
            OpCode::Multi => Txn::Multi(decode_multi(input)?),
            _ => return Err(unknown),
        })
    }
}

fn decode_create(input: &mut Input<'_>) -> Result<CreateTxn, JuteError> {
    let start = *input;
    match CreateTxn::decode(input) {
        Err(JuteError::Eof { .. }) => {
            *input = start;
            let v0 = CreateTxnV0::decode(input)?;
            Ok(CreateTxn {
                path: v0.path,
                data: v0.data,
                acl: v0.acl,
                ephemeral: v0.ephemeral,
                parent_cversion: -1,
            })
        }
        other => other,
    }
}

/// Without a body nothing follows, or just a digest (12 bytes that begin with its version, 2, and
/// do not parse as a list of two paths).
fn decode_close_session(input: &mut Input<'_>) -> Result<Option<CloseSessionTxn>, JuteError> {
    if input.is_empty() {
        return Ok(None);
    }
    let start = *input;
    match CloseSessionTxn::decode(input) {
        Ok(txn) => Ok(Some(txn)),
        Err(error) => {
            *input = start;
            if matches!(error, JuteError::Eof { .. }) || start.rest().len() == 12 {
                return Ok(None);
            }
            Err(error)
        }
    }
}

fn decode_multi(input: &mut Input<'_>) -> Result<Vec<Txn>, JuteError> {
    let count = input.read_count()?.unwrap_or(0);
    let mut txns = Vec::with_capacity(count.min(input.rest().len() / 8).min(1024));
    for _ in 0..count {
        let txn_type = input.read_i32()?;
        let bytes = input.read_bytes()?.unwrap_or_default();
        let mut sub = Input::new(bytes, input.limits());
        let unknown = JuteError::Value { what: "sub-txn type", value: txn_type.into() };
        txns.push(match OpCode::from_i32(txn_type).ok_or(unknown.clone())? {
            OpCode::Create => Txn::Create(Jute::decode(&mut sub)?),
            OpCode::Create2 => Txn::Create2(Jute::decode(&mut sub)?),
            OpCode::CreateTtl => Txn::CreateTtl(Jute::decode(&mut sub)?),
            OpCode::CreateContainer => Txn::CreateContainer(Jute::decode(&mut sub)?),
            OpCode::Delete => Txn::Delete(Jute::decode(&mut sub)?),
            OpCode::DeleteContainer => Txn::DeleteContainer(Jute::decode(&mut sub)?),
            OpCode::SetData => Txn::SetData(Jute::decode(&mut sub)?),
            OpCode::Check => Txn::CheckVersion(Jute::decode(&mut sub)?),
            OpCode::Error => Txn::Error(Jute::decode(&mut sub)?),
            _ => return Err(unknown),
        });
    }
    Ok(txns)
}

/// A larger encoding buffer is not kept.
const SCRATCH_BYTES_MAX: usize = 64 << 10;

/// A transaction and its one encoding: header, record, digest, exactly Java's
/// `Request.getSerializeData()`. The same bytes are log record, PROPOSAL, INFORM and DIFF.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TxnLogEntry {
    pub header: TxnHeader,
    pub txn: Txn,
    pub digest: Option<TxnDigest>,
    pub bytes: Arc<[u8]>,
}

impl TxnLogEntry {
    /// Encodes the parts. `header.txn_type` must be the type of `txn`, except for a failed multi.
    pub fn new(header: TxnHeader, txn: Txn, digest: Option<TxnDigest>) -> TxnLogEntry {
        // Encoded in a buffer that is used again, then copied once into memory of the right size.
        thread_local! {
            static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
        }
        let bytes = SCRATCH.with_borrow_mut(|out| {
            out.clear();
            header.encode(out);
            txn.encode(out);
            if let Some(digest) = &digest {
                digest.encode(out);
            }
            let bytes = Arc::from(out.as_slice());
            if out.capacity() > SCRATCH_BYTES_MAX {
                *out = Vec::new();
            }
            bytes
        });
        TxnLogEntry { header, txn, digest, bytes }
    }

    /// Reads an entry from the payload of a log record or proposal; bytes behind the digest are
    /// ignored as in Java.
    pub fn decode(bytes: &[u8]) -> Result<TxnLogEntry, JuteError> {
        TxnLogEntry::decode_shared(bytes.into())
    }

    /// As [`decode`](TxnLogEntry::decode), of bytes that are kept without a copy.
    pub fn decode_shared(bytes: Arc<[u8]>) -> Result<TxnLogEntry, JuteError> {
        let mut input = Input::unbounded(&bytes);
        let header = TxnHeader::decode(&mut input)?;
        let txn = Txn::decode(header.txn_type, &mut input)?;
        let digest = match TxnDigest::decode(&mut input) {
            Ok(digest) => Some(digest),
            Err(JuteError::Eof { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(TxnLogEntry { header, txn, digest, bytes })
    }

    /// The transaction's id.
    pub fn zxid(&self) -> Zxid {
        self.header.zxid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(txn_type: OpCode) -> TxnHeader {
        TxnHeader {
            client_id: SessionId(0x100),
            cxid: 1,
            zxid: Zxid(7),
            time: 1000,
            txn_type: txn_type.as_i32(),
        }
    }

    fn check(txn: Txn, digest: Option<TxnDigest>) {
        let entry = TxnLogEntry::new(header(txn.op_code()), txn, digest);
        assert_eq!(TxnLogEntry::decode(&entry.bytes), Ok(entry.clone()));
    }

    #[test]
    fn entries_come_back_as_they_were() {
        let digest = Some(TxnDigest { version: 2, tree_digest: -5 });
        let paths = CloseSessionTxn { paths_to_delete: vec!["/a".into(), "/b".into()] };
        for digest in [None, digest] {
            check(Txn::CloseSession(None), digest);
            check(Txn::CloseSession(Some(paths.clone())), digest);
            check(Txn::Delete(DeleteTxn { path: "/a".into() }), digest);
            check(
                Txn::Multi(vec![
                    Txn::Error(ErrorTxn { err: -2 }),
                    Txn::CheckVersion(CheckVersionTxn { path: "/x".into(), version: 1 }),
                ]),
                digest,
            );
        }
    }

    #[test]
    fn a_single_error_txn_without_digest_has_36_bytes() {
        let entry =
            TxnLogEntry::new(header(OpCode::Error), Txn::Error(ErrorTxn { err: -101 }), None);
        assert_eq!(entry.bytes.len(), 36);
    }

    #[test]
    fn a_create_without_parent_cversion_is_read() {
        let v0 = CreateTxnV0 { path: "/a".into(), data: None, acl: vec![], ephemeral: true };
        let mut bytes = header(OpCode::Create).to_bytes();
        v0.encode(&mut bytes);
        match TxnLogEntry::decode(&bytes).unwrap().txn {
            Txn::Create(txn) => assert_eq!((txn.parent_cversion, txn.ephemeral), (-1, true)),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn unknown_types_are_refused() {
        let mut head = header(OpCode::Create);
        head.txn_type = 99;
        assert!(TxnLogEntry::decode(&head.to_bytes()).is_err());
    }
}
