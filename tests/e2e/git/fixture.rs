//! An sshd that knows one user, a server, and a workspace.

use std::ffi::OsStr;
use std::fs;
use std::ops::Deref;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tests::{DEV, GitHost, Need, Output, Process, Rest, Run, SHORT, World, binaries, requires, wait_until};

/// A world and a git host.
pub(super) struct Git {
    world: World,
    pub(super) host: GitHost,
}

impl Deref for Git {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl Git {
    /// None where the machine lacks sshd or git.
    #[track_caller]
    pub(super) fn new(test: &str) -> Option<Self> {
        let needs = [Need::Program("sshd", "openssh-server"), Need::Program("ssh-keygen", "openssh-client")];
        (requires(test, &needs) && requires(test, &[Need::Program("git", "git")])).then(|| Self::start("ed25519"))
    }

    /// One with keys of this algorithm, on a machine that has what [`Git::new`] asks for.
    pub(super) fn start(algorithm: &str) -> Self {
        let world = World::builder().server(["--ssh-keygen-algorithm", algorithm]).start();
        if algorithm != "ed25519" {
            let _ = world.alice.coder(["publickey", "--reset", "--yes"]).run().success();
        }
        let World { env, server, alice, workspace: () } = world;
        let workspace = env.workspace(DEV);
        let host = GitHost::start(&env, "sshd");
        let world = Self { world: World { env, server, alice, workspace }, host };
        fs::create_dir(world.env.path("repositories")).unwrap();
        fs::create_dir(world.env.path("run")).unwrap();
        fs::write(world.env.home().join(".gitconfig"), GIT_CONFIG).unwrap();
        world.watch_key();
        world
    }

    // --- the key ---

    /// Looks for the private key, in whatever form, from now on.
    pub(super) fn watch_key(&self) {
        let pem = self.private_key();
        let lines: Vec<&str> = pem.lines().filter(|line| !line.starts_with('-')).collect();
        let document = STANDARD.decode(lines.concat()).unwrap();
        // Of the document only the 32 secret bytes: the rest is public or the same for every key.
        let start = if pem.contains("BEGIN EC") {
            7
        } else {
            let blob = STANDARD.decode(self.public_key().split(' ').nth(1).unwrap()).unwrap();
            let public = &blob[blob.len() - 32..];
            document.windows(32).rposition(|window| window == public).unwrap() - 32
        };
        self.env.watch("git key", &document[start..start + 32]);
        // As it stands in a key file, where the end of a line may cut it.
        let (first, last) = (start * 8 / 6 / lines[0].len(), (start + 31) * 8 / 6 / lines[0].len());
        lines[first..=last].iter().for_each(|line| self.env.watch("git key", line.as_bytes()));
    }

    /// The private key, as an agent is told it.
    pub(super) fn private_key(&self) -> String {
        let rest = Rest::new(self.server.url(), self.workspace.token());
        let key = rest.get("/workspaceagents/me/gitsshkey").expect(200);
        key.json["private_key"].as_str().unwrap().to_owned()
    }

    /// Alice's public key.
    pub(super) fn public_key(&self) -> String {
        let key = self.alice.rest().get("/users/me/gitsshkey").expect(200);
        key.json["public_key"].as_str().unwrap().trim().to_owned()
    }

    /// Lets alice's present key in, and no other.
    pub(super) fn authorize(&self) {
        self.authorize_only(&self.public_key());
    }

    /// Lets this public key in, and no other.
    pub(super) fn authorize_only(&self, line: &str) {
        self.host.authorize_only(line);
    }

    // --- the git host ---

    /// Makes an empty repository there.
    pub(super) fn repository(&self, name: &str) {
        let path = self.env.path("repositories").join(name);
        let _ = self.program("git").args(["init", "-q", "--bare", "-b", "main"]).arg(path).run().success();
    }

    /// What to clone.
    pub(super) fn url(&self, name: &str) -> String {
        format!("git-host:{}", self.env.path("repositories").join(name).display())
    }

    /// The configuration of ssh, which knows the host.
    pub(super) fn config(&self) -> PathBuf {
        self.host.config().to_owned()
    }

    /// Appends to it; the last `Host` is `*`.
    pub(super) fn configure(&self, line: &str) {
        let config = fs::read_to_string(self.config()).unwrap();
        fs::write(self.config(), format!("{config}{line}\n")).unwrap();
    }

    /// Directories of ssh-agents.
    pub(super) fn sockets(&self) -> Vec<PathBuf> {
        fs::read_dir(self.env.path("run")).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    // --- commands ---

    fn program(&self, name: &str) -> Run {
        self.env.program(installed(name))
    }

    /// What a process of the workspace has.
    pub(super) fn in_workspace(&self, run: Run) -> Run {
        run.env("CODER_AGENT_URL", self.server.url())
            .env("CODER_AGENT_TOKEN", self.workspace.token())
            // So that this test's sockets are not among those of others.
            .env("XDG_RUNTIME_DIR", self.env.path("run"))
    }

    /// `GIT_SSH_COMMAND` as the agent sets it, with our configuration of ssh.
    pub(super) fn git_ssh_command(&self) -> String {
        format!("'{}' gitssh -- -F '{}'", binaries().coder.display(), self.config().display())
    }

    /// `git ARGS…`, about to run.
    pub(super) fn git_run<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        self.in_workspace(self.program("git").args(args)).env("GIT_SSH_COMMAND", self.git_ssh_command())
    }

