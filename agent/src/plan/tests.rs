use std::collections::BTreeMap;

use protocol::secret::Secret;

use super::*;
use crate::manifest::WorkspaceSecret;
use crate::sys::fs::{Entry, Kind, Trust};
use crate::sys::memory;

fn secrets(targets: &[(&str, &str)]) -> SecretSet {
    let values = targets.iter().map(|(_, value)| Secret::from((*value).to_owned())).collect();
    let held = memory::guard(values).unwrap();
    let secret = |((file_path, _), value): (&(&str, &str), Guarded)| WorkspaceSecret {
        env_name: None,
        file_path: Some((*file_path).to_owned()).filter(|path| !path.is_empty()),
        value,
    };
    SecretSet { template: Vec::new(), secrets: targets.iter().zip(held).map(secret).collect(), refused: Vec::new() }
}

/// Paths to (inode, content, links); what is not in it is missing.
#[derive(Default)]
struct World(BTreeMap<&'static str, (u64, &'static str, u64)>);

impl Observe for World {
    fn observe(&self, path: &Path, value: &Guarded) -> Observed {
        let id = |inode| FileId { device: 1, inode };
        match self.0.get(path.to_str().unwrap()) {
            Some((inode, "<directory>", _)) => {
                Observed { place: Some(Place::File(id(*inode))), found: Found::Other(Kind::Directory) }
            }
            Some((inode, content, links)) => Observed {
                place: Some(Place::File(id(*inode))),
                found: Found::File {
                    same: content.as_bytes() == value.expose(),
                    entry: entry(*inode, *links),
                    access: Access { trust: Trust::Private, owner: Owner::Us, is_readable: false },
                },
            },
            None => Observed { place: None, found: Found::Missing },
        }
    }

    fn is_within(&self, path: &Path, directories: &[PathBuf]) -> bool {
        directories.iter().any(|directory| path.starts_with(directory))
    }

    fn stand(&self, path: &Path, records: &[Record], key: &Key) -> Standing {
        let Some((inode, content, links)) = self.0.get(path.to_str().unwrap()) else {
            return Standing::without_file(Drift::Gone);
        };
        let same = records.iter().any(|record| record.fingerprint == key.fingerprint(content.as_bytes()));
        let drift = (!same).then_some(Drift::Edited);
        Standing { id: Some(entry(*inode, 1).id), links: *links, linked: false, drift }
    }
}

fn entry(inode: u64, links: u64) -> Entry {
    Entry { id: FileId { device: 1, inode }, kind: Kind::File, size: 0, links, uid: 0, gid: 0, mode: 0o600 }
}

fn policy() -> Policy {
    Policy { home: Some("/home/alice".into()), ..Policy::default() }
}

fn printed(targets: &[(&str, &str)], world: &World, policy: &Policy) -> String {
    Plan::new(secrets(targets), world, policy, &Ledger::new(None).unwrap()).to_string()
}

#[test]
fn a_path_is_expanded_and_cleaned_by_its_text() {
    for (file_path, expected) in [
        ("~/x", "/home/alice/x"),
        ("~//x", "/home/alice/x"),
        ("~/.ssh/../x", "/home/alice/x"),
        ("~/../bob/x", "/home/bob/x"),
        ("/a/./b//c/", "/a/b/c"),
        ("/../../x", "/x"),
        ("~/$HOME/~", "/home/alice/$HOME/~"),
        ("/", "/"),
    ] {
        assert_eq!(target_path(file_path, Some(Path::new("/home/alice"))).unwrap(), Path::new(expected), "{file_path}");
    }
}

