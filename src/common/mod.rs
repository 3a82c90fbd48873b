//! What every part needs: clocks, threads, ranked locks, paths, configuration, logging.

pub mod atomic_file;
pub mod config;
pub mod exit_code;
pub mod java_number;
pub mod logging;
pub mod path_utils;
pub mod properties;
pub mod rate_logger;
pub mod sync;
pub mod thread;
pub mod time;

/// Expectations recorded from Java's library.
#[cfg(test)]
pub(crate) mod golden {
    use std::fmt::Write;

    /// The lines `kind`, input, output of the recording.
    pub(crate) fn java_library(kind: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
        let lines = include_str!("../../tests/golden/common/java_library.tsv").lines();
        let lines = lines.filter_map(move |line| line.strip_prefix(kind)?.strip_prefix('\t'));
        lines.filter_map(|line| line.split_once('\t'))
    }

    pub(crate) fn unhex(text: &str) -> Vec<u8> {
        let digits: Vec<_> = text.chars().map(|c| c.to_digit(16).unwrap() as u8).collect();
        digits.chunks(2).map(|pair| pair[0] * 16 + pair[1]).collect()
    }

    pub(crate) fn hex(text: &str) -> String {
        text.bytes().fold(String::new(), |mut hex, byte| {
            write!(hex, "{byte:02x}").unwrap();
            hex
        })
    }
}
