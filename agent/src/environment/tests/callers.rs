//! What each caller brings, inherits and may override.

use super::*;

#[test]
fn the_other_variable_for_gits_ssh_counts_as_a_choice_too() {
    let options = || Options { git_ssh_command: Some("ours".into()), ..Options::default() };
    let with = |start, template| World { start, template, options: options(), ..World::default() }.build();
    let mine = || vec![("GIT_SSH", "mine")];
    let none = Vec::new;
    assert_eq!(resolve(&with(none(), none()), &agent())["GIT_SSH_COMMAND"], "ours");
    for caller in [Caller::Exec, Caller::Session] {
        // A process that the agent started passes the agent's on.
        let passed = || caller(variables(&[("GIT_SSH_COMMAND", "ours")]));
        assert_eq!(resolve(&with(none(), none()), &passed())["GIT_SSH_COMMAND"], "ours");
        for environment in [with(mine(), none()), with(none(), mine())] {
            assert!(!resolve(&environment, &agent()).contains_key("GIT_SSH_COMMAND"));
            assert!(!resolve(&environment, &passed()).contains_key("GIT_SSH_COMMAND"));
        }
        assert!(!resolve(&with(none(), none()), &caller(variables(&mine()))).contains_key("GIT_SSH_COMMAND"));
    }
}

#[test]
fn the_first_occurrence_of_a_name_counts() {
    let environment = World { start: vec![("A", "1"), ("A", "2")], ..World::default() }.build();
    assert_eq!(resolve(&environment, &agent())["A"], "1");
    assert_eq!(resolve(&environment, &Caller::Exec(variables(&[("A", "3"), ("A", "4")])))["A"], "3");
}

#[test]
fn others_do_not_inherit_what_belongs_to_the_process_of_the_agent() {
    let own = [
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "PWD",
        "TERM",
        "SSH_AUTH_SOCK",
        "SSH_X",
        "NOTIFY_SOCKET",
        "WATCHDOG_USEC",
        "WATCHDOG_PID",
        "LISTEN_FDS",
        "LISTEN_PID",
        "CREDENTIALS_DIRECTORY",
        "RUNTIME_DIRECTORY",
        "STATE_DIRECTORY",
        "INVOCATION_ID",
        "SYSTEMD_EXEC_PID",
        "JOURNAL_STREAM",
    ];
    let start = own.map(|name| (name, "agent")).into_iter().chain([("IMAGE", "env"), ("HOMES", "kept")]).collect();
    let environment = World { start, ..World::default() }.build();
    for caller in [Caller::Exec(Vec::new()), Caller::Session(Vec::new())] {
        let resolved = resolve(&environment, &caller);
        assert_eq!((resolved["IMAGE"].as_str(), resolved["HOMES"].as_str()), ("env", "kept"));
        assert!(own.iter().all(|name| !resolved.contains_key(*name)), "{resolved:?}");
    }
    let started = resolve(&environment, &agent());
    let between_manager_and_agent = ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "CREDENTIALS_DIRECTORY"];
    for name in own {
        let expected = (!between_manager_and_agent.contains(&name)).then_some("agent");
        assert_eq!(started.get(name).map(String::as_str), expected, "{name}");
    }
    let caller = own.map(|name| (name, "caller"));
    assert!(own.iter().all(|name| resolve(&environment, &Caller::Exec(variables(&caller)))[*name] == "caller"));
}

