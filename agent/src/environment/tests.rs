mod callers;
mod limits;

use std::collections::HashMap;

use protocol::agent_api as wire;

use super::*;
use crate::files;
use crate::files::disk::Disk;
use crate::ledger::Ledger;
use crate::manifest;
use crate::plan::{Plan, Policy};
use crate::sys::memory::guard_one;

/// An environment with one variable in each of the layers named.
#[derive(Default)]
struct World {
    start: Vec<(&'static str, &'static str)>,
    template: Vec<(&'static str, &'static str)>,
    /// Which variables of the template are marked as sensitive, or not.
    marks: Vec<(&'static str, bool)>,
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
            variable_sensitivity: self.marks.iter().map(|(name, mark)| ((*name).into(), *mark)).collect(),
            secrets: self.secrets.iter().map(|(name, value)| secret(name, value)).collect(),
            ..wire::Manifest::default()
        };
        let (manifest, secrets) = manifest::split(message).unwrap();
        let mut ledger = Ledger::new(None).unwrap();
        let plan = Plan::new(secrets, &Disk, &Policy::default(), &ledger);
        let files = files::apply(plan, &mut ledger);
        Environment::build(variables(&self.start), &manifest, files, self.options).0
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
    Caller::Agent(Launched::Script, Vec::new())
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
            Caller::Agent(Launched::Script, variables(&[("A", "appended")])),
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
fn the_workspace_is_described() {
    let resolved = resolve(&World::default().build(), &agent());
    let expected = [
        ("CODER", "true"),
        ("CODER_WORKSPACE_NAME", "dev"),
        ("CODER_WORKSPACE_AGENT_NAME", "main"),
        ("CODER_WORKSPACE_OWNER_NAME", "alice"),
        ("CODER_WORKSPACE_ID", "02020202-0202-0202-0202-020202020202"),
        ("CS_DISABLE_GETTING_STARTED_OVERRIDE", "true"),
        ("CODER_LAUNCH", "script"),
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
fn the_path_prefix_comes_first_whatever_layer_the_path_is_from() {
    let prefix = || Options { path_prefix: vec!["/ours/a".into(), "/ours/b".into()], ..Options::default() };
    for (start, template, expected) in [
        (vec![("PATH", "/image")], vec![], "/ours/a:/ours/b:/image"),
        (vec![("PATH", "/image")], vec![("PATH", "/t:$PATH")], "/ours/a:/ours/b:/t:/image"),
        // Alone, the prefix would hide every program.
        (vec![("PATH", "")], vec![], "/ours/a:/ours/b:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        (vec![], vec![], "/ours/a:/ours/b:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
        (
            vec![],
            vec![("PATH", "/t:$PATH")],
            "/ours/a:/ours/b:/t:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        ),
    ] {
        let environment = World { start, template, options: prefix(), ..World::default() }.build();
        assert_eq!(resolve(&environment, &agent())["PATH"], expected);
    }
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
fn an_absent_list_is_extended_from_its_default() {
    let lists = vec![("XDG_DATA_DIRS", "/opt/share:$XDG_DATA_DIRS"), ("XDG_CONFIG_DIRS", "$XDG_CONFIG_DIRS:/opt/etc")];
    let resolved = resolve(&World { template: lists, ..World::default() }.build(), &agent());
    assert_eq!(resolved["XDG_DATA_DIRS"], "/opt/share:/usr/local/share:/usr/share");
    assert_eq!(resolved["XDG_CONFIG_DIRS"], "/etc/xdg:/opt/etc");
    // Without a prefix there is nothing to extend, and nothing is made up.
    assert!(!resolved.contains_key("PATH"));
}

#[test]
fn a_reference_means_what_the_launch_inherits_its_account_included() {
    let account =
        Account { uid: 1, gid: 1, name: "alice".into(), home: "/home/alice".into(), shell: "/bin/zsh".into() };
    let build = |start| {
        let options = Options { account: Some(account.clone()), ..Options::default() };
        let template = vec![("GOPATH", "$HOME/go"), ("WHO", "$USER by $SHELL"), ("T", "$TERM")];
        World { start, template, options, ..World::default() }.build()
    };
    let bare = build(vec![]);
    let resolved = resolve(&bare, &agent());
    assert_eq!((resolved["GOPATH"].as_str(), resolved["WHO"].as_str()), ("/home/alice/go", "alice by /bin/zsh"));
    let resolved = resolve(&build(vec![("HOME", "/h")]), &agent());
    assert_eq!((resolved["HOME"].as_str(), resolved["GOPATH"].as_str()), ("/h", "/h/go"));
    // The home and the terminal of a session are the session's.
    let own = variables(&[("HOME", "/session"), ("TERM", "xterm")]);
    let resolved = resolve(&build(vec![("HOME", "/h"), ("TERM", "dumb")]), &Caller::Session(own));
    assert_eq!((resolved["GOPATH"].as_str(), resolved["T"].as_str()), ("/session/go", "xterm"));
}

#[test]
fn a_sensitive_value_is_passed_on_byte_for_byte() {
    let environment = World {
        start: vec![("word", "x")],
        template: vec![("A", "pa$word"), ("B", "pa$word"), ("C", "pa$word")],
        marks: vec![("A", true), ("B", false)],
        ..World::default()
    };
    let resolved = resolve(&environment.build(), &agent());
    assert_eq!(["A", "B", "C"].map(|name| resolved[name].as_str()), ["pa$word", "pax", "pax"]);
}

#[test]
fn all_secrets_and_what_may_be_a_token_in_the_template_are_to_be_masked() {
    let environment = World {
        start: vec![("X", "expanded-expanded")],
        template: vec![
            ("LONG", "0123456789abcdef"),
            ("PATHS", "/opt/tools/bin:/opt/other/bin"),
            ("PLAIN", "0123456789abcdef-plain"),
            ("REF", "$X/tools-directory"),
            ("SENSITIVE", "/a/$path"),
            ("SHORT", "0123456789abcde"),
        ],
        marks: vec![("PLAIN", false), ("SENSITIVE", true)],
        secrets: vec![("S", "x")],
        ..World::default()
    }
    .build();
    let values = environment.values_to_mask();
    let shown: Vec<_> = values.iter().map(|(name, value)| (name.as_str(), value.expose_str().unwrap())).collect();
    assert_eq!(shown, [("S", "x"), ("LONG", "0123456789abcdef"), ("SENSITIVE", "/a/$path")]);
}

#[test]
fn without_secrets_there_is_still_what_the_agent_was_started_with() {
    let environment = Environment::without_secrets(variables(&[("A", "1")]), Options::default());
    let resolved = resolve(&environment, &agent());
    assert_eq!((resolved["A"].as_str(), resolved["CODER"].as_str(), resolved.len()), ("1", "true", 4));
}

#[test]
fn nothing_printable_holds_a_value() {
    let environment =
        World { secrets: vec![("S", "hunter2")], start: vec![("A", "hunter2")], ..World::default() }.build();
    let caller = Caller::Exec(variables(&[("C", "hunter2")]));
    let printed = format!("{environment:?} {caller:?} {:?}", environment.resolve(&caller));
    assert!(!printed.contains("hunter2"), "{printed}");
}
