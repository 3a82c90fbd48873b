//! The election port byte by byte.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use super::*;
use crate::support::wait_until;

pub const V1: i64 = -65536;
pub const V2: i64 = -65535;

/// The first message of a connection.
pub fn hello(version: i64, sid: i64, addresses: &str) -> Vec<u8> {
    let mut bytes = version.to_be_bytes().to_vec();
    bytes.extend(sid.to_be_bytes());
    bytes.extend((addresses.len() as i32).to_be_bytes());
    bytes.extend(addresses.as_bytes());
    bytes
}

/// A notification of version 2 with its length in front.
pub fn notification(state: i32, vote: [i64; 4], config: &str) -> Vec<u8> {
    let mut bytes = state.to_be_bytes().to_vec();
    vote.iter().for_each(|number| bytes.extend(number.to_be_bytes()));
    bytes.extend(2i32.to_be_bytes());
    bytes.extend((config.len() as i32).to_be_bytes());
    bytes.extend(config.as_bytes());
    framed(&bytes)
}

pub fn framed(bytes: &[u8]) -> Vec<u8> {
    let mut frame = (bytes.len() as i32).to_be_bytes().to_vec();
    frame.extend(bytes);
    frame
}

/// Connects as soon as the port is open.
pub fn connect(network: Network, sid: i64) -> TcpStream {
    let stream =
        wait_until(PATIENCE, || TcpStream::connect((network.host(sid), ELECTION_PORT)).ok());
    let stream = stream.expect("the election port opens");
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

pub fn listen(network: Network, sid: i64) -> TcpListener {
    TcpListener::bind((network.host(sid), ELECTION_PORT)).unwrap()
}

/// An election port where nobody answers: with its queue full the kernel ignores further connections,
/// as if the host were gone.
pub fn listen_to_nobody(network: Network, sid: i64) -> (socket2::Socket, TcpStream) {
    let address: std::net::SocketAddr =
        format!("{}:{ELECTION_PORT}", network.host(sid)).parse().unwrap();
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    socket.bind(&address.into()).unwrap();
    socket.listen(0).unwrap();
    (socket, TcpStream::connect(address).unwrap())
}

pub fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let (stream, _) = wait_until(PATIENCE, || listener.accept().ok()).expect("somebody connects");
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream
}

pub fn read(mut stream: &TcpStream, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}

/// Reads the first message: version, id, addresses.
pub fn read_hello(stream: &TcpStream) -> (i64, i64, String) {
    let version = i64::from_be_bytes(read(stream, 8).try_into().unwrap());
    let sid = i64::from_be_bytes(read(stream, 8).try_into().unwrap());
    let length = i32::from_be_bytes(read(stream, 4).try_into().unwrap());
    (version, sid, String::from_utf8(read(stream, length as usize)).unwrap())
}

/// Reads a notification: state, `[leader, zxid, round, epoch]`, configuration.
pub fn read_notification(stream: &TcpStream) -> (i32, [i64; 4], String) {
    let length = i32::from_be_bytes(read(stream, 4).try_into().unwrap());
    let bytes = read(stream, length as usize);
    let int = |at: usize| i32::from_be_bytes(bytes[at..at + 4].try_into().unwrap());
    let long = |at: usize| i64::from_be_bytes(bytes[at..at + 8].try_into().unwrap());
    assert_eq!((int(36), int(40)), (2, length - 44), "version and length of the configuration");
    let config = String::from_utf8(bytes[44..].to_vec()).unwrap();
    (int(0), [long(4), long(12), long(20), long(28)], config)
}

/// Whether the other side has closed within `limit`.
pub fn is_closed(mut stream: &TcpStream, limit: Duration) -> bool {
    stream.set_read_timeout(Some(limit)).unwrap();
    let mut byte = [0; 1024];
    loop {
        match stream.read(&mut byte) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) => return error.kind() == io::ErrorKind::ConnectionReset,
        }
    }
}

pub fn write(mut stream: &TcpStream, bytes: &[u8]) {
    stream.write_all(bytes).unwrap();
}
