//! `DataTree.processTxn`: transactions become changes of the tree.
//!
//! Applying is total: what was logged is applied as far as it can be, in the same way by every
//! server, and never stops one. Where Java throws a runtime exception (a TTL out of range, a path
//! that is none) the comment says what happens instead. It is also idempotent, because a snapshot
//! is fuzzy: a transaction may meet a tree that holds its effect already.

mod nodes;
#[cfg(test)]
mod tests;

use super::{DataTree, WatchSink};
use crate::proto::txn::{CreateTxn, TxnLogEntry};
use crate::proto::{Code, EphemeralType, OpCode, Stat, Txn, TxnHeader, Zxid};

/// What became of a transaction, for the reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProcessTxnResult<'t> {
    /// The type of the transaction. Parts of a failed multi are errors.
    pub op: OpCode,
    /// Whether it was applied; the code of the error for an error transaction. Of a multi the
    /// first error of its parts.
    pub code: Code,
    /// The path that the transaction names.
    pub path: Option<&'t str>,
    /// The statistics of the node afterwards, where the reply has them.
    pub stat: Option<Stat>,
    /// The results of the parts of a multi.
    pub multi: Vec<ProcessTxnResult<'t>>,
}

impl<'t> ProcessTxnResult<'t> {
    fn new(op: OpCode) -> Self {
        ProcessTxnResult { op, code: Code::Ok, path: None, stat: None, multi: Vec::new() }
    }

    fn error(code: Code) -> Self {
        ProcessTxnResult { code, ..ProcessTxnResult::new(OpCode::Error) }
    }

    fn of(op: OpCode, path: &'t str, applied: Result<Option<Stat>, Code>) -> Self {
        let (code, stat) = match applied {
            Ok(stat) => (Code::Ok, stat),
            Err(code) => (code, None),
        };
        ProcessTxnResult { op, code, path: Some(path), stat, multi: Vec::new() }
    }
}

/// The parts that all kinds of create share.
struct Creation<'t> {
    txn: &'t CreateTxn,
    owner: i64,
}

