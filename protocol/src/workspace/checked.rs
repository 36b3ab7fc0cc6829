//! Definitions that the server can carry out: their variables merge, and their manifests fit into a message.

use std::collections::BTreeMap;

use crate::drpc::MAX_PACKET;

use super::definition::{Agent, Fault, Workspace};
use super::merge::{self, Variable};

/// Most bytes of a manifest that a template may fill. The rest is for the owner's secrets: values of 200 KiB together, and 50 paths of
/// 4 KiB each.
const MAX_TEMPLATE_BYTES: usize = MAX_PACKET - 512 * 1024;
/// Bytes of a script or another item besides its texts.
const ITEM_BYTES: usize = 128;

/// A definition that is ready to be stored.
#[derive(Debug)]
pub struct Checked {
    workspace: Workspace,
    environments: Vec<BTreeMap<String, Variable>>,
}

impl Checked {
    /// Merges the variables of every agent, and checks the size of its manifest.
    pub fn new(workspace: Workspace) -> Result<Self, Fault> {
        let mut environments = Vec::with_capacity(workspace.agents().len());
        for agent in workspace.agents() {
            let env = merge::environment(&workspace, agent)?;
            let bytes = template_bytes(agent, &env);
            if bytes > MAX_TEMPLATE_BYTES {
                let detail = format!(
                    "the scripts and variables of agent {} have {bytes} bytes; more than {MAX_TEMPLATE_BYTES} do not \
                     fit into one message",
                    agent.name.value
                );
                return Err(Fault::at(&agent.name, detail));
            }
            environments.push(env);
        }
        Ok(Self { workspace, environments })
    }

    /// The definition as its author wrote it.
    #[must_use]
    pub fn workspace(&self) -> &Workspace {
        &self.workspace
    }

    /// Each agent with its merged variables.
    pub fn agents(&self) -> impl Iterator<Item = (&Agent, &BTreeMap<String, Variable>)> {
        self.workspace.agents().iter().zip(&self.environments)
    }
}

fn template_bytes(agent: &Agent, env: &BTreeMap<String, Variable>) -> usize {
    let env = env.iter().map(|(name, variable)| name.len() + variable.value.len());
    let scripts = agent.scripts.iter().map(|script| script.script.as_str().len());
    let metadata = agent.metadata.iter().map(|item| item.script.as_str().len() + item.key.value.as_str().len());
    env.chain(scripts).chain(metadata).map(|bytes| bytes + ITEM_BYTES).sum()
}

#[cfg(test)]
mod tests {
    use super::super::definition::parse;
    use super::*;

    #[test]
    fn a_template_that_does_not_fit_into_a_message_is_refused_at_its_agent() {
        let script = "x".repeat(1024 * 1024);
        let scripts = |count: usize| -> String {
            let head = "owner: a\nname: b\nagent:\n  name: main\n  scripts:\n".to_owned();
            let script = |n| format!("    - {{ display_name: s{n}, run_on_start: true, script: {script} }}\n");
            head + &(0..count).map(script).collect::<String>()
        };
        assert!(Checked::new(parse(&scripts(3)).unwrap().remove(0)).is_ok());
        let fault = Checked::new(parse(&scripts(4)).unwrap().remove(0)).unwrap_err();
        assert_eq!(fault.line, Some(4));
        assert!(fault.detail.contains("agent main"));
    }
}
