//! A text is read by a program with names of its own. `coder env` leaves those out and says so; the reader stays quiet.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use protocol::rules;
use tests::nasty::Seen;
use tests::{Need, World, requires};

/// Names that no shell lists by itself.
const MORE: &str = "ARGV0 BASH_COMPAT BASH_XTRACEFD HISTCMD KSH_VERSION MAILCHECK OPTERR POSIXLY_CORRECT PS4 TMOUT fish_history \
     LS_COLORS LSCOLORS TERMCAP MY_PATH GOPATH USERNAME UID";
/// The last of all, in the order in which variables are printed.
const LAST: &str = "zzz_last";
const VALUE: &str = "not a number: 'quoted'";

/// Each shell, its format, what it runs, and what prints the names of the variables that it has of its own.
const READERS: [(&str, &str, &[&str], &str); 9] = [
    ("/bin/bash", "sh", &["--norc", "-c"], "compgen -v"),
    ("/bin/bash", "bash", &["--norc", "-c"], "compgen -v"),
    ("/usr/bin/dash", "sh", &["-c"], "set | sed 's/=.*//'"),
    ("/usr/bin/dash", "dash", &["-c"], "set | sed 's/=.*//'"),
    ("/bin/mksh", "mksh", &["-c"], "typeset | sed 's/.* //'"),
    ("/usr/bin/zsh", "zsh", &["-f", "-c"], "print -l ${(k)parameters}"),
    ("/bin/mksh", "sh", &["-c"], "typeset | sed 's/.* //'"),
    ("/usr/bin/fish", "fish", &["--no-config", "-c"], "set --names"),
    ("/usr/bin/tcsh", "tcsh", &["-f", "-c"], "set | sed 's/[ \\t].*//'; env | sed 's/=.*//'"),
];

fn needs() -> [Need; 6] {
    ["bash", "dash", "zsh", "mksh", "fish", "tcsh"].map(|shell| Need::Program(shell, shell))
}

/// What each shell does with the text: `$1`, or the first argument, is a file with the text.
fn read(shell: &str) -> &'static str {
    match shell {
        "/usr/bin/fish" => "source $argv[1]; env -0",
        "/usr/bin/tcsh" => "source ~/reader.csh",
        _ => r#"eval "$(cat "$1")"; env -0"#,
    }
}

/// As the documentation says.
const READER_CSH: &str = "set coder_backslash = '\\'\nset coder_newline = '\\\n'\neval \"`cat ~/text`\"\nenv -0\n";

/// The names that all these shells know, as far as a user may choose them.
fn names(env: &tests::Env) -> BTreeSet<String> {
    let mut names: BTreeSet<String> = MORE.split_whitespace().map(str::to_owned).collect();
    for (shell, _, flags, list) in READERS {
        let listed = env.program(shell).args(flags).arg(list).env("HISTFILE", "/dev/null").run().success().stdout;
        names.extend(listed.split_whitespace().map(str::to_owned));
    }
    names.retain(|name| !name.is_empty() && rules::env_name(name).is_ok());
    names
}

#[test]
fn no_name_of_a_shells_own_interrupts_it_or_costs_a_variable() {
    if !requires("no_name_of_a_shells_own_interrupts_it_or_costs_a_variable", &needs()) {
        return;
    }
    let env = tests::Env::new();
    let names = names(&env);
    assert!(names.len() > 150, "{names:?}");
    let mut definition = "owner: alice\nname: dev\nagent:\n  name: main\n  env:\n".to_owned();
    for name in names.iter().map(String::as_str).chain([LAST]) {
        let _ = writeln!(definition, "    \"{name}\": \"{VALUE}\"");
    }
    let world = World::builder().within(env).with(&definition);
    let agent = world.agent().start().listening();
    let _ = agent.coder(["exec", "--wait", "1m", "true"]).run().success();
    for (shell, format, flags, _) in READERS {
        let printed = agent.coder(["env", "--format", format]).run().success();
        let file = world.env.home().join("text");
        std::fs::write(&file, &printed.stdout_bytes).unwrap();
        std::fs::write(world.env.home().join("reader.csh"), READER_CSH).unwrap();
        let read = world.env.program(shell).args(flags).arg(read(shell));
        let read = if shell == "/usr/bin/fish" || shell == "/usr/bin/tcsh" { read } else { read.arg("sh") };
        let read = if shell == "/usr/bin/tcsh" { read } else { read.arg(&file) }.run().success();
        assert_eq!(read.stderr, "", "{shell}");
        let seen = Seen::parse(&read.stdout_bytes);
        assert_eq!(seen.get(LAST).as_deref(), Some(VALUE), "{shell}");
        for name in &names {
            let is_left_out = printed.stderr.contains(&format!("variable {name} is left out: "));
            let is_exact = seen.get(name).as_deref() == Some(VALUE);
            assert!(is_exact || is_left_out, "{name} in {shell} by {format}: {:?}", seen.get(name));
        }
    }
    let printed = agent.coder(["env", "USERNAME", "API_KEY_OF_NOBODY"]).run().exits(1);
    let _ = printed.complains("no variable API_KEY_OF_NOBODY is set");
    let _ = agent
        .coder(["env", "USERNAME"])
        .run()
        .success()
        .complains("variable USERNAME is left out: zsh keeps this name for internal use; --format bash has it");
}

/// tcsh reads 4096 bytes at a time, and takes what is no ASCII at their end for half a character.
#[test]
fn tcsh_gets_every_byte_wherever_it_lies_in_the_text() {
    let test = "tcsh_gets_every_byte_wherever_it_lies_in_the_text";
    if !requires(test, &[Need::Program("tcsh", "tcsh")]) {
        return;
    }
    let world = World::with(tests::DEV);
    let accents = "five \u{e4} ".repeat(2500) + &world.env.canary("accents");
    let create = world.alice.coder(["secret", "create", "accents", "--env", "ACCENTS"]).stdin(&accents);
    let _ = create.run().success();
    let last = world.alice.secret("last", &["--env", LAST]);
    let agent = world.agent().start().listening();
    let printed = agent.coder(["env", "--wait", "1m", "--format", "tcsh"]).reveals().run().success();
    std::fs::write(world.env.home().join("text"), &printed.stdout_bytes).unwrap();
    std::fs::write(world.env.home().join("reader.csh"), READER_CSH).unwrap();
    for locale in ["C", "C.UTF-8"] {
        let reader = world.env.program("/usr/bin/tcsh").args(["-f", "-c", read("/usr/bin/tcsh")]);
        let seen = Seen::parse(&reader.env("LC_ALL", locale).reveals().run().success().stdout_bytes);
        assert_eq!(seen.get(LAST).as_deref(), Some(last.as_str()), "{locale}");
        assert!(seen.get("ACCENTS").as_deref() == Some(accents.as_str()), "{locale}");
    }
}
