use std::collections::BTreeMap;

use protocol::secret::Secret;

use super::*;
use crate::manifest::WorkspaceSecret;
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
                found: Found::File { same: content.as_bytes() == value.expose(), links: *links },
            },
            None => Observed { place: None, found: Found::Missing },
        }
    }
}

fn policy() -> Policy {
    Policy { home: Some("/home/alice".into()), delivered: Vec::new() }
}

fn printed(targets: &[(&str, &str)], world: &World, policy: &Policy) -> String {
    Plan::new(&secrets(targets), world, policy).to_string()
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
        assert_eq!(expand(file_path, Some(Path::new("/home/alice"))).unwrap(), Path::new(expected), "{file_path}");
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
        assert_eq!(expand(file_path, Some(Path::new("/h"))).unwrap_err().to_string(), expected, "{file_path:?}");
    }
    assert_eq!(expand("~/x", None).unwrap_err().to_string(), "the home directory is unknown");
    assert!(expand("/x", None).is_ok());
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
    let before = secrets(&[("/edited", "1"), ("/changed", "1"), ("/gone", "1")]);
    let delivered = before.secrets.iter().map(|it| (it.file_path.clone().unwrap().into(), it.value.share())).collect();
    let policy = Policy { delivered, ..policy() };
    let world = World([("/edited", (1, "by the user", 1)), ("/changed", (2, "1", 1))].into());
    assert_eq!(
        printed(&[("/edited", "1"), ("/changed", "2"), ("/gone", "1"), ("/new", "1")], &world, &policy),
        "keep \"/edited\": the secret did not change since it was written\n\
         replace \"/changed\": its content differs\n\
         keep \"/gone\": the secret did not change since it was written\n\
         create \"/new\"\n"
    );
}

#[test]
fn a_path_cannot_write_to_the_terminal() {
    assert_eq!(printed(&[("/a\u{1b}[2Jb\n", "1")], &World::default(), &policy()), "create \"/a\\u{1b}[2Jb\\n\"\n");
}
