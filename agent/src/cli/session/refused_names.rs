//! Variables that keep a shell from starting, or that make it complain at each start.
//!
//! In a script that is somebody's mistake. In a login shell it locks the user out of the workspace, so a session leaves
//! such a variable out and says so. Found by starting bash 5.2, dash 0.5.12, mksh R59 and tcsh 6.24 with each name that
//! they know.

use std::ffi::OsStr;
use std::path::Path;

/// Shells by the name of their executable, and the names that each reads a number or a setting from.
const REFUSED: [(&[&str], &[&str]); 4] = [
    (&["dash", "sh", "ash"], &["OPTIND"]),
    (&["mksh", "lksh"], &["COLUMNS", "HISTSIZE", "LINENO", "LINES", "OPTIND", "SECONDS", "TMOUT"]),
    (&["bash", "rbash"], &["BASHOPTS", "BASH_COMPAT", "BASH_XTRACEFD", "SHELLOPTS"]),
    (&["tcsh", "csh"], &["LSCOLORS"]),
];

/// Starts the login files of most shells, and half of what people type.
const SH: &str = "/bin/sh";

/// The shell that may not start with a variable of this name: the login shell, or `/bin/sh`.
pub(super) fn refuser<'s>(shell: &'s Path, name: &OsStr) -> Option<&'s Path> {
    let sh = Path::new(SH);
    if refuses(shell, name) {
        return Some(shell);
    }
    let real = std::fs::canonicalize(sh).unwrap_or_else(|_| sh.to_owned());
    refuses(&real, name).then_some(sh)
}

fn refuses(shell: &Path, name: &OsStr) -> bool {
    let shell = shell.file_name().unwrap_or_default();
    let of_shell = REFUSED.iter().filter(|(shells, _)| shells.iter().any(|it| shell == *it));
    of_shell.flat_map(|(_, names)| *names).any(|it| name == *it)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_shell_refuses_its_own() {
        for (shell, name, expected) in [
            ("/bin/dash", "OPTIND", true),
            ("/usr/bin/mksh", "TMOUT", true),
            ("/bin/bash", "OPTIND", false),
            ("/usr/bin/zsh", "OPTIND", false),
            ("/bin/dash", "optind", false),
        ] {
            assert_eq!(refuses(Path::new(shell), OsStr::new(name)), expected, "{name} in {shell}");
        }
    }
}
