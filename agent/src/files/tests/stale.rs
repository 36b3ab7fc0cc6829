//! Files that no secret goes to any more, and files that changed since they were delivered.

use std::os::unix::fs::symlink;

use super::*;
use crate::config::StaleFiles;

const SECRET: &[(&str, &[u8])] = &[("~/secret", b"value")];

impl Home {
    /// Delivers these, and removes what no secret goes to any more. What was said of that.
    fn deliver_and_remove(&self, targets: &[(&str, &[u8])]) -> Vec<String> {
        let policy = Policy { stale_files: StaleFiles::Remove, ..self.policy() };
        let applied = self.deliver_with(targets, &policy);
        let said = |it: &StaleOutcome| {
            let name = it.path.file_name().unwrap().display();
            it.kept.as_ref().map_or_else(|| format!("{name} removed"), |reason| format!("{name}: {reason}"))
        };
        applied.stale().iter().map(said).collect()
    }
}

/// A home with a ledger, and the directory that it is in.
fn home() -> (Home, tempfile::TempDir) {
    let place = tempfile::tempdir().unwrap();
    (Home::with_ledger(Some(place.path())), place)
}

/// The next start of an agent with this home.
fn restart(home: Home, place: &tempfile::TempDir) -> Home {
    Home::at(home.0, Some(place.path()))
}

#[test]
fn a_stale_file_is_left_or_removed_as_the_user_wants() {
    let (home, place) = home();
    home.deliver(&[("~/dir/a", b"1"), ("~/b", b"2")]);
    assert_eq!(home.deliver(&[("~/b", b"2")]).stale().len(), 0);
    assert_eq!(home.read("dir/a"), "1");
    let home = restart(home, &place);
    assert_eq!(home.deliver_and_remove(&[("~/b", b"2")]), ["a removed"]);
    // Directories stay: nobody knows what else the user thinks of them.
    assert_eq!(home.names(), ["b", "dir"]);
    assert_eq!(home.deliver_and_remove(&[("~/b", b"2")]), Vec::<String>::new());
    assert_eq!(home.deliver_and_remove(&[]), ["b removed"]);
}

#[test]
fn a_secret_with_a_new_path_takes_its_file_along() {
    let (home, _place) = home();
    home.deliver_and_remove(&[("~/before", b"value")]);
    assert_eq!(home.deliver_and_remove(&[("~/after", b"value")]), ["before removed"]);
    assert_eq!(home.names(), ["after"]);
    // By another path to the same file it is no stale file.
    symlink("after", home.path("link")).unwrap();
    assert_eq!(home.deliver_and_remove(&[("~/link", b"value")]), Vec::<String>::new());
    assert_eq!(home.deliver_and_remove(&[("~/link", b"changed")]), Vec::<String>::new());
    assert_eq!((home.read("after").as_str(), home.names().len()), ("changed", 2));
}

#[test]
fn what_the_user_had_a_hand_in_is_never_removed() {
    type Hand = (&'static str, &'static dyn Fn(&Home), &'static [&'static str]);
    let hands: [Hand; 11] = [
        ("edited", &|home| std::fs::write(home.path("secret"), "valuf").unwrap(), &["secret"]),
        ("edited", &|home| std::fs::write(home.path("secret"), "value and more").unwrap(), &["secret"]),
        ("chmodded from 0600 to 0644", &|home| chmod(home, 0o644), &["secret"]),
        ("replaced by another file", &|home| replace(home, "mine"), &["secret"]),
        ("replaced by another file with the same content", &|home| replace(home, "value"), &["secret"]),
        ("replaced by a directory", &|home| directory(home), &["secret", "secret/mine"]),
        ("a file with 2 names", &|home| link(home), &["secret", "second"]),
        ("behind a symbolic link", &|home| move_behind_link(home), &["secret", "moved"]),
        ("replaced by another file", &|home| swap(home, "mine"), &["secret", "other"]),
        ("replaced by another file with the same content", &|home| swap(home, "value"), &["secret", "other"]),
        ("gone", &|home| std::fs::remove_file(home.path("secret")).unwrap(), &[]),
    ];
    for (expected, hand, left) in hands {
        let (home, place) = home();
        home.deliver(SECRET);
        hand(&home);
        let home = restart(home, &place);
        let said = home.deliver_and_remove(&[]);
        // Of what is not there, nothing need be said.
        let expected = if expected == "gone" { vec![] } else { vec![format!("secret: {expected}")] };
        assert_eq!(said, expected);
        assert!(left.iter().all(|name| home.path(name).exists()), "{expected:?}: {:?}", home.names());
        assert_eq!(home.names().len(), left.len(), "{expected:?}: {:?}", home.names());
        // Told once; it is the user's from then on, whatever becomes of it.
        if expected.is_empty() {
            home.write("secret", "value", 0o600);
        }
        assert_eq!(home.deliver_and_remove(&[]), Vec::<String>::new());
        assert!(home.path("secret").exists());
    }
}

