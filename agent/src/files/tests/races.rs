//! Others who are at the same files in the same moment. Any outcome is right but a value elsewhere, half of one, somebody
//! else's work lost without a word, or a temporary file.

use std::os::unix::fs::symlink;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use super::faults::as_user;
use super::*;
use crate::config::StaleFiles;

/// One test for `make test`, the same with more rounds for `make test-long`.
macro_rules! race {
    ($name:ident, $run:ident) => {
        #[test]
        fn $name() {
            $run(1000);
        }

        mod $run {
            #[test]
            #[ignore = "long: ten times the rounds"]
            fn many_rounds() {
                super::$run(10_000);
            }
        }
    };
}

race!(a_link_swapped_while_we_write_never_leads_astray, swapped_links);
race!(two_agents_with_one_home_tear_nothing, two_agents);
race!(a_file_made_in_the_same_moment_is_not_lost_without_a_word, made_at_once);
race!(a_file_that_takes_a_stale_ones_name_is_not_removed, stale_names);

/// A directory in memory, where there is one: what is raced for is the order of calls, and not the disk.
pub(super) fn directory() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

/// Runs `disturb` again and again in a thread while `work` runs.
fn while_disturbed(disturb: impl Fn() + Sync, work: impl FnOnce()) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let disturbing = scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                disturb();
            }
        });
        let worked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        done.store(true, Ordering::Relaxed);
        disturbing.join().unwrap();
        worked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
}

