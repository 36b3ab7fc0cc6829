//! The systems of others, as `bench/install` has put them beside the build.

use std::collections::BTreeMap;
use std::fs;

use crate::rounds::Contender;

/// What was installed, and why the rest was not.
pub struct Peers(BTreeMap<String, Result<Peer, String>>);

/// An installed system.
pub struct Peer {
    version: String,
    pub program: String,
    /// What it needs in its environment.
    variables: Vec<(String, String)>,
}

impl Peers {
    /// `BENCH_PEERS` names the list that `bench/install` wrote: name, version, program,
    /// variables, and why there is none.
    pub fn installed() -> Self {
        let list = std::env::var("BENCH_PEERS").unwrap_or_default();
        let text = fs::read_to_string(list).unwrap_or_default();
        Self(text.lines().filter_map(peer).collect())
    }

    pub fn get(&self, name: &str) -> Result<&Peer, &str> {
        let missing = "not installed; `bench/run` does that";
        self.0.get(name).map_or(Err(missing), |peer| peer.as_ref().map_err(String::as_str))
    }

    /// Everyone's program, by name.
    pub fn programs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|(name, peer)| Some((name.as_str(), peer.as_ref().ok()?.program.as_str())))
    }

    /// Who is measured, in which version, and who is not.
    pub fn describe(&self) -> Vec<String> {
        let found = self.0.iter().filter_map(|(name, peer)| Some(format!("{name} {}", peer.as_ref().ok()?.version)));
        let found: Vec<_> = found.collect();
        let missing = self.0.iter().filter_map(|(name, peer)| Some((name, peer.as_ref().err()?)));
        let measured = [format!("Measured beside it: {}", found.join(", "))];
        measured.into_iter().chain(missing.map(|(name, why)| format!("Not measured: {name}: {why}"))).collect()
    }
}

impl Peer {
    /// `command` in the environment that this program needs.
    pub fn contender(&self, command: String) -> Contender {
        let contender = Contender::new("", command).once_more();
        self.variables.iter().fold(contender, |contender, (name, value)| contender.variable(name, value))
    }
}

fn peer(line: &str) -> Option<(String, Result<Peer, String>)> {
    let [name, version, program, variables, why] = line.split('\t').collect::<Vec<_>>()[..] else { return None };
    let variables = variables.split_whitespace().filter_map(|one| one.split_once('='));
    let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let peer = Peer { version: version.to_owned(), program: program.to_owned(), variables };
    Some((name.to_owned(), if peer.program.is_empty() { Err(why.to_owned()) } else { Ok(peer) }))
}
