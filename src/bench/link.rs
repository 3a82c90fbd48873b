//! A non-blocking connection of the generator: one read and one write per wake-up, frames cut
//! without copying, what is left over kept for the next time.

use std::io::{self, Read, Write};
use std::net::TcpStream;

/// The longest reply taken; a longer length field is garbage.
const FRAME_BYTES_MAX: usize = 1 << 30;
/// Room for one read, shared by the sessions of a thread.
const SCRATCH_BYTES: usize = 256 * 1024;

/// The read buffer that the links of a thread share.
pub struct Scratch(Vec<u8>);

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch(vec![0; SCRATCH_BYTES])
    }
}

/// A connection with its unsent and its half-received bytes.
pub struct Link {
    stream: TcpStream,
    /// Requests to send; bytes before `sent` are sent already.
    out: Vec<u8>,
    sent: usize,
    /// The beginning of a frame whose rest has not come.
    partial: Vec<u8>,
}

/// How a read ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// Something or nothing was read; the connection is open.
    Open,
    /// The server closed the connection.
    Closed,
}

impl Link {
    /// Takes a connected stream, whose blocking mode stays as it is.
    pub fn new(stream: TcpStream) -> Link {
        Link { stream, out: Vec::new(), sent: 0, partial: Vec::new() }
    }

    /// The socket.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The socket, without what was not sent.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// The buffer to append requests to; [`Link::flush`] sends it.
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.out
    }

    /// Sends what the socket takes, with one system call. True when nothing is left.
    pub fn flush(&mut self) -> io::Result<bool> {
        let unsent = self.out.get(self.sent..).unwrap_or_default();
        if !unsent.is_empty() {
            match self.stream.write(unsent) {
                Ok(count) => self.sent += count,
                Err(error) if is_retry(&error) => {}
                Err(error) => return Err(error),
            }
        }
        if self.sent >= self.out.len() {
            self.out.clear();
            self.sent = 0;
            return Ok(true);
        }
        Ok(false)
    }

    /// Reads what is there, with one system call, and hands each whole frame (without its length)
    /// to `each`.
    pub fn receive(
        &mut self,
        scratch: &mut Scratch,
        mut each: impl FnMut(&[u8]),
    ) -> io::Result<Received> {
        let kept = self.partial.len();
        let wanted = match self.partial.first_chunk::<4>() {
            Some(prefix) => kept.max(4 + frame_length(*prefix)?),
            None => kept,
        };
        if scratch.0.len() < wanted + SCRATCH_BYTES / 2 {
            scratch.0.resize(wanted + SCRATCH_BYTES, 0);
        }
        let (head, room) = scratch.0.split_at_mut(kept);
        let count = match self.stream.read(room) {
            Ok(0) => return Ok(Received::Closed),
            Ok(count) => count,
            Err(error) if is_retry(&error) => return Ok(Received::Open),
            Err(error) => return Err(error),
        };
        head.copy_from_slice(&self.partial);
        self.partial.clear();
        let mut rest = scratch.0.get(..kept + count).unwrap_or_default();
        while let Some((prefix, behind)) = rest.split_first_chunk::<4>() {
            match behind.split_at_checked(frame_length(*prefix)?) {
                Some((frame, next)) => {
                    each(frame);
                    rest = next;
                }
                None => break,
            }
        }
        self.partial.extend_from_slice(rest);
        Ok(Received::Open)
    }
}

fn frame_length(prefix: [u8; 4]) -> io::Result<usize> {
    let length = i32::from_be_bytes(prefix);
    usize::try_from(length)
        .ok()
        .filter(|length| *length <= FRAME_BYTES_MAX)
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, format!("frame of {length}")))
}

fn is_retry(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::TimedOut
    )
}

/// Xid and error code at the head of a reply; `None` when it is too short.
pub fn reply_xid_and_err(frame: &[u8]) -> Option<(i32, i32)> {
    let (xid, rest) = frame.split_first_chunk::<4>()?;
    let (_zxid, rest) = rest.split_first_chunk::<8>()?;
    let (err, _) = rest.split_first_chunk::<4>()?;
    Some((i32::from_be_bytes(*xid), i32::from_be_bytes(*err)))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn pair() -> (Link, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (Link::new(client), listener.accept().unwrap().0)
    }

    #[test]
    fn frames_are_cut_wherever_the_reads_end() {
        let (mut link, mut server) = pair();
        let mut scratch = Scratch::default();
        let mut frames: Vec<Vec<u8>> = Vec::new();
        let bytes = [0, 0, 0, 2, 5, 6, 0, 0, 0, 0, 0, 0, 0, 1, 7];
        for (index, byte) in bytes.iter().enumerate() {
            server.write_all(&[*byte]).unwrap();
            link.receive(&mut scratch, |frame| frames.push(frame.to_vec())).unwrap();
            let whole = [5, 9, 14].iter().filter(|end| index >= **end).count();
            assert_eq!(frames.len(), whole, "after byte {index}");
        }
        assert_eq!(frames, [vec![5, 6], vec![], vec![7]]);
        drop(server);
        assert_eq!(link.receive(&mut scratch, |_| ()).unwrap(), Received::Closed);
    }

    #[test]
    fn a_long_frame_grows_the_scratch() {
        let (mut link, mut server) = pair();
        let writer = std::thread::spawn(move || {
            server.write_all(&1_000_000i32.to_be_bytes()).unwrap();
            server.write_all(&vec![1; 1_000_000]).unwrap();
        });
        let (mut scratch, mut length) = (Scratch::default(), 0);
        while length == 0 {
            link.receive(&mut scratch, |frame| length = frame.len()).unwrap();
        }
        assert_eq!(length, 1_000_000);
        writer.join().unwrap();
    }

    #[test]
    fn a_short_reply_is_not_read_beyond_its_end() {
        assert_eq!(reply_xid_and_err(&[0; 15]), None);
        let mut reply = [0; 16];
        reply[3] = 9;
        reply[15] = 1;
        assert_eq!(reply_xid_and_err(&reply), Some((9, 1)));
    }
}
