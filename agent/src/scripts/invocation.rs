use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use crate::sys::memory;

/// The kernel takes 128 KiB as one argument; what comes near it travels in a file instead.
const MAX_ARGUMENT: usize = 100 * 1024;

/// How the text of a script becomes a program.
#[derive(Debug)]
pub(super) struct Invocation {
    pub(super) program: OsString,
    pub(super) arguments: Vec<OsString>,
    /// The script itself, where it is not an argument.
    pub(super) inherit: Vec<OwnedFd>,
}

impl Invocation {
    /// The user's shell with `-c`, unless the script names an interpreter.
    ///
    /// That one gets the script as a file: with `-c` perl and node would only check the syntax, and awk and sed have
    /// no such option.
    pub(super) fn of(script: &str, shell: &Path) -> io::Result<Self> {
        let shell = shell.as_os_str().to_owned();
        match shebang(script) {
            Some((interpreter, argument)) => {
                let first: Vec<_> = argument.map(OsString::from).into_iter().collect();
                Self::with_file(interpreter.into(), first, script.trim_start())
            }
            None if script.len() > MAX_ARGUMENT => Self::with_file(shell, Vec::new(), script),
            None => Ok(Self { program: shell, arguments: vec!["-c".into(), script.into()], inherit: Vec::new() }),
        }
    }

    fn with_file(program: OsString, mut arguments: Vec<OsString>, script: &str) -> io::Result<Self> {
        let file = memory::sealed_file("script", script.as_bytes())?;
        // The number stays the same in the child. A path under /proc works for every interpreter, and needs no
        // permission to execute the file, which the kernel may be told to refuse for memory.
        arguments.push(format!("/proc/self/fd/{}", file.as_raw_fd()).into());
        Ok(Self { program, arguments, inherit: vec![file] })
    }
}

/// Interpreter and the rest of the line, which is one argument, as the kernel reads it. A template's heredoc often starts
/// with an empty line; that must not hide the interpreter.
fn shebang(script: &str) -> Option<(&str, Option<&str>)> {
    let line = script.trim_start().strip_prefix("#!")?.lines().next()?.trim();
    let (interpreter, argument) = line.split_once([' ', '\t']).unwrap_or((line, ""));
    let argument = argument.trim();
    (!interpreter.is_empty()).then_some((interpreter, (!argument.is_empty()).then_some(argument)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interpreter_is_read_as_the_kernel_reads_it() {
        for (script, expected) in [
            ("#!/bin/sh\necho", Some(("/bin/sh", None))),
            ("\n  #! /usr/bin/env  -S python3 -u \necho", Some(("/usr/bin/env", Some("-S python3 -u")))),
            ("#!/usr/bin/perl\t-w\r\n", Some(("/usr/bin/perl", Some("-w")))),
            ("#!\necho", None),
            ("# !/bin/sh", None),
            ("echo '#!/bin/sh'", None),
            ("", None),
        ] {
            assert_eq!(shebang(script), expected, "{script:?}");
        }
    }

    #[test]
    fn a_short_script_is_an_argument_and_a_long_one_a_file() {
        let short = Invocation::of("echo hi", Path::new("/bin/zsh")).unwrap();
        assert_eq!((short.program, short.arguments), ("/bin/zsh".into(), vec!["-c".into(), "echo hi".into()]));
        let long = Invocation::of(&"#\n".repeat(MAX_ARGUMENT), Path::new("/bin/zsh")).unwrap();
        assert_eq!(long.program, "/bin/zsh");
        assert_eq!(std::fs::read(&long.arguments[0]).unwrap().len(), 2 * MAX_ARGUMENT);
    }
}
