//! What fits into the database and into one message to an agent. No rule here is about style: odd names are somebody's business.

use std::collections::BTreeSet;
use std::fmt;

use uuid::Uuid;

use super::{Agent, Definition, Resource};
use crate::drpc::MAX_PACKET;

/// Longest name of a workspace, an agent or an owner, as Coder has it.
const MAX_NAME_BYTES: usize = 32;
/// Longest other text that is no script and no value.
const MAX_TEXT_BYTES: usize = 4096;
/// Longest name of a variable.
const MAX_ENV_NAME_BYTES: usize = 1024;
/// Longest value of a variable. The kernel refuses `NAME=value` above 128 KiB.
const MAX_VALUE_BYTES: usize = 128 * 1024;
const MAX_AGENTS: usize = 50;
const MAX_RESOURCES: usize = 2000;
const MAX_ITEMS: usize = 100;
const MAX_REQUIRED: usize = 100;
/// Most bytes of a manifest that a template may fill. The rest is for the owner's secrets: values of 200 KiB together, and 50 paths of
/// 4 KiB each.
const MAX_TEMPLATE_BYTES: usize = MAX_PACKET - 512 * 1024;
/// Bytes of a script or another item besides its texts.
const ITEM_BYTES: usize = 128;

/// Which part of a definition does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// The workspace itself.
    Workspace,
    /// The agent of that position.
    Agent(usize),
    /// The resource of that position.
    Resource(usize),
}

/// A definition that cannot be stored or delivered, and why. Never a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// Where.
    pub place: Place,
    /// What is wrong.
    pub detail: String,
}

impl fmt::Display for Misfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.detail)
    }
}

impl std::error::Error for Misfit {}

impl Definition {
    /// Whether the server can store and deliver it.
    pub fn check(&self) -> Result<(), Misfit> {
        let at = |place: Place| move |detail: String| Misfit { place, detail };
        self.check_workspace().map_err(at(Place::Workspace))?;
        let (mut names, mut tokens) = (BTreeSet::new(), BTreeSet::new());
        for (n, agent) in self.agents.iter().enumerate() {
            let fault = at(Place::Agent(n));
            if !names.insert(agent.name.to_ascii_lowercase()) {
                return Err(fault(format!("agent {} is defined twice", agent.name)));
            }
            let token = agent.token().map_err(at(Place::Agent(n)))?;
            if token.is_some_and(|token| !tokens.insert(token)) {
                return Err(fault(format!("{} has the token of another agent", agent.named())));
            }
            agent.check().map_err(fault)?;
        }
        let mut addresses = BTreeSet::new();
        for (n, resource) in self.resources.iter().enumerate() {
            resource.check().map_err(at(Place::Resource(n)))?;
            if !addresses.insert(resource.address.as_str()) {
                return Err(at(Place::Resource(n))(format!("resource {} is defined twice", resource.address)));
            }
        }
        Ok(())
    }

    fn check_workspace(&self) -> Result<(), String> {
        name("workspace", &self.name)?;
        let counts = [
            ("agents", self.agents.len(), MAX_AGENTS),
            ("resources", self.resources.len(), MAX_RESOURCES),
            ("required secrets", self.required_secrets.len(), MAX_REQUIRED),
        ];
        for (what, count, most) in counts {
            if count > most {
                return Err(format!("a workspace has at most {most} {what}; this one has {count}"));
            }
        }
        for required in &self.required_secrets {
            texts("required secret", &[&required.env, &required.file, &required.help_message])?;
        }
        Ok(())
    }
}

impl Agent {
    /// How messages call it.
    #[must_use]
    pub fn named(&self) -> String {
        if self.address.is_empty() { format!("agent {}", self.name) } else { self.address.clone() }
    }

    /// Its token as the number that it is.
    pub fn token(&self) -> Result<Option<Uuid>, String> {
        let Some(token) = &self.token else { return Ok(None) };
        let uuid = token.expose_str().ok().and_then(|text| Uuid::try_parse(text).ok());
        let random = uuid.filter(|uuid| uuid.get_version_num() == 4);
        random.map(Some).ok_or_else(|| format!("{}: the token must be a UUID of version 4", self.named()))
    }

