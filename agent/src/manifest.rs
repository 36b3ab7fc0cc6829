//! Wire to domain. At this door a manifest is split into what may be printed and what may not.
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

use protocol::agent_api as wire;
use protocol::live::Generation;
use protocol::rules;
use protocol::secret::Secret;
use uuid::Uuid;

use crate::sys::memory::{self, Guarded};
use crate::sys::process;

/// The printable part: it goes into logs and `coder status` as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the wire's")]
pub struct Manifest {
    pub agent_id: Uuid,
    pub agent_name: String,
    pub owner_username: String,
    pub workspace_id: Uuid,
    pub workspace_name: String,
    /// As the template wrote it; `~` and variables are not expanded yet.
    pub directory: String,
    pub motd_path: String,
    pub vs_code_port_proxy_uri: String,
    pub scripts: Vec<Script>,
    pub metadata: Vec<Metadata>,
    /// Which state this is; `None` from a Coder server.
    pub generation: Option<Generation>,
    /// The workspace gets nothing any more.
    pub revoked: bool,
}

/// A script of the template.
#[derive(Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the wire's")]
pub struct Script {
    pub id: Uuid,
    /// Where its output is logged on the server.
    pub log_source_id: Uuid,
    /// Never empty, see [`script_name`].
    pub display_name: String,
    pub log_path: String,
    pub script: String,
    /// Empty: not on a schedule.
    pub cron: String,
    pub run_on_start: bool,
    pub run_on_stop: bool,
    pub start_blocks_login: bool,
    /// `None`: as long as it takes.
    pub timeout: Option<Duration>,
}

/// A value that the template wants collected by a script.
#[derive(Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are the wire's")]
pub struct Metadata {
    pub key: String,
    pub display_name: String,
    pub script: String,
    /// `None`: collected once.
    pub interval: Option<Duration>,
    pub timeout: Option<Duration>,
}

/// The part that may not be printed.
#[derive(Debug)]
pub struct SecretSet {
    /// Variables of the template by name, values not yet expanded.
    pub template: Vec<TemplateVariable>,
    /// The user's secrets in the server's order, in which later ones win.
    pub secrets: Vec<WorkspaceSecret>,
    /// Variables that are not set, and why; the file of the same secret is still written.
    pub refused: Vec<Refused>,
}

/// One variable of the template.
#[derive(Debug)]
pub struct TemplateVariable {
    /// Its name.
    pub name: String,
    /// As the template wrote it.
    pub value: Guarded,
    /// What the template says about it.
    pub sensitivity: Sensitivity,
}

/// What a template says about the value of a variable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sensitivity {
    /// Nothing, as Coder's servers and older definitions.
    Unmarked,
    /// It is a secret: passed on byte for byte, and never shown.
    Sensitive,
    /// It is none.
    Plain,
}

/// One user secret.
#[derive(Debug)]
pub struct WorkspaceSecret {
    /// The variable it goes into.
    pub env_name: Option<String>,
    /// The file it goes into, as the user wrote it.
    pub file_path: Option<String>,
    /// The value; its handle may be shared, its bytes are not copied.
    pub value: Guarded,
}

impl WorkspaceSecret {
    /// What to call it: a manifest has its targets only.
    #[must_use]
    pub fn name(&self) -> &str {
        self.env_name.as_deref().or(self.file_path.as_deref()).unwrap_or_default()
    }
}

/// A variable that cannot or must not be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Name of the variable.
    pub name: String,
    /// Why, without the value.
    pub reason: String,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "variable {:?} is not set: {}", self.name, self.reason)
    }
}

/// Why a whole manifest was refused.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ManifestError {
    #[error("manifest: {field} must be 16 bytes, not {len}")]
    Id { field: String, len: usize },
    #[error("manifest: agent_id is all zeros")]
    NoAgent,
    #[error("no memory for the values of the manifest")]
    Memory { source: io::Error },
}

/// Splits a manifest, moving every value out of the message into guarded memory.
pub fn split(mut message: wire::Manifest) -> Result<(Manifest, SecretSet), ManifestError> {
    let secrets = take_secrets(&mut message)?;
    let agent_id = id(&message.agent_id, || "agent_id".into())?;
    if agent_id.is_nil() {
        return Err(ManifestError::NoAgent);
    }
    let manifest = Manifest {
        agent_id,
        agent_name: message.agent_name,
        owner_username: message.owner_username,
        workspace_id: id(&message.workspace_id, || "workspace_id".into())?,
        workspace_name: message.workspace_name,
        directory: message.directory,
        motd_path: message.motd_path,
        vs_code_port_proxy_uri: message.vs_code_port_proxy_uri,
        scripts: message.scripts.into_iter().enumerate().map(script).collect::<Result<_, _>>()?,
        metadata: message.metadata.into_iter().map(metadata).collect(),
        generation: message.generation,
        revoked: message.revoked,
    };
    Ok((manifest, secrets))
}

