//! `QuorumPeerMain` and `ZooKeeperServerMain`: `zabkeeper server CONF` or
//! `zabkeeper server PORT DATADIR [TICKTIME [MAXCNXNS]]`, with `-Dname=value` anywhere.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Sender, unbounded};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::auth::AuthConfigError;
use crate::common::config::{
    Configuration, ServerConfig, SnapshotCompression, SystemProperties, split_words,
};
use crate::common::exit_code::ExitCode;
use crate::common::logging;
use crate::common::thread::{self, ServerListener};
use crate::metrics::ServerMetrics;
use crate::persistence::disk::{Disk, RealDisk};
use crate::persistence::{
    FileTxnSnapLog, PersistenceError, SnapLogOptions, StreamMode, TxnLogOptions, purge,
};
use crate::server::command::environment;
use crate::server::datadir_cleanup_manager::DatadirCleanupManager;
use crate::server::pause_monitor::PauseMonitor;
use crate::server::standalone::{StandaloneServer, StartError};

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
        Err(error) => {
            log::error!("{}: {error}", error.headline());
            if let Some(line) = error.stderr_line() {
                eprintln!("{line}: {error}");
            }
            return error.exit_code();
        }
    };
    if let Some(id) = configuration.server_id {
        logging::set_my_id(id);
    }
    for (level, note) in &configuration.notes {
        log::log!(*level, "{note}");
    }
    if configuration.quorum.is_some() {
        log::error!("An ensemble is not yet in effect in this version");
        return ExitCode::InvalidInvocation;
    }
    for (key, value) in environment() {
        log::info!("Server environment:{key}={value}");
    }
    raise_open_files_limit();
    serve(Arc::new(configuration.server))
}

/// Allows as many open files as the system lets us: a client is one, and the default of 1,024 is
/// for programs that use `select`. The Java machine does the same (`MaxFDLimit`).
fn raise_open_files_limit() {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, raised)
    {
        log::warn!("The limit of open files stays at {:?}: {error}", limit.current);
    }
}

/// Why the server stops.
enum Stop {
    Signal(i32),
    Failure(ExitCode),
}

/// Wakes the main thread when a critical thread dies.
struct MainListener(Sender<Stop>);

impl ServerListener for MainListener {
    fn notify_stopping(&self, thread: &str, code: ExitCode, why: &str) {
        log::error!("Thread {thread} exits, error: {why}");
        let _ = self.0.send(Stop::Failure(code)); // Main has gone: it is stopping already.
    }
}

fn serve(config: Arc<ServerConfig>) -> ExitCode {
    log::info!("Starting server");
    let (stop, stopped) = unbounded();
    // First of all, so that a signal during a long start is not lost.
    let Ok(mut signals) = Signals::new([SIGTERM, SIGINT]) else {
        log::error!("Unexpected exception, exiting abnormally: cannot handle signals");
        return ExitCode::UnexpectedError;
    };
    let signals_handle = signals.handle();
    let on_signal = stop.clone();
    let serving = Arc::new(AtomicBool::new(false));
    let is_orderly = Arc::clone(&serving);
    let signal_thread = thread::spawn("SignalHandler", thread::STACK_BYTES, move || {
        for signal in signals.forever() {
            // While data are loaded nobody listens and nothing can be lost. A second signal is for
            // somebody who does not want to wait for an orderly end.
            if !is_orderly.swap(false, Ordering::SeqCst) {
                log::info!("Ending at once on signal {signal}");
                std::process::exit(ExitCode::ExecutionFinished.value().into());
            }
            let _ = on_signal.send(Stop::Signal(signal)); // Main has gone: it is stopping already.
        }
    });
    let listener: Arc<dyn ServerListener> = Arc::new(MainListener(stop));
    let metrics = Arc::new(ServerMetrics::default());
    let code = match start(&config, &metrics, &listener) {
        Err((code, error)) => {
            log::error!("{error}");
            eprintln!("{error}");
            code
        }
        Ok(running) => {
            serving.store(true, Ordering::SeqCst);
            let code = match stopped.recv() {
                Ok(Stop::Failure(code)) => code,
                Ok(Stop::Signal(signal)) => {
                    log::info!("Stopping on signal {signal}");
                    ExitCode::ExecutionFinished
                }
                Err(_) => ExitCode::UnexpectedError,
            };
            running.shutdown();
            // What died while stopping counts too.
            let failure = stopped.try_iter().find_map(|stop| match stop {
                Stop::Failure(code) => Some(code),
                Stop::Signal(_) => None,
            });
            failure.filter(|_| code == ExitCode::ExecutionFinished).unwrap_or(code)
        }
    };
    signals_handle.close();
    drop(signal_thread);
    if code == ExitCode::ExecutionFinished {
        log::info!("Exiting normally");
    }
    code
}

