//! Connecting to a leader (`Learner.connectToLeader`, `Learner.LeaderConnector`).
//!
//! Deliberate differences: all addresses are tried at the same time by one thread that polls them, and
//! the first that answers wins; Java starts a thread for each and waits for all of them. Names are
//! resolved anew at each attempt, to all of their addresses, where Java takes the first. The leader
//! leaves the election when its learners do and may not listen yet, so the first attempts follow each
//! other quickly; Java waits its full delay.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, Protocol, Socket, Type};

use crate::common::net_utils::MultipleAddresses;

/// Attempts before giving up, not counting the early ones.
const TRIES_MAX: u32 = 5;
/// Attempts with delays of 1, 2, 4, … ms.
const EARLY_TRIES: u32 = 7;
/// How often a thread that waits looks whether it is still wanted.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// How to connect.
#[derive(Debug, Clone, Copy)]
pub struct ConnectSettings {
    /// For all attempts together: `connectToLearnerMasterLimit` or `initLimit` in ms.
    pub timeout: Duration,
    /// `leaderConnectDelayDuringRetryMs`.
    pub retry_delay: Duration,
    /// `follower.nodelay`.
    pub nodelay: bool,
}

/// Connects to one of `addresses`, whichever answers first. `wait` sleeps for a time and says
/// whether to go on.
pub fn connect_to_leader(
    addresses: &MultipleAddresses,
    settings: &ConnectSettings,
    wait: &dyn Fn(Duration) -> bool,
) -> io::Result<TcpStream> {
    let deadline = Instant::now() + settings.timeout;
    for early in 0..EARLY_TRIES {
        let delay = Duration::from_millis(1 << early).min(settings.retry_delay);
        match connect_once(addresses, deadline, wait) {
            Ok(stream) => {
                stream.set_nodelay(settings.nodelay)?;
                return Ok(stream);
            }
            Err(error) => log::debug!("The leader at {addresses} does not listen yet: {error}"),
        }
        if !wait(delay) {
            return Err(io::ErrorKind::Interrupted.into());
        }
    }
    let mut tries = 1;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "connectToLeader exceeded on retries.",
            ));
        }
        let error = match connect_once(addresses, deadline, wait) {
            Ok(stream) => {
                stream.set_nodelay(settings.nodelay)?;
                return Ok(stream);
            }
            Err(error) => error,
        };
        let left = deadline.saturating_duration_since(Instant::now());
        log::warn!(
            "Unexpected exception, tries={tries}, remaining init limit={}, connecting to \
             {addresses}: {error}",
            left.as_millis()
        );
        if tries == TRIES_MAX || left <= settings.retry_delay || !wait(settings.retry_delay) {
            return Err(error);
        }
        tries += 1;
    }
}

/// One attempt at all addresses.
fn connect_once(
    addresses: &MultipleAddresses,
    deadline: Instant,
    wait: &dyn Fn(Duration) -> bool,
) -> io::Result<TcpStream> {
    let mut error = io::Error::other("no address");
    let mut pending = Vec::new();
    for address in addresses.all_addresses() {
        match address.resolve_all() {
            Ok(resolved) => {
                for address in resolved {
                    match begin(address) {
                        Ok(socket) => pending.push((address, socket)),
                        Err(refused) => error = refused,
                    }
                }
            }
            Err(unknown) => error = unknown,
        }
    }
    while !pending.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        let ready = poll_once(&pending, left.min(LOOK_AGAIN))?;
        for index in ready.into_iter().rev() {
            let (address, socket) = pending.swap_remove(index);
            match finish(socket) {
                Ok(stream) => {
                    log::info!("Successfully connected to leader, using address: {address}");
                    return Ok(stream);
                }
                Err(refused) => error = refused,
            }
        }
        if !wait(Duration::ZERO) {
            return Err(io::ErrorKind::Interrupted.into());
        }
    }
    Err(error)
}

fn begin(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    match socket.connect(&address.into()) {
        Err(error)
            if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) =>
        {
            Err(error)
        }
        _ => Ok(socket),
    }
}

/// The sockets whose attempts have come to an end, good or bad, in rising order.
fn poll_once(pending: &[(SocketAddr, Socket)], wait: Duration) -> io::Result<Vec<usize>> {
    let mut fds: Vec<PollFd<'_>> = pending
        .iter()
        .map(|(_, socket)| PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::OUT))
        .collect();
    let timeout = Timespec {
        tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: wait.subsec_nanos().into(),
    };
    match poll(&mut fds, Some(&timeout)) {
        Ok(_) | Err(rustix::io::Errno::INTR) => {}
        Err(error) => return Err(error.into()),
    }
    let ready = |(index, fd): (usize, &PollFd<'_>)| (!fd.revents().is_empty()).then_some(index);
    Ok(fds.iter().enumerate().filter_map(ready).collect())
}

fn finish(socket: Socket) -> io::Result<TcpStream> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    socket.set_nonblocking(false)?;
    let stream = TcpStream::from(socket);
    // A port of our own that nobody listens at can connect to itself.
    if stream.peer_addr()? == stream.local_addr()? {
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    Ok(stream)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::common::net_utils::HostPort;

    const SETTINGS: ConnectSettings = ConnectSettings {
        timeout: Duration::from_secs(20),
        retry_delay: Duration::from_millis(1),
        nodelay: true,
    };

    /// A port that nobody listens at: bound, but not listening.
    fn closed_port() -> (Socket, u16) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        let port = socket.local_addr().unwrap().as_socket().unwrap().port();
        (socket, port)
    }

    fn addresses(ports: &[u16]) -> MultipleAddresses {
        ports.iter().map(|port| HostPort::new("127.0.0.1", *port)).collect()
    }

    #[test]
    fn the_address_that_answers_is_taken() {
        let (_closed, closed) = closed_port();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let open = listener.local_addr().unwrap().port();
        let stream = connect_to_leader(&addresses(&[closed, open]), &SETTINGS, &|_| true).unwrap();
        assert_eq!(stream.peer_addr().unwrap().port(), open);
    }

    #[test]
    fn five_attempts_are_made_after_a_few_quick_ones() {
        let (_closed, closed) = closed_port();
        let check = |retry_delay_ms: u64, expected: &[u128]| {
            let waits = std::cell::RefCell::new(Vec::new());
            let wait = |time: Duration| {
                waits.borrow_mut().extend((!time.is_zero()).then_some(time.as_millis()));
                true
            };
            let retry_delay = Duration::from_millis(retry_delay_ms);
            let settings = ConnectSettings { retry_delay, ..SETTINGS };
            assert!(connect_to_leader(&addresses(&[closed]), &settings, &wait).is_err());
            assert_eq!(*waits.borrow(), expected);
        };
        check(100, &[1, 2, 4, 8, 16, 32, 64, 100, 100, 100, 100]);
        check(10, &[1, 2, 4, 8, 10, 10, 10, 10, 10, 10, 10]);
        check(0, &[]);
    }

    #[test]
    fn nobody_connects_who_is_not_wanted_any_more() {
        let (_closed, closed) = closed_port();
        let started = Instant::now();
        assert!(connect_to_leader(&addresses(&[closed]), &SETTINGS, &|_| false).is_err());
        assert!(started.elapsed() < SETTINGS.timeout);
        let nowhere = MultipleAddresses::default();
        assert!(connect_to_leader(&nowhere, &SETTINGS, &|_| false).is_err());
    }
}
