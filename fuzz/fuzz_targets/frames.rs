#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| vitalwire_fuzz::frames::run(data));
