//! The first message of an election connection (Java: `QuorumCnxManager.InitialMessage`).
//!
//! | bytes | content |
//! | --- | --- |
//! | 8 | −65536: one address follows (3.5.0), or −65535: several (3.6.0) |
//! | 8 | id of the sender |
//! | 4 + n | `host:port`, several separated by `\|`; n from 1 to 2048 |
//!
//! Before 3.5 it was the sender's id alone, which is not negative.

use crate::common::config::host_and_port;
use crate::common::java_number::parse_int;
use crate::common::net_utils::{HostPort, MultipleAddresses};
use crate::jute::{Input, OutputExt};
use crate::proto::ServerId;

const PROTOCOL_VERSION_V1: i64 = -65536;
const PROTOCOL_VERSION_V2: i64 = -65535;
/// The longest text of addresses (Java: `maxBuffer`).
const ADDRESSES_MAX: usize = 2048;

/// Who connects, and where it says it listens for elections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct InitialMessage {
    pub(super) sid: ServerId,
    /// Without wildcard addresses, so perhaps empty.
    pub(super) election_addr: MultipleAddresses,
}

/// How much of a message is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Progress {
    /// At least so many bytes are missing; never 0.
    Missing(usize),
    Whole(InitialMessage),
}

/// A message that is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum InitialMessageError {
    #[error("Got unrecognized protocol version {0}")]
    Version(i64),
    #[error("Unreasonable buffer length: {0}")]
    Length(i32),
    #[error("Badly formed address: {0}")]
    Address(String),
    #[error("Bad port number: {0}")]
    Port(String),
}

impl InitialMessage {
    /// The message to send: the first address only, unless several may be named.
    pub(super) fn encode(&self, multi_address_enabled: bool) -> Vec<u8> {
        let (version, addresses) = if multi_address_enabled {
            (PROTOCOL_VERSION_V2, self.election_addr.to_string())
        } else {
            let first = self.election_addr.one().map(HostPort::to_string);
            (PROTOCOL_VERSION_V1, first.unwrap_or_default())
        };
        let mut out = Vec::with_capacity(20 + addresses.len());
        out.put_i64(version);
        out.put_i64(self.sid.0);
        out.put_i32(i32::try_from(addresses.len()).unwrap_or_default());
        out.extend_from_slice(addresses.as_bytes());
        out
    }

    /// Reads what has come so far. What follows is not the message's: never give more than asked
    /// for.
    pub(super) fn parse(bytes: &[u8]) -> Result<Progress, InitialMessageError> {
        let missing = |length: usize| Ok(Progress::Missing(length.saturating_sub(bytes.len())));
        let mut input = Input::unbounded(bytes);
        let Ok(version) = input.read_i64() else { return missing(8) };
        if version >= 0 {
            let election_addr = MultipleAddresses::default();
            return Ok(Progress::Whole(Self { sid: ServerId(version), election_addr }));
        }
        if version != PROTOCOL_VERSION_V1 && version != PROTOCOL_VERSION_V2 {
            return Err(InitialMessageError::Version(version));
        }
        let (Ok(sid), Ok(said)) = (input.read_i64(), input.read_i32()) else { return missing(20) };
        let length =
            usize::try_from(said).ok().filter(|length| (1..=ADDRESSES_MAX).contains(length));
        let length = length.ok_or(InitialMessageError::Length(said))?;
        let Ok(text) = input.take(length) else { return missing(20 + length) };
        let text = String::from_utf8_lossy(text);
        // Compat: `String.split` drops empty parts at the end.
        let addresses = text.trim_end_matches('|').split('|').map(parse_address);
        let addresses = addresses.collect::<Result<Vec<_>, _>>()?;
        let election_addr = addresses.into_iter().filter(|a| !a.is_wildcard()).collect();
        Ok(Progress::Whole(Self { sid: ServerId(sid), election_addr }))
    }
}

