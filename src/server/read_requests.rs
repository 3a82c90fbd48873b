//! The reads of `FinalRequestProcessor`: one function per operation, each a tree and a request in,
//! an encoded body or a code out. The connection's own thread calls them for direct reads, the
//! chain for reads behind a write; both hold the tree's read guard until the reply is in the
//! outbox.
//!
//! Reads do not validate paths: "" is the root, and a malformed path is just a node that is not
//! there. The session was checked before.

use std::sync::Arc;

use crate::auth::{self, AclPolicy};
use crate::common::path_utils::top_namespace;
use crate::jute::{Jute, OutputExt};
use crate::metrics::ServerMetrics;
use crate::proto::messages::{
    AddWatchRequest, CheckWatchesRequest, ExistsRequest, GetAclRequest,
    GetAllChildrenNumberRequest, GetChildren2Request, GetChildrenRequest, GetDataRequest,
    GetEphemeralsRequest, RemoveWatchesRequest, SetWatches, SetWatches2, SyncRequest,
};
use crate::proto::multi::{MultiHeader, MultiOp, MultiOperationRecord};
use crate::proto::{Acl, AddWatchMode, Code, EventType, Id, OpCode, SessionId, WatcherType, perms};
use crate::server::request_body::RequestBody;
use crate::tree::{DataTree, NodeRef, WatcherId};

/// Data at least this long is sent from the tree's own buffer instead of being copied.
pub const SPLICE_BYTES_MIN: usize = 4096;

/// Everything a read is answered from.
#[derive(Clone, Copy)]
pub struct ReadContext<'a> {
    /// The applied tree, under its read guard.
    pub tree: &'a DataTree,
    /// Who may read what.
    pub acl_policy: &'a AclPolicy,
    /// Where to count.
    pub metrics: &'a ServerMetrics,
    /// The session that asks.
    pub session: SessionId,
    /// The identities of the connection.
    pub auth: &'a [Id],
    /// The connection, as the watch tables know it.
    pub watcher: WatcherId,
}

/// Bytes that belong into the body but were not copied there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Splice {
    /// The place in the output buffer, counted from its beginning, before which `data` goes.
    pub at: usize,
    /// The bytes.
    pub data: Arc<[u8]>,
}

/// The outcome of a read. Its body, if it has one, was appended to the output buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadReply {
    /// The code of the reply header.
    pub code: Code,
    /// What is to be spliced into the output buffer, in rising order of places. The frame is longer
    /// by their sum.
    pub splices: Vec<Splice>,
}

impl ReadReply {
    /// The bytes that the splices add to the frame.
    pub fn spliced_len(&self) -> usize {
        self.splices.iter().map(|splice| splice.data.len()).sum()
    }
}

/// Answers a read: appends the body to `out`. `fire` gets the events that setWatches finds to be
/// due, which are to be sent before the reply, with the zxid -1.
///
/// What is no read comes back as `MarshallingError`, as does a body that could not be decoded.
pub fn process_read(
    context: &ReadContext<'_>,
    body: &RequestBody,
    out: &mut Vec<u8>,
    fire: &mut dyn FnMut(EventType, &str),
) -> ReadReply {
    let start = out.len();
    let mut splices = Vec::new();
    let result = match body {
        RequestBody::Exists(request) => exists(context, request, out),
        RequestBody::GetData(request) => get_data(context, request, out, &mut splices),
        RequestBody::GetAcl(request) => get_acl(context, request, out),
        RequestBody::GetChildren(request) => get_children(context, request, out),
        RequestBody::GetChildren2(request) => get_children2(context, request, out),
        RequestBody::GetAllChildrenNumber(request) => {
            get_all_children_number(context, request, out)
        }
        RequestBody::GetEphemerals(request) => get_ephemerals(context, request, out),
        RequestBody::MultiRead(request) => {
            let result = multi_read(context, request, out, &mut splices);
            if result.is_err() {
                // Compat: Java sends the results so far along with the code.
                return ReadReply { code: Code::MarshallingError, splices };
            }
            result
        }
        RequestBody::Sync(request) => sync(request, out),
        RequestBody::Ping => Ok(()),
        RequestBody::WhoAmI => who_am_i(context, out),
        RequestBody::SetWatches(request) => set_watches(context, request, fire),
        RequestBody::SetWatches2(request) => set_watches2(context, request, fire),
        RequestBody::AddWatch(request) => add_watch(context, request, out),
        RequestBody::CheckWatches(request) => check_watches(context, request),
        RequestBody::RemoveWatches(request) => remove_watches(context, request),
        RequestBody::Unknown(_) => Err(Code::Unimplemented),
        RequestBody::Malformed(_)
        | RequestBody::Txn(_)
        | RequestBody::Create(_)
        | RequestBody::Create2(_)
        | RequestBody::CreateContainer(_)
        | RequestBody::CreateTtl(_)
        | RequestBody::Delete(_)
        | RequestBody::DeleteContainer(_)
        | RequestBody::SetData(_)
        | RequestBody::SetAcl(_)
        | RequestBody::Reconfig(_)
        | RequestBody::Multi(_)
        | RequestBody::CreateSession { .. }
        | RequestBody::CloseSession => Err(Code::MarshallingError),
    };
    match result {
        Ok(()) => ReadReply { code: Code::Ok, splices },
        Err(code) => {
            out.truncate(start);
            ReadReply { code, splices: Vec::new() }
        }
    }
}

