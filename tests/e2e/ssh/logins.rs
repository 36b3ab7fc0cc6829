//! An sshd with the shipped drop-in, an account of this machine, and an agent for it.

use std::ffi::OsStr;
use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use tests::{Account, LONG, Need, Process, Run, Sshd, World, binaries, drop_in, requires};

pub(crate) const EXTERNAL: &str = "/usr/lib/openssh/sftp-server";
pub(crate) const INTERNAL: &str = "internal-sftp";

/// The definition of the workspace, where a test has no other.
const DEFINITION: &str = "owner: alice\nname: dev\nagent: { name: main, dir: ~/project, motd_file: ~/motd }\n";

/// A world, an account of this machine, and an sshd that lets it in.
pub(crate) struct Logins {
    world: World,
    pub(crate) account: Account,
    pub(crate) sshd: Sshd,
    config: PathBuf,
}

impl Deref for Logins {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl Logins {
    /// None where the machine lacks what it needs.
    #[track_caller]
    pub(crate) fn new(test: &str) -> Option<Self> {
        Self::with(test, EXTERNAL, |drop_in| drop_in)
    }

    /// With this sftp subsystem, and a change to the drop-in.
    #[track_caller]
    pub(crate) fn with(test: &str, sftp: &str, change: impl FnOnce(String) -> String) -> Option<Self> {
        Self::is_possible(test).then(|| Self::start(DEFINITION, sftp, change))
    }

    /// With this definition of alice's workspace.
    #[track_caller]
    pub(crate) fn of(test: &str, definition: &str) -> Option<Self> {
        Self::is_possible(test).then(|| Self::start(definition, EXTERNAL, |drop_in| drop_in))
    }

    fn is_possible(test: &str) -> bool {
        requires(test, &[Need::Root, Need::Program("useradd", "passwd")]) && requires(test, &Sshd::NEEDS)
    }

    fn start(definition: &str, sftp: &str, change: impl FnOnce(String) -> String) -> Self {
        let world = World::with(definition);
        let env = &world.env;
        let account = Account::create(env, "account");
        // Where the account may run it, and a test may take it away.
        env.new_home("bin");
        fs::copy(&binaries().coder, env.path("bin/coder")).unwrap();
        let drop_in = change(drop_in(&env.path("bin/coder")));
        let sshd = Sshd::start(
            env,
            "sshd",
            &format!("AcceptEnv LANG LC_*\nX11Forwarding yes\nSubsystem sftp {sftp}\n{drop_in}"),
        );
        let client = format!(
            " User {}\n IdentityFile {}\n IdentitiesOnly yes\n SendEnv LANG LC_*\n",
            account.name,
            env.home().join("id").display(),
        );
        let config = sshd.client_config("h", &client);
        let world = Self { world, account, sshd, config };
        let key = world.key("id");
        world.authorize(&key);
        world
    }

    /// Starts the agent of the account, as root does at boot.
    pub(crate) fn start_agent(&self) -> Process {
        self.start_agent_of(self.server.url())
    }

    pub(crate) fn start_agent_of(&self, url: &str) -> Process {
        self.agent_run(url).spawn("agent")
    }

    /// The command line of the account's agent.
    pub(crate) fn agent_run(&self, url: &str) -> Run {
        let logs = self.account.home.join("logs");
        let agent = self.env.coder(["agent", "--agent-url", url, "--user", &self.account.name, "--log-dir"]);
        agent.arg(logs).env("CODER_AGENT_TOKEN", self.workspace.token())
    }

    /// Starts the agent and waits until it has delivered.
    pub(crate) fn agent(&self) -> Process {
        let agent = self.start_agent();
        self.workspace.wait_lifecycle("ready");
        agent
    }

    // --- the client ---

    /// `ssh -F CONFIG ARGS…`; the host is `h`.
    pub(crate) fn ssh<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        self.client("ssh", args)
    }

    /// The same of `scp` or `sftp`.
    pub(crate) fn client<A: AsRef<OsStr>>(&self, program: &str, args: impl IntoIterator<Item = A>) -> Run {
        let run = self.env.program(Path::new("/usr/bin").join(program)).arg("-F").arg(&self.config);
        run.args(args).cwd(self.env.home()).limit(LONG)
    }

    /// Makes a key of the client, and gives its public line.
    pub(crate) fn key(&self, name: &str) -> String {
        let path = self.env.home().join(name).display().to_string();
        let generate = ["-q", "-t", "ed25519", "-N", "", "-C", "laptop", "-f", &path];
        let _ = self.env.program("/usr/bin/ssh-keygen").args(generate).run().success();
        fs::read_to_string(format!("{path}.pub")).unwrap().trim().to_owned()
    }

    /// The public line of the key that is used where no other is named.
    pub(crate) fn account_key(&self) -> String {
        fs::read_to_string(self.env.home().join("id.pub")).unwrap().trim().to_owned()
    }

    /// These lines and no others let in.
    pub(crate) fn authorize(&self, lines: &str) {
        self.account.write(".ssh/authorized_keys", &format!("{lines}\n"));
    }
}
