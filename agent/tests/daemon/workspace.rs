//! An agent with what is around it: a home, a log directory, a cleared environment.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::control_plane::LIMIT;

pub(crate) const TOKEN: &str = "11111111-2222-3333-4444-canary-token";
pub(crate) const VALUE: &str = "canary-value-of-a-secret";

/// An agent about to start, in a home of its own.
pub(crate) struct Workspace {
    pub(crate) dir: TempDir,
    command: Command,
}

/// An agent that runs.
pub(crate) struct Running {
    pub(crate) dir: TempDir,
    pub(crate) child: Child,
}

impl Workspace {
    pub(crate) fn new(url: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("home")).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_coder"));
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", dir.path().join("home"))
            .env("CODER_AGENT_URL", url)
            .env("CODER_AGENT_TOKEN", TOKEN)
            .env("CODER_AGENT_LOG", "trace")
            .env("CODER_AGENT_SOCKET", dir.path().join("agent.sock"))
            .arg("agent")
            .args(["--config", "/dev/null", "--allow-root", "--log-dir"])
            .arg(dir.path().join("logs"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        Self { dir, command }
    }

    pub(crate) fn args(mut self, args: &[&str]) -> Self {
        self.command.args(args);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    pub(crate) fn start(mut self) -> Running {
        Running { child: self.command.spawn().unwrap(), dir: self.dir }
    }

    pub(crate) async fn output(self) -> (Output, TempDir) {
        self.start().end().await
    }
}

impl Running {
    pub(crate) fn home(&self, path: &str) -> PathBuf {
        self.dir.path().join("home").join(path)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().unwrap().try_into().unwrap()), signal).unwrap();
    }

    /// The end, and the log directory for a look at it.
    pub(crate) async fn end(self) -> (Output, TempDir) {
        let output = timeout(LIMIT, self.child.wait_with_output()).await.expect("the agent ends").unwrap();
        no_canary(&output.stderr, "standard error");
        for file in fs::read_dir(self.dir.path().join("logs")).into_iter().flatten() {
            let path = file.unwrap().path();
            no_canary(&fs::read(&path).unwrap(), &path.display().to_string());
        }
        (output, self.dir)
    }

    pub(crate) async fn stop(self) -> (Output, TempDir) {
        self.signal(Signal::SIGTERM);
        self.end().await
    }
}

/// Neither the token nor the value is there.
pub(crate) fn no_canary(bytes: &[u8], place: &str) {
    let text = String::from_utf8_lossy(bytes);
    assert!(!text.contains(TOKEN) && !text.contains(VALUE), "a value in {place}: {text}");
}

/// Both streams.
pub(crate) fn text(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr))
}

pub(crate) fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(path).unwrap()
}
