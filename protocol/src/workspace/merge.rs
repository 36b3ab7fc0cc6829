//! The variables of one agent: every `coder_env` by its strategy, then `coder_agent.env` over it.

use std::collections::{BTreeMap, BTreeSet};

use crate::definition::Variable;
use crate::secret::Secret;

use super::definition::{Agent, CoderEnv, Fault, MergeStrategy, Workspace};
use super::env_value::EnvValue;

/// Returns the variables that the template sets for `agent`, and adds what its author should know to `notes`. `$NAME` stays as it is: the agent expands it with what it inherits.
pub(super) fn environment(
    workspace: &Workspace,
    agent: &Agent,
    notes: &mut Vec<String>,
) -> Result<BTreeMap<String, Variable>, Fault> {
    let ours = |env: &&CoderEnv| env.agent.as_ref().is_none_or(|name| name.value == agent.name.value);
    let mut merged: BTreeMap<String, Variable> = BTreeMap::new();
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
        let variable = joined(env, merged.get(name), notes);
        merged.insert(name.to_owned(), variable);
    }
    let own = |value: &EnvValue| Variable { value: copy(value.value()), sensitive: value.sensitive() };
    merged.extend(agent.env.iter().map(|(name, value)| (name.as_str().to_owned(), own(value))));
    Ok(merged)
}

/// Applies the strategy of `env`. A list with nothing to join joins to the variable that the workspace inherits: a bare value would
/// replace it, and with it `PATH`.
fn joined(env: &CoderEnv, existing: Option<&Variable>, notes: &mut Vec<String>) -> Variable {
    let added = env.value.value();
    let join = |before: &Secret, after: &Secret| Secret::new([before.expose(), b":", after.expose()].concat());
    let with = |existing: &Secret| match env.merge_strategy {
        MergeStrategy::Append => Some(join(existing, added)),
        MergeStrategy::Prepend => Some(join(added, existing)),
        MergeStrategy::Replace | MergeStrategy::Error => None,
    };
    let (joined, sensitive) = match existing {
        Some(existing) => (with(&existing.value), both(existing.sensitive, env.sensitive)),
        None => (with(&Secret::from(format!("${}", env.name.value))), env.sensitive),
    };
    match joined {
        None => Variable { value: copy(added), sensitive: env.sensitive },
        // A sensitive value is passed on byte for byte, so it cannot refer to the inherited one. Coder never joins to that one.
        Some(_) if existing.is_none() && env.sensitive == Some(true) => {
            notes.push(format!(
                "variable {} is sensitive and joins to nothing; it replaces the variable that the workspace inherits",
                env.name.value
            ));
            Variable { value: copy(added), sensitive: env.sensitive }
        }
        Some(value) => Variable { value, sensitive },
    }
}

/// A joined value is a secret if a part of it is, and none if no part is.
fn both(one: Option<bool>, other: Option<bool>) -> Option<bool> {
    match (one, other) {
        (Some(true), _) | (_, Some(true)) => Some(true),
        (Some(false), Some(false)) => Some(false),
        _ => None,
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
        let merged = environment(&workspace, &workspace.agents()[0], &mut Vec::new())?;
        Ok(merged.iter().map(|(name, it)| (name.clone(), it.value.expose_str().unwrap().into())).collect())
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
        assert_eq!(environment(&workspace, &workspace.agents()[0], &mut Vec::new()).unwrap().len(), 1);
        assert!(environment(&workspace, &workspace.agents()[1], &mut Vec::new()).unwrap().is_empty());
    }

    #[test]
    fn a_joined_value_is_as_sensitive_as_its_parts() {
        let mark = |marks: [&str; 2]| {
            let item = |mark: &str| format!("  - {{ name: A, value: x, merge_strategy: append{mark} }}\n");
            let first = format!("  - {{ name: A, value: x{} }}\n", marks[0]);
            let text = format!("owner: a\nname: b\nagent: {{ name: x }}\nenv:\n{first}{}", item(marks[1]));
            let workspace = parse(&text).unwrap().remove(0);
            environment(&workspace, &workspace.agents()[0], &mut Vec::new()).unwrap()["A"].sensitive
        };
        let (yes, no, none) = (", sensitive: true", ", sensitive: false", "");
        assert_eq!([[yes, no], [no, yes], [yes, none], [none, yes]].map(mark), [Some(true); 4]);
        assert_eq!([[no, no], [no, none], [none, none]].map(mark), [Some(false), None, None]);
        let bare = merged("  - { name: A, value: x, merge_strategy: append, sensitive: true }\n", "").unwrap();
        assert_eq!(bare, [("A".into(), "x".into())]);
        let own = merged("  - { name: A, value: x }\n", "A: { value: 010, sensitive: true }").unwrap();
        assert_eq!(own, [("A".into(), "010".into())]);
    }
}
