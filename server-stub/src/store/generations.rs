//! Generations: a number that grows with each committed change to anything in an agent's manifest.
//!
//! Three counters, of the owner, the workspace and the deployment, added up, make one update a change enough. The counter grows in the
//! transaction of the change, and [`Change`] tells of it after the commit.

use uuid::Uuid;

use super::engine::{Change, Database, Doing, StoreError, Writing, command};
use super::keys::{self, KeyError};

/// What an agent has delivered, compared by equality: a restore starts a new epoch, in which the number may be smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Random for each life of the database.
    pub epoch: i64,
    /// Grows with each change.
    pub number: i64,
}

/// What an agent is to have, as far as the server counts it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Current {
    /// Which state it is.
    pub generation: Generation,
    /// The workspace gets nothing any more.
    pub is_revoked: bool,
}

/// A positive number that no former epoch had.
pub(super) fn new_epoch() -> Result<i64, KeyError> {
    Ok(i64::from_be_bytes(keys::random()?) & i64::MAX | 1)
}

/// Begins an epoch if the database is not where it was: a dump that was restored, or a standby that was promoted, may lack changes that
/// agents have seen, and would count others by the same numbers.
pub(super) async fn settle(database: &Database) -> Result<(), StoreError> {
    let Some(home) = database.home().await else { return Ok(()) };
    let epoch = new_epoch()?;
    let moved = database.write(move |writing| {
        Box::pin(async move {
            let action = "record where the database is";
            let moved = command("UPDATE deployment SET epoch = ?, home = ? WHERE home <> ? AND home <> ''");
            let moved = moved.bind(epoch).bind(&home).bind(&home);
            let moved = writing.sql.execute(moved).await.doing(action)? > 0;
            if moved {
                writing.changed(Change::Deployment);
            } else {
                let first = command("UPDATE deployment SET home = ? WHERE home = ''").bind(&home);
                writing.sql.execute(first).await.doing(action)?;
            }
            Ok::<_, StoreError>(moved)
        })
    });
    if moved.await? {
        tracing::warn!("the database is a copy, restored or promoted; every agent fetches its manifest again");
    }
    Ok(())
}

/// What the agents of `owner` get has changed.
pub(super) async fn grow_owner(writing: &mut Writing, owner: Uuid) -> Result<(), StoreError> {
    let grow = command("UPDATE users SET generation = generation + 1 WHERE id = ?").bind(owner);
    writing.sql.execute(grow).await.doing("count a change")?;
    writing.changed(Change::Owner(owner));
    Ok(())
}

/// What the agents of a workspace get has changed, or whether they get anything.
pub(super) async fn grow_workspace(writing: &mut Writing, workspace: Uuid) -> Result<(), StoreError> {
    let grow = command("UPDATE workspaces SET generation = generation + 1 WHERE id = ?").bind(workspace);
    writing.sql.execute(grow).await.doing("count a change")?;
    writing.changed(Change::Workspace(workspace));
    Ok(())
}

/// What every agent gets has changed.
pub(super) async fn grow_deployment(writing: &mut Writing) -> Result<(), StoreError> {
    let grow = command("UPDATE deployment SET generation = generation + 1");
    writing.sql.execute(grow).await.doing("count a change")?;
    writing.changed(Change::Deployment);
    Ok(())
}
