//! Terraform states, as whoever writes a template may make them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::terraform;

fuzz_target!(|bytes: &[u8]| {
    match terraform::read(bytes).and_then(|workspace| workspace.into_definition(Some("dev".to_owned()))) {
        Ok((definition, _)) => assert!(definition.check().is_ok()),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
