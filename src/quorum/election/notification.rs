//! The wire form of a notification (Java: `FastLeaderElection.buildMsg` and the beginning of
//! `WorkerReceiver.run`).
//!
//! | bytes | content | since |
//! | --- | --- | --- |
//! | 4 | state of the sender: 0 LOOKING, 1 FOLLOWING, 2 LEADING, 3 OBSERVING | |
//! | 8 | proposed leader | |
//! | 8 | its last zxid | |
//! | 8 | number of the round | |
//! | 8 | its epoch | ZOOKEEPER-107 |
//! | 4 | version of this format, 2 | 3.4.6; not read from messages of 40 bytes |
//! | 4 + n | configuration as text in UTF-8 | 3.5.0, version 2 |
//!
//! What is written is always version 2; what is read may be any, and may have something behind it.

use crate::jute::{Input, OutputExt};
use crate::proto::{ServerId, Zxid};
use crate::quorum::zab::{ServerState, Vote};

/// The version that is written (Java: `Notification.CURRENTVERSION`).
pub const CURRENT_VERSION: i32 = 2;

/// What a notification says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationMessage {
    /// The sender's state, `None` for a number that means nothing.
    pub state: Option<ServerState>,
    /// The vote; its state is that of the sender, or LOOKING if that means nothing.
    pub vote: Vote,
    /// The sender's configuration, with what is no UTF-8 replaced.
    pub config: Option<String>,
}

/// Why a message is no notification.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotificationError {
    /// Less than any version sends.
    #[error("Got a short response: {0}")]
    Short(usize),
    /// It ends before its last field.
    #[error("partial / malformed message (message length: {0})")]
    Partial(usize),
    /// The length of the configuration cannot be.
    #[error(
        "Invalid configLength in notification message! capacity={capacity}, configLength={length}"
    )]
    ConfigLength {
        /// Of the message.
        capacity: usize,
        /// As said.
        length: i32,
    },
}

/// The bytes of version 2.
#[must_use]
pub fn encode(vote: &Vote, config: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(44 + config.len());
    out.put_i32(vote.state.ordinal());
    out.put_i64(vote.id.0);
    out.put_i64(vote.zxid.0);
    out.put_i64(vote.election_epoch);
    out.put_i64(vote.peer_epoch);
    out.put_i32(CURRENT_VERSION);
    // A configuration of 2 GiB is refused long before it comes here.
    out.put_i32(i32::try_from(config.len()).unwrap_or_default());
    out.extend_from_slice(config.as_bytes());
    out
}

/// Reads any version.
pub fn decode(bytes: &[u8]) -> Result<NotificationMessage, NotificationError> {
    let length = bytes.len();
    if length < 28 {
        return Err(NotificationError::Short(length));
    }
    let partial = |_| NotificationError::Partial(length);
    let mut input = Input::unbounded(bytes);
    let state = ServerState::from_ordinal(input.read_i32().map_err(partial)?);
    let id = ServerId(input.read_i64().map_err(partial)?);
    let zxid = Zxid(input.read_i64().map_err(partial)?);
    let election_epoch = input.read_i64().map_err(partial)?;
    // Before ZOOKEEPER-107 the epoch was that of the zxid.
    let peer_epoch = if length == 28 { zxid.epoch() } else { input.read_i64().map_err(partial)? };
    // Compat: 40 bytes hold a version as well, which Java does not look at.
    let version = match length {
        28 | 40 => 0,
        _ => input.read_i32().map_err(partial)?,
    };
    let config = if version > 1 {
        let said = input.read_i32().map_err(partial)?;
        let size = usize::try_from(said).ok().filter(|size| *size <= length);
        let size =
            size.ok_or(NotificationError::ConfigLength { capacity: length, length: said })?;
        let text = input.take(size).map_err(partial)?;
        Some(String::from_utf8_lossy(text).into_owned())
    } else {
        None
    };
    let vote =
        Vote { version, id, zxid, election_epoch, peer_epoch, state: state.unwrap_or_default() };
    Ok(NotificationMessage { state, vote, config })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn vote() -> Vote {
        Vote {
            version: 2,
            state: ServerState::Leading,
            ..Vote::looking(ServerId(3), Zxid(0x5_0000_0007), 9, 6)
        }
    }

    /// As Java's `buildMsg` writes it.
    const BYTES: &str = "00000002 0000000000000003 0000000500000007 0000000000000009 \
                         0000000000000006 00000002 00000009 76657273696f6e3d30";

    fn bytes(hex: &str) -> Vec<u8> {
        crate::common::golden::unhex(&hex.replace(' ', ""))
    }

    #[test]
    fn what_is_written_is_version_2() {
        assert_eq!(encode(&vote(), "version=0"), bytes(BYTES));
        let read = decode(&bytes(BYTES)).unwrap();
        assert_eq!((read.vote, read.config.as_deref()), (vote(), Some("version=0")));
        assert_eq!(read.state, Some(ServerState::Leading));
    }

    #[test]
    fn older_forms_are_read() {
        let whole = bytes(BYTES);
        let check = |length: usize, version, peer_epoch| {
            let read = decode(&whole[..length]).unwrap();
            assert_eq!(read.vote, Vote { version, peer_epoch, ..vote() });
            assert_eq!(read.config, None);
        };
        check(28, 0, 5);
        check(40, 0, 6);
        let mut version_1 = whole;
        version_1[39] = 1;
        let read = decode(&version_1).unwrap();
        assert_eq!((read.vote.version, read.config), (1, None));
    }

    #[test]
    fn newer_and_odd_forms_are_read_as_far_as_known() {
        let mut longer = bytes(BYTES);
        longer.extend_from_slice(b"more");
        longer[39] = 3;
        let read = decode(&longer).unwrap();
        assert_eq!((read.vote.version, read.config.as_deref()), (3, Some("version=0")));
        let mut unknown = bytes(BYTES);
        unknown[3] = 7;
        unknown[44] = 0xff;
        let read = decode(&unknown).unwrap();
        assert_eq!((read.state, read.vote.state), (None, ServerState::Looking));
        assert_eq!(read.config.as_deref(), Some("\u{fffd}ersion=0"));
    }

    #[test]
    fn what_is_cut_off_or_lies_about_its_length_is_refused() {
        let whole = bytes(BYTES);
        for length in (0..whole.len()).filter(|length| ![28, 40].contains(length)) {
            assert!(decode(&whole[..length]).is_err(), "{length}");
        }
        for (said, is_length) in [(-1i32, true), (i32::MAX, true), (54, true), (10, false)] {
            let mut lie = whole.clone();
            lie[40..44].copy_from_slice(&said.to_be_bytes());
            let is_error = matches!(decode(&lie), Err(NotificationError::ConfigLength { .. }));
            assert_eq!(is_error, is_length, "{said}");
            assert!(decode(&lie).is_err());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Ok(read) = decode(&bytes) && let Some(config) = &read.config {
                let again = decode(&encode(&read.vote, config)).unwrap();
                prop_assert_eq!(again.config, read.config);
            }
        }
    }
}
