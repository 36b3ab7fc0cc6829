//! From any starting tree a plan reaches the wanted state, and then there is nothing left to plan.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;

use proptest::prelude::*;

use super::*;

pub(super) const NAMES: [&str; 5] = ["a", "b", "c/x", "c/y", "d/e/z"];

/// How something comes to be at a name.
#[derive(Clone, Debug)]
pub(super) enum Start {
    Missing,
    File(String, u32),
    Link(usize),
    HardLink(usize),
    Directory,
    Dangling,
}

pub(super) fn start() -> impl Strategy<Value = Start> {
    prop_oneof![
        3 => Just(Start::Missing),
        4 => ("[a-c]{0,4}", prop_oneof![Just(0o600u32), Just(0o644), Just(0o440)]).prop_map(|(text, mode)| Start::File(text, mode)),
        2 => (0..NAMES.len()).prop_map(Start::Link),
        2 => (0..NAMES.len()).prop_map(Start::HardLink),
        1 => Just(Start::Directory),
        1 => Just(Start::Dangling),
    ]
}

pub(super) fn plant(home: &Home, tree: &[Start]) {
    for (name, start) in NAMES.iter().zip(tree) {
        let path = home.path(name);
        if !matches!(start, Start::Missing) {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        }
        // Whatever cannot be planted, such as a hard link to what is not there, leaves the name missing.
        match start {
            Start::Missing => {}
            Start::File(content, mode) => drop(home.write(name, content, *mode)),
            Start::Link(to) => symlink(home.path(NAMES[*to]), path).unwrap(),
            Start::HardLink(to) => drop(std::fs::hard_link(home.path(NAMES[*to]), path)),
            Start::Directory => std::fs::create_dir(path).unwrap(),
            Start::Dangling => symlink("nothing here", path).unwrap(),
        }
    }
}

/// What must not change: the mode of every regular file, and where every link points.
fn kept(home: &Home) -> BTreeMap<String, String> {
    let entry = |name: String| {
        let metadata = std::fs::symlink_metadata(home.path(&name)).ok()?;
        let target = std::fs::read_link(home.path(&name)).ok();
        Some((name, format!("{:o} {target:?}", metadata.mode())))
    };
    home.names().into_iter().filter_map(entry).collect()
}

proptest! {
    // Every case flushes to a real disk.
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn plan_then_apply_reaches_the_wanted_state_and_a_second_plan_is_empty(
        tree in proptest::collection::vec(start(), NAMES.len()),
        wanted in proptest::collection::vec((0..NAMES.len(), "[a-c]{0,4}"), 0..8),
    ) {
        let home = Home::new();
        plant(&home, &tree);
        let before = kept(&home);
        let paths: Vec<String> = wanted.iter().map(|(name, _)| format!("~/{}", NAMES[*name])).collect();
        let targets: Vec<(&str, &[u8])> =
            paths.iter().zip(&wanted).map(|(path, (_, value))| (path.as_str(), value.as_bytes())).collect();

        let applied = home.deliver(&targets);
        prop_assert_eq!(applied.outcomes().len(), targets.len());
        for (outcome, (_, value)) in applied.outcomes().iter().zip(&targets) {
            match &outcome.result {
                Ok(Settled::Superseded) | Err(_) => {}
                Ok(_) => prop_assert_eq!(&std::fs::read(&outcome.path).unwrap(), value),
            }
        }
        let again = home.plan(&targets);
        for (target, outcome) in again.targets().iter().zip(applied.outcomes()) {
            prop_assert!(!target.action.is_step() || outcome.result.is_err(), "{target} after {outcome:?}");
        }
        // Nothing but the wanted was made, and what was there is what it was.
        let after = kept(&home);
        for (name, before) in before {
            prop_assert_eq!(Some(&before), after.get(&name));
        }
        prop_assert!(after.keys().all(|name| !name.contains(".coder-secret")));
    }
}
