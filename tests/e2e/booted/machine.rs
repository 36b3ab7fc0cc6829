//! A machine booted by systemd-nspawn.

use std::fs::{self, File};
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tests::{Env, LONG, Process, Run, SHORT, binaries, wait_for, wait_until};

use super::root::root;

/// A booted machine with our package on it.
pub(super) struct Machine {
    env: Env,
    root: PathBuf,
    nspawn: Process,
    leader: u32,
    _turn: MutexGuard<'static, ()>,
}

/// All boot the same root file system, so one at a time; `.config/nextest.toml` says so for its processes.
static TURN: Mutex<()> = Mutex::new(());

impl Machine {
    /// A machine on which nothing was done but `make install`.
    pub(super) fn installed(env: &Env) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let layer = env.path("machine");
        install(env, &layer);
        // Kept on the disk, for what is said while the machine goes down.
        fs::create_dir_all(layer.join("var/log/journal")).unwrap();
        let root = root(env);
        let (nspawn, leader) = boot(env, &root);
        let machine = Self { env: env.clone(), root, nspawn, leader, _turn: turn };
        machine.wait_booted();
        machine
    }

    /// Boots it once more, and returns as soon as its sshd listens.
    pub(super) fn boot_again(&mut self) {
        (self.nspawn, self.leader) = boot(&self.env, &self.root);
        wait_until("sshd", LONG, || self.property("ssh.service", "ActiveState") == "active");
    }

    /// Waits until everything has started, and nothing has failed to.
    pub(super) fn wait_booted(&self) {
        let state = wait_for("the end of the boot", LONG, || {
            let state = self.run(["systemctl", "is-system-running"]).run().stdout;
            ["running\n", "degraded\n"].contains(&state.as_str()).then_some(state)
        });
        let failed = self.run(["systemctl", "--failed", "--plain", "--no-legend"]).run().success();
        assert_eq!((state.as_str(), failed.stdout.as_str()), ("running\n", ""));
    }

    /// Turns it off, and waits until it is.
    pub(super) fn power_off(&mut self) {
        let _ = self.run(["systemctl", "poweroff"]).run();
        let exit = self.nspawn.exit_within(LONG);
        assert_eq!(exit.code, Some(0), "{}", self.nspawn.stderr());
    }

    /// Runs a program on it as root.
    pub(super) fn run<const N: usize>(&self, line: [&str; N]) -> Run {
        let enter = self.env.program("/usr/bin/nsenter").args(["-t", &self.leader.to_string(), "-a", "--"]);
        enter.args(line).without("TMPDIR").without("TZ").env("HOME", "/root").cwd("/")
    }

    /// Runs lines of shell on it as root, all of which must succeed, and gives what they print.
    #[track_caller]
    pub(super) fn sh(&self, script: &str) -> String {
        self.run(["sh", "-euc", script]).run().success().stdout
    }

    /// Runs a line of shell on it as `user`, without a login.
    pub(super) fn sh_as(&self, user: &str, script: &str) -> Run {
        let home = format!("/home/{user}");
        self.run(["runuser", "-u", user, "--", "sh", "-euc", script]).env("HOME", home)
    }

    /// Writes a file on it, as root.
    #[track_caller]
    pub(super) fn write(&self, path: &str, mode: &str, content: impl AsRef<[u8]>) {
        let _ = self.run(["install", "-D", "-m", mode, "/dev/stdin", path]).stdin(content).run().success();
    }

    /// A file of its disk.
    #[track_caller]
    pub(super) fn read(&self, path: &str) -> Vec<u8> {
        self.run(["cat", path]).reveals().run().success().stdout_bytes
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        self.run(["test", "-e", path]).run().exit.code == Some(0)
    }

    /// What systemd knows of a unit.
    #[track_caller]
    pub(super) fn property(&self, unit: &str, name: &str) -> String {
        self.run(["systemctl", "show", "--property", name, "--value", unit]).run().stdout.trim_end().to_owned()
    }

    #[track_caller]
    pub(super) fn wait_property(&self, unit: &str, name: &str, expected: &str) {
        let what = format!("{name}={expected} of {unit}");
        wait_until(&what, LONG, || self.property(unit, name) == expected);
    }

    /// What a unit has said, and systemd of it, in all boots.
    pub(super) fn journal(&self, unit: &str) -> String {
        let directory = format!("--directory={}", self.env.path("machine/var/log/journal").display());
        let read = self.env.program("/usr/bin/journalctl").args([&directory, "-o", "cat", "--no-pager", "-u", unit]);
        read.run().success().stdout
    }
}

/// Puts our files into `layer` with the Makefile's own rule.
fn install(env: &Env, layer: &Path) {
    // Executables hold words of all kinds, and nothing writes there later.
    let dist = env.new_home("dist");
    env.new_home("machine/usr");
    let put = |path: &str, content: &[u8]| {
        let path = dist.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    };
    for (name, executable) in [("coder", &binaries().coder), ("coder-server", &binaries().server)] {
        put(&format!("bin/{name}"), &fs::read(executable).unwrap());
        // Only `make package` builds the program that writes the page.
        put(&format!("share/man/man1/{name}.1"), b".TH CODER 1\n");
    }
    put("share/doc/coder-agent/THIRD-PARTY-LICENSES", b"");
    fs::set_permissions(dist.join("bin/coder"), fs::Permissions::from_mode(0o755)).unwrap();
    let places = [
        ("bash", "bash-completion/completions/coder"),
        ("zsh", "zsh/site-functions/_coder"),
        ("fish", "fish/vendor_completions.d/coder.fish"),
    ];
    for (shell, place) in places {
        put(&format!("share/{place}"), &env.coder(["completion", shell]).run().success().stdout_bytes);
    }
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let make = env.program("/usr/bin/make").args(["--silent", "install", "PREFIX=/usr"]).cwd(checkout);
    let variables = [format!("DIST={}", dist.display()), format!("DESTDIR={}", layer.display())];
    let _ = make.args(variables).run().success();
}

/// nspawn that is killed leaves its machine running; with its first process the kernel ends them all.
impl Drop for Machine {
    fn drop(&mut self) {
        if self.nspawn.try_exit().is_none() {
            let leader = self.leader.try_into().expect("a pid fits");
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(leader), nix::sys::signal::Signal::SIGKILL);
            // It takes away what is left of its machine, if it is let.
            if !std::thread::panicking() {
                self.nspawn.exit_within(SHORT);
            }
        }
    }
}

/// Boots the layer `machine` of `env` over `root`, and takes this thread to the machine's network: what it starts from now
/// on has the machine's loopback for its own.
fn boot(env: &Env, root: &Path) -> (Process, u32) {
    let name = env.path("").file_name().unwrap().to_string_lossy().into_owned();
    let overlay = format!("--overlay={}:{}:/", root.display(), env.path("machine").display());
    let nspawn = env.program("/usr/bin/systemd-nspawn").args(["--quiet", "--boot", "--machine", &name]);
    let nspawn = nspawn.arg("--directory").arg(root).arg(overlay).args(["--private-network", "--console=read-only"]);
    let nspawn = nspawn.args(["--register=no", "--keep-unit"]).spawn("machine");
    let leader = wait_for("the machine's systemd", LONG, || leader(nspawn.pid()));
    let network = File::open(format!("/proc/{leader}/ns/net")).unwrap();
    move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
    (nspawn, leader)
}

/// Its process 1. Before that is systemd, it may still be in the host's file system.
fn leader(nspawn: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children")).ok()?;
    let is_systemd = |pid: &&str| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "systemd\n");
    children.split_whitespace().find(is_systemd)?.parse().ok()
}
