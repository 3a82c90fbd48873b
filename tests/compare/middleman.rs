//! A proxy that changes what one server sends: a broken server without breaking one.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::thread;

/// Changes the frames of one connection, one after the other; the frames to send on.
pub type Fault = Box<dyn FnMut(Vec<u8>, &mut Vec<Vec<u8>>) + Send>;

/// Where clients of the changed server connect. Its threads end with the connections; the listener
/// lives as long as the process.
pub fn stand_between(server: SocketAddr, make: fn() -> Fault) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            let Ok(server) = TcpStream::connect(server) else { continue };
            for stream in [&client, &server] {
                stream.set_nodelay(true).unwrap();
            }
            let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || copy(from, to));
            thread::spawn(move || copy_changed(server, client, make()));
        }
    });
    addr
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to); // However it ends, the other side is told.
    let _ = to.shutdown(Shutdown::Write);
}

/// The first frame is the answer to the connect request, and passes.
fn copy_changed(mut from: TcpStream, mut to: TcpStream, mut fault: Fault) {
    let mut is_first = true;
    let mut length = [0; 4];
    while from.read_exact(&mut length).is_ok() {
        let count = u32::from_be_bytes(length) as usize;
        let mut frame = vec![0; count];
        if from.read_exact(&mut frame).is_err() {
            break;
        }
        let mut frames = Vec::new();
        if std::mem::take(&mut is_first) {
            frames.push(frame);
        } else {
            fault(frame, &mut frames);
        }
        for frame in frames {
            let mut bytes = u32::try_from(frame.len()).unwrap().to_be_bytes().to_vec();
            bytes.extend(frame);
            if to.write_all(&bytes).is_err() {
                return;
            }
        }
    }
    let _ = to.shutdown(Shutdown::Both); // The client may have been first.
}
