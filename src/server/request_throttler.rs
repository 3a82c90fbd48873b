//! Which requests may enter the processor chain, and when (`RequestThrottler`, and of
//! `ZooKeeperServer` and `ServerCnxn` the limits of outstanding and of large requests).
//!
//! Java reads on, queues the requests and lets a thread of its own wait, or stops reading from a
//! connection. Here the connection's own thread waits before it submits a request; an unread socket
//! is the back pressure. A request that need not wait costs two atomic additions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_utils::CachePadded;
use log::{info, warn};
use thiserror::Error;

use crate::common::config::ServerConfig;
use crate::common::sync::{Condvar, Mutex, Rank};
use crate::common::time;
use crate::metrics::ServerMetrics;
use crate::proto::OpCode;

/// The limits, as configured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AdmissionSettings {
    /// `globalOutstandingLimit`: with more requests than this in the chain, a connection that has
    /// one there already must wait.
    pub global_outstanding_limit: i32,
    /// `request_throttle_max_requests`: requests in the chain; 0 means no limit.
    pub max_requests: i32,
    /// `request_throttle_stall_time`: how long to wait before looking for staleness again.
    pub stall_time_ms: i32,
    /// `request_throttle_drop_stale`: whether stale requests are dropped while `max_requests` is set.
    pub drop_stale: bool,
    /// `request_stale_connection_check`: whether requests of closed connections are stale.
    pub stale_connection_check: bool,
    /// `request_stale_latency_check`: whether requests older than their session's timeout are stale.
    pub stale_latency_check: bool,
    /// `throttled_op_wait_time`: requests that waited longer are answered `ThrottledOp`; 0 or less
    /// means never.
    pub throttled_op_wait_time_ms: i32,
    /// `largeRequestMaxBytes`: the sum of large requests under way. Must be positive.
    pub large_request_max_bytes: i32,
    /// `largeRequestThreshold`: longer requests are large; -1 means none is.
    pub large_request_threshold_bytes: i32,
}

impl From<&ServerConfig> for AdmissionSettings {
    fn from(config: &ServerConfig) -> Self {
        AdmissionSettings {
            global_outstanding_limit: config.global_outstanding_limit,
            max_requests: config.request_throttle_max_requests,
            stall_time_ms: config.request_throttle_stall_time_ms,
            drop_stale: config.request_throttle_drop_stale,
            stale_connection_check: config.request_stale_connection_check,
            stale_latency_check: config.request_stale_latency_check,
            throttled_op_wait_time_ms: config.throttled_op_wait_time_ms,
            large_request_max_bytes: config.large_request_max_bytes,
            large_request_threshold_bytes: config.large_request_threshold_bytes,
        }
    }
}

/// A request at the gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The operation; `None` for an unknown one.
    pub op: Option<OpCode>,
    /// The client's number of the request; 0 and less are not counted as outstanding.
    pub xid: i32,
    /// When the request was read (monotonic clock).
    pub created_ms: i64,
    /// The timeout of its session.
    pub session_timeout_ms: i32,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It enters the chain and is counted until [`Admission::finish`].
    Proceed,
    /// As `Proceed`, but it must not be executed: the answer is `ThrottledOp`, in its turn.
    Throttle,
    /// It is dropped without an answer, and with it the connection, to keep the order of requests.
    Drop,
    /// The server is stopping: as `Drop`.
    Stop,
}

/// The sum of large requests would be too large; the connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("Rejecting large request")]
pub struct LargeRequestRejected;

/// A connection, as the admission sees it. Shared with whoever answers its requests.
#[derive(Debug)]
pub struct CnxnGate {
    /// Requests with a positive xid in the chain. Raised by the connection's thread, lowered by
    /// whoever answers; sequentially consistent together with `is_waiting`.
    outstanding: AtomicU32,
    /// Set once; whoever waits is woken.
    is_closed: AtomicBool,
    /// The connection's thread waits, or is about to, for `outstanding` to fall to 0.
    is_waiting: AtomicBool,
    /// Whether the thread has to look again.
    is_woken: Mutex<bool>,
    wake_up: Condvar,
}

impl Default for CnxnGate {
    fn default() -> Self {
        CnxnGate {
            outstanding: AtomicU32::new(0),
            is_closed: AtomicBool::new(false),
            is_waiting: AtomicBool::new(false),
            is_woken: Mutex::new(Rank::Leaf, false),
            wake_up: Condvar::new(),
        }
    }
}

