//! What every part needs: clocks, threads, ranked locks, paths, configuration, logging.

pub mod config;
pub mod exit_code;
pub mod java_number;
pub mod path_utils;
pub mod properties;
pub mod sync;
pub mod thread;
pub mod time;
