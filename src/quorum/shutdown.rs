//! How a role learns that it shall end (Java: the `running` flags of `QuorumPeer` and its parts,
//! interrupts, and sockets closed from other threads).
//!
//! A thread that waits on channels selects on [`Shutdown::receiver`] as well, which is disconnected
//! by the request. A thread that blocks in a socket registers a hook that shuts the socket.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::common::sync::{Mutex, Rank};

/// A request that is made once and seen by many.
pub struct Shutdown {
    /// A copy of the state's, so that it can be asked for under any lock.
    is_requested: AtomicBool,
    state: Arc<Mutex<State>>,
    receiver: Receiver<Infallible>,
}

struct State {
    /// Dropped by the request.
    sender: Option<Sender<Infallible>>,
    hooks: BTreeMap<u64, Arc<dyn Fn() + Send + Sync>>,
    next_hook: u64,
}

impl Default for Shutdown {
    fn default() -> Self {
        let (sender, receiver) = bounded(0);
        let state = State { sender: Some(sender), hooks: BTreeMap::new(), next_hook: 0 };
        let is_requested = AtomicBool::new(false);
        Shutdown { is_requested, state: Arc::new(Mutex::new(Rank::Leaf, state)), receiver }
    }
}

impl Shutdown {
    /// Whether the end was requested.
    pub fn is_requested(&self) -> bool {
        self.is_requested.load(Ordering::Acquire)
    }

    /// Disconnected once the end is requested; nothing is ever sent.
    pub fn receiver(&self) -> &Receiver<Infallible> {
        &self.receiver
    }

    /// Waits for the request at most this long; true when it was made.
    pub fn wait_for(&self, timeout: std::time::Duration) -> bool {
        // Disconnected is the only other answer.
        self.receiver.recv_timeout(timeout)
            == Err(crossbeam_channel::RecvTimeoutError::Disconnected)
    }

    /// Requests the end and calls the hooks; later calls do nothing.
    pub fn request(&self) {
        let hooks = {
            let mut state = self.state.lock();
            self.is_requested.store(true, Ordering::Release);
            state.sender = None;
            std::mem::take(&mut state.hooks)
        };
        hooks.values().for_each(|hook| hook());
    }

    /// Calls `hook` at the request, or at once if it was made, on the requesting thread; it must
    /// not block. Once what is returned is dropped it is not called any more, unless the request was
    /// made before.
    #[must_use]
    pub fn on_request(&self, hook: impl Fn() + Send + Sync + 'static) -> ShutdownHook {
        let mut state = self.state.lock();
        let id = state.next_hook;
        state.next_hook += 1;
        if state.sender.is_some() {
            state.hooks.insert(id, Arc::new(hook));
        } else {
            drop(state);
            hook();
        }
        ShutdownHook { state: Arc::clone(&self.state), id }
    }
}

/// Keeps a hook registered.
pub struct ShutdownHook {
    state: Arc<Mutex<State>>,
    id: u64,
}

impl Drop for ShutdownHook {
    fn drop(&mut self) {
        let hook = self.state.lock().hooks.remove(&self.id);
        drop(hook);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::time::Duration;

    use super::*;

    #[test]
    fn hooks_are_called_once_and_only_while_registered() {
        let shutdown = Shutdown::default();
        let calls = Arc::new(AtomicU32::new(0));
        let count = |weight: u32| {
            let calls = Arc::clone(&calls);
            move || {
                calls.fetch_add(weight, Ordering::SeqCst);
            }
        };
        let _first = shutdown.on_request(count(1));
        drop(shutdown.on_request(count(10)));
        assert!(!shutdown.is_requested() && !shutdown.wait_for(Duration::ZERO));
        shutdown.request();
        shutdown.request();
        let _late = shutdown.on_request(count(100));
        assert_eq!(calls.load(Ordering::SeqCst), 101);
        assert!(shutdown.is_requested() && shutdown.wait_for(Duration::from_secs(60)));
    }
}
