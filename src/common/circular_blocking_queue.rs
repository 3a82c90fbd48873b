//! A queue between threads that never makes a sender wait: when it is full the oldest goes (Java:
//! `o.a.z.util.CircularBlockingQueue`).
//!
//! Different from Java: it can be bounded in size as well as in number, and closed.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::sync::{Condvar, Mutex, Rank};

/// The queue. Share it in an `Arc`.
pub struct CircularBlockingQueue<T> {
    state: Mutex<State<T>>,
    not_empty: Condvar,
    capacity: usize,
    /// What an item counts, and how much all together may.
    size: fn(&T) -> usize,
    size_max: usize,
}

struct State<T> {
    items: VecDeque<T>,
    /// Invariant: the sum of the sizes of `items`.
    size: usize,
    is_closed: bool,
}

/// What [`CircularBlockingQueue::poll`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Polled<T> {
    /// The oldest item.
    Item(T),
    /// Nothing came in time.
    TimedOut,
    /// The queue is closed.
    Closed,
}

impl<T> CircularBlockingQueue<T> {
    /// A queue of at most `capacity` items.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self::with_size_limit(capacity, usize::MAX, |_| 0)
    }

    /// A queue of at most `capacity` items whose sizes sum up to `size_max` at most; a single larger
    /// one is kept.
    #[must_use]
    pub fn with_size_limit(capacity: usize, size_max: usize, size: fn(&T) -> usize) -> Self {
        let state = State { items: VecDeque::new(), size: 0, is_closed: false };
        let state = Mutex::new(Rank::Leaf, state);
        Self { state, not_empty: Condvar::new(), capacity: capacity.max(1), size, size_max }
    }

    /// Appends an item; the oldest make room for it. Once closed, drops it.
    pub fn offer(&self, item: T) {
        let mut state = self.state.lock();
        if state.is_closed {
            return;
        }
        let size = (self.size)(&item);
        while state.items.len() >= self.capacity || state.size.saturating_add(size) > self.size_max
        {
            let Some(oldest) = state.items.pop_front() else { break };
            state.size = state.size.saturating_sub((self.size)(&oldest));
        }
        state.size = state.size.saturating_add(size);
        state.items.push_back(item);
        drop(state);
        self.not_empty.notify_one();
    }

    /// Takes the oldest item, waiting for one up to `timeout`, or without end.
    pub fn poll(&self, timeout: Option<Duration>) -> Polled<T> {
        // A wait that ends after the end of time has no end.
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut state = self.state.lock();
        loop {
            if state.is_closed {
                return Polled::Closed;
            }
            if let Some(item) = state.items.pop_front() {
                state.size = state.size.saturating_sub((self.size)(&item));
                return Polled::Item(item);
            }
            match deadline {
                None => self.not_empty.wait(&mut state),
                Some(deadline) if Instant::now() >= deadline => return Polled::TimedOut,
                Some(deadline) => {
                    self.not_empty.wait_until(&mut state, deadline);
                }
            }
        }
    }

    /// Takes everything there is.
    pub fn drain(&self) -> Vec<T> {
        let mut state = self.state.lock();
        state.size = 0;
        state.items.drain(..).collect()
    }

    /// Drops everything; all present and later [`poll`](Self::poll)s end.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.is_closed = true;
        state.items.clear();
        state.size = 0;
        drop(state);
        self.not_empty.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    const NOW: Option<Duration> = Some(Duration::ZERO);

    #[test]
    fn the_oldest_makes_room() {
        let queue = CircularBlockingQueue::new(2);
        (1..=3).for_each(|item| queue.offer(item));
        assert_eq!(queue.poll(NOW), Polled::Item(2));
        assert_eq!(queue.poll(None), Polled::Item(3));
        assert_eq!(queue.poll(NOW), Polled::TimedOut);
        queue.offer(4);
        assert_eq!(queue.drain(), [4]);
        queue.close();
        queue.offer(5);
        assert_eq!(queue.poll(None), Polled::Closed);
    }

    #[test]
    fn size_is_bounded_as_well() {
        let queue = CircularBlockingQueue::with_size_limit(10, 5, |item: &Vec<u8>| item.len());
        for length in [2, 2, 3, 1] {
            queue.offer(vec![0; length]);
        }
        assert_eq!(queue.drain().iter().map(Vec::len).collect::<Vec<_>>(), [3, 1]);
        queue.offer(vec![0; 9]);
        queue.offer(vec![0; 1]);
        assert_eq!(queue.drain().len(), 1);
    }

    #[test]
    fn a_waiting_thread_is_woken() {
        let queue = Arc::new(CircularBlockingQueue::new(1));
        let waiting = Arc::clone(&queue);
        let thread = std::thread::spawn(move || {
            let first = waiting.poll(None);
            (first, waiting.poll(None))
        });
        queue.offer(1);
        while !queue.state.lock().items.is_empty() {
            std::thread::yield_now();
        }
        queue.close();
        assert_eq!(thread.join().unwrap(), (Polled::Item(1), Polled::Closed));
    }
}
