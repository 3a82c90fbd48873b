//! The bytes that a connection still has to send (`NIOServerCnxn.outgoingBuffers`).
//!
//! Whoever computes a reply or an event appends it here while the tree guard that it was computed
//! under is held: that one rule gives Java's order of replies and watch events. Sending is a
//! separate step without any lock held over the system call. Who finds nobody sending takes all
//! that is there, sends it with one call, and looks again; what the socket does not take is left
//! to a selector thread. No processor ever blocks on a client's socket.

use std::io::IoSlice;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendFlags, sendmsg};

use super::cnxn_stats::CnxnStats;
use crate::common::sync::{Condvar, Mutex, MutexGuard, Rank};

/// A connection with more unsent bytes than this is not read from until they have gone.
pub const UNSENT_BYTES_MAX: usize = 1 << 20;
/// An emptied buffer up to this capacity is kept for the next replies.
const SPARE_BYTES_MAX: usize = 16 << 10;
/// Segments handed to one `sendmsg`: far below `IOV_MAX`.
const SLICES_MAX: usize = 64;

/// What [`Outbox::flush`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flush {
    /// Nothing is left, or somebody else is sending it.
    Done,
    /// The socket takes no more now: a selector thread must continue.
    Blocked,
    /// The connection is closed, by us after the last byte or by an error.
    Closed,
}

/// A run of bytes with shared segments in between.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    /// (offset in `bytes` before which it goes, segment), offsets rising.
    shared: Vec<(usize, Arc<[u8]>)>,
    shared_bytes: usize,
    /// Bytes of all that were sent already.
    sent: usize,
}

impl Batch {
    fn len(&self) -> usize {
        self.bytes.len() + self.shared_bytes
    }

    fn is_sent(&self) -> bool {
        self.sent >= self.len()
    }

    /// The unsent rest, at most [`SLICES_MAX`] slices of it.
    fn slices(&self) -> Vec<IoSlice<'_>> {
        let mut slices = Vec::with_capacity((2 * self.shared.len() + 1).min(SLICES_MAX));
        let mut skip = self.sent;
        let mut push = |slice: &'_ [u8]| -> Option<(usize, usize)> {
            let start = skip.min(slice.len());
            skip -= start;
            (start < slice.len()).then_some((start, slice.len()))
        };
        let mut from = 0;
        for (at, segment) in &self.shared {
            let inline = self.bytes.get(from..*at).unwrap_or_default();
            from = *at;
            if push(inline).is_some_and(|(start, end)| {
                slices.push(IoSlice::new(inline.get(start..end).unwrap_or_default()));
                true
            }) && slices.len() == SLICES_MAX
            {
                return slices;
            }
            if push(segment).is_some_and(|(start, end)| {
                slices.push(IoSlice::new(segment.get(start..end).unwrap_or_default()));
                true
            }) && slices.len() == SLICES_MAX
            {
                return slices;
            }
        }
        let inline = self.bytes.get(from..).unwrap_or_default();
        if let Some((start, end)) = push(inline) {
            slices.push(IoSlice::new(inline.get(start..end).unwrap_or_default()));
        }
        slices
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.shared.clear();
        self.shared_bytes = 0;
        self.sent = 0;
    }
}

/// What the lock guards. Frames are appended through
/// [`OutboxState::push_frame`].
#[derive(Default)]
pub struct OutboxState {
    /// What `cons` shows of the connection.
    pub stats: CnxnStats,
    pending: Batch,
    /// The emptied buffer of the last send, to be used again.
    spare: Vec<u8>,
    /// A thread is sending; it will look again before it stops.
    sending: bool,
    /// What the socket did not take. A selector thread owns the next attempt.
    blocked: Option<Batch>,
    /// The client has its answer to the connect request, or will find it before all else here.
    is_established: bool,
    close_after_flush: bool,
    closed: bool,
}

impl OutboxState {
    /// Appends a frame: its length, `head`, `body`, and shared `segments`, each before the byte of
    /// `body` that its offset names, offsets rising. Returns the length of it all.
    pub fn push_frame(
        &mut self,
        head: &[u8],
        body: &[u8],
        segments: impl IntoIterator<Item = (usize, Arc<[u8]>)>,
    ) -> usize {
        let batch = &mut self.pending;
        let (start, shared_before) = (batch.bytes.len(), batch.shared_bytes);
        batch.bytes.extend_from_slice(&[0; 4]);
        batch.bytes.extend_from_slice(head);
        let body_at = batch.bytes.len();
        batch.bytes.extend_from_slice(body);
        for (at, segment) in segments {
            batch.shared_bytes += segment.len();
            batch.shared.push((body_at + at, segment));
        }
        let length = batch.bytes.len() - start - 4 + batch.shared_bytes - shared_before;
        if let Some(slot) = batch.bytes.get_mut(start..start + 4) {
            slot.copy_from_slice(&(length as u32).to_be_bytes());
        }
        length
    }

    /// Appends frames that are complete already.
    pub fn push_bytes(&mut self, frames: &[u8]) {
        self.pending.bytes.extend_from_slice(frames);
    }