/// The user of a home plants links to what only root may write, at the target and among its parents.
fn swapped_links(rounds: usize) {
    let outside = directory();
    std::fs::set_permissions(outside.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let victim = outside.path().join("secret");
    std::fs::write(&victim, "untouched").unwrap();
    std::fs::set_permissions(&victim, std::fs::Permissions::from_mode(0o444)).unwrap();
    std::fs::set_permissions(outside.path(), std::fs::Permissions::from_mode(0o555)).unwrap();
    let before = stamp(&victim);
    as_user(|| {
        let home = Home::at(directory(), None);
        std::fs::create_dir_all(home.path("dir")).unwrap();
        std::fs::create_dir_all(home.path("planted")).unwrap();
        let (target, link, kept) = (home.path("dir/secret"), home.path("planted/link"), home.path("planted/dir"));
        let disturb = || {
            let _ = std::fs::remove_file(&link);
            symlink(&victim, &link).unwrap();
            let _ = std::fs::rename(&link, &target);
            let _ = std::fs::remove_file(&target);
            let _ = std::fs::write(&target, "by the user");
            // The directory itself becomes a link, and a directory again.
            let _ = std::fs::rename(home.path("dir"), &kept);
            let _ = symlink(outside.path(), home.path("dir"));
            let _ = std::fs::remove_file(home.path("dir"));
            if std::fs::rename(&kept, home.path("dir")).is_err() {
                // The agent has made it meanwhile.
                let _ = std::fs::remove_dir_all(&kept);
            }
        };
        while_disturbed(disturb, || {
            for round in 0..rounds {
                let _ = home.one("dir/secret", &format!("value {round}"));
            }
        });
        home.one("dir/secret", "at last").unwrap();
        assert!(home.names().iter().all(|name| !name.contains(".coder-s")), "{:?}", home.names());
    });
    assert_eq!((std::fs::read_to_string(&victim).unwrap().as_str(), stamp(&victim)), ("untouched", before));
    assert_eq!(std::fs::read_dir(outside.path()).unwrap().count(), 1);
    std::fs::set_permissions(outside.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
}

/// Agents in two containers with one home: other sockets, the same files and the same ledger.
fn two_agents(rounds: usize) {
    let place = directory();
    let home = Home::at(directory(), None);
    let linked = home.write("linked", "a", 0o600);
    std::fs::hard_link(&linked, home.path("second name")).unwrap();
    let value = |agent: u8, round: usize| vec![agent; 1000 + (round * 37 + usize::from(agent)) % 3000];
    let deliver = |agent: u8| {
        let agents = Home::at(directory(), Some(place.path()));
        for round in 0..rounds {
            let value = value(agent, round);
            let applied =
                agents.deliver_with(&[("~/dir/a", &value), ("~/b", &value), ("~/linked", &value)], &home.policy());
            // Two may make a file at once; nothing else goes wrong.
            let errors: Vec<_> = applied.errors().map(|error| chain(error)).collect();
            assert!(errors.iter().all(|error| error.contains("in the same moment")), "{errors:?}");
        }
    };
    let is_whole = |name: &str| {
        let Ok(content) = std::fs::read(home.path(name)) else { return };
        let is_uniform = content.len() >= 1000 && content.iter().all(|byte| *byte == content[0]);
        assert!(is_uniform, "{name} is torn");
    };
    let look = || ["dir/a", "b"].iter().for_each(|name| is_whole(name));
    while_disturbed(look, || {
        std::thread::scope(|scope| {
            scope.spawn(|| deliver(b'a'));
            scope.spawn(|| deliver(b'b'));
        });
    });
    // What is written in place may be seen half written, but does not stay so.
    is_whole("second name");
    assert_eq!(home.names(), ["b", "dir", "dir/a", "linked", "second name"]);
    // Whose file won, the ledger knows it.
    let third = Home::at(home.0, Some(place.path()));
    let policy = Policy { stale_files: StaleFiles::Remove, ..third.policy() };
    let applied = third.deliver_with(&[("~/linked", b"x")], &policy);
    let kept: Vec<_> = applied.stale().iter().filter(|it| it.kept.is_some()).collect();
    assert!(kept.is_empty() && applied.stale().len() == 2, "{:?}", applied.stale());
    assert!(!place.path().join("ledger.damaged-1").exists());
}

fn made_at_once(rounds: usize) {
    let home = Home::at(directory(), None);
    for round in 0..rounds {
        let path = home.path("secret");
        let barrier = Barrier::new(2);
        let (made, settled) = std::thread::scope(|scope| {
            let user = scope.spawn(|| {
                barrier.wait();
                // Anywhere between before the agent looks and after it is done.
                (0..round % 50 * 20).for_each(|_| std::hint::spin_loop());
                (0..round % 7).for_each(|_| std::thread::yield_now());
                let made = std::fs::OpenOptions::new().write(true).create_new(true).open(&path);
                made.map(|mut file| std::io::Write::write_all(&mut file, b"by the user").unwrap()).is_ok()
            });
            barrier.wait();
            let settled = home.one("secret", "value");
            (user.join().unwrap(), settled)
        });
        let content = home.read("secret");
        match settled {
            Ok(Settled::Created) => assert!(!made && content == "value", "{round}: {content}"),
            // Seen and replaced as any file is, or written to after that by the one who had it open.
            Ok(settled) => assert!(made && settled == Settled::Replaced, "{round}: {settled:?}"),
            Err(error) => {
                assert!(error.contains("in the same moment"), "{round}: {error}");
                assert!(made && content == "by the user", "{round}: {content}");
            }
        }
        assert_eq!(home.names(), ["secret"], "{round}");
        std::fs::remove_file(path).unwrap();
    }
}

fn stale_names(rounds: usize) {
    let place = directory();
    let home = Home::at(directory(), Some(place.path()));
    let policy = Policy { stale_files: StaleFiles::Remove, ..home.policy() };
    for round in 0..rounds {
        home.deliver(&[("~/secret", b"value")]);
        let content = format!("by the user {round}");
        let new = home.write("new", &content, 0o600);
        let barrier = Barrier::new(2);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                barrier.wait();
                (0..round % 50 * 20).for_each(|_| std::hint::spin_loop());
                (0..round % 7).for_each(|_| std::thread::yield_now());
                std::fs::rename(&new, home.path("secret")).unwrap();
            });
            barrier.wait();
            home.deliver_with(&[], &policy);
        });
        assert_eq!((home.read("secret"), home.names().len()), (content, 1), "{round}: {:?}", home.names());
        std::fs::remove_file(home.path("secret")).unwrap();
    }
}
