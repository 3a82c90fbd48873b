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
