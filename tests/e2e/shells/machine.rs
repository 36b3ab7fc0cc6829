//! A machine with PAM on which our files are where the packages of shells look for them, and the same machine without us.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tests::nasty::Seen;
use tests::{LONG, Need, Run, Sshd, drop_in, requires, shipped, wait_until};

use crate::ssh::logins::Logins;

/// Login shells, by the paths that Debian gives them.
pub(super) const SHELLS: [&str; 6] =
    ["/bin/bash", "/bin/dash", "/usr/bin/zsh", "/usr/bin/fish", "/usr/bin/tcsh", "/bin/mksh"];

const NEEDS: [Need; 9] = [
    Need::Root,
    Need::Program("useradd", "passwd"),
    Need::Program("unshare", "util-linux"),
    Need::Program("su", "util-linux"),
    Need::Program("dash", "dash"),
    Need::Program("zsh", "zsh"),
    Need::Program("fish", "fish"),
    Need::Program("tcsh", "tcsh"),
    Need::Program("mksh", "mksh"),
];

/// Ours, and what the administrator has put beside it.
const OURS: &str = r#"
cp "$FILES/coder-agent.sh" "$FILES/coder-agent.csh" /etc/profile.d/
cp "$FILES/coder-agent.fish" /etc/fish/conf.d/
cp "$FILES/coder-agent.csh" /etc/csh/login.d/
mount --bind "$FILES/zprofile" /etc/zsh/zprofile"#;

/// The same on both machines: no other file of a package is read.
const BOTH: &str = r#"
for dir in /etc/profile.d /etc/fish/conf.d /etc/csh/login.d; do mkdir -p $dir; mount -t tmpfs -o mode=755 none $dir; done
mount --bind "$FILES/environment" /etc/environment
test -e /run/motd.dynamic || touch /run/motd.dynamic
mount --bind "$FILES/motd.dynamic" /run/motd.dynamic
mount --bind "$FILES/motd" /etc/motd"#;

pub(super) struct Machine {
    pub(super) world: Logins,
    sshds: [Sshd; 2],
    configs: [PathBuf; 2],
}

/// Which of the two machines.
#[derive(Clone, Copy)]
pub(super) enum With {
    Us = 0,
    OpenSshAlone = 1,
}

impl Machine {
    /// None where the real machine lacks what it needs.
    pub(super) fn new(test: &str, definition: &str) -> Option<Self> {
        if !requires(test, &NEEDS) || !requires(test, &Sshd::NEEDS) {
            return None;
        }
        let world = Logins::of(test, definition)?;
        write_files(&world);
        let start = |dir: &str, settings: &str, setup: &str| {
            let settings = format!("AcceptEnv LANG LC_*\nSubsystem sftp /usr/lib/openssh/sftp-server\n{settings}");
            let setup = format!("FILES={}\n{setup}", files(&world).display());
            Sshd::start_with_pam(&world.env, dir, &settings, &setup)
        };
        let drop_in = drop_in(&world.env.path("bin/coder"));
        let sshds = [start("ours", &drop_in, &(BOTH.to_owned() + OURS)), start("plain", "", BOTH)];
        let client = format!(
            " User {}\n IdentityFile {}\n IdentitiesOnly yes\n SendEnv LANG LC_*\n",
            world.account.name,
            world.env.home().join("id").display(),
        );
        let configs = [sshds[0].client_config("h", &client), sshds[1].client_config("h", &client)];
        Some(Self { world, sshds, configs })
    }

    /// `ssh -F CONFIG ARGS…`; the host is `h`.
    pub(super) fn ssh<A: AsRef<OsStr>>(&self, with: With, args: impl IntoIterator<Item = A>) -> Run {
        let run = self.world.env.program("/usr/bin/ssh").arg("-F").arg(&self.configs[with as usize]);
        run.args(args).cwd(self.world.env.home()).limit(LONG)
    }

    pub(super) fn port(&self, with: With) -> u16 {
        self.sshds[with as usize].port()
    }

    /// `su - USER`, which reads what is typed.
    pub(super) fn su(&self, with: With) -> Run {
        let setup = match with {
            With::Us => BOTH.to_owned() + OURS,
            With::OpenSshAlone => BOTH.to_owned(),
        };
        let script = format!("FILES={}\n{setup}\nexec su - \"$1\"", files(&self.world).display());
        let run = self.world.env.program("/usr/bin/unshare").args(["-m", "/bin/sh", "-euc", &script, "sh"]);
        run.arg(&self.world.account.name).cwd("/").limit(LONG)
    }

    /// Makes `shell` the login shell of the account.
    pub(super) fn chsh(&self, shell: &str) {
        // Other tests may hold the lock of the user database.
        wait_until(&format!("usermod to {shell}"), LONG, || {
            let run = Command::new("/usr/sbin/usermod")
                .args(["-s", shell, &self.world.account.name])
                .stderr(Stdio::null())
                .status();
            run.is_ok_and(|status| status.success())
        });
    }

    /// What a process of a login sees that does `env -0 > ~/seen`.
    pub(super) fn seen(&self, run: Run) -> Seen {
        let _ = run.reveals().run().success();
        let seen = Seen::parse(&self.world.account.read("seen"));
        fs::remove_file(self.world.account.home.join("seen")).unwrap();
        seen
    }
}

/// Whether this front part of a `PATH` is nothing but the directory of the scripts, which an agent may not have.
pub(super) fn is_for_scripts(front: &str) -> bool {
    front.is_empty() || (front.ends_with("/coder-script-data/bin:") && front.matches(':').count() == 1)
}

fn files(world: &Logins) -> PathBuf {
    world.env.path("machine-files")
}

/// The line for zsh that the documentation shows.
fn documented_zsh_line() -> String {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ssh.md")).unwrap();
    page.lines().find(|line| line.contains("/etc/profile.d/coder-agent.sh ] && . ")).expect("a line for zsh").to_owned()
}

fn write_files(world: &Logins) {
    fs::create_dir_all(files(world)).unwrap();
    let coder = world.env.path("bin/coder");
    let ours = ["profile.d/coder-agent.sh", "fish/coder-agent.fish", "csh/coder-agent.csh"]
        .map(|name| (Path::new(name).file_name().unwrap().to_str().unwrap().to_owned(), shipped(name, &coder)));
    let others = [
        ("zprofile", documented_zsh_line()),
        // As an administrator gives all users of the machine another place for programs.
        ("environment", "PATH=\"/opt/corp/bin:/usr/local/bin:/usr/bin:/bin\"\nCORP=of-the-machine".to_owned()),
        ("motd.dynamic", "dynamic message of this machine".to_owned()),
        ("motd", "static message of this machine".to_owned()),
    ];
    for (name, text) in ours.into_iter().chain(others.map(|(name, text)| (name.to_owned(), text))) {
        fs::write(files(world).join(name), text + "\n").unwrap();
    }
}
