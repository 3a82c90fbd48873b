//! The queue between two stages (Java: `LinkedBlockingQueue`): a crossbeam channel with one receiver
//! that goes to sleep soon.
//!
//! A channel's own `recv` first spins and gives up its turn several times, in the hope of a message.
//! With a dozen stages on few cores each of these turns is a switch of threads for nothing: they took
//! a fifth of the CPU time of an ensemble's writes. Here the receiver gives up one turn, in which
//! others who are ready may send more than one message; then it says that it is going to sleep, looks
//! once more, and sleeps; a sender wakes it when it says so. (Without that turn it is woken for each
//! message, and the batches are smaller.)

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};
use std::thread;
use std::time::{Duration, Instant};

use crossbeam_channel as channel;
pub use crossbeam_channel::{RecvError, RecvTimeoutError, SendError, TryRecvError};
use crossbeam_utils::sync::{Parker, Unparker};

/// A queue without bounds: what may be in it is bounded elsewhere.
#[must_use]
pub fn unbounded<T>() -> (Sender<T>, Receiver<T>) {
    let (sender, receiver) = channel::unbounded();
    let parker = Parker::new();
    let asleep = Arc::new(AtomicBool::new(false));
    let bell = Bell { asleep: Arc::clone(&asleep), receiver: parker.unparker().clone() };
    (Sender { channel: sender, bell }, Receiver { channel: receiver, asleep, parker })
}

/// Wakes the receiver, if it sleeps; also when it is dropped, for the last sender's end is news.
struct Bell {
    asleep: Arc<AtomicBool>,
    receiver: Unparker,
}

impl Bell {
    fn ring(&self) {
        // Either the receiver's last look finds what was sent before this fence, or this load finds
        // what it stored before its own.
        fence(Ordering::SeqCst);
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::Relaxed) {
            self.receiver.unpark();
        }
    }
}

impl Drop for Bell {
    fn drop(&mut self) {
        self.ring();
    }
}

/// The way in, for any number of threads.
pub struct Sender<T> {
    // Dropped before the bell: who is woken has to see that it is gone.
    channel: channel::Sender<T>,
    bell: Bell,
}

impl<T> Sender<T> {
    /// Adds a message; never waits. Errors: the receiver is gone.
    pub fn send(&self, message: T) -> Result<(), SendError<T>> {
        self.channel.send(message)?;
        self.bell.ring();
        Ok(())
    }

    /// Adds messages, and wakes the receiver once. Those behind the receiver's end are lost.
    pub fn send_all(&self, messages: impl IntoIterator<Item = T>) {
        for message in messages {
            if self.channel.send(message).is_err() {
                return;
            }
        }
        self.bell.ring();
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        let Bell { asleep, receiver } = &self.bell;
        let bell = Bell { asleep: Arc::clone(asleep), receiver: receiver.clone() };
        Sender { channel: self.channel.clone(), bell }
    }
}

/// The way out, for one thread at a time.
pub struct Receiver<T> {
    channel: channel::Receiver<T>,
    asleep: Arc<AtomicBool>,
    // Not `Sync`, as its park has to be called by one thread.
    parker: Parker,
}

impl<T> Receiver<T> {
    /// The next message, waiting for it. Errors: all senders are gone, and nothing is left.
    pub fn recv(&self) -> Result<T, RecvError> {
        loop {
            match self.look_before_sleep() {
                Ok(message) => return Ok(message),
                Err(TryRecvError::Disconnected) => return Err(RecvError),
                Err(TryRecvError::Empty) => self.parker.park(),
            }
        }
    }

