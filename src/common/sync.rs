//! Locks with a rank: they may only be taken in rising order, so they cannot deadlock.
//!
//! Thin wrappers over `parking_lot`. Debug builds (and so all tests) check the order with a list of
//! the ranks the thread holds and panic on a violation; release builds carry no trace of ranks.
//! A second lock of the same rank is refused too, also a second read of the same `RwLock`: a writer
//! waiting in between would block it for ever.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

/// The places of all long-lived locks in the order of taking; a thread that holds one may take
/// those below it in this list. `ARCHITECTURE.md` says what each guards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Rank {
    /// Membership of the ensemble.
    QuorumConfig = 10,
    /// The last committed transactions.
    CommittedLog = 20,
    /// Proposals of the leader.
    LeaderState = 30,
    /// Pending changes of the prep stage.
    OutstandingChanges = 40,
    /// The tree.
    Tree = 50,
    /// Watches on data and existence.
    DataWatches = 60,
    /// Watches on children.
    ChildWatches = 61,
    /// The sessions by id.
    Sessions = 65,
    /// What the expiry of sessions is based on.
    SessionExpiry = 66,
    /// The connections of a server.
    Connections = 68,
    /// The record layer of one connection.
    TlsSession = 70,
    /// Unsent bytes of one connection.
    Outbox = 80,
    /// Inboxes of threads.
    Inbox = 90,
    /// Registry of metrics.
    Metrics = 91,
    /// Anything held for a moment with no other lock taken inside.
    Leaf = 99,
}

#[cfg(debug_assertions)]
mod order {
    use std::cell::RefCell;

    use super::Rank;

    thread_local! {
        static HELD: RefCell<Vec<Rank>> = const { RefCell::new(Vec::new()) };
    }

    /// An entry in this thread's list of held ranks. Guards of `parking_lot` are not `Send`, so it
    /// is dropped on the thread that made it.
    pub(super) struct Held(Rank);

    impl Held {
        pub(super) fn new(rank: Rank) -> Self {
            HELD.with_borrow_mut(|held| {
                let highest = held.iter().max().copied();
                assert!(
                    highest.is_none_or(|highest| highest < rank),
                    "lock order violated: {rank:?} wanted while holding {held:?}"
                );
                held.push(rank);
            });
            Self(rank)
        }
    }

    impl Drop for Held {
        fn drop(&mut self) {
            // Guards may be dropped in any order. `try_with`: a guard may outlive thread locals.
            let _ = HELD.try_with(|held| {
                let mut held = held.borrow_mut();
                if let Some(at) = held.iter().rposition(|rank| *rank == self.0) {
                    held.remove(at);
                }
            });
        }
    }
}

#[cfg(not(debug_assertions))]
mod order {
    use super::Rank;

    pub(super) struct Held;

    impl Held {
        #[inline(always)]
        pub(super) fn new(_: Rank) -> Self {
            Self
        }
    }
}

use order::Held;

/// The rank as a lock stores it: nothing in release builds.
#[derive(Clone, Copy)]
struct StoredRank {
    #[cfg(debug_assertions)]
    rank: Rank,
}

impl StoredRank {
    #[cfg_attr(not(debug_assertions), expect(unused_variables, reason = "not stored"))]
    const fn new(rank: Rank) -> Self {
        Self {
            #[cfg(debug_assertions)]
            rank,
        }
    }

    #[inline(always)]
    fn hold(self) -> Held {
        #[cfg(debug_assertions)]
        return Held::new(self.rank);
        #[cfg(not(debug_assertions))]
        Held::new(Rank::Leaf)
    }
}

/// A mutual exclusion lock with a rank.
pub struct Mutex<T: ?Sized> {
    rank: StoredRank,
    inner: parking_lot::Mutex<T>,
}

/// Access to what a [`Mutex`] guards.
pub struct MutexGuard<'a, T: ?Sized> {
    // Declared first, so dropped first: the rank is given back a moment too early, never too late.
    _held: Held,
    inner: parking_lot::MutexGuard<'a, T>,
}

impl<T> Mutex<T> {
    /// A lock of this rank around `value`.
    pub const fn new(rank: Rank, value: T) -> Self {
        Self { rank: StoredRank::new(rank), inner: parking_lot::Mutex::new(value) }
    }

    /// The value, without the lock.
    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Takes the lock, waiting for it. Debug builds panic if the order of ranks is violated.
    #[inline]
    pub fn lock(&self) -> MutexGuard<'_, T> {
        let held = self.rank.hold();
        MutexGuard { _held: held, inner: self.inner.lock() }
    }

    /// Takes the lock if it is free. The order is checked as well, so that no order comes to depend
    /// on luck.
    #[inline]
    pub fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        let held = self.rank.hold();
        Some(MutexGuard { _held: held, inner: self.inner.try_lock()? })
    }

    /// Access without locking, by the only owner.
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut()
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