    /// `git ARGS…`
    #[track_caller]
    pub(super) fn git<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Output {
        self.git_run(args).run()
    }

    /// `git ARGS…`, which must work.
    #[track_caller]
    pub(super) fn git_succeeds<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) {
        let _ = self.git(args).success();
    }

    /// `coder gitssh -- ARGS…`, about to run.
    pub(super) fn ssh<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        let args: Vec<_> = args.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        // git puts -G first; so must we, for that is how it is known.
        let (first, rest) = args.split_at(usize::from(args.first().is_some_and(|arg| arg == "-G")));
        let run = self.env.coder(["gitssh", "--"]).args(first).arg("-F").arg(self.config()).args(rest);
        self.in_workspace(run)
    }
}

const GIT_CONFIG: &str = "[user]\n name = Alice\n email = alice@example.com\n[init]\n defaultBranch = main\n\
                          [advice]\n detachedHead = false\n";

fn installed(name: &str) -> PathBuf {
    ["/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin"]
        .iter()
        .map(|dir| PathBuf::from(dir).join(name))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("no {name}"))
}

/// The first child of a process.
pub(super) fn child_of(pid: u32) -> u32 {
    let path = format!("/proc/{pid}/task/{pid}/children");
    tests::wait_for(&format!("a child of process {pid}"), SHORT, || {
        fs::read_to_string(&path).ok()?.split_whitespace().next()?.parse().ok()
    })
}

/// Whether a process is there and no zombie.
pub(super) fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

/// The variable of a process.
pub(super) fn variable_of(pid: u32, name: &str) -> Option<String> {
    let environ = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let entries = environ.split(|byte| *byte == 0).map(String::from_utf8_lossy);
    entries.into_iter().find_map(|entry| Some(entry.strip_prefix(name)?.strip_prefix('=')?.to_owned()))
}

/// A key pair that the user has besides.
pub(super) struct OwnKey {
    pub(super) path: String,
    pub(super) public: String,
}

/// The user's own ssh-agent.
pub(super) struct OwnAgent {
    pub(super) socket: String,
    _process: Process,
}

impl Git {
    /// Makes a key pair.
    pub(super) fn own_key(&self, name: &str) -> OwnKey {
        let path = self.env.home().join(name).display().to_string();
        let _ = self.program("ssh-keygen").args(["-q", "-t", "ecdsa", "-N", "", "-f", &path]).run().success();
        let public = fs::read_to_string(format!("{path}.pub")).unwrap().trim().to_owned();
        OwnKey { path, public }
    }

    /// Starts an agent.
    pub(super) fn own_agent(&self) -> OwnAgent {
        let socket = self.env.path("own-agent").display().to_string();
        let process = self.program("ssh-agent").args(["-D", "-a", &socket]).spawn("ssh-agent");
        wait_until("the user's agent", SHORT, || fs::metadata(&socket).is_ok());
        OwnAgent { socket, _process: process }
    }
}

impl OwnAgent {
    /// Adds a key.
    pub(super) fn add(&self, world: &Git, key: &OwnKey) {
        let add = world.program("ssh-add").args(["-q", &key.path]).env("SSH_AUTH_SOCK", &self.socket);
        let _ = add.run().success();
    }

    /// The public keys it has.
    pub(super) fn list(&self, world: &Git) -> String {
        world.program("ssh-add").arg("-L").env("SSH_AUTH_SOCK", &self.socket).run().success().stdout
    }
}

impl Git {
    /// The three lines of the documentation. `coder` is in `PATH` there; here it is named.
    pub(super) fn set_up_signing(&self) {
        let coder = binaries().coder.display().to_string();
        let _ = self.git(["config", "--global", "gpg.format", "ssh"]).success();
        let _ = self.git(["config", "--global", "gpg.ssh.program", &coder]).success();
        let key = format!("'{coder}' publickey --signing-key");
        let _ = self.git(["config", "--global", "gpg.ssh.defaultKeyCommand", &key]).success();
    }
}

/// The `coder gitssh` among the descendants of a process.
pub(super) fn gitssh_below(pid: u32) -> u32 {
    let mut next = pid;
    loop {
        let line = fs::read(format!("/proc/{next}/cmdline")).unwrap_or_default();
        if line.split(|byte| *byte == 0).nth(1) == Some(b"gitssh") {
            return next;
        }
        next = child_of(next);
    }
}

/// SIGKILL.
pub(super) fn kill_now(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(pid.try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
}
