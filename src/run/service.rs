//! What the programs of a standalone server and of a member of an ensemble share: signals, exit
//! codes, timers, the settings of the data directory.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Sender, unbounded};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::common::config::{ServerConfig, SnapshotCompression};
use crate::common::exit_code::ExitCode;
use crate::common::thread::{self, ServerListener};
use crate::persistence::disk::{Disk, RealDisk};
use crate::persistence::{
    FileTxnSnapLog, PersistenceError, SnapLogOptions, StreamMode, TxnLogOptions, purge,
};
use crate::server::datadir_cleanup_manager::DatadirCleanupManager;

/// A server that was started.
pub(super) trait Running {
    /// Ends it in order and joins its threads.
    fn shutdown(self);
}

/// The code that the process ends with when a server does not start, and what is printed.
pub(super) type StartFailure = (ExitCode, String);

/// Allows as many open files as the system lets us: a client is one, and the default of 1,024 is
/// for programs that use `select`. The Java machine does the same (`MaxFDLimit`).
pub(super) fn raise_open_files_limit() {
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

/// Starts a server, waits for a signal or a failure, ends it.
pub(super) fn serve<R: Running>(
    start: impl FnOnce(&Arc<dyn ServerListener>) -> Result<R, StartFailure>,
) -> ExitCode {
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
    let code = match start(&listener) {
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

/// Opens the data directory, which is made if it may be.
pub(super) fn open_data_dir(
    config: &ServerConfig,
    is_lost_tail_fatal: bool,
) -> Result<FileTxnSnapLog, StartFailure> {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let options = snap_log_options(config, is_lost_tail_fatal);
    FileTxnSnapLog::new(disk, &config.data_log_dir, &config.data_dir, options).map_err(|error| {
        let text = format!("Unable to access datadir, exiting abnormally: {error}");
        (ExitCode::UnableToAccessDatadir, text)
    })
}

/// Java's line for what nobody expected.
pub(super) fn unexpected(error: impl std::fmt::Display) -> StartFailure {
    (ExitCode::UnexpectedError, format!("Unexpected exception, exiting abnormally: {error}"))
}

/// The line and the code for a data directory that cannot be used.
pub(super) fn persistence_failure(error: PersistenceError) -> StartFailure {
    match error {
        PersistenceError::Datadir(_) => (ExitCode::UnableToAccessDatadir, error.to_string()),
        error => unexpected(error),
    }
}

/// The timer that purges old files. Not started yet.
pub(super) fn cleanup_manager(
    config: &ServerConfig,
    snap_log: &FileTxnSnapLog,
) -> DatadirCleanupManager {
    let (disk, count) = (Arc::clone(snap_log.disk()), config.autopurge_snap_retain_count);
    let (logs, snapshots) = (snap_log.data_log_dir().to_owned(), snap_log.snap_dir().to_owned());
    let purge = move || {
        purge(&disk, &logs, &snapshots, usize::try_from(count).unwrap_or(0))
            .map(drop)
            .map_err(Into::into)
    };
    DatadirCleanupManager::new(Arc::new(purge), count, config.autopurge_purge_interval_hours)
}

fn snap_log_options(config: &ServerConfig, is_lost_tail_fatal: bool) -> SnapLogOptions {
    let millis = u64::try_from(config.fsync_warning_threshold_ms).unwrap_or(0);
    SnapLogOptions {
        is_lost_tail_fatal,
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
