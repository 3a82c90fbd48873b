//! The scheme `digest`: user and password, kept as a hash (`DigestAuthenticationProvider`).
//!
//! Java decodes the client's bytes with the platform's charset; here it is UTF-8, always.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1::Digest as _;

use super::{AuthConfigError, AuthContext, AuthenticationProvider, MatchValues};
use crate::proto::{Code, Id};

/// A hash that `MessageDigest.getInstance` of the JDK knows. MD2 is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names say it all")]
pub enum DigestAlgorithm {
    Md5,
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
    Sha512_224,
    Sha512_256,
    Sha3_224,
    Sha3_256,
    Sha3_384,
    Sha3_512,
}

impl DigestAlgorithm {
    /// The name of the hash used unless another is configured.
    pub const DEFAULT_NAME: &'static str = "SHA1";

    /// The hash of a name; upper and lower case are the same, as in Java.
    pub fn from_name(name: &str) -> Result<DigestAlgorithm, AuthConfigError> {
        Ok(match name.to_ascii_uppercase().as_str() {
            "MD5" => DigestAlgorithm::Md5,
            "SHA" | "SHA1" | "SHA-1" => DigestAlgorithm::Sha1,
            "SHA-224" => DigestAlgorithm::Sha224,
            "SHA-256" => DigestAlgorithm::Sha256,
            "SHA-384" => DigestAlgorithm::Sha384,
            "SHA-512" => DigestAlgorithm::Sha512,
            "SHA-512/224" => DigestAlgorithm::Sha512_224,
            "SHA-512/256" => DigestAlgorithm::Sha512_256,
            "SHA3-224" => DigestAlgorithm::Sha3_224,
            "SHA3-256" => DigestAlgorithm::Sha3_256,
            "SHA3-384" => DigestAlgorithm::Sha3_384,
            "SHA3-512" => DigestAlgorithm::Sha3_512,
            _ => return Err(AuthConfigError::DigestAlgorithm(name.to_owned())),
        })
    }

    /// The hash of `bytes`.
    #[must_use]
    pub fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            DigestAlgorithm::Md5 => md5::Md5::digest(bytes).to_vec(),
            DigestAlgorithm::Sha1 => sha1::Sha1::digest(bytes).to_vec(),
            DigestAlgorithm::Sha224 => sha2::Sha224::digest(bytes).to_vec(),
            DigestAlgorithm::Sha256 => sha2::Sha256::digest(bytes).to_vec(),
            DigestAlgorithm::Sha384 => sha2::Sha384::digest(bytes).to_vec(),
            DigestAlgorithm::Sha512 => sha2::Sha512::digest(bytes).to_vec(),
            DigestAlgorithm::Sha512_224 => sha2::Sha512_224::digest(bytes).to_vec(),
            DigestAlgorithm::Sha512_256 => sha2::Sha512_256::digest(bytes).to_vec(),
            DigestAlgorithm::Sha3_224 => sha3::Sha3_224::digest(bytes).to_vec(),
            DigestAlgorithm::Sha3_256 => sha3::Sha3_256::digest(bytes).to_vec(),
            DigestAlgorithm::Sha3_384 => sha3::Sha3_384::digest(bytes).to_vec(),
            DigestAlgorithm::Sha3_512 => sha3::Sha3_512::digest(bytes).to_vec(),
        }
    }

    /// The id of a user: `user:password` becomes `user:base64(hash(user:password))`.
    #[must_use]
    pub fn generate_digest(self, id_password: &str) -> String {
        let user = id_password.split(':').next().unwrap_or_default();
        let mut id = String::with_capacity(user.len() + 29);
        // Writing to a String cannot fail.
        let _ = write!(id, "{user}:");
        STANDARD.encode_string(self.digest(id_password.as_bytes()), &mut id);
        id
    }
}

/// The provider of the scheme `digest`.
#[derive(Debug, Clone)]
pub struct DigestAuthenticationProvider {
    algorithm: DigestAlgorithm,
    super_digest: Option<String>,
}

impl DigestAuthenticationProvider {
    /// Who proves the id `super_digest` is also given the id of the scheme `super`.
    #[must_use]
    pub fn new(algorithm: DigestAlgorithm, super_digest: Option<String>) -> Self {
        DigestAuthenticationProvider { algorithm, super_digest }
    }

    /// The ids that `auth` (`user:password`) proves. Any text proves something.
    #[must_use]
    pub fn ids(&self, auth: &[u8]) -> Vec<Id> {
        let digest = self.algorithm.generate_digest(&String::from_utf8_lossy(auth));
        let mut ids = Vec::with_capacity(2);
        if self.super_digest.as_deref() == Some(digest.as_str()) {
            ids.push(Id::new("super", ""));
        }
        ids.push(Id::new("digest", &digest));
        ids
    }
}

impl AuthenticationProvider for DigestAuthenticationProvider {
    fn scheme(&self) -> &str {
        "digest"
    }

    fn handle_authentication(&self, context: &mut AuthContext<'_>, auth: Option<&[u8]>) -> Code {
        let Some(auth) = auth else { return Code::AuthFailed };
        for id in self.ids(auth) {
            context.add_auth_info(id);
        }
        Code::Ok
    }

    fn matches(&self, values: &MatchValues<'_>) -> bool {
        values.id == values.acl_expr
    }

