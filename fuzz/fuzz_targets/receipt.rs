#![no_main]

#[allow(dead_code, reason = "one of five targets")]
#[path = "../../tests/hostile/targets.rs"]
mod targets;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| targets::receipt(bytes));
