//! What TAB offers, through the scripts of the shells.

use std::fs;

use tests::{Env, Fault, Need, Output, Proxy, User, requires};

use super::World;

/// What bash offers for the last of `words`.
fn offered(env: &Env, user: Option<(&User, &str)>, words: &[&str]) -> Vec<String> {
    let script = r#"
        source <(coder completion bash)
        COMP_WORDS=("$@")
        COMP_CWORD=$(($# - 1))
        COMP_TYPE=9
        _clap_complete_coder coder "${!#}" "${COMP_WORDS[COMP_CWORD - 1]}" 2>&1
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let directory = tests::binaries().coder.parent().unwrap().display().to_string();
    let run = env.program("/bin/bash").args(["-c", script, "bash"]).args(words);
    let mut run = run.env("PATH", format!("{directory}:/usr/bin:/bin"));
    if let Some((user, url)) = user {
        run = run.env("CODER_URL", url).env("CODER_SESSION_TOKEN", &user.token);
    }
    let Output { stdout, .. } = run.run().success();
    stdout.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

#[test]
fn names_of_secrets_commands_and_programs_are_offered() {
    let world = World::new();
    world.alice.secret("api-key", &["--env", "API_KEY"]);
    world.alice.secret("tool-config", &["--file", "~/c"]);
    let alice = Some((&world.alice, world.server.url()));
    for command in ["delete", "update", "list", "enable", "disable"] {
        let names = offered(&world.env, alice, &["coder", "secret", command, ""]);
        assert!(names.contains(&"api-key".to_owned()) && names.contains(&"tool-config".to_owned()), "{names:?}");
    }
    assert_eq!(offered(&world.env, alice, &["coder", "secret", "delete", "ap"]), ["api-key"]);
    // A new name is nobody's to offer.
    assert!(!offered(&world.env, alice, &["coder", "secret", "create", ""]).contains(&"api-key".to_owned()));
    assert_eq!(offered(&world.env, None, &["coder", "secret", "imp"]), ["import"]);
    let programs = offered(&world.env, None, &["coder", "exec", "bas"]);
    assert!(programs.contains(&"bash".to_owned()), "{programs:?}");
}

/// Installs the script of `shell` where its users do, and types a line with a TAB into a new shell.
fn completes_the_name_of_a_secret(shell: &'static str, script: &str, startup: Option<(&str, &str)>) {
    let program = format!("/usr/bin/{shell}");
    let needs = [Need::Program("script", "bsdutils"), Need::Program(shell, shell)];
    if !requires(&format!("a_tab_in_{shell}_completes_the_name_of_a_secret"), &needs) {
        return;
    }
    let world = World::new();
    world.alice.secret("api-key", &["--env", "API_KEY", "--description", "the one that TAB names"]);
    let home = world.env.home();
    let script = home.join(script);
    fs::create_dir_all(script.parent().unwrap()).unwrap();
    fs::write(script, world.env.coder(["completion", shell]).run().success().stdout_bytes).unwrap();
    if let Some((file, text)) = startup {
        fs::write(home.join(file), text).unwrap();
    }
    let directory = tests::binaries().coder.parent().unwrap().display().to_string();
    let run = world.env.program("/usr/bin/script").args(["-q", "-e", "-c", &format!("{program} -i"), "/dev/null"]);
    let run = run.env("PATH", format!("{directory}:/usr/bin:/bin")).env("TERM", "dumb");
    let run = run.env("CODER_URL", world.server.url()).env("CODER_SESSION_TOKEN", &world.alice.token);
    let _ = run.stdin("coder secret list ap\t\nexit\n").run().says("the one that TAB names");
}

#[test]
fn a_tab_in_bash_completes_the_name_of_a_secret() {
    let startup = (".bashrc", "source ~/.completions/coder\n");
    completes_the_name_of_a_secret("bash", ".completions/coder", Some(startup));
}

/// The first TAB loads the script, and has to complete as well.
#[test]
fn a_tab_in_zsh_completes_the_name_of_a_secret() {
    let startup = (".zshrc", "fpath=(~/.zfunc $fpath)\nautoload -Uz compinit && compinit -u -D\n");
    completes_the_name_of_a_secret("zsh", ".zfunc/_coder", Some(startup));
}

#[test]
fn a_tab_in_fish_completes_the_name_of_a_secret() {
    completes_the_name_of_a_secret("fish", ".config/fish/completions/coder.fish", None);
}

#[test]
fn a_server_that_is_absent_or_slow_costs_no_patience() {
    let world = World::new();
    world.alice.secret("api-key", &["--env", "API_KEY"]);
    assert_eq!(offered(&world.env, None, &["coder", "secret", "delete", "ap"]), [""; 0]);
    let proxy = Proxy::new(&world.server);
    for fault in [Fault::Answer(500), Fault::Refuse, Fault::Stall] {
        proxy.set(fault);
        assert_eq!(
            offered(&world.env, Some((&world.alice, proxy.url())), &["coder", "secret", "delete", "ap"]),
            [""; 0]
        );
    }
}

#[test]
fn a_variable_of_a_workspace_turns_no_command_into_a_completion() {
    let env = Env::new();
    let out = env.coder(["--version"]).env("_CODER_COMPLETE", "bash").run().success();
    assert!(out.stdout.starts_with("coder "), "{}", out.stdout);
}
