//! Cuts the incoming bytes of a connection into frames: an `int` length and that many bytes.
//!
//! Small frames live in a fixed buffer on the reading thread's stack, so an idle connection holds
//! no heap memory; a larger one gets a buffer that grows as its bytes arrive, never ahead of them
//! by more than [`GROWTH_BYTES`]: a hostile length costs nothing.

use std::io::{self, Read};

/// The stack buffer: several pipelined requests of ordinary size.
pub const SMALL_BYTES: usize = 4096;
/// How far the buffer of a large frame is extended at once.
const GROWTH_BYTES: usize = 64 << 10;

/// Where the next frame stands.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// A whole frame is there: its length.
    Frame(usize),
    /// More bytes are needed.
    More,
    /// The length is negative or over the limit.
    BadLength(i32),
}

/// See the module.
pub struct FrameReader {
    small: [u8; SMALL_BYTES],
    start: usize,
    end: usize,
    /// The frame in progress when it does not fit `small`, without its length; its first
    /// `large_end` bytes are there.
    large: Vec<u8>,
    large_end: usize,
    large_length: Option<usize>,
}

impl Default for FrameReader {
    fn default() -> Self {
        FrameReader {
            small: [0; SMALL_BYTES],
            start: 0,
            end: 0,
            large: Vec::new(),
            large_end: 0,
            large_length: None,
        }
    }
}

impl FrameReader {
    /// The bytes read and not consumed yet, for a look at the first four of a connection.
    pub fn buffered(&self) -> &[u8] {
        self.small.get(self.start..self.end).unwrap_or_default()
    }

    /// Drops bytes at the front.
    pub fn consume(&mut self, count: usize) {
        self.start = self.start.saturating_add(count).min(self.end);
    }

    /// Reads once from `source`. `Ok(0)` is the end of the stream.
    pub fn fill(&mut self, source: &mut impl Read) -> io::Result<usize> {
        if let Some(length) = self.large_length {
            if self.large_end == self.large.len() {
                self.large.resize(length.min(self.large_end + GROWTH_BYTES), 0);
            }
            let count = source.read(self.large.get_mut(self.large_end..).unwrap_or_default())?;
            self.large_end += count;
            return Ok(count);
        }
        if self.start > 0 {
            self.small.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let count = source.read(self.small.get_mut(self.end..).unwrap_or_default())?;
        self.end += count;
        Ok(count)
    }

    /// Looks whether a whole frame of at most `length_max` bytes is there.
    pub fn next(&mut self, length_max: i32) -> Next {
        if let Some(length) = self.large_length {
            return if self.large_end == length { Next::Frame(length) } else { Next::More };
        }
        let buffered = self.buffered();
        let Some((head, rest)) = buffered.split_first_chunk::<4>() else { return Next::More };
        let length = i32::from_be_bytes(*head);
        if length < 0 || length > length_max {
            return Next::BadLength(length);
        }
        let length = length as usize;
        if rest.len() >= length {
            return Next::Frame(length);
        }
        if 4 + length > SMALL_BYTES {
            self.large = rest.to_vec();
            self.large_end = self.large.len();
            self.large_length = Some(length);
            self.start = 0;
            self.end = 0;
        }
        Next::More
    }

    /// The length of a large frame whose bytes are still coming.
    pub fn expected(&self) -> Option<usize> {
        self.large_length
    }

    /// The bytes of the frame that [`FrameReader::next`] found.
    pub fn frame(&self, length: usize) -> &[u8] {
        if self.large_length.is_some() {
            &self.large
        } else {
            self.buffered().get(4..4 + length).unwrap_or_default()
        }
    }

    /// Drops that frame.
    pub fn advance(&mut self, length: usize) {
        if self.large_length.take().is_some() {
            self.large = Vec::new();
        } else {
            self.consume(4 + length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out `bytes` in pieces of `step`.
    struct Trickle<'a>(&'a [u8], usize);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.1.min(self.0.len()).min(buffer.len());
            buffer[..count].copy_from_slice(&self.0[..count]);
            self.0 = &self.0[count..];
            Ok(count)
        }
    }

    fn check(bodies: &[&[u8]], step: usize) {
        let mut bytes = Vec::new();
        for body in bodies {
            bytes.extend((body.len() as u32).to_be_bytes());
            bytes.extend(*body);
        }
        let (mut source, mut reader) = (Trickle(&bytes, step), FrameReader::default());
        let mut found = Vec::new();
        loop {
            match reader.next(1 << 20) {
                Next::Frame(length) => {
                    found.push(reader.frame(length).to_vec());
                    reader.advance(length);
                }
                Next::More if reader.fill(&mut source).unwrap() == 0 => break,
                Next::More => {}
                Next::BadLength(length) => panic!("{length}"),
            }
        }
        assert!(found.iter().map(Vec::as_slice).eq(bodies.iter().copied()), "step {step}");
    }

    #[test]
    fn frames_of_all_sizes_are_cut_whatever_the_pieces() {
        let (exact, over) = (vec![1; SMALL_BYTES - 4], vec![2; SMALL_BYTES - 3]);
        let big = vec![3; 300_000];
        for step in [1, 3, 7, 4096, 1 << 20] {
            check(&[b"", b"a", &exact, b"", &over, b"bc", &big, &big, b"d"], step);
        }
    }

    #[test]
    fn lengths_are_checked_before_anything_is_stored() {
        for length in [-1, i32::MIN, 1001, i32::MAX] {
            let mut reader = FrameReader::default();
            reader.fill(&mut &length.to_be_bytes()[..]).unwrap();
            assert_eq!(reader.next(1000), Next::BadLength(length));
        }
    }
}
