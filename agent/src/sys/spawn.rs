//! Starting a child with an exact environment, nothing of ours open in it, and its limits and signals as at login.
//!
//! The environment block is built by std before the fork: it copies the values into C strings on the heap and drops
//! them with the [`Command`], before [`Launch::spawn`] returns. The allocator of [`super::memory`] wipes what is freed,
//! so nothing of the block stays behind; a block of our own would repeat std's error pipe and pidfd to gain no more.
#![expect(unsafe_code, reason = "what runs between fork and exec has no safe interface")]

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use nix::libc;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use protocol::secret::Secret;
use rustix::process::Resource;
use tokio::runtime::Handle;

use super::{process, signal_state, threads};

/// What one child is.
#[derive(Debug)]
pub struct Launch {
    /// Resolved by the `PATH` of `environment` unless it has a slash.
    pub program: OsString,
    /// What the child sees as its own name; the program where `None`.
    pub arg0: Option<OsString>,
    /// Arguments after the name.
    pub arguments: Vec<OsString>,
    /// The whole environment; nothing of ours is added.
    pub environment: Vec<(OsString, Secret)>,
    /// Working directory; ours where `None`.
    pub directory: Option<PathBuf>,
    /// Standard input.
    pub stdin: Stdio,
    /// Standard output.
    pub stdout: Stdio,
    /// Standard error.
    pub stderr: Stdio,
    /// Descriptors that stay open in the child, under the same numbers; all others are closed.
    pub inherit: Vec<OwnedFd>,
    /// Whether the child's process group takes over the terminal on standard input, if that is one.
    pub foreground: bool,
}

/// Why a child did not start.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum SpawnError {
    #[error("cannot enter directory {path}")]
    Directory { path: PathBuf, source: io::Error },
    #[error("cannot run {program}")]
    Program { program: String, source: io::Error },
}

impl SpawnError {
    /// What a shell would exit with: 127 where the program was not found, else 126.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Program { source, .. } if source.kind() == io::ErrorKind::NotFound => 127,
            _ => 126,
        }
    }
}

/// A started child, leader of its own process group.
#[derive(Debug)]
pub struct Child {
    // Dropped first: once the process is reaped, its number may be another's.
    unclaimed: Unclaimed,
    /// The process: its pipes and its end. Dropping it does not end the process.
    pub process: tokio::process::Child,
    group: Pid,
    _awaited: Awaited,
}

/// The children whose end somebody waits for: whoever reaps orphans must leave them alone.
static AWAITED: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Whether this is a child that [`Launch::spawn`] started.
pub(super) fn is_awaited(child: i32) -> bool {
    AWAITED.lock().unwrap_or_else(PoisonError::into_inner).contains(&child)
}

/// Keeps a child among [`AWAITED`].
#[derive(Debug)]
struct Awaited(i32);

impl Awaited {
    fn new(child: i32) -> Self {
        AWAITED.lock().unwrap_or_else(PoisonError::into_inner).insert(child);
        Self(child)
    }
}

impl Drop for Awaited {
    fn drop(&mut self) {
        AWAITED.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

impl Child {
    /// The process group, which is also the id of the process.
    #[must_use]
    pub fn group(&self) -> i32 {
        self.group.as_raw()
    }

    /// Signals the whole group; a group that is gone is no error.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        match killpg(self.group, signal) {
            Ok(()) | Err(nix::errno::Errno::ESRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

/// Kills the process group of a child that is dropped before anybody has it.
#[derive(Debug)]
struct Unclaimed(Option<Pid>);

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(group) = self.0 {
            // Whoever asked for it was told that it did not begin. A group that is gone already needs no signal.
            let _ = killpg(group, Signal::SIGKILL);
        }
    }
}

impl Launch {
    /// `program` with no arguments, no variables, and nothing on its standard streams.
    #[must_use]
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            arg0: None,
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: None,
            stdin: Stdio::null(),
            stdout: Stdio::null(),
            stderr: Stdio::null(),
            inherit: Vec::new(),
            foreground: false,
        }
    }

    /// Starts the child in a process group of its own, from a thread of its own: a working directory or a program on a
    /// disk that hangs holds up this launch alone. A child that nobody waits for any more is killed as soon as it starts.
    pub async fn spawn(self) -> Result<Child, SpawnError> {
        let runtime = Handle::current();
        let started = threads::run(move || {
            let _runtime = runtime.enter();
            self.spawn_here()
        });
        let mut child = started.await?;
        child.unclaimed.0 = None;
        Ok(child)
    }

    fn spawn_here(self) -> Result<Child, SpawnError> {
        let program = self.program.to_string_lossy().into_owned();
        let failed = |source| SpawnError::Program { program: program.clone(), source };
        let mut command = self.into_command()?;
        command.process_group(0);
        let process = tokio::process::Command::from(command).spawn().map_err(failed)?;
        let id = process.id().and_then(|id| i32::try_from(id).ok());
        let id = id.ok_or_else(|| failed(io::Error::other("the child has no process id")))?;
        let group = Pid::from_raw(id);
        Ok(Child { unclaimed: Unclaimed(Some(group)), process, group, _awaited: Awaited::new(id) })
    }

    /// Replaces this process by the program, in its own process group. Returns only where that failed.
    #[must_use]
    pub fn exec(self) -> SpawnError {
        let program = self.program.to_string_lossy().into_owned();
        match self.into_command() {
            Ok(mut command) => SpawnError::Program { program, source: command.exec() },
            Err(error) => error,
        }
    }

