//! The variables of one agent: every `coder_env` by its strategy, then `coder_agent.env` over it.

use std::collections::{BTreeMap, BTreeSet};

use crate::secret::Secret;

use super::definition::{Agent, CoderEnv, Fault, MergeStrategy, Workspace};

/// Returns the variables that the template sets for `agent`. `$NAME` stays as it is: the agent expands it with what it inherits.
pub(super) fn environment(workspace: &Workspace, agent: &Agent) -> Result<BTreeMap<String, Secret>, Fault> {
    let ours = |env: &&CoderEnv| env.agent.as_ref().is_none_or(|name| name.value == agent.name.value);
    let mut merged: BTreeMap<String, Secret> = BTreeMap::new();
    let mut exclusive = BTreeSet::new();
    for env in workspace.env.iter().filter(ours) {
        let name = env.name.value.as_str();
        // Whichever of the two comes first: an exclusive variable has one definition.
        let clash =
            merged.contains_key(name) && (env.merge_strategy == MergeStrategy::Error || exclusive.contains(name));
        if clash {
            let detail = format!("variable {name} is set twice and one of them has merge_strategy error");
            return Err(Fault::at(&env.name, detail));
        }
        if env.merge_strategy == MergeStrategy::Error {
            exclusive.insert(name);
        }
        let value = joined(env, merged.get(name));
        merged.insert(name.to_owned(), value);
    }
    merged.extend(agent.env.iter().map(|(name, value)| (name.as_str().to_owned(), copy(&value.0))));
    Ok(merged)
}

/// Applies the strategy of `env`. A list with nothing to join joins to the variable that the workspace inherits: a bare value would
/// replace it, and with it `PATH`.
fn joined(env: &CoderEnv, existing: Option<&Secret>) -> Secret {
    let inherited = || Secret::from(format!("${}", env.name.value));
    let join = |before: &Secret, after: &Secret| Secret::new([before.expose(), b":", after.expose()].concat());
    let value = &env.value.0;
    match (env.merge_strategy, existing) {
        (MergeStrategy::Replace | MergeStrategy::Error, _) => copy(value),
        (MergeStrategy::Append, Some(existing)) => join(existing, value),
        (MergeStrategy::Append, None) => join(&inherited(), value),
        (MergeStrategy::Prepend, Some(existing)) => join(value, existing),
        (MergeStrategy::Prepend, None) => join(value, &inherited()),
    }
}

fn copy(value: &Secret) -> Secret {
    Secret::new(value.expose().to_vec())
}

#[cfg(test)]
mod tests {
    use super::super::definition::parse;
    use super::*;

    fn merged(env: &str, agent_env: &str) -> Result<Vec<(String, String)>, Fault> {
        let text = format!("owner: alice\nname: dev\nagent: {{ name: main, env: {{ {agent_env} }} }}\nenv:\n{env}");
        let workspace = parse(&text).unwrap().remove(0);
        let merged = environment(&workspace, &workspace.agents()[0])?;
        Ok(merged.iter().map(|(name, value)| (name.clone(), value.expose_str().unwrap().into())).collect())
    }

    #[test]
    fn each_strategy() {
        let cases = [
            ("  - { name: A, value: 1 }\n  - { name: A, value: 2 }\n", "", "2"),
            ("  - { name: A, value: 1 }\n  - { name: A, value: 2, merge_strategy: append }\n", "", "1:2"),
            ("  - { name: A, value: 1 }\n  - { name: A, value: 2, merge_strategy: prepend }\n", "", "2:1"),
            ("  - { name: A, value: 1, merge_strategy: append }\n", "", "$A:1"),
            ("  - { name: A, value: 1, merge_strategy: prepend }\n", "", "1:$A"),
            (
                "  - { name: A, value: 1, merge_strategy: prepend }\n  - { name: A, value: 2, merge_strategy: append }\n",
                "",
                "1:$A:2",
            ),
            ("  - { name: A, value: 1, merge_strategy: append }\n  - { name: A, value: 2 }\n", "", "2"),
            ("  - { name: A, value: 1, merge_strategy: error }\n", "", "1"),
            ("  - { name: A, value: 1, merge_strategy: append }\n", "A: agent", "agent"),
            ("  - { name: A, value: 1, merge_strategy: error }\n", "A: agent", "agent"),
        ];
        for (env, agent_env, expected) in cases {
            assert_eq!(merged(env, agent_env).unwrap(), [("A".into(), expected.into())], "{env}{agent_env}");
        }
    }

    #[test]
    fn error_refuses_a_second_definition_before_or_after_it() {
        for env in [
            "  - { name: A, value: canary }\n  - { name: A, value: canary, merge_strategy: error }\n",
            "  - { name: A, value: canary, merge_strategy: error }\n  - { name: A, value: canary }\n",
        ] {
            let fault = merged(env, "").unwrap_err();
            assert_eq!(fault.line, Some(6));
            assert!(fault.detail.contains("variable A") && !fault.detail.contains("canary"));
        }
    }

    #[test]
    fn an_entry_for_another_agent_does_not_count() {
        let text = "owner: a\nname: b\nagents: [{ name: x }, { name: y }]\nenv:\n  - { name: A, value: 1, agent: x }\n";
        let workspace = parse(text).unwrap().remove(0);
        assert_eq!(environment(&workspace, &workspace.agents()[0]).unwrap().len(), 1);
        assert!(environment(&workspace, &workspace.agents()[1]).unwrap().is_empty());
    }
}
