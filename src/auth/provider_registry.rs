//! The authentication schemes of this server (`ProviderRegistry`).
//!
//! Java loads classes by name (`authProvider.<n>`). Here the names of ZooKeeper's own classes stand
//! for the built-in providers; any other class is warned about and left out, as in Java a class that
//! is not on the class path.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use log::{info, warn};

use super::{
    AuthConfigError, AuthenticationProvider, DigestAlgorithm, DigestAuthenticationProvider,
    EnsembleAuthenticationProvider, IpAuthenticationProvider, KeyAuthenticationProvider,
    SaslAuthenticationProvider, X509AuthenticationProvider,
};
use crate::common::config::ServerConfig;
use crate::metrics::ServerMetrics;

/// The settings of all providers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthSettings {
    /// `DigestAuthenticationProvider.enabled`.
    pub digest_enabled: bool,
    /// `DigestAuthenticationProvider.digestAlg`: a name as `MessageDigest.getInstance` takes it.
    pub digest_alg: String,
    /// `DigestAuthenticationProvider.superDigest`.
    pub super_digest: Option<String>,
    /// `ensembleAuthName`.
    pub ensemble_auth_name: Option<String>,
    /// `X509AuthenticationProvider.superUser`.
    pub x509_super_user: Option<String>,
    /// `letAnySaslUserDoX`.
    pub let_any_sasl_user_do_x: Option<String>,
    /// The class names of `authProvider.<n>`, in the order of their keys.
    pub auth_providers: Vec<String>,
}

impl Default for AuthSettings {
    fn default() -> Self {
        AuthSettings {
            digest_enabled: true,
            digest_alg: DigestAlgorithm::DEFAULT_NAME.to_owned(),
            super_digest: None,
            ensemble_auth_name: None,
            x509_super_user: None,
            let_any_sasl_user_do_x: None,
            auth_providers: Vec::new(),
        }
    }
}

impl From<&ServerConfig> for AuthSettings {
    fn from(config: &ServerConfig) -> Self {
        AuthSettings {
            digest_enabled: config.digest_authentication_provider_enabled,
            digest_alg: config.digest_authentication_provider_digest_alg.clone(),
            super_digest: config.digest_authentication_provider_super_digest.clone(),
            ensemble_auth_name: config.ensemble_auth_name.clone(),
            x509_super_user: None,
            let_any_sasl_user_do_x: None,
            auth_providers: config.auth_providers.iter().map(|(_, class)| class.clone()).collect(),
        }
    }
}

/// Providers by scheme. Never changes after the start.
pub struct ProviderRegistry {
    providers: BTreeMap<String, Box<dyn AuthenticationProvider>>,
}

impl ProviderRegistry {
    /// The providers that are always there and those that the settings ask for.
    ///
    /// Errors: the digest algorithm is not known; Java then does not start either, even if the
    /// digest provider is switched off.
    pub fn new(
        settings: &AuthSettings,
        metrics: &Arc<ServerMetrics>,
    ) -> Result<ProviderRegistry, AuthConfigError> {
        let mut registry = ProviderRegistry { providers: BTreeMap::new() };
        registry.add(Box::new(IpAuthenticationProvider));
        let digest = DigestAuthenticationProvider::new(
            DigestAlgorithm::from_name(&settings.digest_alg)?,
            settings.super_digest.clone(),
        );
        info!("ACL digest algorithm is: {}", settings.digest_alg);
        info!("zookeeper.DigestAuthenticationProvider.enabled = {}", settings.digest_enabled);
        if settings.digest_enabled {
            registry.add(Box::new(digest.clone()));
        }
        for class in &settings.auth_providers {
            match class.strip_prefix(PACKAGE) {
                Some("DigestAuthenticationProvider") => registry.add(Box::new(digest.clone())),
                Some("IPAuthenticationProvider") => {
                    registry.add(Box::new(IpAuthenticationProvider));
                }
                Some("EnsembleAuthenticationProvider") => {
                    let names = settings.ensemble_auth_name.as_deref();
                    let metrics = Arc::clone(metrics);
                    registry.add(Box::new(EnsembleAuthenticationProvider::new(names, metrics)));
                }
                Some("KeyAuthenticationProvider") => {
                    registry.add(Box::new(KeyAuthenticationProvider));
                }
                Some("SASLAuthenticationProvider") => {
                    let user = settings.let_any_sasl_user_do_x.clone();
                    registry.add(Box::new(SaslAuthenticationProvider::new(user)));
                }
                Some("X509AuthenticationProvider") => {
                    let super_user = settings.x509_super_user.clone();
                    registry.add(Box::new(X509AuthenticationProvider::new(super_user)));
                }
                _ => warn!(
                    "Problems loading {class}: not a built-in authentication provider, \
                     and this server cannot load Java classes"
                ),
            }
        }
        Ok(registry)
    }

    /// Adds a provider, or replaces the one of the same scheme.
    pub fn add(&mut self, provider: Box<dyn AuthenticationProvider>) {
        self.providers.insert(provider.scheme().to_owned(), provider);
    }

    /// The provider of a scheme.
    #[must_use]
    pub fn provider(&self, scheme: &str) -> Option<&dyn AuthenticationProvider> {
        self.providers.get(scheme).map(AsRef::as_ref)
    }

    /// The schemes, each followed by a space, for the log.
    #[must_use]
    pub fn list_providers(&self) -> String {
        self.providers.keys().map(|scheme| format!("{scheme} ")).collect()
    }
}

impl fmt::Debug for ProviderRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.providers.keys()).finish()
    }
}

/// Where ZooKeeper's own providers live.
const PACKAGE: &str = "org.apache.zookeeper.server.auth.";

#[cfg(test)]
mod tests {
    use super::*;

    fn check(settings: &AuthSettings, expected: &str) {
        let registry = ProviderRegistry::new(settings, &Arc::default()).unwrap();
        assert_eq!(registry.list_providers(), expected);
    }

    #[test]
    fn known_classes_are_built_in_and_others_left_out() {
        let settings = AuthSettings::default();
        check(&settings, "digest ip ");
        let off = AuthSettings { digest_enabled: false, ..settings.clone() };
        check(&off, "ip ");
        let class = |name: &str| format!("org.apache.zookeeper.server.auth.{name}");
        let more = AuthSettings {
            auth_providers: vec![
                class("SASLAuthenticationProvider"),
                class("DigestAuthenticationProvider"),
                class("KeyAuthenticationProvider"),
                class("EnsembleAuthenticationProvider"),
                class("X509AuthenticationProvider"),
                class("NoSuchProvider"),
                "com.example.Provider".to_owned(),
            ],
            ..off
        };
        check(&more, "digest ensemble ip key sasl x509 ");
        assert!(ProviderRegistry::new(&more, &Arc::default()).unwrap().provider("").is_none());
    }

    #[test]
    fn unknown_hash_stops_the_start() {
        let settings = AuthSettings {
            digest_alg: "NOPE".to_owned(),
            digest_enabled: false,
            ..AuthSettings::default()
        };
        assert_eq!(
            ProviderRegistry::new(&settings, &Arc::default()).err(),
            Some(AuthConfigError::DigestAlgorithm("NOPE".to_owned()))
        );
    }
}