/// First of all, so that an error further on drops a message without values.
fn take_secrets(message: &mut wire::Manifest) -> Result<SecretSet, ManifestError> {
    let mut refused = Vec::new();
    let mut names = Vec::new();
    let mut values = Vec::new();
    let mut template: Vec<_> = std::mem::take(&mut message.environment_variables).into_iter().collect();
    template.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    for (name, value) in template {
        let value = Secret::from(value);
        if process::is_passable(OsStr::new(&name), value.expose()) {
            names.push(name);
            values.push(value);
        } else {
            let reason = "a name must not be empty or hold = or a null byte, and a value no null byte".into();
            refused.push(Refused { name, reason });
        }
    }
    let mut targets = Vec::new();
    for mut secret in std::mem::take(&mut message.secrets) {
        let value = Secret::new(std::mem::take(&mut secret.value));
        let env_name = accept_name(std::mem::take(&mut secret.env_name), &value, &mut refused);
        targets.push((env_name, Some(std::mem::take(&mut secret.file_path)).filter(|path| !path.is_empty())));
        values.push(value);
    }
    let mut held = memory::guard(values).map_err(|source| ManifestError::Memory { source })?.into_iter();
    let marks = std::mem::take(&mut message.variable_sensitivity);
    let variable = |(name, value): (String, Guarded)| {
        let sensitivity = match marks.get(&name) {
            None => Sensitivity::Unmarked,
            Some(true) => Sensitivity::Sensitive,
            Some(false) => Sensitivity::Plain,
        };
        TemplateVariable { name, value, sensitivity }
    };
    let template = names.into_iter().zip(held.by_ref()).map(variable).collect();
    let secret = |((env_name, file_path), value)| WorkspaceSecret { env_name, file_path, value };
    Ok(SecretSet { template, secrets: targets.into_iter().zip(held).map(secret).collect(), refused })
}

/// The agent does not trust its server with names like `LD_PRELOAD`.
fn accept_name(name: String, value: &Secret, refused: &mut Vec<Refused>) -> Option<String> {
    if name.is_empty() {
        return None;
    }
    let checked = rules::env_name(&name)
        .and_then(|()| if value.expose().contains(&0) { Err("its value holds a null byte".into()) } else { Ok(()) });
    match checked {
        Ok(()) => Some(name),
        Err(reason) => {
            refused.push(Refused { name, reason });
            None
        }
    }
}

fn script((index, script): (usize, wire::WorkspaceAgentScript)) -> Result<Script, ManifestError> {
    Ok(Script {
        id: id(&script.id, || format!("scripts[{index}].id"))?,
        log_source_id: id(&script.log_source_id, || format!("scripts[{index}].log_source_id"))?,
        display_name: script_name(index, &script),
        log_path: script.log_path,
        script: script.script,
        cron: script.cron,
        run_on_start: script.run_on_start,
        run_on_stop: script.run_on_stop,
        start_blocks_login: script.start_blocks_login,
        timeout: script.timeout.and_then(|it| Duration::try_from(it).ok()).filter(|timeout| !timeout.is_zero()),
    })
}

/// Some servers send no names: the file name of the script's log says what it does, else when it runs and its place in
/// the template, counted from 1.
fn script_name(index: usize, script: &wire::WorkspaceAgentScript) -> String {
    if !script.display_name.is_empty() {
        return script.display_name.clone();
    }
    let log = Path::new(&script.log_path).file_name();
    log.map_or_else(|| format!("{} script {}", occasion(script), index + 1), |log| log.to_string_lossy().into_owned())
}

fn occasion(script: &wire::WorkspaceAgentScript) -> &'static str {
    match script {
        _ if script.run_on_start => "startup",
        _ if script.run_on_stop => "stop",
        _ => "scheduled",
    }
}

fn metadata(description: wire::workspace_agent_metadata::Description) -> Metadata {
    Metadata {
        key: description.key,
        display_name: description.display_name,
        script: description.script,
        interval: description.interval.and_then(seconds_in_nanoseconds),
        timeout: description.timeout.and_then(seconds_in_nanoseconds),
    }
}

/// The server stores whole seconds and casts them into a duration of as many nanoseconds.
fn seconds_in_nanoseconds(sent: prost_types::Duration) -> Option<Duration> {
    let nanoseconds = Duration::try_from(sent).ok()?.as_nanos();
    u64::try_from(nanoseconds).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs)
}

fn id(bytes: &[u8], field: impl FnOnce() -> String) -> Result<Uuid, ManifestError> {
    Uuid::from_slice(bytes).map_err(|_| ManifestError::Id { field: field(), len: bytes.len() })
}

// A template may have written a credential into the text of a script.
impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Script").field("id", &self.id).field("display_name", &self.display_name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Metadata {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metadata").field("key", &self.key).field("interval", &self.interval).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
