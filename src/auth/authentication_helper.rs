//! Enforced authentication (`AuthenticationHelper`): connections without an id of one of the named
//! schemes get `SessionClosedRequireSaslAuth` for any request but auth and sasl, then are closed.

use log::{error, info};

use super::{AuthConfigError, ProviderRegistry};
use crate::proto::Id;

/// The settings of enforced authentication.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EnforceAuthSettings {
    /// `enforce.auth.enabled`.
    pub enforce_auth_enabled: bool,
    /// `enforce.auth.schemes`: separated by commas.
    pub enforce_auth_schemes: Option<String>,
    /// `sessionRequireClientSASLAuth`: overrides both with `true` and `sasl`.
    pub session_require_client_sasl_auth: bool,
}

/// Which connections are refused for want of authentication.
#[derive(Debug, Clone)]
pub struct AuthenticationHelper {
    is_enabled: bool,
    schemes: Vec<String>,
}

impl AuthenticationHelper {
    /// Errors: authentication is enforced with no scheme, or with one that has no provider.
    pub fn new(
        settings: &EnforceAuthSettings,
        providers: &ProviderRegistry,
    ) -> Result<AuthenticationHelper, AuthConfigError> {
        let helper = if settings.session_require_client_sasl_auth {
            AuthenticationHelper { is_enabled: true, schemes: vec![SASL.to_owned()] }
        } else {
            AuthenticationHelper {
                is_enabled: settings.enforce_auth_enabled,
                schemes: settings.enforce_auth_schemes.as_deref().map(schemes).unwrap_or_default(),
            }
        };
        info!("zookeeper.enforce.auth.enabled = {}", helper.is_enabled);
        info!("zookeeper.enforce.auth.schemes = [{}]", helper.schemes.join(", "));
        if helper.is_enabled {
            if helper.schemes.is_empty() {
                return Err(AuthConfigError::NoEnforcedScheme);
            }
            let missing = helper.schemes.iter().find(|s| providers.provider(s).is_none());
            if let Some(scheme) = missing {
                return Err(AuthConfigError::SchemeNotAvailable(scheme.clone()));
            }
        }
        Ok(helper)
    }

    /// Whether authentication is enforced at all.
    #[must_use]
    pub fn is_enforce_auth_enabled(&self) -> bool {
        self.is_enabled
    }

    /// Whether requests of a connection with these ids are accepted. If not, the caller answers with
    /// `SessionClosedRequireSaslAuth` (zxid 0) and closes the connection.
    #[must_use]
    pub fn enforce_authentication(&self, ids: &[Id]) -> bool {
        if !self.is_enabled || ids.iter().any(|id| self.schemes.iter().any(|s| **s == *id.scheme)) {
            return true;
        }
        let have: Vec<&str> = ids.iter().map(|id| &*id.scheme).collect();
        error!(
            "Client authentication scheme(s) [{}] does not match with any of the expected \
             authentication scheme [{}], closing session.",
            have.join(", "),
            self.schemes.join(", ")
        );
        false
    }

    /// Whether a client must pass SASL: then a failed exchange always closes the connection.
    #[must_use]
    pub fn is_sasl_auth_required(&self) -> bool {
        self.is_enabled && self.schemes.iter().any(|scheme| scheme == SASL)
    }
}

const SASL: &str = "sasl";

/// Java's `split(",")`, which leaves out empty parts at the end but keeps a lone empty one.
fn schemes(list: &str) -> Vec<String> {
    if list.is_empty() {
        return vec![String::new()];
    }
    list.trim_end_matches(',')
        .split(',')
        .filter(|_| list.chars().any(|c| c != ','))
        .map(|scheme| scheme.trim_matches(|c| c <= ' ').to_owned())
        .collect()
}
