//! Variable names that shells keep for themselves.
//!
//! Exporting such a name prints an error, ends the shell (`OPTIND` in dash), changes the shell (`UID` in zsh changes the
//! user), or has no effect (`RANDOM` in bash). The names were found by trial with bash 5.2, dash 0.5.12, fish 3.6, mksh
//! R59, tcsh 6.24 and zsh 5.9, and completed from their manuals.

use std::fmt;

/// A shell that people log in with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shell {
    /// GNU Bash.
    Bash,
    /// Debian's `/bin/sh`.
    Dash,
    /// The shell of the same name.
    Fish,
    /// mksh, a Korn shell.
    Mksh,
    /// tcsh, and csh.
    Tcsh,
    /// The Z shell.
    Zsh,
}

impl Shell {
    /// Every shell, by name.
    pub const ALL: [Self; 6] = [Self::Bash, Self::Dash, Self::Fish, Self::Mksh, Self::Tcsh, Self::Zsh];

    /// The shells that read POSIX syntax, such as `export A='x'`.
    pub const POSIX: [Self; 4] = [Self::Bash, Self::Dash, Self::Mksh, Self::Zsh];

    /// Whether this shell does not take `name`, in exactly this letter case, as a variable like any other.
    #[must_use]
    pub fn keeps(self, name: &str) -> bool {
        let names: &[&str] = match self {
            Self::Bash => &BASH,
            Self::Dash => &DASH,
            Self::Fish => &FISH,
            Self::Mksh => &MKSH,
            Self::Tcsh => &TCSH,
            Self::Zsh => &ZSH,
        };
        names.binary_search(&name).is_ok() || (self == Self::Fish && name.starts_with("__fish_"))
    }

    /// The shell whose executable has this file name.
    #[must_use]
    pub fn of_executable(name: &str) -> Option<Self> {
        Some(match name {
            "bash" | "rbash" => Self::Bash,
            "dash" => Self::Dash,
            "fish" => Self::Fish,
            "mksh" | "lksh" => Self::Mksh,
            "tcsh" | "csh" => Self::Tcsh,
            "zsh" | "rzsh" => Self::Zsh,
            _ => return None,
        })
    }

    /// Whether this shell ends at once when it is started with this variable. The others at most print an error.
    #[must_use]
    pub fn ends_with(self, name: &str, value: &[u8]) -> bool {
        // dash reads the number into 32 bits.
        let is_number = (1..=9).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
        match self {
            Self::Dash => name == "OPTIND" && !is_number,
            Self::Mksh => MKSH_NUMBERS.contains(&name) && !is_number,
            // A list of colors that ls on BSD reads, in a form of its own.
            Self::Tcsh => name == "LSCOLORS",
            Self::Bash | Self::Fish | Self::Zsh => false,
        }
    }

    /// The shells that keep `name` for themselves.
    pub fn keeping(name: &str) -> impl Iterator<Item = Self> + '_ {
        Self::ALL.into_iter().filter(move |shell| shell.keeps(name))
    }
}

impl fmt::Display for Shell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bash => "bash",
            Self::Dash => "dash",
            Self::Fish => "fish",
            Self::Mksh => "mksh",
            Self::Tcsh => "tcsh",
            Self::Zsh => "zsh",
        })
    }
}

/// What mksh reads as a number when it starts.
const MKSH_NUMBERS: [&str; 7] = ["COLUMNS", "HISTSIZE", "LINENO", "LINES", "OPTIND", "SECONDS", "TMOUT"];

// Each list is in the order of its bytes, for the binary search. Names that no secret may have (`PATH`) are here where
// a template's variable may have them.

const BASH: [&str; 41] = [
    "BASH",
    "BASHOPTS",
    "BASHPID",
    "BASH_ALIASES",
    "BASH_ARGC",
    "BASH_ARGV",
    "BASH_ARGV0",
    "BASH_CMDS",
    "BASH_COMMAND",
    "BASH_COMPAT",
    "BASH_EXECUTION_STRING",
    "BASH_LINENO",
    "BASH_REMATCH",
    "BASH_SOURCE",
    "BASH_SUBSHELL",
    "BASH_VERSINFO",
    "BASH_VERSION",
    "BASH_XTRACEFD",
    "COMP_WORDBREAKS",
    "DIRSTACK",
    "EPOCHREALTIME",
    "EPOCHSECONDS",
    "EUID",
    "FUNCNAME",
    "FUNCNEST",
    "GROUPS",
    "HISTCMD",
    "IFS",
    "LINENO",
    "OPTARG",
    "OPTERR",
    "OPTIND",
    "PIPESTATUS",
    "PPID",
    "RANDOM",
    "SECONDS",
    "SHELLOPTS",
    "SHLVL",
    "SRANDOM",
    "UID",
    "_",
];

const DASH: [&str; 6] = ["IFS", "LINENO", "OPTARG", "OPTIND", "PPID", "_"];

const FISH: [&str; 23] = [
    "CMD_DURATION",
    "COLUMNS",
    "EUID",
    "FISH_VERSION",
    "LINES",
    "PWD",
    "SHLVL",
    "_",
    "argv",
    "fish_bind_mode",
    "fish_function_path",
    "fish_history",
    "fish_kill_signal",
    "fish_killring",
    "fish_pid",
    "fish_user_paths",
    "history",
    "hostname",
    "pipestatus",
    "status",
    "status_generation",
    "umask",
    "version",
];

