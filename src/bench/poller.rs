//! epoll for links: who may be read, who may be written.

use std::io;
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::fd::OwnedFd;

use rustix::event::{Timespec, epoll};

/// The longest sleep: what is not told by a socket is noticed this late.
pub const SLEEP_NANOS_MAX: u64 = 100_000_000;

/// A set of sockets, each with a number.
pub struct Poller {
    epoll: OwnedFd,
    events: Box<[MaybeUninit<epoll::Event>; 256]>,
}

/// What a socket is ready for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ready {
    /// The number given when it was added.
    pub index: usize,
    /// There is something to read, or the end.
    pub read: bool,
    /// There is room to write.
    pub write: bool,
}

impl Poller {
    /// An empty set.
    pub fn new() -> io::Result<Poller> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        Ok(Poller { epoll, events: Box::new([MaybeUninit::uninit(); 256]) })
    }

    /// Adds a socket.
    pub fn add(&self, stream: &TcpStream, index: usize, write: bool) -> io::Result<()> {
        Ok(epoll::add(&self.epoll, stream, epoll::EventData::new_u64(index as u64), flags(write))?)
    }

    /// Changes whether room to write is of interest.
    pub fn modify(&self, stream: &TcpStream, index: usize, write: bool) -> io::Result<()> {
        let data = epoll::EventData::new_u64(index as u64);
        Ok(epoll::modify(&self.epoll, stream, data, flags(write))?)
    }

    /// Forgets a socket; one that is not there is no error.
    pub fn remove(&self, stream: &TcpStream) {
        let _ = epoll::delete(&self.epoll, stream);
    }

    /// Waits up to `nanos` (at most [`SLEEP_NANOS_MAX`]) for sockets to become ready.
    pub fn wait(&mut self, nanos: u64) -> io::Result<impl Iterator<Item = Ready> + use<>> {
        let timeout = Timespec { tv_sec: 0, tv_nsec: nanos.min(SLEEP_NANOS_MAX) as _ };
        let mut ready = [Ready { index: 0, read: false, write: false }; 256];
        let mut count = 0;
        match epoll::wait(&self.epoll, &mut self.events[..], Some(&timeout)) {
            Ok((events, _)) => {
                for (slot, event) in ready.iter_mut().zip(events) {
                    let (flags, data) = (event.flags, event.data);
                    *slot = Ready {
                        index: data.u64() as usize,
                        read: flags.intersects(
                            epoll::EventFlags::IN | epoll::EventFlags::HUP | epoll::EventFlags::ERR,
                        ),
                        write: flags.contains(epoll::EventFlags::OUT),
                    };
                    count += 1;
                }
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(ready.into_iter().take(count))
    }
}

fn flags(write: bool) -> epoll::EventFlags {
    let mut flags = epoll::EventFlags::IN;
    flags.set(epoll::EventFlags::OUT, write);
    flags
}
