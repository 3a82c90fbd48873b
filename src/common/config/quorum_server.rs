//! One member of an ensemble: the lines `server.N=…` (Java: `QuorumPeer.QuorumServer`).
//!
//! It is here and not in `quorum` because a configuration that is read to start a standalone server
//! is checked by the same parser; `quorum` uses it from here. Names are kept as written and
//! resolved when they are used. Different from Java: a line without any address (`|`) is refused.

use std::fmt;

use super::error::ConfigError;
use crate::common::java_number::parse_int;
use crate::common::net_utils::{HostPort, MultipleAddresses, delimited_host};
use crate::proto::ServerId;

/// Whether a member votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LearnerType {
    /// It votes.
    #[default]
    Participant,
    /// It only learns.
    Observer,
}

impl LearnerType {
    /// Reads `peerType` or the last part of a server's line.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        match text.trim().to_lowercase().as_str() {
            "participant" => Ok(Self::Participant),
            "observer" => Ok(Self::Observer),
            _ => Err(ConfigError::config(format!("Unrecognised peertype: {text}"))),
        }
    }

    /// As in the text of a configuration.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Participant => "participant",
            Self::Observer => "observer",
        }
    }
}

/// Java's name of the constant.
impl fmt::Display for LearnerType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Participant => "PARTICIPANT",
            Self::Observer => "OBSERVER",
        })
    }
}

/// Refuses what cannot work of any membership, whatever its quorums (Java: the end of
/// `parseDynamicConfig`).
pub fn check_roles(
    voters: usize,
    has_observers: bool,
    standalone_enabled: bool,
) -> Result<(), ConfigError> {
    match voters {
        0 if !standalone_enabled => Err(ConfigError::config(
            "standaloneEnabled = false then number of participants should be >0",
        )),
        0 if has_observers => {
            Err(ConfigError::config("Observers w/o participants is an invalid configuration"))
        }
        1 if standalone_enabled && has_observers => {
            Err(ConfigError::config("Observers w/o quorum is an invalid configuration"))
        }
        _ => Ok(()),
    }
}

/// A member: who it is and where it listens.
#[derive(Debug, Clone)]
pub struct QuorumServer {
    /// Its id.
    pub id: ServerId,
    /// Where it listens for learners while it leads; at least one address.
    pub addr: MultipleAddresses,
    /// Where it listens for elections; at least one address.
    pub election_addr: MultipleAddresses,
    /// Where it listens for clients, if the line says so.
    pub client_addr: Option<HostPort>,
    /// `client_addr` is this server's own `clientPort`: it is known here only, and not printed.
    pub is_client_addr_from_static: bool,
    /// The host of the last address of the line, which names the server in authentication.
    pub hostname: String,
    /// Whether it votes.
    pub learner_type: LearnerType,
}

const FORMAT: &str = " does not have the form server_config or server_config;client_config where \
     server_config is the pipe separated list of host:port:port or host:port:port:type and \
     client_config is port or host:port";

