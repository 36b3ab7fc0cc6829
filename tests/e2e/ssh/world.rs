//! An sshd with the shipped drop-in, an account of this machine, and an agent for it.

use std::ffi::OsStr;
use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use tests::{Env, LONG, Need, Process, Run, SHORT, Server, User, Workspace, binaries, requires, wait_until};

const GROUP: &str = "coder-workspace";
pub(super) const EXTERNAL: &str = "/usr/lib/openssh/sftp-server";
pub(super) const INTERNAL: &str = "internal-sftp";

/// What the tests of this theme have in common.
pub(super) struct World {
    pub(super) env: Env,
    pub(super) server: Server,
    pub(super) alice: User,
    pub(super) workspace: Workspace,
    pub(super) account: Account,
    pub(super) port: u16,
    _sshd: Process,
}

impl World {
    /// None where the machine lacks what it needs.
    #[track_caller]
    pub(super) fn new(test: &str) -> Option<Self> {
        Self::with(test, EXTERNAL, |drop_in| drop_in)
    }

    /// With this sftp subsystem, and a change to the drop-in.
    #[track_caller]
    pub(super) fn with(test: &str, sftp: &str, change: impl FnOnce(String) -> String) -> Option<Self> {
        let programs = [("sshd", "openssh-server"), ("scp", "openssh-client"), ("sftp", "openssh-client")];
        let needs = programs.map(|(program, package)| Need::Program(program, package));
        let server_side = Need::Program("../lib/openssh/sftp-server", "openssh-sftp-server");
        if !requires(test, &[Need::Root, Need::Program("useradd", "passwd"), server_side]) || !requires(test, &needs) {
            return None;
        }
        let env = Env::new();
        let server = env.server();
        let alice = env.user("alice");
        let workspace =
            env.workspace("owner: alice\nname: dev\nagent: { name: main, dir: ~/project, motd_file: ~/motd }\n");
        let account = Account::create(&env);
        // Where the account may run it, and a test may take it away.
        env.new_home("bin");
        fs::copy(&binaries().coder, env.path("bin/coder")).unwrap();
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd/sshd_config.d/50-coder-agent.conf");
        let installed = env.path("bin/coder").display().to_string();
        let drop_in = change(fs::read_to_string(shipped).unwrap().replace("/usr/bin/coder", &installed));
        let (sshd, port) = start_sshd(&env, sftp, &drop_in);
        let world = Self { env, server, alice, workspace, account, port, _sshd: sshd };
        world.configure_client();
        let key = world.key("id");
        world.authorize(&key);
        Some(world)
    }

    /// Starts the agent of the account, as root does at boot.
    pub(super) fn start_agent(&self) -> Process {
        self.start_agent_of(self.server.url())
    }

    pub(super) fn start_agent_of(&self, url: &str) -> Process {
        let logs = self.account.home.join("logs");
        let agent = self.env.coder(["agent", "--agent-url", url, "--user", &self.account.name, "--log-dir"]);
        agent.arg(logs).env("CODER_AGENT_TOKEN", self.workspace.token()).spawn("agent")
    }

    /// Starts the agent and waits until it has delivered.
    pub(super) fn agent(&self) -> Process {
        let agent = self.start_agent();
        self.workspace.wait_lifecycle("ready");
        agent
    }

    // --- the client ---

    /// `ssh -F CONFIG ARGS…`; the host is `h`.
    pub(super) fn ssh<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        self.client("ssh", args)
    }

    /// The same of `scp` or `sftp`.
    pub(super) fn client<A: AsRef<OsStr>>(&self, program: &str, args: impl IntoIterator<Item = A>) -> Run {
        let run = self.env.program(Path::new("/usr/bin").join(program)).arg("-F").arg(self.env.path("sshd/config"));
        run.args(args).cwd(self.env.home()).limit(LONG)
    }

    /// Makes a key of the client, and gives its public line.
    pub(super) fn key(&self, name: &str) -> String {
        let path = self.env.home().join(name).display().to_string();
        let generate = ["-q", "-t", "ed25519", "-N", "", "-C", "laptop", "-f", &path];
        let _ = self.env.program("/usr/bin/ssh-keygen").args(generate).run().success();
        fs::read_to_string(format!("{path}.pub")).unwrap().trim().to_owned()
    }

    /// The public line of the key that is used where no other is named.
    pub(super) fn account_key(&self) -> String {
        fs::read_to_string(self.env.home().join("id.pub")).unwrap().trim().to_owned()
    }

    /// These lines and no others let in.
    pub(super) fn authorize(&self, lines: &str) {
        self.account.write(".ssh/authorized_keys", &format!("{lines}\n"));
    }

    fn configure_client(&self) {
        let shown = |name: &str| self.env.path("sshd").join(name).display().to_string();
        let config = format!(
            "Host h\n HostName 127.0.0.1\n Port {}\n User {}\n IdentityFile {}\n IdentitiesOnly yes\n \
             UserKnownHostsFile {}\n StrictHostKeyChecking no\n LogLevel ERROR\n BatchMode yes\n ConnectTimeout 30\n \
             SendEnv LANG LC_*\n",
            self.port,
            self.account.name,
            self.env.home().join("id").display(),
            shown("known_hosts"),
        );
        fs::write(shown("config"), config).unwrap();
    }
}

