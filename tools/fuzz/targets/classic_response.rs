//! See `mcsnap_fuzz::classic_response`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| mcsnap_fuzz::classic_response(input));
