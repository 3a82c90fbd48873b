//! A file of a transaction log: see `zabkeeper_fuzz::txn_log`.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| zabkeeper_fuzz::txn_log(data));
