//! Sockets that can be given up: a connection attempt, a listener and a wait that end when the
//! owner says so.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use socket2::{Domain, Socket, Type};

use crate::common::net_utils;

/// A lasting signal to stop, which can be waited for together with sockets.
pub(crate) struct StopSignal(OwnedFd);

impl StopSignal {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// From now on everybody who waits is woken at once.
    pub(crate) fn stop(&self) {
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes()); // Full means stopped already.
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.sleep(Duration::ZERO)
    }

    /// Waits; true if told to stop.
    pub(crate) fn sleep(&self, time: Duration) -> bool {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        wait(&mut fds, Instant::now().checked_add(time));
        fds.iter().any(|fd| !fd.revents().is_empty())
    }
}

impl AsFd for StopSignal {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Polls until something is ready or `deadline` has passed; without one, for ever.
pub(crate) fn wait(fds: &mut [PollFd<'_>], deadline: Option<Instant>) {
    loop {
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        // Rounded up, or the last part of a millisecond would be a busy loop.
        let left = left.map(|left| left + Duration::from_micros(999));
        let timeout = left.map(|left| Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(left.subsec_nanos()),
        });
        match poll(fds, timeout.as_ref()) {
            Err(Errno::INTR) => {}
            Ok(_) => return,
            Err(error) => {
                // Only for want of kernel memory; the callers look at what is ready and come again.
                log::warn!("poll: {error}");
                return;
            }
        }
    }
}

/// Connects within `timeout`, or until told to stop.
pub(crate) fn connect(
    address: SocketAddr,
    timeout: Duration,
    stop: &StopSignal,
) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Ok(()) => {}
        Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => {
            let mut fds = [PollFd::new(&socket, PollFlags::OUT), PollFd::new(stop, PollFlags::IN)];
            wait(&mut fds, Instant::now().checked_add(timeout));
            let [connected, stopped] = fds.map(|fd| !fd.revents().is_empty());
            if stopped {
                return Err(io::Error::other("shutting down"));
            }
            if !connected {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "Connect timed out"));
            }
            if let Some(error) = socket.take_error()? {
                return Err(error);
            }
        }
        Err(error) => return Err(error),
    }
    let stream = TcpStream::from(socket);
    // Both ends may have met in the middle: a port of the ephemeral range that nobody listens on.
    if stream.local_addr().ok() == stream.peer_addr().ok() {
        return Err(io::Error::new(io::ErrorKind::ConnectionRefused, "connected to itself"));
    }
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Listens for other servers, see [`net_utils::listen`].
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    net_utils::listen(address, 1024, |_| Ok(()))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn local(port: u16) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, port).into()
    }

    #[test]
    fn a_connection_is_made_refused_or_given_up() {
        let stop = StopSignal::new().unwrap();
        let listener = listen(local(0)).unwrap();
        let address = listener.local_addr().unwrap();
        let second = Duration::from_secs(1);
        assert!(connect(address, second, &stop).is_ok());
        drop(listener);
        let error = connect(address, second, &stop).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        assert!(!stop.is_stopped() && !stop.sleep(Duration::from_millis(1)));
        stop.stop();
        stop.stop();
        assert!(stop.is_stopped() && stop.sleep(Duration::from_secs(3600)));
    }
}
