//! Transactions applied to a tree: see `zabkeeper_fuzz::apply`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zabkeeper_fuzz::apply(data));
