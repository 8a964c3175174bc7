//! See `mcsnap_fuzz::meta_response`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| mcsnap_fuzz::meta_response(input));
