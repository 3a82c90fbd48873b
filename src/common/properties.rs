//! The syntax of property files (Java: `java.util.Properties.load` of an `InputStream`).
//!
//! Bytes are ISO-8859-1. The `java-properties` crate reads the same syntax but refuses a pair of
//! surrogates in `\u` escapes, takes comments after a continued empty line differently, and spends
//! two regular expressions on it.

use std::collections::BTreeMap;

/// A `\u` escape without four hexadecimal digits; the text is Java's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Malformed \\uxxxx encoding.")]
pub struct MalformedEscape;

/// Keys with their values, sorted; of a repeated key the last value counts.
///
/// Neither is trimmed beyond what the syntax says: a value keeps its trailing blanks.
pub fn load(bytes: &[u8]) -> Result<BTreeMap<String, String>, MalformedEscape> {
    let mut properties = BTreeMap::new();
    let mut rest = bytes;
    let mut line = Vec::new();
    while read_line(&mut rest, &mut line) {
        let (key, value) = split(&line);
        properties.insert(unescape(key)?, unescape(value)?);
    }
    Ok(properties)
}

/// As [`load`], of text (Java: `Properties.load` of a `Reader`).
pub fn load_text(text: &str) -> Result<BTreeMap<String, String>, MalformedEscape> {
    let mut bytes = Vec::with_capacity(text.len());
    for c in text.chars() {
        match u8::try_from(c) {
            Ok(byte) => bytes.push(byte),
            Err(_) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    bytes.extend_from_slice(format!("\\u{unit:04x}").as_bytes());
                }
            }
        }
    }
    load(&bytes)
}

const fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\x0c')
}

/// Reads the next logical line, with continued lines joined and without comments and empty lines;
/// false at the end.
fn read_line(rest: &mut &[u8], line: &mut Vec<u8>) -> bool {
    line.clear();
    let (mut at_start, mut is_continued, mut is_escaped) = (true, false, false);
    while let Some((&byte, after)) = rest.split_first() {
        *rest = after;
        let is_newline = matches!(byte, b'\r' | b'\n');
        if at_start {
            if is_blank(byte) || (is_newline && !is_continued) {
                continue;
            }
            (at_start, is_continued) = (false, false);
        }
        // Compat: `len == 0` in Java, so a comment may also follow a lone backslash.
        if line.is_empty() && matches!(byte, b'#' | b'!') {
            let end = rest
                .iter()
                .position(|b| matches!(b, b'\r' | b'\n'))
                .map_or(rest.len(), |at| at + 1);
            *rest = rest.get(end..).unwrap_or_default();
            at_start = true;
            continue;
        }
        if !is_newline {
            line.push(byte);
            is_escaped = byte == b'\\' && !is_escaped;
        } else if line.is_empty() {
            at_start = true;
        } else if is_escaped {
            line.pop();
            if rest.is_empty() {
                return true; // Compat: even a lone backslash is then a line, with an empty key.
            }
            (at_start, is_continued, is_escaped) = (true, true, false);
            if byte == b'\r' {
                *rest = rest.strip_prefix(b"\n").unwrap_or(rest);
            }
        } else {
            return true;
        }
    }
    let has_line = !line.is_empty();
    if is_escaped {
        line.pop(); // A backslash at the end of the file continues nothing.
    }
    has_line
}

/// Cuts a line at the first `=`, `:` or blank that is not escaped; blanks around it, and one `=` or
/// `:` among them, belong to neither side.
fn split(line: &[u8]) -> (&[u8], &[u8]) {
    let mut is_escaped = false;
    let end = line.iter().position(|&byte| {
        let ends = !is_escaped && (matches!(byte, b'=' | b':') || is_blank(byte));
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    });
    let (key, mut value) = line.split_at(end.unwrap_or(line.len()));
    let mut has_separator = false;
    while let Some((&byte, after)) = value.split_first() {
        if matches!(byte, b'=' | b':') && !has_separator {
            has_separator = true;
        } else if !is_blank(byte) {
            break;
        }
        value = after;
    }
    (key, value)
}

fn unescape(raw: &[u8]) -> Result<String, MalformedEscape> {
    // UTF-16, because two escapes may make one character. A half pair becomes U+FFFD.
    let mut units = Vec::with_capacity(raw.len());
    let mut rest = raw.iter();
    while let Some(&byte) = rest.next() {
        if byte != b'\\' {
            units.push(u16::from(byte));
            continue;
        }
        match rest.next() {
            Some(b'u') => {
                let (digits, after) = rest.as_slice().split_at_checked(4).ok_or(MalformedEscape)?;
                let unit = digits.iter().try_fold(0_u32, |unit, digit| {
                    Some(unit * 16 + char::from(*digit).to_digit(16)?)
                });
                units.push(unit.and_then(|unit| u16::try_from(unit).ok()).ok_or(MalformedEscape)?);
                rest = after.iter();
            }
            Some(b't') => units.push(u16::from(b'\t')),
            Some(b'r') => units.push(u16::from(b'\r')),
            Some(b'n') => units.push(u16::from(b'\n')),
            Some(b'f') => units.push(0x0c),
            Some(&other) => units.push(u16::from(other)),
            None => {}
        }
    }
    Ok(String::from_utf16_lossy(&units))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::common::golden::{hex, unhex};

    fn check(text: &str, expected: &[(&str, &str)]) {
        let expected = expected.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        assert_eq!(load(text.as_bytes()), Ok(expected), "{text:?}");
    }

    #[test]
    fn syntax_is_javas() {
        check(
            "a=1\nb:2\nc 3\n d\t=\t4\ne",
            &[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4"), ("e", "")],
        );
        check("a = = b", &[("a", "= b")]);
        check("# a=1\n  ! b=2\n\n\r\nc=3 # d", &[("c", "3 # d")]);
        check("a=1\na=2", &[("a", "2")]);
        check("a=x\\\n   y\\\r\n\tz", &[("a", "xyz")]);
        check("a=x\\\n\nb=2", &[("a", "x"), ("b", "2")]);
        check("a=x \\", &[("a", "x ")]);
        check("a\\ b\\=c=1", &[("a b=c", "1")]);
        check("a=\\t\\n\\q\\\\", &[("a", "\t\nq\\")]);
        check("a=\\u00e9\\ud83d\\ude00", &[("a", "é😀")]);
        assert_eq!(load(b"a=\\u00g0"), Err(MalformedEscape));
        assert_eq!(load(b"a=\\u00"), Err(MalformedEscape));
    }

    #[test]
    fn bytes_are_latin_1() {
        let properties = load(b"a=\xe9").unwrap();
        assert_eq!(properties.get("a").map(String::as_str), Some("é"));
    }

    /// 400 random files and what `Properties.load` of Java 17 made of them; it writes half a pair of
    /// surrogates as `?`.
    #[test]
    fn goldens_of_java_are_reproduced() {
        let text = |text: &str| hex(&text.replace('\u{fffd}', "?"));
        for line in include_str!("../../tests/golden/common/properties.tsv").lines() {
            let (input, expected) = line.split_once('\t').unwrap();
            let actual = load(&unhex(input)).map_or("!".to_owned(), |properties| {
                let pairs = properties.iter();
                pairs.map(|(k, v)| format!("{}={}", text(k), text(v))).collect::<Vec<_>>().join(",")
            });
            assert_eq!(actual, expected, "{:?}", String::from_utf8_lossy(&unhex(input)));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = load(&bytes);
        }

        #[test]
        fn no_text_panics(text in "[ab=: \\\\\\n\\r#!u0-9]{0,40}") {
            let _ = load(text.as_bytes());
        }
    }
}
