//! Fifty targets of every ordinary kind.

use std::collections::HashMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tests::{Env, Run, Server, Workspace, binaries};

pub const TARGETS: usize = 50;
/// The owner and the group of the files that were there before: not the agent's, so that losing them shows.
const OWNER: u32 = 54_321;

/// What is at a target's path before the boot.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Before {
    /// Nothing, nor its directory.
    Nothing,
    /// A file with a mode and an owner of its own.
    File,
    /// A file with a second name, which is written in place.
    Linked,
}

/// What a target holds after a fault.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holds {
    Nothing,
    Old,
    New,
    /// Neither.
    Torn,
}

/// One of the fifty.
#[derive(Clone, Copy, Debug)]
pub struct Target(usize);

impl Target {
    pub fn all() -> impl Iterator<Item = Self> {
        (0..TARGETS).map(Self)
    }

    pub fn before(self) -> Before {
        match self.0 {
            0..10 => Before::Nothing,
            10..20 => Before::Linked,
            _ => Before::File,
        }
    }

    fn relative(self) -> String {
        match self.before() {
            Before::Nothing => format!("made/{}/deep/secret-{}", self.0 / 4, self.0),
            _ => format!("dir-{}/secret-{}", self.0 % 5, self.0),
        }
    }

    pub fn path(self, home: &Path) -> PathBuf {
        home.join(self.relative())
    }

    fn second_name(self, home: &Path) -> PathBuf {
        home.join(format!("links/name-of-{}", self.0))
    }

    /// What is written in place must be the agent's own; its group is another one all the same.
    fn owner(self) -> u32 {
        if self.before() == Before::Linked { 0 } else { OWNER }
    }

    fn mode(self) -> u32 {
        [0o600, 0o640, 0o644, 0o604][self.0 % 4]
    }

    /// Shorter than the new content for some and longer for others.
    fn old(self) -> String {
        format!("old {} ", self.0).repeat(1 + self.0 * 37 % 900)
    }

    fn prepare(self, home: &Path) {
        let path = self.path(home);
        if self.before() == Before::Nothing {
            return;
        }
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, self.old()).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(self.mode())).unwrap();
        chown(&path, Some(self.owner()), Some(OWNER)).unwrap();
        if self.before() == Before::Linked {
            fs::create_dir_all(home.join("links")).unwrap();
            fs::hard_link(&path, self.second_name(home)).unwrap();
        }
    }
}

/// A server with the fifty secrets of a user, and homes to deliver them to.
pub struct Batch {
    env: Env,
    pub server: Server,
    workspace: Workspace,
    canary: String,
}

/// How a boot with the fifty ended.
pub struct Boot {
    pub exit: tests::Exit,
    pub stderr: String,
    targets: HashMap<String, (bool, String)>,
}

impl Batch {
    pub fn new() -> Self {
        let env = Env::quiet();
        let server = env.server_with(["--rate-limit", "0"]);
        let alice = env.user("alice");
        let canary = env.canary("batch");
        let batch =
            Self { workspace: env.workspace("owner: alice\nname: dev\nagent: { name: main }\n"), env, server, canary };
        let rest = alice.rest();
        for target in Target::all() {
            let path = format!("~/{}", target.relative());
            let body =
                json!({ "name": format!("s{}", target.0), "file_path": path, "value": batch.new_content(target) });
            let _ = rest.post("/users/me/secrets", &body).expect(201);
        }
        batch
    }

    pub fn env(&self) -> &Env {
        &self.env
    }

    pub fn new_content(&self, target: Target) -> String {
        format!("{}-{}{}", self.canary, target.0, " new".repeat(target.0 * 53 % 1100))
    }

    /// A home with what was there before, and a bystander in every directory.
    pub fn home(&self, name: &str) -> PathBuf {
        let home = self.env.new_home(&format!("homes/{name}"));
        Self::prepare(&home);
        home
    }

    pub fn prepare(home: &Path) {
        for target in Target::all() {
            target.prepare(home);
        }
        for number in 0..5 {
            fs::write(home.join(format!("dir-{number}/.coder-secret-0000000000000000-0000000000000000")), "mine")
                .unwrap();
        }
    }

