//! The layers of variables, and which of them one launch gets.
//!
//! Low to high: inherited, the agent's own, the template's, the user's secrets, what must stay ours, what the caller
//! appends. [`Environment::resolve`] is a pure function of these.
#![forbid(unsafe_code)]

mod layers;
mod left_out;
mod path;
mod shells;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use protocol::secret::Secret;

use crate::expand;
use crate::files::{FileReport, FilesApplied};
use crate::manifest::{Manifest, SecretSet, Sensitivity, TemplateVariable};
use crate::sys::memory::Guarded;
use crate::sys::spawn;
use crate::sys::users::Account;
use layers::{Layered, Value};
pub use left_out::{LeftOut, Reason};
pub use shells::Interpreter;

/// Variables by name. Values of an environment may be anything, so all are taken for secret.
pub type Variables = Vec<(OsString, Secret)>;

/// The agent's token: it can fetch everything, so it stays with the agent.
const TOKEN: &str = "CODER_AGENT_TOKEN";

/// Unmarked template values from this length on may be tokens; shorter ones are words like `true`.
const SHORTEST_UNMARKED_TOKEN: usize = 16;

/// Says in every process of the workspace how it was started; nobody can set it otherwise. Startup files of shells test it,
/// and it tells from where a process has the values that it holds.
pub const LAUNCH_VARIABLE: &str = "CODER_LAUNCH";

/// What the agent starts itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Launched {
    /// A script at the start or the stop of the workspace.
    Script,
    /// The main process.
    Main,
    /// A script on a schedule, or one that collects metadata.
    Scheduled,
}

/// Who asks.
#[derive(Debug)]
pub enum Caller {
    /// What the agent starts itself; what it appends wins over everything.
    Agent(Launched, Variables),
    /// `coder exec`, with the variables of its own process.
    Exec(Variables),
    /// A session of sshd, with the variables of its own process.
    Session(Variables),
}

impl Caller {
    /// The value of [`LAUNCH_VARIABLE`].
    #[must_use]
    pub fn marker(&self) -> &'static str {
        match self {
            Self::Agent(Launched::Script, _) => "script",
            Self::Agent(Launched::Main, _) => "main",
            Self::Agent(Launched::Scheduled, _) => "scheduled",
            Self::Exec(_) => "exec",
            Self::Session(_) => SESSION_MARKER,
        }
    }
}

/// The value of [`LAUNCH_VARIABLE`] in a session, which has it without an agent as well.
pub const SESSION_MARKER: &str = "session";

/// Where a variable of a launch comes from.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Origin {
    /// The start environment of the agent, or its account.
    Inherited,
    /// The caller's own environment.
    Caller,
    /// The agent's description of the workspace.
    Agent,
    /// The template.
    Template,
    /// A user secret.
    Secret,
    /// What nobody may change.
    Ours,
    /// What the caller appends.
    Appended,
}

/// The variables of one launch: each name once.
#[derive(Debug)]
pub struct Resolved {
    /// Sorted by name.
    pub variables: Vec<Variable>,
    /// What the kernel would refuse, and what would end a shell.
    pub left_out: Vec<LeftOut>,
}

/// One variable of one launch.
#[derive(Debug)]
pub struct Variable {
    /// Its name.
    pub name: OsString,
    /// Its value.
    pub value: Secret,
    /// The layer that won.
    pub origin: Origin,
}

impl Resolved {
    /// The variables, to be handed to a child.
    #[must_use]
    pub fn into_variables(self) -> Variables {
        self.variables.into_iter().map(|variable| (variable.name, variable.value)).collect()
    }
}

