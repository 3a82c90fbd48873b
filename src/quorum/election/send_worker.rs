//! `QuorumCnxManager.SendWorker`: writes what is queued for one server to its connection.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;

use super::peer_queue::{Frame, PeerQueue};
use crate::jute::OutputExt;
use crate::proto::ServerId;

/// A message with its length in front.
pub(super) fn frame(message: &[u8]) -> Frame {
    let mut frame = Vec::with_capacity(4 + message.len());
    // Longer ones would be refused by the receiver; configurations are far from it.
    frame.put_i32(i32::try_from(message.len()).unwrap_or(i32::MAX));
    frame.extend_from_slice(message);
    Arc::from(frame)
}

/// Runs until the connection is over, or cannot be written to.
pub(super) fn run(mut socket: &TcpStream, queue: &PeerQueue, connection: u64, sid: ServerId) {
    while let Some(frame) = queue.next(connection) {
        if let Err(error) = socket.write_all(&frame) {
            log::warn!("Exception when using channel: for id {sid}: {error}");
            break;
        }
    }
    log::debug!("Send worker leaving thread id {sid}");
}
