//! The text of a configuration file: see `zabkeeper_fuzz::config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zabkeeper_fuzz::config(data));
