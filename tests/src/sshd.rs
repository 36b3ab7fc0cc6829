//! A real sshd on loopback, and what its clients need to know of it.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use crate::env::Env;
use crate::needs::Need;
use crate::process::Process;
use crate::wait::{SHORT, wait_until};

/// A running sshd that lets in by key only.
pub struct Sshd {
    dir: PathBuf,
    port: u16,
    _process: Process,
}

impl Sshd {
    /// What it and its clients are on Debian.
    pub const NEEDS: [Need; 5] = [
        Need::Program("sshd", "openssh-server"),
        Need::Program("../lib/openssh/sftp-server", "openssh-sftp-server"),
        Need::Program("ssh-keygen", "openssh-client"),
        Need::Program("scp", "openssh-client"),
        Need::Program("sftp", "openssh-client"),
    ];

    /// Starts one with further `settings` in its configuration; its files are in `dir` below the scratch directory.
    #[track_caller]
    pub fn start(env: &Env, dir: &str, settings: &str) -> Self {
        Self::start_on(env, dir, settings, None)
    }

    /// The same with PAM, on a machine of its own: a mount namespace that the shell lines of `setup` have changed.
    #[track_caller]
    pub fn start_with_pam(env: &Env, dir: &str, settings: &str, setup: &str) -> Self {
        Self::start_on(env, dir, &format!("UsePAM yes\nPrintMotd no\n{settings}"), Some(setup))
    }

    #[track_caller]
    fn start_on(env: &Env, dir: &str, settings: &str, setup: Option<&str>) -> Self {
        let dir = env.path(dir);
        fs::create_dir_all(&dir).unwrap();
        if rustix::process::geteuid().is_root() {
            fs::create_dir_all("/run/sshd").unwrap();
        }
        let host_key = dir.join("host_key").display().to_string();
        let generate = ["-q", "-t", "ed25519", "-N", "", "-f", &host_key];
        let _ = env.program("/usr/bin/ssh-keygen").args(generate).run().success();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {host_key}\nPidFile none\nStrictModes no\n\
             PasswordAuthentication no\nKbdInteractiveAuthentication no\nMaxStartups 300\nMaxSessions 300\n{settings}"
        );
        let path = dir.join("sshd_config");
        fs::write(&path, config).unwrap();
        let sshd = match setup {
            Some(setup) => {
                let script = format!("{setup}\nexec /usr/sbin/sshd \"$@\"");
                env.program("/usr/bin/unshare").args(["-m", "/bin/sh", "-euc", &script, "sh"])
            }
            None => env.program("/usr/sbin/sshd").args(["-o", "UsePAM=no"]),
        };
        let mut process = sshd.args(["-D", "-e", "-f"]).arg(path).spawn("sshd");
        let _ = process.line_with("Server listening on 127.0.0.1", SHORT);
        wait_until("sshd", SHORT, || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { dir, port, _process: process }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Writes a configuration for clients, `ssh -F …`: these `hosts` are this sshd, with these `settings`.
    pub fn client_config(&self, hosts: &str, settings: &str) -> PathBuf {
        let path = self.dir.join("config");
        let config = format!(
            "Host {hosts}\n HostName 127.0.0.1\n Port {}\n{settings}Host *\n UserKnownHostsFile {}\n \
             StrictHostKeyChecking no\n LogLevel ERROR\n BatchMode yes\n ConnectTimeout 30\n",
            self.port,
            self.dir.join("known_hosts").display(),
        );
        fs::write(&path, config).unwrap();
        path
    }
}

/// The shipped drop-in, for a `coder` that is installed elsewhere.
pub fn drop_in(coder: &Path) -> String {
    shipped("sshd_config.d/50-coder-agent.conf", coder)
}

/// A shipped file of `systemd/`, for a `coder` that is installed elsewhere.
pub fn shipped(name: &str, coder: &Path) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../systemd").join(name);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.replace("/usr/bin/coder", &coder.display().to_string())
}
