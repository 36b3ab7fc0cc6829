//! Whether the key is offered at all: ssh's own configuration, as `ssh -G` tells it, comes first.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};

use super::key::PublicKey;
use crate::expand;

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

/// What ssh's configuration says about our key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Choice {
    /// Nothing.
    Offer,
    /// No.
    LeaveOut(LeftOut),
    /// It picks keys of agents by their public parts: ours only where it is among them.
    OnlyIf(Vec<PublicKey>, LeftOut),
}

impl Choice {
    /// Why it stays out, whichever key it is.
    pub(super) fn settled(&self) -> Option<&LeftOut> {
        match self {
            Self::LeaveOut(reason) => Some(reason),
            Self::Offer | Self::OnlyIf(..) => None,
        }
    }

    /// Why this key stays out.
    pub(super) fn leaves_out(&self, key: &PublicKey) -> Option<&LeftOut> {
        match self {
            Self::Offer => None,
            Self::OnlyIf(picked, _) if picked.iter().any(|it| it.blob() == key.blob()) => None,
            Self::OnlyIf(_, reason) | Self::LeaveOut(reason) => Some(reason),
        }
    }
}

/// What is in the place of an identity file.
#[derive(Clone, Debug)]
pub(super) enum Found {
    Nothing,
    /// The public part alone: it names a key that an agent has.
    Public(PublicKey),
    Other,
}

/// Reads what `ssh -G` prints: one lower-case keyword and its value a line.
pub(super) fn choose(config: &str, home: &Path, look: impl Fn(&Path) -> Found) -> Choice {
    let values = |wanted: &str| {
        let lines = config.lines().filter_map(|line| line.split_once(' '));
        lines.filter(|(key, _)| *key == wanted).map(|(_, value)| value.trim()).collect::<Vec<_>>()
    };
    let agent = values("identityagent").into_iter().find(|agent| !is_inherited(agent));
    if let Some(agent) = agent {
        return Choice::LeaveOut(LeftOut::OwnAgent(agent.to_owned()));
    }
    let only = values("identitiesonly").contains(&"yes");
    let files = values("identityfile");
    let by_default = files.len() >= SHORTEST_DEFAULT && files.iter().all(|file| is_default(file, home));
    let mut picked = Vec::new();
    let mut reason = only.then_some(LeftOut::IdentitiesOnly);
    for file in files.into_iter().filter(|file| *file != "none" && (!by_default || only)) {
        match identity_path(file, home).map_or(Found::Other, |path| identity(&path, &look)) {
            Found::Nothing => continue,
            Found::Public(key) => picked.push(key),
            Found::Other => {}
        }
        if !by_default && !matches!(reason, Some(LeftOut::OwnIdentity(_))) {
            reason = Some(LeftOut::OwnIdentity(file.to_owned()));
        }
    }
    match reason {
        None => Choice::Offer,
        Some(reason) if picked.is_empty() => Choice::LeaveOut(reason),
        Some(reason) => Choice::OnlyIf(picked, reason),
    }
}

/// As ssh does, which takes the public part from a file beside the one that is named where that is missing.
fn identity(path: &Path, look: impl Fn(&Path) -> Found) -> Found {
    let mut beside = OsString::from(path);
    beside.push(".pub");
    match look(path) {
        Found::Nothing => match look(Path::new(&beside)) {
            public @ Found::Public(_) => public,
            _ => Found::Nothing,
        },
        found => found,
    }
}

fn is_inherited(agent: &str) -> bool {
    matches!(agent, "SSH_AUTH_SOCK" | "$SSH_AUTH_SOCK" | "${SSH_AUTH_SOCK}")
}

fn is_default(file: &str, home: &Path) -> bool {
    let path = identity_path(file, home).unwrap_or_default();
    DEFAULT_FILES.iter().any(|name| path == home.join(".ssh").join(name))
}

