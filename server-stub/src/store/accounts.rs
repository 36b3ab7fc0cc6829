//! What an administrator does to users: roles, suspension, deletion.

use protocol::rest::{Role, User};
use uuid::Uuid;

use super::audit::{self, Actor, Record};
use super::engine::{Change, Database, Writing, command, query, row};
use super::users::{Account, UserRow};
use super::{Doing, StoreError, generations, tokens};

/// Why a user was not changed.
#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// There is no such user.
    #[error("there is no such user")]
    Unknown,
    /// Nobody could manage users any more.
    #[error("{0} is the only active owner; make another user an owner first")]
    LastOwner(String),
    /// The user has workspaces.
    #[error("{name} has {count} workspaces; delete them first")]
    Workspaces {
        /// The user.
        name: String,
        /// How many.
        count: i64,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

row! {
    struct WorkspaceRow { id: Uuid }
}

row! {
    struct CountRow { count: i64 = "count(*)" }
}

/// What an administrator does to users.
#[derive(Clone, Copy)]
pub struct Accounts<'a>(pub(super) &'a Database);

impl Accounts<'_> {
    /// Gives a user a role.
    pub async fn set_role(&self, actor: Actor, user: Uuid, role: Role) -> Result<User, AccountError> {
        self.0.write(move |writing| Box::pin(set_role(writing, actor, user, role))).await
    }

    /// Lets nobody in as this user: ends their sessions, refuses their tokens and the agents of their workspaces.
    pub async fn suspend(&self, actor: Actor, user: Uuid) -> Result<User, AccountError> {
        self.0.write(move |writing| Box::pin(suspend(writing, actor, user))).await
    }

    /// Undoes [`Accounts::suspend`]. Sessions that it ended stay so.
    pub async fn activate(&self, actor: Actor, user: Uuid) -> Result<User, AccountError> {
        self.0.write(move |writing| Box::pin(activate(writing, actor, user))).await
    }

    /// Deletes a user with their secrets, keys and tokens; also with their workspaces, if that is said. Audit records stay.
    pub async fn delete(&self, actor: Actor, user: Uuid, with_workspaces: bool) -> Result<(), AccountError> {
        self.0.write(move |writing| Box::pin(delete(writing, actor, user, with_workspaces))).await
    }
}

async fn find(writing: &mut Writing, user: Uuid) -> Result<Account, AccountError> {
    let find = query::<UserRow>("SELECT {columns} FROM users WHERE id = ?").bind(user);
    let found = writing.sql.optional(find).await.doing("read the user")?;
    found.map(UserRow::account).ok_or(AccountError::Unknown)
}

/// Fails where nobody else could manage users.
async fn keep_an_owner(writing: &mut Writing, account: &Account) -> Result<(), AccountError> {
    if account.role != Role::Owner || account.suspended_at.is_some() {
        return Ok(());
    }
    // Two owners who demote each other at the same time wait for one another here.
    let others = query::<CountRow>("SELECT {columns} FROM users WHERE role = ? AND suspended_at IS NULL AND id <> ?");
    let others = others.bind(Role::Owner.as_str()).bind(account.id);
    let others = writing.sql.one(others).await.doing("count the owners")?.count;
    if others == 0 { Err(AccountError::LastOwner(account.username.clone())) } else { Ok(()) }
}

async fn set_role(writing: &mut Writing, actor: Actor, user: Uuid, role: Role) -> Result<User, AccountError> {
    lock_roles(writing).await?;
    let mut account = find(writing, user).await?;
    if account.role == role {
        return Ok(account.into());
    }
    keep_an_owner(writing, &account).await?;
    let set = command("UPDATE users SET role = ? WHERE id = ?").bind(role.as_str()).bind(user);
    writing.sql.execute(set).await.doing("set the role of a user")?;
    let diff = serde_json::json!({ "role": { "old": account.role.as_str(), "new": role.as_str() } });
    audit::insert(writing, Record::new(actor, "write", "user").on(user, &account.username).diff(diff)).await?;
    account.role = role;
    Ok(account.into())
}

async fn suspend(writing: &mut Writing, actor: Actor, user: Uuid) -> Result<User, AccountError> {
    lock_roles(writing).await?;
    let mut account = find(writing, user).await?;
    if account.suspended_at.is_some() {
        return Ok(account.into());
    }
    keep_an_owner(writing, &account).await?;
    account.suspended_at = Some(writing.now());
    set_suspended(writing, actor, &account).await?;
    tokens::end_sessions(writing, user).await?;
    Ok(account.into())
}

async fn activate(writing: &mut Writing, actor: Actor, user: Uuid) -> Result<User, AccountError> {
    let mut account = find(writing, user).await?;
    if account.suspended_at.is_none() {
        return Ok(account.into());
    }
    account.suspended_at = None;
    set_suspended(writing, actor, &account).await?;
    Ok(account.into())
}