const MKSH: [&str; 22] = [
    "BASHPID",
    "COLUMNS",
    "EPOCHREALTIME",
    "HISTSIZE",
    "IFS",
    "KSHEGID",
    "KSHGID",
    "KSHUID",
    "KSH_VERSION",
    "LINENO",
    "LINES",
    "OPTARG",
    "OPTIND",
    "PATHSEP",
    "PGRP",
    "PIPESTATUS",
    "PPID",
    "RANDOM",
    "SECONDS",
    "TMOUT",
    "USER_ID",
    "_",
];

const TCSH: [&str; 10] =
    ["GROUP", "HOST", "HOSTTYPE", "LSCOLORS", "MACHTYPE", "OSTYPE", "PWD", "REMOTEHOST", "SHLVL", "VENDOR"];

const ZSH: [&str; 100] = [
    "ARGC",
    "ARGV0",
    "COLUMNS",
    "CPUTYPE",
    "EGID",
    "ERRNO",
    "EUID",
    "FUNCNEST",
    "GID",
    "HISTCHARS",
    "HISTCMD",
    "HISTSIZE",
    "IFS",
    "KEYBOARD_HACK",
    "KEYTIMEOUT",
    "LINENO",
    "LINES",
    "LISTMAX",
    "MACHTYPE",
    "MAILCHECK",
    "OPTARG",
    "OPTIND",
    "OSTYPE",
    "PPID",
    "RANDOM",
    "REPORTMEMORY",
    "REPORTTIME",
    "SAVEHIST",
    "SECONDS",
    "SHLVL",
    "TRY_BLOCK_ERROR",
    "TRY_BLOCK_INTERRUPT",
    "TTY",
    "TTYIDLE",
    "UID",
    "USERNAME",
    "VENDOR",
    "WATCH",
    "ZLE_RPROMPT_INDENT",
    "ZSH_ARGZERO",
    "ZSH_EVAL_CONTEXT",
    "ZSH_EXECUTION_STRING",
    "ZSH_NAME",
    "ZSH_PATCHLEVEL",
    "ZSH_SUBSHELL",
    "ZSH_VERSION",
    "_",
    "aliases",
    "argv",
    "builtins",
    "cdpath",
    "commands",
    "dirstack",
    "dis_aliases",
    "dis_builtins",
    "dis_functions",
    "dis_functions_source",
    "dis_galiases",
    "dis_patchars",
    "dis_reswords",
    "dis_saliases",
    "fignore",
    "fpath",
    "funcfiletrace",
    "funcsourcetrace",
    "funcstack",
    "functions",
    "functions_source",
    "functrace",
    "galiases",
    "histchars",
    "history",
    "historywords",
    "jobdirs",
    "jobstates",
    "jobtexts",
    "keymaps",
    "mailpath",
    "manpath",
    "module_path",
    "modules",
    "nameddirs",
    "options",
    "parameters",
    "patchars",
    "path",
    "pipestatus",
    "psvar",
    "reswords",
    "saliases",
    "signals",
    "status",
    "termcap",
    "terminfo",
    "userdirs",
    "usergroups",
    "watch",
    "widgets",
    "zsh_eval_context",
    "zsh_scheduled_events",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_in_the_order_of_the_search() {
        for names in [&BASH[..], &DASH, &FISH, &MKSH, &TCSH, &ZSH] {
            assert!(names.is_sorted(), "{names:?}");
        }
    }

    #[test]
    fn each_shell_keeps_its_own_names() {
        let keeping = |name| Shell::keeping(name).map(|shell| shell.to_string()).collect::<Vec<_>>().join(" ");
        for (name, expected) in [
            ("UID", "bash zsh"),
            ("OPTIND", "bash dash mksh zsh"),
            ("status", "fish zsh"),
            ("SHLVL", "bash fish tcsh zsh"),
            ("HISTSIZE", "mksh zsh"),
            ("__fish_bin_dir", "fish"),
            ("uid", ""),
            ("API_KEY", ""),
            ("", ""),
        ] {
            assert_eq!(keeping(name), expected, "{name:?}");
        }
    }
    #[test]
    fn a_shell_ends_with_what_is_no_number() {
        for (shell, name, value, expected) in [
            (Shell::Dash, "OPTIND", "", true),
            (Shell::Dash, "OPTIND", "-3", true),
            (Shell::Dash, "OPTIND", "4294967296", true),
            (Shell::Dash, "OPTIND", "3", false),
            (Shell::Dash, "TMOUT", "x", false),
            (Shell::Mksh, "TMOUT", "x", true),
            (Shell::Mksh, "TMOUT", "600", false),
            (Shell::Tcsh, "LSCOLORS", "1", true),
            (Shell::Bash, "OPTIND", "x", false),
        ] {
            assert_eq!(shell.ends_with(name, value.as_bytes()), expected, "{name}={value} in {shell}");
        }
    }

    #[test]
    fn a_shell_is_known_by_its_executable() {
        for (name, expected) in
            [("dash", Some(Shell::Dash)), ("lksh", Some(Shell::Mksh)), ("busybox", None), ("", None)]
        {
            assert_eq!(Shell::of_executable(name), expected, "{name}");
        }
    }
}