/// What an environment depends on besides the manifest.
#[derive(Debug)]
pub struct Options {
    /// For `USER`, `LOGNAME`, `SHELL` and `HOME` where nobody sets them.
    pub account: Option<Account>,
    /// `Some` only with `--pass-agent-token`.
    pub agent_token: Option<Guarded>,
    /// What git runs to reach ssh; `None` while nothing serves it.
    pub git_ssh_command: Option<OsString>,
    /// What git runs for a password; `None` while nothing serves it.
    pub git_askpass: Option<OsString>,
    /// Directories before everything in `PATH`.
    pub path_prefix: Vec<PathBuf>,
    /// The shells that programs of the workspace are started by.
    pub shells: Vec<Interpreter>,
    /// Names that earlier environments of this workspace had.
    pub former: BTreeSet<String>,
    /// Most bytes of one variable, its name and end included.
    pub variable_limit: usize,
    /// Most bytes of all variables, with a pointer to each.
    pub total_limit: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            account: None,
            agent_token: None,
            git_ssh_command: None,
            git_askpass: None,
            path_prefix: Vec::new(),
            shells: Vec::new(),
            former: BTreeSet::new(),
            variable_limit: spawn::variable_limit(),
            // The arguments share the block with the variables.
            total_limit: spawn::block_limit() / 4 * 3,
        }
    }
}

/// The variables that launches are resolved from. It never touches the disk.
#[derive(Debug)]
pub struct Environment {
    start: Variables,
    agent: Vec<(&'static str, OsString)>,
    secrets: SecretSet,
    options: Options,
}

impl Environment {
    /// The environment of a workspace, and what became of the files. `start` is what the agent was started with. The secrets
    /// come out of `files`, so they are never in an environment whose files are not settled.
    #[must_use]
    pub fn build(start: Variables, manifest: &Manifest, files: FilesApplied, options: Options) -> (Self, FileReport) {
        let (secrets, report) = files.into_parts();
        let mut agent = workspace(manifest);
        agent.extend(always());
        (Self { start, agent, secrets, options }, report)
    }

    /// What can be had while the control plane has not answered: no template, no secrets.
    #[must_use]
    pub fn without_secrets(start: Variables, options: Options) -> Self {
        let secrets = SecretSet { template: Vec::new(), secrets: Vec::new(), refused: Vec::new() };
        Self { start, agent: always().into(), secrets, options }
    }

    /// The exact variables of one launch.
    #[must_use]
    pub fn resolve(&self, caller: &Caller) -> Resolved {
        let mut left_out = Vec::new();
        loop {
            let block = self.block(caller, &mut left_out);
            let total = block.iter().map(|(name, (_, value))| size(name, value) + size_of::<usize>()).sum::<usize>();
            let largest = || {
                let ours = |(_, (origin, _)): &(_, &(Origin, _))| is_delivered(*origin);
                block.iter().filter(ours).max_by_key(|(name, (_, value))| size(name, value))
            };
            match largest().filter(|_| total > self.options.total_limit) {
                Some((name, (origin, value))) => left_out.push(LeftOut {
                    name: (*name).to_owned(),
                    origin: *origin,
                    reason: Reason::TooLarge { bytes: size(name, value), limit: self.options.total_limit },
                }),
                None => return Resolved { variables: into_variables(block), left_out },
            }
        }
    }

    /// What must not be printed while this environment is in use, each with the name to speak of it.
    #[must_use]
    pub fn values_to_mask(&self) -> Vec<(String, Secret)> {
        let secrets = self.secrets.secrets.iter().map(|secret| (secret.name().to_owned(), secret.value.copy()));
        let template = self.secrets.template.iter().filter(|variable| is_masked(variable));
        secrets.chain(template.map(|variable| (variable.name.clone(), variable.value.copy()))).collect()
    }

    /// Names of the template's variables and the user's secrets, here and in earlier environments of this workspace.
    #[must_use]
    pub fn names(&self) -> BTreeSet<String> {
        self.own_names().map(str::to_owned).chain(self.options.former.iter().cloned()).collect()
    }

    /// Those of them that went. Whoever was given an earlier environment and keeps it has to unset these.
    #[must_use]
    pub fn gone(&self) -> Vec<String> {
        let own: BTreeSet<&str> = self.own_names().collect();
        self.options.former.iter().filter(|name| !own.contains(name.as_str())).cloned().collect()
    }

    fn own_names(&self) -> impl Iterator<Item = &str> {
        let secrets = self.secrets.secrets.iter().filter_map(|secret| secret.env_name.as_deref());
        self.secrets.template.iter().map(|variable| variable.name.as_str()).chain(secrets)
    }

