//! The scheme `x509`: the subject of the client's certificate (`X509AuthenticationProvider`).
//!
//! The TLS layer checks the chain and hands the subject over; here it becomes an id. Java checks the
//! chain a second time, in the provider.

use log::{info, warn};

use super::{AuthContext, AuthenticationProvider, MatchValues};
use crate::proto::{Code, Id};

/// The provider of the scheme `x509`.
#[derive(Debug, Clone)]
pub struct X509AuthenticationProvider {
    super_user: Option<String>,
}

impl X509AuthenticationProvider {
    /// Who has the subject `super_user` is also given an id of the scheme `super`.
    #[must_use]
    pub fn new(super_user: Option<String>) -> Self {
        X509AuthenticationProvider { super_user }
    }

    /// The ids of a client whose checked certificate has this subject (RFC 2253, as Java prints it).
    #[must_use]
    pub fn ids(&self, subject: &str) -> Vec<Id> {
        let mut ids = Vec::with_capacity(2);
        if self.super_user.as_deref() == Some(subject) {
            ids.push(Id::new("super", subject));
            info!("Authenticated Id '{subject}' as super user");
        }
        ids.push(Id::new("x509", subject));
        info!("Authenticated Id '{subject}' for scheme 'x509'");
        ids
    }
}

impl AuthenticationProvider for X509AuthenticationProvider {
    fn scheme(&self) -> &str {
        "x509"
    }

    fn handle_authentication(&self, context: &mut AuthContext<'_>, _auth: Option<&[u8]>) -> Code {
        let Some(subject) = context.certificate_subject else {
            warn!("No certificate chain available to authenticate");
            return Code::AuthFailed;
        };
        for id in self.ids(subject) {
            context.add_auth_info(id);
        }
        Code::Ok
    }

    fn matches(&self, values: &MatchValues<'_>) -> bool {
        self.super_user.as_deref() == Some(values.id) || values.id == values.acl_expr
    }

    fn is_authenticated(&self) -> bool {
        true
    }

    /// A distinguished name. Gap: only its outer form is checked (`type=value`, separated by commas
    /// or semicolons), not the types that Java's `X500Principal` knows.
    fn is_valid(&self, id: &str) -> bool {
        id.trim().is_empty() || split_unquoted(id).iter().all(|part| is_attribute(part))
    }
}

/// The parts of a name between commas, semicolons and plus signs that are neither quoted nor escaped.
fn split_unquoted(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let (mut quoted, mut escaped) = (false, false);
    for c in name.chars() {
        let is_separator = matches!(c, ',' | ';' | '+') && !quoted && !escaped;
        if is_separator {
            parts.push(String::new());
        } else if let Some(part) = parts.last_mut() {
            part.push(c);
        }
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
    }
    parts
}

fn is_attribute(part: &str) -> bool {
    part.split_once('=').is_some_and(|(kind, _)| {
        let kind = kind.trim();
        !kind.is_empty()
            && kind.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-'))
    })
}
