//! Whatever became of files since they were delivered: what is removed is exactly what still is as it was written.

use std::collections::{BTreeMap, HashSet};
use std::os::unix::fs::symlink;

use proptest::prelude::*;

use super::properties::{NAMES, plant, start};
use super::races::directory;
use super::*;
use crate::config::StaleFiles;
use crate::plan::{Fate, Reason};

/// What the user does to a name.
#[derive(Clone, Debug)]
enum Hand {
    Edit(String),
    Chmod(u32),
    /// As an editor does.
    Replace(String),
    Remove,
    Link(usize),
    HardLink(usize),
    Rename(usize),
    Directory,
}

/// A delivery, and what the user has done before it.
#[derive(Clone, Debug)]
struct Round {
    hands: Vec<(usize, Hand)>,
    wanted: Vec<(usize, String)>,
    stale_files: StaleFiles,
    /// By the next start, or else by the same agent, which writes only what changed.
    is_boot: bool,
}

fn hand() -> impl Strategy<Value = Hand> {
    let name = || 0..NAMES.len();
    prop_oneof![
        "[ab]{0,2}".prop_map(Hand::Edit),
        prop_oneof![Just(0o600u32), Just(0o644)].prop_map(Hand::Chmod),
        "[ab]{0,2}".prop_map(Hand::Replace),
        Just(Hand::Remove),
        name().prop_map(Hand::Link),
        name().prop_map(Hand::HardLink),
        name().prop_map(Hand::Rename),
        Just(Hand::Directory),
    ]
}

fn round() -> impl Strategy<Value = Round> {
    let hands = proptest::collection::vec((0..NAMES.len(), hand()), 0..4);
    let wanted = proptest::collection::vec((0..NAMES.len(), "[ab]{0,2}"), 0..5);
    let stale_files = prop_oneof![Just(StaleFiles::Keep), Just(StaleFiles::Remove)];
    let round = |(hands, wanted, stale_files, is_boot)| Round { hands, wanted, stale_files, is_boot };
    (hands, wanted, stale_files, any::<bool>()).prop_map(round)
}

impl Hand {
    /// Where it cannot be done, as below a directory that is missing, nothing is.
    fn lay_on(&self, home: &Home, name: &str) {
        let path = home.path(name);
        let clear = || std::fs::remove_file(&path).or_else(|_| std::fs::remove_dir(&path));
        let _ = match self {
            Self::Edit(content) => std::fs::write(&path, content),
            Self::Chmod(mode) => std::fs::set_permissions(&path, std::fs::Permissions::from_mode(*mode)),
            Self::Replace(content) => {
                let new = home.write("new", content, 0o600);
                std::fs::rename(&new, &path).or_else(|_| std::fs::remove_file(&new))
            }
            Self::Remove => clear(),
            Self::Link(to) => clear().and_then(|()| symlink(home.path(NAMES[*to]), &path)),
            Self::HardLink(to) => clear().and_then(|()| std::fs::hard_link(home.path(NAMES[*to]), &path)),
            Self::Rename(to) => std::fs::rename(&path, home.path(NAMES[*to])),
            Self::Directory => clear().and_then(|()| std::fs::create_dir(&path)),
        };
    }
}

type Id = (u64, u64);

fn id(path: &Path) -> Option<Id> {
    std::fs::metadata(path).ok().map(|found| (found.dev(), found.ino()))
}

/// A file as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Version {
    id: Id,
    mode: u32,
    content: Vec<u8>,
}

fn version(path: &Path) -> Option<Version> {
    let content = std::fs::read(path).ok()?;
    Some(Version { id: id(path)?, mode: mode(path), content })
}

/// Everything in a home: number, mode, and content or target of a link.
fn tree(home: &Home) -> BTreeMap<PathBuf, (Id, u32, Vec<u8>)> {
    let entry = |name: String| {
        let path = home.path(&name);
        let found = std::fs::symlink_metadata(&path).unwrap();
        let link = std::fs::read_link(&path).map(|target| target.into_os_string().into_encoded_bytes());
        let content = link.or_else(|_| std::fs::read(&path)).unwrap_or_default();
        (path, ((found.dev(), found.ino()), found.mode(), content))
    };
    home.names().into_iter().map(entry).collect()
}

/// What has been written to each path, as long as it is to be judged by that.
#[derive(Default)]
struct Model(BTreeMap<PathBuf, Vec<Version>>);

/// What a path is, to which a secret went once and none does any more.
#[derive(PartialEq, Eq)]
enum Now {
    Ours,
    /// Unchanged, but behind a link or with a second name.
    Elsewhere,
    Changed,
    /// There is no telling, as where links lead in a circle.
    Unclear,
}

impl Model {
    fn now(&self, path: &Path) -> Now {
        let lost = |error: &std::io::Error| error.kind() != std::io::ErrorKind::NotFound;
        if std::fs::metadata(path).is_err_and(|error| lost(&error)) {
            return Now::Unclear;
        }
        if version(path).is_none_or(|version| !self.0[path].contains(&version)) {
            return Now::Changed;
        }
        let found = std::fs::symlink_metadata(path).unwrap();
        if found.is_file() && found.nlink() == 1 { Now::Ours } else { Now::Elsewhere }
    }

