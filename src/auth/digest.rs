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
