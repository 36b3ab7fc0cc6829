//! Generations: a number that grows with each committed change to anything in an agent's manifest.
//!
//! Three counters, of the owner, the workspace and the deployment, added up, make one update a change enough. The counter grows in the
//! transaction of the change, and [`Change`] tells of it after the commit.

use uuid::Uuid;

use super::engine::{Change, Doing, StoreError, Writing, command};

/// What an agent has delivered, compared by equality: a restore starts a new epoch, in which the number may be smaller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation {
    /// Random for each life of the database.
    pub epoch: i64,
    /// Grows with each change.
    pub number: i64,
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
