//! Creating, changing and deleting one secret.

use protocol::problem::FieldProblem;
use protocol::rest::{CreateUserSecretRequest, UpdateUserSecretRequest, UserSecret};
use protocol::rules;
use protocol::secret::Secret;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::super::audit::{self, Actor, Record};
use super::super::{Doing, Store, StoreError, Writing};
use super::holdings::{Held, Holdings};
use super::{FilePaths, SecretError, from_row, place};

impl Store {
    /// Stores a new secret of the acting user.
    pub async fn create_secret(
        &self,
        actor: Actor,
        user: Uuid,
        request: CreateUserSecretRequest,
        files: FilePaths,
    ) -> Result<UserSecret, SecretError> {
        let mut problems = rules::create(&request);
        add_policy(&mut problems, files.check("", &request.file_path));
        if !problems.is_empty() {
            return Err(SecretError::Invalid(problems));
        }
        self.write(move |writing| {
            Box::pin(async move {
                let mut holdings = Holdings::read(writing.connection(), user).await?;
                let new = held(&request);
                let problems = holdings.conflicts(&new);
                if !problems.is_empty() {
                    return Err(conflict(problems));
                }
                let id = new.id;
                holdings.add(new).map_err(SecretError::Cap)?;
                Ok(insert(writing, actor, user, id, request).await?)
            })
        })
        .await
    }

    /// Changes fields of a secret. All rules are judged on what it will be.
    pub async fn update_secret(
        &self,
        actor: Actor,
        user: Uuid,
        name: &str,
        request: UpdateUserSecretRequest,
        files: FilePaths,
    ) -> Result<UserSecret, SecretError> {
        if request.is_empty() {
            return Err(SecretError::NoFields);
        }
        let problems = rules::update(&request);
        if !problems.is_empty() {
            return Err(SecretError::Invalid(problems));
        }
        let name = name.to_owned();
        self.write(move |writing| Box::pin(update(writing, actor, user, name, request, files))).await
    }

    /// Deletes a secret.
    pub async fn delete_secret(&self, actor: Actor, user: Uuid, name: &str) -> Result<(), SecretError> {
        let name = name.to_owned();
        self.write(move |writing| {
            Box::pin(async move {
                let row = sqlx::query(
                    "DELETE FROM user_secrets WHERE user_id = ? AND name = ?
                     RETURNING id, name, description, env_name, file_path, enabled, created_at, updated_at",
                )
                .bind(user)
                .bind(&name)
                .fetch_optional(writing.connection())
                .await
                .doing("delete the secret")?;
                let old = from_row(&row.ok_or(SecretError::NotFound)?);
                let record = Record::new(actor, "delete", "user_secret").on(old.id, &name).status(204);
                Ok(audit::insert(writing, record.diff(diff(Some(&old), None, true))).await?)
            })
        })
        .await
    }
}

/// A path that breaks a rule as well is told once, by the rule.
fn add_policy(problems: &mut Vec<FieldProblem>, policy: Option<FieldProblem>) {
    if let Some(policy) = policy
        && !problems.iter().any(|problem| problem.field == policy.field)
    {
        problems.push(policy);
    }
}

fn conflict(problems: Vec<FieldProblem>) -> SecretError {
    SecretError::Conflict { message: "Validation failed.", problems }
}

/// What a request would add to the user's holdings, under a new id.
pub(super) fn held(request: &CreateUserSecretRequest) -> Held {
    Held {
        id: Uuid::new_v4(),
        name: request.name.clone(),
        env_name: request.env_name.clone(),
        file_path: request.file_path.clone(),
        value_bytes: request.value.len(),
    }
}

/// Writes a secret that has passed all rules, with its audit record.
pub(super) async fn insert(
    writing: &mut Writing,
    actor: Actor,
    user: Uuid,
    id: Uuid,
    request: CreateUserSecretRequest,
) -> Result<UserSecret, StoreError> {
    let now = writing.now();
    let secret = UserSecret {
        id,
        name: request.name,
        description: request.description,
        env_name: request.env_name,
        file_path: request.file_path,
        // Intent only: without a target it is stored, and takes effect when it gets one.
        enabled: request.enabled.unwrap_or(true),
        created_at: now,
        updated_at: now,
    };
    insert_row(writing, user, &secret, &request.value).await?;
    let record = Record::new(actor, "create", "user_secret").on(id, &secret.name).status(201);
    audit::insert(writing, record.diff(diff(None, Some(&secret), true))).await?;
    Ok(secret)
}

