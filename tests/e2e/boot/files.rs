//! File targets: the reference's scenarios under their names, and what it leaves undone.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use serde_json::json;
use tests::{Need, binaries, requires};

use super::{World, mode, names, snapshot};

#[test]
fn absolute_path() {
    let world = World::new();
    let volume = world.env.new_home("volume");
    fs::set_permissions(&volume, Permissions::from_mode(0o755)).unwrap();
    let path = volume.join("new/dir/token");
    let value = world.alice.secret("token", &["--file", path.to_str().unwrap()]);
    world.boot_in(&world.workspace(json!({})), &world.home());
    assert_eq!(fs::read_to_string(&path).unwrap(), value);
    assert_eq!(mode(&path), 0o600);
    assert_eq!((mode(volume.join("new/dir")), mode(volume.join("new")), mode(&volume)), (0o700, 0o700, 0o755));
    assert_eq!(names(&volume), ["new", "new/dir", "new/dir/token"]);
}

#[test]
fn tilde_path() {
    let world = World::new();
    let value = world.alice.secret("key", &["--file", "~/.ssh/id_work"]);
    let agent = world.boot_in(&world.workspace(json!({})), &world.home());
    assert_eq!(agent.read(".ssh/id_work"), value);
    assert_eq!((mode(agent.home().join(".ssh/id_work")), mode(agent.home().join(".ssh"))), (0o600, 0o700));
}

