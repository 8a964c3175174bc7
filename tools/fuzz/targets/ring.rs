//! See `mcsnap_fuzz::ring`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| mcsnap_fuzz::ring(input));