    /// An agent that delivers into `home`, writes down what `coder status` says of it, and ends.
    pub fn run(&self, home: &Path) -> Run {
        let status = format!(
            "ulimit -Sf unlimited; {} status -o json > '{}'; true",
            binaries().coder.display(),
            self.status().display()
        );
        let agent = self.env.agent(&self.server, &self.workspace).home(home);
        // Not in the home: what fails there shall not keep the agent from listening.
        let agent = agent.env("CODER_AGENT_SOCKET", self.env.path("tmp/agent.sock"));
        agent.command(["sh", "-c", &status]).into_run()
    }

    fn status(&self) -> PathBuf {
        self.env.path("tmp/status.json")
    }

    #[track_caller]
    pub fn boot(&self, run: Run) -> Boot {
        let _ = fs::remove_file(self.status());
        let output = run.run();
        let status = fs::read(self.status()).unwrap_or_default();
        let status: Value = serde_json::from_slice(&status).unwrap_or_default();
        // Copies of what was there before have rows of their own, with the names of their targets.
        let rows = status["targets"].as_array().into_iter().flatten().filter(|row| row["kind"] != "replaced");
        let targets = rows.map(|target| {
            let text = |name: &str| target[name].as_str().unwrap_or_default().to_owned();
            (text("name"), (target["delivered"] == true, text("outcome")))
        });
        Boot { exit: output.exit, stderr: output.stderr, targets: targets.collect() }
    }

    /// What a target holds; panics where its mode, owner or second name is lost.
    #[track_caller]
    pub fn holds(&self, home: &Path, target: Target) -> Holds {
        let path = target.path(home);
        let Ok(content) = fs::read(&path) else {
            assert_eq!(target.before(), Before::Nothing, "{} is gone", path.display());
            return Holds::Nothing;
        };
        let found = fs::metadata(&path).unwrap();
        let (mode, owner, group) = match target.before() {
            Before::Nothing => (0o600, 0, 0),
            _ => (target.mode(), target.owner(), OWNER),
        };
        assert_eq!((found.mode() & 0o7777, found.uid(), found.gid()), (mode, owner, group), "{}", path.display());
        if target.before() == Before::Linked {
            assert_eq!(found.ino(), fs::metadata(target.second_name(home)).unwrap().ino(), "{}", path.display());
        }
        match content {
            content if content == self.new_content(target).as_bytes() => Holds::New,
            content if content == target.old().as_bytes() && target.before() != Before::Nothing => Holds::Old,
            _ => Holds::Torn,
        }
    }

    /// The next boot, without a fault, mends everything and leaves nothing behind.
    #[track_caller]
    pub fn completes(&self, home: &Path) {
        let boot = self.boot(self.run(home));
        assert_eq!(boot.exit.code, Some(0), "{}", boot.stderr);
        for target in Target::all() {
            assert_eq!(self.holds(home, target), Holds::New, "{target:?}\n{}", boot.stderr);
            assert!(boot.delivered(home, target), "{target:?}: {}", boot.outcome(home, target));
        }
        assert_eq!(leftovers(home), Vec::<PathBuf>::new());
        for number in 0..5 {
            let bystander = home.join(format!("dir-{number}/.coder-secret-0000000000000000-0000000000000000"));
            assert_eq!(fs::read_to_string(bystander).unwrap(), "mine");
        }
    }
}

impl Boot {
    pub fn delivered(&self, home: &Path, target: Target) -> bool {
        self.of(home, target).0
    }

    pub fn outcome(&self, home: &Path, target: Target) -> &str {
        &self.of(home, target).1
    }

    /// The secret's target failed with `message`: so says `coder status`, and the agent's log.
    #[track_caller]
    pub fn complains(&self, home: &Path, target: Target, message: &str) {
        let outcome = self.outcome(home, target);
        assert!(outcome.contains(message), "{target:?}: {outcome}\n{}", self.stderr);
        let start = format!("cannot deliver the secret to \"{}\"", target.path(home).display());
        let line = self.stderr.lines().find(|line| line.contains(&start));
        assert!(line.is_some_and(|line| line.contains(message)), "{target:?}\n{}", self.stderr);
    }

    #[track_caller]
    fn of(&self, home: &Path, target: Target) -> &(bool, String) {
        let path = target.path(home).display().to_string();
        self.targets.get(&path).unwrap_or_else(|| panic!("no status of {path}:\n{}", self.stderr))
    }
}

/// Temporary files of ours below `dir`.
pub fn leftovers(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type().unwrap().is_dir() {
            found.extend(leftovers(&entry.path()));
        } else if name.starts_with(".coder-secret-") && !name.ends_with("-0000000000000000") {
            found.push(entry.path());
        }
    }
    found
}
