//! A process that runs while the test goes on.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, ExitStatus};
use std::time::Duration;

use std::os::unix::process::ExitStatusExt as _;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::wait::{SHORT, wait_for};

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exit {
    /// Its exit code, where it exited.
    pub code: Option<i32>,
    /// The signal, where one ended it.
    pub signal: Option<i32>,
}

impl From<ExitStatus> for Exit {
    fn from(status: ExitStatus) -> Self {
        Self { code: status.code(), signal: status.signal() }
    }
}

/// A running process with its output in files; killed by pid when dropped.
pub struct Process {
    child: Child,
    stdout: PathBuf,
    stderr: PathBuf,
}

impl Process {
    pub(crate) fn new(child: Child, stdout: PathBuf, stderr: PathBuf) -> Self {
        Self { child, stdout, stderr }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends `signal`; a process that is gone is no error.
    pub fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.child.id().try_into().expect("a pid fits"));
        let _ = kill(pid, signal);
    }

    /// What it has written to stdout so far.
    pub fn stdout(&self) -> String {
        read(&self.stdout)
    }

    /// What it has written to stderr so far.
    pub fn stderr(&self) -> String {
        read(&self.stderr)
    }

    /// How it ended, where it has.
    pub fn try_exit(&mut self) -> Option<Exit> {
        self.child.try_wait().expect("wait for a child of ours").map(Exit::from)
    }

    /// Waits for its end.
    #[track_caller]
    pub fn exit_within(&mut self, bound: Duration) -> Exit {
        let what = format!("the end of process {}; its stderr:\n{}", self.pid(), self.stderr());
        wait_for(&what, bound, || self.try_exit())
    }

    /// Waits until a line of its output holds `text`, and returns the line. A process that ends first is a failure.
    #[track_caller]
    pub fn line_with(&mut self, text: &str, bound: Duration) -> String {
        let what = format!("a line with {text:?} from process {}", self.pid());
        wait_for(&what, bound, || {
            // Asked for before reading, else the last words of a process that ends in between would be missed.
            let ended = self.try_exit();
            let output = self.stdout() + "\n" + &self.stderr();
            let found = output.lines().find(|line| line.contains(text)).map(str::to_owned);
            assert!(found.is_some() || ended.is_none(), "ended with {ended:?} before {text:?}:\n{output}");
            found
        })
    }

    /// Asks it to stop as a service manager does, and waits for its end.
    #[track_caller]
    pub fn terminate(&mut self) -> Exit {
        self.signal(Signal::SIGTERM);
        self.exit_within(SHORT)
    }

    /// Ends it as a power failure would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn read(path: &PathBuf) -> String {
    String::from_utf8_lossy(&fs::read(path).unwrap_or_default()).into_owned()
}
