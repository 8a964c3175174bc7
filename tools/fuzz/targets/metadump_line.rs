//! See `mcsnap_fuzz::metadump_line`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| mcsnap_fuzz::metadump_line(input));
