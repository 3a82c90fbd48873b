//! The early look at a write's permission on the member of an ensemble that took it
//! (`ZooKeeperServer.authWriteRequest`, `enableEagerACLCheck`).
//!
//! A refusal costs the ensemble no transaction then. What the look says may be out of date, in both
//! directions: what passes is checked again where it is prepared.
//!
//! Deliberate difference: a request behind others of its session is left to the leader, for its
//! refusal must not overtake their replies. Java sends it at once, and its clients then give up the
//! connection.

use super::cnxn::cnxn_thread;
use super::cnxn::server_cnxn::{Reply, ReplyBody};
use super::request::Request;
use super::request_body::RequestBody;
use super::zookeeper_server::ZooKeeperServer;
use crate::common::time;
use crate::proto::{Code, perms};
use crate::tree::DataTree;

/// Whether the request may go on. If not its client has its answer, with the zxid 0, and the request
/// has left the chain.
pub fn auth_write_request(server: &ZooKeeperServer, request: &Request) -> bool {
    if !server.config().enable_eager_acl_check {
        return true;
    }
    let Some(cnxn) = &request.cnxn else { return true };
    if request.session.as_ref().is_none_or(|session| session.in_flight() != 1) {
        return true;
    }
    let Err(code) = check(server, request) else { return true };
    log::debug!("Request failed ACL check: {code:?}");
    let now_ms = time::elapsed_ms();
    let reply =
        Reply { xid: request.cxid, zxid: 0, last_op: "NA", created_ms: request.created_ms, now_ms };
    cnxn.send_reply(reply, code, &ReplyBody::default());
    server.stats().increment_packets_sent();
    server.request_finished(request);
    cnxn_thread::flush(server, cnxn);
    false
}

/// `NoAuth` or `InvalidAcl`; everything else that may be wrong is found out later.
fn check(server: &ZooKeeperServer, request: &Request) -> Result<(), Code> {
    let (path, perm, new_acl) = match &request.body {
        RequestBody::Create(create) | RequestBody::Create2(create) => {
            (parent_path(&create.path), perms::CREATE, Some(&create.acl))
        }
        RequestBody::Delete(delete) => (parent_path(&delete.path), perms::DELETE, None),
        RequestBody::SetData(set) => (Some(set.path.as_str()), perms::WRITE, None),
        RequestBody::SetAcl(set) => (Some(set.path.as_str()), perms::ADMIN, Some(&set.acl)),
        _ => return Ok(()),
    };
    let Some(path) = path else { return Ok(()) };
    let policy = server.acl_policy();
    if let Some(acl) = new_acl {
        policy.fixup_acl(&request.auth_info, acl)?;
    }
    let tree = server.db().tree();
    match tree.node(path) {
        Some(node) => policy.check_acl(&node.acl(), perm, &request.auth_info, Some(path), None),
        None => Ok(()),
    }
}

/// The parent of what is created or deleted; `None` for what Java calls bad arguments.
fn parent_path(path: &str) -> Option<&str> {
    let (parent, _) = path.rsplit_once('/')?;
    if path.contains('\0') || DataTree::is_special_path(path) {
        return None;
    }
    Some(if parent.is_empty() { "/" } else { parent })
}
