//! Somebody at a terminal.

use std::fs::{self, File};
use std::io::Write as _;

use tests::{Env, LONG, Process, Run};

/// A command line on a terminal of its own, and its keyboard.
pub(super) struct Terminal {
    process: Process,
    keys: File,
}

impl Terminal {
    pub(super) fn new(env: &Env, line: &str, prepare: impl FnOnce(Run) -> Run) -> Self {
        let keys = env.path("work/keys");
        nix::unistd::mkfifo(&keys, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let run = env.program("/bin/sh").args(["-c", "exec script -q -e -c \"$LINE\" /dev/null < keys"]);
        let process = prepare(run.env("LINE", line)).spawn("terminal");
        Self { process, keys: fs::OpenOptions::new().write(true).open(keys).unwrap() }
    }

    /// The words of `answer` are cut in two where they are typed, so that only the answer has them whole.
    pub(super) fn type_and_wait(&mut self, typed: &str, answer: &str) {
        self.keys.write_all(typed.as_bytes()).unwrap();
        let _ = self.process.line_with(answer, LONG);
    }

    /// Drives an interactive shell through an interrupt, a stop and a job that goes on.
    pub(super) fn has_job_control(&mut self) {
        self.type_and_wait("echo be''gun\n", "begun");
        self.type_and_wait("sh -c 'echo in''side; exec sleep 1000'\n", "inside");
        self.type_and_wait("\x03echo co''de $?\n", "code 130");
        self.type_and_wait("sh -c 'echo be''low; exec sleep 1000'\n", "below");
        self.type_and_wait("\x1a", "Stopped");
        self.type_and_wait("kill %1; fg; echo do''ne\n", "done");
        assert!(!self.process.stdout().contains("job control"), "{}", self.process.stdout());
    }

    /// Ends the shell with this code, and gives that of the command line.
    pub(super) fn exit(&mut self, code: u8) -> Option<i32> {
        self.keys.write_all(format!("exit {code}\n").as_bytes()).unwrap();
        self.process.exit_within(LONG).code
    }
}
