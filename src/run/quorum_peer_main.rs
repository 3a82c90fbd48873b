//! `QuorumPeerMain`: `zabkeeper server CONF` or `zabkeeper server PORT DATADIR [TICKTIME
//! [MAXCNXNS]]`, with `-Dname=value` anywhere. A member of an ensemble, or a standalone server if the
//! configuration has no ensemble.
//!
//! Clients are accepted before the data are loaded: until a role serves, four letter words are told
//! so and other connections are closed, as in Java.

use std::sync::Arc;

use super::quorum_roles::QuorumRoles;
use super::service::{
    Running, StartFailure, cleanup_manager, open_data_dir, persistence_failure,
    raise_open_files_limit, serve, unexpected,
};
use super::zookeeper_server_main;
use crate::auth::{AuthConfigError, AuthenticationHelper, EnforceAuthSettings, ProviderRegistry};
use crate::common::config::{
    ConfigError, Configuration, QuorumSettings, ServerConfig, SystemProperties, split_words,
};
use crate::common::exit_code::ExitCode;
use crate::common::logging;
use crate::common::thread::{OwnedThread, ServerListener};
use crate::metrics::ServerMetrics;
use crate::quorum::epoch_files::EpochFiles;
use crate::quorum::quorum_database::{QuorumDatabase, is_lost_tail_fatal};
use crate::quorum::quorum_peer::{QuorumPeer, QuorumPeerParts, configured_verifiers};
use crate::quorum::quorum_peer_thread::{self, Roles};
use crate::quorum::verifier::QuorumVerifier;
use crate::server::cnxn::accept_thread::bind_client_port;
use crate::server::cnxn::server_cnxn_factory::ServerCnxnFactory;
use crate::server::command::environment;
use crate::server::datadir_cleanup_manager::DatadirCleanupManager;
use crate::server::pause_monitor::PauseMonitor;

/// Runs a server until it is told to stop or cannot go on.
pub fn run(args: impl IntoIterator<Item = String>) -> ExitCode {
    let mut system = SystemProperties::default();
    let mut ignored = Vec::new();
    for variable in ["SERVER_JVMFLAGS", "JVMFLAGS"] {
        let flags = std::env::var(variable).unwrap_or_default();
        ignored.append(&mut system.take_flags(split_words(&flags)));
    }
    let (flags, args): (Vec<_>, Vec<_>) =
        system.take_flags(args).into_iter().partition(|word| word.starts_with('-'));
    ignored.extend(flags);
    logging::init(&system);
    if !ignored.is_empty() {
        log::info!("Ignoring flags that are for a Java machine: {}", ignored.join(" "));
    }
    let configuration = match Configuration::from_args(&args, &system) {
        Ok(configuration) => configuration,
        Err(error) => return refuse(&error),
    };
    if let Some(id) = configuration.server_id {
        logging::set_my_id(id);
    }
    for (level, note) in &configuration.notes {
        log::log!(*level, "{note}");
    }
    for (key, value) in environment() {
        log::info!("Server environment:{key}={value}");
    }
    raise_open_files_limit();
    let config = Arc::new(configuration.server);
    match configuration.quorum {
        Some(settings) => {
            let verifiers = match configured_verifiers(&settings) {
                Ok(verifiers) => verifiers,
                Err(error) => return refuse(&error),
            };
            log::info!("Starting quorum peer, myid={}", settings.server_id);
            serve(|listener| start(&config, settings, verifiers, listener))
        }
        None => {
            log::warn!(
                "Either no config or no quorum defined in config, running in standalone mode"
            );
            zookeeper_server_main::run(&config)
        }
    }
}

/// Says why a configuration is refused, to the log and to standard error.
fn refuse(error: &ConfigError) -> ExitCode {
    log::error!("{}: {error}", error.headline());
    if let Some(line) = error.stderr_line() {
        eprintln!("{line}: {error}");
    }
    error.exit_code()
}

/// A member of an ensemble and the timers beside it.
struct Member {
    peer: Arc<QuorumPeer>,
    factory: ServerCnxnFactory,
    roles: Arc<QuorumRoles>,
    thread: OwnedThread,
    _cleanup: DatadirCleanupManager,
    _pause_monitor: Option<PauseMonitor>,
}

impl Running for Member {
    fn shutdown(self) {
        log::info!("Shutting down");
        self.peer.shutdown().request();
        self.roles.stop_election();
        // The role ends its server, which needs the selectors.
        self.thread.join();
        self.factory.shutdown();
        self.peer.metrics().gauges.clear();
    }
}

fn start(
    config: &Arc<ServerConfig>,
    settings: QuorumSettings,
    (verifier, last_seen_verifier): (QuorumVerifier, Option<QuorumVerifier>),
    listener: &Arc<dyn ServerListener>,
) -> Result<Member, StartFailure> {
    let metrics = Arc::new(ServerMetrics::default());
    // Purging begins with the start, as in Java, but in the background.
    let snap_log = open_data_dir(config, is_lost_tail_fatal(&settings))?;
    let mut cleanup = cleanup_manager(config, &snap_log);
    let pause_monitor = PauseMonitor::start(config, &metrics).map_err(unexpected)?;
    let providers =
        Arc::new(ProviderRegistry::new(&(&**config).into(), &metrics).map_err(unexpected)?);
    let auth_helper = AuthenticationHelper::new(&EnforceAuthSettings::from(&**config), &providers)
        .map_err(auth_failure)?;
    let mut factory = ServerCnxnFactory::new(config, &metrics).map_err(unexpected)?;
    if let Some(socket) = bind_client_port(config).map_err(unexpected)? {
        factory.listen(socket).map_err(unexpected)?;
    }
    let database =
        QuorumDatabase::load(snap_log, config, &metrics, &verifier).map_err(persistence_failure)?;
    let last_logged_zxid = database.last_logged_zxid();
    let epochs =
        EpochFiles::load(database.snap_log.snap_dir(), last_logged_zxid).map_err(unexpected)?;
    let peer = QuorumPeer::new(QuorumPeerParts {
        config: Arc::clone(config),
        settings,
        verifier,
        last_seen_verifier,
        epochs,
        last_logged_zxid,
        metrics,
        listener: Arc::clone(listener),
        server_slot: Arc::clone(factory.slot()),
        providers,
        auth_helper,
    });
    let roles = Arc::new(QuorumRoles::start(&peer).map_err(unexpected)?);
    let thread = quorum_peer_thread::start(&peer, database, Arc::clone(&roles) as Arc<dyn Roles>)
        .map_err(unexpected)?;
    cleanup.start().map_err(unexpected)?;
    Ok(Member { peer, factory, roles, thread, _cleanup: cleanup, _pause_monitor: pause_monitor })
}

fn auth_failure(error: AuthConfigError) -> StartFailure {
    match error {
        AuthConfigError::SchemeNotAvailable(_) => {
            (ExitCode::InvalidInvocation, format!("Invalid arguments, exiting abnormally: {error}"))
        }
        error => unexpected(error),
    }
}