impl QuorumServer {
    /// Reads what follows `server.N=`: `host:port:port[:role]`, several of them separated by `|`,
    /// then perhaps `;port` or `;host:port` for clients. IPv6 addresses stand in brackets.
    pub fn parse(
        id: ServerId,
        line: &str,
        multi_address_enabled: bool,
    ) -> Result<Self, ConfigError> {
        let wrong_format = || ConfigError::config(format!("{line}{FORMAT}"));
        let halves = split(line, ';');
        let Some((servers, behind)) = halves.split_first() else { return Err(wrong_format()) };
        let client_addr = match behind {
            [client] => Some(parse_client(line, client)?),
            _ => None,
        };
        let servers = split(servers, '|');
        if servers.len() > 1 && !multi_address_enabled {
            return Err(ConfigError::config(format!(
                "Multiple address feature is disabled, but multiple addresses were specified for \
                 sid {id}"
            )));
        }
        if servers.is_empty() {
            return Err(wrong_format());
        }
        let mut addr = MultipleAddresses::default();
        let mut election_addr = MultipleAddresses::default();
        let mut hostname = "";
        let mut role = None;
        for server in servers {
            let parts = host_and_port(server)?;
            let (host, quorum, election, kind) = match parts.as_slice() {
                _ if behind.len() > 1 => return Err(wrong_format()),
                [host, quorum, election] => (*host, quorum, election, None),
                [host, quorum, election, kind] => (*host, quorum, election, Some(*kind)),
                _ => return Err(wrong_format()),
            };
            let (quorum, election) = (parse_port(host, quorum)?, parse_port(host, election)?);
            if quorum == election {
                return Err(ConfigError::config(format!(
                    "Client and election port must be different! Please update the configuration \
                     file on server.{id}"
                )));
            }
            addr.add_address(HostPort::new(host, quorum));
            election_addr.add_address(HostPort::new(host, election));
            hostname = host;
            if let Some(kind) = kind {
                let kind = LearnerType::parse(kind)?;
                if *role.get_or_insert(kind) != kind {
                    // Compat: Java names the default, not the role that came first.
                    return Err(ConfigError::config(format!(
                        "Multiple addresses should have similar roles: {} vs {kind}",
                        LearnerType::default()
                    )));
                }
            }
        }
        Ok(Self {
            id,
            addr,
            election_addr,
            client_addr,
            is_client_addr_from_static: false,
            hostname: hostname.to_owned(),
            learner_type: role.unwrap_or_default(),
        })
    }

    /// Whether it votes.
    #[must_use]
    pub fn is_participant(&self) -> bool {
        self.learner_type == LearnerType::Participant
    }
}

/// The line as Java writes it: sorted by host, with the role, with the client address unless that
/// is only this server's own `clientPort`.
impl fmt::Display for QuorumServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sorted = |addresses: &MultipleAddresses| {
            let mut all = addresses.all_addresses().to_vec();
            all.sort_by(|a, b| a.host.cmp(&b.host));
            all
        };
        let pairs = sorted(&self.addr).into_iter().zip(sorted(&self.election_addr));
        for (n, (addr, election)) in pairs.enumerate() {
            let separator = if n == 0 { "" } else { "|" };
            write!(f, "{separator}{addr}:{}", election.port)?;
        }
        write!(f, ":{}", self.learner_type.word())?;
        match &self.client_addr {
            Some(client) if !self.is_client_addr_from_static => {
                write!(f, ";{}:{}", delimited_host(&client.host), client.port)
            }
            _ => Ok(()),
        }
    }
}

/// Where the client address comes from and the name in authentication do not count.
impl PartialEq for QuorumServer {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
            && self.learner_type == other.learner_type
            && self.addr == other.addr
            && self.election_addr == other.election_addr
            && self.client_addr == other.client_addr
    }
}

impl Eq for QuorumServer {}

fn parse_client(line: &str, client: &str) -> Result<HostPort, ConfigError> {
    match host_and_port(client)?.as_slice() {
        // Compat: Java names the server's host, which is not known yet.
        [port] => Ok(HostPort::new("0.0.0.0", parse_port("null", port)?)),
        [host, port] => Ok(HostPort::new(*host, parse_port("null", port)?)),
        _ => Err(ConfigError::config(format!("{line}{FORMAT}"))),
    }
}

fn parse_port(host: &str, text: &str) -> Result<u16, ConfigError> {
    let port = parse_int(text)
        .ok_or_else(|| ConfigError::config(format!("Address unresolved: {host}:{text}")))?;
    u16::try_from(port).map_err(|_| ConfigError::config(format!("port out of range:{port}")))
}