fn parse_address(text: &str) -> Result<HostPort, InitialMessageError> {
    let badly_formed = || InitialMessageError::Address(text.to_owned());
    let parts = host_and_port(text).map_err(|_| badly_formed())?;
    let [host, port] = parts.as_slice() else { return Err(badly_formed()) };
    let bad_port = || InitialMessageError::Port((*port).to_owned());
    let port = parse_int(port).and_then(|port| u16::try_from(port).ok()).ok_or_else(bad_port)?;
    Ok(HostPort::new(*host, port))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(addresses: &[(&str, u16)]) -> InitialMessage {
        let addresses = addresses.iter().map(|(host, port)| HostPort::new(*host, *port));
        InitialMessage { sid: ServerId(2), election_addr: addresses.collect() }
    }

    fn bytes(version: i64, length: i32, addresses: &str) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_i64(version);
        out.put_i64(2);
        out.put_i32(length);
        out.extend_from_slice(addresses.as_bytes());
        out
    }

    fn check(version: i64, addresses: &str, expected: Result<&[(&str, u16)], &str>) {
        let bytes = bytes(version, addresses.len() as i32, addresses);
        match (InitialMessage::parse(&bytes), expected) {
            (Ok(Progress::Whole(read)), Ok(expected)) => assert_eq!(read, message(expected)),
            (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
            (actual, _) => panic!("{addresses}: {actual:?}"),
        }
    }

    #[test]
    fn both_versions_are_read() {
        check(-65536, "h:3888", Ok(&[("h", 3888)]));
        check(-65535, "h:3888|[::1]:3889", Ok(&[("h", 3888), ("::1", 3889)]));
        check(-65536, "0.0.0.0:3888", Ok(&[]));
        check(-65535, "[::]:1|h:2|", Ok(&[("h", 2)]));
        check(-65534, "h:1", Err("unrecognized protocol version -65534"));
        check(-1, "h:1", Err("unrecognized protocol version -1"));
        check(-65536, "h", Err("Badly formed address: h"));
        check(-65536, "h:1:2", Err("Badly formed address"));
        check(-65536, "[::1:1", Err("Badly formed address"));
        check(-65536, "|", Err("Badly formed address"));
        check(-65536, "h:x", Err("Bad port number: x"));
        check(-65536, "h:70000", Err("Bad port number: 70000"));
        check(-65536, "", Err("Unreasonable buffer length: 0"));
        for length in [-1, 2049, i32::MAX] {
            let error = InitialMessage::parse(&bytes(-65536, length, "")).unwrap_err();
            assert_eq!(error, InitialMessageError::Length(length));
        }
    }

    #[test]
    fn servers_before_3_5_send_their_id_alone() {
        let read = InitialMessage::parse(&[0, 0, 0, 0, 0, 0, 0, 2]).unwrap();
        assert_eq!(read, Progress::Whole(message(&[])));
    }

    #[test]
    fn what_is_sent_is_what_java_sends() {
        let two = message(&[("h", 3888), ("::1", 3889)]);
        assert_eq!(two.encode(false), bytes(-65536, 6, "h:3888"));
        let both = "h:3888|[0:0:0:0:0:0:0:1]:3889";
        assert_eq!(two.encode(true), bytes(-65535, 29, both));
    }

    #[test]
    fn a_message_may_come_in_pieces() {
        let whole = bytes(-65536, 6, "h:3888");
        let mut read = 0;
        while let Progress::Missing(missing) = InitialMessage::parse(&whole[..read]).unwrap() {
            assert!(InitialMessage::parse(&whole[..read + missing - 1]).is_ok());
            assert!(missing > 0);
            read += missing;
        }
        assert_eq!(read, whole.len());
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(
            version in prop_oneof![Just(-65536i64), Just(-65535), any::<i64>()],
            length in -2i32..60,
            text in "[a-z0-9:|\\[\\]]{0,40}",
        ) {
            match InitialMessage::parse(&bytes(version, length, &text)) {
                Ok(Progress::Whole(read)) => {
                    prop_assert!(version >= 0 || read.sid == ServerId(2));
                }
                Ok(Progress::Missing(missing)) => prop_assert!((1..=60).contains(&missing)),
                Err(_) => {}
            }
        }
    }
}