impl DataTree {
    /// Applies a transaction and compares its digest, if it carries one; see
    /// [`digest_mismatches`](DataTree::digest_mismatches).
    pub fn process_entry<'t>(
        &mut self,
        entry: &'t TxnLogEntry,
        sink: &mut dyn WatchSink,
    ) -> ProcessTxnResult<'t> {
        let result = self.process_txn(&entry.header, &entry.txn, sink);
        self.compare_digest(&entry.header, entry.digest.as_ref());
        result
    }

    /// Applies a transaction. Events go to `sink` while it is applied: in a multi those of each
    /// part in turn.
    pub fn process_txn<'t>(
        &mut self,
        header: &TxnHeader,
        txn: &'t Txn,
        sink: &mut dyn WatchSink,
    ) -> ProcessTxnResult<'t> {
        let result = match txn {
            Txn::Multi(txns) => self.process_multi(header, txns, sink),
            _ => self.process_single(header, txn, sink),
        };
        // Only now: a snapshot that begins in the middle of a multi must not claim all of it.
        self.last_processed_zxid = self.last_processed_zxid.max(header.zxid);
        if self.digest_from_loaded_snapshot().is_some() {
            self.compare_snapshot_digests(header.zxid);
        } else {
            self.digest_log.add(header.zxid, self.digest.hash());
        }
        result
    }

    fn process_multi<'t>(
        &mut self,
        header: &TxnHeader,
        txns: &'t [Txn],
        sink: &mut dyn WatchSink,
    ) -> ProcessTxnResult<'t> {
        let mut result = ProcessTxnResult::new(OpCode::Multi);
        result.multi.reserve_exact(txns.len());
        let failed = txns.iter().any(|txn| matches!(txn, Txn::Error(_)));
        let mut after_error = false;
        for txn in txns {
            let part = match txn {
                Txn::Error(_) => {
                    after_error = true;
                    self.process_single(header, txn, sink)
                }
                _ if failed && after_error => ProcessTxnResult::error(Code::RuntimeInconsistency),
                _ if failed => ProcessTxnResult::error(Code::Ok),
                _ => self.process_single(header, txn, sink),
            };
            if result.code == Code::Ok {
                result.code = part.code;
            }
            result.multi.push(part);
        }
        result
    }

    fn process_single<'t>(
        &mut self,
        header: &TxnHeader,
        txn: &'t Txn,
        sink: &mut dyn WatchSink,
    ) -> ProcessTxnResult<'t> {
        let op = txn.op_code();
        let ephemeral_owner = |create: &CreateTxn| match create.ephemeral {
            true => header.client_id.0,
            false => 0,
        };
        match txn {
            Txn::Create(txn) => {
                let creation = Creation { txn, owner: ephemeral_owner(txn) };
                let created = self.create_node(header, creation.fields(), sink);
                let code = match created {
                    Ok(_) => Code::Ok,
                    // Compat: of all creates only this one lifts the parent.
                    Err(Code::NodeExists) => {
                        self.lift_parent(&txn.path, txn.parent_cversion, header.zxid)
                    }
                    Err(code) => code,
                };
                // The reply of this one has no statistics.
                ProcessTxnResult { code, ..ProcessTxnResult::of(op, &txn.path, Ok(None)) }
            }
            Txn::Create2(txn) => {
                let creation = Creation { txn, owner: ephemeral_owner(txn) };
                let created = self.create_node(header, creation.fields(), sink);
                ProcessTxnResult::of(op, &txn.path, created.map(Some))
            }
            Txn::CreateTtl(txn) => {
                let owner = EphemeralType::ttl_owner(txn.ttl).unwrap_or_else(|| {
                    // Java dies of it, at every start. A plain node is the least surprising.
                    log::warn!(
                        "Invalid ttl {} in txn {}: {} becomes a persistent node",
                        txn.ttl,
                        header.zxid,
                        txn.path
                    );
                    0
                });
                let new = nodes::NewNode {
                    path: &txn.path,
                    data: &txn.data,
                    acl: &txn.acl,
                    owner,
                    parent_cversion: txn.parent_cversion,
                };
                let created = self.create_node(header, new, sink);
                ProcessTxnResult::of(op, &txn.path, created.map(Some))
            }
            Txn::CreateContainer(txn) => {
                let new = nodes::NewNode {
                    path: &txn.path,
                    data: &txn.data,
                    acl: &txn.acl,
                    owner: EphemeralType::CONTAINER_OWNER,
                    parent_cversion: txn.parent_cversion,
                };
                let created = self.create_node(header, new, sink);
                ProcessTxnResult::of(op, &txn.path, created.map(Some))
            }
            Txn::Delete(txn) | Txn::DeleteContainer(txn) => {
                let deleted = self.delete_node(&txn.path, header.zxid, sink);
                ProcessTxnResult::of(op, &txn.path, deleted.map(|()| None))
            }
            Txn::SetData(txn) | Txn::Reconfig(txn) => {
                let (zxid, time) = (header.zxid, header.time);
                let set = self.set_data(&txn.path, &txn.data, txn.version, zxid, time, sink);
                ProcessTxnResult::of(op, &txn.path, set.map(Some))
            }
            Txn::SetAcl(txn) => {
                let set = self.set_acl(&txn.path, &txn.acl, txn.version);
                ProcessTxnResult::of(op, &txn.path, set.map(Some))
            }
            Txn::CheckVersion(txn) => ProcessTxnResult::of(op, &txn.path, Ok(None)),
            Txn::CloseSession(txn) => {
                let paths = txn.as_ref().map_or(&[][..], |txn| &txn.paths_to_delete);
                self.kill_session(header.client_id, header.zxid, paths, sink);
                ProcessTxnResult::new(op)
            }
            // The table of sessions is the server's.
            Txn::CreateSession(_) => ProcessTxnResult::new(op),
            Txn::Error(txn) => {
                let code = Code::from_i32(txn.err).unwrap_or(Code::RuntimeInconsistency);
                ProcessTxnResult::error(code)
            }
            // The decoder lets none through.
            Txn::Multi(_) => ProcessTxnResult::error(Code::Unimplemented),
        }
    }

    /// A create met its node: the parent may come from before (`setCversionPzxid`).
    fn lift_parent(&mut self, path: &str, parent_cversion: i32, zxid: Zxid) -> Code {
        let parent_path = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let Some(id) = self.nodes.find(parent_path) else { return Code::NoNode };
        if self.raise_cversion(id, parent_cversion, zxid) {
            self.update_digest(id, parent_path);
        }
        Code::NodeExists
    }
}

impl<'t> Creation<'t> {
    fn fields(&self) -> nodes::NewNode<'t> {
        nodes::NewNode {
            path: &self.txn.path,
            data: &self.txn.data,
            acl: &self.txn.acl,
            owner: self.owner,
            parent_cversion: self.txn.parent_cversion,
        }
    }
}
