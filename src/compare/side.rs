//! One of the two servers that are compared: an address, and the process when it was started here.

use std::net::SocketAddr;

use super::launch::{LaunchError, Server};

/// A server that is driven.
pub struct Side {
    /// How it is called in reports: `java`, `zabkeeper` or its address.
    pub name: String,
    server: Where,
}

enum Where {
    At(SocketAddr),
    Started(Box<Server>),
}

impl Side {
    /// A server that somebody else started.
    pub fn at(name: &str, addr: SocketAddr) -> Side {
        Side { name: name.to_owned(), server: Where::At(addr) }
    }

    /// A server that was started here, and ends with the side.
    pub fn started(name: &str, server: Server) -> Side {
        Side { name: name.to_owned(), server: Where::Started(Box::new(server)) }
    }

    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        match &self.server {
            Where::At(addr) => *addr,
            Where::Started(server) => server.addr(),
        }
    }

    /// The process, when it was started here.
    pub fn server(&mut self) -> Option<&mut Server> {
        match &mut self.server {
            Where::At(_) => None,
            Where::Started(server) => Some(server),
        }
    }

    /// Begins anew with an empty data directory, when the server was started here; true if so.
    pub fn renew(&mut self) -> Result<bool, LaunchError> {
        match self.server() {
            None => Ok(false),
            Some(server) => {
                server.kill();
                server.clear_data()?;
                server.restart()?;
                Ok(true)
            }
        }
    }
}
