#![no_main]

#[path = "../fuzzing.rs"]
mod fuzzing;

libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzzing::check(fuzzing::targets::frame, input));
