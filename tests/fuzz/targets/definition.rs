//! Workspace definitions, as an administrator may get them from a template's author.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::workspace::{Checked, definition};

fuzz_target!(|text: &str| {
    let lines = text.matches(['\r', '\n']).count() as u64 + 1;
    match definition::parse(text) {
        Ok(workspaces) => workspaces.into_iter().for_each(|workspace| {
            let agents = workspace.agents().len();
            if let Ok(checked) = Checked::new(workspace) {
                assert!(checked.definition.agents.len() == agents && checked.definition.check().is_ok());
            }
        }),
        // A message repeats a name at most, never the file.
        Err(fault) => assert!(fault.to_string().len() < 2000 && fault.line.is_none_or(|line| line <= lines), "{fault}"),
    }
});
