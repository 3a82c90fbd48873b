//! The scheme `ensemble`: no ids, only a check that the client has come to the right ensemble
//! (`EnsembleAuthenticationProvider`).

use std::collections::BTreeSet;

use log::{info, warn};

use super::{AuthContext, AuthenticationProvider, MatchValues, host_address};
use crate::proto::Code;

/// The provider of the scheme `ensemble`.
#[derive(Debug)]
pub struct EnsembleAuthenticationProvider {
    names: Option<BTreeSet<String>>,
}

impl EnsembleAuthenticationProvider {
    /// Accepts the names of a comma-separated list; everything if there is none.
    #[must_use]
    pub fn new(names_csv: Option<&str>) -> Self {
        if let Some(names) = names_csv {
            info!("Set expected ensemble names to {names}");
        }
        let names = names_csv.map(|csv| {
            csv.split(',').map(|name| name.trim_matches(|c| c <= ' ').to_owned()).collect()
        });
        EnsembleAuthenticationProvider { names }
    }
}

impl AuthenticationProvider for EnsembleAuthenticationProvider {
    fn scheme(&self) -> &str {
        "ensemble"
    }

    /// A wrong name closes the connection without a reply, so that the client tries another server;
    /// an error would end it.
    fn handle_authentication(&self, context: &mut AuthContext<'_>, auth: Option<&[u8]>) -> Code {
        let (Some(auth), Some(names)) = (auth, &self.names) else { return Code::Ok };
        let name = String::from_utf8_lossy(auth);
        if name.is_empty() || names.contains(&*name) {
            return Code::Ok;
        }
        warn!(
            "Unexpected ensemble name: ensemble name: {name} client ip: {}",
            host_address(&context.remote)
        );
        context.must_close = true;
        Code::BadArguments
    }

    fn matches(&self, _values: &MatchValues<'_>) -> bool {
        false
    }

    fn is_authenticated(&self) -> bool {
        false
    }

    fn is_valid(&self, _id: &str) -> bool {
        false
    }
}
