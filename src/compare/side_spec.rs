//! A side as the command line names it: `HOST:PORT` of a server that runs, or `java[:HOME]` and
//! `zabkeeper[:BINARY]` for one that is started.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::launch::{Implementation, LaunchError, Server, Setup};
use super::report::SideInfo;
use super::side::Side;
use crate::client::four_letter_word;

/// What to compare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SideSpec {
    /// A server that runs already.
    At(SocketAddr),
    /// Java's, from this release, or from the one that `ZOOKEEPER_HOME` names.
    Java(Option<PathBuf>),
    /// This program, or another build of it.
    Zabkeeper(Option<PathBuf>),
}

impl FromStr for SideSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<SideSpec, String> {
        let path = |text: &str| Some(PathBuf::from(text));
        match (text, text.split_once(':')) {
            ("java", _) => Ok(SideSpec::Java(None)),
            ("zabkeeper", _) => Ok(SideSpec::Zabkeeper(None)),
            (_, Some(("java", home))) if !is_port(home) => Ok(SideSpec::Java(path(home))),
            (_, Some(("zabkeeper", binary))) if !is_port(binary) => {
                Ok(SideSpec::Zabkeeper(path(binary)))
            }
            _ => text
                .to_socket_addrs()
                .map_err(|error| error.to_string())
                .and_then(|mut addrs| addrs.next().ok_or_else(|| "no address".to_owned()))
                .map(SideSpec::At)
                .map_err(|error| {
                    format!("{text}: not HOST:PORT, java[:HOME] or zabkeeper[:BINARY]: {error}")
                }),
        }
    }
}

/// A host may be called `java`.
fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

impl fmt::Display for SideSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SideSpec::At(addr) => write!(f, "{addr}"),
            SideSpec::Java(None) => f.write_str("java"),
            SideSpec::Java(Some(home)) => write!(f, "java:{}", home.display()),
            SideSpec::Zabkeeper(None) => f.write_str("zabkeeper"),
            SideSpec::Zabkeeper(Some(binary)) => write!(f, "zabkeeper:{}", binary.display()),
        }
    }
}

impl SideSpec {
    /// What to start; `None` for a server that runs.
    pub fn implementation(&self) -> Result<Option<Implementation>, LaunchError> {
        Ok(Some(match self {
            SideSpec::At(_) => return Ok(None),
            SideSpec::Java(None) => Implementation::java_from_environment()?,
            SideSpec::Java(Some(home)) => Implementation::java(home.clone())?,
            SideSpec::Zabkeeper(None) => Implementation::this_binary()?,
            SideSpec::Zabkeeper(Some(binary)) => {
                Implementation::Zabkeeper { binary: binary.clone() }
            }
        }))
    }

    /// The side, started with `setup` unless it runs already.
    pub fn side(&self, setup: &Setup) -> Result<Side, LaunchError> {
        match (self, self.implementation()?) {
            (SideSpec::At(addr), _) => Ok(Side::at(&addr.to_string(), *addr)),
            (_, Some(implementation)) => {
                let name = implementation.to_string();
                Ok(Side::started(&name, Server::start(&implementation, setup)?))
            }
            (_, None) => Err(LaunchError::Missing(format!("{self} cannot be started"))),
        }
    }
}

/// The side for a report, with the version that it tells.
pub fn side_info(side: &Side, spec: &SideSpec) -> SideInfo {
    let srvr = four_letter_word(side.addr(), "srvr", Duration::from_secs(5)).unwrap_or_default();
    let version = srvr
        .lines()
        .find_map(|line| line.strip_prefix("Zookeeper version: "))
        .map(|version| version.split(['-', ',']).next().unwrap_or_default().to_owned());
    let how = match spec {
        SideSpec::At(addr) => addr.to_string(),
        _ => "started for the comparison".into(),
    };
    SideInfo { name: side.name.clone(), version: version.unwrap_or_default(), how }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_addresses_or_servers_to_start() {
        for text in ["127.0.0.1:2181", "java", "java:/opt/zk", "zabkeeper", "zabkeeper:target/x"] {
            assert_eq!(text.parse::<SideSpec>().unwrap().to_string(), text);
        }
        let addr = "localhost:2181".parse::<SideSpec>().unwrap();
        assert!(matches!(addr, SideSpec::At(addr) if addr.port() == 2181));
        for text in ["", "perl", "127.0.0.1", "127.0.0.1:x"] {
            assert!(text.parse::<SideSpec>().is_err(), "{text}");
        }
    }
}