impl CnxnGate {
    /// Requests of this connection in the chain (`queued` of the word `cons`).
    #[must_use]
    pub fn outstanding(&self) -> u32 {
        self.outstanding.load(Ordering::Relaxed)
    }

    /// The connection is closed: its requests are stale, its thread does not wait any longer.
    pub fn close(&self) {
        self.is_closed.store(true, Ordering::SeqCst);
        self.wake();
    }

    /// Whether [`CnxnGate::close`] was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::SeqCst)
    }

    fn wake(&self) {
        *self.is_woken.lock() = true;
        self.wake_up.notify_one();
    }

    fn sleep(&self) {
        let mut is_woken = self.is_woken.lock();
        if !*is_woken {
            self.wake_up.wait_for(&mut is_woken, LOOK_AGAIN);
        }
        *is_woken = false;
    }
}

/// A wake-up is never lost; this bounds what a mistake about that would cost.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The gate of the processor chain, shared by all connection threads.
#[derive(Debug)]
pub struct Admission {
    settings: AdmissionSettings,
    metrics: Arc<ServerMetrics>,
    /// Requests in the chain. Sequentially consistent together with `blocked_count` and
    /// `stalled_count`: either who waits sees the change, or who changes sees the waiter.
    in_process: CachePadded<AtomicI64>,
    /// The length of `blocked`.
    blocked_count: CachePadded<AtomicUsize>,
    /// Connections that wait for the chain to empty below the global limit.
    blocked: Mutex<Vec<Arc<CnxnGate>>>,
    /// Threads that wait for one of `max_requests` places.
    stalled: Mutex<usize>,
    stalled_count: AtomicUsize,
    place_is_free: Condvar,
    large_request_bytes: Arc<AtomicI64>,
    is_stopping: AtomicBool,
}

impl Admission {
    /// Settings of large requests that make no sense are replaced, with a warning, as in Java.
    #[must_use]
    pub fn new(mut settings: AdmissionSettings, metrics: Arc<ServerMetrics>) -> Admission {
        let max_bytes = settings.large_request_max_bytes;
        if max_bytes <= 0 {
            warn!(
                "Invalid max bytes for all large requests {max_bytes}. It should be a positive number."
            );
            settings.large_request_max_bytes = LARGE_REQUEST_MAX_BYTES;
        }
        let threshold = settings.large_request_threshold_bytes;
        if threshold == 0 || threshold < -1 {
            warn!(
                "Invalid large request threshold {threshold}. It should be -1 or positive. Setting to -1"
            );
            settings.large_request_threshold_bytes = -1;
        }
        info!(
            "The max bytes for all large requests are set to {}",
            settings.large_request_max_bytes
        );
        info!("The large request threshold is set to {}", settings.large_request_threshold_bytes);
        Admission {
            settings,
            metrics,
            in_process: CachePadded::default(),
            blocked_count: CachePadded::default(),
            blocked: Mutex::new(Rank::Leaf, Vec::new()),
            stalled: Mutex::new(Rank::Leaf, 0),
            stalled_count: AtomicUsize::new(0),
            place_is_free: Condvar::new(),
            large_request_bytes: Arc::default(),
            is_stopping: AtomicBool::new(false),
        }
    }

    /// Requests in the chain that came from connections (`outstanding_requests`).
    #[must_use]
    pub fn in_process(&self) -> i64 {
        self.in_process.load(Ordering::Relaxed)
    }

    /// Waits until the request may enter the chain, and counts it if it may. Called on the
    /// connection's own thread, with no lock held, for every request that is not read directly.
    pub fn admit(&self, gate: &Arc<CnxnGate>, arrival: &Arrival) -> Decision {
        if self.is_stopping.load(Ordering::Relaxed) {
            return Decision::Stop;
        }
        let mut waited_ms = 0;
        if self.settings.max_requests > 0 || self.must_wait(gate) || !self.take_place() {
            let start_ms = time::elapsed_ms();
            if let Err(decision) = self.wait(gate, arrival) {
                return decision;
            }
            waited_ms = time::elapsed_ms().saturating_sub(start_ms);
        }
        if arrival.xid > 0 {
            gate.outstanding.fetch_add(1, Ordering::SeqCst);
        }
        if self.is_stale(gate, arrival) {
            self.metrics.stale_requests.increment();
        }
        self.metrics.request_throttle_queue_time_ms.add(waited_ms);
        if self.must_throttle(arrival, waited_ms) {
            self.metrics.throttled_ops.increment();
            return Decision::Throttle;
        }
        Decision::Proceed
    }

