//! See `mcsnap_fuzz::cluster_config`.
#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| mcsnap_fuzz::cluster_config(input));
