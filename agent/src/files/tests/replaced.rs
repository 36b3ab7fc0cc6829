//! Copies of what was there before a secret.

use super::*;

/// The copies below a directory of state, with their modes.
fn copies(state: &Path) -> Vec<(String, u32)> {
    let Ok(entries) = std::fs::read_dir(state.join("replaced")) else { return Vec::new() };
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut copies: Vec<_> = paths.map(|path| (std::fs::read_to_string(&path).unwrap(), mode(&path))).collect();
    copies.sort();
    copies
}

#[test]
fn the_first_content_that_is_not_ours_is_kept_once() {
    let state = tempfile::tempdir().unwrap();
    let home = Home::with_ledger(Some(state.path()));
    home.write(".bashrc", "mine", 0o644);
    let applied = home.deliver(&[("~/.bashrc", b"secret-1"), ("~/new", b"secret-1")]);
    let kept = applied.kept();
    assert_eq!(kept.len(), 1);
    assert_eq!(
        (kept[0].0.as_path(), std::fs::read_to_string(&kept[0].1).unwrap()),
        (&*home.path(".bashrc"), "mine".into())
    );
    assert_eq!(copies(state.path()), [("mine".to_owned(), 0o600)]);
    // What the agent wrote itself is no loss, and the first copy stays.
    home.one(".bashrc", "secret-2").unwrap();
    home.write(".bashrc", "mine again", 0o644);
    home.one(".bashrc", "secret-2").unwrap();
    home.one("new", "secret-2").unwrap();
    assert_eq!(copies(state.path()), [("mine".to_owned(), 0o600)]);
    // An edit of a file that was the agent's from the start is kept as well.
    home.write("new", "edited", 0o600);
    let applied = home.deliver(&[("~/new", b"secret-3"), ("~/.bashrc", b"secret-2")]);
    assert_eq!(applied.kept().len(), 2);
    assert_eq!(copies(state.path()), [("edited".to_owned(), 0o600), ("mine".to_owned(), 0o600)]);
}

#[test]
fn two_names_and_links_are_kept_like_plain_files_and_an_empty_file_is_nothing_to_keep() {
    let state = tempfile::tempdir().unwrap();
    let home = Home::with_ledger(Some(state.path()));
    std::fs::hard_link(home.write("linked", "two names", 0o600), home.path("other")).unwrap();
    std::os::unix::fs::symlink(home.write("behind", "behind a link", 0o600), home.path("link")).unwrap();
    home.write("empty", "", 0o600);
    let same = home.write("same", "same", 0o600);
    home.deliver(&[("~/linked", b"1"), ("~/link", b"1"), ("~/empty", b"1"), ("~/same", b"same")]);
    assert_eq!(std::fs::read(same).unwrap(), b"same");
    let kept: Vec<_> = copies(state.path()).into_iter().map(|(content, _)| content).collect();
    assert_eq!(kept, ["behind a link", "two names"]);
}

#[test]
fn without_a_copy_the_file_stays() {
    let state = tempfile::tempdir().unwrap();
    let home = Home::with_ledger(Some(state.path()));
    home.write("mine", "mine", 0o600);
    std::fs::write(state.path().join("replaced"), "in the way").unwrap();
    let error = home.one("mine", "secret").unwrap_err();
    assert!(error.contains("cannot keep a copy of the file that is there"), "{error}");
    assert_eq!(home.read("mine"), "mine");
}
