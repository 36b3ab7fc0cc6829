//! File systems that are full, read-only, or one file large. Each test runs again by itself in a mount namespace.

use std::process::Command;

use super::*;

const INNER: &str = "AGENT_TEST_IN_OWN_MOUNTS";

/// Whether this process is the inner one, which may mount. The outer one runs it and answers for it.
fn may_mount(name: &str) -> bool {
    if std::env::var_os(INNER).is_some() {
        return true;
    }
    if !needs_root(name) {
        return false;
    }
    let possible = Command::new("unshare").args(["--mount", "true"]).status().is_ok_and(|status| status.success());
    if !needs(name, "CAP_SYS_ADMIN, to mount", possible) {
        return false;
    }
    let mut inner = Command::new("unshare");
    inner.args(["--mount", "--propagation", "private"]).arg(std::env::current_exe().unwrap());
    let output = inner.args([&format!("files::tests::mounts::{name}"), "--exact"]).env(INNER, "1").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && text.contains("1 passed"), "{text}");
    false
}

fn mount(arguments: &[&str], what: &Path, place: &Path) {
    assert!(Command::new("mount").args(arguments).args([what, place]).status().unwrap().success());
}

/// A file system of 64 KiB in the directory `small`.
fn small(home: &Home) {
    std::fs::create_dir(home.path("small")).unwrap();
    mount(&["-t", "tmpfs", "-o", "size=64k,mode=700"], Path::new("none"), &home.path("small"));
}

fn fill(home: &Home) {
    let full = std::fs::write(home.path("small/filler"), vec![0; 100_000]);
    assert_eq!(full.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
}

#[test]
fn a_mounted_file_is_rewritten_in_place() {
    if !may_mount("a_mounted_file_is_rewritten_in_place") {
        return;
    }
    let home = Home::new();
    let source = home.write("source", "a longer old content", 0o640);
    let target = home.write("target", "", 0o600);
    mount(&["--bind"], &source, &target);
    assert_eq!(home.one("target", "new"), Ok(Settled::Rewritten));
    assert_eq!((home.read("source").as_str(), mode(&source)), ("new", 0o640));
    assert_eq!(home.names(), ["source", "target"]);
}

#[test]
fn a_writable_file_in_a_read_only_directory_is_rewritten_in_place() {
    if !may_mount("a_writable_file_in_a_read_only_directory_is_rewritten_in_place") {
        return;
    }
    let home = Home::new();
    let source = home.write("source", "old", 0o600);
    home.write("dir/target", "", 0o600);
    home.write("dir/plain", "old", 0o600);
    mount(&["--bind"], &home.path("dir"), &home.path("dir"));
    mount(&["--bind"], &source, &home.path("dir/target"));
    mount(&["-o", "remount,bind,ro"], Path::new("none"), &home.path("dir"));
    assert_eq!(home.one("dir/target", "new"), Ok(Settled::Rewritten));
    for name in ["dir/plain", "dir/missing", "dir/new/missing"] {
        let error = home.one(name, "new").unwrap_err();
        assert!(error.contains(name) && error.contains("Read-only file system"), "{error}");
    }
    assert_eq!((home.read("source").as_str(), home.read("dir/plain").as_str()), ("new", "old"));
}

#[test]
fn on_a_full_disk_the_old_content_stays_and_the_others_arrive() {
    if !may_mount("on_a_full_disk_the_old_content_stays_and_the_others_arrive") {
        return;
    }
    let home = Home::new();
    small(&home);
    home.write("small/old", "old", 0o600);
    let linked = home.write("small/linked", "old", 0o600);
    std::fs::hard_link(&linked, home.path("small/name")).unwrap();
    fill(&home);
    let long = vec![b'x'; 20_000];
    let applied =
        home.deliver(&[("~/small/old", &long), ("~/small/new", &long), ("~/small/linked", &long), ("~/good", &long)]);
    let errors: Vec<_> = applied.errors().map(|error| chain(error)).collect();
    assert!(errors.len() == 3 && errors.iter().all(|error| error.contains("No space left")), "{errors:?}");
    assert_eq!((home.read("small/old").as_str(), home.read("small/name").as_str()), ("old", "old"));
    assert_eq!(std::fs::read(home.path("good")).unwrap(), long);
    assert_eq!(home.names(), ["good", "small", "small/filler", "small/linked", "small/name", "small/old"]);
}

#[test]
fn a_link_to_another_file_system_is_followed() {
    if !may_mount("a_link_to_another_file_system_is_followed") {
        return;
    }
    let home = Home::new();
    small(&home);
    home.write("small/real", "old", 0o640);
    std::os::unix::fs::symlink("small/real", home.path("link")).unwrap();
    assert_eq!(home.one("link", "new"), Ok(Settled::Replaced));
    assert_eq!((home.read("small/real").as_str(), mode(&home.path("small/real"))), ("new", 0o640));
}
