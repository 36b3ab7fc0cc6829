//! Rows to the manifest of the wire.

use std::time::Duration;

use prost::Message;
use protocol::agent_api::derp_map::HomeParams;
use protocol::agent_api::workspace_agent_metadata::Description;
use protocol::agent_api::{DerpMap, Manifest, WorkspaceAgentScript, WorkspaceSecret};
use protocol::drpc::MAX_PACKET;
use protocol::secret::Secret;

use crate::store::workspaces::{AgentIdentity, DeliveredSecret, DeliveredVariable, ManifestSources, Metadata, Script};
use crate::store::{StoreError, Targets};

/// A manifest, and what is not in it.
pub struct Built {
    /// Ready for the wire.
    pub manifest: Manifest,
    /// Values that could not be read.
    pub left_out: Vec<LeftOut>,
}

/// A value that is not delivered. It does not hold up the others; the user is told.
#[derive(Debug)]
pub struct LeftOut {
    /// `secret NAME` or `variable NAME`.
    pub what: String,
    /// Why.
    pub reason: Reason,
}

/// Why a value is not delivered. Never the value.
#[derive(Debug, PartialEq, Eq)]
pub enum Reason {
    /// It could not be read.
    Unreadable(String),
    /// The administrator denies this target.
    Denied(String),
}

/// The manifest is larger than a message may be.
#[derive(Debug, thiserror::Error)]
#[error("the manifest has {bytes} bytes and a message may have {MAX_PACKET}; make the scripts of the template smaller")]
pub struct TooLarge {
    bytes: usize,
}

/// Builds the manifest of `agent`, with the targets that are allowed; a secret without any is not sent.
pub fn build(agent: &AgentIdentity, sources: ManifestSources, targets: &Targets) -> Result<Built, TooLarge> {
    let ManifestSources { generation, is_revoked, .. } = sources;
    let sources = if is_revoked { nothing_of(sources) } else { sources };
    let mut left_out = Vec::new();
    let mut read = |what: String, value: Result<Secret, StoreError>| match value {
        Ok(value) => Some(value),
        Err(error) => {
            left_out.push(LeftOut { what, reason: Reason::Unreadable(error.to_string()) });
            None
        }
    };
    let marked = |it: &DeliveredVariable| Some((it.name.clone(), it.sensitive?));
    let variable_sensitivity = sources.env.iter().filter_map(marked).collect();
    let env = sources.env.into_iter().filter_map(|DeliveredVariable { name, value, .. }| {
        let value = read(format!("variable {name}"), value)?;
        // A definition is text, so what does not decode cannot have come from one.
        Some((name, String::from_utf8_lossy(value.expose()).into_owned()))
    });
    let environment_variables = env.collect();
    let (secrets, denied) = allowed(sources.secrets, targets);
    let secrets = secrets.into_iter().filter_map(|it| secret(it, &mut read)).collect();
    left_out.extend(denied);
    let manifest = Manifest {
        agent_id: agent.id.as_bytes().to_vec(),
        environment_variables,
        variable_sensitivity,
        directory: sources.directory,
        motd_path: sources.motd_path,
        derp_map: Some(empty_derp_map()),
        scripts: sources.scripts.into_iter().map(script).collect(),
        metadata: sources.metadata.into_iter().map(description).collect(),
        owner_username: agent.owner_name.clone(),
        workspace_id: agent.workspace_id.as_bytes().to_vec(),
        agent_name: agent.name.clone(),
        workspace_name: agent.workspace_name.clone(),
        secrets,
        revoked: is_revoked,
        generation: Some(protocol::live::Generation { epoch: generation.epoch, number: generation.number }),
        ..Manifest::default()
    };
    match manifest.encoded_len() {
        bytes if bytes > MAX_PACKET => Err(TooLarge { bytes }),
        _ => Ok(Built { manifest, left_out }),
    }
}

/// The manifest of a revoked workspace says where it is, and no more.
fn nothing_of(sources: ManifestSources) -> ManifestSources {
    ManifestSources { env: Vec::new(), scripts: Vec::new(), metadata: Vec::new(), secrets: Vec::new(), ..sources }
}

/// No regions; `home_params` is there because a Go agent dereferences it.
#[must_use]
pub fn empty_derp_map() -> DerpMap {
    DerpMap { home_params: Some(HomeParams::default()) }
}