/// exists: the only read that knows NUL, and whose watch is set on a missing node too.
fn exists(
    context: &ReadContext<'_>,
    request: &ExistsRequest,
    out: &mut Vec<u8>,
) -> Result<(), Code> {
    let path = request.path.as_str();
    if path.contains('\0') {
        return Err(Code::BadArguments);
    }
    let node = context.tree.node(path);
    if let Some(node) = &node {
        context.check_acl(node, perms::READ, path)?;
    }
    if request.watch {
        context.tree.add_data_watch(path, context.watcher);
    }
    let node = node.ok_or(Code::NoNode)?;
    node.stat().encode(out);
    context.count_read(path, 0);
    Ok(())
}

fn get_data(
    context: &ReadContext<'_>,
    request: &GetDataRequest,
    out: &mut Vec<u8>,
    splices: &mut Vec<Splice>,
) -> Result<(), Code> {
    let path = request.path.as_str();
    let node = context.readable_node(path)?;
    if request.watch {
        context.tree.add_data_watch(path, context.watcher);
    }
    put_data(context, path, &node, out, splices);
    Ok(())
}

/// The body of getData and of its result in a multiRead: data, then stat.
fn put_data(
    context: &ReadContext<'_>,
    path: &str,
    node: &NodeRef<'_>,
    out: &mut Vec<u8>,
    splices: &mut Vec<Splice>,
) {
    let mut len = 0;
    match node.data() {
        None => out.put_bytes(None),
        Some(data) => {
            len = data.len();
            if len < SPLICE_BYTES_MIN {
                out.put_bytes(Some(data));
            } else {
                out.put_count(len);
                splices.push(Splice { at: out.len(), data: data.clone() });
            }
        }
    }
    node.stat().encode(out);
    context.count_read(path, len);
}

/// getACL: READ or ADMIN lets it through; without ADMIN the hashes of digest ids are masked.
fn get_acl(
    context: &ReadContext<'_>,
    request: &GetAclRequest,
    out: &mut Vec<u8>,
) -> Result<(), Code> {
    let path = request.path.as_str();
    let node = context.tree.node(path).ok_or(Code::NoNode)?;
    let acl = node.acl();
    let policy = context.acl_policy;
    policy.check_acl(&acl, perms::READ | perms::ADMIN, context.auth, Some(path), None)?;
    if policy.check_acl(&acl, perms::ADMIN, context.auth, Some(path), None).is_ok() {
        put_acl(&acl, out);
    } else {
        put_acl(&auth::redact_digest_ids(&acl), out);
    }
    node.stat().encode(out);
    Ok(())
}

fn put_acl(acl: &[Acl], out: &mut Vec<u8>) {
    out.put_count(acl.len());
    acl.iter().for_each(|entry| entry.encode(out));
}

fn get_children(
    context: &ReadContext<'_>,
    request: &GetChildrenRequest,
    out: &mut Vec<u8>,
) -> Result<(), Code> {
    children(context, &request.path, request.watch, out).map(drop)
}

fn get_children2(
    context: &ReadContext<'_>,
    request: &GetChildren2Request,
    out: &mut Vec<u8>,
) -> Result<(), Code> {
    children(context, &request.path, request.watch, out)?.stat().encode(out);
    Ok(())
}

/// Appends the names of the children, straight from the tree.
fn children<'a>(
    context: &ReadContext<'a>,
    path: &str,
    watch: bool,
    out: &mut Vec<u8>,
) -> Result<NodeRef<'a>, Code> {
    let node = context.readable_node(path)?;
    out.put_count(node.child_count());
    let mut len = 0;
    for name in node.children() {
        len += name.len();
        out.put_str(name);
    }
    if watch {
        context.tree.add_child_watch(path, context.watcher);
    }
    context.count_read(path, len);
    Ok(node)
}

fn get_all_children_number(
    context: &ReadContext<'_>,
    request: &GetAllChildrenNumberRequest,
    out: &mut Vec<u8>,
) -> Result<(), Code> {
    let path = request.path.as_str();
    context.readable_node(path)?;
    out.put_i32(context.tree.all_children_number(path));
    Ok(())
}

/// getEphemerals: the nodes of the own session whose path begins with the prefix; null, a blank one
/// and "/" stand for all.
fn get_ephemerals(
    context: &ReadContext<'_>,
    request: &GetEphemeralsRequest,
    out: &mut Vec<u8>,
) -> Result<(), Code> {
    let prefix = request.prefix_path.as_deref().unwrap_or_default();
    // `String.trim` takes away everything up to the space.
    let trimmed = prefix.trim_matches(|c| c <= ' ');
    let prefix = if trimmed == "/" || trimmed.is_empty() { "" } else { prefix };
    let mut paths = context.tree.ephemerals(context.session);
    paths.retain(|path| path.starts_with(prefix));
    paths.encode(out);
    Ok(())
}

