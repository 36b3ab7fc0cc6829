//! Every kind of target.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

use super::*;

#[test]
fn a_missing_file_is_made_0600_and_its_directories_0700() {
    let home = Home::new();
    assert_eq!(home.one("a/b/secret", "value"), Ok(Settled::Created));
    assert_eq!(home.read("a/b/secret"), "value");
    assert_eq!(["a", "a/b", "a/b/secret"].map(|name| mode(&home.path(name))), [0o700, 0o700, 0o600]);
    assert_eq!(home.names(), ["a", "a/b", "a/b/secret"]);
}

#[test]
fn existing_directories_are_left_as_they_are() {
    let home = Home::new();
    std::fs::create_dir(home.path("a")).unwrap();
    std::fs::set_permissions(home.path("a"), std::fs::Permissions::from_mode(0o755)).unwrap();
    home.one("a/b/secret", "value").unwrap();
    assert_eq!([mode(&home.path("a")), mode(&home.path("a/b"))], [0o755, 0o700]);
}

#[test]
fn an_absolute_path_needs_no_home() {
    let home = Home::new();
    let path = home.path("secret");
    let policy = Policy::default();
    let targets = [(path.to_str().unwrap(), b"value".as_slice()), ("~/other", b"value")];
    let applied = home.deliver_with(&targets, &policy);
    assert_eq!(*applied.outcomes()[0].result.as_ref().unwrap(), Settled::Created);
    let error = chain(applied.outcomes()[1].result.as_ref().unwrap_err());
    assert_eq!(error, "cannot deliver the secret to \"~/other\": it is refused: the home directory is unknown");
}

