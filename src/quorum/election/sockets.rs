//! Sockets that can be given up: a connection attempt, a listener and a wait that end when the
//! owner says so.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use socket2::{Domain, Socket, Type};

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

/// Listens without blocking; an unspecified IPv4 address means all addresses of both families.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let open = |address: SocketAddr| {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
            socket.set_only_v6(false)?;
        }
        socket.bind(&address.into())?;
        socket.listen(1024)?;
        socket.set_nonblocking(true)?;
        Ok(TcpListener::from(socket))
    };
    if address.ip() == IpAddr::V4(Ipv4Addr::UNSPECIFIED) {
        // Without IPv6 in the kernel, IPv4 only; else its error is the one to tell.
        let both = SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), address.port());
        return open(both).or_else(|_| open(address));
    }
    open(address)
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn the_wildcard_listens_on_both_families() {
        let stop = StopSignal::new().unwrap();
        let listener = listen((Ipv4Addr::UNSPECIFIED, 0).into()).unwrap();
        let port = listener.local_addr().unwrap().port();
        assert!(connect(local(port), Duration::from_secs(1), &stop).is_ok());
        if listener.local_addr().unwrap().is_ipv6() {
            let address = (Ipv6Addr::LOCALHOST, port).into();
            assert!(connect(address, Duration::from_secs(1), &stop).is_ok());
        }
    }
}
