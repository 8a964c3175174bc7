//! See `mcsnap_fuzz::warm_file`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| mcsnap_fuzz::warm_file(input));
