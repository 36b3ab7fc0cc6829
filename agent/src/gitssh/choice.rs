//! Whether the key is offered at all: ssh's own configuration, as `ssh -G` tells it, comes first.

use std::fmt;
use std::path::{Path, PathBuf};

/// What ssh tries where nobody configured anything. It comes as a list; who configures identities has no such list.
const DEFAULT_FILES: [&str; 7] =
    ["id_rsa", "id_ecdsa", "id_ecdsa_sk", "id_ed25519", "id_ed25519_sk", "id_xmss", "id_dsa"];
/// Versions of ssh differ in how many of these they try; nobody lists as many by hand.
const SHORTEST_DEFAULT: usize = 4;

/// Why our key stays out: ssh would not use it, or the user has chosen another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum LeftOut {
    /// The configuration names an identity file that exists.
    OwnIdentity(String),
    /// The configuration names an agent, or none at all.
    OwnAgent(String),
    /// `IdentitiesOnly`, with no identity of the user's choice.
    IdentitiesOnly,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnIdentity(file) => write!(f, "your ssh configuration names the identity file {file}"),
            Self::OwnAgent(agent) => write!(f, "your ssh configuration names the agent {agent}"),
            Self::IdentitiesOnly => f.write_str("your ssh configuration says IdentitiesOnly"),
        }
    }
}

/// Reads what `ssh -G` prints: one lower-case keyword and its value a line.
pub(super) fn left_out(config: &str, home: &Path, exists: impl Fn(&Path) -> bool) -> Option<LeftOut> {
    let values = |wanted: &str| {
        let lines = config.lines().filter_map(|line| line.split_once(' '));
        lines.filter(|(key, _)| *key == wanted).map(|(_, value)| value.trim()).collect::<Vec<_>>()
    };
    let agent = values("identityagent").into_iter().find(|agent| !is_inherited(agent));
    if let Some(agent) = agent {
        return Some(LeftOut::OwnAgent(agent.to_owned()));
    }
    let files = values("identityfile");
    if files.len() < SHORTEST_DEFAULT || !files.iter().all(|file| is_default(file, home)) {
        let chosen = files.iter().find(|file| expand(file, home).is_none_or(|path| exists(&path)));
        if let Some(file) = chosen.filter(|file| **file != "none") {
            return Some(LeftOut::OwnIdentity((*file).to_owned()));
        }
    }
    values("identitiesonly").contains(&"yes").then_some(LeftOut::IdentitiesOnly)
}

fn is_inherited(agent: &str) -> bool {
    matches!(agent, "SSH_AUTH_SOCK" | "$SSH_AUTH_SOCK" | "${SSH_AUTH_SOCK}")
}

fn is_default(file: &str, home: &Path) -> bool {
    let path = expand(file, home).unwrap_or_default();
    DEFAULT_FILES.iter().any(|name| path == home.join(".ssh").join(name))
}

/// None where the name depends on the host in a way that only ssh knows; it is then taken to exist.
fn expand(file: &str, home: &Path) -> Option<PathBuf> {
    let file = file.trim_matches('"');
    let path = match file.strip_prefix("~/").or_else(|| file.strip_prefix("%d/")) {
        Some(rest) => home.join(rest),
        None => PathBuf::from(file),
    };
    (!path.to_string_lossy().contains(['%', '$'])).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULT: &str = "host x\nidentityfile ~/.ssh/id_rsa\nidentityfile ~/.ssh/id_ecdsa\n\
                           identityfile ~/.ssh/id_ed25519\nidentityfile /h/.ssh/id_dsa\n";

    fn chosen(config: &str) -> Option<LeftOut> {
        left_out(config, Path::new("/h"), |path| path.to_string_lossy().contains("id_") || path == Path::new("/h/work"))
    }

    #[test]
    fn default_files_are_no_choice_even_where_they_exist() {
        assert_eq!(chosen(DEFAULT), None);
        assert_eq!(chosen(""), None);
    }

    #[test]
    fn an_existing_file_of_the_users_choice_comes_first() {
        for file in ["~/work", "/h/work", "%d/work", "~/.ssh/id_rsa", "~/keys/%h", "\"~/work\""] {
            let config = format!("identityfile {file}\n");
            assert_eq!(chosen(&config), Some(LeftOut::OwnIdentity(file.to_owned())));
            assert!(chosen(&format!("{DEFAULT}{config}")).is_none() == (file == "~/.ssh/id_rsa"), "{file}");
        }
        assert_eq!(chosen("identityfile ~/missing\n"), None);
        assert_eq!(chosen("identityfile none\n"), None);
    }

    #[test]
    fn an_agent_of_the_users_choice_is_honoured() {
        for agent in ["none", "~/.1password/agent.sock", "$OTHER"] {
            let config = format!("{DEFAULT}identityagent {agent}\n");
            assert_eq!(chosen(&config), Some(LeftOut::OwnAgent(agent.to_owned())));
        }
        assert_eq!(chosen(&format!("{DEFAULT}identityagent SSH_AUTH_SOCK\n")), None);
    }

    #[test]
    fn with_identities_only_ssh_would_not_use_ours() {
        assert_eq!(chosen(&format!("{DEFAULT}identitiesonly yes\n")), Some(LeftOut::IdentitiesOnly));
        assert_eq!(chosen(&format!("{DEFAULT}identitiesonly no\n")), None);
    }
}
