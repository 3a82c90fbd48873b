//! What parsing a configuration asks of the machine; tests and fuzzing give a machine without
//! files and names.

use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::Path;

/// Files, names and cores.
pub trait Surroundings {
    /// The content of a regular file, `None` if there is none.
    fn read_file(&self, path: &Path) -> io::Result<Option<Vec<u8>>>;
    /// The first address of a host, which may be an address itself.
    fn resolve(&self, host: &str) -> io::Result<IpAddr>;
    /// How many cores this process may use.
    fn cores(&self) -> usize;
}

/// The machine this runs on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Machine;

impl Surroundings for Machine {
    fn read_file(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        if path.is_file() { std::fs::read(path).map(Some) } else { Ok(None) }
    }

    fn resolve(&self, host: &str) -> io::Result<IpAddr> {
        let first = (host, 0).to_socket_addrs()?.next();
        first.map(|address| address.ip()).ok_or_else(|| io::Error::other("no address"))
    }

    fn cores(&self) -> usize {
        std::thread::available_parallelism().map_or(1, Into::into)
    }
}

/// A machine without files, that knows addresses only and has one core.
#[derive(Debug, Clone, Copy, Default)]
pub struct Nowhere;

impl Surroundings for Nowhere {
    fn read_file(&self, _: &Path) -> io::Result<Option<Vec<u8>>> {
        Ok(None)
    }

    fn resolve(&self, host: &str) -> io::Result<IpAddr> {
        host.parse().map_err(|_| io::Error::other("Name or service not known"))
    }

    fn cores(&self) -> usize {
        1
    }
}
