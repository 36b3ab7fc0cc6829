mod callers;
mod limits;

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