    fn into_command(self) -> Result<Command, SpawnError> {
        // Opened here, so that a missing directory is not mistaken for a missing program.
        let directory = self.directory.map(|path| match File::open(&path) {
            Ok(directory) if directory.metadata().is_ok_and(|it| it.is_dir()) => Ok(directory),
            Ok(_) => Err(SpawnError::Directory { path, source: io::ErrorKind::NotADirectory.into() }),
            Err(source) => Err(SpawnError::Directory { path, source }),
        });
        let child = InChild {
            directory: directory.transpose()?,
            core: process::core_limit(),
            inherit: self.inherit,
            foreground: self.foreground,
        };
        let mut command = Command::new(&self.program);
        command.args(&self.arguments).stdin(self.stdin).stdout(self.stdout).stderr(self.stderr).env_clear();
        for (name, value) in &self.environment {
            command.env(name, OsStr::from_bytes(value.expose()));
        }
        if let Some(arg0) = &self.arg0 {
            command.arg0(arg0);
        }
        // SAFETY: between fork and exec only async-signal-safe calls are allowed, because another thread of the parent may
        // have held any lock, the allocator's among them, when it forked. `prepare` makes system calls through libc and
        // rustix and works on its own stack and on what `InChild` holds since before the fork. It allocates nothing, takes
        // no lock, and its errors are plain numbers.
        unsafe { command.pre_exec(move || child.prepare()) };
        Ok(command)
    }
}

/// What the child needs between fork and exec. Everything here is built before the fork.
struct InChild {
    directory: Option<File>,
    core: Option<rustix::process::Rlimit>,
    inherit: Vec<OwnedFd>,
    foreground: bool,
}

impl InChild {
    fn prepare(&self) -> io::Result<()> {
        if let Some(directory) = &self.directory {
            rustix::process::fchdir(directory)?;
        }
        if self.foreground {
            // SAFETY: getpid has no preconditions.
            take_terminal(unsafe { libc::getpid() });
        }
        Self::reset_signals();
        if let Some(limit) = self.core {
            rustix::process::setrlimit(Resource::Core, limit)?;
        }
        close_on_exec();
        for fd in &self.inherit {
            rustix::io::fcntl_setfd(fd, rustix::io::FdFlags::empty())?;
        }
        Ok(())
    }

    /// A signal that our own parent ignored (nohup) or blocked would stay so in the child; std resets only SIGPIPE.
    fn reset_signals() {
        for signal in 1..=signal_state::LAST {
            signal_state::set_default(signal);
        }
        // SAFETY: the mask is on this stack; both calls are async-signal-safe.
        unsafe {
            let mut none = std::mem::zeroed();
            libc::sigemptyset(&raw mut none);
            libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        }
    }
}

/// Marks every descriptor but the standard streams; not closed outright, for std reports a failed exec through one.
fn close_on_exec() {
    const FIRST: libc::c_uint = 3;
    const CLOSE_RANGE_CLOEXEC: libc::c_uint = 4;
    // SAFETY: the call takes integers and only changes descriptor flags.
    let done = unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, CLOSE_RANGE_CLOEXEC) };
    if done == 0 {
        return;
    }
    // Before Linux 5.11. std and our crates open everything close-on-exec anyway; this catches what our parent left.
    for fd in 3..1024 {
        // SAFETY: as above; a number that is not open is refused.
        unsafe { libc::fcntl(fd as RawFd, libc::F_SETFD, libc::FD_CLOEXEC) };
    }
}

/// A background group that calls tcsetpgrp is stopped by SIGTTOU, unless it is blocked. No terminal: nothing to take.
fn take_terminal(group: libc::pid_t) {
    // SAFETY: all of these are async-signal-safe and work on a mask on this stack. Standard input is named by its number:
    // std's handle for it allocates a buffer and takes a lock when it is first asked for.
    unsafe {
        let mut mask = std::mem::zeroed();
        libc::sigemptyset(&raw mut mask);
        libc::sigaddset(&raw mut mask, libc::SIGTTOU);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const mask, std::ptr::null_mut());
        libc::tcsetpgrp(libc::STDIN_FILENO, group);
        libc::sigprocmask(libc::SIG_UNBLOCK, &raw const mask, std::ptr::null_mut());
    }
}

/// Takes the terminal back from a child that had it, so that its keys reach this process again.
pub fn take_terminal_back() {
    take_terminal(nix::unistd::getpgrp().as_raw());
}

/// Most bytes of `NAME=value` with its terminator: the kernel's `MAX_ARG_STRLEN`, 32 pages.
#[must_use]
pub fn variable_limit() -> usize {
    32 * rustix::param::page_size()
}

/// Most bytes of arguments, variables and the pointers to them that exec takes: a quarter of the stack limit, within the
/// kernel's own bounds.
#[must_use]
pub fn block_limit() -> usize {
    const LOWEST: usize = 128 * 1024;
    const HIGHEST: usize = 6 * 1024 * 1024;
    let stack = rustix::process::getrlimit(Resource::Stack).current;
    let quarter = stack.map_or(HIGHEST, |bytes| usize::try_from(bytes / 4).unwrap_or(HIGHEST));
    quarter.clamp(LOWEST, HIGHEST)
}

#[cfg(test)]
mod tests;