fn chmod(home: &Home, bits: u32) {
    std::fs::set_permissions(home.path("secret"), std::fs::Permissions::from_mode(bits)).unwrap();
}

/// As an editor does.
fn replace(home: &Home, content: &str) {
    let new = home.write("new", content, 0o600);
    std::fs::rename(new, home.path("secret")).unwrap();
}

fn directory(home: &Home) {
    std::fs::remove_file(home.path("secret")).unwrap();
    home.write("secret/mine", "mine", 0o600);
}

fn link(home: &Home) {
    std::fs::hard_link(home.path("secret"), home.path("second")).unwrap();
}

/// As managers of dotfiles do.
fn move_behind_link(home: &Home) {
    std::fs::rename(home.path("secret"), home.path("moved")).unwrap();
    symlink("moved", home.path("secret")).unwrap();
}

/// A link to a file that was never ours. It is made first, lest it get our file's number.
fn swap(home: &Home, content: &str) {
    home.write("other", content, 0o600);
    std::fs::remove_file(home.path("secret")).unwrap();
    symlink("other", home.path("secret")).unwrap();
}

#[test]
fn a_file_that_held_the_content_before_us_is_not_ours() {
    let (home, _place) = home();
    home.write("secret", "value", 0o600);
    assert_eq!(home.deliver(SECRET).outcomes()[0].result.as_ref().unwrap(), &Settled::Unchanged);
    assert_eq!(home.deliver_and_remove(&[]), Vec::<String>::new());
    assert_eq!(home.read("secret"), "value");
}

#[test]
fn what_was_written_in_place_is_ours_only_under_its_one_name() {
    let (home, _place) = home();
    let path = home.write("secret", "old", 0o640);
    std::fs::hard_link(&path, home.path("second")).unwrap();
    assert_eq!(home.deliver(SECRET).outcomes()[0].result.as_ref().unwrap(), &Settled::Rewritten);
    std::fs::remove_file(home.path("second")).unwrap();
    assert_eq!(home.deliver_and_remove(&[]), ["secret removed"]);
}

