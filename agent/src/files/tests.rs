mod faults;
mod matrix;
mod mounts;
mod properties;
mod races;
mod replaced;
mod stale;
mod stale_histories;

use std::ffi::OsString;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use protocol::secret::Secret;

use super::disk::Disk;
use super::*;
use crate::manifest::{SecretSet, WorkspaceSecret};
use crate::plan::{Plan, Policy};
use crate::sys::memory::{self, Guarded};
use crate::sys::process::tests::{needs, needs_root};

/// A home directory of its own, and the way of a secret into it.
struct Home(tempfile::TempDir, Mutex<Ledger>);

impl Home {
    fn new() -> Self {
        Self::with_ledger(None)
    }

    /// With a ledger in a directory that is not below it.
    fn with_ledger(place: Option<&Path>) -> Self {
        Self::at(tempfile::tempdir().unwrap(), place)
    }

    fn at(home: tempfile::TempDir, place: Option<&Path>) -> Self {
        Self(home, Mutex::new(Ledger::new(place.map(Path::to_owned)).unwrap()))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn policy(&self) -> Policy {
        Policy { home: Some(self.0.path().into()), ..Policy::default() }
    }

    fn plan(&self, targets: &[(&str, &[u8])]) -> Plan {
        self.plan_with(targets, &self.policy())
    }

    fn plan_with(&self, targets: &[(&str, &[u8])], policy: &Policy) -> Plan {
        Plan::new(secrets(targets), &Disk, policy, &self.ledger())
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.1.lock().unwrap()
    }

    fn deliver(&self, targets: &[(&str, &[u8])]) -> FileReport {
        self.deliver_with(targets, &self.policy())
    }

    fn deliver_with(&self, targets: &[(&str, &[u8])], policy: &Policy) -> FileReport {
        let mut ledger = self.ledger();
        ledger.begin("alice http://c".into());
        let plan = Plan::new(secrets(targets), &Disk, policy, &ledger);
        apply(plan, &mut ledger).into_parts().1
    }

    /// Delivers one secret.
    fn one(&self, name: &str, value: &str) -> Result<Settled, String> {
        let mut applied = self.deliver(&[(&format!("~/{name}"), value.as_bytes())]);
        applied.outcomes.remove(0).result.map_err(|error| chain(&error))
    }

    fn write(&self, name: &str, content: &str, mode: u32) -> PathBuf {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// Everything under it by name, so that no file of ours stays unseen.
    fn names(&self) -> Vec<String> {
        let mut names = Vec::new();
        collect(self.0.path(), "", &mut names);
        names.sort();
        names
    }
}

fn collect(dir: &Path, prefix: &str, names: &mut Vec<String>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        if entry.file_type().unwrap().is_dir() {
            collect(&entry.path(), &format!("{name}/"), names);
        }
        names.push(name);
    }
}

fn secrets(targets: &[(&str, &[u8])]) -> SecretSet {
    let values = targets.iter().map(|(_, value)| Secret::new(value.to_vec())).collect();
    let held = memory::guard(values).unwrap();
    let secrets = targets.iter().zip(held);
    let secret = |((path, _), value): (&(&str, &[u8]), Guarded)| WorkspaceSecret {
        env_name: None,
        file_path: Some((*path).to_owned()),
        value,
    };
    SecretSet { template: Vec::new(), secrets: secrets.map(secret).collect(), refused: Vec::new() }
}

fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().mode() & 0o7777
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// What has to be known of a file to see that it was not touched.
fn stamp(path: &Path) -> (u64, i64, i64) {
    let metadata = std::fs::symlink_metadata(path).unwrap();
    (metadata.ino(), metadata.mtime(), metadata.mtime_nsec())
}

fn names_of_outcomes(applied: &FileReport) -> Vec<OsString> {
    applied.outcomes().iter().map(|outcome| outcome.path.file_name().unwrap().to_owned()).collect()
}