/// A server and the timers beside it.
struct Running {
    server: StandaloneServer,
    _cleanup: DatadirCleanupManager,
    _pause_monitor: Option<PauseMonitor>,
}

impl Running {
    fn shutdown(self) {
        self.server.shutdown();
    }
}

fn start(
    config: &Arc<ServerConfig>,
    metrics: &Arc<ServerMetrics>,
    listener: &Arc<dyn ServerListener>,
) -> Result<Running, (ExitCode, String)> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let snap_log = FileTxnSnapLog::new(
        Arc::clone(&disk),
        &config.data_log_dir,
        &config.data_dir,
        snap_log_options(config),
    )
    .map_err(|error| {
        let text = format!("Unable to access datadir, exiting abnormally: {error}");
        (ExitCode::UnableToAccessDatadir, text)
    })?;
    let unexpected = |error: String| {
        (ExitCode::UnexpectedError, format!("Unexpected exception, exiting abnormally: {error}"))
    };
    let mut cleanup = cleanup_manager(config, &disk, &snap_log);
    let pause_monitor =
        PauseMonitor::start(config, metrics).map_err(|error| unexpected(error.to_string()))?;
    let server =
        StandaloneServer::start(Arc::clone(config), snap_log, Arc::clone(metrics), listener)
            .map_err(|error| match error {
                StartError::Persistence(PersistenceError::Datadir(_)) => {
                    (ExitCode::UnableToAccessDatadir, error.to_string())
                }
                StartError::Auth(error @ AuthConfigError::SchemeNotAvailable(_)) => {
                    let text = format!("Invalid arguments, exiting abnormally: {error}");
                    (ExitCode::InvalidInvocation, text)
                }
                error => unexpected(error.to_string()),
            })?;
    // Not before: it reads whole snapshots, and the start needs the disk.
    cleanup.start().map_err(|error| unexpected(error.to_string()))?;
    Ok(Running { server, _cleanup: cleanup, _pause_monitor: pause_monitor })
}

fn cleanup_manager(
    config: &ServerConfig,
    disk: &Arc<dyn Disk>,
    snap_log: &FileTxnSnapLog,
) -> DatadirCleanupManager {
    let (disk, count) = (Arc::clone(disk), config.autopurge_snap_retain_count);
    let (logs, snapshots) = (snap_log.data_log_dir().to_owned(), snap_log.snap_dir().to_owned());
    let purge = move || {
        purge(&disk, &logs, &snapshots, usize::try_from(count).unwrap_or(0))
            .map(drop)
            .map_err(Into::into)
    };
    DatadirCleanupManager::new(Arc::new(purge), count, config.autopurge_purge_interval_hours)
}

fn snap_log_options(config: &ServerConfig) -> SnapLogOptions {
    let millis = u64::try_from(config.fsync_warning_threshold_ms).unwrap_or(0);
    SnapLogOptions {
        is_lost_tail_fatal: true,
        datadir_autocreate: config.datadir_autocreate,
        db_autocreate: config.db_autocreate,
        trust_empty_snapshot: config.snapshot_trust_empty,
        compression: match config.snapshot_compression_method {
            SnapshotCompression::Checked => StreamMode::Checked,
            SnapshotCompression::Gz => StreamMode::Gzip,
            SnapshotCompression::Snappy => StreamMode::Snappy,
        },
        log: TxnLogOptions {
            pre_alloc_bytes: config.pre_alloc_size_kb.saturating_mul(1024),
            force_sync: config.force_sync,
            fsync_warning_threshold: Duration::from_millis(millis),
            size_limit_bytes: u64::try_from(config.txn_log_size_limit_kb)
                .ok()
                .filter(|limit| *limit > 0)
                .map(|limit| limit.saturating_mul(1024)),
        },
    }
}
