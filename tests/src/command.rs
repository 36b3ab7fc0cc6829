//! One command line, run to its end in a cleared environment.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::File;
use std::io::{Read, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::env::Env;
use crate::process::{Exit, Process};
use crate::wait::{LONG, wait_for};

/// A command line about to run.
#[must_use]
pub struct Run {
    env: Env,
    command: Command,
    line: String,
    stdin: Input,
    limit: Duration,
    reveals: bool,
}

enum Input {
    None,
    Pipe(Vec<u8>),
    Terminal(Vec<u8>),
}

/// What a command printed and how it ended.
#[must_use]
#[derive(Debug)]
pub struct Output {
    /// The command line, for messages.
    pub line: String,
    /// How it ended.
    pub exit: Exit,
    /// Standard output, lossy.
    pub stdout: String,
    /// Standard output, exact.
    pub stdout_bytes: Vec<u8>,
    /// Standard error, lossy.
    pub stderr: String,
}

impl Run {
    pub(crate) fn new(env: &Env, program: &Path, home: &Path) -> Self {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("HOME", home)
            .env("TMPDIR", env.path("tmp"))
            .env("LANG", "C.UTF-8")
            .env("TZ", "UTC")
            .current_dir(env.path("work"));
        let line = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { env: env.clone(), command, line, stdin: Input::None, limit: LONG, reveals: false }
    }

    /// Appends one argument.
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        let _ = write!(self.line, " {}", arg.as_ref().to_string_lossy());
        self.command.arg(arg);
        self
    }

    /// Appends arguments.
    pub fn args<A: AsRef<OsStr>>(self, args: impl IntoIterator<Item = A>) -> Self {
        args.into_iter().fold(self, Self::arg)
    }

    /// Sets one variable.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Removes one of the few variables that are set.
    pub fn without(mut self, name: impl AsRef<OsStr>) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Runs in `dir` instead of the test's work directory.
    pub fn cwd(mut self, dir: impl AsRef<Path>) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Puts another program in front that runs this one, such as `strace`.
    pub fn under<A: AsRef<OsStr>>(mut self, program: impl AsRef<Path>, args: impl IntoIterator<Item = A>) -> Self {
        let mut command = Command::new(program.as_ref());
        command.env_clear().args(args).arg(self.command.get_program()).args(self.command.get_args());
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(dir) = self.command.get_current_dir() {
            command.current_dir(dir);
        }
        self.line = format!("{} … {}", program.as_ref().display(), self.line);
        self.command = command;
        self
    }

    /// Pipes `bytes` in; without it stdin is `/dev/null`.
    pub fn stdin(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.stdin = Input::Pipe(bytes.as_ref().to_vec());
        self
    }

    /// Gives it a terminal for stdin on which `typed` is typed.
    pub fn terminal(mut self, typed: impl AsRef<[u8]>) -> Self {
        self.stdin = Input::Terminal(typed.as_ref().to_vec());
        self
    }

    /// Says that stdout shows a value on purpose, as `user create` shows a token.
    pub fn reveals(mut self) -> Self {
        self.reveals = true;
        self
    }

    /// How long it may take.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs it to its end and looks for values in what it printed.
    #[track_caller]
    pub fn run(mut self) -> Output {
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let (mut child, terminal) = self.start();
        let stdout = reader(child.stdout.take());
        let stderr = reader(child.stderr.take());
        let exit = wait_for(&format!("the end of `{}`", self.line), self.limit, || child.try_wait().unwrap());
        drop(terminal);
        let (stdout_bytes, stderr) = (stdout.join().unwrap(), stderr.join().unwrap());
        self.env.search(&format!("stderr of `{}`", self.line), &stderr);
        if !self.reveals {
            self.env.search(&format!("stdout of `{}`", self.line), &stdout_bytes);
        }
        Output {
            line: self.line,
            exit: exit.into(),
            stdout: String::from_utf8_lossy(&stdout_bytes).into_owned(),
            stdout_bytes,
            stderr: String::from_utf8_lossy(&stderr).into_owned(),
        }
    }

    /// Starts it and returns at once; its output goes to files named after `name` among the logs.
    pub fn spawn(mut self, name: &str) -> Process {
        let stdout = self.env.new_log(&format!("{name}.stdout"));
        let stderr = self.env.new_log(&format!("{name}.stderr"));
        self.command.stdout(File::create(&stdout).unwrap()).stderr(File::create(&stderr).unwrap());
        let (child, _) = self.start();
        Process::new(child, stdout, stderr)
    }

    fn start(&mut self) -> (Child, Option<File>) {
        let mut terminal = None;
        match &self.stdin {
            Input::None => drop(self.command.stdin(Stdio::null())),
            Input::Pipe(_) => drop(self.command.stdin(Stdio::piped())),
            Input::Terminal(typed) => {
                let pair = nix::pty::openpty(None, None).expect("open a terminal");
                let mut master = File::from(pair.master);
                master.write_all(typed).expect("type");
                self.command.stdin(pair.slave);
                terminal = Some(master);
            }
        }
        let mut child = self.command.spawn().unwrap_or_else(|error| panic!("run `{}`: {error}", self.line));
        if let (Input::Pipe(bytes), Some(mut pipe)) = (&self.stdin, child.stdin.take()) {
            let bytes = bytes.clone();
            // A child that does not read its stdin is no failure of the harness.
            thread::spawn(move || pipe.write_all(&bytes));
        }
        (child, terminal)
    }
}

fn reader(pipe: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut pipe) = pipe {
            let _ = pipe.read_to_end(&mut bytes);
        }
        bytes
    })
}

impl Output {
    /// Panics unless it exited with 0.
    #[track_caller]
    pub fn success(self) -> Self {
        self.exits(0)
    }

    /// Panics unless it exited with `code`.
    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(self.exit.code, Some(code), "`{}`\n{}\n{}", self.line, self.stdout, self.stderr);
        self
    }

    /// Panics unless stdout holds `text`.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stdout.contains(text), "`{}`: no {text:?} in stdout:\n{}", self.line, self.stdout);
        self
    }

    /// Panics unless stderr holds `text`.
    #[track_caller]
    pub fn complains(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "`{}`: no {text:?} in stderr:\n{}", self.line, self.stderr);
        self
    }

    /// Stdout as JSON.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout)
            .unwrap_or_else(|error| panic!("`{}` printed no JSON: {error}\n{}", self.line, self.stdout))
    }
}
