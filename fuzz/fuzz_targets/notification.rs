//! Notifications between servers: see `zabkeeper_fuzz::notification`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zabkeeper_fuzz::notification(data));