    /// Whether both have the same values to mask.
    #[must_use]
    pub fn masks_like(&self, other: &Self) -> bool {
        let values = |it: &Self| {
            let secrets = it.secrets.secrets.iter().map(|secret| secret.value.share());
            let template = it.secrets.template.iter().filter(|it| is_masked(it)).map(|it| it.value.share());
            (secrets.collect::<Vec<_>>(), template.collect::<Vec<_>>())
        };
        values(self) == values(other)
    }

    fn block<'a>(&'a self, caller: &'a Caller, left_out: &mut Vec<LeftOut>) -> Block<'a> {
        let mut layers = self.layers(caller);
        layers.retain(|Layered { origin, name, value }| {
            if left_out.iter().any(|it| it.name == *name && it.origin == *origin) {
                return false;
            }
            let reason = self.refusal(*origin, name, value);
            let is_refused = reason.is_some();
            left_out.extend(reason.map(|reason| LeftOut { name: (*name).to_owned(), origin: *origin, reason }));
            !is_refused
        });
        // Of those with the same name the last one stays.
        let mut block: Block<'a> = layers.into_iter().map(|it| (it.name, (it.origin, it.value))).collect();
        if self.options.agent_token.is_none() {
            block.remove(OsStr::new(TOKEN));
        }
        self.prefix_path(&mut block);
        block
    }

    /// Why no launch may have a variable. What somebody started the agent or a launch with is theirs to judge.
    fn refusal(&self, origin: Origin, name: &OsStr, value: &Value<'_>) -> Option<Reason> {
        let (bytes, limit) = (size(name, value), self.options.variable_limit);
        if bytes > limit {
            return Some(Reason::TooLarge { bytes, limit });
        }
        let mut shells = self.options.shells.iter().filter(|_| is_delivered(origin));
        let ended = shells.find(|shell| shell.ends_with(name, value.bytes()))?;
        Some(Reason::EndsShell(ended.path().to_owned()))
    }
}

/// Whether a value of the template is kept out of output. Where the template does not say what is sensitive, what may be a
/// token is; paths and what is put together from other variables are not, or `ls` could not name a missing file.
fn is_masked(TemplateVariable { value, sensitivity, .. }: &TemplateVariable) -> bool {
    let value = value.expose();
    let is_path = || value.split(|byte| *byte == b':').all(|element| element.starts_with(b"/"));
    match sensitivity {
        Sensitivity::Sensitive => true,
        Sensitivity::Plain => false,
        Sensitivity::Unmarked => value.len() >= SHORTEST_UNMARKED_TOKEN && !expand::has_references(value) && !is_path(),
    }
}

/// Whether the control plane sent it.
fn is_delivered(origin: Origin) -> bool {
    matches!(origin, Origin::Template | Origin::Secret)
}

type Block<'a> = BTreeMap<&'a OsStr, (Origin, Value<'a>)>;

fn into_variables(block: Block<'_>) -> Vec<Variable> {
    let variable = |(name, (origin, value)): (&OsStr, (Origin, Value<'_>))| Variable {
        name: name.into(),
        value: value.own(),
        origin,
    };
    block.into_iter().map(variable).collect()
}

fn size(name: &OsStr, value: &Value<'_>) -> usize {
    name.len() + "=".len() + value.bytes().len() + 1
}

fn workspace(manifest: &Manifest) -> Vec<(&'static str, OsString)> {
    let mut variables = vec![
        ("CODER_WORKSPACE_NAME", manifest.workspace_name.clone().into()),
        ("CODER_WORKSPACE_AGENT_NAME", manifest.agent_name.clone().into()),
        ("CODER_WORKSPACE_OWNER_NAME", manifest.owner_username.clone().into()),
        ("CODER_WORKSPACE_ID", manifest.workspace_id.to_string().into()),
    ];
    if !manifest.vs_code_port_proxy_uri.is_empty() {
        variables.push(("VSCODE_PROXY_URI", manifest.vs_code_port_proxy_uri.clone().into()));
    }
    variables
}

fn always() -> [(&'static str, OsString); 2] {
    [("CODER", "true".into()), ("CS_DISABLE_GETTING_STARTED_OVERRIDE", "true".into())]
}

#[cfg(test)]
mod tests;
