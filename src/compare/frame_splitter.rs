//! Takes a byte stream of one direction apart into frames, without holding anything up: what has
//! come is passed on at once, and a frame is recorded with the bytes that complete it. No Java class;
//! the pure part of the recording proxy.

use super::recording::FRAME_BYTES_MAX;

/// A part of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// A whole frame without its length.
    Frame(Vec<u8>),
    /// Bytes that are none: everything behind an impossible length, or half a frame at the end.
    Bytes(Vec<u8>),
}

/// One direction of one connection.
///
/// A four letter word is a length far beyond any frame, so it needs no list of words: it makes the
/// stream raw, as garbage and TLS do.
#[derive(Debug, Default)]
pub struct FrameSplitter {
    buffered: Vec<u8>,
    is_raw: bool,
    has_framed: bool,
}

impl FrameSplitter {
    /// A stream of which nothing has come.
    pub fn new() -> FrameSplitter {
        FrameSplitter::default()
    }

    /// From here on nothing is taken for a frame.
    pub fn make_raw(&mut self) {
        self.is_raw = true;
    }

    /// True when the stream was raw from its first byte on: then the answer will be as well.
    pub fn is_word(&self) -> bool {
        self.is_raw && !self.has_framed
    }

    /// What these bytes complete, in order.
    pub fn push(&mut self, bytes: &[u8]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        self.buffered.extend_from_slice(bytes);
        let mut from = 0;
        while !self.is_raw {
            let rest = self.buffered.get(from..).unwrap_or_default();
            let Some((prefix, rest)) = rest.split_first_chunk::<4>() else { break };
            let length = u32::from_be_bytes(*prefix) as usize;
            if length > FRAME_BYTES_MAX {
                self.is_raw = true;
                break;
            }
            let Some(payload) = rest.get(..length) else { break };
            pieces.push(Piece::Frame(payload.to_vec()));
            self.has_framed = true;
            from += 4 + length;
        }
        self.buffered.drain(..from);
        if self.buffered.is_empty() && self.buffered.capacity() > 1 << 20 {
            self.buffered = Vec::new();
        }
        if self.is_raw {
            pieces.extend(self.finish());
        }
        pieces
    }

    /// What is left at the end of the stream.
    pub fn finish(&mut self) -> Option<Piece> {
        let rest = std::mem::take(&mut self.buffered);
        (!rest.is_empty()).then_some(Piece::Bytes(rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All pieces of a stream that comes in chunks of `step` bytes; raw pieces joined.
    fn split(stream: &[u8], step: usize) -> Vec<Piece> {
        let mut splitter = FrameSplitter::new();
        let mut pieces = Vec::new();
        for chunk in stream.chunks(step) {
            pieces.extend(splitter.push(chunk));
        }
        pieces.extend(splitter.finish());
        let mut joined: Vec<Piece> = Vec::new();
        for piece in pieces {
            match (joined.last_mut(), piece) {
                (Some(Piece::Bytes(before)), Piece::Bytes(more)) => before.extend(more),
                (_, piece) => joined.push(piece),
            }
        }
        joined
    }

    fn check(stream: &[u8], expected: &[Piece]) {
        for step in [1, 2, 3, 5, 1000] {
            assert_eq!(split(stream, step), expected, "in steps of {step}");
        }
    }

    fn frame(bytes: &[u8]) -> Piece {
        Piece::Frame(bytes.to_vec())
    }

    fn raw(bytes: &[u8]) -> Piece {
        Piece::Bytes(bytes.to_vec())
    }

    #[test]
    fn streams_are_taken_apart_however_they_come() {
        check(b"", &[]);
        check(b"\0\0\0\x02ab\0\0\0\0\0\0\0\x01c", &[frame(b"ab"), frame(b""), frame(b"c")]);
        check(b"ruok", &[raw(b"ruok")]);
        check(b"ruok\n", &[raw(b"ruok\n")]);
        check(b"ru", &[raw(b"ru")]);
        check(b"\0\0\0\x01a\0\0\0\x05bc", &[frame(b"a"), raw(b"\0\0\0\x05bc")]);
        check(b"\0\0\0\x01a\xff\xff\xff\xffbc", &[frame(b"a"), raw(b"\xff\xff\xff\xffbc")]);
        check(b"\x16\x03\x01\x02\0", &[raw(b"\x16\x03\x01\x02\0")]);
    }

    #[test]
    fn only_a_stream_that_begins_raw_is_a_word() {
        let mut word = FrameSplitter::new();
        word.push(b"mntr");
        assert!(word.is_word());
        let mut garbage = FrameSplitter::new();
        garbage.push(b"\0\0\0\x01amntr");
        assert!(!garbage.is_word());
    }
}