/// The secrets with the targets that they may have, and the targets that are denied.
fn allowed(mut secrets: Vec<DeliveredSecret>, targets: &Targets) -> (Vec<DeliveredSecret>, Vec<LeftOut>) {
    let mut denied = Vec::new();
    for secret in &mut secrets {
        let mut deny = |target: String| {
            denied.push(LeftOut { what: format!("secret {}", secret.name), reason: Reason::Denied(target) });
        };
        if !secret.env_name.is_empty() && targets.denies_env(&secret.env_name) {
            deny(std::mem::take(&mut secret.env_name));
        }
        if !targets.has_files() {
            secret.file_path.clear();
        } else if !secret.file_path.is_empty() && targets.denies_file(&secret.file_path) {
            deny(std::mem::take(&mut secret.file_path));
        }
    }
    (secrets, denied)
}

fn secret(
    secret: DeliveredSecret,
    read: &mut impl FnMut(String, Result<Secret, StoreError>) -> Option<Secret>,
) -> Option<WorkspaceSecret> {
    let DeliveredSecret { name, env_name, file_path, value } = secret;
    if env_name.is_empty() && file_path.is_empty() {
        return None;
    }
    let value = read(format!("secret {name}"), value)?.expose().to_vec();
    Some(WorkspaceSecret { env_name, file_path, value })
}

fn script(script: Script) -> WorkspaceAgentScript {
    let timeout = u64::try_from(script.timeout).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs);
    WorkspaceAgentScript {
        id: script.id.as_bytes().to_vec(),
        log_source_id: script.log_source_id.as_bytes().to_vec(),
        log_path: script.log_path,
        script: script.script,
        cron: script.cron,
        run_on_start: script.run_on_start,
        run_on_stop: script.run_on_stop,
        start_blocks_login: script.start_blocks_login,
        timeout: timeout.and_then(|timeout| timeout.try_into().ok()),
        display_name: script.display_name,
    }
}

