use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::Barrier;

use super::*;

const SOURCE: &str = "alice http://c";

fn record(inode: u64, content: &[u8], ledger: &Ledger) -> Record {
    Record { id: FileId { device: 1, inode }, size: 1, mode: 0o600, fingerprint: ledger.key().fingerprint(content) }
}

fn open(place: &Path) -> Ledger {
    let mut ledger = Ledger::new(Some(place.to_owned())).unwrap();
    ledger.begin(SOURCE.into());
    ledger
}

fn write(ledger: &mut Ledger, path: &str, inode: u64) {
    let record = record(inode, b"x", ledger);
    for file in ledger.intend([(path.into(), record)].into_iter()) {
        ledger.flushed(file.sync_data());
    }
}

/// `path: inodes` of each.
fn known(ledger: &Ledger) -> Vec<String> {
    let inodes = |records: &[Record]| records.iter().map(|it| it.id.inode.to_string()).collect::<Vec<_>>().join(" ");
    ledger.files().map(|(path, records)| format!("{}: {}", path.display(), inodes(records))).collect()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().mode() & 0o7777
}

fn names(place: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(place).unwrap();
    let mut names: Vec<_> = entries.map(|it| it.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_was_intended_is_known_to_the_next_start_and_to_nobody_else() {
    let scratch = tempfile::tempdir().unwrap();
    let place = scratch.path().join("state/agent");
    let mut ledger = open(&place);
    assert!(ledger.works() && !place.exists(), "an agent with nothing to write leaves nothing behind");
    ledger.approach([Path::new("/h/near")].into_iter());
    write(&mut ledger, "/h/\u{fc}\n%", 7);
    write(&mut ledger, "/h/a", 8);
    write(&mut ledger, "/h/a", 9);
    write(&mut ledger, "/h/b", 10);
    ledger.forget(["/h/b".into()].into_iter());
    let expected = ["/h/a: 8 9", "/h/near: ", "/h/\u{fc}\n%: 7"];
    assert_eq!(known(&ledger), expected);
    let next = open(&place);
    assert_eq!(known(&next), expected);
    assert_eq!(next.files().next().unwrap().1[0], record(8, b"x", &ledger));
    assert_eq!([&place, &place.join("key"), &place.join("ledger")].map(|path| mode(path)), [0o700, 0o600, 0o600]);
    // Files of another user's secrets, or of another server's, are not ours to judge; only their leftovers are.
    let mut other = Ledger::new(Some(place)).unwrap();
    other.begin("bob http://c".into());
    assert_eq!((known(&other).len(), other.paths().count()), (0, 3));
}

#[test]
fn a_path_that_is_no_text_is_kept_exactly() {
    use std::os::unix::ffi::OsStrExt;
    let scratch = tempfile::tempdir().unwrap();
    let path = Path::new(std::ffi::OsStr::from_bytes(b"/h/\xff\xfe%25\r"));
    let mut ledger = open(scratch.path());
    let _ = ledger.intend([(path.to_owned(), record(1, b"x", &ledger))].into_iter());
    assert_eq!(open(scratch.path()).files().next().unwrap().0, path);
}

#[test]
fn of_one_path_the_last_four_files_are_known() {
    let scratch = tempfile::tempdir().unwrap();
    let mut ledger = open(scratch.path());
    (1..=6).for_each(|inode| write(&mut ledger, "/a", inode));
    assert_eq!(known(&open(scratch.path())), ["/a: 3 4 5 6"]);
}

/// Wherever a crash cuts the file: what is left is read, nothing is said, and the next line is whole again.
#[test]
fn a_ledger_that_is_cut_anywhere_loses_only_its_end() {
    let scratch = tempfile::tempdir().unwrap();
    let mut ledger = open(scratch.path());
    let paths = ["/a", "/b", "/c"];
    paths.iter().zip(1..).for_each(|(path, inode)| write(&mut ledger, path, inode));
    let whole = std::fs::read(scratch.path().join("ledger")).unwrap();
    for cut in 0..=whole.len() {
        std::fs::write(scratch.path().join("ledger"), &whole[..cut]).unwrap();
        let lines = whole[..cut].split(|byte| *byte == b'\n').count() - 1;
        let mut next = open(scratch.path());
        assert!(next.works());
        assert_eq!(next.paths().count(), lines.saturating_sub(1), "cut at {cut}");
        write(&mut next, "/d", 4);
        let after = open(scratch.path());
        assert_eq!(known(&after).last().unwrap(), "/d: 4", "cut at {cut}");
        assert_eq!(names(scratch.path()), ["key", "ledger"], "cut at {cut}");
    }
}

#[test]
fn a_damaged_ledger_is_set_aside_and_what_is_whole_in_it_stays() {
    type Damage<'d> = (&'d str, &'d dyn Fn(&mut Vec<u8>), usize);
    let damage: [Damage<'_>; 6] = [
        ("a flipped bit", &|content| *content.iter_mut().rfind(|byte| **byte == b'b').unwrap() ^= 1, 1),
        ("garbage", &|content| *content = vec![0xa5; 5000].into_iter().chain([b'\n']).collect(), 0),
        ("garbage at the end", &|content| content.extend(b"\0\0\0\0\n"), 2),
        ("another version", &|content| content[19] = b'2', 2),
        ("no header", &|content| drop(content.drain(..=content.iter().position(|byte| *byte == b'\n').unwrap())), 1),
        ("far too long", &|content| content.resize(5 * 1024 * 1024, b'\n'), 2),
    ];
    for (what, damage, left) in damage {
        let scratch = tempfile::tempdir().unwrap();
        let mut ledger = open(scratch.path());
        write(&mut ledger, "/a", 1);
        write(&mut ledger, "/b", 2);
        let mut content = std::fs::read(scratch.path().join("ledger")).unwrap();
        damage(&mut content);
        std::fs::write(scratch.path().join("ledger"), &content).unwrap();
        let next = open(scratch.path());
        assert!(next.works() && known(&next).len() == left, "{what}: {:?}", known(&next));
        assert_eq!(names(scratch.path()), ["key", "ledger", "ledger.damaged-1"], "{what}");
        assert!(std::fs::read(scratch.path().join("ledger.damaged-1")).unwrap() == content, "{what}");
        assert_eq!(known(&open(scratch.path())), known(&next), "{what}");
        assert_eq!(names(scratch.path()), ["key", "ledger", "ledger.damaged-1"], "{what}: only once");
    }
}

#[test]
fn without_its_key_a_ledger_says_nothing() {
    for spoil in [
        |key: &Path| std::fs::remove_file(key),
        |key: &Path| std::fs::write(key, "short"),
        |key: &Path| std::fs::write(key, [7; 32]),
    ] {
        let scratch = tempfile::tempdir().unwrap();
        write(&mut open(scratch.path()), "/a", 1);
        spoil(&scratch.path().join("key")).unwrap();
        let mut next = open(scratch.path());
        assert_eq!(known(&next), Vec::<String>::new());
        assert_eq!(names(scratch.path()), ["key", "ledger", "ledger.damaged-1"]);
        write(&mut next, "/b", 2);
        assert_eq!(known(&open(scratch.path())), ["/b: 2"]);
    }
}

#[test]
fn nine_damaged_ledgers_are_enough() {
    let scratch = tempfile::tempdir().unwrap();
    for number in 1..=10 {
        std::fs::write(scratch.path().join("ledger"), "garbage\n").unwrap();
        assert_eq!(open(scratch.path()).works(), number < 10);
    }
    assert_eq!(std::fs::read(scratch.path().join("ledger")).unwrap(), b"garbage\n");
}

#[test]
fn a_start_that_was_cut_short_before_its_first_line_leaves_no_riddle() {
    let scratch = tempfile::tempdir().unwrap();
    std::fs::write(scratch.path().join("key"), "half").unwrap();
    std::fs::write(scratch.path().join("ledger"), "coder-ag").unwrap();
    let mut ledger = open(scratch.path());
    write(&mut ledger, "/a", 1);
    assert_eq!(known(&open(scratch.path())), ["/a: 1"]);
    assert_eq!(names(scratch.path()), ["key", "ledger"]);
}

#[test]
fn where_others_may_write_or_links_lead_there_is_no_ledger() {
    let scratch = tempfile::tempdir().unwrap();
    let place = scratch.path().join("state");
    for open_to in [0o770, 0o777, 0o720] {
        std::fs::create_dir(&place).unwrap();
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(open_to)).unwrap();
        let mut ledger = open(&place);
        write(&mut ledger, "/a", 1);
        assert!(!ledger.works() && names(&place).is_empty());
        std::fs::remove_dir(&place).unwrap();
    }
    std::fs::write(&place, "a file").unwrap();
    let mut ledger = open(&place);
    write(&mut ledger, "/a", 1);
    assert!(!ledger.works());
    std::fs::remove_file(&place).unwrap();
    std::fs::create_dir(&place).unwrap();
    let victim = scratch.path().join("victim");
    std::fs::write(&victim, "theirs").unwrap();
    symlink(&victim, place.join("ledger")).unwrap();
    let mut ledger = open(&place);
    write(&mut ledger, "/a", 1);
    assert!(!ledger.works());
    assert_eq!(std::fs::read(&victim).unwrap(), b"theirs");
}

#[test]
fn a_worn_ledger_is_written_anew_and_never_grows_for_ever() {
    let scratch = tempfile::tempdir().unwrap();
    let mut longest = 0;
    let mut ledger = open(scratch.path());
    for inode in 1..=500 {
        write(&mut ledger, "/a", inode);
        ledger.begin(SOURCE.into());
        longest = longest.max(std::fs::metadata(scratch.path().join("ledger")).unwrap().len());
    }
    assert!(longest < 40_000, "{longest}");
    assert_eq!(known(&ledger), ["/a: 497 498 499 500"]);
    // Of too many paths the oldest go.
    let path = |number: usize| format!("/{number}/{}", "n".repeat(4000));
    for round in 0..10 {
        let record = record(1, b"x", &ledger);
        let _ = ledger.intend((0..50).map(|number| (path(round * 50 + number).into(), record)));
        ledger.begin(SOURCE.into());
    }
    let size = std::fs::metadata(scratch.path().join("ledger")).unwrap().len();
    assert!(size < 1024 * 1024, "{size}");
    assert!(ledger.paths().any(|known| known == Path::new(&path(499))));
    assert!(!ledger.paths().any(|known| known == Path::new("/a")));
}

#[test]
fn agents_that_write_at_once_lose_no_line() {
    const AGENTS: u64 = 8;
    const EACH: u64 = 50;
    let scratch = tempfile::tempdir().unwrap();
    let start = Barrier::new(8);
    std::thread::scope(|scope| {
        for agent in 0..AGENTS {
            let (place, start) = (scratch.path(), &start);
            scope.spawn(move || {
                start.wait();
                let mut ledger = open(place);
                ledger.approach([Path::new("/shared")].into_iter());
                for number in 0..EACH {
                    write(&mut ledger, &format!("/{agent}/{number}"), number);
                    // Now and then one of them writes it anew under the others' feet.
                    ledger.begin(SOURCE.into());
                    write(&mut ledger, "/shared", number);
                }
            });
        }
    });
    let ledger = open(scratch.path());
    assert_eq!(known(&ledger).len() as u64, AGENTS * EACH + 1);
    assert_eq!(names(scratch.path()), ["key", "ledger"]);
}

#[test]
fn of_two_first_agents_the_later_takes_the_key_of_the_earlier() {
    let scratch = tempfile::tempdir().unwrap();
    let [mut first, mut second] = [open(scratch.path()), open(scratch.path())];
    for (ledger, path, inode) in [(&mut first, "/a", 1), (&mut second, "/b", 2)] {
        ledger.approach([Path::new(path)].into_iter());
        write(ledger, path, inode);
    }
    write(&mut first, "/c", 3);
    assert!(first.works() && second.works());
    assert_eq!(known(&second), ["/a: 1", "/b: 2"]);
    let next = open(scratch.path());
    assert_eq!(known(&next), ["/a: 1", "/b: 2", "/c: 3"]);
    let fingerprints = [&first, &second, &next].map(|ledger| ledger.key().fingerprint(b"x"));
    assert!(next.files().all(|(_, records)| fingerprints == [records[0].fingerprint; 3]));
}

#[test]
fn a_key_that_is_changed_while_the_agent_runs_ends_the_ledger() {
    let scratch = tempfile::tempdir().unwrap();
    let mut ledger = open(scratch.path());
    write(&mut ledger, "/a", 1);
    std::fs::write(scratch.path().join("key"), [7; 32]).unwrap();
    let before = std::fs::read(scratch.path().join("ledger")).unwrap();
    write(&mut ledger, "/b", 2);
    assert!(!ledger.works());
    assert_eq!(std::fs::read(scratch.path().join("ledger")).unwrap(), before);
}

#[test]
fn looking_changes_nothing() {
    let scratch = tempfile::tempdir().unwrap();
    let place = scratch.path().join("state");
    let peek = || {
        let mut ledger = Ledger::new(Some(place.clone())).unwrap();
        ledger.peek(SOURCE.into());
        known(&ledger)
    };
    assert!(peek().is_empty() && !place.exists());
    write(&mut open(&place), "/a", 1);
    assert_eq!(peek(), ["/a: 1"]);
    let mut content = std::fs::read(place.join("ledger")).unwrap();
    content.extend(b"garbage\n");
    std::fs::write(place.join("ledger"), &content).unwrap();
    assert_eq!(peek(), ["/a: 1"]);
    assert_eq!(names(&place), ["key", "ledger"]);
}

#[test]
fn neither_the_ledger_nor_debug_shows_a_value() {
    let scratch = tempfile::tempdir().unwrap();
    let mut ledger = open(scratch.path());
    let record = record(1, b"hunter2hunter2", &ledger);
    let _ = ledger.intend([("/a".into(), record)].into_iter());
    let text = std::fs::read_to_string(scratch.path().join("ledger")).unwrap() + &format!("{ledger:?}");
    assert!(!text.contains("hunter2"), "{text}");
    // Two agents' fingerprints of one value have nothing in common.
    let other = Ledger::new(None).unwrap();
    assert!(record.fingerprint != other.key().fingerprint(b"hunter2hunter2"));
}
