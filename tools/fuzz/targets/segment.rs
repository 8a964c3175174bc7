//! See `mcsnap_fuzz::segment`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| mcsnap_fuzz::segment(input));
