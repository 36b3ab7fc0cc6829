//! Each layer by itself, in the order of precedence.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use protocol::secret::Secret;

use super::{Block, Caller, Environment, LAUNCH_VARIABLE, Origin, TOKEN, path};
use crate::expand;
use crate::manifest::{Sensitivity, TemplateVariable};
use crate::sys::memory::Guarded;
use crate::sys::process;

/// What sets a session apart from the agent's own process: never taken from the agent for one.
const NOT_FOR_OTHERS: [&str; 13] = [
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "PWD",
    "TERM",
    "NOTIFY_SOCKET",
    "CREDENTIALS_DIRECTORY",
    "RUNTIME_DIRECTORY",
    "STATE_DIRECTORY",
    "INVOCATION_ID",
    "SYSTEMD_EXEC_PID",
    "JOURNAL_STREAM",
];
const NOT_FOR_OTHERS_PREFIXES: [&str; 3] = ["SSH_", "WATCHDOG_", "LISTEN_"];
/// Between the service manager and the agent. What the agent starts would speak to the manager in its name: podman, for
/// one, waits for an answer that only the agent gets.
const FOR_THE_AGENT: [&str; 4] = ["NOTIFY_SOCKET", "CREDENTIALS_DIRECTORY", "WATCHDOG_PID", "WATCHDOG_USEC"];

const PATH: &str = "PATH";

/// What git runs instead of ssh; it comes before `GIT_SSH`, and both before its configuration.
const GIT_SSH_COMMAND: &str = "GIT_SSH_COMMAND";

/// Lists whose absence means a default. To extend an absent one is to extend its default.
const DEFAULT_LISTS: [(&str, &str); 3] = [
    // As container engines have it.
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    // As the XDG Base Directory Specification has them.
    ("XDG_DATA_DIRS", "/usr/local/share:/usr/share"),
    ("XDG_CONFIG_DIRS", "/etc/xdg"),
];

fn default_list(name: &[u8]) -> Option<&'static [u8]> {
    DEFAULT_LISTS.iter().find(|(list, _)| list.as_bytes() == name).map(|(_, default)| default.as_bytes())
}

/// One variable of one layer.
pub(super) struct Layered<'a> {
    pub(super) origin: Origin,
    pub(super) name: &'a OsStr,
    pub(super) value: Value<'a>,
}

/// A value where it rests, or one that was put together for this launch.
pub(super) enum Value<'a> {
    Resting(&'a [u8]),
    Made(Secret),
}

impl Value<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Resting(bytes) => bytes,
            Self::Made(secret) => secret.expose(),
        }
    }

    pub(super) fn own(self) -> Secret {
        match self {
            Self::Resting(bytes) => Secret::new(bytes.to_vec()),
            Self::Made(secret) => secret,
        }
    }
}

impl Environment {
    /// All layers, low to high. A name may come several times; the last one wins.
    pub(super) fn layers<'a>(&'a self, caller: &'a Caller) -> Vec<Layered<'a>> {
        let mut layers = self.account();
        layers.extend(self.inherited(caller));
        // A process that we started passes ours on; that makes it nobody's choice.
        let ours = self.options.git_ssh_command.as_ref().map(|command| command.as_bytes());
        layers.retain(|layer| !(layer.name == GIT_SSH_COMMAND && Some(layer.value.bytes()) == ours));
        let template: Vec<_> =
            self.secrets.template.iter().map(|variable| self.template(variable, caller, &layers)).collect();
        let mut chosen = layers.iter().chain(&template).map(|layer| layer.name);
        let own_ssh = chosen.any(|name| name == GIT_SSH_COMMAND || name == "GIT_SSH");
        layers.extend(self.agent_own(own_ssh));
        layers.extend(template);
        layers.extend(self.secrets.secrets.iter().filter_map(|secret| {
            let name = OsStr::new(secret.env_name.as_ref()?);
            Some(Layered { origin: Origin::Secret, name, value: Value::Resting(secret.value.expose()) })
        }));
        layers.extend(self.options.git_askpass.iter().map(|program| Layered {
            origin: Origin::Ours,
            name: OsStr::new("GIT_ASKPASS"),
            value: Value::Resting(program.as_bytes()),
        }));
        layers.extend(appended(caller));
        layers.push(plain(Origin::Ours, OsStr::new(LAUNCH_VARIABLE), OsStr::new(caller.marker())));
        layers
    }