#[test]
fn what_is_no_path_of_a_file_is_refused_with_its_reason() {
    let long = format!("/{}", "x".repeat(4096));
    for (file_path, expected) in [
        ("x", "file path must start with ~/ or /"),
        ("~", "file path must start with ~/ or /"),
        ("~bob/x", "file path must start with ~/ or /"),
        ("/a\0b", "file path must not contain null bytes"),
        (long.as_str(), "file path must not exceed 4096 bytes"),
    ] {
        assert_eq!(target_path(file_path, Some(Path::new("/h"))).unwrap_err().to_string(), expected, "{file_path:?}");
    }
    assert_eq!(target_path("~/x", None).unwrap_err().to_string(), "the home directory is unknown");
    assert!(target_path("/x", None).is_ok());
}

#[test]
fn a_dry_run_shows_what_and_why_and_no_value() {
    let world = World(
        [
            ("/same", (1, "canary", 1)),
            ("/old", (2, "old", 1)),
            ("/linked", (3, "old", 2)),
            ("/dir", (4, "<directory>", 2)),
        ]
        .into(),
    );
    let targets = ["~/new", "/same", "/old", "/linked", "/dir", "", "bad"].map(|path| (path, "canary"));
    assert_eq!(
        printed(&targets, &world, &policy()),
        "create \"/home/alice/new\"\n\
         keep \"/same\": its content is the same\n\
         replace \"/old\": its content differs\n\
         rewrite \"/linked\" in place: its content differs and it has 2 names\n\
         refuse \"/dir\": it is a directory\n\
         refuse \"bad\": file path must start with ~/ or /\n"
    );
}

#[test]
fn of_two_secrets_for_one_file_the_later_wins() {
    assert_eq!(
        printed(&[("~/x", "1"), ("/home/alice/x", "2")], &World::default(), &policy()),
        "skip \"/home/alice/x\": a later secret has the same path\ncreate \"/home/alice/x\"\n"
    );
    let linked = World([("/a", (1, "old", 1)), ("/b", (1, "old", 1))].into());
    assert_eq!(
        printed(&[("/a", "1"), ("/b", "2"), ("/c", "3")], &linked, &policy()),
        "skip \"/a\": a later secret goes to the same file by \"/b\"\nreplace \"/b\": its content differs\ncreate \"/c\"\n"
    );
}

#[test]
fn a_refetch_leaves_alone_what_was_delivered_and_did_not_change() {
    let ledger = Ledger::new(None).unwrap();
    let record = |inode, content: &str| {
        Record::new(&entry(inode, 1), content.len(), ledger.key().fingerprint(content.as_bytes()))
    };
    let delivered = [("/edited", 1), ("/changed", 2), ("/gone", 3)];
    let delivered = delivered.map(|(path, inode)| (path.into(), record(inode, "1"))).into();
    let policy = Policy { delivered, ..policy() };
    let world = World([("/edited", (1, "by the user", 1)), ("/changed", (2, "1", 1))].into());
    let reload = Policy { restores_missing: true, delivered: policy.delivered.clone(), ..Policy::default() };
    let targets = [("/edited", "1"), ("/changed", "2"), ("/gone", "1"), ("/new", "1")];
    assert_eq!(
        Plan::new(secrets(&targets), &world, &policy, &ledger).to_string(),
        "keep \"/edited\": the secret did not change since it was written\n\
         replace \"/changed\": its content differs\n\
         keep \"/gone\": the secret did not change since it was written\n\
         create \"/new\"\n"
    );
    // Who asks for a reload gets back what is gone, and keeps the edits.
    assert_eq!(
        Plan::new(secrets(&targets), &world, &reload, &ledger).to_string(),
        "keep \"/edited\": the secret did not change since it was written\n\
         replace \"/changed\": its content differs\n\
         create \"/gone\"\n\
         create \"/new\"\n"
    );
}

#[test]
fn a_path_cannot_write_to_the_terminal() {
    assert_eq!(printed(&[("/a\u{1b}[2Jb\n", "1")], &World::default(), &policy()), "create \"/a\\u{1b}[2Jb\\n\"\n");
}

