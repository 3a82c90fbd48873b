//! A snapshot file: see `zabkeeper_fuzz::snapshot`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zabkeeper_fuzz::snapshot(data));