#[test]
fn where_paths_are_unclear_or_there_is_no_ledger_nothing_is_removed() {
    let (home, place) = home();
    home.deliver(SECRET);
    // A user database that is away: the home of all `~/` is unknown.
    let policy = Policy { stale_files: StaleFiles::Remove, ..Policy::default() };
    assert_eq!(home.deliver_with(SECRET, &policy).stale().len(), 0);
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
    let home = restart(home, &place);
    assert_eq!(home.deliver_and_remove(&[]), Vec::<String>::new());
    std::fs::set_permissions(place.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(home.read("secret"), "value");
    assert_eq!(home.deliver_and_remove(&[]), ["secret removed"]);
}

#[test]
fn secrets_of_others_with_the_same_home_are_left_alone() {
    let (home, place) = home();
    home.deliver(SECRET);
    let mut other = Ledger::new(Some(place.path().into())).unwrap();
    other.begin("bob http://c".into());
    let policy = Policy { stale_files: StaleFiles::Remove, ..home.policy() };
    let applied = apply(Plan::new(secrets(&[]), &Disk, &policy, &other), &mut other).into_parts().1;
    assert_eq!((applied.stale().len(), home.read("secret").as_str()), (0, "value"));
}

#[test]
fn a_stale_file_that_cannot_be_removed_is_tried_again() {
    super::faults::as_user(|| {
        let (home, _place) = home();
        home.deliver(&[("~/dir/secret", b"value")]);
        std::fs::set_permissions(home.path("dir"), std::fs::Permissions::from_mode(0o500)).unwrap();
        let said = home.deliver_and_remove(&[]);
        assert!(said[0].starts_with("secret: a file that cannot be removed: Permission denied"), "{said:?}");
        std::fs::set_permissions(home.path("dir"), std::fs::Permissions::from_mode(0o700)).unwrap();
        assert_eq!(home.deliver_and_remove(&[]), ["secret removed"]);
    });
}

/// Killed between taking a stale file's name and removing it: the next start finds it, whatever it is.
#[test]
fn a_removal_that_was_cut_short_is_taken_back_first() {
    let aside = |home: &Home| {
        let names = home.names();
        names.into_iter().find(|name| name.starts_with(".coder-stale-"))
    };
    let (home, place) = home();
    home.deliver(SECRET);
    let name = crate::files::stale::aside("secret".as_ref());
    std::fs::rename(home.path("secret"), home.0.path().join(&name)).unwrap();
    let home = restart(home, &place);
    assert_eq!(home.deliver_and_remove(&[]), ["secret removed"]);
    assert_eq!(home.names(), Vec::<String>::new());
    // It was the user's by then: it is put back and stays.
    home.deliver(SECRET);
    home.write("secret", "mine", 0o600);
    std::fs::rename(home.path("secret"), home.0.path().join(&name)).unwrap();
    home.deliver_and_remove(&[]);
    assert_eq!((home.read("secret").as_str(), aside(&home)), ("mine", None));
    // Another took the name: neither is lost.
    home.deliver(SECRET);
    std::fs::rename(home.path("secret"), home.0.path().join(&name)).unwrap();
    home.write("secret", "newer", 0o600);
    home.deliver_and_remove(&[]);
    assert_eq!(home.read("secret"), "newer");
    assert_eq!(std::fs::read(home.0.path().join(name)).unwrap(), b"value");
}

#[test]
fn leftovers_beside_former_targets_are_removed_too() {
    let (home, place) = home();
    home.deliver(&[("~/before/secret", b"value")]);
    let dir = std::rc::Rc::new(crate::sys::fs::Dir::open(&home.path("before")).unwrap());
    let name = {
        let _temp = crate::files::temp::Temp::create(&dir).unwrap();
        home.names().into_iter().find(|name| name.contains(".coder-secret-")).unwrap()
    };
    home.write(&name, "half a val", 0o600);
    let home = restart(home, &place);
    home.deliver(&[("~/after", b"value")]);
    assert_eq!(home.names(), ["after", "before", "before/secret"]);
    // Also where it was killed before the first file was there.
    home.ledger().approach([home.path("new/secret").as_path()].into_iter());
    let name = name.replace("before/", "new/");
    home.write(&name, "half a val", 0o600);
    let home = restart(home, &place);
    home.deliver(&[("~/after", b"value")]);
    assert!(!home.path(&name).exists());
}

#[test]
fn drift_is_what_happened_to_a_file_since() {
    let (home, _place) = home();
    let drift = |applied: &FileReport| {
        let drifts = drifts(&applied.delivered(), home.ledger().key());
        drifts.first().map(|(_, drift)| drift.to_string())
    };
    for targets in [SECRET, &[("~/link", b"value")]] {
        home.write("real", "old", 0o640);
        let _ = symlink("real", home.path("link"));
        let applied = home.deliver(targets);
        assert_eq!(drift(&applied), None);
        assert_eq!(drift(&home.deliver(targets)), None, "unchanged");
    }
    let applied = home.deliver(SECRET);
    chmod(&home, 0o604);
    assert_eq!(drift(&applied).unwrap(), "chmodded from 0600 to 0604");
    std::fs::write(home.path("secret"), "other").unwrap();
    assert_eq!(drift(&applied).unwrap(), "edited");
    replace(&home, "value");
    assert_eq!(drift(&applied).unwrap(), "replaced by another file with the same content");
    std::fs::remove_file(home.path("secret")).unwrap();
    assert_eq!(drift(&applied).unwrap(), "gone");
    std::os::unix::net::UnixListener::bind(home.path("secret")).unwrap();
    assert_eq!(drift(&applied).unwrap(), "replaced by a socket");
    std::fs::remove_file(home.path("secret")).unwrap();
    // The next boot takes the file as it is.
    let before = home.deliver(SECRET);
    assert_eq!(drift(&before), None);
    // A refetch leaves it, and still knows.
    home.write("secret", "edited", 0o600);
    let after = home.deliver_with(SECRET, &Policy { delivered: before.delivered(), ..home.policy() });
    assert_eq!(drift(&after).unwrap(), "edited");
}
