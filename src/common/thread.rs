//! Threads with a name, an owner and a registry (Java: `ZooKeeperThread`,
//! `ZooKeeperCriticalThread`, `ZooKeeperServerListener`).
//!
//! A thread is never detached: its owner holds an [`OwnedThread`], which joins on drop. The body
//! must therefore end by itself once the owner has told it to (a dropped `Sender`, a shut socket).

use std::any::Any;
use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{Builder, JoinHandle};

use log::{error, warn};
use parking_lot::Mutex;

use crate::common::allocator;
use crate::common::exit_code::ExitCode;
use crate::common::time;

/// Address space of a stack when nothing asks for more: what is not used costs no memory.
pub const STACK_BYTES: usize = 256 * 1024;

/// Stack of threads that compress or expand snapshots: the compressor's state, some 300 KiB, is on
/// the stack before it is in its box. Untouched pages cost nothing.
pub const COMPRESSING_STACK_BYTES: usize = 2 * 1024 * 1024;

/// Is told that a critical thread has died; the server then stops. Java: `ZooKeeperServerListener`.
pub trait ServerListener: Send + Sync {
    /// Called on the dying thread; must neither block nor join.
    fn notify_stopping(&self, thread: &str, code: ExitCode, why: &str);
}

/// Why a critical thread gives up. Any error converts into it, with Java's code 1.
#[derive(Debug)]
pub struct CriticalError {
    /// The code the process should end with.
    pub code: ExitCode,
    /// What happened, for the log.
    pub why: String,
}

impl CriticalError {
    /// An error with a code of its own.
    pub fn new(code: ExitCode, why: impl Into<String>) -> Self {
        Self { code, why: why.into() }
    }
}

// Not an `Error` itself, so that this conversion does not overlap with the reflexive one.
impl<E: std::error::Error> From<E> for CriticalError {
    fn from(error: E) -> Self {
        let mut why = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            why = format!("{why}: {cause}");
            source = cause.source();
        }
        Self::new(ExitCode::UnexpectedError, why)
    }
}

/// A running thread and the duty to join it.
#[derive(Debug)]
pub struct OwnedThread {
    name: Arc<str>,
    handle: Option<JoinHandle<()>>,
}

impl OwnedThread {
    /// The whole name; the kernel shows its first 15 bytes.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether the body has ended. Then joining does not block.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.handle.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Waits for the end, as dropping does.
    pub fn join(self) {}
}

impl Drop for OwnedThread {
    fn drop(&mut self) {
        let Some(handle) = self.handle.take() else { return };
        if handle.thread().id() == std::thread::current().id() {
            // The last owner was the thread itself: waiting would be for ever, and it is ending.
            return;
        }
        // A panic was caught and logged in the thread.
        let _ = handle.join();
    }
}

