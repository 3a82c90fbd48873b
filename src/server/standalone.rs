//! The standalone role: the chain Prep → Sync → Final, its threads, and how they start and stop
//! (`ZooKeeperServer.startup`, `shutdownComponents`).

use std::io;
use std::net::TcpListener;
use std::sync::Arc;

use super::cnxn::accept_thread::bind_client_port;
use super::cnxn::server_cnxn_factory::ServerCnxnFactory;
use super::container_manager::{ContainerManager, ContainerServer, ContainerSettings};
use super::final_request_processor::FinalRequestProcessor;
use super::gauges;
use super::prep::{PrepOptions, PrepState};
use super::prep_request_processor;
use super::request_path_metrics_collector::PathStatsThread;
use super::request_processor::RequestProcessor;
use super::restore::{self, Restored};
use super::server_role::Standalone;
use super::snapshot_taker::{SnapshotTaker, take_snapshot};
use super::stage::Stage;
use super::sync_request_processor;
use super::zk_database::ZkDatabase;
use super::zookeeper_server::{Parts, State, ZooKeeperServer};
use crate::auth::{AclPolicy, AuthenticationHelper, EnforceAuthSettings, ProviderRegistry};
use crate::common::config::ServerConfig;
use crate::common::thread::ServerListener;
use crate::metrics::ServerMetrics;
use crate::persistence::FileTxnSnapLog;
use crate::session::{
    SessionExpirer, SessionTracker, SessionTrackerImpl, SessionTrackerSettings,
    SessionTrackerThread,
};

/// The server's id in session ids; in names of threads and in `conf` Java calls it 0.
const SESSION_SERVER_ID: i64 = 1;

/// A standalone server with all its threads. They end in order when it is shut down.
pub struct StandaloneServer {
    server: Arc<ZooKeeperServer>,
    factory: ServerCnxnFactory,
    session_tracker: Option<SessionTrackerThread>,
    containers: Option<ContainerManager>,
    path_stats: Option<PathStatsThread>,
    first_processor: Stage,
    snapshots: SnapshotTaker,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data directory cannot be read.
    #[error("{0}")]
    Persistence(#[from] crate::persistence::PersistenceError),
    /// Settings of authentication.
    #[error("{0}")]
    Auth(#[from] crate::auth::AuthConfigError),
    /// A thread or a socket.
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl StandaloneServer {
    /// Loads the data and starts everything; when it returns clients are served.
    pub fn start(
        config: Arc<ServerConfig>,
        mut snap_log: FileTxnSnapLog,
        metrics: Arc<ServerMetrics>,
        listener: &Arc<dyn ServerListener>,
    ) -> Result<StandaloneServer, StartError> {
        let providers = Arc::new(ProviderRegistry::new(&(&*config).into(), &metrics)?);
        let auth_helper =
            AuthenticationHelper::new(&EnforceAuthSettings::from(&*config), &providers)?;
        let client_socket = bind_client_port(&config)?;
        let restored = restore::restore(&mut snap_log, &config, &metrics)?;
        let Restored { tree, sessions, is_newest_snapshot_complete, has_removed_ephemerals } =
            restored;

        let factory = ServerCnxnFactory::new(&config, &metrics)?;
        if let Some(socket) = &client_socket {
            // Before the server and its threads are made, which name it.
            factory.slot().set_client_port(socket.local_addr()?.port());
        }
        let tracker = Arc::new(SessionTrackerImpl::new(
            SessionTrackerSettings {
                tick_time_ms: config.tick_time_ms,
                server_id: SESSION_SERVER_ID,
            },
            sessions.iter().map(|(id, timeout_ms)| (*id, *timeout_ms)),
            metrics,
        ));
        let last_zxid = tree.last_processed_zxid();
        let server = ZooKeeperServer::new(Parts {
            slot: Arc::clone(factory.slot()),
            role: Arc::new(Standalone),
            snap_dir: snap_log.snap_dir().to_owned(),
            log_dir: snap_log.data_log_dir().to_owned(),
            db: Arc::new(ZkDatabase::new(tree, sessions)),
            tracker: Arc::clone(&tracker) as Arc<dyn SessionTracker>,
            acl_policy: AclPolicy::new(providers, config.skip_acl),
            auth_helper,
        });
        gauges::register(&server);

        let snapshots = SnapshotTaker::new(Arc::clone(snap_log.snap_log()), Arc::clone(listener));
        if has_removed_ephemerals {
            // No log tells of it: a transaction that is replayed over what was removed, such as the
            // creation of the same node, would be taken for one that was applied before.
            take_snapshot(server.db(), snap_log.snap_log(), &config, server.metrics())?;
        } else if !is_newest_snapshot_complete && last_zxid.0 >= 0 {
            // Java writes it before it serves. The logs hold the same until it is complete.
            snapshots.start(&server);
        }
        let last = Arc::new(FinalRequestProcessor::new(Arc::clone(&server)));
        let sync =
            sync_request_processor::start(&server, listener, snap_log, snapshots.clone(), last)?;
        let sync = Arc::new(sync);
        let state = PrepState::new(last_zxid, PrepOptions::from(&*config));
        let prep = prep_request_processor::start(&server, listener, state, sync)?;
        if let Some(sender) = prep.sender() {
            server.start_intake(sender);
        }
        let mut standalone = StandaloneServer {
            server,
            factory,
            session_tracker: None,
            containers: None,
            path_stats: None,
            first_processor: prep,
            snapshots,
        };
        match standalone.open(&config, &tracker, client_socket, listener) {
            Ok(()) => Ok(standalone),
            Err(error) => {
                // The chain's threads end when they are told to.
                standalone.shutdown();
                Err(error.into())
            }
        }
    }

    /// Starts what feeds the chain.
    fn open(
        &mut self,
        config: &ServerConfig,
        tracker: &Arc<SessionTrackerImpl>,
        client_socket: Option<TcpListener>,
        listener: &Arc<dyn ServerListener>,
    ) -> io::Result<()> {
        let server = &self.server;
        let expirer: Arc<dyn SessionExpirer> = Arc::clone(server) as _;
        self.session_tracker = Some(tracker.start(expirer, listener)?);
        self.containers = Some(ContainerManager::start(
            ContainerSettings::from(config),
            Arc::clone(server) as Arc<dyn ContainerServer>,
        )?);
        if let Some(path_stats) = server.path_stats() {
            self.path_stats = path_stats.start()?;
        }
        if let Some(socket) = client_socket {
            self.factory.slot().set_server(Arc::clone(server));
            self.factory.listen(socket)?;
        }
        Ok(())
    }

    /// The shared state.
    pub fn server(&self) -> &Arc<ZooKeeperServer> {
        &self.server
    }

    /// Stops accepting, closes the connections, lets the chain finish what it has, closes the log.
    pub fn shutdown(mut self) {
        log::info!("Shutting down");
        self.server.set_state(State::Shutdown);
        self.server.stop_admission();
        self.factory.stop_accepting();
        drop(self.session_tracker.take());
        drop(self.containers.take());
        drop(self.path_stats.take());
        self.server.stop_intake();
        self.first_processor.shutdown();
        self.factory.shutdown();
        self.snapshots.wait();
        self.server.metrics().gauges.clear();
    }
}
