//! See `mcsnap_fuzz::manifest`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| mcsnap_fuzz::manifest(input));
