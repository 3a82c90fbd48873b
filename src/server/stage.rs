//! What the stages of a chain that have a thread share: a queue into it, and an orderly end.

use std::sync::Arc;

use super::request::Request;
use super::request_processor::RequestProcessor;
use crate::common::linked_blocking_queue::Sender;
use crate::common::sync::{Mutex, Rank};
use crate::common::thread::OwnedThread;

/// A stage's thread behind its queue, and the stage that follows. The queue is unbounded:
/// admission bounds what is in the chain.
pub struct Stage {
    queue: Mutex<Option<Sender<Box<Request>>>>,
    thread: Mutex<Option<OwnedThread>>,
    next: Arc<dyn RequestProcessor>,
}

impl Stage {
    /// `thread` takes from `queue` until every sender is gone, and hands on to `next`.
    pub fn new(
        queue: Sender<Box<Request>>,
        thread: OwnedThread,
        next: Arc<dyn RequestProcessor>,
    ) -> Stage {
        Stage {
            queue: Mutex::new(Rank::Inbox, Some(queue)),
            thread: Mutex::new(Rank::Inbox, Some(thread)),
            next,
        }
    }

    /// A way into the queue without a lock, for each connection; `None` once the stage has ended.
    pub fn sender(&self) -> Option<Sender<Box<Request>>> {
        self.queue.lock().clone()
    }
}

impl RequestProcessor for Stage {
    fn process_requests(&self, requests: &mut Vec<Box<Request>>) {
        let queue = self.queue.lock();
        match &*queue {
            Some(queue) => queue.send_all(requests.drain(..)),
            None => requests.clear(), // The server is stopping.
        }
    }

    fn shutdown(&self) {
        // The thread finishes what is there, then ends.
        let queue = self.queue.lock().take();
        drop(queue);
        let thread = self.thread.lock().take();
        drop(thread);
        self.next.shutdown();
    }
}