/// Cuts `host:port…`; a host in brackets may contain colons (Java: `ConfigUtils.getHostAndPort`).
pub(crate) fn host_and_port(text: &str) -> Result<Vec<&str>, ConfigError> {
    let Some(bracketed) = text.strip_prefix('[') else { return Ok(split(text, ':')) };
    let (host, rest) = bracketed.split_once(']').ok_or_else(|| {
        ConfigError::config(format!("{text} starts with '[' but has no matching ']:'"))
    })?;
    // Compat: Java skips the character after the bracket whatever it is.
    let mut after = rest.chars();
    match (after.next(), after.as_str()) {
        (None, _) => Ok(vec![host]),
        (Some(_), "") => {
            Err(ConfigError::config(format!("{text} doesn't have a port after colon")))
        }
        (Some(_), ports) => {
            let mut parts = vec![host];
            parts.extend(split(ports, ':'));
            Ok(parts)
        }
    }
}

/// `String.split`: empty parts at the end are dropped, but an empty text is one part.
fn split(text: &str, separator: char) -> Vec<&str> {
    if text.is_empty() {
        return vec![text];
    }
    let kept = text.trim_end_matches(separator);
    if kept.is_empty() { Vec::new() } else { kept.split(separator).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<QuorumServer, ConfigError> {
        QuorumServer::parse(ServerId(1), line, true)
    }

    /// The line as read and printed again, or a part of the error.
    fn check(line: &str, expected: Result<&str, &str>) {
        match (QuorumServer::parse(ServerId(1), line, false), expected) {
            (Ok(actual), Ok(printed)) => {
                assert_eq!(actual.to_string(), printed, "{line}");
                assert_eq!(parse(printed).unwrap(), actual, "{line}");
            }
            (Err(error), Err(part)) => assert!(error.message.contains(part), "{line}: {error}"),
            (actual, _) => panic!("{line}: {actual:?}"),
        }
    }

    #[test]
    fn lines_are_read_and_printed_as_java_does() {
        check("h:2888:3888", Ok("h:2888:3888:participant"));
        check("h:2888:3888:observer", Ok("h:2888:3888:observer"));
        check("h:2888:3888: PARTICIPANT ", Ok("h:2888:3888:participant"));
        check("h:2888:3888;2181", Ok("h:2888:3888:participant;0.0.0.0:2181"));
        check("h:2888:3888;", Ok("h:2888:3888:participant"));
        check("h:2888:3888;[::1]:2181", Ok("h:2888:3888:participant;[0:0:0:0:0:0:0:1]:2181"));
        check("[::1]:2888:3888:observer;h:2181", Ok("[0:0:0:0:0:0:0:1]:2888:3888:observer;h:2181"));
        check("h", Err("does not have the form"));
        check("", Err("does not have the form"));
        check(";", Err("does not have the form"));
        check("|", Err("does not have the form"));
        check("h:1:2;3;4", Err("does not have the form"));
        check("h:1:2;a:b:3", Err("does not have the form"));
        check("h:1:2;x", Err("Address unresolved: null:x"));
        check("h:1:x", Err("Address unresolved: h:x"));
        check("h:1:1", Err("must be different"));
        check("h:1:2:king", Err("Unrecognised peertype: king"));
        check("h:1:70000", Err("port out of range:70000"));
        check("a:1:2|b:1:2", Err("Multiple address feature is disabled"));
        check("[::1:1:2", Err("no matching"));
        check("[::1]:", Err("doesn't have a port"));
    }

    #[test]
    fn several_addresses_need_the_feature_and_one_role() {
        let two = parse("b:1:2|a:3:4|b:1:2:observer").unwrap();
        assert_eq!(two.to_string(), "a:3:4|b:1:2:observer");
        assert_eq!(two.election_addr.to_string(), "b:2|a:4");
        let error = parse("a:1:2:observer|b:1:2:participant").unwrap_err();
        assert_eq!(
            error.message,
            "Multiple addresses should have similar roles: PARTICIPANT vs PARTICIPANT"
        );
    }

    #[test]
    fn own_client_port_is_not_printed() {
        let mut server = parse("h:1:2").unwrap();
        server.client_addr = Some(HostPort::new("0.0.0.0", 2181));
        server.is_client_addr_from_static = true;
        assert_eq!(server.to_string(), "h:1:2:participant");
        assert_ne!(server, parse("h:1:2").unwrap());
    }
}