/// Starts a thread whose failure does not stop the server: a panic is logged, with Java's words.
///
/// Errors: the kernel refused the thread (limits of processes, memory or mappings).
pub fn spawn(
    name: impl Into<String>,
    stack_bytes: usize,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<OwnedThread> {
    start(name.into(), stack_bytes, move |name| {
        if let Err(panic) = catch_unwind(AssertUnwindSafe(body)) {
            warn!("Exception occurred from thread {name}: {}", panic_text(panic.as_ref()));
        }
    })
}

/// As [`spawn`], for a thread of which there are thousands: it keeps no memory.
///
/// Errors: as [`spawn`].
pub fn spawn_lean(
    name: impl Into<String>,
    stack_bytes: usize,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<OwnedThread> {
    spawn(name, stack_bytes, || {
        allocator::keep_no_memory_in_this_thread();
        body();
    })
}

/// Starts a thread without which the server cannot work: an error or a panic is logged and reported
/// to `listener`, which stops the server.
///
/// Errors: as [`spawn`].
pub fn spawn_critical(
    name: impl Into<String>,
    stack_bytes: usize,
    listener: &Arc<dyn ServerListener>,
    body: impl FnOnce() -> Result<(), CriticalError> + Send + 'static,
) -> io::Result<OwnedThread> {
    let listener = Arc::clone(listener);
    start(name.into(), stack_bytes, move |name| {
        let failure = match catch_unwind(AssertUnwindSafe(body)) {
            Ok(Ok(())) => return,
            Ok(Err(failure)) => failure,
            Err(panic) => CriticalError::new(ExitCode::UnexpectedError, panic_text(panic.as_ref())),
        };
        error!("Severe unrecoverable error, from thread : {name}: {}", failure.why);
        listener.notify_stopping(name, failure.code, &failure.why);
    })
}

/// One running thread, for the admin command `threads`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThreadInfo {
    /// The whole name.
    pub name: Arc<str>,
    /// The kernel's thread id, the last part of `/proc/self/task/…`.
    pub tid: i32,
    /// Start, by the monotonic clock.
    pub started_ms: i64,
}

/// All running threads started here, oldest first.
#[must_use]
pub fn running() -> Vec<ThreadInfo> {
    REGISTRY.lock().values().cloned().collect()
}

static REGISTRY: Mutex<BTreeMap<u64, ThreadInfo>> = Mutex::new(BTreeMap::new());
static NEXT_KEY: AtomicU64 = AtomicU64::new(0);

/// Removes the entry at the end of the thread, also after a panic.
struct Registered(u64);

impl Registered {
    fn new(name: &Arc<str>) -> Self {
        // Relaxed: only uniqueness and rough order of age count.
        let key = NEXT_KEY.fetch_add(1, Ordering::Relaxed);
        let tid = rustix::thread::gettid().as_raw_nonzero().get();
        let info = ThreadInfo { name: Arc::clone(name), tid, started_ms: time::elapsed_ms() };
        REGISTRY.lock().insert(key, info);
        Self(key)
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        REGISTRY.lock().remove(&self.0);
    }
}

fn start(
    name: String,
    stack_bytes: usize,
    body: impl FnOnce(&str) + Send + 'static,
) -> io::Result<OwnedThread> {
    // The standard library panics on a NUL in a name.
    let name: Arc<str> = name.replace('\0', "?").into();
    let inside = Arc::clone(&name);
    let handle =
        Builder::new().name(name.to_string()).stack_size(stack_bytes).spawn(move || {
            let _registered = Registered::new(&inside);
            body(&inside);
        })?;
    Ok(OwnedThread { name, handle: Some(handle) })
}

/// The message of a panic.
fn panic_text(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "panic without a message".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[derive(Default)]
    struct Reports(Mutex<Vec<(String, ExitCode, String)>>);

    impl ServerListener for Reports {
        fn notify_stopping(&self, thread: &str, code: ExitCode, why: &str) {
            self.0.lock().push((thread.to_owned(), code, why.to_owned()));
        }
    }

    fn check_critical(
        body: impl FnOnce() -> Result<(), CriticalError> + Send + 'static,
        expected: Option<(ExitCode, &str)>,
    ) {
        let reports = Arc::new(Reports::default());
        let listener: Arc<dyn ServerListener> = reports.clone();
        spawn_critical("SyncThread:0", STACK_BYTES, &listener, body).unwrap().join();
        let expected =
            expected.map(|(code, why)| ("SyncThread:0".to_owned(), code, why.to_owned()));
        assert_eq!(reports.0.lock().first(), expected.as_ref());
    }

    #[test]
    fn death_of_a_critical_thread_is_reported() {
        check_critical(|| Ok(()), None);
        check_critical(
            || panic!("out of {}", "luck"),
            Some((ExitCode::UnexpectedError, "out of luck")),
        );
        check_critical(|| panic!("plain"), Some((ExitCode::UnexpectedError, "plain")));
        check_critical(
            || Err(io::Error::other("disk").into()),
            Some((ExitCode::UnexpectedError, "disk")),
        );
        check_critical(
            || Err(CriticalError::new(ExitCode::TxnlogErrorTakingSnapshot, "full")),
            Some((ExitCode::TxnlogErrorTakingSnapshot, "full")),
        );
    }

    #[test]
    fn thread_is_registered_while_it_runs() {
        let name = "Cnxn-registered-while-it-runs";
        let (stop, stopped) = mpsc::channel::<()>();
        let (started, wait) = mpsc::channel();
        let thread = spawn(name, STACK_BYTES, move || {
            started.send(()).unwrap();
            let _ = stopped.recv();
        })
        .unwrap();
        wait.recv().unwrap();
        let count = || running().iter().filter(|info| &*info.name == name && info.tid > 0).count();
        assert_eq!((thread.name(), thread.is_finished(), count()), (name, false, 1));
        drop(stop);
        drop(thread);
        assert_eq!(count(), 0);
    }

    #[test]
    fn drop_waits_for_the_end_and_survives_a_panic() {
        let (sent, received) = mpsc::channel();
        drop(
            spawn("a\0b", STACK_BYTES, move || {
                sent.send(std::thread::current().name().map(str::to_owned)).unwrap();
                panic!("ignored");
            })
            .unwrap(),
        );
        assert_eq!(received.try_recv().unwrap().as_deref(), Some("a?b"));
    }
}