fn start_sshd(env: &Env, sftp: &str, drop_in: &str) -> (Process, u16) {
    let dir = env.path("sshd");
    fs::create_dir_all(&dir).unwrap();
    fs::create_dir_all("/run/sshd").unwrap();
    let host_key = dir.join("host_key").display().to_string();
    let generate = ["-q", "-t", "ed25519", "-N", "", "-f", &host_key];
    let _ = env.program("/usr/bin/ssh-keygen").args(generate).run().success();
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {host_key}\nPidFile none\nStrictModes no\nUsePAM no\n\
         PasswordAuthentication no\nKbdInteractiveAuthentication no\nMaxStartups 300\nMaxSessions 300\n\
         AcceptEnv LANG LC_*\nSubsystem sftp {sftp}\n{drop_in}"
    );
    fs::write(dir.join("sshd_config"), config).unwrap();
    let mut sshd = env.program("/usr/sbin/sshd").args(["-D", "-e", "-f"]).arg(dir.join("sshd_config")).spawn("sshd");
    let _ = sshd.line_with("Server listening on 127.0.0.1", SHORT);
    wait_until("sshd", SHORT, || TcpStream::connect(("127.0.0.1", port)).is_ok());
    (sshd, port)
}

/// An account of this machine; gone with the test.
pub(super) struct Account {
    pub(super) name: String,
    pub(super) home: PathBuf,
    uid: u32,
}

impl Account {
    fn create(env: &Env) -> Self {
        static NUMBER: AtomicUsize = AtomicUsize::new(0);
        let name = format!("coder-e2e-{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        // The account has to get through to its home.
        fs::set_permissions(env.path(""), PermissionsExt::from_mode(0o711)).unwrap();
        let home = env.new_home("account");
        administer("groupadd", &["--force", "--system", GROUP]);
        let home_flag = home.display().to_string();
        let flags = ["--no-create-home", "--home-dir", &home_flag, "--shell", "/bin/bash", "--groups", GROUP];
        administer("useradd", &[&flags[..], &["--password", "*", &name]].concat());
        let id = env.program("/usr/bin/id").args(["-u", &name]).run().success();
        let account = Self { name, home, uid: id.stdout.trim().parse().unwrap() };
        chown(&account.home, Some(account.uid), None).unwrap();
        for directory in [".ssh", "project"] {
            fs::create_dir(account.home.join(directory)).unwrap();
            chown(account.home.join(directory), Some(account.uid), None).unwrap();
        }
        account
    }

    /// Writes a file into its home.
    pub(super) fn write(&self, relative: &str, content: &str) {
        let path = self.home.join(relative);
        fs::write(&path, content).unwrap();
        chown(&path, Some(self.uid), None).unwrap();
    }

    /// The environment of its process of this name, where there is one.
    pub(super) fn environ_of(&self, program: &str) -> Option<Vec<u8>> {
        fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
            let status = fs::read_to_string(entry.path().join("status")).ok()?;
            let has = |start: String| status.lines().any(|line| format!("{line}\t").starts_with(&start));
            let is_its = has(format!("Name:\t{program}\t")) && has(format!("Uid:\t{}\t", self.uid));
            is_its.then(|| fs::read(entry.path().join("environ")).ok())?
        })
    }

    /// A file of its home.
    #[track_caller]
    pub(super) fn read(&self, relative: &str) -> Vec<u8> {
        let path = self.home.join(relative);
        fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let _ = Command::new("/usr/sbin/userdel").args(["--force", &self.name]).stderr(Stdio::null()).status();
        let _ = fs::remove_dir_all(Path::new("/run/coder-agent").join(&self.name));
    }
}

/// Other tests may hold the lock of the user database.
fn administer(program: &str, args: &[&str]) {
    wait_until(&format!("{program} {args:?}"), LONG, || {
        Command::new(Path::new("/usr/sbin").join(program)).args(args).status().is_ok_and(|status| status.success())
    });
}