    /// A request that was admitted has left the chain: its reply is in the outbox, or it was dropped.
    /// May be called from any thread, with locks held.
    pub fn finish(&self, gate: &CnxnGate, xid: i32) {
        let left = self.in_process.fetch_sub(1, Ordering::SeqCst) - 1;
        debug_assert!(left >= 0, "more requests finished than admitted");
        if xid > 0
            && gate.outstanding.fetch_sub(1, Ordering::SeqCst) == 1
            && gate.is_waiting.load(Ordering::SeqCst)
        {
            gate.wake();
        }
        if self.stalled_count.load(Ordering::SeqCst) > 0 {
            // Taken so that the waiter is either asleep, or has yet to look.
            drop(self.stalled.lock());
            self.place_is_free.notify_one();
        }
        if left <= self.low_water() && self.blocked_count.load(Ordering::SeqCst) > 0 {
            self.wake_blocked();
        }
    }

    /// Nothing is admitted any more, and nobody waits.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
        drop(self.stalled.lock());
        self.place_is_free.notify_all();
        self.wake_blocked();
    }

    /// Before the body of a request is read: whether it would be refused for its length.
    pub fn check_request_size(&self, length: usize) -> Result<(), LargeRequestRejected> {
        let Some(length) = self.large(length) else { return Ok(()) };
        let bytes = self.large_request_bytes.load(Ordering::Relaxed).saturating_add(length);
        self.reject_above_max(bytes)
    }

    /// When a request has been read: counts it if it is large, until the permit is dropped.
    pub fn admit_size(
        &self,
        length: usize,
    ) -> Result<Option<LargeRequestPermit>, LargeRequestRejected> {
        let Some(length) = self.large(length) else { return Ok(None) };
        let sum = self.large_request_bytes.fetch_add(length, Ordering::Relaxed);
        // Dropped on the way out if it is too much.
        let permit = LargeRequestPermit { sum: Arc::clone(&self.large_request_bytes), length };
        self.reject_above_max(sum.saturating_add(length))?;
        Ok(Some(permit))
    }

    /// The sum of large requests under way.
    #[must_use]
    pub fn large_request_bytes(&self) -> i64 {
        self.large_request_bytes.load(Ordering::Relaxed)
    }

    fn large(&self, length: usize) -> Option<i64> {
        let threshold = i64::from(self.settings.large_request_threshold_bytes);
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        (threshold != -1 && length > threshold).then_some(length)
    }

    fn reject_above_max(&self, bytes: i64) -> Result<(), LargeRequestRejected> {
        if bytes <= i64::from(self.settings.large_request_max_bytes) {
            return Ok(());
        }
        self.metrics.large_requests_rejected.increment();
        Err(LargeRequestRejected)
    }

    /// `shouldThrottle`: the chain is full and the connection has a request in it already.
    fn must_wait(&self, gate: &CnxnGate) -> bool {
        gate.outstanding.load(Ordering::SeqCst) > 0
            && self.in_process.load(Ordering::SeqCst)
                > i64::from(self.settings.global_outstanding_limit)
    }

    /// Where blocked connections are woken: a little below the limit, so that they come in batches.
    fn low_water(&self) -> i64 {
        let limit = i64::from(self.settings.global_outstanding_limit);
        limit - limit / 8
    }

    /// Counts a request in, unless all places are taken.
    fn take_place(&self) -> bool {
        let places = i64::from(self.settings.max_requests);
        if places <= 0 {
            self.in_process.fetch_add(1, Ordering::SeqCst);
            return true;
        }
        self.in_process
            .try_update(Ordering::SeqCst, Ordering::SeqCst, |taken| {
                (taken < places).then(|| taken + 1)
            })
            .is_ok()
    }

    #[cold]
    fn wait(&self, gate: &Arc<CnxnGate>, arrival: &Arrival) -> Result<(), Decision> {
        self.wait_for_turn(gate)?;
        loop {
            // As in Java, only this limit drops stale requests.
            let may_drop = self.settings.drop_stale && self.settings.max_requests > 0;
            if may_drop && self.is_stale(gate, arrival) {
                self.metrics.stale_requests_dropped.increment();
                return Err(Decision::Drop);
            }
            if self.is_stopping.load(Ordering::SeqCst) {
                return Err(Decision::Stop);
            }
            if self.take_place() {
                return Ok(());
            }
            self.stall();
        }
    }

    /// Waits while [`Admission::must_wait`] says so.
    fn wait_for_turn(&self, gate: &Arc<CnxnGate>) -> Result<(), Decision> {
        while self.must_wait(gate) {
            gate.is_waiting.store(true, Ordering::SeqCst);
            self.block(gate);
            // Looked at again: what changed before this thread could be seen waiting wakes nobody.
            let is_closed = || gate.is_closed() || self.is_stopping.load(Ordering::SeqCst);
            if self.must_wait(gate) && !is_closed() {
                gate.sleep();
            }
            gate.is_waiting.store(false, Ordering::SeqCst);
            self.unblock(gate);
            if gate.is_closed() {
                return Err(Decision::Drop);
            }
            if self.is_stopping.load(Ordering::SeqCst) {
                return Err(Decision::Stop);
            }
        }
        Ok(())
    }

    fn block(&self, gate: &Arc<CnxnGate>) {
        let mut blocked = self.blocked.lock();
        blocked.push(Arc::clone(gate));
        self.blocked_count.store(blocked.len(), Ordering::SeqCst);
    }

    fn unblock(&self, gate: &Arc<CnxnGate>) {
        let mut blocked = self.blocked.lock();
        if let Some(at) = blocked.iter().position(|other| Arc::ptr_eq(other, gate)) {
            blocked.swap_remove(at);
            self.blocked_count.store(blocked.len(), Ordering::SeqCst);
        }
    }

    #[cold]
    fn wake_blocked(&self) {
        let mut blocked = self.blocked.lock();
        let gates = std::mem::take(&mut *blocked);
        self.blocked_count.store(0, Ordering::SeqCst);
        drop(blocked);
        for gate in gates {
            gate.wake();
        }
    }

    /// Waits for a place to become free, or for the stall time.
    fn stall(&self) {
        self.metrics.request_throttle_wait_count.increment();
        let mut stalled = self.stalled.lock();
        *stalled += 1;
        self.stalled_count.store(*stalled, Ordering::SeqCst);
        // Looked at again, as above.
        if self.in_process.load(Ordering::SeqCst) >= i64::from(self.settings.max_requests)
            && !self.is_stopping.load(Ordering::SeqCst)
        {
            let stall_time = u64::try_from(self.settings.stall_time_ms).unwrap_or(0).max(1);
            self.place_is_free.wait_for(&mut stalled, Duration::from_millis(stall_time));
        }
        *stalled -= 1;
        self.stalled_count.store(*stalled, Ordering::SeqCst);
    }

    /// `Request.isStale`.
    fn is_stale(&self, gate: &CnxnGate, arrival: &Arrival) -> bool {
        if arrival.op == Some(OpCode::CloseSession) {
            return false;
        }
        if self.settings.stale_connection_check && gate.is_closed() {
            return true;
        }
        self.settings.stale_latency_check
            && time::elapsed_ms().saturating_sub(arrival.created_ms)
                > i64::from(arrival.session_timeout_ms)
    }

    /// `RequestThrottler.shouldThrottleOp`.
    fn must_throttle(&self, arrival: &Arrival, waited_ms: i64) -> bool {
        let limit_ms = i64::from(self.settings.throttled_op_wait_time_ms);
        let is_throttlable = !matches!(
            arrival.op,
            Some(OpCode::Ping | OpCode::CloseSession | OpCode::CreateSession)
        );
        is_throttlable && limit_ms > 0 && waited_ms > limit_ms
    }
}

