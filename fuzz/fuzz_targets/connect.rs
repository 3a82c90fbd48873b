//! The first packet of a connection: see `zabkeeper_fuzz::connect`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zabkeeper_fuzz::connect(data));