    /// What no secret goes to any more, by any path.
    fn stale(&self, wanted: &[PathBuf]) -> Vec<(PathBuf, Option<Id>, Now)> {
        let taken: HashSet<_> = wanted.iter().filter_map(|path| id(path)).collect();
        let former = self.0.keys().filter(|path| !wanted.contains(path));
        let stale = former.map(|path| (path.clone(), id(path), self.now(path)));
        stale.filter(|(_, id, _)| id.is_none_or(|id| !taken.contains(&id))).collect()
    }

    fn write(&mut self, applied: &FileReport) {
        for outcome in applied.outcomes() {
            if let Ok(Settled::Created | Settled::Replaced | Settled::Rewritten) = outcome.result {
                self.0.entry(outcome.path.clone()).or_default().extend(version(&outcome.path));
            }
        }
    }
}

/// One round, and whether it did to the tree what it should.
fn deliver(home: &Home, model: &mut Model, round: &Round, policy: &Policy) -> Result<FileReport, TestCaseError> {
    let wanted: Vec<PathBuf> = round.wanted.iter().map(|(name, _)| home.path(NAMES[*name])).collect();
    let taken: HashSet<_> = wanted.iter().filter_map(|path| id(path)).collect();
    let stale = model.stale(&wanted);
    let before = tree(home);
    let paths: Vec<String> = round.wanted.iter().map(|(name, _)| format!("~/{}", NAMES[*name])).collect();
    let values = round.wanted.iter().map(|(_, value)| value.as_bytes());
    let targets: Vec<(&str, &[u8])> = paths.iter().map(String::as_str).zip(values).collect();
    let applied = home.deliver_with(&targets, policy);
    let after = tree(home);

    // What was delivered before is where it was seen, in `taken`.
    let written = applied.outcomes().iter().filter(|outcome| !matches!(outcome.result, Ok(Settled::Delivered(_))));
    let records = written.filter_map(|outcome| outcome.record);
    let held: HashSet<Id> = records.map(|record| (record.id.device, record.id.inode)).collect();
    let is_held = |id: Option<Id>| id.is_some_and(|id| held.contains(&id));
    let mut removed = Vec::new();
    for (path, former, now) in stale {
        if is_held(former) || is_held(id(&path)) || now == Now::Unclear {
            continue;
        }
        if policy.stale_files == StaleFiles::Remove || now == Now::Changed {
            model.0.remove(&path);
        }
        if policy.stale_files == StaleFiles::Remove && now == Now::Ours {
            removed.push(path);
        }
    }
    let said = applied.stale().iter().filter(|it| it.kept.is_none()).map(|it| it.path.clone());
    prop_assert_eq!(&said.collect::<Vec<_>>(), &removed);
    for (path, was) in &before {
        let is = after.get(path);
        prop_assert_eq!(is.is_none(), removed.contains(path), "{:?}", path);
        let is_free = !taken.contains(&was.0) && !removed.contains(path);
        prop_assert!(!is_free || is.is_some_and(|is| is == was || path.is_dir()), "{path:?}: {was:?}, {is:?}");
    }
    for path in after.keys().filter(|path| !before.contains_key(*path)) {
        prop_assert!(path.is_dir() || is_held(id(path)), "{path:?} was made");
    }
    model.write(&applied);
    let again = home.plan_with(
        &targets,
        &Policy { delivered: applied.delivered(), stale_files: policy.stale_files, ..home.policy() },
    );
    for (target, outcome) in again.targets().iter().zip(applied.outcomes()) {
        prop_assert!(!target.action.is_step() || outcome.result.is_err(), "{target} after {outcome:?}");
    }
    for stale in again.stale() {
        let is_done = match &stale.fate {
            Fate::Remove => is_held(id(&stale.path)),
            Fate::Leave => policy.stale_files == StaleFiles::Keep,
            Fate::Keep(reason) => matches!(reason, Reason::Drifted(Drift::Unknown(_))),
        };
        prop_assert!(is_done, "{stale} again");
    }
    Ok(applied)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn what_is_removed_is_exactly_what_is_still_ours(
        tree in proptest::collection::vec(start(), NAMES.len()),
        // The ledger knows four files of a path.
        rounds in proptest::collection::vec(round(), 2..5),
    ) {
        let place = directory();
        let mut home = Home::at(directory(), Some(place.path()));
        plant(&home, &tree);
        let mut model = Model::default();
        let mut delivered = Vec::new();
        for round in &rounds {
            for (name, hand) in &round.hands {
                hand.lay_on(&home, NAMES[*name]);
            }
            if round.is_boot {
                home = Home::at(home.0, Some(place.path()));
                delivered.clear();
            }
            let policy = Policy { delivered, stale_files: round.stale_files, ..home.policy() };
            delivered = deliver(&home, &mut model, round, &policy)?.delivered();
        }
    }
}
