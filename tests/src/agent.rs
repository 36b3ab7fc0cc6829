//! A running `coder agent`.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::binaries::binaries;
use crate::command::Run;
use crate::env::Env;
use crate::process::{Exit, Process};
use crate::wait::{LONG, poll, wait_until};

/// An agent about to start.
#[must_use]
pub struct AgentBuilder {
    env: Env,
    run: Run,
    home: PathBuf,
    logs: PathBuf,
    command: Vec<OsString>,
}

impl AgentBuilder {
    pub(crate) fn new(env: &Env, url: &str, token: &str) -> Self {
        let logs = env.new_log("agent");
        let number = logs.file_name().unwrap_or_default().to_string_lossy().into_owned();
        fs::create_dir(&logs).expect("make the directory of the agent's logs");
        let home = env.new_home(&format!("homes/{number}"));
        let mut run = env
            .tracing(Run::new(env, &binaries().coder, &home))
            .args(["agent", "--agent-url", url, "--log-dir"])
            .arg(&logs)
            .env("CODER_AGENT_TOKEN", token)
            // One agent a user, so each test's agent has a socket of its own.
            .env("CODER_AGENT_SOCKET", home.join("agent.sock"));
        if rustix::process::geteuid().is_root() {
            run = run.arg("--allow-root");
        }
        Self { env: env.clone(), run, home, logs, command: Vec::new() }
    }

    /// Further flags.
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.run = self.run.args(args);
        self
    }

    /// A variable of the agent's start environment.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.run = self.run.env(name, value);
        self
    }

    /// Takes a variable out of the agent's start environment, such as `CODER_AGENT_TOKEN`.
    pub fn without(mut self, name: impl AsRef<OsStr>) -> Self {
        self.run = self.run.without(name);
        self
    }

    /// Uses this home, such as that of an agent before it.
    pub fn home(mut self, home: &Path) -> Self {
        self.run = self.run.env("HOME", home).env("CODER_AGENT_SOCKET", home.join("agent.sock"));
        home.clone_into(&mut self.home);
        self
    }

    /// The main process, after `--`.
    pub fn command<A: AsRef<OsStr>>(mut self, command: impl IntoIterator<Item = A>) -> Self {
        self.command = command.into_iter().map(|arg| arg.as_ref().to_owned()).collect();
        self
    }

    /// The command line, to run to its end or to change in ways this builder has no words for.
    pub fn into_run(self) -> Run {
        if self.command.is_empty() { self.run } else { self.run.arg("--").args(self.command) }
    }

    /// Starts it.
    pub fn start(self) -> Agent {
        let (env, home, logs) = (self.env.clone(), self.home.clone(), self.logs.clone());
        Agent { process: self.into_run().spawn("agent"), env, home, logs }
    }
}

/// A running agent; a [`Process`] with a home and logs.
pub struct Agent {
    process: Process,
    env: Env,
    home: PathBuf,
    logs: PathBuf,
}

impl Agent {
    /// Its home.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// Waits until it listens, which it does before it has fetched anything.
    #[track_caller]
    #[must_use]
    pub fn listening(self) -> Self {
        wait_until("the agent's socket", LONG, || self.socket().exists());
        self
    }

    /// Its local socket.
    pub fn socket(&self) -> PathBuf {
        self.home.join("agent.sock")
    }

    /// `coder ARGS…` beside this agent, such as `coder exec`. It knows where the agent is, and nothing else of it.
    pub fn coder<A: AsRef<OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Run {
        self.env.coder(args).env("CODER_AGENT_SOCKET", self.socket())
    }

    /// Where its own log and those of its scripts are.
    pub fn log_dir(&self) -> &Path {
        &self.logs
    }

    /// Waits for its end, as with a main process that ends.
    #[track_caller]
    pub fn exit(&mut self) -> Exit {
        self.process.exit_within(LONG)
    }

    /// A file in its home, as text.
    #[track_caller]
    pub fn read(&self, relative: &str) -> String {
        let path = self.home.join(relative);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Waits for a file in its home and reads it. Write such a file under another name and rename it, lest half of it be read.
    #[track_caller]
    pub fn wait_read(&self, relative: &str) -> String {
        let path = self.home.join(relative);
        wait_until(&format!("file {relative} in the agent's home"), LONG, || path.exists());
        self.read(relative)
    }
}

impl Deref for Agent {
    type Target = Process;

    fn deref(&self) -> &Process {
        &self.process
    }
}

impl DerefMut for Agent {
    fn deref_mut(&mut self) -> &mut Process {
        &mut self.process
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        // An orderly stop also ends what the agent started; killed, it would leave scripts behind.
        self.process.signal(nix::sys::signal::Signal::SIGTERM);
        let _ = poll(Duration::from_secs(5), || self.process.try_exit());
    }
}