async fn set_suspended(writing: &mut Writing, actor: Actor, account: &Account) -> Result<(), StoreError> {
    let set = command("UPDATE users SET suspended_at = ? WHERE id = ?").bind(account.suspended_at).bind(account.id);
    writing.sql.execute(set).await.doing("suspend or activate a user")?;
    generations::grow_owner(writing, account.id).await?;
    end_agents(writing, account.id).await?;
    let word = |suspended: bool| if suspended { "suspended" } else { "active" };
    let suspended = account.suspended_at.is_some();
    let diff = serde_json::json!({ "status": { "old": word(!suspended), "new": word(suspended) } });
    audit::insert(writing, Record::new(actor, "write", "user").on(account.id, &account.username).diff(diff)).await
}

async fn delete(writing: &mut Writing, actor: Actor, user: Uuid, with_workspaces: bool) -> Result<(), AccountError> {
    lock_roles(writing).await?;
    let account = find(writing, user).await?;
    keep_an_owner(writing, &account).await?;
    let count = query::<CountRow>("SELECT {columns} FROM workspaces WHERE owner_id = ?").bind(user);
    let count = writing.sql.one(count).await.doing("count the workspaces of a user")?.count;
    if count > 0 && !with_workspaces {
        return Err(AccountError::Workspaces { name: account.username, count });
    }
    end_agents(writing, user).await?;
    let delete = command("DELETE FROM users WHERE id = ?").bind(user);
    writing.sql.execute(delete).await.doing("delete a user")?;
    audit::insert(writing, Record::new(actor, "delete", "user").on(user, &account.username)).await?;
    Ok(())
}

/// Makes every server look whether the agents of a user are still let in.
async fn end_agents(writing: &mut Writing, user: Uuid) -> Result<(), StoreError> {
    let workspaces = query::<WorkspaceRow>("SELECT {columns} FROM workspaces WHERE owner_id = ?").bind(user);
    for WorkspaceRow { id } in writing.sql.all(workspaces).await.doing("read the workspaces of a user")? {
        writing.changed(Change::Workspace(id));
    }
    Ok(())
}

/// Changes of roles come one after the other, or two owners could demote each other at the same time.
async fn lock_roles(writing: &mut Writing) -> Result<(), StoreError> {
    let lock = command("UPDATE deployment SET id = id");
    writing.sql.execute(lock).await.map(drop).doing("lock the roles of users")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing;

    #[tokio::test]
    async fn the_first_user_is_an_owner_and_there_is_always_one() {
        let (_dir, store) = testing::store().await;
        let (alice, bob) = (store.users().create("alice").await.unwrap(), store.users().create("bob").await.unwrap());
        assert_eq!((alice.roles.len(), bob.roles.len()), (1, 0));
        let accounts = store.accounts();
        let demote = || accounts.set_role(Actor::Administrator, alice.id, Role::Member);
        let last = |result: Result<User, AccountError>| matches!(result, Err(AccountError::LastOwner(_)));
        assert!(last(demote().await));
        assert!(last(accounts.suspend(Actor::Administrator, alice.id).await));
        assert!(accounts.delete(Actor::Administrator, alice.id, true).await.is_err());
        accounts.set_role(Actor::Administrator, bob.id, Role::Owner).await.unwrap();
        accounts.suspend(Actor::Administrator, bob.id).await.unwrap();
        assert!(last(demote().await), "a suspended owner manages nobody");
        accounts.activate(Actor::Administrator, bob.id).await.unwrap();
        demote().await.unwrap();
        assert!(store.users().find("alice").await.unwrap().unwrap().roles.is_empty());
    }

    #[tokio::test]
    async fn of_a_deleted_user_the_audit_records_stay_and_nothing_else() {
        let (_dir, store) = testing::store().await;
        store.users().create("alice").await.unwrap();
        let bob = testing::user(&store, "bob").await;
        testing::put_secret(&store, bob, "a", "A", "", true).await;
        store.accounts().delete(Actor::Administrator, bob, false).await.unwrap();
        assert_eq!(store.users().find("bob").await.unwrap(), None);
        assert!(store.secrets().list(bob).await.unwrap().is_empty());
        let unknown = store.accounts().delete(Actor::Administrator, bob, false).await;
        assert!(matches!(unknown, Err(AccountError::Unknown)));
        let entries = store.audit().newest(10).await.unwrap();
        assert!(entries.iter().any(|entry| entry.action == "delete" && entry.target == "bob"));
        assert!(entries.iter().any(|entry| entry.resource == "user_secret"));
    }
}
