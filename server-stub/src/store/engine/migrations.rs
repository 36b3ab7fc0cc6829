//! Versions of the schema, and who may use which.
//!
//! Schema N is what the migrations up to N make. A file that was released never changes. Migrations only add; what is no longer used
//! goes one version later, so that an older server can still start in the middle of a rolling upgrade: [`OLDEST`] says how old.

use super::Role;
use super::error::StoreError;

/// The first schema that both engines have; each has its own files up to it.
const SHARED_FROM: i64 = 4;
/// Migrations for both engines, in the dialect of [`super::dialect`].
const SHARED: &[&str] = &[
    include_str!("migrations/0004_generations.sql"),
    include_str!("migrations/0005_home.sql"),
    include_str!("migrations/0006_sensitive_variables.sql"),
    include_str!("migrations/0007_macs.sql"),
    include_str!("migrations/0008_live.sql"),
    include_str!("migrations/0009_accounts.sql"),
    include_str!("migrations/0010_definitions.sql"),
];

/// The schema of this version.
pub(super) const KNOWN: i64 = 10;
/// The oldest schema whose programs work on a database of [`KNOWN`]: older ones make tokens without a MAC, which nobody trusts, deliver to
/// revoked and stopped workspaces, and let in suspended users and expired tokens.
pub(super) const OLDEST: i64 = 10;

/// What a database says about its schema.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    /// Its schema.
    pub(super) version: i64,
    /// The oldest schema that a program must know to use it.
    pub(super) oldest: i64,
}

/// The shared migrations after `version`, with the schema that each makes.
pub(super) fn after(version: i64) -> impl Iterator<Item = (i64, &'static str)> {
    (SHARED_FROM..).zip(SHARED.iter().copied()).filter(move |(number, _)| *number > version)
}

/// Whether this program may use a database, as it is or after a migration.
pub(super) fn check(found: Option<Found>, named: &str, role: Role) -> Result<(), StoreError> {
    let database = || named.to_owned();
    match found {
        None if role == Role::Command => Err(StoreError::NoServer { place: database() }),
        Some(found) if found.oldest > KNOWN => {
            Err(StoreError::Newer { database: database(), found: found.version, known: KNOWN })
        }
        Some(found) if found.version < KNOWN && role == Role::Command => {
            Err(StoreError::Outdated { database: database(), found: found.version, known: KNOWN })
        }
        _ => Ok(()),
    }
}
