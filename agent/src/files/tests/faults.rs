//! What stands in the way, what a crash leaves, and what somebody plants.

use std::os::unix::fs::symlink;
use std::rc::Rc;

use super::super::temp::{self, Temp};
use super::*;
use crate::sys::fs::Dir;

/// Runs `test` as an ordinary user: root may do everything.
pub(super) fn as_user(test: impl FnOnce() + Send) {
    if !is_root() {
        return test();
    }
    // The thread alone changes its identity: the raw call does not tell the others.
    std::thread::scope(|scope| {
        let run = scope.spawn(|| {
            rustix::thread::set_thread_groups(&[]).unwrap();
            rustix::thread::set_thread_gid(rustix::fs::Gid::from_raw(65_534)).unwrap();
            rustix::thread::set_thread_uid(rustix::fs::Uid::from_raw(65_534)).unwrap();
            test();
        });
        if let Err(panic) = run.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

fn chmod(path: &Path, bits: u32) {
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(bits)).unwrap();
}

#[test]
fn in_a_directory_that_is_not_ours_a_file_of_ours_is_rewritten_in_place() {
    as_user(|| {
        let home = Home::new();
        let path = home.write("dir/secret", "a longer old content", 0o640);
        chmod(&home.path("dir"), 0o500);
        let inode = stamp(&path).0;
        assert_eq!(home.one("dir/secret", "new"), Ok(Settled::Rewritten));
        assert_eq!((home.read("dir/secret").as_str(), stamp(&path).0, mode(&path)), ("new", inode, 0o640));
        let error = home.one("dir/other", "new").unwrap_err();
        assert!(error.contains("cannot create a temporary file beside it: Permission denied"), "{error}");
        chmod(&home.path("dir"), 0o700);
        assert_eq!(home.names(), ["dir", "dir/secret"]);
    });
}

#[test]
fn an_identity_that_we_may_not_give_is_kept_by_writing_in_place() {
    if !needs_root("an_identity_that_we_may_not_give_is_kept_by_writing_in_place") {
        return;
    }
    let home = Home::new();
    let path = home.write("secret", "old", 0o666);
    // The user's own, with a group that the user is not in.
    for path in [home.0.path(), &path] {
        std::os::unix::fs::chown(path, Some(65_534), Some(54_321)).unwrap();
    }
    let inode = stamp(&path).0;
    as_user(|| assert_eq!(home.one("secret", "new"), Ok(Settled::Rewritten)));
    let metadata = std::fs::metadata(&path).unwrap();
    let identity = (metadata.ino(), metadata.uid(), metadata.gid(), mode(&path));
    assert_eq!((home.read("secret").as_str(), identity), ("new", (inode, 65_534, 54_321, 0o666)));
    // Nobody else's file is written in place, and none of root's that others read.
    for (owner, reason) in [(0, "it belongs to root and others can read it"), (12_345, "it belongs to another user")] {
        std::os::unix::fs::chown(&path, Some(owner), None).unwrap();
        as_user(|| {
            let error = home.one("secret", "newer").unwrap_err();
            assert!(error.contains(reason), "{error}");
        });
    }
    assert_eq!((home.read("secret").as_str(), home.names()), ("new", vec!["secret".to_owned()]));
}

#[test]
fn a_directory_that_can_be_written_but_not_read_is_no_obstacle() {
    as_user(|| {
        let home = Home::new();
        home.write("dir/old", "old", 0o600);
        chmod(&home.path("dir"), 0o300);
        let applied = home.deliver(&[("~/dir/old", b"new"), ("~/dir/new", b"new")]);
        chmod(&home.path("dir"), 0o700);
        assert_eq!(applied.errors().map(|error| chain(error)).collect::<Vec<_>>(), Vec::<String>::new());
        assert_eq!((home.read("dir/old").as_str(), home.read("dir/new").as_str()), ("new", "new"));
    });
}

#[test]
fn what_we_may_not_write_fails_with_its_path_and_stays() {
    as_user(|| {
        let home = Home::new();
        home.write("dir/secret", "old", 0o400);
        chmod(&home.path("dir"), 0o500);
        let error = home.one("dir/secret", "new").unwrap_err();
        assert!(error.contains("dir/secret") && error.contains("Permission denied"), "{error}");
        assert_eq!(home.read("dir/secret"), "old");
        chmod(&home.path("dir"), 0o700);
    });
}

#[test]
fn what_others_planted_in_a_shared_directory_is_refused() {
    if !needs_root("what_others_planted_in_a_shared_directory_is_refused") {
        return;
    }
    let home = Home::new();
    let shared = home.path("shared");
    std::fs::create_dir(&shared).unwrap();
    chmod(&shared, 0o1777);
    chmod(home.0.path(), 0o755);
    let victim = home.write("victim", "old", 0o600);
    let as_other = || {
        symlink(&victim, shared.join("link")).unwrap();
        std::fs::write(shared.join("file"), "theirs").unwrap();
    };
    as_user(as_other);
    for name in ["shared/link", "shared/file"] {
        let error = home.one(name, "value").unwrap_err();
        assert!(
            error.ends_with("it belongs to another user in a directory where everybody may create files"),
            "{error}"
        );
    }
    assert_eq!((home.read("victim").as_str(), home.read("shared/file").as_str()), ("old", "theirs"));
    // The owner of the directory may arrange it as they like.
    symlink(&victim, shared.join("own")).unwrap();
    assert_eq!(home.one("shared/own", "value"), Ok(Settled::Replaced));
}

#[test]
fn leftovers_of_a_crash_are_removed_and_nothing_else() {
    let home = Home::new();
    let dir = Rc::new(Dir::open(home.0.path()).unwrap());
    let leftover = Temp::create(&dir).unwrap();
    let name = home.names().remove(0);
    // A crash closes the file and removes nothing.
    std::mem::forget(leftover.file.try_clone().unwrap());
    let copy = std::fs::read(home.path(&name)).unwrap();
    drop(leftover);
    std::fs::write(home.path(&name), copy).unwrap();
    let users =
        [".coder-secret-mine", ".coder-secret-0011223344556677-8899aabbccddeeff", ".coder-secret-", ".coder-secret"];
    for user in users {
        home.write(user, "the user's", 0o600);
    }
    home.one("secret", "value").unwrap();
    let mut expected: Vec<_> = users.map(String::from).into_iter().chain(["secret".into()]).collect();
    expected.sort();
    assert_eq!(home.names(), expected);
}

#[test]
fn leftovers_are_removed_where_links_lead_and_when_nothing_is_to_write() {
    let home = Home::new();
    home.write("real/secret", "same", 0o600);
    symlink("real/secret", home.path("link")).unwrap();
    let name = {
        let dir = Rc::new(Dir::open(&home.path("real")).unwrap());
        let temp = Temp::create(&dir).unwrap();
        home.names().into_iter().find(|name| name.contains(".coder-secret-")).inspect(|_| drop(temp)).unwrap()
    };
    home.write(&name, "half a val", 0o600);
    assert_eq!(home.one("link", "same"), Ok(Settled::Unchanged));
    assert_eq!(home.names(), ["link", "real", "real/secret"]);
}

#[test]
fn the_work_of_a_running_agent_is_no_leftover() {
    let home = Home::new();
    let dir = Rc::new(Dir::open(home.0.path()).unwrap());
    let mut at_work = Temp::create(&dir).unwrap();
    temp::sweep([home.path("secret").as_path()].into_iter());
    assert_eq!(home.names().len(), 1);
    at_work.rename_new("secret".as_ref()).unwrap();
    assert_eq!(home.names(), ["secret"]);
}

#[test]
fn a_temporary_file_goes_with_its_failure() {
    let home = Home::new();
    let dir = Rc::new(Dir::open(home.0.path()).unwrap());
    std::fs::create_dir_all(home.path("secret/full")).unwrap();
    let mut temp = Temp::create(&dir).unwrap();
    assert!(temp.rename_over("secret".as_ref()).is_err());
    drop(temp);
    assert_eq!(home.names(), ["secret", "secret/full"]);
}

#[test]
fn few_descriptors_make_more_waves_and_no_failure() {
    // The limit is the process's, and other tests run in this one.
    const NAME: &str = "files::tests::faults::few_descriptors_make_more_waves_and_no_failure";
    const INNER: &str = "AGENT_TEST_WITH_FEW_DESCRIPTORS";
    if std::env::var_os(INNER).is_none() {
        let mut inner = std::process::Command::new(std::env::current_exe().unwrap());
        let output = inner.args([NAME, "--exact"]).env(INNER, "1").output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
        return;
    }
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let home = Home::new();
    let used = std::fs::read_dir("/proc/self/fd").unwrap().count() as u64;
    let paths: Vec<String> = (0..60).map(|number| format!("~/{number}")).collect();
    let targets: Vec<(&str, &[u8])> = paths.iter().map(|path| (path.as_str(), b"value".as_slice())).collect();
    let plan = home.plan(&targets);
    let few = rustix::process::Rlimit { current: Some(used + 40), maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, few).unwrap();
    let applied = apply(plan, &mut home.ledger()).into_parts().1;
    rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
    assert_eq!(applied.errors().map(|error| chain(error)).collect::<Vec<_>>(), Vec::<String>::new());
    assert_eq!(home.names().len(), 60);
}

#[test]
fn a_write_that_fails_half_way_leaves_the_old_content() {
    crate::sys::process::tests::alone(|| {
        let home = Home::new();
        let old = "old ".repeat(1000);
        let linked = home.write("linked", &old, 0o600);
        std::fs::hard_link(&linked, home.path("name")).unwrap();
        home.write("plain", &old, 0o600);
        // Writes stop at 8 KiB: the first half of the new content arrives, the second does not.
        let limit = rustix::process::Rlimit { current: Some(8192), maximum: None };
        rustix::process::setrlimit(rustix::process::Resource::Fsize, limit).unwrap();
        crate::sys::process::tests::ignore(nix::sys::signal::Signal::SIGXFSZ);
        let long = "new ".repeat(5000);
        for (name, failure) in [("linked", "the old content was put back"), ("plain", "cannot write its content")] {
            let error = home.one(name, &long).unwrap_err();
            assert!(error.contains(failure) && error.contains("File too large"), "{error}");
            assert_eq!(home.read(name), old);
        }
        assert_eq!(home.names(), ["linked", "name", "plain"]);
    });
}
