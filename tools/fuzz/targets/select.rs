//! See `mcsnap_fuzz::select`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| mcsnap_fuzz::select(input));
