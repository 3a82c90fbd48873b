//! The scheme `key`: a sample of a provider that looks into the tree (`KeyAuthenticationProvider`).
//!
//! Who sends a multiple of the number in the node `/key` is authenticated. While there is no such
//! node, everybody is. Kept because Java has it; it protects nothing.

use log::{debug, error};

use super::{AuthContext, AuthenticationProvider, MatchValues};
use crate::proto::{Code, Id};

/// The provider of the scheme `key`.
#[derive(Debug, Clone, Copy, Default)]
pub struct KeyAuthenticationProvider;

impl AuthenticationProvider for KeyAuthenticationProvider {
    fn scheme(&self) -> &str {
        "key"
    }

    fn handle_authentication(&self, context: &mut AuthContext<'_>, auth: Option<&[u8]>) -> Code {
        let Some(auth) = auth else { return Code::AuthFailed };
        let id = match context.server.node_data("/key") {
            Some(key) if !is_multiple(&key, auth) => {
                debug!("The key of a client is not a multiple of that in /key");
                return Code::AuthFailed;
            }
            // Compat: the id is empty also for the right key; it is filled only in Java's failure
            // message.
            _ => "",
        };
        context.add_auth_info(Id::new(self.scheme(), id));
        Code::Ok
    }

    fn matches(&self, values: &MatchValues<'_>) -> bool {
        values.id == values.acl_expr
    }

    fn is_authenticated(&self) -> bool {
        true
    }

    fn is_valid(&self, _id: &str) -> bool {
        true
    }
}

fn is_multiple(key: &[u8], auth: &[u8]) -> bool {
    let number = |bytes| String::from_utf8_lossy(bytes).parse::<i32>().ok();
    match (number(key), number(auth)) {
        (Some(0), Some(_)) => true,
        (Some(key), Some(auth)) => auth.wrapping_rem(key) == 0,
        _ => {
            error!("bad formatting");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::AuthServer;
    use crate::jute::Buffer;

    struct Key(Option<&'static str>);

    impl AuthServer for Key {
        fn node_data(&self, path: &str) -> Buffer {
            assert_eq!(path, "/key");
            self.0.map(|key| key.as_bytes().into())
        }
    }

    #[test]
    fn multiples_of_the_key_are_accepted() {
        let check = |key, auth: Option<&str>, expected| {
            let mut ids = Vec::new();
            let mut context = AuthContext {
                remote: "127.0.0.1:1".parse().unwrap(),
                certificate_subject: None,
                server: &Key(key),
                ids: &mut ids,
                must_close: false,
            };
            let auth = auth.map(str::as_bytes);
            let code = KeyAuthenticationProvider.handle_authentication(&mut context, auth);
            assert_eq!(code, expected);
            let granted = if code == Code::Ok { vec![Id::new("key", "")] } else { vec![] };
            assert_eq!(ids, granted);
        };
        check(None, Some("anything"), Code::Ok);
        check(Some("7"), Some("21"), Code::Ok);
        check(Some("7"), Some("22"), Code::AuthFailed);
        check(Some("0"), Some("22"), Code::Ok);
        check(Some("-1"), Some("-2147483648"), Code::Ok);
        check(Some("seven"), Some("22"), Code::AuthFailed);
        check(Some("7"), Some("x"), Code::AuthFailed);
        check(Some("7"), None, Code::AuthFailed);
    }
}
