#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| vitalwire_fuzz::pair::run(data));
