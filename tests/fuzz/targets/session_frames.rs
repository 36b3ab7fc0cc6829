//! Frames of the agent's local socket, which any process of the user may send.
#![no_main]

libfuzzer_sys::fuzz_target!(|frame: &[u8]| agent::sessions::fuzz(frame));
