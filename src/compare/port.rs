//! Ports for servers that are started with a number in their configuration.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A port that the system gives to nobody else as long as this lives: neither to who asks for any
/// port nor to a connection on its way out. It is bound here, but not listened at, so that a server
/// that reuses addresses, as Java's and zabkeeper do, can listen at it, as often as it is started.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _bound: Socket,
}

impl Port {
    /// One that nobody has.
    pub fn claim() -> io::Result<Port> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
        let addr = socket.local_addr()?.as_socket();
        let number = addr.ok_or_else(|| io::Error::other("a socket without an address"))?.port();
        Ok(Port { number, _bound: socket })
    }

    /// Its number.
    pub fn number(&self) -> u16 {
        self.number
    }

    /// Where it is reached.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.number))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn servers_listen_at_it_one_after_the_other_and_nobody_else_gets_it() {
        let port = Port::claim().unwrap();
        for _ in 0..2 {
            assert!(TcpStream::connect(port.addr()).is_err(), "nobody listens yet");
            let server = TcpListener::bind(port.addr()).unwrap();
            let client = TcpStream::connect(port.addr()).unwrap();
            drop((server.accept().unwrap(), client));
        }
        let others: Vec<Port> = (0..100).map(|_| Port::claim().unwrap()).collect();
        assert!(others.iter().all(|other| other.number() != port.number()));
    }
}