    fn check(&self) -> Result<(), String> {
        name("agent", &self.name)?;
        texts(&self.named(), &[&self.directory, &self.motd_file, &self.address, &self.resource])?;
        seconds(&self.named(), &[self.connection_timeout])?;
        for (name, variable) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) || name.len() > MAX_ENV_NAME_BYTES {
                return Err(format!(
                    "{}: {name:?} names no variable: not empty, at most {MAX_ENV_NAME_BYTES} bytes, without = and null bytes",
                    self.named()
                ));
            }
            let fits = name.len() + variable.value.len() + 2 <= MAX_VALUE_BYTES;
            if !fits || variable.value.expose().contains(&0) || variable.value.expose_str().is_err() {
                return Err(format!(
                    "{}: the value of variable {name} must be text without null bytes, and at most {MAX_VALUE_BYTES} bytes with its name",
                    self.named()
                ));
            }
        }
        let mut keys = BTreeSet::new();
        for item in &self.metadata {
            texts("metadata", &[&item.key, &item.display_name])?;
            seconds("metadata", &[item.interval, item.timeout])?;
            if item.script.contains('\0') {
                return Err(format!("metadata {:?}: the script must not contain null bytes", item.key));
            }
            if !keys.insert(item.key.as_str()) {
                return Err(format!("metadata key {:?} is defined twice", item.key));
            }
        }
        self.check_scripts()?;
        self.check_size()
    }

    fn check_scripts(&self) -> Result<(), String> {
        for script in &self.scripts {
            let name = format!("script {:?}", script.display_name);
            texts(&name, &[&script.display_name, &script.icon, &script.log_path, &script.runs.cron])?;
            seconds(&name, &[script.timeout])?;
            if script.script.expose().contains(&0) || script.script.expose_str().is_err() {
                return Err(format!("{name} must be text without null bytes"));
            }
        }
        Ok(())
    }

    fn check_size(&self) -> Result<(), String> {
        let env = self.env.iter().map(|(name, variable)| name.len() + variable.value.len());
        let scripts = self.scripts.iter().map(|script| script.script.len());
        let metadata = self.metadata.iter().map(|item| item.script.len() + item.key.len());
        let bytes: usize = env.chain(scripts).chain(metadata).map(|bytes| bytes + ITEM_BYTES).sum();
        if bytes > MAX_TEMPLATE_BYTES {
            return Err(format!(
                "the scripts and variables of {} have {bytes} bytes; more than {MAX_TEMPLATE_BYTES} do not fit into one \
                 message",
                self.named()
            ));
        }
        Ok(())
    }

    /// What its author should know about it, a sentence each.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        for script in &self.scripts {
            let (name, runs) = (&script.display_name, &script.runs);
            if !runs.run_on_start && !runs.run_on_stop && runs.cron.is_empty() {
                remarks.push(format!("script {name} never runs: set run_on_start, run_on_stop or cron"));
            } else if runs.start_blocks_login && !runs.run_on_start {
                remarks.push(format!("script {name}: start_blocks_login has no effect without run_on_start"));
            }
        }
        remarks
    }
}

impl Resource {
    fn check(&self) -> Result<(), String> {
        let name = format!("resource {}", self.address);
        texts(&name, &[&self.address, &self.kind, &self.name, &self.module_path, &self.icon])?;
        if self.items.len() > MAX_ITEMS {
            return Err(format!("{name} has {} items of metadata; at most {MAX_ITEMS}", self.items.len()));
        }
        for item in &self.items {
            texts(&name, &[&item.key])?;
            let value = item.value.as_ref();
            let fits = |value: &crate::secret::Secret| {
                value.len() <= MAX_VALUE_BYTES && !value.expose().contains(&0) && value.expose_str().is_ok()
            };
            if value.is_some_and(|value| !fits(value)) {
                return Err(format!(
                    "{name}: the value of {:?} must be text without null bytes, of at most {MAX_VALUE_BYTES} bytes",
                    item.key
                ));
            }
        }
        Ok(())
    }
}

fn name(what: &str, name: &str) -> Result<(), String> {
    let legal = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    if name.len() <= MAX_NAME_BYTES && name.split('-').all(legal) {
        return Ok(());
    }
    let shown: String = name.chars().take(MAX_NAME_BYTES + 1).collect();
    Err(format!(
        "{shown:?} is no name of a {what}: 1 to {MAX_NAME_BYTES} letters, digits and underscores, with single hyphens between them"
    ))
}

fn texts(what: &str, texts: &[&String]) -> Result<(), String> {
    for text in texts {
        if text.len() > MAX_TEXT_BYTES || text.contains('\0') {
            return Err(format!("{what} has a text with null bytes, or with more than {MAX_TEXT_BYTES} bytes"));
        }
    }
    Ok(())
}

fn seconds(what: &str, all: &[i64]) -> Result<(), String> {
    let most = i64::from(i32::MAX);
    if all.iter().any(|seconds| !(0..=most).contains(seconds)) {
        return Err(format!("{what} has a number of seconds that does not lie between 0 and {most}"));
    }
    Ok(())
}
