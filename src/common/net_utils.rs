//! Addresses by name (Java: `NetUtils`, `MultipleAddresses`, the unresolved `InetSocketAddress`).
//!
//! A name is resolved anew each time it is needed and never kept resolved: servers move. As in
//! Java's default an IPv4 address is preferred to an IPv6 one. The reachability checks of
//! `MultipleAddresses` are not here: the addresses of a server are tried in order instead.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};

use socket2::{Domain, Socket, Type};

/// A host, by name or address, and a port.
#[derive(Debug, Clone)]
pub struct HostPort {
    /// As written, an IPv6 address without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

impl HostPort {
    /// A host and a port. An address is kept as Java prints it (`getHostString`): `::1` becomes
    /// `0:0:0:0:0:0:0:1`.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        let host = host.into();
        let host = match host.parse::<Ipv6Addr>().map(|address| (address, address.to_canonical())) {
            Ok((_, IpAddr::V4(mapped))) => mapped.to_string(),
            Ok((address, IpAddr::V6(_))) => {
                address.segments().map(|segment| format!("{segment:x}")).join(":")
            }
            // An empty host is the loopback address.
            Err(_) if host.is_empty() => "localhost".to_owned(),
            Err(_) => host,
        };
        Self { host, port }
    }

    /// All addresses the name has now, IPv4 before IPv6, never empty. Blocks on the name service.
    pub fn resolve_all(&self) -> io::Result<Vec<SocketAddr>> {
        let host = self.host.as_str();
        let mut addresses: Vec<SocketAddr> = (host, self.port).to_socket_addrs()?.collect();
        addresses.sort_by_key(SocketAddr::is_ipv6);
        addresses.dedup();
        if addresses.is_empty() {
            return Err(io::Error::other(format!("{host}: no address")));
        }
        Ok(addresses)
    }

    /// The address that Java would take. Blocks on the name service.
    pub fn resolve(&self) -> io::Result<SocketAddr> {
        self.resolve_all()?.into_iter().next().ok_or_else(|| io::Error::other("no address"))
    }

    /// Whether the host is an address that stands for all addresses of a machine; names are not
    /// looked up.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.host.parse().is_ok_and(|address: IpAddr| address.is_unspecified())
    }
}

/// `host:port`, an IPv6 address in brackets (Java: `NetUtils.formatInetAddr`).
impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", delimited_host(&self.host), self.port)
    }
}

/// Host names do not differ by case.
impl PartialEq for HostPort {
    fn eq(&self, other: &Self) -> bool {
        self.port == other.port && self.host.eq_ignore_ascii_case(&other.host)
    }
}

impl Eq for HostPort {}

/// The host, in brackets if it holds a colon (Java: `QuorumServer.delimitedHostString`).
#[must_use]
pub fn delimited_host(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

/// Listens without blocking, with `backlog` connections that are not accepted yet. `set_options` sets
/// what accepted sockets inherit. An unspecified IPv4 address means all addresses of both families,
/// as for Java's sockets.
pub fn listen(
    address: SocketAddr,
    backlog: i32,
    set_options: impl Fn(&Socket) -> io::Result<()>,
) -> io::Result<TcpListener> {
    let open = |address: SocketAddr| {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        if address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED) {
            socket.set_only_v6(false)?;
        }
        set_options(&socket)?;
        socket.bind(&address.into())?;
        socket.listen(backlog)?;
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

/// The addresses of one purpose of one server, in the order of the configuration, without
/// duplicates. Two are equal if they hold the same addresses in any order.
#[derive(Debug, Clone, Default)]
pub struct MultipleAddresses {
    addresses: Vec<HostPort>,
}

impl MultipleAddresses {
    /// Adds an address unless it is there.
    pub fn add_address(&mut self, address: HostPort) {
        if !self.addresses.contains(&address) {
            self.addresses.push(address);
        }
    }

    /// All of them.
    #[must_use]
    pub fn all_addresses(&self) -> &[HostPort] {
        &self.addresses
    }

    /// The first one; `None` only if there is none.
    #[must_use]
    pub fn one(&self) -> Option<&HostPort> {
        self.addresses.first()
    }

    /// Each port once, on all addresses of the machine (Java: `getWildcardAddresses`).
    #[must_use]
    pub fn wildcard_addresses(&self) -> Vec<HostPort> {
        let mut wildcards = Self::default();
        for address in &self.addresses {
            wildcards.add_address(HostPort::new("0.0.0.0", address.port));
        }
        wildcards.addresses
    }
}

impl From<HostPort> for MultipleAddresses {
    fn from(address: HostPort) -> Self {
        Self { addresses: vec![address] }
    }
}

impl FromIterator<HostPort> for MultipleAddresses {
    fn from_iter<I: IntoIterator<Item = HostPort>>(addresses: I) -> Self {
        let mut all = Self::default();
        addresses.into_iter().for_each(|address| all.add_address(address));
        all
    }
}

/// Separated by `|`.
impl fmt::Display for MultipleAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, address) in self.addresses.iter().enumerate() {
            write!(f, "{}{address}", if n == 0 { "" } else { "|" })?;
        }
        Ok(())
    }
}

impl PartialEq for MultipleAddresses {
    fn eq(&self, other: &Self) -> bool {
        self.addresses.len() == other.addresses.len()
            && self.addresses.iter().all(|address| other.addresses.contains(address))
    }
}

impl Eq for MultipleAddresses {}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn addresses_print_as_in_java() {
        assert_eq!(HostPort::new("h", 1).to_string(), "h:1");
        assert_eq!(HostPort::new("::1", 1).to_string(), "[0:0:0:0:0:0:0:1]:1");
        let two: MultipleAddresses =
            [HostPort::new("b", 2), HostPort::new("::1", 1), HostPort::new("B", 2)]
                .into_iter()
                .collect();
        assert_eq!(two.to_string(), "b:2|[0:0:0:0:0:0:0:1]:1");
        let other: MultipleAddresses =
            [HostPort::new("::1", 1), HostPort::new("b", 2)].into_iter().collect();
        assert_eq!(two, other);
    }

    #[test]
    fn the_wildcard_listens_on_both_families() {
        let listener = listen((Ipv4Addr::UNSPECIFIED, 0).into(), 10, |_| Ok(())).unwrap();
        let address = listener.local_addr().unwrap();
        let connect = |ip: IpAddr| TcpStream::connect((ip, address.port()));
        assert!(connect(Ipv4Addr::LOCALHOST.into()).is_ok());
        // Unless the kernel has no IPv6.
        assert!(address.is_ipv4() || connect(Ipv6Addr::LOCALHOST.into()).is_ok());
    }

    #[test]
    fn names_are_resolved_when_asked() {
        assert_eq!(HostPort::new("127.0.0.1", 7).resolve().unwrap().to_string(), "127.0.0.1:7");
        assert_eq!(HostPort::new("::1", 7).resolve().unwrap().to_string(), "[::1]:7");
        assert_eq!(HostPort::new("localhost", 7).resolve().unwrap().to_string(), "127.0.0.1:7");
        assert!(HostPort::new("no such host", 7).resolve().is_err());
        assert!(HostPort::new("0.0.0.0", 7).is_wildcard() && HostPort::new("::", 7).is_wildcard());
        assert!(!HostPort::new("h", 7).is_wildcard());
    }
}
