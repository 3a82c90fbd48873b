//! What every part needs: clocks, threads, ranked locks, paths, configuration, addresses, logging.

pub mod allocator;
pub mod atomic_file;
pub mod circular_blocking_queue;
pub mod config;
pub mod exit_code;
pub mod java_number;
pub mod linked_blocking_queue;
pub mod logging;
pub mod net_utils;
pub mod path_utils;
pub mod properties;
pub mod rate_logger;
pub mod sync;
pub mod thread;
pub mod time;

/// Expectations recorded from Java's library.
#[cfg(test)]
pub(crate) mod golden {
    /// The lines `kind`, input, output of the recording.
    pub(crate) fn java_library(kind: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
        let lines = include_str!("../../tests/golden/common/java_library.tsv").lines();
        let lines = lines.filter_map(move |line| line.strip_prefix(kind)?.strip_prefix('\t'));
        lines.filter_map(|line| line.split_once('\t'))
    }

    pub(crate) fn unhex(text: &str) -> Vec<u8> {
        let pairs = (0..text.len()).step_by(2);
        pairs.map_while(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
    }

    pub(crate) fn hex(text: &str) -> String {
        text.bytes().map(|byte| format!("{byte:02x}")).collect()
    }
}
