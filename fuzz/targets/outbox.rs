#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| durstream_core::fuzzing::outbox(data));
