//! Numbers and booleans as Java's library reads them from text, and prints them.
//!
//! Difference: Java also takes digits of other scripts; here only ASCII digits are digits.

/// `Integer.parseInt`: decimal digits with an optional sign, nothing else.
#[must_use]
pub fn parse_int(text: &str) -> Option<i32> {
    text.parse().ok()
}

/// `Long.parseLong`: decimal digits with an optional sign, nothing else.
#[must_use]
pub fn parse_long(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// `Integer.decode`: an optional sign, then a decimal, hexadecimal (`0x`, `0X`, `#`) or octal
/// (`0`) number.
#[must_use]
pub fn decode_int(text: &str) -> Option<i32> {
    i32::try_from(decode_long(text)?).ok()
}

/// `Long.decode`: as [`decode_int`].
#[must_use]
pub fn decode_long(text: &str) -> Option<i64> {
    let (is_negative, rest) = match text.strip_prefix(['-', '+']) {
        Some(rest) => (text.starts_with('-'), rest),
        None => (false, text),
    };
    let hexadecimal = ["0x", "0X", "#"].iter().find_map(|prefix| rest.strip_prefix(prefix));
    let (digits, radix) = match (hexadecimal, rest.strip_prefix('0')) {
        (Some(digits), _) => (digits, 16),
        (None, Some(digits)) if !digits.is_empty() => (digits, 8),
        _ => (rest, 10),
    };
    // A second sign would be taken below, but not by Java.
    if !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let magnitude = i128::from_str_radix(digits, radix).ok()?;
    i64::try_from(if is_negative { -magnitude } else { magnitude }).ok()
}

/// `Boolean.parseBoolean`: true only for the word `true` in any case.
#[must_use]
pub fn parse_boolean(text: &str) -> bool {
    text.eq_ignore_ascii_case("true")
}

/// `Double.parseDouble`, without hexadecimal numbers.
#[must_use]
pub fn parse_double(text: &str) -> Option<f64> {
    let text = trim(text);
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if unsigned == "NaN" || unsigned == "Infinity" {
        return text.parse().ok();
    }
    // Keeps out the words that Rust reads as numbers in any case.
    if !unsigned.starts_with(|c: char| c == '.' || c.is_ascii_digit()) {
        return None;
    }
    text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text).parse().ok()
}

/// `String.trim`: all characters up to the space go, not only white space; others stay.
#[must_use]
pub fn trim(text: &str) -> &str {
    text.trim_matches(|c| c <= ' ')
}

/// A double as `Double.toString` prints it: at least one decimal, and an exponent outside 0.001 to
/// 10,000,000 (`0.0`, `12.5`, `1.0E7`, `NaN`).
#[must_use]
pub fn java_double(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "Infinity" } else { "-Infinity" }.to_owned();
    }
    // Both print the shortest digits that read back as the same number; only the layout differs.
    if value == 0.0 || (0.001..10_000_000.0).contains(&value.abs()) {
        return format!("{value:?}");
    }
    let text = format!("{value:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if digits.contains('.') => format!("{digits}E{exponent}"),
        Some((digits, exponent)) => format!("{digits}.0E{exponent}"),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::golden::{java_library, unhex};

    #[test]
    fn decode_takes_what_java_takes() {
        for (text, expected) in [
            ("10", Some(10)),
            ("+10", Some(10)),
            ("-10", Some(-10)),
            ("0", Some(0)),
            ("-0", Some(0)),
            ("010", Some(8)),
            ("0x1F", Some(31)),
            ("0X1f", Some(31)),
            ("#ff", Some(255)),
            ("-0x80000000", Some(i32::MIN)),
            ("2147483647", Some(i32::MAX)),
            ("2147483648", None),
            ("08", None),
            ("", None),
            ("-", None),
            ("0x", None),
            ("#", None),
            ("0x-1", None),
            ("+-1", None),
            ("--1", None),
            (" 1", None),
            ("1 ", None),
            ("1k", None),
            ("99999999999999999999999999999999999999999", None),
        ] {
            assert_eq!(decode_int(text), expected, "{text:?}");
        }
        assert_eq!(decode_long("-0x8000000000000000"), Some(i64::MIN));
        assert_eq!(decode_long("9223372036854775808"), None);
    }

    #[test]
    fn parse_takes_decimal_digits_only() {
        for (text, expected) in [("5", Some(5)), ("+5", Some(5)), ("-5", Some(-5)), ("05", Some(5))]
            .into_iter()
            .chain(["", "+", "0x5", " 5", "5.0", "1_000", "2147483648"].map(|text| (text, None)))
        {
            assert_eq!(parse_int(text), expected, "{text:?}");
        }
    }

    #[test]
    fn doubles_are_read_as_java_does() {
        for (text, expected) in [
            (" 0.5 ", Some(0.5)),
            ("-.5", Some(-0.5)),
            ("5.", Some(5.0)),
            ("1e3", Some(1000.0)),
            ("2d", Some(2.0)),
            ("2F", Some(2.0)),
            ("Infinity", Some(f64::INFINITY)),
        ]
        .into_iter()
        .chain(["", "inf", "nan", "infinity", "abc", "-", "1e", "d"].map(|text| (text, None)))
        {
            assert_eq!(parse_double(text), expected, "{text:?}");
        }
        assert!(parse_double("NaN").is_some_and(f64::is_nan));
    }

    #[test]
    fn doubles_are_printed_as_java_does() {
        for (value, text) in [
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (1.0, "1.0"),
            (-12.5, "-12.5"),
            (0.001, "0.001"),
            (0.000_9, "9.0E-4"),
            (0.333_3, "0.3333"),
            (9_999_999.0, "9999999.0"),
            (10_000_000.0, "1.0E7"),
            (123_456_789.5, "1.234567895E8"),
            (1e100, "1.0E100"),
            (f64::MAX, "1.7976931348623157E308"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "Infinity"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(java_double(value), text);
        }
    }

    #[test]
    fn trim_takes_control_characters_but_not_wide_spaces() {
        assert_eq!(trim("\0\t a\u{a0} \u{1f}"), "a\u{a0}");
    }

    #[test]
    fn goldens_of_java_are_reproduced() {
        for (text, expected) in java_library("decode") {
            let text = String::from_utf8(unhex(text)).unwrap();
            let number = decode_long(&text).map_or("!".to_owned(), |number| number.to_string());
            assert_eq!(number, expected, "{text:?}");
        }
        for (text, expected) in java_library("double") {
            let text = String::from_utf8(unhex(text)).unwrap();
            assert_eq!(
                parse_double(&text).map_or("!".to_owned(), java_double),
                expected,
                "{text:?}"
            );
        }
    }
}
