//! See `mcsnap_fuzz::cachedump_line`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| mcsnap_fuzz::cachedump_line(input));
