//! See `mcsnap_fuzz::stat_frame`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| mcsnap_fuzz::stat_frame(input));
