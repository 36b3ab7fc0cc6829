//! Messages of the ssh-agent protocol, from ssh and from the user's own ssh-agent.
#![no_main]

libfuzzer_sys::fuzz_target!(|message: &[u8]| agent::gitssh::fuzz(message));
