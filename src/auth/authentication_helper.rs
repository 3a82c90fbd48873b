//! Enforced authentication (`AuthenticationHelper`): connections without an id of one of the named
//! schemes get `SessionClosedRequireSaslAuth` for any request but auth and sasl, then are closed.

use log::{error, info};

use super::{AuthConfigError, ProviderRegistry};
use crate::common::config::ServerConfig;
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

impl From<&ServerConfig> for EnforceAuthSettings {
    fn from(config: &ServerConfig) -> Self {
        EnforceAuthSettings {
            enforce_auth_enabled: config.enforce_auth_enabled,
            enforce_auth_schemes: config.enforce_auth_schemes.clone(),
            session_require_client_sasl_auth: config.session_require_client_sasl_auth,
        }
    }
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::AuthSettings;
    use super::*;

    fn helper(settings: &EnforceAuthSettings) -> Result<AuthenticationHelper, AuthConfigError> {
        let sasl = "org.apache.zookeeper.server.auth.SASLAuthenticationProvider".to_owned();
        let auth = AuthSettings { auth_providers: vec![sasl], ..AuthSettings::default() };
        AuthenticationHelper::new(settings, &ProviderRegistry::new(&auth, &Arc::default())?)
    }

    fn enforcing(list: &str) -> EnforceAuthSettings {
        EnforceAuthSettings {
            enforce_auth_enabled: true,
            enforce_auth_schemes: Some(list.to_owned()),
            session_require_client_sasl_auth: false,
        }
    }

    #[test]
    fn one_of_the_schemes_is_needed() {
        let helper = helper(&enforcing("sasl , digest")).unwrap();
        let ip = Id::new("ip", "127.0.0.1");
        assert!(!helper.enforce_authentication(&[]));
        assert!(!helper.enforce_authentication(std::slice::from_ref(&ip)));
        assert!(helper.enforce_authentication(&[ip, Id::new("digest", "a:b")]));
        assert!(helper.is_sasl_auth_required());
    }

    #[test]
    fn nothing_is_enforced_by_default() {
        // The schemes are not looked at then.
        let off = EnforceAuthSettings { enforce_auth_enabled: false, ..enforcing("nosuch") };
        for settings in [EnforceAuthSettings::default(), off] {
            let helper = helper(&settings).unwrap();
            assert!(helper.enforce_authentication(&[]));
            assert!(!helper.is_enforce_auth_enabled() && !helper.is_sasl_auth_required());
        }
    }

    #[test]
    fn older_setting_means_sasl() {
        let settings =
            EnforceAuthSettings { session_require_client_sasl_auth: true, ..enforcing("nosuch") };
        let helper = helper(&settings).unwrap();
        assert!(!helper.enforce_authentication(&[Id::new("digest", "a:b")]));
        assert!(helper.enforce_authentication(&[Id::new("sasl", "bob")]));
        assert!(helper.is_sasl_auth_required());
    }

    #[test]
    fn wrong_settings_stop_the_start() {
        let check = |list: Option<&str>, expected: AuthConfigError| {
            let settings = EnforceAuthSettings {
                enforce_auth_schemes: list.map(str::to_owned),
                ..enforcing("")
            };
            assert_eq!(helper(&settings).err(), Some(expected));
        };
        let missing = |scheme: &str| AuthConfigError::SchemeNotAvailable(scheme.to_owned());
        check(None, AuthConfigError::NoEnforcedScheme);
        check(Some(","), AuthConfigError::NoEnforcedScheme);
        check(Some(""), missing(""));
        check(Some("digest,,sasl"), missing(""));
        check(Some("digest,nosuch"), missing("nosuch"));
    }

    #[test]
    fn lists_are_split_as_java_does() {
        let check = |list, expected: &[&str]| assert_eq!(schemes(list), expected, "{list}");
        check("", &[""]);
        check("a", &["a"]);
        check(" a , b ", &["a", "b"]);
        check("a,,b", &["a", "", "b"]);
        check(",", &[]);
        check(",a", &["", "a"]);
        check("a,", &["a"]);
    }
}
