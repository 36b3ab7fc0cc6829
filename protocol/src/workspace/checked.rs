//! Definitions that the server can carry out: their variables merge, and their manifests fit into a message.

use crate::definition::{
    Agent as NeutralAgent, AgentMetadata, Definition, Place, Runs, Script as NeutralScript, Variable,
};
use crate::secret::Secret;

use super::definition::{Agent, Fault, Metadata, Script, Workspace};
use super::merge;

/// A definition that is ready to be sent or stored.
#[derive(Debug)]
pub struct Checked {
    /// What the workspace is made from.
    pub definition: Definition,
    /// What its author should know, a sentence each. Never a value.
    pub notes: Vec<String>,
}

impl Checked {
    /// Merges the variables of every agent, and checks the size of its manifest.
    #[expect(clippy::needless_pass_by_value, reason = "what was read is of no use beside what it became")]
    pub fn new(workspace: Workspace) -> Result<Self, Fault> {
        let (mut agents, mut notes) = (Vec::with_capacity(workspace.agents().len()), Vec::new());
        for agent in workspace.agents() {
            let env = merge::environment(&workspace, agent, &mut notes)?;
            let neutral = neutral(agent, env);
            notes.extend(neutral.remarks());
            agents.push(neutral);
        }
        let definition = Definition {
            owner: workspace.owner.as_ref().map(|owner| owner.value.to_string()),
            name: workspace.name.value.to_string(),
            agents,
            ..Definition::default()
        };
        definition.check().map_err(|misfit| match misfit.place {
            Place::Agent(n) => {
                let agent = workspace.agents().get(n).map_or(&workspace.name, |agent| &agent.name);
                Fault::at(agent, misfit.detail)
            }
            Place::Workspace | Place::Resource(_) => Fault::at(&workspace.name, misfit.detail),
        })?;
        Ok(Self { definition, notes })
    }
}

fn neutral(agent: &Agent, env: std::collections::BTreeMap<String, Variable>) -> NeutralAgent {
    NeutralAgent {
        name: agent.name.value.to_string(),
        address: String::new(),
        token: None,
        directory: agent.dir.as_ref().map(ToString::to_string).unwrap_or_default(),
        motd_file: agent.motd_file.as_ref().map(ToString::to_string).unwrap_or_default(),
        connection_timeout: agent.connection_timeout.get(),
        user_data: true,
        env,
        scripts: agent.scripts.iter().map(script).collect(),
        metadata: agent.metadata.iter().map(metadata).collect(),
        resource: String::new(),
    }
}

fn script(script: &Script) -> NeutralScript {
    NeutralScript {
        display_name: script.display_name.value.to_string(),
        script: Secret::from(script.script.as_str().to_owned()),
        sensitive: false,
        icon: script.icon.as_ref().map(ToString::to_string).unwrap_or_default(),
        runs: Runs {
            run_on_start: script.run_on_start,
            run_on_stop: script.run_on_stop,
            start_blocks_login: script.start_blocks_login,
            cron: script.cron.as_ref().map(ToString::to_string).unwrap_or_default(),
        },
        timeout: script.timeout.get(),
        log_path: script.log_path.as_ref().map(ToString::to_string).unwrap_or_default(),
    }
}

fn metadata(item: &Metadata) -> AgentMetadata {
    AgentMetadata {
        key: item.key.value.to_string(),
        display_name: item.display_name.as_ref().unwrap_or(&item.key.value).to_string(),
        script: item.script.as_str().to_owned(),
        interval: item.interval.get(),
        timeout: item.timeout.get(),
    }
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

    /// Nothing here is stricter than Coder, which takes all of these.
    #[test]
    fn what_has_no_effect_is_kept_and_told() {
        let text = "name: b
agent:
  name: main
  env: { odd.name: x }
  scripts:
    - { display_name: a, script: b }
    - { display_name: a, script: c, cron: '0 0 0 * * *', start_blocks_login: true }
env:
  - { name: SECRET, value: canary, merge_strategy: append, sensitive: true }
";
        let checked = Checked::new(parse(text).unwrap().remove(0)).unwrap();
        let agent = &checked.definition.agents[0];
        assert_eq!((checked.definition.owner.as_ref(), agent.scripts.len(), agent.env.len()), (None, 2, 2));
        assert_eq!(agent.env["SECRET"].value.expose(), b"canary");
        let notes = checked.notes.join("\n");
        for part in ["never runs", "start_blocks_login has no effect", "SECRET is sensitive and joins to nothing"] {
            assert!(notes.contains(part), "{notes}");
        }
        assert!(!notes.contains("canary"), "{notes}");
    }
}