#[test]
fn a_regular_file_keeps_its_mode_whatever_it_is() {
    let home = Home::new();
    for bits in [0o600, 0o644, 0o640, 0o400, 0o444, 0o777, 0o604, 0o4755, 0o2755, 0o1600] {
        let path = home.write("secret", "old", bits);
        let before = stamp(&path).0;
        assert_eq!(home.one("secret", "new"), Ok(Settled::Replaced), "{bits:o}");
        assert_eq!((home.read("secret").as_str(), mode(&path)), ("new", bits));
        assert_ne!(stamp(&path).0, before, "replaced by another file");
        assert_eq!(home.names(), ["secret"]);
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn unchanged_content_is_not_written_at_all() {
    let home = Home::new();
    let path = home.write("secret", "same", 0o644);
    let before = stamp(&path);
    let directory = stamp(home.0.path());
    assert_eq!(home.one("secret", "same"), Ok(Settled::Unchanged));
    assert_eq!((stamp(&path), stamp(home.0.path())), (before, directory));
}

#[test]
fn content_is_exact_shorter_longer_empty_and_binary() {
    let home = Home::new();
    let long = vec![7; 100_000];
    for value in [b"".as_slice(), b"a", b"\0\xff\n\r\n", &long, b"short again", b""] {
        home.deliver(&[("~/secret", value)]);
        assert_eq!(std::fs::read(home.path("secret")).unwrap(), value);
    }
}

#[test]
fn owner_and_group_are_kept() {
    if !needs_root("owner_and_group_are_kept") {
        return;
    }
    let home = Home::new();
    let path = home.write("secret", "old", 0o640);
    std::os::unix::fs::chown(&path, Some(12345), Some(54321)).unwrap();
    assert_eq!(home.one("secret", "new"), Ok(Settled::Replaced));
    let metadata = std::fs::metadata(&path).unwrap();
    assert_eq!((metadata.uid(), metadata.gid(), mode(&path)), (12345, 54321, 0o640));
}

#[test]
fn extended_attributes_and_acl_are_kept() {
    let home = Home::new();
    let path = home.write("secret", "old", 0o640);
    let flags = rustix::fs::XattrFlags::empty();
    if rustix::fs::setxattr(&path, "user.note", b"kept", flags).is_err() {
        return;
    }
    // One more user may read: version 2, then tag, permissions and id of user, user 1234, group, mask and others.
    let acl: Vec<u8> = [(1, 6, u32::MAX), (2, 4, 1234), (4, 4, u32::MAX), (16, 4, u32::MAX), (32, 0, u32::MAX)]
        .into_iter()
        .flat_map(|(tag, permissions, id): (u16, u16, u32)| {
            [tag.to_le_bytes().as_slice(), &permissions.to_le_bytes(), &id.to_le_bytes()].concat()
        })
        .collect();
    let acl = [2u32.to_le_bytes().as_slice(), &acl].concat();
    let has_acl = rustix::fs::setxattr(&path, "system.posix_acl_access", &acl, flags).is_ok();

    assert_eq!(home.one("secret", "new"), Ok(Settled::Replaced));
    let attribute = |name: &str| {
        let mut buffer = [0; 200];
        rustix::fs::getxattr(&path, name, &mut buffer).map(|len| buffer[..len].to_vec()).ok()
    };
    assert_eq!(attribute("user.note").unwrap(), b"kept");
    assert_eq!(attribute("system.posix_acl_access"), has_acl.then_some(acl));
    assert_eq!(mode(&path), 0o640);
}

#[test]
fn a_link_is_kept_and_what_it_points_to_is_replaced() {
    let home = Home::new();
    let real = home.write("elsewhere/real", "old", 0o640);
    symlink("elsewhere/real", home.path("relative")).unwrap();
    symlink(&real, home.path("absolute")).unwrap();
    symlink("relative", home.path("chain")).unwrap();
    for (link, value) in [("relative", "one"), ("absolute", "two"), ("chain", "three")] {
        assert_eq!(home.one(link, value), Ok(Settled::Replaced));
        assert_eq!((std::fs::read_to_string(&real).unwrap().as_str(), mode(&real)), (value, 0o640));
        assert!(std::fs::symlink_metadata(home.path(link)).unwrap().is_symlink());
    }
    assert_eq!(home.names(), ["absolute", "chain", "elsewhere", "elsewhere/real", "relative"]);
}

#[test]
fn a_dangling_link_gets_its_target() {
    let home = Home::new();
    std::fs::create_dir(home.path("dir")).unwrap();
    symlink("dir/real", home.path("link")).unwrap();
    assert_eq!(home.one("link", "value"), Ok(Settled::Created));
    assert_eq!((home.read("dir/real").as_str(), mode(&home.path("dir/real"))), ("value", 0o600));
}

#[test]
fn a_link_that_leads_nowhere_says_so() {
    let home = Home::new();
    symlink("missing/real", home.path("link")).unwrap();
    symlink("loop", home.path("loop")).unwrap();
    symlink("/", home.path("root")).unwrap();
    symlink("..", home.path("up")).unwrap();
    let error = |name: &str| home.one(name, "value").unwrap_err();
    assert!(error("link").ends_with("cannot find where it leads: No such file or directory (os error 2)"));
    assert!(error("loop").contains("Too many levels of symbolic links"), "{}", error("loop"));
    assert!(error("root").ends_with("it is a directory"));
    assert!(error("up").ends_with("it is a directory"));
    assert_eq!(home.names(), ["link", "loop", "root", "up"]);
}

#[test]
fn links_among_the_parents_are_followed() {
    let home = Home::new();
    std::fs::create_dir(home.path("real")).unwrap();
    symlink("real", home.path("link")).unwrap();
    assert_eq!(home.one("link/new/secret", "value"), Ok(Settled::Created));
    assert_eq!(home.read("real/new/secret"), "value");
}

#[test]
fn all_names_of_a_hard_linked_file_get_the_content() {
    let home = Home::new();
    let path = home.write("a", "a longer old content", 0o640);
    std::fs::hard_link(&path, home.path("b")).unwrap();
    let inode = stamp(&path).0;
    for value in ["new", "something longer than what was there before"] {
        assert_eq!(home.one("a", value), Ok(Settled::Rewritten));
        assert_eq!((home.read("b").as_str(), stamp(&path).0, mode(&path)), (value, inode, 0o640));
    }
    assert_eq!(home.names(), ["a", "b"]);
}

#[test]
fn what_is_no_file_is_refused_and_untouched() {
    let home = Home::new();
    std::fs::create_dir(home.path("dir")).unwrap();
    let _socket = UnixListener::bind(home.path("socket")).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, home.path("fifo"), rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU, 0)
        .unwrap();
    symlink("/dev/null", home.path("device")).unwrap();
    for (name, kind) in [("dir", "directory"), ("socket", "socket"), ("fifo", "FIFO"), ("device", "device")] {
        let expected = format!("it is refused: it is a {kind}");
        assert!(home.one(name, "value").unwrap_err().ends_with(&expected), "{name}");
    }
    assert_eq!(home.names(), ["device", "dir", "fifo", "socket"]);
    let root = home.deliver_with(&[("/", b"value")], &Policy::default());
    assert!(chain(root.outcomes()[0].result.as_ref().unwrap_err()).ends_with("it is a directory"));
}

#[test]
fn a_path_through_a_file_or_too_long_a_name_fails_alone() {
    let home = Home::new();
    home.write("file", "x", 0o600);
    let long = format!("~/{}", "n".repeat(256));
    // Longer than a path may be, but only below a home.
    let deep = format!("~/{}x", "d/".repeat(2046));
    let targets = [("~/file/secret", b"v".as_slice()), (long.as_str(), b"v"), (deep.as_str(), b"v"), ("~/good", b"v")];
    let applied = home.deliver(&targets);
    let errors: Vec<_> = applied.errors().map(|error| chain(error)).collect();
    assert!(errors[0].contains("Not a directory"), "{errors:?}");
    assert!(errors[1].contains("File name too long") && errors[2].contains("more than 4095 bytes"), "{errors:?}");
    assert_eq!((errors.len(), home.read("good").as_str()), (3, "v"));
    assert_eq!(home.names(), ["file", "good"]);
}

#[test]
fn a_home_that_is_no_text_is_a_home() {
    let home = Home::new();
    let odd = home.0.path().join(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff\xfe"));
    std::fs::create_dir(&odd).unwrap();
    let policy = Policy { home: Some(odd.clone()), ..Policy::default() };
    let applied = home.deliver_with(&[("~/a/secret", b"value")], &policy);
    assert_eq!(applied.errors().count(), 0);
    assert_eq!(std::fs::read(odd.join("a/secret")).unwrap(), b"value");
}

#[test]
fn of_two_secrets_for_one_file_the_later_wins() {
    let home = Home::new();
    home.write("real", "old", 0o600);
    symlink("real", home.path("link")).unwrap();
    let absolute = home.path("x");
    let targets = [("~/x", b"1".as_slice()), (absolute.to_str().unwrap(), b"2"), ("~/real", b"3"), ("~/link", b"4")];
    let applied = home.deliver(&targets);
    let settled: Vec<_> = applied.outcomes().iter().map(|it| *it.result.as_ref().unwrap()).collect();
    assert_eq!(settled, [Settled::Superseded, Settled::Created, Settled::Superseded, Settled::Replaced]);
    assert_eq!((home.read("x").as_str(), home.read("real").as_str()), ("2", "4"));
    assert_eq!(applied.delivered().len(), 2);
}

#[test]
fn a_batch_keeps_the_order_of_the_secrets() {
    let home = Home::new();
    let paths: Vec<String> = (0..150).map(|number| format!("~/d{}/{number}", number % 3)).collect();
    let targets: Vec<(&str, &[u8])> = paths.iter().map(|path| (path.as_str(), path.as_bytes())).collect();
    let applied = home.deliver(&targets);
    assert_eq!(applied.errors().count(), 0);
    let expected: Vec<_> = (0..150).map(|number| OsString::from(number.to_string())).collect();
    assert_eq!(names_of_outcomes(&applied), expected);
    assert!(paths.iter().all(|path| home.read(&path[2..]) == *path));
    assert_eq!(home.names().len(), 153);
}

#[test]
fn what_was_delivered_is_left_alone_by_the_next_plan() {
    let home = Home::new();
    let targets = [("~/edited", b"1".as_slice()), ("~/changed", b"1")];
    let before = home.deliver(&targets);
    home.write("edited", "by the user", 0o600);
    let policy = Policy { delivered: before.delivered(), ..home.policy() };
    let after = home.deliver_with(&[targets[0], ("~/changed", b"2")], &policy);
    let settled: Vec<_> = after.outcomes().iter().map(|it| *it.result.as_ref().unwrap()).collect();
    assert_eq!(settled, [Settled::Delivered(Since::Changed), Settled::Replaced]);
    assert_eq!((home.read("edited").as_str(), home.read("changed").as_str()), ("by the user", "2"));
    // The next boot knows of nothing and writes every target.
    home.deliver(&targets);
    assert_eq!(home.read("edited"), "1");
}
