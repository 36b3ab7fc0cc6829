//! What does not fit into an environment.

use protocol::rules::Shell;

use super::*;

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
    // The description of the workspace does not fit into twenty bytes either.
    for name in ["A", "B"] {
        let reason = Reason::TooLarge { bytes: 34, limit: 20 };
        assert!(resolved.left_out.contains(&LeftOut { name: name.into(), origin: Origin::Secret, reason }), "{name}");
    }
    let shown = resolved.left_out.iter().find(|it| it.name == "B").unwrap().to_string();
    assert_eq!(shown, "variable B is left out: it takes 34 bytes and does not fit into 20");
    let resolved = resolve(&environment, &agent());
    assert_eq!((resolved["A"].as_str(), resolved.get("B")), ("start", None));
    assert_eq!(resolved["FITS"], "12345678901234");
}

#[test]
fn a_later_occurrence_of_a_name_that_does_not_fit_changes_nothing() {
    let options = Options { variable_limit: 20, ..Options::default() };
    let long = "0123456789012345678901234567890";
    let environment = World { start: vec![("A", "first"), ("A", long)], options, ..World::default() }.build();
    assert_eq!(resolve(&environment, &agent())["A"], "first");
    assert!(environment.resolve(&agent()).left_out.iter().all(|it| it.name != "A"));
}

#[test]
fn when_all_together_do_not_fit_the_largest_of_template_and_secrets_goes() {
    let base = environment_size(&World { start: vec![("BIG", "inherited inherited")], ..World::default() }.build());
    let options = Options { total_limit: base + 40, ..Options::default() };
    let environment = World {
        start: vec![("BIG", "inherited inherited")],
        template: vec![("T", "0123456789")],
        marks: vec![],
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
fn what_ends_a_shell_of_the_workspace_is_left_out_of_every_launch() {
    let shells = vec![Interpreter::named("/bin/sh", Shell::Dash), Interpreter::named("/bin/mksh", Shell::Mksh)];
    let options = Options { shells, ..Options::default() };
    let environment = World {
        start: vec![("OPTIND", "of the machine")],
        template: vec![("TMOUT", "600"), ("LINES", "many")],
        secrets: vec![("OPTIND", "secret"), ("HISTSIZE", "secret")],
        options,
        ..World::default()
    }
    .build();
    for caller in [agent(), Caller::Exec(Vec::new()), Caller::Session(Vec::new())] {
        let told: Vec<_> = environment.resolve(&caller).left_out.iter().map(ToString::to_string).collect();
        let expected = [("LINES", "/bin/mksh"), ("OPTIND", "/bin/sh"), ("HISTSIZE", "/bin/mksh")]
            .map(|(name, shell)| format!("variable {name} is left out: {shell} does not start with this value of it"));
        assert_eq!(told, expected);
        let resolved = resolve(&environment, &caller);
        assert_eq!((resolved["TMOUT"].as_str(), resolved["OPTIND"].as_str()), ("600", "of the machine"));
    }
    let own = Caller::Exec(variables(&[("LINES", "the caller's own")]));
    assert_eq!(resolve(&environment, &own)["LINES"], "the caller's own");
}