    /// Bytes that the client has not been sent.
    pub fn unsent(&self) -> usize {
        self.pending.len() + self.blocked.as_ref().map_or(0, |batch| batch.len() - batch.sent)
    }

    /// True when appending is of no use any more.
    pub fn is_closed(&self) -> bool {
        self.closed
    }
}

/// See the module.
pub struct Outbox {
    state: Mutex<OutboxState>,
    /// Told when unsent bytes have gone or the connection is closed.
    drained: Condvar,
}

impl Default for Outbox {
    fn default() -> Self {
        Outbox { state: Mutex::new(Rank::Outbox, OutboxState::default()), drained: Condvar::new() }
    }
}

impl Outbox {
    /// To append frames. Hold it for memory work only.
    pub fn lock(&self) -> MutexGuard<'_, OutboxState> {
        self.state.lock()
    }

    /// The last frame is in: when all is sent the socket is shut down, which ends its thread.
    pub fn close_after_flush(&self) {
        self.state.lock().close_after_flush = true;
        self.drained.notify_all();
    }

    /// True from [`Outbox::close_after_flush`] until all is sent: the socket still has to be closed.
    pub fn is_closing(&self) -> bool {
        let state = self.state.lock();
        state.close_after_flush && !state.closed
    }

    /// Drops what is unsent and shuts the socket down.
    pub fn close_now(&self, socket: &TcpStream) {
        let mut state = self.state.lock();
        self.mark_closed(&mut state);
        drop(state);
        let _ = socket.shutdown(Shutdown::Both); // It may be gone already.
    }

    fn mark_closed(&self, state: &mut OutboxState) {
        state.closed = true;
        state.pending = Batch::default();
        state.blocked = None;
        state.spare = Vec::new();
        self.drained.notify_all();
    }

    /// Whether the client must take something before more is read from it.
    pub fn is_full(&self) -> bool {
        self.state.lock().unsent() > UNSENT_BYTES_MAX
    }

    /// Waits until at most [`UNSENT_BYTES_MAX`] bytes are unsent, or nothing is read any more.
    pub fn wait_until_drained(&self) {
        let mut state = self.state.lock();
        while !state.closed && !state.close_after_flush && state.unsent() > UNSENT_BYTES_MAX {
            self.drained.wait(&mut state);
        }
    }

    /// The answer to the connect request is in: what the client sent behind it may be looked at.
    pub fn establish(&self) {
        self.state.lock().is_established = true;
        self.drained.notify_all();
    }

    /// Waits for [`Outbox::establish`], or until the connection is closed.
    pub fn wait_until_established(&self) {
        let mut state = self.state.lock();
        while !state.is_established && !state.closed {
            self.drained.wait(&mut state);
        }
    }

    /// Waits until the connection is closed, at most `timeout`.
    pub fn wait_until_closed(&self, timeout: Duration) {
        let mut state = self.state.lock();
        let deadline = Instant::now() + timeout;
        while !state.closed && Instant::now() < deadline {
            self.drained.wait_until(&mut state, deadline);
        }
    }

    /// Sends what is there without ever blocking.
    pub fn flush(&self, socket: &TcpStream) -> Flush {
        self.send(socket, false)
    }

    /// [`Outbox::flush`] by the selector thread that owns the blocked rest.
    pub fn flush_blocked(&self, socket: &TcpStream) -> Flush {
        self.send(socket, true)
    }

    fn send(&self, socket: &TcpStream, is_selector: bool) -> Flush {
        let mut state = self.state.lock();
        if state.closed {
            state.pending.clear();
            return Flush::Closed;
        }
        if state.sending || (state.blocked.is_some() && !is_selector) {
            return Flush::Done;
        }
        loop {
            let mut batch = match state.blocked.take() {
                Some(batch) => batch,
                None if state.pending.len() == 0 => {
                    if state.close_after_flush {
                        self.mark_closed(&mut state);
                        drop(state);
                        let _ = socket.shutdown(Shutdown::Both); // It may be gone already.
                        return Flush::Closed;
                    }
                    return Flush::Done;
                }
                None => {
                    let spare = std::mem::take(&mut state.spare);
                    std::mem::replace(
                        &mut state.pending,
                        Batch { bytes: spare, ..Batch::default() },
                    )
                }
            };
            state.sending = true;
            drop(state);
            let result = send_batch(socket, &mut batch);
            state = self.state.lock();
            state.sending = false;
            if state.closed {
                return Flush::Closed;
            }
            match result {
                Ok(()) => {
                    batch.clear();
                    if batch.bytes.capacity() <= SPARE_BYTES_MAX {
                        state.spare = batch.bytes;
                    }
                    // Whoever sent it: the thread that waits may have left its bytes to another
                    // one than a selector. Costs next to nothing when nobody waits.
                    self.drained.notify_all();
                }
                Err(Errno::AGAIN) => {
                    state.blocked = Some(batch);
                    return Flush::Blocked;
                }
                Err(error) => {
                    log::debug!("Sending to a client failed: {error}");
                    self.mark_closed(&mut state);
                    drop(state);
                    let _ = socket.shutdown(Shutdown::Both); // It may be gone already.
                    return Flush::Closed;
                }
            }
        }
    }
}

