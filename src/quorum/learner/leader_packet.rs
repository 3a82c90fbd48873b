//! What a leader sends, from the wire into [`LeaderPacket`] (the `switch`es over `qp.getType()` in
//! `Learner`, `Follower` and `Observer`).

use std::sync::Arc;

use crate::jute::{Buffer, Input, JuteError};
use crate::proto::quorum::QuorumPacket;
use crate::proto::{ServerId, SessionId, TxnLogEntry, Zxid};
use crate::quorum::packet_stream::PacketType;
use crate::quorum::zab::learner_sync::LeaderPacket;

/// Decodes what was read. An error is the end of the connection; a type that leaders do not send is
/// [`LeaderPacket::Unknown`].
pub fn decode(packet: QuorumPacket) -> Result<LeaderPacket, JuteError> {
    let zxid = Zxid(packet.zxid);
    let mut input = Input::unbounded(packet.data.as_deref().unwrap_or_default());
    let unknown = LeaderPacket::Unknown(packet.packet_type);
    let Some(packet_type) = PacketType::from_i32(packet.packet_type) else { return Ok(unknown) };
    Ok(match packet_type {
        PacketType::LeaderInfo => LeaderPacket::LeaderInfo { zxid, version: input.read_i32().ok() },
        PacketType::Diff => LeaderPacket::Diff(zxid),
        PacketType::Trunc => LeaderPacket::Trunc(zxid),
        PacketType::Snap => LeaderPacket::Snap(zxid),
        PacketType::Proposal => LeaderPacket::Proposal(entry(packet.data)?),
        PacketType::Commit => LeaderPacket::Commit(zxid),
        PacketType::CommitAndActivate => {
            LeaderPacket::CommitAndActivate { zxid, designated_leader: ServerId(input.read_i64()?) }
        }
        PacketType::Inform => LeaderPacket::Inform(entry(packet.data)?),
        PacketType::InformAndActivate => {
            let designated_leader = ServerId(input.read_i64()?);
            LeaderPacket::InformAndActivate {
                entry: entry(Some(input.rest().into()))?,
                designated_leader,
            }
        }
        PacketType::NewLeader => LeaderPacket::NewLeader {
            zxid,
            // Compat: a single byte is no configuration either (`syncWithLeader`).
            config: packet.data.filter(|text| text.len() > 1),
        },
        PacketType::UpToDate => LeaderPacket::UpToDate,
        PacketType::Ping => LeaderPacket::Ping(zxid),
        PacketType::Revalidate => LeaderPacket::Revalidate {
            session: SessionId(input.read_i64()?),
            is_valid: input.read_bool()?,
        },
        PacketType::Sync => LeaderPacket::Sync,
        PacketType::Request
        | PacketType::Ack
        | PacketType::FollowerInfo
        | PacketType::ObserverInfo
        | PacketType::AckEpoch => unknown,
    })
}

fn entry(data: Buffer) -> Result<Arc<TxnLogEntry>, JuteError> {
    let bytes = data.ok_or(JuteError::Null("txn"))?;
    TxnLogEntry::decode_shared(bytes).map(Arc::new)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jute::Jute;
    use crate::proto::txn::{ErrorTxn, TxnHeader};
    use crate::proto::{OpCode, Txn};

    fn sample() -> TxnLogEntry {
        let header = TxnHeader {
            client_id: SessionId(1),
            cxid: 2,
            zxid: Zxid(0x1_0000_0003),
            time: 4,
            txn_type: OpCode::Error.as_i32(),
        };
        TxnLogEntry::new(header, Txn::Error(ErrorTxn { err: -101 }), None)
    }

    fn check(packet_type: i32, data: Option<&[u8]>, expected: Option<LeaderPacket>) {
        let packet =
            QuorumPacket { packet_type, zxid: 9, data: data.map(Arc::from), authinfo: Vec::new() };
        assert_eq!(decode(packet).ok(), expected, "type {packet_type}");
    }

    #[test]
    fn packets_of_a_leader_are_told_apart() {
        let zxid = Zxid(9);
        let entry = Arc::new(sample());
        check(4, None, Some(LeaderPacket::Commit(zxid)));
        check(13, None, Some(LeaderPacket::Diff(zxid)));
        check(2, Some(&entry.bytes), Some(LeaderPacket::Proposal(Arc::clone(&entry))));
        let mut activate = 5i64.to_bytes();
        check(9, Some(&activate), {
            Some(LeaderPacket::CommitAndActivate { zxid, designated_leader: ServerId(5) })
        });
        activate.extend_from_slice(&entry.bytes);
        check(19, Some(&activate), {
            Some(LeaderPacket::InformAndActivate { entry, designated_leader: ServerId(5) })
        });
        check(17, Some(&[0, 1, 0, 0]), {
            Some(LeaderPacket::LeaderInfo { zxid, version: Some(0x10000) })
        });
        check(17, None, Some(LeaderPacket::LeaderInfo { zxid, version: None }));
        check(10, Some(b"x"), Some(LeaderPacket::NewLeader { zxid, config: None }));
        check(6, Some(&[0, 0, 0, 0, 0, 0, 0, 7, 1]), {
            Some(LeaderPacket::Revalidate { session: SessionId(7), is_valid: true })
        });
        for unknown in [0, 1, 3, 11, 16, 18, 20, -1, i32::MIN, i32::MAX] {
            check(unknown, None, Some(LeaderPacket::Unknown(unknown)));
        }
    }

    #[test]
    fn packets_cut_short_are_errors() {
        for (packet_type, data) in [(2, &[0; 20][..]), (6, &[0; 8]), (9, &[0; 7]), (19, &[0; 12])] {
            check(packet_type, Some(data), None);
            check(packet_type, None, None);
        }
        let bytes = sample().bytes;
        for end in 0..bytes.len() {
            check(8, bytes.get(..end), None);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_are_too_strange(packet_type in 0..21i32, data: Vec<u8>) {
            let data = Some(Arc::from(data));
            let _ = decode(QuorumPacket { packet_type, zxid: 9, data, authinfo: Vec::new() });
        }
    }
}