    fn is_authenticated(&self) -> bool {
        true
    }

    /// Two parts around a colon; colons at the end do not count (Java: `split(":")`).
    fn is_valid(&self, id: &str) -> bool {
        let id = id.trim_end_matches(':');
        id.matches(':').count() == 1
    }

    fn user_name<'a>(&self, id: &'a str) -> &'a str {
        id.split(':').next().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(super_digest: Option<&str>) -> DigestAuthenticationProvider {
        DigestAuthenticationProvider::new(DigestAlgorithm::Sha1, super_digest.map(str::to_owned))
    }

    #[test]
    fn ids_are_those_of_java() {
        let check = |auth, id| assert_eq!(DigestAlgorithm::Sha1.generate_digest(auth), id);
        check("user:password", "user:tpUq/4Pn5A64fVZyQ0gOJ8ZWqkY=");
        check("nocolon", "nocolon:Ra+cHr2ZoHvBjtNArFGNGlVie4g=");
        check("", ":2jmj7l5rSw0yVb/vlWAYkK/YBwk=");
        check(":x", ":57b19mLA2vMhI/edHul/TytWqWE=");
        check("a:b:c", "a:cLzgnoJ6mP5qz3w+mwvPE2vDgu0=");
        check("ü:ß", "ü:vB6Co0vguxtrKN0lKrXliXiGJq4=");
        check("x:", "x:klkAALJ94iTJT/Sb0xMaO8xNka8=");
    }

    #[test]
    fn algorithms_have_the_names_and_values_of_the_jdk() {
        let check = |name: &str, hash: &str| {
            let id = DigestAlgorithm::from_name(name).unwrap().generate_digest("user:password");
            assert_eq!(id, format!("user:{hash}"), "{name}");
        };
        check("MD5", "OunqX+etW/ZSxR9D2ldCLA==");
        check("SHA-1", "tpUq/4Pn5A64fVZyQ0gOJ8ZWqkY=");
        check("sha", "tpUq/4Pn5A64fVZyQ0gOJ8ZWqkY=");
        check("sha1", "tpUq/4Pn5A64fVZyQ0gOJ8ZWqkY=");
        check("SHA-224", "6GVb/vhYOXU2cAmhuRkcw8i4Z9QlgKhGYZai5Q==");
        check("SHA-256", "yRsdas04PETE7CDJcj51jDEYKh9PAjHWPZElmi6hS50=");
        check("SHA-384", "htIoC30hHolTa+/hAI2QsaAqrqOKMHUmlPlzBeIkfRWNGBi/8/dVKpuOsOWVq8qs");
        check("SHA-512/224", "MZdBJGxu8PSnKQpp+Fo/Xs6A8MWSKppTyvOXgQ==");
        check("SHA-512/256", "BJ4p7RfQWcJD4uSvfIaTRHf2W3T/r7vXir0nGIUZvt4=");
        check("SHA3-224", "iE1hEZYPbgaQsjoOF7BzR3Lz7yiM2opep1De6g==");
        check("SHA3-256", "NAR2RZ7JZxGXKOuQubzhytx9PjP71AWWZoOY+TVw1hw=");
        check("SHA3-384", "ohHEqQqd1LbhZS1M4c5EPH62D07UypO0a5QNAmWrxR442b/TvdLCT3OKB2ZtvgnF");
        check(
            "SHA-512",
            "jpg++2gII4jzID8eXmWBSuUbGt1jbK9iB9PlOOf0uNwG7O0rsNtKX7GP4vq+QM0ncsfbzxZTuyf0xv2Xbkfz1Q==",
        );
        check(
            "SHA3-512",
            "crJkDTyqNBLSeN9ANTupt+rbekG69LtWeiMDgZ83Q+aPOWeSWYcv+UR8e+oDQH+grRbbiWDlL9r4FgwNVo+jdg==",
        );
        assert!(DigestAlgorithm::from_name("SHA-257").is_err());
    }

    #[test]
    fn super_user_is_who_proves_the_super_digest() {
        let provider = provider(Some("super:lK75jTNcA+U9vtVEw5vB51mj/w4="));
        let digest = Id::new("digest", "super:lK75jTNcA+U9vtVEw5vB51mj/w4=");
        assert_eq!(provider.ids(b"super:secret"), [Id::new("super", ""), digest]);
        assert_eq!(provider.ids(b"super:wrong").len(), 1);
    }

    #[test]
    fn undecodable_bytes_become_replacement_characters() {
        let ids = provider(None).ids(b"a\xff:b");
        assert_eq!(ids, [Id::new("digest", &DigestAlgorithm::Sha1.generate_digest("a\u{fffd}:b"))]);
    }

    #[test]
    fn valid_ids_have_two_parts() {
        for id in ["a:b", ":b", "a:b:", "a:b::", ":b:"] {
            assert!(provider(None).is_valid(id), "{id}");
        }
        for id in ["a:", ":", "", "a::b", "::b", "a", "a:b:c", "::"] {
            assert!(!provider(None).is_valid(id), "{id}");
        }
    }

    #[test]
    fn user_name_ends_at_the_colon() {
        assert_eq!(provider(None).user_name("bob:hash"), "bob");
        assert_eq!(provider(None).user_name("bob"), "bob");
    }
}