/// Sends until all has gone (`Ok`) or the socket takes no more (`AGAIN`).
fn send_batch(socket: &TcpStream, batch: &mut Batch) -> Result<(), Errno> {
    let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
    while !batch.is_sent() {
        let sent = if batch.shared.is_empty() {
            rustix::net::send(socket, batch.bytes.get(batch.sent..).unwrap_or_default(), flags)
        } else {
            sendmsg(socket, &batch.slices(), &mut SendAncillaryBuffer::default(), flags)
        };
        match sent {
            Ok(count) => batch.sent += count,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::net::TcpListener;

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener.accept().unwrap().0, client)
    }

    fn frame(outbox: &Outbox, body: &[u8], shared: Option<&[u8]>) {
        outbox.lock().push_frame(b"", body, shared.map(|shared| (1, Arc::from(shared))));
    }

    #[test]
    fn frames_arrive_in_order_with_shared_segments_in_their_places() {
        let (server, mut client) = pair();
        let outbox = Outbox::default();
        frame(&outbox, b"ab", None);
        frame(&outbox, b"c!", Some(b"shared"));
        outbox.lock().push_frame(b"d", b"e", []);
        outbox.lock().push_bytes(b"raw");
        outbox.close_after_flush();
        assert_eq!(outbox.flush(&server), Flush::Closed);
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, b"\0\0\0\x02ab\0\0\0\x08cshared!\0\0\0\x02deraw");
    }

    #[test]
    fn what_the_socket_does_not_take_waits_for_the_selector() {
        let (server, mut client) = pair();
        let outbox = Outbox::default();
        let megabyte = vec![7; 1 << 20];
        let mut total = 0;
        while outbox.flush(&server) != Flush::Blocked {
            frame(&outbox, b"x!", Some(&megabyte));
            total += 4 + 2 + megabyte.len();
        }
        frame(&outbox, b"last", None);
        total += 8;
        assert_eq!(outbox.flush(&server), Flush::Done, "only the selector may go on");
        outbox.close_after_flush();
        let reader = std::thread::spawn(move || {
            let mut bytes = Vec::new();
            client.read_to_end(&mut bytes).unwrap();
            bytes
        });
        while outbox.flush_blocked(&server) != Flush::Closed {
            std::thread::yield_now();
        }
        let bytes = reader.join().unwrap();
        assert_eq!(bytes.len(), total);
        assert!(bytes.ends_with(b"\0\0\0\x04last"));
    }

    #[test]
    fn a_waiting_reader_is_woken_whoever_sends_and_when_nothing_is_read_any_more() {
        let megabyte = vec![7; UNSENT_BYTES_MAX];
        let check = |act: &dyn Fn(&Outbox, &TcpStream), is_closing: bool| {
            let (server, mut client) = pair();
            let reader = std::thread::spawn(move || {
                let mut bytes = Vec::new();
                client.read_to_end(&mut bytes).unwrap();
            });
            let outbox = Outbox::default();
            frame(&outbox, b"x!", Some(&megabyte));
            assert!(outbox.is_full());
            std::thread::scope(|scope| {
                let waiter = scope.spawn(|| outbox.wait_until_drained());
                act(&outbox, &server);
                waiter.join().unwrap();
            });
            assert_eq!(outbox.is_closing(), is_closing);
            outbox.close_now(&server);
            assert!(!outbox.is_closing());
            reader.join().unwrap();
        };
        // As the applying thread does, whose send the socket takes at once.
        let flush = |outbox: &Outbox, socket: &TcpStream| {
            if outbox.flush(socket) == Flush::Blocked {
                while outbox.flush_blocked(socket) == Flush::Blocked {
                    std::thread::yield_now();
                }
            }
        };
        check(&flush, false);
        check(&|outbox, _| outbox.close_after_flush(), true);
        check(&|outbox, socket| outbox.close_now(socket), false);
    }

    #[test]
    fn many_writers_lose_nothing() {
        let (server, mut client) = pair();
        let (outbox, server) = (Arc::new(Outbox::default()), Arc::new(server));
        let writers: Vec<_> = (0..4)
            .map(|_| {
                let (outbox, server) = (Arc::clone(&outbox), Arc::clone(&server));
                std::thread::spawn(move || {
                    for _ in 0..2000 {
                        frame(&outbox, b"12345678", None);
                        while outbox.flush(&server) == Flush::Blocked {
                            while outbox.flush_blocked(&server) == Flush::Blocked {
                                std::thread::yield_now();
                            }
                        }
                    }
                })
            })
            .collect();
        let mut bytes = vec![0; 4 * 2000 * 12];
        client.read_exact(&mut bytes).unwrap();
        for writer in writers {
            writer.join().unwrap();
        }
        assert!(bytes.chunks(12).all(|frame| frame == b"\0\0\0\x0812345678"));
    }
}