#[test]
fn a_caller_overlays_what_it_inherits_and_a_session_joins_the_paths() {
    let environment = World { start: vec![("PATH", "/image"), ("A", "agent")], ..World::default() }.build();
    let own = || variables(&[("PATH", "/caller"), ("A", "caller")]);
    let exec = resolve(&environment, &Caller::Exec(own()));
    assert_eq!((exec["PATH"].as_str(), exec["A"].as_str()), ("/caller", "caller"));
    let session = resolve(&environment, &Caller::Session(own()));
    assert_eq!((session["PATH"].as_str(), session["A"].as_str()), ("/image:/caller", "caller"));
    let without = World::default().build();
    assert_eq!(resolve(&without, &Caller::Session(own()))["PATH"], "/caller");
    let start = vec![("PATH", "/usr/local/bin:/usr/bin")];
    let machine = World { start, template: vec![("PATH", "/opt/tools:$PATH")], ..World::default() }.build();
    let session = |own| resolve(&machine, &Caller::Session(variables(&[("PATH", own)])))["PATH"].clone();
    assert_eq!(session("/opt/corp:/usr/bin"), "/opt/tools:/opt/corp:/usr/bin");
    assert_eq!(session("/opt/corp:/opt/tools:/usr/bin"), "/opt/tools:/opt/corp:/usr/bin");
    assert_eq!(resolve(&machine, &Caller::Exec(own()))["PATH"], "/opt/tools:/usr/local/bin:/usr/bin");
}

#[test]
fn every_process_knows_how_it_was_started_and_nobody_can_say_otherwise() {
    let world = World { template: vec![("CODER_LAUNCH", "template")], ..World::default() }.build();
    let own = || variables(&[("CODER_LAUNCH", "caller")]);
    for (caller, expected) in [
        (Caller::Agent(Launched::Script, own()), "script"),
        (Caller::Agent(Launched::Main, own()), "main"),
        (Caller::Agent(Launched::Scheduled, own()), "scheduled"),
        (Caller::Exec(own()), "exec"),
        (Caller::Session(own()), "session"),
    ] {
        assert_eq!(resolve(&world, &caller)["CODER_LAUNCH"], expected);
    }
}

#[test]
fn the_clients_end_of_a_session_wins_over_the_template() {
    let names = ["SSH_CONNECTION", "TERM", "LANG", "LC_ALL"];
    let environment = World { template: names.map(|name| (name, "template")).into(), ..World::default() }.build();
    let own = || variables(&names.map(|name| (name, "client")));
    let session = resolve(&environment, &Caller::Session(own()));
    assert!(names.iter().all(|name| session[*name] == "client"));
    let exec = resolve(&environment, &Caller::Exec(own()));
    assert!(names.iter().all(|name| exec[*name] == "template"));
}

#[test]
fn the_token_of_the_agent_is_passed_only_when_told() {
    let environment = |agent_token| {
        let options = Options { agent_token, ..Options::default() };
        let start = vec![("CODER_AGENT_TOKEN", "start")];
        World { start, template: vec![("T", "<$CODER_AGENT_TOKEN>")], options, ..World::default() }.build()
    };
    let callers =
        || [agent(), Caller::Exec(variables(&[(TOKEN, "caller")])), Caller::Session(variables(&[(TOKEN, "caller")]))];
    for caller in callers() {
        let resolved = resolve(&environment(None), &caller);
        assert_eq!((resolved.get(TOKEN), resolved["T"].as_str()), (None, "<>"));
        let resolved = resolve(&environment(Some(guard_one(Secret::from("told".to_owned())).unwrap())), &caller);
        assert_eq!((resolved[TOKEN].as_str(), resolved["T"].as_str()), ("told", "<told>"));
    }
}

#[test]
fn the_account_fills_in_what_nobody_sets() {
    let account =
        Account { uid: 1, gid: 1, name: "alice".into(), home: "/home/alice".into(), shell: "/bin/zsh".into() };
    let options = Options { account: Some(account), ..Options::default() };
    let environment = World { start: vec![("HOME", "/elsewhere")], options, ..World::default() }.build();
    let names = |caller| ["HOME", "USER", "LOGNAME", "SHELL"].map(|name| resolve(&environment, &caller)[name].clone());
    assert_eq!(names(agent()), ["/elsewhere", "alice", "alice", "/bin/zsh"]);
    assert_eq!(names(Caller::Exec(Vec::new())), ["/home/alice", "alice", "alice", "/bin/zsh"]);
    assert_eq!(
        names(Caller::Session(variables(&[("HOME", "/sshd"), ("SHELL", "/bin/sh")]))),
        ["/sshd", "alice", "alice", "/bin/sh"]
    );
}