    /// A variable of the template for one launch, which inherits `inherited`. A sensitive value is taken as it is: a password
    /// may hold a dollar sign.
    fn template<'a>(&self, variable: &'a TemplateVariable, caller: &Caller, inherited: &[Layered<'_>]) -> Layered<'a> {
        let TemplateVariable { name, value, sensitivity } = variable;
        let value = match sensitivity {
            Sensitivity::Sensitive => Value::Resting(value.expose()),
            Sensitivity::Unmarked | Sensitivity::Plain => {
                let expanded = expand::variable(value.expose(), |name| self.referred(name, caller, inherited));
                let is_joined = matches!(caller, Caller::Session(_)) && name == PATH;
                Value::Made(if is_joined { path::without_repeats(&expanded) } else { expanded })
            }
        };
        Layered { origin: Origin::Template, name: OsStr::new(name), value }
    }

    /// What a reference in a value of the template means.
    ///
    /// What describes one process (`HOME`, `USER`, `TERM`) is what the launch inherits. All else is what the agent was
    /// started with: the launch may come from a process of this workspace, whose `PATH` has what the template adds already.
    /// Only a session has a `PATH` of its own to begin with.
    fn referred<'a>(&'a self, name: &[u8], caller: &Caller, inherited: &'a [Layered<'a>]) -> Option<&'a [u8]> {
        if name == TOKEN.as_bytes() {
            return self.options.agent_token.as_ref().map(Guarded::expose);
        }
        let is_sessions = matches!(caller, Caller::Session(_)) && name == PATH.as_bytes();
        let found = if is_sessions || is_not_for_others(OsStr::from_bytes(name)) {
            inherited.iter().rfind(|layer| layer.name.as_bytes() == name).map(|layer| layer.value.bytes())
        } else {
            self.start.iter().find(|(it, _)| it.as_bytes() == name).map(|(_, value)| value.expose())
        };
        found.filter(|value| !value.is_empty()).or_else(|| default_list(name)).or(found)
    }

    /// What a session inherits as its `PATH`; `None` if that is one side's alone.
    fn session_path(&self, caller: &Caller) -> Option<Secret> {
        let Caller::Session(own) = caller else { return None };
        let of = |variables: &[(OsString, Secret)]| {
            variables.iter().find(|(name, _)| name == PATH).map(|(_, value)| value.expose().to_vec())
        };
        let prefix: Vec<&[u8]> = self.options.path_prefix.iter().map(|path| path.as_os_str().as_bytes()).collect();
        Some(Secret::new(path::of_session(&of(&self.start)?, &of(own)?, &prefix)))
    }

    /// `PATH` may come from any layer, so its prefix is joined to the one that won. Never an empty element: it would mean
    /// the current directory. Where no layer has a `PATH`, the prefix alone would hide every program.
    pub(super) fn prefix_path<'a>(&'a self, block: &mut Block<'a>) {
        let name = OsStr::new(PATH);
        let prefix: Vec<&[u8]> = self.options.path_prefix.iter().map(|path| path.as_os_str().as_bytes()).collect();
        let elements = block.get(name).map(|(_, value)| value.bytes()).filter(|path| !path.is_empty());
        // A caller that the agent started has it already.
        let mut first = elements.unwrap_or_default().split(|byte| *byte == b':');
        if prefix.iter().all(|directory| first.next() == Some(*directory)) {
            return;
        }
        let elements = elements.or_else(|| default_list(b"PATH"));
        let joined = prefix.into_iter().chain(elements).collect::<Vec<_>>().join(b":".as_slice());
        block.insert(name, (Origin::Ours, Value::Made(Secret::new(joined))));
    }

    fn account(&self) -> Vec<Layered<'_>> {
        let Some(account) = &self.options.account else { return Vec::new() };
        let variables = [
            ("HOME", account.home.as_os_str()),
            ("USER", OsStr::new(&account.name)),
            ("LOGNAME", OsStr::new(&account.name)),
            ("SHELL", account.shell.as_os_str()),
        ];
        let set = variables.into_iter().filter(|(_, value)| !value.is_empty());
        set.map(|(name, value)| plain(Origin::Inherited, OsStr::new(name), value)).collect()
    }

    fn inherited<'a>(&'a self, caller: &'a Caller) -> Vec<Layered<'a>> {
        match caller {
            Caller::Agent(..) => {
                first_of_each(Origin::Inherited, &self.start, |name| !FOR_THE_AGENT.iter().any(|it| name == *it))
                    .collect()
            }
            Caller::Exec(own) => self.for_others().chain(first_of_each(Origin::Caller, own, |_| true)).collect(),
            Caller::Session(own) => {
                let joined = self.session_path(caller).map(|joined| Layered {
                    origin: Origin::Inherited,
                    name: OsStr::new(PATH),
                    value: Value::Made(joined),
                });
                self.for_others().chain(first_of_each(Origin::Caller, own, |_| true)).chain(joined).collect()
            }
        }
    }

    fn for_others(&self) -> impl Iterator<Item = Layered<'_>> {
        first_of_each(Origin::Inherited, &self.start, |name| !is_not_for_others(name))
    }

    /// The user's own choice of ssh for git, whichever of its two variables says it, is not overruled.
    fn agent_own(&self, own_ssh: bool) -> impl Iterator<Item = Layered<'_>> {
        let workspace = self.agent.iter().map(|(name, value)| plain(Origin::Agent, OsStr::new(name), value));
        let token = self.options.agent_token.iter().map(|token| Layered {
            origin: Origin::Agent,
            name: OsStr::new(TOKEN),
            value: Value::Resting(token.expose()),
        });
        let git = self.options.git_ssh_command.iter().filter(move |_| !own_ssh);
        workspace.chain(token).chain(git.map(|command| plain(Origin::Agent, OsStr::new(GIT_SSH_COMMAND), command)))
    }
}

