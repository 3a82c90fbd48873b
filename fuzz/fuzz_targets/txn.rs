//! One entry of a transaction log: see `zabkeeper_fuzz::txn`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zabkeeper_fuzz::txn(data));
