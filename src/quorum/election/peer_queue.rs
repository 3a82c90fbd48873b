//! What is to be sent to one server: only the newest message counts, and the last one sent is sent
//! again over a new connection (Java: `queueSendMap`, `lastMessageSent`).
//!
//! The connections of a server are numbered; of two at the same time only the newer one gets
//! messages.

use std::sync::Arc;

use crate::common::sync::{Condvar, Mutex, Rank};

/// A message as it goes over the wire, with its length in front.
pub(super) type Frame = Arc<[u8]>;

/// The queue of one server.
pub(super) struct PeerQueue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    pending: Option<Frame>,
    last_sent: Option<Frame>,
    /// The newest connection; 0 before the first.
    connection: u64,
    /// The newest connection that has ended.
    ended: u64,
}

impl Default for PeerQueue {
    fn default() -> Self {
        let state = Mutex::new(Rank::Leaf, State::default());
        Self { state, changed: Condvar::new() }
    }
}

impl PeerQueue {
    /// To be sent as soon as there is a connection, instead of what was not sent yet.
    pub(super) fn offer(&self, frame: Frame) {
        self.state.lock().pending = Some(frame);
        self.changed.notify_all();
    }

    /// What was said before is no longer true: this goes in its place, if it was not sent yet or has
    /// to be sent again. Different from Java, which sends its last vote of an election that is over
    /// to servers that connect later.
    pub(super) fn supersede(&self, frame: Frame) {
        let mut state = self.state.lock();
        if state.pending.is_some() {
            state.pending = Some(frame);
        } else if state.last_sent.is_some() {
            state.last_sent = Some(frame);
        }
    }

    /// Whether everything was sent.
    pub(super) fn is_empty(&self) -> bool {
        self.state.lock().pending.is_none()
    }

    /// A new connection takes over. The other side may not have read the last message.
    pub(super) fn begin(&self, connection: u64) {
        let mut state = self.state.lock();
        if connection > state.connection {
            state.connection = connection;
            if state.pending.is_none() {
                state.pending = state.last_sent.clone();
            }
        }
        drop(state);
        self.changed.notify_all();
    }

    /// That connection and all before it are over.
    pub(super) fn end(&self, connection: u64) {
        let mut state = self.state.lock();
        state.ended = state.ended.max(connection);
        drop(state);
        self.changed.notify_all();
    }

    /// Waits for the next message to send over that connection; `None` when it is over.
    pub(super) fn next(&self, connection: u64) -> Option<Frame> {
        let mut state = self.state.lock();
        loop {
            if connection < state.connection || connection <= state.ended {
                return None;
            }
            if let Some(frame) = state.pending.take() {
                state.last_sent = Some(Arc::clone(&frame));
                return Some(frame);
            }
            self.changed.wait(&mut state);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(byte: u8) -> Frame {
        Arc::from([byte])
    }

    #[test]
    fn only_the_newest_message_is_sent_and_sent_again() {
        let queue = PeerQueue::default();
        queue.offer(frame(1));
        queue.offer(frame(2));
        queue.begin(1);
        assert!(!queue.is_empty());
        assert_eq!(queue.next(1), Some(frame(2)));
        assert!(queue.is_empty());
        queue.begin(2);
        assert_eq!(queue.next(1), None);
        assert_eq!(queue.next(2), Some(frame(2)));
        queue.end(2);
        assert_eq!(queue.next(2), None);
        queue.offer(frame(3));
        queue.begin(3);
        assert_eq!(queue.next(3), Some(frame(3)));
    }

    #[test]
    fn what_is_no_longer_true_is_not_sent_again() {
        let queue = PeerQueue::default();
        queue.supersede(frame(1));
        assert!(queue.is_empty());
        queue.offer(frame(2));
        queue.supersede(frame(3));
        queue.begin(1);
        assert_eq!(queue.next(1), Some(frame(3)));
        queue.supersede(frame(4));
        assert!(queue.is_empty());
        queue.begin(2);
        assert_eq!(queue.next(2), Some(frame(4)));
    }

    #[test]
    fn an_older_connection_does_not_take_over() {
        let queue = PeerQueue::default();
        queue.begin(2);
        queue.begin(1);
        queue.offer(frame(1));
        assert_eq!((queue.next(1), queue.next(2)), (None, Some(frame(1))));
        queue.end(1);
        queue.offer(frame(2));
        assert_eq!(queue.next(2), Some(frame(2)));
    }
}