fn plain<'a>(origin: Origin, name: &'a OsStr, value: &'a OsStr) -> Layered<'a> {
    Layered { origin, name, value: Value::Resting(value.as_bytes()) }
}

/// What comes after everything. Of a session only what describes the client's end of it.
fn appended(caller: &Caller) -> impl Iterator<Item = Layered<'_>> {
    let (variables, keep): (&[_], fn(&OsStr) -> bool) = match caller {
        Caller::Agent(_, variables) => (variables, |_| true),
        Caller::Exec(_) => (&[], |_| false),
        Caller::Session(variables) => (variables, describes_client),
    };
    first_of_each(Origin::Appended, variables, keep)
}

fn describes_client(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name.starts_with(b"SSH_") || name.starts_with(b"LC_") || name == b"LANG" || name == b"TERM"
}

fn is_not_for_others(name: &OsStr) -> bool {
    let has_prefix = |prefix: &&str| name.as_bytes().starts_with(prefix.as_bytes());
    NOT_FOR_OTHERS.iter().any(|it| name == *it) || NOT_FOR_OTHERS_PREFIXES.iter().any(has_prefix)
}

/// Where a process was given a name twice, `getenv` answers the first, and so do we. What exec cannot carry is no
/// variable, wherever a caller got it from.
fn first_of_each(
    origin: Origin,
    variables: &[(OsString, Secret)],
    keep: impl Fn(&OsStr) -> bool,
) -> impl Iterator<Item = Layered<'_>> {
    let mut seen = HashSet::new();
    let wanted = move |(name, value): &&(OsString, Secret)| keep(name) && process::is_passable(name, value.expose());
    let first = variables.iter().filter(wanted).filter(move |(name, _)| seen.insert(name.as_os_str()));
    first.map(move |(name, value)| Layered { origin, name, value: Value::Resting(value.expose()) })
}
