use std::collections::HashMap;

use protocol::agent_api as wire;

use super::*;
use crate::files;
use crate::ledger::Ledger;
use crate::manifest;
use crate::plan::Plan;
use crate::sys::memory::guard_one;

/// An environment with one variable in each of the layers named.
#[derive(Default)]
struct World {
    start: Vec<(&'static str, &'static str)>,
    template: Vec<(&'static str, &'static str)>,
    secrets: Vec<(&'static str, &'static str)>,
    options: Options,
}

impl World {
    fn build(self) -> Environment {
        let message = wire::Manifest {
            agent_id: vec![1; 16],
            workspace_id: vec![2; 16],
            agent_name: "main".into(),
            workspace_name: "dev".into(),
            owner_username: "alice".into(),
            environment_variables: self
                .template
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into()))
                .collect(),
            secrets: self.secrets.iter().map(|(name, value)| secret(name, value)).collect(),
            ..wire::Manifest::default()
        };
        let (manifest, secrets) = manifest::split(message).unwrap();
        let files = files::apply(Plan::default(), &mut Ledger::new(None).unwrap());
        Environment::build(variables(&self.start), &manifest, secrets, &files, self.options)
    }
}

fn secret(name: &str, value: &str) -> wire::WorkspaceSecret {
    wire::WorkspaceSecret { env_name: name.into(), file_path: String::new(), value: value.into() }
}

fn variables(pairs: &[(&str, &str)]) -> Variables {
    pairs.iter().map(|(name, value)| (name.into(), Secret::from((*value).to_owned()))).collect()
}

fn resolve(environment: &Environment, caller: &Caller) -> HashMap<String, String> {
    let resolved = environment.resolve(caller);
    let len = resolved.variables.len();
    let pairs = resolved.into_variables().into_iter();
    let map: HashMap<_, _> =
        pairs.map(|(name, value)| (name.into_string().unwrap(), value.expose_str().unwrap().to_owned())).collect();
    assert_eq!(map.len(), len, "a name came twice");
    map
}

fn agent() -> Caller {
    Caller::Agent(Vec::new())
}

