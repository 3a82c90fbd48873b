//! The early look at a write's permission on the member of an ensemble that took it
//! (`ZooKeeperServer.authWriteRequest`, `enableEagerACLCheck`).
//!
//! A refusal costs the ensemble no transaction then. What the look says may be out of date, in both
//! directions: what passes is checked again where it is prepared.
//!
//! Deliberate difference: a request behind others of its session is left to the leader, for its
//! refusal must not overtake their replies. Java sends it at once, and its clients then give up the
//! connection.

use std::sync::Arc;

use super::cnxn::server_cnxn::{Reply, ReplyBody, ServerCnxn};
use super::prep::deletable_parent_path;
use super::request_body::RequestBody;
use super::zookeeper_server::ZooKeeperServer;
use crate::proto::{Code, Id, perms};

/// Whether the request may go on. If not its client has its answer, with the zxid 0. Only for a
/// session without requests under way. Connection's thread.
pub fn auth_write_request(
    server: &ZooKeeperServer,
    cnxn: &Arc<ServerCnxn>,
    xid: i32,
    body: &RequestBody,
    now_ms: i64,
) -> bool {
    let Err(code) = check(server, body, &cnxn.auth_info()) else { return true };
    log::debug!("Request failed ACL check: {code:?}");
    let reply = Reply { xid, zxid: 0, last_op: "NA", created_ms: now_ms, now_ms };
    cnxn.send_reply(reply, code, &ReplyBody::default());
    server.stats().increment_packets_sent();
    false
}

/// `NoAuth` or `InvalidAcl`; everything else that may be wrong is found out later.
fn check(server: &ZooKeeperServer, body: &RequestBody, auth: &[Id]) -> Result<(), Code> {
    let (path, perm, new_acl) = match body {
        RequestBody::Create(create) | RequestBody::Create2(create) => {
            (deletable_parent_path(&create.path).ok(), perms::CREATE, Some(&create.acl))
        }
        RequestBody::Delete(delete) => {
            (deletable_parent_path(&delete.path).ok(), perms::DELETE, None)
        }
        RequestBody::SetData(set) => (Some(set.path.as_str()), perms::WRITE, None),
        RequestBody::SetAcl(set) => (Some(set.path.as_str()), perms::ADMIN, Some(&set.acl)),
        _ => return Ok(()),
    };
    // What Java calls bad arguments, here as for a create too.
    let Some(path) = path else { return Ok(()) };
    let policy = server.acl_policy();
    if let Some(acl) = new_acl {
        policy.fixup_acl(auth, acl)?;
    }
    let tree = server.db().tree();
    match tree.node(path) {
        Some(node) => policy.check_acl(&node.acl(), perm, auth, Some(path), None),
        None => Ok(()),
    }
}
