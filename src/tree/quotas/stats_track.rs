//! `StatsTrack`: limits or usage of a quota as text.
//!
//! `count=4,bytes=5` or, with hard limits, `count=4,bytes=5=;byteHardLimit=10;countHardLimit=10`.
//! The "=" behind the bytes makes parsers of 3.4 skip the rest. -1 means none.

use std::fmt;

const COUNT: &str = "count";
const BYTES: &str = "bytes";
const COUNT_HARD_LIMIT: &str = "countHardLimit";
const BYTE_HARD_LIMIT: &str = "byteHardLimit";

/// A text that is no statistics; Java throws a runtime exception.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a quota: {0:?}")]
pub struct StatsTrackError(
    /// The part that could not be read.
    pub String,
);

/// Numbers by name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StatsTrack {
    count: Option<i64>,
    bytes: Option<i64>,
    /// Everything else, sorted by name.
    others: Vec<(String, i64)>,
}

impl StatsTrack {
    /// Reads the data of a node with limits or usage. Both `,` and `;` separate.
    pub fn parse(data: &[u8]) -> Result<StatsTrack, StatsTrackError> {
        let text = String::from_utf8_lossy(data);
        let mut track = StatsTrack::default();
        let pairs = text.trim_end_matches([',', ';']);
        if pairs.is_empty() {
            return Ok(track);
        }
        let mut separated = false;
        for pair in pairs.split([',', ';']) {
            // Runs of separators count as one, except in front.
            if pair.is_empty() && separated {
                continue;
            }
            separated = true;
            let (name, value) = parse_pair(pair).ok_or_else(|| StatsTrackError(pair.to_owned()))?;
            track.set(name, value);
        }
        Ok(track)
    }

    /// Nodes, or the soft limit of them; -1 for none.
    pub fn count(&self) -> i64 {
        self.count.unwrap_or(-1)
    }

    /// Sets [`count`](Self::count).
    pub fn set_count(&mut self, count: i64) {
        self.count = Some(count);
    }

    /// Bytes of data, or the soft limit of them; -1 for none.
    pub fn bytes(&self) -> i64 {
        self.bytes.unwrap_or(-1)
    }

    /// Sets [`bytes`](Self::bytes).
    pub fn set_bytes(&mut self, bytes: i64) {
        self.bytes = Some(bytes);
    }

    /// The hard limit of nodes; -1 for none.
    pub fn count_hard_limit(&self) -> i64 {
        self.other(COUNT_HARD_LIMIT)
    }

    /// Sets [`count_hard_limit`](Self::count_hard_limit).
    pub fn set_count_hard_limit(&mut self, count: i64) {
        self.set(COUNT_HARD_LIMIT, count);
    }

    /// The hard limit of bytes; -1 for none.
    pub fn byte_hard_limit(&self) -> i64 {
        self.other(BYTE_HARD_LIMIT)
    }

    /// Sets [`byte_hard_limit`](Self::byte_hard_limit).
    pub fn set_byte_hard_limit(&mut self, bytes: i64) {
        self.set(BYTE_HARD_LIMIT, bytes);
    }

    fn other(&self, name: &str) -> i64 {
        self.others.iter().find(|(key, _)| key == name).map_or(-1, |(_, value)| *value)
    }

    fn set(&mut self, name: &str, value: i64) {
        match name {
            COUNT => self.count = Some(value),
            BYTES => self.bytes = Some(value),
            _ => match self.others.binary_search_by(|(key, _)| key.as_str().cmp(name)) {
                Ok(at) => {
                    if let Some(entry) = self.others.get_mut(at) {
                        entry.1 = value;
                    }
                }
                Err(at) => self.others.insert(at, (name.to_owned(), value)),
            },
        }
    }
}

/// Name and number of `name=number`, with what `String.split("=")` and `Long.parseLong` allow.
fn parse_pair(pair: &str) -> Option<(&str, i64)> {
    let (name, rest) = pair.trim_end_matches('=').split_once('=')?;
    let value = rest.split('=').next().unwrap_or_default();
    // Two "=" in a row: Java reads an empty second part as "not set".
    if value.is_empty() {
        return Some((name, -1));
    }
    Some((name, value.parse().ok()?))
}

impl fmt::Display for StatsTrack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{COUNT}={},{BYTES}={}", self.count(), self.bytes())?;
        if !self.others.is_empty() {
            f.write_str("=")?;
        }
        self.others.iter().try_for_each(|(name, value)| write!(f, ";{name}={value}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<&str>) {
        let track = StatsTrack::parse(text.as_bytes());
        assert_eq!(track.ok().map(|track| track.to_string()).as_deref(), expected, "{text:?}");
    }

    #[test]
    fn texts_are_read_and_written_as_by_java() {
        check("", Some("count=-1,bytes=-1"));
        check("count=4,bytes=5", Some("count=4,bytes=5"));
        check("bytes=5;count=4", Some("count=4,bytes=5"));
        check("count=4", Some("count=4,bytes=-1"));
        check(
            "count=4,bytes=5=;countHardLimit=10;byteHardLimit=11",
            Some("count=4,bytes=5=;byteHardLimit=11;countHardLimit=10"),
        );
        check("count=1,,;bytes=2,;", Some("count=1,bytes=2"));
        check("count==7", Some("count=-1,bytes=-1"));
        check("count=-3,other=+9", Some("count=-3,bytes=-1=;other=9"));
        check("=5", Some("count=-1,bytes=-1=;=5"));
        check(",", Some("count=-1,bytes=-1"));
    }

    #[test]
    fn other_texts_are_errors() {
        for text in ["count", "count=", ",count=1", "count=x", "count=99999999999999999999", "="] {
            check(text, None);
        }
        assert!(StatsTrack::parse(&[0xff]).is_err());
    }

    #[test]
    fn unset_numbers_are_minus_one() {
        let mut track = StatsTrack::parse(b"count=1").unwrap();
        assert_eq!(
            (track.bytes(), track.count_hard_limit(), track.byte_hard_limit()),
            (-1, -1, -1)
        );
        track.set_count_hard_limit(3);
        track.set_byte_hard_limit(4);
        assert_eq!((track.count_hard_limit(), track.byte_hard_limit()), (3, 4));
    }
}
