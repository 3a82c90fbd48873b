//! The scheme `ensemble`: no ids, only a check that the client has come to the right ensemble
//! (`EnsembleAuthenticationProvider`).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use log::{info, warn};

use super::{AuthContext, AuthenticationProvider, MatchValues, host_address};
use crate::common::time;
use crate::metrics::ServerMetrics;
use crate::proto::Code;

/// The provider of the scheme `ensemble`.
#[derive(Debug)]
pub struct EnsembleAuthenticationProvider {
    names: Option<BTreeSet<String>>,
    metrics: Arc<ServerMetrics>,
    /// When a wrong name was last logged (monotonic clock). Two threads may both log; hence relaxed.
    last_failure_logged_ms: AtomicI64,
}

/// Wrong names are logged at most this often.
const MIN_LOGGING_INTERVAL_MS: i64 = 1000;

impl EnsembleAuthenticationProvider {
    /// Accepts the names of a comma-separated list; everything if there is none.
    #[must_use]
    pub fn new(names_csv: Option<&str>, metrics: Arc<ServerMetrics>) -> Self {
        if let Some(names) = names_csv {
            info!("Set expected ensemble names to {names}");
        }
        let names = names_csv.map(|csv| {
            csv.split(',').map(|name| name.trim_matches(|c| c <= ' ').to_owned()).collect()
        });
        EnsembleAuthenticationProvider {
            names,
            metrics,
            last_failure_logged_ms: AtomicI64::new(i64::MIN),
        }
    }
}

impl AuthenticationProvider for EnsembleAuthenticationProvider {
    fn scheme(&self) -> &str {
        "ensemble"
    }

    /// A wrong name closes the connection without a reply, so that the client tries another server;
    /// an error would end it.
    fn handle_authentication(&self, context: &mut AuthContext<'_>, auth: Option<&[u8]>) -> Code {
        let (Some(auth), Some(names)) = (auth.filter(|auth| !auth.is_empty()), &self.names) else {
            self.metrics.ensemble_auth_skip.increment();
            return Code::Ok;
        };
        let name = String::from_utf8_lossy(auth);
        if names.contains(&*name) {
            self.metrics.ensemble_auth_success.increment();
            return Code::Ok;
        }
        let now_ms = time::elapsed_ms();
        let last_ms = self.last_failure_logged_ms.load(Ordering::Relaxed);
        if last_ms.saturating_add(MIN_LOGGING_INTERVAL_MS) < now_ms {
            let client = host_address(&context.remote);
            warn!("Unexpected ensemble name: ensemble name: {name} client ip: {client}");
            self.last_failure_logged_ms.store(now_ms, Ordering::Relaxed);
        }
        self.metrics.ensemble_auth_fail.increment();
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::AuthServer;
    use crate::jute::Buffer;

    struct NoServer;

    impl AuthServer for NoServer {
        fn node_data(&self, _path: &str) -> Buffer {
            None
        }
    }

    #[test]
    fn wrong_name_closes_the_connection() {
        let metrics = Arc::new(ServerMetrics::default());
        let check = |names, auth: Option<&[u8]>, expected: (Code, bool)| {
            let provider = EnsembleAuthenticationProvider::new(names, Arc::clone(&metrics));
            let mut ids = Vec::new();
            let mut context = AuthContext {
                remote: "127.0.0.1:1".parse().unwrap(),
                certificate_subject: None,
                server: &NoServer,
                ids: &mut ids,
                must_close: false,
            };
            let code = provider.handle_authentication(&mut context, auth);
            assert_eq!((code, context.must_close), expected);
            assert!(ids.is_empty());
        };
        check(Some("a, b"), Some(b"b"), (Code::Ok, false));
        check(Some("a, b"), Some(b" b"), (Code::BadArguments, true));
        check(Some("a, b"), Some(b"c"), (Code::BadArguments, true));
        check(Some("a, b"), Some(b""), (Code::Ok, false));
        check(Some("a, b"), None, (Code::Ok, false));
        check(None, Some(b"c"), (Code::Ok, false));
        let counts = [
            &metrics.ensemble_auth_success,
            &metrics.ensemble_auth_fail,
            &metrics.ensemble_auth_skip,
        ];
        assert_eq!(counts.map(|counter| counter.get()), [1, 2, 3]);
    }
}