fn description(item: Metadata) -> Description {
    // The wire counts these seconds in nanoseconds: 10 s travels as 10 ns.
    let seconds_as_nanos = |seconds: i64| {
        Some(prost_types::Duration {
            seconds: seconds / 1_000_000_000,
            nanos: i32::try_from(seconds % 1_000_000_000).unwrap_or(0),
        })
    };
    Description {
        interval: seconds_as_nanos(item.interval),
        timeout: seconds_as_nanos(item.timeout),
        display_name: item.display_name,
        key: item.key,
        script: item.script,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::store::Generation;

    fn identity() -> AgentIdentity {
        AgentIdentity {
            id: Uuid::from_u128(1),
            name: "main".into(),
            workspace_id: Uuid::from_u128(2),
            workspace_name: "dev".into(),
            owner_id: Uuid::from_u128(3),
            owner_name: "alice".into(),
            user_data: true,
            token_hash: [0; 32],
            is_revoked: false,
        }
    }

    fn secret(name: &str, env_name: &str, file_path: &str) -> DeliveredSecret {
        let value = Ok(Secret::new(format!("value of {name}\0\u{ff}").into_bytes()));
        DeliveredSecret { name: name.into(), env_name: env_name.into(), file_path: file_path.into(), value }
    }

    fn variable(name: &str, value: Result<Secret, StoreError>, sensitive: Option<bool>) -> DeliveredVariable {
        DeliveredVariable { name: name.into(), value, sensitive }
    }

    fn sources(secrets: Vec<DeliveredSecret>) -> ManifestSources {
        ManifestSources {
            generation: Generation { epoch: 1, number: 1 },
            is_revoked: false,
            directory: "~/project".into(),
            motd_path: "/etc/motd".into(),
            env: vec![variable("A", Ok(Secret::new(b"$B".to_vec())), None)],
            scripts: Vec::new(),
            metadata: Vec::new(),
            secrets,
        }
    }

    fn targets(built: &Built) -> Vec<(&str, &str)> {
        built.manifest.secrets.iter().map(|secret| (secret.env_name.as_str(), secret.file_path.as_str())).collect()
    }

    #[test]
    fn secrets_keep_order_targets_and_bytes() {
        let secrets = || vec![secret("a", "A", ""), secret("b", "", "~/b"), secret("c", "C", "/c")];
        let built = build(&identity(), sources(secrets()), &Targets::default()).unwrap();
        assert_eq!(targets(&built), [("A", ""), ("", "~/b"), ("C", "/c")]);
        assert_eq!(built.manifest.secrets[0].value, "value of a\0\u{ff}".as_bytes());
        let without_files = build(&identity(), sources(secrets()), &Targets::default().without_files()).unwrap();
        assert_eq!(targets(&without_files), [("A", ""), ("C", "")]);
        assert!(without_files.left_out.is_empty());
        let denied = Targets::default().deny_env("a").unwrap().deny_file("/*").unwrap();
        let built = build(&identity(), sources(secrets()), &denied).unwrap();
        assert_eq!(targets(&built), [("", "~/b"), ("C", "")]);
        let left_out: Vec<_> = built.left_out.iter().map(|it| (it.what.as_str(), &it.reason)).collect();
        let [a, c] = ["A", "/c"].map(|target| Reason::Denied(target.into()));
        assert_eq!(left_out, [("secret a", &a), ("secret c", &c)]);
    }

    #[test]
    fn what_a_go_agent_dereferences_is_there_and_what_it_refuses_is_not() {
        let manifest = build(&identity(), sources(Vec::new()), &Targets::default()).unwrap().manifest;
        assert!(manifest.derp_map.is_some_and(|map| map.home_params.is_some()));
        assert_eq!(manifest.parent_id, None);
        assert_eq!((manifest.agent_id.len(), manifest.workspace_id.len()), (16, 16));
        assert_eq!(manifest.environment_variables["A"], "$B");
        let names = (manifest.owner_username, manifest.workspace_name, manifest.agent_name);
        assert_eq!(names, ("alice".into(), "dev".into(), "main".into()));
    }

    #[test]
    fn marks_of_the_definition_travel_and_nothing_is_marked_that_it_does_not_mark() {
        let mut marked = sources(Vec::new());
        marked.env.push(variable("S", Ok(Secret::from("secret".to_owned())), Some(true)));
        marked.env.push(variable("P", Ok(Secret::from("/path".to_owned())), Some(false)));
        let mut marks: Vec<_> = build(&identity(), marked, &Targets::default())
            .unwrap()
            .manifest
            .variable_sensitivity
            .into_iter()
            .collect();
        marks.sort();
        assert_eq!(marks, [("P".to_owned(), false), ("S".to_owned(), true)]);
    }

    #[test]
    fn metadata_seconds_travel_as_nanoseconds_and_script_seconds_as_seconds() {
        let item = Metadata {
            key: "k".into(),
            display_name: "K".into(),
            script: "true".into(),
            interval: 10,
            timeout: 2_000_000_000,
            value: String::new(),
            error: String::new(),
            collected_at: None,
        };
        let described = description(item);
        assert_eq!(described.interval, Some(prost_types::Duration { seconds: 0, nanos: 10 }));
        assert_eq!(described.timeout, Some(prost_types::Duration { seconds: 2, nanos: 0 }));
        let wire = script(Script {
            id: Uuid::from_u128(4),
            log_source_id: Uuid::from_u128(5),
            display_name: "Install".into(),
            script: "make".into(),
            sensitive: false,
            cron: String::new(),
            log_path: String::new(),
            timeout: 300,
            run_on_start: true,
            run_on_stop: false,
            start_blocks_login: true,
            last: None,
        });
        assert_eq!(wire.timeout, Some(prost_types::Duration { seconds: 300, nanos: 0 }));
        assert_eq!((wire.id.len(), wire.log_source_id.len()), (16, 16));
    }

    #[test]
    fn a_value_that_cannot_be_read_leaves_the_others_alone() {
        let mut broken = sources(vec![secret("a", "A", ""), secret("b", "B", "")]);
        broken.secrets[0].value = Err(StoreError::Abandoned);
        broken.env.push(variable("X", Err(StoreError::Abandoned), Some(true)));
        let built = build(&identity(), broken, &Targets::default()).unwrap();
        assert_eq!(targets(&built), [("B", "")]);
        assert_eq!(built.manifest.environment_variables.len(), 1);
        let left_out: Vec<_> = built.left_out.iter().map(|left_out| left_out.what.as_str()).collect();
        assert_eq!(left_out, ["variable X", "secret a"]);
    }

    #[test]
    fn a_revoked_workspace_gets_nothing() {
        let mut revoked = sources(vec![secret("a", "A", "~/a")]);
        revoked.is_revoked = true;
        let manifest = build(&identity(), revoked, &Targets::default()).unwrap().manifest;
        assert!(manifest.revoked && manifest.secrets.is_empty() && manifest.environment_variables.is_empty());
        assert_eq!(manifest.owner_username, "alice");
    }

    #[test]
    fn a_manifest_over_the_limit_of_a_message_is_refused_with_its_size() {
        let mut large = sources(Vec::new());
        large.env[0].value = Ok(Secret::new(vec![b'x'; MAX_PACKET]));
        let error = build(&identity(), large, &Targets::default()).err().unwrap().to_string();
        assert!(error.contains("4194304"), "{error}");
    }
}