/// multiRead: an operation that fails gives an error result and does not stop the others. Watch
/// flags are ignored (`Op.getData`, `Op.getChildren`).
fn multi_read(
    context: &ReadContext<'_>,
    request: &MultiOperationRecord,
    out: &mut Vec<u8>,
    splices: &mut Vec<Splice>,
) -> Result<(), Code> {
    let mut outcome = Ok(());
    for op in &request.ops {
        let header_at = out.len();
        MultiHeader { op: op.op_code().as_i32(), done: false, err: 0 }.encode(out);
        let result = match op {
            MultiOp::GetData(request) => context
                .readable_node(&request.path)
                .map(|node| put_data(context, &request.path, &node, out, splices)),
            MultiOp::GetChildren(request) => children(context, &request.path, false, out).map(drop),
            MultiOp::Create(_)
            | MultiOp::Create2(_)
            | MultiOp::CreateContainer(_)
            | MultiOp::CreateTtl(_)
            | MultiOp::Delete(_)
            | MultiOp::SetData(_)
            | MultiOp::Check(_) => {
                out.truncate(header_at);
                outcome = Err(Code::MarshallingError);
                break;
            }
        };
        if let Err(code) = result {
            out.truncate(header_at);
            let err = code.as_i32();
            MultiHeader { op: OpCode::Error.as_i32(), done: false, err }.encode(out);
            out.put_i32(err);
        }
    }
    MultiHeader { op: -1, done: true, err: -1 }.encode(out);
    outcome
}

/// sync on a standalone server or a leader: everything before it was applied. The path is echoed.
fn sync(request: &SyncRequest, out: &mut Vec<u8>) -> Result<(), Code> {
    request.path.encode(out);
    Ok(())
}

fn who_am_i(context: &ReadContext<'_>, out: &mut Vec<u8>) -> Result<(), Code> {
    auth::client_infos(context.acl_policy.providers(), context.auth).encode(out);
    Ok(())
}

fn set_watches(
    context: &ReadContext<'_>,
    request: &SetWatches,
    fire: &mut dyn FnMut(EventType, &str),
) -> Result<(), Code> {
    let request = SetWatches2 {
        relative_zxid: request.relative_zxid,
        data_watches: request.data_watches.clone(),
        exist_watches: request.exist_watches.clone(),
        child_watches: request.child_watches.clone(),
        persistent_watches: Vec::new(),
        persistent_recursive_watches: Vec::new(),
    };
    set_watches2(context, &request, fire)
}

fn set_watches2(
    context: &ReadContext<'_>,
    request: &SetWatches2,
    fire: &mut dyn FnMut(EventType, &str),
) -> Result<(), Code> {
    context.tree.set_watches(request, context.watcher, fire);
    Ok(())
}

/// addWatch: no node needs to be there, and no ACL is checked until the watch fires.
fn add_watch(
    context: &ReadContext<'_>,
    request: &AddWatchRequest,
    out: &mut Vec<u8>,
) -> Result<(), Code> {
    let mode = AddWatchMode::from_i32(request.mode)?;
    context.tree.add_watch(&request.path, context.watcher, mode);
    // An ErrorResponse with code 0.
    out.put_i32(Code::Ok.as_i32());
    Ok(())
}

fn check_watches(context: &ReadContext<'_>, request: &CheckWatchesRequest) -> Result<(), Code> {
    let watcher_type = WatcherType::from_i32(request.watcher_type)?;
    if context.tree.contains_watcher(&request.path, watcher_type, context.watcher) {
        Ok(())
    } else {
        Err(Code::NoWatcher)
    }
}

fn remove_watches(context: &ReadContext<'_>, request: &RemoveWatchesRequest) -> Result<(), Code> {
    let watcher_type = WatcherType::from_i32(request.watcher_type)?;
    if context.tree.remove_watch(&request.path, watcher_type, context.watcher) {
        Ok(())
    } else {
        Err(Code::NoWatcher)
    }
}

impl<'a> ReadContext<'a> {
    /// The node, if it is there and may be read; what is checked in that order.
    fn readable_node(&self, path: &str) -> Result<NodeRef<'a>, Code> {
        let node = self.tree.node(path).ok_or(Code::NoNode)?;
        self.check_acl(&node, perms::READ, path)?;
        Ok(node)
    }

    fn check_acl(&self, node: &NodeRef<'_>, perm: i32, path: &str) -> Result<(), Code> {
        let acl = node.acl();
        self.acl_policy.check_acl(&acl, perm, self.auth, Some(path), None)
    }

    /// `DataTree.updateReadStat`.
    fn count_read(&self, path: &str, len: usize) {
        if let Some(namespace) = top_namespace(path) {
            let len = path.len() + len + STAT_OVERHEAD_BYTES;
            self.metrics.read_per_namespace.add(namespace, i64::try_from(len).unwrap_or(i64::MAX));
        }
    }
}

/// What Java counts for the stat of a reply.
const STAT_OVERHEAD_BYTES: usize = 6 * 8 + 5 * 4;

#[cfg(test)]
mod tests;
