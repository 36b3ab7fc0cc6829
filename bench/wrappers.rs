//! How the systems of others are told to start a command with given variables.

use std::fs;
use std::path::{Path, PathBuf};

use tests::Env;

use crate::peers::{Peer, Peers};
use crate::rounds::Contender;
use crate::standin;

/// Names and values.
pub type Variables = [(String, String)];

/// How to start a command: everything of its command line that comes before it.
type Recipe = fn(&Peer, &Setting<'_>) -> Contender;

/// What a recipe may use: the variables, and a directory where they may be written.
struct Setting<'a> {
    env: &'a Env,
    variables: &'a Variables,
    directory: &'a Path,
}

const RECIPES: [(&str, Recipe); 9] = [
    ("envdir", |peer, setting| peer.contender(format!("{} {} true", peer.program, setting.files("files")))),
    ("chpst", |peer, setting| peer.contender(format!("{} -e {} true", peer.program, setting.files("files")))),
    ("s6-envdir", |peer, setting| peer.contender(format!("{} {} true", peer.program, setting.files("files")))),
    ("direnv", direnv),
    ("doppler", doppler),
    ("python-dotenv", |peer, setting| {
        peer.contender(format!("{} -f {} run -- true", peer.program, setting.lines("dotenv", "{}={}\n")))
    }),
    ("dotenvx", |peer, setting| {
        peer.contender(format!("{} run --quiet -f {} -- true", peer.program, setting.lines("dotenv", "{}={}\n")))
    }),
    ("secretspec", secretspec),
    ("fnox", fnox),
];

/// Everyone who is installed, ready to start `true`. `directory` may hold values.
pub fn contenders(env: &Env, peers: &Peers, variables: &Variables, directory: &Path) -> Vec<Contender> {
    let setting = Setting { env, variables, directory };
    let known = RECIPES.iter().filter_map(|(name, recipe)| Some((name, recipe, peers.get(name).ok()?)));
    known.map(|(name, recipe, peer)| recipe(peer, &setting).named(name)).collect()
}

impl Setting<'_> {
    /// A directory with a file for each variable.
    fn files(&self, name: &str) -> String {
        let directory = self.directory.join(name);
        fs::create_dir_all(&directory).expect("make a directory");
        for (name, value) in self.variables {
            fs::write(directory.join(name), value).expect("write a variable");
        }
        directory.display().to_string()
    }

    fn lines(&self, file: &str, pattern: &str) -> String {
        self.write(file, "", pattern).display().to_string()
    }

    /// A file with a line for each variable, in which the first `{}` is its name and the second its value.
    fn write(&self, file: &str, head: &str, pattern: &str) -> PathBuf {
        let line = |(name, value): &(String, String)| pattern.replacen("{}", name, 1).replacen("{}", value, 1);
        let path = self.directory.join(file);
        fs::create_dir_all(path.parent().expect("a file in a directory")).expect("make a directory");
        fs::write(&path, head.to_owned() + &self.variables.iter().map(line).collect::<String>()).expect("write a file");
        path
    }
}

fn direnv(peer: &Peer, setting: &Setting<'_>) -> Contender {
    let file = setting.write("direnv/.envrc", "", "export {}={}\n");
    let directory = file.parent().expect("a file in a directory").display().to_string();
    let _ = setting.env.program(&peer.program).args(["allow", &directory]).run().success();
    peer.contender(format!("{} exec {directory} true", peer.program))
}

/// Without the encrypted copy on disk, whose key derivation alone takes a tenth of a second.
fn doppler(peer: &Peer, setting: &Setting<'_>) -> Contender {
    let address = standin::serve(setting.variables);
    let quiet = "--no-check-version --no-liveness-ping --no-fallback --silent";
    peer.contender(format!("{} run --api-host {address} {quiet} -- true", peer.program))
        .variable("DOPPLER_TOKEN", "dp.st.stand-in")
}

fn secretspec(peer: &Peer, setting: &Setting<'_>) -> Contender {
    let head = "[project]\nname = \"bench\"\nrevision = \"1.0\"\nrequire_reason = false\n\n[profiles.default]\n";
    let file =
        setting.write("secretspec/secretspec.toml", head, "{} = { description = \"of the bench\", required = true }\n");
    let values = setting.lines("dotenv", "{}={}\n");
    peer.contender(format!("{} run --provider dotenv://{values} -- true", peer.program))
        .within(file.parent().expect("a file in a directory"))
}

fn fnox(peer: &Peer, setting: &Setting<'_>) -> Contender {
    let head = "root = true\n\n[providers.plain]\ntype = \"plain\"\n\n[secrets]\n";
    let file = setting.write("fnox/fnox.toml", head, "{} = { provider = \"plain\", value = \"{}\" }\n");
    peer.contender(format!("{} exec -- true", peer.program)).within(file.parent().expect("a file in a directory"))
}
