//! `NIOServerCnxnFactory.SelectorThread`: sends what the sockets of slow clients did not take.
//!
//! Only connections with unsent bytes are here. The thread sleeps in `poll` on their sockets and
//! on an eventfd that tells of new ones.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use crossbeam_channel::{Receiver, Sender, TryRecvError, unbounded};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::io::Errno;

use super::outbox::Flush;
use super::server_cnxn::ServerCnxn;
use crate::common::thread::{self, OwnedThread};

enum Message {
    /// Its socket took no more.
    Blocked(Arc<ServerCnxn>),
    /// It has unsent bytes that nobody tried to send yet.
    Flush(Arc<ServerCnxn>),
    Stop,
}

/// The way to hand a connection over. Cheap to clone.
#[derive(Clone)]
pub struct SelectorHandle {
    inbox: Sender<Message>,
    wake: Arc<OwnedFd>,
}

impl SelectorHandle {
    /// The selector continues as soon as the socket takes more.
    pub fn continue_sending(&self, cnxn: Arc<ServerCnxn>) {
        self.send(Message::Blocked(cnxn));
    }

    /// The selector flushes it soon: spreads a fan-out over threads.
    pub fn flush(&self, cnxn: Arc<ServerCnxn>) {
        self.send(Message::Flush(cnxn));
    }

    fn send(&self, message: Message) {
        if self.inbox.send(message).is_ok() {
            let _ = rustix::io::write(&*self.wake, &1u64.to_ne_bytes()); // Full means awake already.
        }
    }
}

/// The running thread.
pub struct SelectorThread {
    handle: SelectorHandle,
    thread: Option<OwnedThread>,
}

impl SelectorThread {
    /// Starts selector number `index`.
    pub fn start(index: usize) -> std::io::Result<SelectorThread> {
        let (inbox, messages) = unbounded();
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let waker = Arc::clone(&wake);
        let name = format!("NIOServerCxnFactory.SelectorThread-{index}");
        let thread = thread::spawn(&name, thread::STACK_BYTES, move || run(&messages, &waker))?;
        Ok(SelectorThread { handle: SelectorHandle { inbox, wake }, thread: Some(thread) })
    }

    /// The way to hand connections over.
    pub fn handle(&self) -> SelectorHandle {
        self.handle.clone()
    }

    /// Ends the thread. What is still unsent stays so: its connections are closed by now.
    pub fn stop(&mut self) {
        self.handle.send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            thread.join();
        }
    }
}

impl Drop for SelectorThread {
    fn drop(&mut self) {
        self.stop();
    }
}

fn run(messages: &Receiver<Message>, wake: &OwnedFd) {
    let mut blocked: Vec<Arc<ServerCnxn>> = Vec::new();
    let mut ready: Vec<bool> = Vec::new();
    loop {
        loop {
            match messages.try_recv() {
                Ok(Message::Blocked(cnxn)) => blocked.push(cnxn),
                Ok(Message::Flush(cnxn)) => {
                    cnxn.release_flush();
                    if cnxn.flush() == Flush::Blocked {
                        blocked.push(cnxn);
                    }
                }
                Ok(Message::Stop) | Err(TryRecvError::Disconnected) => return,
                Err(TryRecvError::Empty) => break,
            }
        }
        {
            let mut fds: Vec<PollFd<'_>> = Vec::with_capacity(blocked.len() + 1);
            fds.push(PollFd::new(wake, PollFlags::IN));
            fds.extend(
                blocked
                    .iter()
                    .map(|cnxn| PollFd::from_borrowed_fd(cnxn.socket().as_fd(), PollFlags::OUT)),
            );
            match poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => log::warn!("Ignoring error while selecting: {error}"),
            }
            ready.clear();
            ready.extend(fds.iter().map(|fd| !fd.revents().is_empty()));
        }
        if ready.first() == Some(&true) {
            let _ = rustix::io::read(wake, &mut [0u8; 8]); // Resets the count; nothing to see in it.
        }
        let mut is_ready = ready.iter().skip(1);
        blocked.retain(|cnxn| {
            if is_ready.next() != Some(&true) {
                return true;
            }
            cnxn.outbox().flush_blocked(cnxn.socket()) == Flush::Blocked
        });
    }
}
