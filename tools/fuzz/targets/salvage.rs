//! See `mcsnap_fuzz::salvage`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| mcsnap_fuzz::salvage(input));
