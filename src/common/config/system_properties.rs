//! System properties: `-Dname=value` from the command line and from `SERVER_JVMFLAGS`.

use std::collections::BTreeMap;

use crate::common::java_number;

/// Names and values, as given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SystemProperties(BTreeMap<String, String>);

impl SystemProperties {
    /// Takes the `-D` flags out of words; of a repeated name the last value counts. The rest is
    /// returned in order: other flags of a Java machine, or arguments.
    pub fn take_flags(&mut self, words: impl IntoIterator<Item = String>) -> Vec<String> {
        let mut rest = Vec::new();
        for word in words {
            match word.strip_prefix("-D") {
                Some(flag) if !flag.is_empty() => {
                    let (name, value) = flag.split_once('=').unwrap_or((flag, ""));
                    self.set(name, value);
                }
                _ => rest.push(word),
            }
        }
        rest
    }

    /// Sets a property.
    pub fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    /// `System.getProperty`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// All properties, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// `System.getProperty` as an owned text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    /// `Integer.getInteger`: what is not a number counts as not set.
    #[must_use]
    pub fn int(&self, name: &str, default: i32) -> i32 {
        self.get(name).and_then(java_number::decode_int).unwrap_or(default)
    }

    /// `Long.getLong`: what is not a number counts as not set.
    #[must_use]
    pub fn long(&self, name: &str, default: i64) -> i64 {
        self.get(name).and_then(java_number::decode_long).unwrap_or(default)
    }

    /// `Boolean.parseBoolean(System.getProperty(name, default))`: any other word than `true` is
    /// false, whatever the default.
    #[must_use]
    pub fn boolean(&self, name: &str, default: bool) -> bool {
        self.get(name).map_or(default, java_number::parse_boolean)
    }
}

/// Cuts a line of flags into words as a shell does: at blanks, with `'…'`, `"…"` and backslashes.
///
/// Java's scripts cut at every blank, so values with blanks were impossible; no value that worked
/// there is read differently, unless it contains quotes or backslashes.
#[must_use]
pub fn split_words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => word.get_or_insert_default().extend(chars.next()),
            (None, c) if c.is_ascii_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_cut_as_by_a_shell() {
        for (line, words) in [
            ("", vec![]),
            ("  -Da=1\t-Xmx1g ", vec!["-Da=1", "-Xmx1g"]),
            ("-Da='x y' -Db=\"z w\"", vec!["-Da=x y", "-Db=z w"]),
            ("'-Da=x y'", vec!["-Da=x y"]),
            (r#"a\ b "c\"d" 'e\f'"#, vec!["a b", "c\"d", r"e\f"]),
            ("'' open='x", vec!["", "open=x"]),
        ] {
            assert_eq!(split_words(line), words, "{line}");
        }
    }

    #[test]
    fn flags_are_taken_and_the_last_counts() {
        let mut properties = SystemProperties::default();
        let words = ["-Da=1", "-Xmx1g", "-Db", "-Da=2=3", "-D", "zoo.cfg"].map(str::to_owned);
        assert_eq!(properties.take_flags(words), ["-Xmx1g", "-D", "zoo.cfg"]);
        assert_eq!(properties.iter().collect::<Vec<_>>(), [("a", "2=3"), ("b", "")]);
    }

    #[test]
    fn numbers_and_booleans_are_lenient() {
        let mut properties = SystemProperties::default();
        for (name, value) in [("hex", "0x10"), ("bad", "x"), ("yes", "TRUE"), ("no", "yes")] {
            properties.set(name, value);
        }
        let ints = ["hex", "bad", "none"].map(|name| properties.int(name, 7));
        assert_eq!(ints, [16, 7, 7]);
        assert_eq!(["hex", "bad", "none"].map(|name| properties.long(name, -1)), [16, -1, -1]);
        let booleans = ["yes", "no", "none"].map(|name| properties.boolean(name, true));
        assert_eq!(booleans, [true, false, true]);
    }
}
