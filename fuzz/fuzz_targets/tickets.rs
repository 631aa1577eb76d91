#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| vitalwire_fuzz::tickets::run(data));
