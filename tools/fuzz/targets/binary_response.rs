//! See `mcsnap_fuzz::binary_response`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| mcsnap_fuzz::binary_response(input));
