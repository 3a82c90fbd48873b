//! Who a client is and what it may do: authentication providers and access control lists.

mod acl;
mod authentication_helper;
mod digest;
mod ensemble;
mod ip;
mod key;
mod provider;
mod provider_registry;
mod sasl;
mod x509;

pub use acl::{
    AclPolicy, check_acl, client_infos, fixup_acl, redact_digest_ids, user_name, user_names,
};
pub use authentication_helper::{AuthenticationHelper, EnforceAuthSettings};
pub use digest::{DigestAlgorithm, DigestAuthenticationProvider};
pub use ensemble::EnsembleAuthenticationProvider;
pub use ip::{IpAuthenticationProvider, client_ip_address, host_address};
pub use key::KeyAuthenticationProvider;
pub use provider::{
    AuthConfigError, AuthContext, AuthServer, AuthenticationProvider, MatchValues, add_auth_info,
};
pub use provider_registry::{AuthSettings, ProviderRegistry};
pub use sasl::SaslAuthenticationProvider;
pub use x509::X509AuthenticationProvider;
