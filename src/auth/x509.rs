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

    /// A distinguished name as `X500Principal` takes it. Gap: values are not checked for the
    /// characters their type allows.
    fn is_valid(&self, id: &str) -> bool {
        id.is_empty()
            || split_unquoted(id).is_some_and(|parts| parts.iter().all(|p| is_attribute(p)))
    }
}

/// The parts of a name between commas, semicolons and plus signs that are neither quoted nor escaped;
/// `None` if it ends within a quotation or an escape.
fn split_unquoted(name: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut part = String::new();
    let (mut quoted, mut escaped) = (false, false);
    for c in name.chars() {
        if matches!(c, ',' | ';' | '+') && !quoted && !escaped {
            parts.push(std::mem::take(&mut part));
        } else {
            part.push(c);
        }
        quoted ^= c == '"' && !escaped;
        escaped = c == '\\' && !escaped;
    }
    parts.push(part);
    (!quoted && !escaped).then_some(parts)
}

/// `type=value`.
fn is_attribute(part: &str) -> bool {
    part.split_once('=').is_some_and(|(kind, value)| is_kind(kind.trim()) && is_value(value.trim()))
}

/// A keyword of Java's `AVAKeyword`, or an object identifier.
fn is_kind(kind: &str) -> bool {
    let kind = kind.to_ascii_uppercase();
    if KEYWORDS.contains(&kind.as_str()) {
        return true;
    }
    let oid = kind.strip_prefix("OID.").unwrap_or(&kind);
    let numbers: Option<Vec<u32>> = oid.split('.').map(|part| part.parse().ok()).collect();
    match numbers.as_deref() {
        Some([0 | 1, second, ..]) => *second < 40,
        Some([2, _, ..]) => true,
        _ => false,
    }
}

fn is_value(value: &str) -> bool {
    if let Some(hex) = value.strip_prefix('#') {
        return is_der(hex);
    }
    if value.len() > 1 && value.starts_with('"') {
        // What ends the quotation must end the value.
        return split_unquoted(value.get(1..value.len() - 1).unwrap_or_default()).is_some()
            && value.ends_with('"');
    }
    let mut escaped = false;
    value.chars().all(|c| {
        let is_allowed = escaped || !matches!(c, '"' | '<' | '>');
        escaped = c == '\\' && !escaped;
        is_allowed
    })
}

/// Hexadecimal digits of a tag, a length and that many bytes. Gap: the long form of lengths.
fn is_der(hex: &str) -> bool {
    let is_hex = hex.len().is_multiple_of(2) && hex.bytes().all(|digit| digit.is_ascii_hexdigit());
    let length = hex.get(2..4).and_then(|digits| usize::from_str_radix(digits, 16).ok());
    is_hex && length.is_some_and(|length| hex.len() == 4 + 2 * length)
}

const KEYWORDS: [&str; 21] = [
    "CN",
    "C",
    "L",
    "S",
    "ST",
    "O",
    "OU",
    "T",
    "IP",
    "STREET",
    "DC",
    "DNQUALIFIER",
    "DNQ",
    "SURNAME",
    "GIVENNAME",
    "INITIALS",
    "GENERATION",
    "EMAIL",
    "EMAILADDRESS",
    "UID",
    "SERIALNUMBER",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_ids_are_distinguished_names() {
        let provider = X509AuthenticationProvider::new(None);
        for id in [
            "CN=a",
            "CN=a,O=b",
            "",
            "CN=",
            "CN=a;O=b",
            "CN=\"a,b\",O=c",
            "CN=a\\,b",
            "1.2.3=a",
            "OID.1.2.3=a",
            "emailAddress=a@b",
            "CN=a+OU=b",
            "UID=u",
            "DC=x, DC=y",
            "T=x",
            "cn = a",
            "1.2=a",
        ] {
            assert!(provider.is_valid(id), "{id}");
        }
        for id in [
            "a",
            "=x",
            "XX=a",
            "E=x",
            "CN=a,",
            "  ",
            "CN=#1303",
            "CN=a\"b",
            "CN=a,,O=b",
            "CN=a\\",
            "9.9=x",
            "CN=<a>",
        ] {
            assert!(!provider.is_valid(id), "{id}");
        }
    }

    #[test]
    fn super_user_matches_everything() {
        let provider = X509AuthenticationProvider::new(Some("CN=root".to_owned()));
        assert_eq!(
            provider.ids("CN=root"),
            [Id::new("super", "CN=root"), Id::new("x509", "CN=root")]
        );
        assert_eq!(provider.ids("CN=a"), [Id::new("x509", "CN=a")]);
        let check = |id, acl_expr, expected| {
            let values = MatchValues { path: None, id, acl_expr, perm: 1, set_acls: None };
            assert_eq!(provider.matches(&values), expected, "{id} {acl_expr}");
        };
        check("CN=a", "CN=a", true);
        check("CN=a", "CN=b", false);
        check("CN=root", "CN=b", true);
    }
}
