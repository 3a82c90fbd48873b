//! `QuorumCnxManager.RecvWorker`: reads the messages of one server from its connection.
//!
//! Different from Java: memory is taken as a message arrives, not for the length it claims.

use std::io::{self, Read};
use std::net::TcpStream;

use crate::common::circular_blocking_queue::CircularBlockingQueue;
use crate::proto::ServerId;

/// The longest message (Java: `PACKETMAXSIZE`).
const PACKET_MAX_SIZE: usize = 512 * 1024;
/// Messages that wait to be looked at (Java: `RECV_CAPACITY`).
const RECV_CAPACITY: usize = 100;
/// Their bytes all together. An ordinary one has a few hundred.
const RECV_BYTES_MAX: usize = 4 * PACKET_MAX_SIZE;

/// A message without its length.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message {
    pub(super) sid: ServerId,
    pub(super) bytes: Vec<u8>,
}

/// What all servers have sent. The oldest go when there is too much.
pub(super) type RecvQueue = CircularBlockingQueue<Message>;

pub(super) fn recv_queue() -> RecvQueue {
    CircularBlockingQueue::with_size_limit(RECV_CAPACITY, RECV_BYTES_MAX, |m| m.bytes.len())
}

/// Runs until the connection ends or something comes that is no message.
pub(super) fn run(socket: &TcpStream, queue: &RecvQueue, sid: ServerId, my_id: ServerId) {
    let error = loop {
        match read_message(socket) {
            Ok(bytes) => queue.offer(Message { sid, bytes }),
            Err(error) => break error,
        }
    };
    log::warn!("Connection broken for id {sid}, my id = {my_id}: {error}");
}

fn read_message(mut input: impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 4];
    input.read_exact(&mut length)?;
    let length = i32::from_be_bytes(length);
    let expected =
        usize::try_from(length).ok().filter(|length| (1..=PACKET_MAX_SIZE).contains(length));
    let expected = expected.ok_or_else(|| {
        io::Error::other(format!("Received packet with invalid packet: {length}"))
    })?;
    let mut bytes = Vec::new();
    input.take(expected as u64).read_to_end(&mut bytes)?;
    if bytes.len() < expected {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_messages_of_a_reasonable_length_are_taken() {
        let check =
            |bytes: &[u8], expected: Result<&[u8], &str>| match (read_message(bytes), expected) {
                (Ok(read), Ok(expected)) => assert_eq!(read, expected),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{error}"),
                (actual, _) => panic!("{bytes:?}: {actual:?}"),
            };
        check(&[0, 0, 0, 2, 7, 8, 9], Ok(&[7, 8]));
        check(&[0, 0, 0, 0], Err("invalid packet: 0"));
        check(&[0xff, 0xff, 0xff, 0xff], Err("invalid packet: -1"));
        check(&[0, 8, 0, 1], Err("invalid packet: 524289"));
        check(&[0, 8, 0, 0, 1], Err("unexpected end of file"));
        check(&[0, 0], Err("failed to fill"));
    }
}