    /// The next message, waiting for at most this long. Errors: as of [`Self::recv`], or the time.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<T, RecvTimeoutError> {
        let deadline = Instant::now().checked_add(timeout);
        loop {
            match self.look_before_sleep() {
                Ok(message) => return Ok(message),
                Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) => {}
            }
            let Some(deadline) = deadline else {
                self.parker.park();
                continue;
            };
            if Instant::now() >= deadline {
                self.asleep.store(false, Ordering::Relaxed);
                return Err(RecvTimeoutError::Timeout);
            }
            self.parker.park_deadline(deadline);
        }
    }

    /// The next message, if there is one; else senders are told to wake this thread.
    fn look_before_sleep(&self) -> Result<T, TryRecvError> {
        for _ in 0..2 {
            let found = self.channel.try_recv();
            if !matches!(found, Err(TryRecvError::Empty)) {
                return found;
            }
            thread::yield_now();
        }
        self.asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let found = self.channel.try_recv();
        if !matches!(found, Err(TryRecvError::Empty)) {
            // A sender may have seen it: then the next wait ends at once, and looks again.
            self.asleep.store(false, Ordering::Relaxed);
        }
        found
    }

    /// The next message, if there is one. Errors: there is none, now or ever.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        self.channel.try_recv()
    }

    /// What is there now.
    pub fn try_iter(&self) -> impl Iterator<Item = T> + '_ {
        self.channel.try_iter()
    }

    /// Messages in the queue.
    #[must_use]
    pub fn len(&self) -> usize {
        self.channel.len()
    }

    /// Whether nothing is there.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.channel.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A lost wake-up would leave a receiver asleep for ever.
    #[test]
    fn each_message_arrives_in_its_senders_order() {
        let (sender, receiver) = unbounded();
        let (answer, answers) = unbounded();
        let senders: Vec<_> = (0..4)
            .map(|number| {
                let sender = sender.clone();
                thread::spawn(move || {
                    for n in 0..2_000 {
                        sender.send((number, n)).unwrap();
                        if n % 7 == 0 {
                            thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        drop(sender);
        let taker = thread::spawn(move || {
            let mut next = [0; 4];
            while let Ok((number, n)) = receiver.recv() {
                assert_eq!(next[number], n);
                next[number] += 1;
                answer.send(()).unwrap();
            }
            next
        });
        senders.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(taker.join().unwrap(), [2_000; 4]);
        assert_eq!(answers.try_iter().count(), 8_000);
        assert_eq!(answers.recv(), Err(RecvError));
    }

    /// Both sides wait for each other at every step.
    #[test]
    fn a_question_is_answered_each_time() {
        let (ask, asked) = unbounded();
        let (answer, answered) = unbounded();
        let other = thread::spawn(move || {
            while let Ok(n) = asked.recv_timeout(Duration::from_secs(600)) {
                answer.send_all([n, n + 1]);
            }
        });
        for n in 0..5_000 {
            ask.send(n).unwrap();
            assert_eq!((answered.recv(), answered.recv()), (Ok(n), Ok(n + 1)));
        }
        drop(ask);
        other.join().unwrap();
        assert_eq!(answered.recv(), Err(RecvError));
    }

    #[test]
    fn ends_are_told_to_the_other_side() {
        let (sender, receiver) = unbounded::<u8>();
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Empty));
        assert_eq!(receiver.recv_timeout(Duration::ZERO), Err(RecvTimeoutError::Timeout));
        let brief = Duration::from_millis(1);
        assert_eq!(receiver.recv_timeout(brief), Err(RecvTimeoutError::Timeout));
        sender.send_all([1, 2]);
        assert_eq!((receiver.len(), receiver.is_empty()), (2, false));
        let waiting = thread::spawn(move || {
            let taken = (receiver.recv(), receiver.recv(), receiver.recv());
            (taken, receiver)
        });
        drop(sender.clone());
        drop(sender);
        let (taken, receiver) = waiting.join().unwrap();
        assert_eq!(taken, (Ok(1), Ok(2), Err(RecvError)));
        assert_eq!(receiver.recv_timeout(brief), Err(RecvTimeoutError::Disconnected));
        let (sender, receiver) = unbounded();
        drop(receiver);
        assert_eq!(sender.send(1), Err(SendError(1)));
    }
}