/// A condition to wait for with a [`Mutex`]. The thread keeps the rank while it waits.
#[derive(Debug, Default)]
pub struct Condvar(parking_lot::Condvar);

impl Condvar {
    /// A condition nobody waits for.
    #[must_use]
    pub const fn new() -> Self {
        Self(parking_lot::Condvar::new())
    }

    /// Gives the lock up and waits to be notified.
    pub fn wait<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>) {
        self.0.wait(&mut guard.inner);
    }

    /// As [`wait`](Self::wait), but not longer than `timeout`; true if the time ran out.
    pub fn wait_for<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>, timeout: Duration) -> bool {
        self.0.wait_for(&mut guard.inner, timeout).timed_out()
    }

    /// As [`wait`](Self::wait), but not beyond `deadline`; true if the time ran out.
    pub fn wait_until<T: ?Sized>(&self, guard: &mut MutexGuard<'_, T>, deadline: Instant) -> bool {
        self.0.wait_until(&mut guard.inner, deadline).timed_out()
    }

    /// Wakes one waiting thread.
    pub fn notify_one(&self) {
        self.0.notify_one();
    }

    /// Wakes all waiting threads.
    pub fn notify_all(&self) {
        self.0.notify_all();
    }
}

/// A lock for many readers or one writer, with a rank.
pub struct RwLock<T: ?Sized> {
    rank: StoredRank,
    inner: parking_lot::RwLock<T>,
}

/// Shared access to what a [`RwLock`] guards.
pub struct RwLockReadGuard<'a, T: ?Sized> {
    _held: Held,
    inner: parking_lot::RwLockReadGuard<'a, T>,
}

/// Exclusive access to what a [`RwLock`] guards.
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    _held: Held,
    inner: parking_lot::RwLockWriteGuard<'a, T>,
}

impl<T> RwLock<T> {
    /// A lock of this rank around `value`.
    pub const fn new(rank: Rank, value: T) -> Self {
        Self { rank: StoredRank::new(rank), inner: parking_lot::RwLock::new(value) }
    }

    /// The value, without the lock.
    pub fn into_inner(self) -> T {
        self.inner.into_inner()
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Takes the lock to read, waiting for a writer.
    #[inline]
    pub fn read(&self) -> RwLockReadGuard<'_, T> {
        let held = self.rank.hold();
        RwLockReadGuard { _held: held, inner: self.inner.read() }
    }

    /// Takes the lock to write, waiting for all others.
    #[inline]
    pub fn write(&self) -> RwLockWriteGuard<'_, T> {
        let held = self.rank.hold();
        RwLockWriteGuard { _held: held, inner: self.inner.write() }
    }

    /// Access without locking, by the only owner.
    pub fn get_mut(&mut self) -> &mut T {
        self.inner.get_mut()
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.inner
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        &mut self.inner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rising_ranks_are_allowed_and_given_back() {
        let tree = RwLock::new(Rank::Tree, 1);
        let outbox = Mutex::new(Rank::Outbox, 2);
        for _ in 0..2 {
            let (read, mut locked) = (tree.read(), outbox.lock());
            *locked += *read;
            // Not in reverse order.
            drop(read);
            drop(locked);
        }
        *tree.write() += 1;
        assert_eq!((tree.into_inner(), outbox.into_inner()), (2, 4));
    }

    #[test]
    #[cfg_attr(debug_assertions, should_panic(expected = "lock order violated"))]
    fn falling_rank_is_refused() {
        let (tree, outbox) = (RwLock::new(Rank::Tree, ()), Mutex::new(Rank::Outbox, ()));
        let _locked = outbox.lock();
        let _read = tree.read();
    }

    #[test]
    #[cfg_attr(debug_assertions, should_panic(expected = "lock order violated"))]
    fn second_read_of_the_same_lock_is_refused() {
        let tree = RwLock::new(Rank::Tree, ());
        let _one = tree.read();
        let _two = tree.read();
    }

    #[test]
    fn condition_times_out_and_keeps_the_lock() {
        let (lock, condition) = (Mutex::new(Rank::Leaf, 0), Condvar::new());
        let mut guard = lock.lock();
        assert!(condition.wait_for(&mut guard, Duration::from_millis(1)));
        assert!(lock.inner.try_lock().is_none());
        *guard += 1;
    }

    #[test]
    #[cfg(not(debug_assertions))]
    fn ranks_cost_nothing_in_release() {
        assert_eq!(size_of::<Mutex<u64>>(), size_of::<parking_lot::Mutex<u64>>());
    }
}
