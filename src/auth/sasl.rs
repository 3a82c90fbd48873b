//! The scheme `sasl`, as far as ACLs are concerned (`SASLAuthenticationProvider`).
//!
//! Its ids come from the SASL exchange at the start of a session, never from an auth packet.
// Gap: the exchange itself (DIGEST-MD5, GSSAPI).

use super::{AuthContext, AuthenticationProvider, MatchValues};
use crate::proto::Code;

/// The provider of the scheme `sasl`.
#[derive(Debug, Clone)]
pub struct SaslAuthenticationProvider {
    any_user: Option<String>,
}

impl SaslAuthenticationProvider {
    /// ACL entries with the id `any_user` (`letAnySaslUserDoX`) mean every authenticated user.
    #[must_use]
    pub fn new(any_user: Option<String>) -> Self {
        SaslAuthenticationProvider { any_user }
    }
}

impl AuthenticationProvider for SaslAuthenticationProvider {
    fn scheme(&self) -> &str {
        "sasl"
    }

    fn handle_authentication(&self, _context: &mut AuthContext<'_>, _auth: Option<&[u8]>) -> Code {
        Code::AuthFailed
    }

    fn matches(&self, values: &MatchValues<'_>) -> bool {
        values.id == "super"
            || values.id == values.acl_expr
            || self.any_user.as_deref() == Some(values.acl_expr)
    }

    fn is_authenticated(&self) -> bool {
        true
    }

    /// A Kerberos name: anything without `@`, or `service@realm`, or `service/host@realm`.
    fn is_valid(&self, id: &str) -> bool {
        let Some((name, realm)) = id.split_once('@') else { return true };
        !realm.contains(['/', '@']) && name.matches('/').count() <= 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_ids_are_kerberos_names() {
        let provider = SaslAuthenticationProvider::new(None);
        for id in ["bob", "bob@REALM", "bob/host@REALM", "@", "", "a/b/c", "/@"] {
            assert!(provider.is_valid(id), "{id}");
        }
        for id in ["a/b/c@R", "a@b@c", "a@b/c"] {
            assert!(!provider.is_valid(id), "{id}");
        }
    }

    #[test]
    fn any_user_is_meant_by_the_configured_id() {
        let provider = SaslAuthenticationProvider::new(Some("anybody".to_owned()));
        let check = |id, acl_expr, expected| {
            let values = MatchValues { path: None, id, acl_expr, perm: 1, set_acls: None };
            assert_eq!(provider.matches(&values), expected, "{id} {acl_expr}");
        };
        check("bob", "bob", true);
        check("bob", "alice", false);
        check("bob", "anybody", true);
        check("super", "alice", true);
    }
}
