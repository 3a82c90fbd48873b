//! What an authentication scheme is (`AuthenticationProvider`, `ServerAuthenticationProvider`).
//!
//! Java has two interfaces and wraps the simple one into the other; here there is one, whose
//! `matches` gets everything and whose providers take from it what they need.

use std::net::SocketAddr;

use thiserror::Error;

use crate::jute::Buffer;
use crate::proto::{Acl, Code, Id};

/// A scheme of authentication, shared by all connections.
pub trait AuthenticationProvider: Send + Sync {
    /// The scheme: the first part of the ids it gives.
    fn scheme(&self) -> &str;

    /// Judges the data of a client's auth packet (`None` for Java's null) and adds the ids it proves
    /// to the context. Any code but `Ok` is answered as `AuthFailed` and ends the connection.
    fn handle_authentication(&self, context: &mut AuthContext<'_>, auth: Option<&[u8]>) -> Code;

    /// Whether a client's id is meant by the id of an ACL entry.
    fn matches(&self, values: &MatchValues<'_>) -> bool;

    /// Whether ids of this scheme identify a client well enough to stand for it in an ACL entry of
    /// the scheme `auth`.
    fn is_authenticated(&self) -> bool;

    /// Whether `id` may stand in an ACL.
    fn is_valid(&self, id: &str) -> bool;

    /// The part of an id that names the user, without secrets.
    fn user_name<'a>(&self, id: &'a str) -> &'a str {
        id
    }
}

/// The connection that authenticates, as far as providers may see and change it.
pub struct AuthContext<'a> {
    /// The client's address.
    pub remote: SocketAddr,
    /// The subject of the client's certificate (RFC 2253) after the TLS layer has checked its chain.
    pub certificate_subject: Option<&'a str>,
    /// The server, for providers that look into the tree.
    pub server: &'a dyn AuthServer,
    /// The connection's ids.
    pub ids: &'a mut Vec<Id>,
    /// Set by a provider that wants the connection closed at once, without a reply.
    pub must_close: bool,
}

impl AuthContext<'_> {
    /// Adds an id to the connection's (see [`add_auth_info`]).
    pub fn add_auth_info(&mut self, id: Id) {
        add_auth_info(self.ids, id);
    }
}

/// Adds an id unless it is there already (`ServerCnxn.addAuthInfo`).
///
/// Java keeps the ids in a `ConcurrentHashMap`. Its order shows in the answer to `whoAmI` and in ACLs
/// made from the scheme `auth`, so it is kept here: by bin, and within a bin as added.
pub fn add_auth_info(ids: &mut Vec<Id>, id: Id) {
    if !ids.contains(&id) {
        ids.push(id);
        // The table has 16 bins and doubles when it is three quarters full.
        let mut bins = 16u32;
        while ids.len() as u64 >= u64::from(bins) * 3 / 4 && bins < 1 << 30 {
            bins *= 2;
        }
        ids.sort_by_key(|id| java_bin(id, bins));
    }
}

/// `ConcurrentHashMap.spread` of `Id.hashCode`, in a table of `bins`.
fn java_bin(id: &Id, bins: u32) -> u32 {
    let text = |text: &str| {
        text.encode_utf16()
            .fold(0u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)))
    };
    let hash = 17u32.wrapping_mul(37).wrapping_add(text(&id.scheme));
    let hash = hash.wrapping_mul(37).wrapping_add(text(&id.id));
    (hash ^ (hash >> 16)) & (bins - 1)
}

/// What providers may ask of the server.
pub trait AuthServer {
    /// The data of a node, whatever its ACL; `None` if there is no node or its data is null.
    fn node_data(&self, path: &str) -> Buffer;
}

/// One question whether an id matches (`ServerAuthenticationProvider.MatchValues`).
#[derive(Debug, Clone, Copy)]
pub struct MatchValues<'a> {
    /// The node asked for; `None` for reconfig.
    pub path: Option<&'a str>,
    /// An id of the client, of the provider's scheme.
    pub id: &'a str,
    /// The id of the ACL entry.
    pub acl_expr: &'a str,
    /// The permission asked for: bits of [`crate::proto::perms`].
    pub perm: i32,
    /// The new ACL, if one is being set.
    pub set_acls: Option<&'a [Acl]>,
}

/// A setting with which the server must not start. The texts are Java's.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum AuthConfigError {
    /// The hash of the digest scheme is not known.
    #[error(
        "don't support this ACL digest algorithm: {0} in the current environment \
         (zookeeper.DigestAuthenticationProvider.digestAlg={0})"
    )]
    DigestAlgorithm(String),
    /// Authentication is enforced, but no scheme named.
    #[error(
        "zookeeper.enforce.auth.enabled is true zookeeper.enforce.auth.schemes must be  configured."
    )]
    NoEnforcedScheme,
    /// Authentication is enforced with a scheme that no provider has.
    #[error(
        "Authentication scheme {0} is not available (zookeeper.enforce.auth.schemes, or \
         zookeeper.sessionRequireClientSASLAuth=true)."
    )]
    SchemeNotAvailable(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `scheme=id` each; the expected order was printed by Java.
    fn check_order(added: &[&str], expected: &[&str]) {
        let id = |text: &&str| text.split_once('=').map(|(s, i)| Id::new(s, i)).unwrap();
        let mut ids = Vec::new();
        for text in added.iter().chain(added) {
            add_auth_info(&mut ids, id(text));
        }
        assert_eq!(ids, expected.iter().map(id).collect::<Vec<_>>());
    }

    #[test]
    fn ids_are_a_set_in_the_order_of_java() {
        check_order(
            &["ip=127.0.0.1", "digest=user:tpUq/4Pn5A64fVZyQ0gOJ8ZWqkY=", "super="],
            &["digest=user:tpUq/4Pn5A64fVZyQ0gOJ8ZWqkY=", "super=", "ip=127.0.0.1"],
        );
        check_order(
            &["digest=a:b", "digest=c:d", "ip=10.0.0.1", "key="],
            &["digest=a:b", "key=", "ip=10.0.0.1", "digest=c:d"],
        );
        check_order(
            &[
                "ip=0:0:0:0:0:0:0:1",
                "digest=bob:x",
                "digest=alice:y",
                "digest=carol:z",
                "sasl=bob",
                "x509=CN=a",
            ],
            &[
                "digest=carol:z",
                "sasl=bob",
                "x509=CN=a",
                "digest=bob:x",
                "digest=alice:y",
                "ip=0:0:0:0:0:0:0:1",
            ],
        );
    }
}