/// A ledger that knows a file of the content `1` at each of `paths`.
fn ledger_of(paths: &[(&str, u64)]) -> Ledger {
    let mut ledger = Ledger::new(None).unwrap();
    let fingerprint = ledger.key().fingerprint(b"1");
    let record = |inode| Record::new(&entry(inode, 1), 1, fingerprint);
    ledger.know(paths.iter().map(|(path, inode)| (PathBuf::from(path), record(*inode))));
    ledger
}

#[test]
fn of_files_that_no_secret_goes_to_only_those_that_are_ours_are_removed() {
    let ledger = ledger_of(&[("/wanted", 1), ("/ours", 2), ("/edited", 3), ("/gone", 4), ("/linked", 5), ("/link", 6)]);
    let files = [
        ("/wanted", (1, "1", 1)),
        ("/ours", (2, "1", 1)),
        ("/edited", (3, "2", 1)),
        ("/linked", (5, "1", 2)),
        // The same file as a target's, by another path.
        ("/link", (1, "1", 1)),
    ];
    let world = World(files.into());
    let print = |stale_files, secret: &str| {
        let policy = Policy { stale_files, ..policy() };
        let plan = Plan::new(secrets(&[("/wanted", "1"), (secret, "1")]), &world, &policy, &ledger);
        plan.stale().iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let left = |path: &str, why: &str| format!("leave {path:?}: no secret goes there any more, and it is {why}");
    let both = [left("/edited", "edited"), "forget \"/gone\": no secret goes there any more".to_owned()];
    let removed = "remove \"/ours\": no secret goes there any more".to_owned();
    let [edited, gone] = both.clone();
    assert_eq!(print(StaleFiles::Remove, ""), [edited, gone, left("/linked", "a file with 2 names"), removed]);
    let [edited, gone] = both;
    let kept = |path: &str| format!("leave {path:?}: no secret goes there any more (--stale-files keep)");
    assert_eq!(print(StaleFiles::Keep, ""), [edited, gone, kept("/linked"), kept("/ours")]);
    // With a path that cannot be told, none can be told to be stale.
    assert!(print(StaleFiles::Remove, "no path").is_empty());
}

#[test]
fn a_value_is_written_in_place_only_where_nobody_else_reads_it() {
    let access = |trust, owner, is_readable| Access { trust, owner, is_readable };
    for (access, expected) in [
        (access(Trust::Private, Owner::Us, false), Ok(())),
        (access(Trust::Private, Owner::Us, true), Ok(())),
        (access(Trust::Private, Owner::Root, false), Ok(())),
        (access(Trust::Private, Owner::Root, true), Err(NotInPlace::Readable)),
        (access(Trust::Private, Owner::Other, false), Err(NotInPlace::OtherOwner)),
        (access(Trust::Shared, Owner::Us, false), Err(NotInPlace::Shared)),
    ] {
        let found = |links| Found::File { same: false, entry: entry(1, links), access };
        assert!(matches!(Action::for_found(found(1)), Action::Replace(in_place) if in_place == expected), "{access:?}");
        let linked = Action::for_found(found(2));
        match expected {
            Ok(()) => assert!(matches!(linked, Action::Rewrite(2)), "{access:?}"),
            Err(_) => assert!(matches!(linked, Action::Refuse(Refusal::NotInPlace { names: 2, .. })), "{access:?}"),
        }
    }
    let foreign = Action::for_found(Found::Foreign(7));
    assert!(matches!(foreign, Action::Refuse(Refusal::Foreign(7))));
}

#[test]
fn no_secret_goes_into_the_directories_of_the_agent() {
    let policy = Policy { own_directories: vec!["/home/alice/.local/state/coder-agent".into()], ..policy() };
    assert_eq!(
        printed(&[("~/.local/state/coder-agent/key", "1"), ("~/.local/state/other", "1")], &World::default(), &policy),
        "refuse \"/home/alice/.local/state/coder-agent/key\": it is in a directory of the agent's own configuration or state\n\
         create \"/home/alice/.local/state/other\"\n"
    );
}