/// Java's default of `largeRequestMaxBytes`.
const LARGE_REQUEST_MAX_BYTES: i32 = 100 * 1024 * 1024;

/// A large request under way; travels with it.
#[derive(Debug)]
pub struct LargeRequestPermit {
    sum: Arc<AtomicI64>,
    length: i64,
}

impl Drop for LargeRequestPermit {
    fn drop(&mut self) {
        self.sum.fetch_sub(self.length, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    fn settings() -> AdmissionSettings {
        AdmissionSettings::from(&ServerConfig::default())
    }

    fn admission(change: impl FnOnce(&mut AdmissionSettings)) -> Arc<Admission> {
        let mut settings = settings();
        change(&mut settings);
        Arc::new(Admission::new(settings, Arc::default()))
    }

    fn gate() -> Arc<CnxnGate> {
        Arc::default()
    }

    fn arrival(op: OpCode) -> Arrival {
        Arrival { op: Some(op), xid: 1, created_ms: time::elapsed_ms(), session_timeout_ms: 60_000 }
    }

    /// What a request that has to wait is answered once `then` has happened.
    fn decision_after(
        admission: &Arc<Admission>,
        gate: &Arc<CnxnGate>,
        then: impl FnOnce(),
    ) -> Decision {
        thread::scope(|scope| {
            let waiter = scope.spawn(|| admission.admit(gate, &arrival(OpCode::SetData)));
            while admission.blocked_count.load(Ordering::SeqCst) == 0
                && admission.stalled_count.load(Ordering::SeqCst) == 0
            {
                thread::yield_now();
            }
            then();
            waiter.join().unwrap()
        })
    }

    #[test]
    fn requests_below_the_limit_enter_at_once_and_are_counted() {
        let (admission, gate) = (admission(|_| ()), gate());
        for _ in 0..3 {
            assert_eq!(admission.admit(&gate, &arrival(OpCode::Create)), Decision::Proceed);
        }
        let ping = Arrival { xid: -2, ..arrival(OpCode::Ping) };
        assert_eq!(admission.admit(&gate, &ping), Decision::Proceed);
        assert_eq!((admission.in_process(), gate.outstanding()), (4, 3));
        admission.finish(&gate, -2);
        admission.finish(&gate, 1);
        assert_eq!((admission.in_process(), gate.outstanding()), (2, 2));
    }

    #[test]
    fn full_chain_blocks_only_connections_that_are_in_it() {
        let admission = admission(|settings| settings.global_outstanding_limit = 1);
        let (first, second) = (gate(), gate());
        let admit = |gate| admission.admit(gate, &arrival(OpCode::Create));
        assert_eq!(admit(&first), Decision::Proceed);
        // The limit may be reached, and a connection may go beyond it once.
        assert_eq!(admit(&first), Decision::Proceed);
        assert_eq!(admit(&second), Decision::Proceed);
        assert_eq!(admission.in_process(), 3);
        // Its own requests are done.
        let decision = decision_after(&admission, &second, || admission.finish(&second, 1));
        assert_eq!((decision, admission.in_process()), (Decision::Proceed, 3));
        // The chain has emptied.
        let decision = decision_after(&admission, &second, || {
            admission.finish(&first, 1);
            admission.finish(&first, 1);
        });
        assert_eq!((decision, admission.in_process()), (Decision::Proceed, 2));
    }

    #[test]
    fn close_and_stop_end_the_wait() {
        let admission = admission(|settings| settings.global_outstanding_limit = 0);
        let gate = gate();
        assert_eq!(admission.admit(&gate, &arrival(OpCode::Create)), Decision::Proceed);
        let decision = decision_after(&admission, &gate, || admission.stop());
        assert_eq!(decision, Decision::Stop);
        assert_eq!(admission.admit(&gate, &arrival(OpCode::Create)), Decision::Stop);

        let admission = self::admission(|settings| settings.global_outstanding_limit = 0);
        let gate = self::gate();
        assert_eq!(admission.admit(&gate, &arrival(OpCode::Create)), Decision::Proceed);
        assert_eq!(decision_after(&admission, &gate, || gate.close()), Decision::Drop);
        assert_eq!(admission.in_process(), 1);
        assert_eq!(admission.blocked_count.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn places_are_never_taken_twice() {
        let admission = admission(|settings| {
            settings.max_requests = 2;
            settings.stall_time_ms = 10_000;
        });
        let highest = AtomicI64::new(0);
        thread::scope(|scope| {
            for _ in 0..6 {
                scope.spawn(|| {
                    let gate = gate();
                    for _ in 0..200 {
                        let decision = admission.admit(&gate, &arrival(OpCode::Create));
                        assert_eq!(decision, Decision::Proceed);
                        highest.fetch_max(admission.in_process(), Ordering::Relaxed);
                        admission.finish(&gate, 1);
                    }
                });
            }
        });
        assert!(highest.into_inner() <= 2);
        assert_eq!(admission.in_process(), 0);
    }

    #[test]
    fn many_connections_drain_through_the_global_limit() {
        let admission = admission(|settings| settings.global_outstanding_limit = 3);
        let (submit, chain) = crossbeam_channel::unbounded::<Arc<CnxnGate>>();
        thread::scope(|scope| {
            scope.spawn(|| chain.iter().for_each(|gate| admission.finish(&gate, 1)));
            for _ in 0..6 {
                let (submit, admission) = (submit.clone(), &admission);
                scope.spawn(move || {
                    let gate = gate();
                    for _ in 0..500 {
                        let decision = admission.admit(&gate, &arrival(OpCode::Create));
                        assert_eq!(decision, Decision::Proceed);
                        submit.send(Arc::clone(&gate)).unwrap();
                    }
                });
            }
            drop(submit);
        });
        assert_eq!(admission.in_process(), 0);
    }

    #[test]
    fn stale_requests_are_dropped_while_the_places_are_limited() {
        let check = |max_requests, drop_stale, op, expected| {
            let admission = admission(|settings| {
                settings.max_requests = max_requests;
                settings.drop_stale = drop_stale;
            });
            let gate = gate();
            gate.close();
            assert_eq!(admission.admit(&gate, &arrival(op)), expected);
            let counts = (
                admission.metrics.stale_requests_dropped.get(),
                admission.metrics.stale_requests.get(),
            );
            let is_dropped = expected == Decision::Drop;
            let is_close = op == OpCode::CloseSession;
            assert_eq!(counts, (i64::from(is_dropped), i64::from(!is_dropped && !is_close)));
        };
        check(1, true, OpCode::Create, Decision::Drop);
        check(1, true, OpCode::CloseSession, Decision::Proceed);
        check(1, false, OpCode::Create, Decision::Proceed);
        check(0, true, OpCode::Create, Decision::Proceed);
    }

    #[test]
    fn old_requests_are_stale_if_configured() {
        let admission = admission(|settings| {
            settings.max_requests = 1;
            settings.stale_latency_check = true;
        });
        let old = Arrival { created_ms: time::elapsed_ms() - 61_000, ..arrival(OpCode::Create) };
        assert_eq!(admission.admit(&gate(), &old), Decision::Drop);
        assert_eq!(admission.admit(&gate(), &arrival(OpCode::Create)), Decision::Proceed);
    }

    #[test]
    fn requests_that_waited_too_long_are_throttled() {
        let admission = admission(|settings| settings.throttled_op_wait_time_ms = 10);
        let check = |op, waited_ms, expected| {
            assert_eq!(admission.must_throttle(&arrival(op), waited_ms), expected);
        };
        check(OpCode::Create, 10, false);
        check(OpCode::Create, 11, true);
        check(OpCode::Ping, 11, false);
        check(OpCode::CloseSession, 11, false);
        check(OpCode::CreateSession, 11, false);
        assert!(!self::admission(|_| ()).must_throttle(&arrival(OpCode::Create), i64::MAX));
    }

    #[test]
    fn large_requests_are_limited_by_their_sum() {
        let admission = admission(|settings| {
            settings.large_request_threshold_bytes = 10;
            settings.large_request_max_bytes = 30;
        });
        assert!(admission.admit_size(10).unwrap().is_none());
        let first = admission.admit_size(20).unwrap();
        assert!(first.is_some());
        assert_eq!(admission.check_request_size(11), Err(LargeRequestRejected));
        assert_eq!(admission.check_request_size(10), Ok(()));
        assert_eq!(admission.admit_size(11).err(), Some(LargeRequestRejected));
        assert_eq!(admission.large_request_bytes(), 20);
        assert_eq!(admission.metrics.large_requests_rejected.get(), 2);
        drop(first);
        assert!(admission.admit_size(30).unwrap().is_some());
        assert_eq!(admission.large_request_bytes(), 0);
        assert_eq!(admission.admit_size(usize::MAX).err(), Some(LargeRequestRejected));
    }

    #[test]
    fn senseless_limits_are_replaced() {
        let admission = admission(|settings| {
            settings.large_request_threshold_bytes = 0;
            settings.large_request_max_bytes = -5;
        });
        assert_eq!(admission.settings.large_request_threshold_bytes, -1);
        assert_eq!(admission.settings.large_request_max_bytes, 104_857_600);
        assert!(admission.admit_size(1 << 30).unwrap().is_none());
    }
}
