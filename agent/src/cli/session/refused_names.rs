//! Variables that keep the login shell from starting, or that make it complain at each start.
//!
//! The agent leaves out what keeps its own user's shell and `/bin/sh` from starting. A session knows the login shell as it
//! is now, and leaves out as well what makes bash complain: somebody would see that at each login.

use std::ffi::OsStr;
use std::path::Path;

use crate::environment::{Interpreter, Variable};

const BASH_COMPLAINS: [&str; 4] = ["BASHOPTS", "BASH_COMPAT", "BASH_XTRACEFD", "SHELLOPTS"];

/// The path of the shell among `shells` that this variable would end, or make complain.
pub(super) fn refuser<'s>(shells: &'s [Interpreter], variable: &Variable) -> Option<&'s Path> {
    let refuses = |shell: &&Interpreter| refuses(shell, &variable.name, variable.value.expose());
    shells.iter().find(refuses).map(Interpreter::path)
}

fn refuses(shell: &Interpreter, name: &OsStr, value: &[u8]) -> bool {
    let complains = shell.is_bash() && BASH_COMPLAINS.iter().any(|it| name == *it);
    complains || shell.ends_with(name, value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_refuses_its_own() {
        let directory = tempfile::tempdir().unwrap();
        for (shell, name, value, expected) in [
            ("dash", "OPTIND", "x", true),
            ("dash", "OPTIND", "2", false),
            ("mksh", "TMOUT", "x", true),
            ("bash", "OPTIND", "x", false),
            ("bash", "SHELLOPTS", "x", true),
            ("zsh", "OPTIND", "x", false),
            ("dash", "optind", "x", false),
        ] {
            let path = directory.path().join(shell);
            std::fs::write(&path, "").unwrap();
            let shell = Interpreter::at(&path).unwrap();
            assert_eq!(
                refuses(&shell, OsStr::new(name), value.as_bytes()),
                expected,
                "{name}={value} in {}",
                path.display()
            );
        }
    }
}