/// No `HOME` and no entry in the passwd database, as with an arbitrary user id in a container.
#[test]
fn tilde_path_no_home_dir() {
    let needs = [Need::Root, Need::Program("setpriv", "util-linux")];
    if !requires("tilde_path_no_home_dir", &needs) {
        return;
    }
    let world = World::new();
    let volume = world.env.new_home("volume");
    let other = world.alice.secret("other", &["--file", volume.join("other").to_str().unwrap()]);
    world.alice.secret("tilde", &["--file", "~/.token"]);
    let workspace = world.workspace(json!({}));
    for (dir, bits) in [("", 0o755), ("tmp", 0o777), ("volume", 0o777)] {
        fs::set_permissions(world.env.path(dir), Permissions::from_mode(bits)).unwrap();
    }
    let run = world.env.program("/usr/bin/setpriv").args(["--reuid=54321", "--regid=54321", "--clear-groups"]);
    let run = run.arg(&binaries().coder).args(["agent", "--agent-url", world.server.url()]).arg("--log-dir");
    let run = run.arg(world.env.path("tmp")).env("CODER_AGENT_TOKEN", workspace.token()).without("HOME");
    let out = run.args(["--", "true"]).run().success();
    let _ = out.complains(r#"cannot deliver the secret to "~/.token": it is refused: the home directory is unknown"#);
    assert_eq!(fs::read_to_string(volume.join("other")).unwrap(), other);
    assert_eq!(names(&volume), ["other"]);
}

#[test]
fn empty_file_path_skipped() {
    let world = World::new();
    world.alice.secret("variable", &["--env", "VARIABLE"]);
    let agent = world.boot_in(&world.workspace(json!({})), &world.home());
    assert_eq!(names(agent.home()), Vec::<String>::new());
}

#[test]
fn empty_slice() {
    let world = World::new();
    let mut agent = world.boot_in(&world.workspace(json!({})), &world.home());
    assert_eq!(names(agent.home()), Vec::<String>::new());
    agent.line_with("delivered 0 variables and 0 files", tests::SHORT);
}

#[test]
fn multiple_secrets() {
    let world = World::new();
    let paths = ["~/a", "~/deep/er/b", "~/deep/c", "~/with space/d", "~//e", "~/deep/../f", "~/ünï/g"];
    let secrets: Vec<_> =
        (0..).zip(paths).map(|(n, path)| world.alice.secret(&format!("s{n}"), &["--file", path])).collect();
    let both = world.alice.secret("both", &["--file", "~/both", "--env", "BOTH"]);
    let agent = world.boot_in(&world.workspace(json!({})), &world.home());
    let places = ["a", "deep/er/b", "deep/c", "with space/d", "e", "f", "ünï/g"];
    for (place, value) in places.iter().zip(&secrets) {
        assert_eq!(agent.read(place), *value, "{place}");
    }
    assert_eq!(agent.read("both"), both);
    // Nothing but these: no temporary file stays.
    let mut expected: Vec<_> = places.into_iter().chain(["both", "deep", "deep/er", "with space", "ünï"]).collect();
    expected.sort_unstable();
    let mut found = names(agent.home());
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn overwrites_existing() {
    let world = World::new();
    let value = world.alice.secret("config", &["--file", "~/config"]);
    let home = world.home();
    fs::write(home.join("config"), "what was there, and longer than the value that comes in its place".repeat(4))
        .unwrap();
    fs::set_permissions(home.join("config"), Permissions::from_mode(0o644)).unwrap();
    let agent = world.boot_in(&world.workspace(json!({})), &home);
    assert_eq!(agent.read("config"), value);
    assert_eq!(mode(home.join("config")), 0o644);
    assert_eq!(names(&home), ["config"]);
}

/// The later one by name, not by time of creation; and who is left out is told.
#[test]
fn path_collision_after_tilde_resolution() {
    let world = World::new();
    let home = world.home();
    let later = world.alice.secret("b", &["--file", "~/same"]);
    world.alice.secret("a", &["--file", home.join("same").to_str().unwrap()]);
    let mut agent = world.boot_in(&world.workspace(json!({})), &home);
    assert_eq!(agent.read("same"), later);
    agent.line_with("two secrets go to the same file", tests::SHORT);
    assert_eq!(names(&home), ["same"]);
}

/// Everything that JSON can carry: each control character but NUL, a byte order mark, both line ends, all widths of UTF-8.
#[test]
fn binary_content() {
    let world = World::new();
    let mut value = String::from("\u{feff}");
    value.extend((1..0x250).filter_map(char::from_u32));
    value.push_str("\r\n\r\n\u{2028}\u{fffd}\u{1f511}\u{10ffff}\n\n");
    world.alice.secret_with("binary", &value, &["--file", "~/binary"]);
    let agent = world.boot_in(&world.workspace(json!({})), &world.home());
    assert_eq!(fs::read(agent.home().join("binary")).unwrap(), value.as_bytes());
}

#[test]
fn the_largest_value_and_the_empty_one() {
    let world = World::new();
    let largest = world.env.canary("largest").repeat(1000)[..24_576].to_owned();
    world.alice.secret_with("largest", &largest, &["--file", "~/largest"]);
    world.alice.secret("empty", &["--file", "~/empty"]);
    let _ = world.alice.coder(["secret", "update", "empty", "--value", ""]).run().success();
    let agent = world.boot_in(&world.workspace(json!({})), &world.home());
    assert_eq!(agent.read("largest"), largest);
    assert_eq!(agent.read("empty"), "");
}

#[test]
fn what_a_symlink_points_to_gets_the_value_and_the_link_stays() {
    let world = World::new();
    let linked = world.alice.secret("linked", &["--file", "~/.netrc"]);
    let dangling = world.alice.secret("dangling", &["--file", "~/dangling"]);
    let home = world.home();
    fs::create_dir(home.join("dotfiles")).unwrap();
    fs::write(home.join("dotfiles/netrc"), "old").unwrap();
    fs::set_permissions(home.join("dotfiles/netrc"), Permissions::from_mode(0o640)).unwrap();
    symlink("dotfiles/netrc", home.join(".netrc")).unwrap();
    symlink("dotfiles/new", home.join("dangling")).unwrap();
    let agent = world.boot_in(&world.workspace(json!({})), &home);
    assert_eq!((agent.read("dotfiles/netrc"), agent.read("dotfiles/new")), (linked, dangling));
    assert_eq!((mode(home.join("dotfiles/netrc")), mode(home.join("dotfiles/new"))), (0o640, 0o600));
    assert_eq!(fs::read_link(home.join(".netrc")).unwrap().to_str(), Some("dotfiles/netrc"));
    assert_eq!(fs::read_link(home.join("dangling")).unwrap().to_str(), Some("dotfiles/new"));
    assert_eq!(names(&home), [".netrc", "dangling", "dotfiles", "dotfiles/netrc", "dotfiles/new"]);
}

#[test]
fn hard_links_keep_one_content() {
    let world = World::new();
    let value = world.alice.secret("token", &["--file", "~/token"]);
    let home = world.home();
    fs::write(home.join("token"), "old").unwrap();
    fs::hard_link(home.join("token"), home.join("other-name")).unwrap();
    let agent = world.boot_in(&world.workspace(json!({})), &home);
    assert_eq!((agent.read("token"), agent.read("other-name")), (value.clone(), value));
    assert_eq!(fs::metadata(home.join("token")).unwrap().nlink(), 2);
}

#[test]
fn unchanged_content_is_not_written_at_all() {
    let world = World::new();
    world.alice.secret("one", &["--file", "~/dir/one"]);
    world.alice.secret("two", &["--file", "~/two"]);
    let workspace = world.workspace(json!({}));
    let home = world.home();
    world.boot_in(&workspace, &home);
    let before = snapshot(&home);
    world.boot_in(&workspace, &home);
    assert_eq!(snapshot(&home), before);
}

/// Files of an earlier boot: a new value replaces, an edit is undone, a deleted secret leaves its file.
#[test]
fn the_next_boot_delivers_what_is_stored_then() {
    let world = World::new();
    world.alice.secret("changed", &["--file", "~/changed"]);
    let edited = world.alice.secret("edited", &["--file", "~/edited"]);
    let deleted = world.alice.secret("deleted", &["--file", "~/deleted"]);
    let disabled = world.alice.secret("disabled", &["--file", "~/disabled"]);
    let workspace = world.workspace(json!({}));
    let home = world.home();
    world.boot_in(&workspace, &home);

    let new = world.env.canary("new");
    let _ = world.alice.coder(["secret", "update", "changed"]).stdin(&new).run().success();
    let _ = world.alice.coder(["secret", "delete", "deleted", "--yes"]).run().success();
    let _ = world.alice.coder(["secret", "disable", "disabled"]).run().success();
    fs::write(home.join("edited"), "by hand").unwrap();
    fs::write(home.join("disabled"), "by hand").unwrap();
    let agent = world.boot_in(&workspace, &home);
    assert_eq!((agent.read("changed"), agent.read("edited"), agent.read("deleted")), (new, edited, deleted));
    assert_eq!(agent.read("disabled"), "by hand");
    assert_ne!(disabled, "by hand");
}
