//! Whatever the login shell, a login has what plain sshd and su give it, and ours.

use std::fmt::Write as _;

use protocol::rules::Shell;
use tests::nasty::{self, NASTY, Seen};

use super::machine::{Machine, SHELLS, With, is_for_scripts};

/// What differs from one login to the next.
const OF_THIS_LOGIN: [&str; 7] = ["SSH_CLIENT", "SSH_CONNECTION", "SSH_TTY", "SSH_USER_AUTH", "PATH", "_", "SHLVL"];
/// What a session takes over from the start of the agent, in these tests.
const OF_THE_AGENT: &str = "TMPDIR TZ LANG SSH_USER_AUTH";
/// Names that shells keep for themselves, and a few that change what a shell does.
const NAMES: &str = "ARGC BASHOPTS BASHPID BASH_COMPAT BASH_VERSINFO BASH_XTRACEFD COLUMNS DIRSTACK EGID EPOCHSECONDS ERRNO EUID \
     FUNCNAME FUNCNEST GID GROUP GROUPS HISTCMD HISTSIZE HOST HOSTTYPE KEYTIMEOUT KSHUID LINENO LINES LSCOLORS MACHTYPE MAILCHECK \
     OPTARG OPTERR OPTIND OSTYPE PGRP PIPESTATUS PPID RANDOM SAVEHIST SECONDS SHELLOPTS SRANDOM TMOUT TTYIDLE UID \
     USERNAME USER_ID VENDOR WATCH aliases argv commands fish_pid functions history hostname options path pipestatus \
     status umask version ZZZ_LAST";

/// A template that sets all of these, and puts a directory in front of `PATH`.
pub(super) fn definition() -> String {
    let mut text = "owner: alice\nname: dev\nagent:\n  name: main\n  env:\n".to_owned();
    for name in NAMES.split_whitespace() {
        let _ = writeln!(text, "    {name}: of the template, not a number");
    }
    text + "env: [{ name: PATH, value: /opt/tools/bin, merge_strategy: prepend }]\n"
}

/// Exactly the nasty values, the names of the template as far as this shell takes them, and what plain OpenSSH gives.
fn compare(way: &str, shell: &str, ours: &Seen, plain: &Seen) {
    let surroundings = [&plain.names(), NAMES, OF_THE_AGENT].join(" ");
    ours.is_exactly(way, &NASTY, &surroundings);
    for name in plain.names().split(' ').filter(|name| !OF_THIS_LOGIN.contains(name)) {
        let is_of_template = NAMES.split_whitespace().any(|it| it == name);
        assert!(is_of_template || ours.get(name) == plain.get(name), "{name} in {way}: {:?}", ours.get(name));
    }
    let path = ours.get("PATH").unwrap_or_default();
    let expected = format!("/opt/tools/bin:{}", plain.get("PATH").unwrap_or_default());
    let front = path.strip_suffix(&expected).unwrap_or_else(|| panic!("PATH in {way} is {path}, and not {expected}"));
    assert!(is_for_scripts(front), "PATH in {way} is {path}");
    let keeps = |name: &&str| Shell::ALL.into_iter().any(|it| shell.ends_with(&it.to_string()) && it.keeps(name));
    for name in NAMES.split_whitespace().filter(|name| !keeps(name) && !["LSCOLORS", "OPTIND"].contains(name)) {
        assert_eq!(ours.get(name).as_deref(), Some("of the template, not a number"), "{name} in {way}");
    }
}

#[test]
fn every_login_shell_sees_what_plain_sshd_and_su_give_it_and_ours() {
    let Some(machine) = Machine::new("every_login_shell_sees_what_plain_sshd_and_su_give_it_and_ours", &definition())
    else {
        return;
    };
    nasty::store(&machine.world.alice);
    let _agent = machine.world.agent();
    // Or zsh would ask a person to configure it.
    machine.world.account.write(".zshrc", "");
    for shell in SHELLS {
        machine.chsh(shell);
        let ways: [(&str, &dyn Fn(With) -> tests::Run); 3] = [
            ("a login shell over SSH", &|with| machine.ssh(with, ["-T", "h"]).stdin("env -0 > ~/seen\n")),
            ("a command over SSH", &|with| machine.ssh(with, ["h", "env -0 > ~/seen"])),
            ("su -", &|with| machine.su(with).stdin("env -0 > ~/seen\n")),
        ];
        for (way, run) in ways {
            let way = format!("{way} with {shell}");
            let plain = machine.seen(run(With::OpenSshAlone));
            compare(&way, shell, &machine.seen(run(With::Us)), &plain);
        }
    }
}