#[test]
fn of_each_pair_of_layers_the_higher_wins() {
    let git = |environment: World| World {
        options: Options {
            git_ssh_command: Some("ours".into()),
            git_askpass: Some("ours".into()),
            ..environment.options
        },
        ..environment
    };
    let world = World::default;
    let cases: [(&str, World, Caller, &str); 13] = [
        ("CODER", World { start: vec![("CODER", "start")], ..world() }, agent(), "true"),
        ("CODER", World { template: vec![("CODER", "template")], ..world() }, agent(), "template"),
        ("A", World { start: vec![("A", "start")], template: vec![("A", "template")], ..world() }, agent(), "template"),
        ("A", World { start: vec![("A", "start")], secrets: vec![("A", "secret")], ..world() }, agent(), "secret"),
        (
            "A",
            World { template: vec![("A", "template")], secrets: vec![("A", "secret")], ..world() },
            agent(),
            "secret",
        ),
        ("A", World { secrets: vec![("A", "first"), ("A", "second")], ..world() }, agent(), "second"),
        (
            "A",
            World { secrets: vec![("A", "secret")], ..world() },
            Caller::Agent(variables(&[("A", "appended")])),
            "appended",
        ),
        (
            "A",
            World { secrets: vec![("A", "secret")], ..world() },
            Caller::Exec(variables(&[("A", "caller")])),
            "secret",
        ),
        (
            "A",
            World { template: vec![("A", "template")], ..world() },
            Caller::Exec(variables(&[("A", "caller")])),
            "template",
        ),
        ("GIT_SSH_COMMAND", git(World { template: vec![("GIT_SSH_COMMAND", "mine")], ..world() }), agent(), "mine"),
        // Whoever has chosen how git reaches ssh is not overruled by the agent.
        ("GIT_SSH_COMMAND", git(World { start: vec![("GIT_SSH_COMMAND", "mine")], ..world() }), agent(), "mine"),
        ("GIT_SSH_COMMAND", git(world()), Caller::Exec(variables(&[("GIT_SSH_COMMAND", "mine")])), "mine"),
        ("GIT_ASKPASS", git(World { template: vec![("GIT_ASKPASS", "mine")], ..world() }), agent(), "ours"),
    ];
    for (name, world, caller, expected) in cases {
        assert_eq!(resolve(&world.build(), &caller)[name], expected, "{name} for {caller:?}");
    }
}

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
fn the_workspace_is_described() {
    let resolved = resolve(&World::default().build(), &agent());
    let expected = [
        ("CODER", "true"),
        ("CODER_WORKSPACE_NAME", "dev"),
        ("CODER_WORKSPACE_AGENT_NAME", "main"),
        ("CODER_WORKSPACE_OWNER_NAME", "alice"),
        ("CODER_WORKSPACE_ID", "02020202-0202-0202-0202-020202020202"),
        ("CS_DISABLE_GETTING_STARTED_OVERRIDE", "true"),
    ];
    assert_eq!(resolved, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
}

#[test]
fn secrets_are_raw_and_template_values_expanded_by_the_start_environment() {
    let environment = World {
        start: vec![("X", "start"), ("PATH", "/usr/bin")],
        template: vec![("T", "$X ${SECRET}"), ("PATH", "/opt/bin:$PATH"), ("MANPATH", "/opt/man:$MANPATH")],
        secrets: vec![("SECRET", "$X ${X}")],
        ..World::default()
    }
    .build();
    // A caller's own value does not change what a template value means.
    for caller in [agent(), Caller::Exec(variables(&[("X", "caller")])), Caller::Session(variables(&[("X", "caller")]))]
    {
        let resolved = resolve(&environment, &caller);
        assert_eq!(resolved["T"], "start ");
        assert_eq!(resolved["SECRET"], "$X ${X}");
        assert_eq!(resolved["PATH"], "/opt/bin:/usr/bin");
        assert_eq!(resolved["MANPATH"], "/opt/man");
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
fn a_caller_overlays_what_it_inherits_but_a_session_keeps_the_path() {
    let environment = World { start: vec![("PATH", "/image"), ("A", "agent")], ..World::default() }.build();
    let own = || variables(&[("PATH", "/caller"), ("A", "caller")]);
    let exec = resolve(&environment, &Caller::Exec(own()));
    assert_eq!((exec["PATH"].as_str(), exec["A"].as_str()), ("/caller", "caller"));
    let session = resolve(&environment, &Caller::Session(own()));
    assert_eq!((session["PATH"].as_str(), session["A"].as_str()), ("/image", "caller"));
    let without = World::default().build();
    assert_eq!(resolve(&without, &Caller::Session(own()))["PATH"], "/caller");
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
fn the_path_prefix_comes_first_whatever_layer_the_path_is_from() {
    let prefix = || Options { path_prefix: vec!["/ours/a".into(), "/ours/b".into()], ..Options::default() };
    for (start, template, expected) in [
        (vec![("PATH", "/image")], vec![], "/ours/a:/ours/b:/image"),
        (vec![("PATH", "/image")], vec![("PATH", "/t:$PATH")], "/ours/a:/ours/b:/t:/image"),
        (vec![("PATH", "")], vec![], "/ours/a:/ours/b"),
        (vec![], vec![], "/ours/a:/ours/b"),
    ] {
        let environment = World { start, template, options: prefix(), ..World::default() }.build();
        assert_eq!(resolve(&environment, &agent())["PATH"], expected);
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

#[test]
fn a_variable_that_does_not_fit_is_named_and_gives_way_to_a_lower_layer() {
    let options = Options { variable_limit: 20, ..Options::default() };
    let long = "0123456789012345678901234567890";
    let environment = World {
        start: vec![("A", "start")],
        secrets: vec![("A", long), ("B", long), ("FITS", "12345678901234")],
        options,
        ..World::default()
    }
    .build();
    let resolved = environment.resolve(&agent());
    let left_out: Vec<_> =
        resolved.left_out.iter().map(|it| (it.name.to_str().unwrap(), it.origin, it.bytes)).collect();
    // The description of the workspace does not fit into twenty bytes either.
    assert!(left_out.contains(&("A", Origin::Secret, 34)) && left_out.contains(&("B", Origin::Secret, 34)));
    let shown = resolved.left_out.iter().find(|it| it.name == "B").unwrap().to_string();
    assert_eq!(shown, "variable B is left out: it takes 34 bytes and does not fit into 20");
    let resolved = resolve(&environment, &agent());
    assert_eq!((resolved["A"].as_str(), resolved.get("B")), ("start", None));
    assert_eq!(resolved["FITS"], "12345678901234");
}

#[test]
fn when_all_together_do_not_fit_the_largest_of_template_and_secrets_goes() {
    let base = environment_size(&World { start: vec![("BIG", "inherited inherited")], ..World::default() }.build());
    let options = Options { total_limit: base + 40, ..Options::default() };
    let environment = World {
        start: vec![("BIG", "inherited inherited")],
        template: vec![("T", "0123456789")],
        secrets: vec![("S", "0123456789abcdef"), ("U", "1")],
        options,
    }
    .build();
    let resolved = environment.resolve(&agent());
    assert_eq!(resolved.left_out.len(), 1);
    assert_eq!((resolved.left_out[0].name.to_str().unwrap(), resolved.left_out[0].origin), ("S", Origin::Secret));
    assert!(environment_size(&environment) <= base + 40);
}

fn environment_size(environment: &Environment) -> usize {
    let resolved = environment.resolve(&agent());
    resolved.variables.iter().map(|it| it.name.len() + it.value.len() + 2 + size_of::<usize>()).sum()
}

#[test]
fn what_a_caller_sends_that_exec_cannot_carry_is_dropped() {
    let mut own = variables(&[("A=B", "1"), ("", "2"), ("GOOD", "3")]);
    own.push(("NUL".into(), Secret::new(b"a\0b".to_vec())));
    let resolved = resolve(&World::default().build(), &Caller::Exec(own));
    assert_eq!(resolved["GOOD"], "3");
    assert!(["A=B", "", "NUL"].iter().all(|name| !resolved.contains_key(*name)));
}

#[test]
fn origins_tell_what_we_add_from_what_was_there() {
    let environment = World {
        start: vec![("I", "1"), ("BOTH", "1")],
        template: vec![("T", "2"), ("BOTH", "2")],
        secrets: vec![("S", "3")],
        ..World::default()
    }
    .build();
    let resolved = environment.resolve(&Caller::Exec(variables(&[("C", "4")])));
    let origin = |name: &str| resolved.variables.iter().find(|it| it.name == name).unwrap().origin;
    assert_eq!(
        ["I", "BOTH", "T", "S", "C", "CODER"].map(origin),
        [Origin::Inherited, Origin::Template, Origin::Template, Origin::Secret, Origin::Caller, Origin::Agent]
    );
}

#[test]
fn all_secrets_and_the_longer_template_values_are_to_be_masked() {
    let environment = World {
        start: vec![("X", "expanded-expanded")],
        template: vec![("SHORT", "0123456789abcde"), ("LONG", "0123456789abcdef"), ("REF", "$X")],
        secrets: vec![("S", "x")],
        ..World::default()
    }
    .build();
    let values = environment.values_to_mask();
    let shown: Vec<_> = values.iter().map(|(name, value)| (name.as_str(), value.expose_str().unwrap())).collect();
    assert_eq!(shown, [("S", "x"), ("LONG", "0123456789abcdef"), ("REF", "expanded-expanded")]);
}

#[test]
fn without_secrets_there_is_still_what_the_agent_was_started_with() {
    let environment = Environment::without_secrets(variables(&[("A", "1")]), Options::default());
    let resolved = resolve(&environment, &agent());
    assert_eq!((resolved["A"].as_str(), resolved["CODER"].as_str(), resolved.len()), ("1", "true", 3));
}

#[test]
fn nothing_printable_holds_a_value() {
    let environment =
        World { secrets: vec![("S", "hunter2")], start: vec![("A", "hunter2")], ..World::default() }.build();
    let caller = Caller::Exec(variables(&[("C", "hunter2")]));
    let printed = format!("{environment:?} {caller:?} {:?}", environment.resolve(&caller));
    assert!(!printed.contains("hunter2"), "{printed}");
}
