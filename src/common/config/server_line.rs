//! The lines `server.N=…` (Java: the constructor of `QuorumServer`).
//!
//! A standalone server only needs to know whether there is more than one voter, and its own client
//! address; the rest is checked as Java does.

use super::error::ConfigError;
use crate::common::java_number::parse_int;

/// What a standalone server needs of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerLine {
    pub(crate) is_participant: bool,
    /// Host and port for clients, not resolved.
    pub(crate) client: Option<(String, u16)>,
}

const FORMAT: &str = " does not have the form server_config or server_config;client_config where \
     server_config is the pipe separated list of host:port:port or host:port:port:type and \
     client_config is port or host:port";

impl ServerLine {
    pub(crate) fn parse(
        sid: i64,
        line: &str,
        multi_address_enabled: bool,
    ) -> Result<Self, ConfigError> {
        let wrong_format = || ConfigError::config(format!("server.{sid}={line}{FORMAT}"));
        let mut halves = split(line, ';').into_iter();
        let (servers, client) = match (halves.next(), halves.next(), halves.next()) {
            (Some(servers), client, None) => (split(servers, '|'), client),
            _ => return Err(wrong_format()),
        };
        if servers.len() > 1 && !multi_address_enabled {
            return Err(ConfigError::config(format!(
                "Multiple address feature is disabled, but multiple addresses were specified for \
                 sid {sid}"
            )));
        }
        let client = client.map(|client| match host_and_port(client)?.as_slice() {
            [port] => Ok(("0.0.0.0".to_owned(), parse_port(sid, port)?)),
            [host, port] => Ok(((*host).to_owned(), parse_port(sid, port)?)),
            _ => Err(wrong_format()),
        });
        let mut role = None;
        for server in servers {
            let parts = host_and_port(server)?;
            let (quorum, election, kind) = match parts.as_slice() {
                [_, quorum, election] => (quorum, election, None),
                [_, quorum, election, kind] => (quorum, election, Some(*kind)),
                _ => return Err(wrong_format()),
            };
            if parse_port(sid, quorum)? == parse_port(sid, election)? {
                return Err(ConfigError::config(format!(
                    "Client and election port must be different! Please update the configuration \
                     file on server.{sid}"
                )));
            }
            if let Some(kind) = kind {
                let is_participant = parse_role(kind)?;
                if role.is_some_and(|role| role != is_participant) {
                    return Err(ConfigError::config(format!(
                        "Multiple addresses should have similar roles: server.{sid}={line}"
                    )));
                }
                role = Some(is_participant);
            }
        }
        Ok(Self { is_participant: role.unwrap_or(true), client: client.transpose()? })
    }
}

/// Whether `peerType` or the last part of a line names a participant (or else an observer).
pub(crate) fn parse_role(text: &str) -> Result<bool, ConfigError> {
    match text.trim().to_lowercase().as_str() {
        "participant" => Ok(true),
        "observer" => Ok(false),
        _ => Err(ConfigError::config(format!("Unrecognised peertype: {text}"))),
    }
}

fn parse_port(sid: i64, text: &str) -> Result<u16, ConfigError> {
    let port = parse_int(text)
        .ok_or_else(|| ConfigError::config(format!("server.{sid}: {text} is not a port")))?;
    u16::try_from(port)
        .map_err(|_| ConfigError::config(format!("server.{sid}: port out of range:{port}")))
}

/// Cuts `host:port…`; a host in brackets may contain colons (Java: `ConfigUtils.getHostAndPort`).
fn host_and_port(text: &str) -> Result<Vec<&str>, ConfigError> {
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

    type Expected<'a> = Result<(bool, Option<(&'a str, u16)>), &'a str>;

    fn check(line: &str, expected: Expected<'_>) {
        let actual = ServerLine::parse(1, line, false);
        match (actual, expected) {
            (Ok(actual), Ok((is_participant, client))) => {
                let client = client.map(|(host, port)| (host.to_owned(), port));
                assert_eq!(actual, ServerLine { is_participant, client }, "{line}");
            }
            (Err(error), Err(part)) => assert!(error.message.contains(part), "{line}: {error}"),
            (actual, _) => panic!("{line}: {actual:?}"),
        }
    }

    #[test]
    fn lines_are_read_as_java_does() {
        check("h:2888:3888", Ok((true, None)));
        check("h:2888:3888:observer", Ok((false, None)));
        check("h:2888:3888: PARTICIPANT ", Ok((true, None)));
        check("h:2888:3888;2181", Ok((true, Some(("0.0.0.0", 2181)))));
        check("h:2888:3888;[::1]:2181", Ok((true, Some(("::1", 2181)))));
        check("[::1]:2888:3888:observer;h:2181", Ok((false, Some(("h", 2181)))));
        check("h", Err("does not have the form"));
        check("", Err("does not have the form"));
        check(";", Err("does not have the form"));
        check("h:1:2;3;4", Err("does not have the form"));
        check("h:1:2;a:b:3", Err("does not have the form"));
        check("h:1:2;x", Err("x is not a port"));
        check("h:1:1", Err("must be different"));
        check("h:1:2:king", Err("Unrecognised peertype: king"));
        check("h:1:70000", Err("port out of range:70000"));
        check("a:1:2|b:1:2", Err("Multiple address feature is disabled"));
        check("[::1:1:2", Err("no matching"));
        check("[::1]:", Err("doesn't have a port"));
    }

    #[test]
    fn several_addresses_need_the_feature_and_one_role() {
        let parse = |line| ServerLine::parse(1, line, true);
        assert!(parse("a:1:2|b:1:2").unwrap().is_participant);
        assert!(parse("a:1:2:observer|b:1:2:participant").is_err());
    }
}
