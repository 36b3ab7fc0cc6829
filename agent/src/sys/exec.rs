//! Becoming another program, as `env` does: everything but the environment stays what it was.
//!
//! [`super::spawn`] gives a child a fresh start; here open descriptors, ignored signals (`nohup`), limits and the process
//! group are the caller's business.
#![expect(unsafe_code, reason = "the action of a signal has no safe interface")]

use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::libc;
use nix::unistd::execve;
use protocol::secret::Secret;

use super::spawn::SpawnError;

/// Where programs are looked for without a `PATH`, as in libc.
const DEFAULT_PATH: &str = "/bin:/usr/bin";
/// Runs what has no format of its own.
const SHELL: &str = "/bin/sh";

/// Replaces this process by `program`, resolved by the `PATH` of `environment` unless it has a slash. Returns only where
/// that failed.
#[must_use]
pub fn replace(program: &OsStr, arguments: &[OsString], environment: &[(OsString, Secret)]) -> SpawnError {
    replace_as(program, program, arguments, environment)
}

/// As [`replace`]; the program is told that its name is `name`, by which a shell knows that it is a login shell.
#[must_use]
pub fn replace_as(
    program: &OsStr,
    name: &OsStr,
    arguments: &[OsString],
    environment: &[(OsString, Secret)],
) -> SpawnError {
    let done = block(environment).and_then(|block| try_all(program, name, arguments, environment, &block));
    match done {
        Ok(never) => match never {},
        Err(source) => SpawnError::Program { program: program.to_string_lossy().into_owned(), source },
    }
}

fn try_all(
    program: &OsStr,
    name: &OsStr,
    arguments: &[OsString],
    environment: &[(OsString, Secret)],
    block: &[CString],
) -> io::Result<Infallible> {
    let mut argv = vec![c_string(name)?];
    for argument in arguments {
        argv.push(c_string(argument)?);
    }
    restore_sigpipe();
    let mut failure = Errno::ENOENT;
    for path in candidates(program, environment) {
        let path = c_string(path.as_os_str())?;
        match run(&path, &argv, block) {
            Errno::ENOENT | Errno::ENOTDIR => {}
            // Another directory may have one that can be run; if none has, this is the reason.
            Errno::EACCES => failure = Errno::EACCES,
            other => return Err(other.into()),
        }
    }
    Err(failure.into())
}

fn run(path: &CString, argv: &[CString], block: &[CString]) -> Errno {
    let Err(failure) = execve(path, argv, block);
    if failure != Errno::ENOEXEC {
        return failure;
    }
    // A script without a first line that names its interpreter, which every shell runs.
    let rest = argv.get(1..).unwrap_or_default().iter();
    let Ok(shell) = CString::new(SHELL) else { return failure };
    let argv: Vec<&CString> = [&shell, path].into_iter().chain(rest).collect();
    let Err(failure) = execve(&shell, &argv, block);
    failure
}

fn candidates(program: &OsStr, environment: &[(OsString, Secret)]) -> Vec<PathBuf> {
    if program.as_bytes().contains(&b'/') {
        return vec![program.into()];
    }
    if program.is_empty() {
        return Vec::new();
    }
    let path = environment.iter().find(|(name, _)| name == "PATH").map(|(_, value)| value.expose());
    let directories = path.unwrap_or(DEFAULT_PATH.as_bytes()).split(|byte| *byte == b':');
    // An empty element means the current directory.
    directories.map(|directory| Path::new(OsStr::from_bytes(directory)).join(program)).collect()
}

fn block(environment: &[(OsString, Secret)]) -> io::Result<Vec<CString>> {
    environment.iter().map(|(name, value)| line(name.as_bytes(), value.expose())).collect()
}

fn line(name: &[u8], value: &[u8]) -> io::Result<CString> {
    // With a place for the end, or each would be moved once more.
    let mut line = Vec::with_capacity(name.len() + "=".len() + value.len() + 1);
    for part in [name, b"=", value] {
        line.extend_from_slice(part);
    }
    Ok(CString::new(line)?)
}

fn c_string(text: &OsStr) -> io::Result<CString> {
    Ok(CString::new(text.as_bytes())?)
}

/// The runtime of Rust ignores it, and what is ignored stays so in the new program.
fn restore_sigpipe() {
    // SAFETY: setting the default action touches no memory of ours.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::process::tests::alone;

    fn path(value: &str) -> Vec<(OsString, Secret)> {
        vec![("PATH".into(), value.to_owned().into())]
    }

    #[test]
    fn a_program_is_looked_for_where_its_own_path_says() {
        for (program, environment, expected) in [
            ("/x/y", path("/a"), &["/x/y"][..]),
            ("./y", path("/a"), &["./y"]),
            ("y", path("/a:/b"), &["/a/y", "/b/y"]),
            ("y", path("/a::/b"), &["/a/y", "y", "/b/y"]),
            ("y", Vec::new(), &["/bin/y", "/usr/bin/y"]),
            ("", path("/a"), &[]),
        ] {
            let expected: Vec<PathBuf> = expected.iter().map(PathBuf::from).collect();
            assert_eq!(candidates(program.as_ref(), &environment), expected, "{program:?}");
        }
    }

    #[test]
    fn what_cannot_be_run_is_told_with_the_code_of_a_shell() {
        // What it changes for the program stays, also where there is none.
        alone(|| {
            for (program, code) in
                [("no-such-program", 127), ("/no/such/program", 127), ("/etc/passwd", 126), ("/etc", 126), ("", 127)]
            {
                let error = replace(program.as_ref(), &[], &path("/usr/bin:/bin"));
                assert_eq!(error.exit_code(), code, "{error:?}");
            }
            assert_eq!(replace("true\0".as_ref(), &[], &path("/usr/bin:/bin")).exit_code(), 126);
        });
    }
}
