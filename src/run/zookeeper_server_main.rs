//! `ZooKeeperServerMain`: a standalone server.

use std::sync::Arc;

use super::service::{
    Running, StartFailure, cleanup_manager, open_data_dir, persistence_failure, serve, unexpected,
};
use crate::auth::AuthConfigError;
use crate::common::config::ServerConfig;
use crate::common::exit_code::ExitCode;
use crate::common::thread::ServerListener;
use crate::metrics::ServerMetrics;
use crate::server::datadir_cleanup_manager::DatadirCleanupManager;
use crate::server::pause_monitor::PauseMonitor;
use crate::server::standalone::{StandaloneServer, StartError};

/// Runs a server until it is told to stop or cannot go on.
pub(super) fn run(config: &Arc<ServerConfig>) -> ExitCode {
    log::info!("Starting server");
    serve(|listener| start(config, listener))
}

/// A server and the timers beside it.
struct Standalone {
    server: StandaloneServer,
    _cleanup: DatadirCleanupManager,
    _pause_monitor: Option<PauseMonitor>,
}

impl Running for Standalone {
    fn shutdown(self) {
        self.server.shutdown();
    }
}

fn start(
    config: &Arc<ServerConfig>,
    listener: &Arc<dyn ServerListener>,
) -> Result<Standalone, StartFailure> {
    let metrics = Arc::new(ServerMetrics::default());
    let snap_log = open_data_dir(config, true)?;
    let mut cleanup = cleanup_manager(config, &snap_log);
    let pause_monitor = PauseMonitor::start(config, &metrics).map_err(unexpected)?;
    let server = StandaloneServer::start(Arc::clone(config), snap_log, metrics, listener).map_err(
        |error| match error {
            StartError::Persistence(error) => persistence_failure(error),
            StartError::Auth(error @ AuthConfigError::SchemeNotAvailable(_)) => {
                let text = format!("Invalid arguments, exiting abnormally: {error}");
                (ExitCode::InvalidInvocation, text)
            }
            error => unexpected(error),
        },
    )?;
    // Not before: it reads whole snapshots, and the start needs the disk.
    cleanup.start().map_err(unexpected)?;
    Ok(Standalone { server, _cleanup: cleanup, _pause_monitor: pause_monitor })
}
