//! See `mcsnap_fuzz::stats`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| mcsnap_fuzz::stats(input));
