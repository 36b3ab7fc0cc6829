//! What a control plane sends an agent at boot, from bytes to what the agent works with.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message;
use protocol::agent_api;

fuzz_target!(|input: &[u8]| {
    let Ok(message) = agent_api::Manifest::decode(input) else { return };
    match agent::manifest::split(message) {
        Ok((manifest, secrets)) => {
            assert!(!manifest.agent_id.is_nil());
            let _ = format!("{manifest:?} {secrets:?}");
            let variables = secrets.secrets.iter().filter_map(|secret| secret.env_name.as_ref());
            for name in variables {
                assert!(!name.is_empty() && !name.contains(['=', '\0']), "{name:?} cannot be a variable");
            }
            assert!(secrets.template.iter().all(|(name, _)| !name.contains(['=', '\0'])));
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
