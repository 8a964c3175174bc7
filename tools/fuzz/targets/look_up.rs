//! See `mcsnap_fuzz::look_up`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| mcsnap_fuzz::look_up(input));