async fn insert_row(writing: &mut Writing, user: Uuid, secret: &UserSecret, value: &Secret) -> Result<(), StoreError> {
    let sealed = writing.seal(&place(user, secret.id), value.expose())?;
    sqlx::query(
        "INSERT INTO user_secrets (id, user_id, name, description, value, value_key_id, value_bytes, env_name, file_path,
         enabled, created_at, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(secret.id)
    .bind(user)
    .bind(&secret.name)
    .bind(&secret.description)
    .bind(sealed.data)
    .bind(sealed.key.as_str())
    .bind(length(value))
    .bind(&secret.env_name)
    .bind(&secret.file_path)
    .bind(secret.enabled)
    .bind(secret.created_at.as_microsecond())
    .bind(secret.updated_at.as_microsecond())
    .execute(writing.connection())
    .await
    .map(drop)
    .doing("store the secret")
}

async fn update(
    writing: &mut Writing,
    actor: Actor,
    user: Uuid,
    name: String,
    request: UpdateUserSecretRequest,
    files: FilePaths,
) -> Result<UserSecret, SecretError> {
    let mut holdings = Holdings::read(writing.connection(), user).await?;
    let after = exchange(&mut holdings, name, &request, files)?;
    let old = read(writing, after.id).await?;
    let new = UserSecret {
        description: request.description.unwrap_or_else(|| old.description.clone()),
        env_name: after.env_name,
        file_path: after.file_path,
        enabled: request.enabled.unwrap_or(old.enabled),
        updated_at: writing.now(),
        ..old.clone()
    };
    write_fields(writing, &new).await?;
    if let Some(value) = &request.value {
        write_value(writing, user, new.id, value).await?;
    }
    let record = Record::new(actor, "write", "user_secret").on(new.id, &new.name);
    audit::insert(writing, record.diff(diff(Some(&old), Some(&new), request.value.is_some()))).await?;
    Ok(new)
}

/// Exchanges the secret `name` for what `request` makes of it, where conflicts and caps allow that.
fn exchange(
    holdings: &mut Holdings,
    name: String,
    request: &UpdateUserSecretRequest,
    files: FilePaths,
) -> Result<Held, SecretError> {
    let before = holdings.take(&name).ok_or(SecretError::NotFound)?;
    let after = Held {
        id: before.id,
        name,
        env_name: request.env_name.clone().unwrap_or(before.env_name),
        file_path: request.file_path.clone().unwrap_or_else(|| before.file_path.clone()),
        value_bytes: request.value.as_ref().map_or(before.value_bytes, Secret::len),
    };
    if let Some(problem) = files.check(&before.file_path, &after.file_path) {
        return Err(SecretError::Invalid(vec![problem]));
    }
    let problems = holdings.conflicts(&after);
    if !problems.is_empty() {
        return Err(conflict(problems));
    }
    holdings.add(after.clone()).map_err(SecretError::Cap)?;
    Ok(after)
}

async fn read(writing: &mut Writing, id: Uuid) -> Result<UserSecret, StoreError> {
    sqlx::query(
        "SELECT id, name, description, env_name, file_path, enabled, created_at, updated_at FROM user_secrets WHERE id = ?",
    )
    .bind(id)
    .fetch_one(writing.connection())
    .await
    .map(|row| from_row(&row))
    .doing("read the secret")
}

async fn write_fields(writing: &mut Writing, new: &UserSecret) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE user_secrets SET description = ?, env_name = ?, file_path = ?, enabled = ?, updated_at = ? WHERE id = ?",
    )
    .bind(&new.description)
    .bind(&new.env_name)
    .bind(&new.file_path)
    .bind(new.enabled)
    .bind(new.updated_at.as_microsecond())
    .bind(new.id)
    .execute(writing.connection())
    .await
    .map(drop)
    .doing("change the secret")
}

async fn write_value(writing: &mut Writing, user: Uuid, id: Uuid, value: &Secret) -> Result<(), StoreError> {
    let sealed = writing.seal(&place(user, id), value.expose())?;
    sqlx::query("UPDATE user_secrets SET value = ?, value_key_id = ?, value_bytes = ? WHERE id = ?")
        .bind(sealed.data)
        .bind(sealed.key.as_str())
        .bind(length(value))
        .bind(id)
        .execute(writing.connection())
        .await
        .map(drop)
        .doing("change the value")
}

fn length(value: &Secret) -> i64 {
    i64::try_from(value.len()).unwrap_or(i64::MAX)
}

/// What changed, for the audit record. Of the value it says only that it did.
fn diff(old: Option<&UserSecret>, new: Option<&UserSecret>, value: bool) -> Value {
    let fields = |secret: &UserSecret| {
        [
            ("name", json!(secret.name)),
            ("description", json!(secret.description)),
            ("env_name", json!(secret.env_name)),
            ("file_path", json!(secret.file_path)),
            ("enabled", json!(secret.enabled)),
        ]
    };
    let (old, new) = (old.map(fields), new.map(fields));
    let mut diff = Map::new();
    for (n, name) in ["name", "description", "env_name", "file_path", "enabled"].into_iter().enumerate() {
        let of = |side: &Option<[(&str, Value); 5]>| side.as_ref().map_or(Value::Null, |fields| fields[n].1.clone());
        let (old, new) = (of(&old), of(&new));
        if old != new {
            diff.insert(name.into(), json!({ "old": old, "new": new }));
        }
    }
    if value {
        diff.insert("value".into(), json!({ "secret": true }));
    }
    Value::Object(diff)
}