/// None where the name depends on the host in a way that only ssh knows; it is then taken to exist.
fn identity_path(file: &str, home: &Path) -> Option<PathBuf> {
    let file = file.trim_matches('"');
    let path = match expand::below_home(file).or_else(|| file.strip_prefix("%d/")) {
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

    fn ours() -> PublicKey {
        PublicKey::parse(include_str!("testdata/ed25519.pub")).unwrap()
    }

    fn theirs() -> PublicKey {
        PublicKey::parse(include_str!("testdata/ecdsa.pub")).unwrap()
    }

    /// There are the default files, `~/work`, and public parts of our key and of another.
    fn look(path: &Path) -> Found {
        match path.to_str().unwrap() {
            "/h/ours.pub" | "/h/.ssh/id_ed25519.pub" => Found::Public(ours()),
            "/h/theirs.pub" => Found::Public(theirs()),
            "/h/work" => Found::Other,
            path if path.contains("id_rsa") => Found::Other,
            _ => Found::Nothing,
        }
    }

    fn chosen(config: &str) -> Choice {
        choose(config, Path::new("/h"), look)
    }

    fn left_out(reason: LeftOut) -> Choice {
        Choice::LeaveOut(reason)
    }

    #[test]
    fn default_files_are_no_choice_even_where_they_exist() {
        assert_eq!(chosen(DEFAULT), Choice::Offer);
        assert_eq!(chosen(""), Choice::Offer);
    }

    #[test]
    fn an_existing_file_of_the_users_choice_comes_first() {
        for file in ["~/work", "/h/work", "%d/work", "~/.ssh/id_rsa", "~/keys/%h", "\"~/work\""] {
            let config = format!("identityfile {file}\n");
            assert_eq!(chosen(&config), left_out(LeftOut::OwnIdentity(file.to_owned())));
            let beside_defaults = chosen(&format!("{DEFAULT}{config}")) == Choice::Offer;
            assert!(beside_defaults == (file == "~/.ssh/id_rsa"), "{file}");
        }
        assert_eq!(chosen("identityfile ~/missing\n"), Choice::Offer);
        assert_eq!(chosen("identityfile none\n"), Choice::Offer);
    }

    #[test]
    fn a_key_that_is_picked_by_its_public_part_is_offered_if_it_is_ours() {
        let only = "identitiesonly yes\n";
        for (config, file) in [("identityfile ~/ours.pub\n", "~/ours.pub"), ("identityfile ~/ours\n", "~/ours")] {
            for config in [config.to_owned(), format!("{config}{only}")] {
                let choice = chosen(&config);
                assert_eq!(choice, Choice::OnlyIf(vec![ours()], LeftOut::OwnIdentity(file.into())));
                assert_eq!(choice.settled().or(choice.leaves_out(&ours())), None);
                assert_eq!(choice.leaves_out(&theirs()), Some(&LeftOut::OwnIdentity(file.into())));
            }
        }
        let other = chosen("identityfile ~/theirs.pub\n");
        assert_eq!(other.leaves_out(&ours()), Some(&LeftOut::OwnIdentity("~/theirs.pub".into())));
        let several = chosen("identityfile ~/work\nidentityfile ~/theirs.pub\nidentityfile ~/ours.pub\n");
        assert_eq!(several.leaves_out(&ours()), None);
        // With the public part of ours in a default place.
        assert_eq!(chosen(&format!("{DEFAULT}{only}")), Choice::OnlyIf(vec![ours()], LeftOut::IdentitiesOnly));
    }

    #[test]
    fn an_agent_of_the_users_choice_is_honoured() {
        for agent in ["none", "~/.1password/agent.sock", "$OTHER"] {
            let config = format!("{DEFAULT}identityagent {agent}\n");
            assert_eq!(chosen(&config), left_out(LeftOut::OwnAgent(agent.to_owned())));
        }
        assert_eq!(chosen(&format!("{DEFAULT}identityagent SSH_AUTH_SOCK\n")), Choice::Offer);
    }

    #[test]
    fn with_identities_only_ssh_would_not_use_ours() {
        let none_there = |config: &str| choose(config, Path::new("/h"), |_| Found::Nothing);
        assert_eq!(none_there(&format!("{DEFAULT}identitiesonly yes\n")), left_out(LeftOut::IdentitiesOnly));
        assert_eq!(none_there(&format!("{DEFAULT}identitiesonly no\n")), Choice::Offer);
    }
}
