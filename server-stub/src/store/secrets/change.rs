//! Creating, changing and deleting one secret.

use std::sync::Arc;

use protocol::problem::FieldProblem;
use protocol::rest::{CreateUserSecretRequest, UpdateUserSecretRequest, UserSecret};
use protocol::rules;
use protocol::secret::Secret;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::super::StoreError;
use super::super::audit::{self, Actor, Record};
use super::super::engine::Writing;
use super::super::generations;
use super::rules::{Held, Holdings};
use super::{KeepVersions, SecretError, Secrets, Targets, rows, versions};

impl Secrets<'_> {
    /// Stores a new secret of the acting user.
    pub async fn create(
        &self,
        actor: Actor,
        user: Uuid,
        request: CreateUserSecretRequest,
        targets: &Arc<Targets>,
    ) -> Result<UserSecret, SecretError> {
        let mut problems = rules::create(&request);
        add_policy(&mut problems, targets.check_env("", &request.env_name));
        add_policy(&mut problems, targets.check_file("", &request.file_path));
        if !problems.is_empty() {
            return Err(SecretError::Invalid(problems));
        }
        let request = Arc::new(request);
        self.0
            .write(move |writing| {
                Box::pin(async move {
                    let mut holdings = rows::holdings(writing, user).await?;
                    let new = held(&request);
                    let problems = holdings.conflicts(&new);
                    if !problems.is_empty() {
                        return Err(conflict(problems));
                    }
                    let id = new.id;
                    holdings.add(new).map_err(SecretError::Cap)?;
                    Ok(insert(writing, actor, user, id, New::from(&*request)).await?)
                })
            })
            .await
    }

    /// Changes fields of a secret. All rules are judged on what it will be.
    pub async fn update(
        &self,
        actor: Actor,
        user: Uuid,
        name: &str,
        request: UpdateUserSecretRequest,
        targets: &Arc<Targets>,
        keep: KeepVersions,
    ) -> Result<UserSecret, SecretError> {
        if request.is_empty() {
            return Err(SecretError::NoFields);
        }
        let problems = rules::update(&request);
        if !problems.is_empty() {
            return Err(SecretError::Invalid(problems));
        }
        let update = Update { request: Arc::new(request), targets: Arc::clone(targets), keep, rolled_back_to: None };
        let name = name.to_owned();
        self.0.write(move |writing| Box::pin(self::update(writing, actor, user, name, update))).await
    }

    /// Deletes a secret.
    pub async fn delete(&self, actor: Actor, user: Uuid, name: &str) -> Result<(), SecretError> {
        if !self.0.can_hold(name) {
            return Err(SecretError::NotFound);
        }
        let name = name.to_owned();
        self.0
            .write(move |writing| {
                Box::pin(async move {
                    let old = rows::delete(writing, user, &name).await?.ok_or(SecretError::NotFound)?;
                    if is_delivered(&old) {
                        generations::grow_owner(writing, user).await?;
                    }
                    let record = Record::new(actor, "delete", "user_secret").on(old.id, &name).status(204);
                    Ok(audit::insert(writing, record.diff(diff(Some(&old), None, true))).await?)
                })
            })
            .await
    }
}

/// A target that breaks a rule as well is told once, by the rule.
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

/// A secret to store; it has passed all rules.
pub(super) struct New<'a> {
    pub(super) name: &'a str,
    pub(super) description: &'a str,
    pub(super) env_name: &'a str,
    pub(super) file_path: &'a str,
    pub(super) enabled: bool,
    pub(super) value: &'a Secret,
}

impl<'a> From<&'a CreateUserSecretRequest> for New<'a> {
    fn from(request: &'a CreateUserSecretRequest) -> Self {
        Self {
            name: &request.name,
            description: &request.description,
            env_name: &request.env_name,
            file_path: &request.file_path,
            // Intent only: without a target it is stored, and takes effect when it gets one.
            enabled: request.enabled.unwrap_or(true),
            value: &request.value,
        }
    }
}

/// What a request would add to the user's holdings, under a new id.
fn held(request: &CreateUserSecretRequest) -> Held {
    Held {
        id: Uuid::new_v4(),
        name: request.name.clone(),
        env_name: request.env_name.clone(),
        file_path: request.file_path.clone(),
        value_bytes: request.value.len(),
    }
}

/// Writes a secret with its audit record.
pub(super) async fn insert(
    writing: &mut Writing,
    actor: Actor,
    user: Uuid,
    id: Uuid,
    new: New<'_>,
) -> Result<UserSecret, StoreError> {
    let now = writing.now();
    let secret = UserSecret {
        id,
        name: new.name.to_owned(),
        description: new.description.to_owned(),
        env_name: new.env_name.to_owned(),
        file_path: new.file_path.to_owned(),
        enabled: new.enabled,
        created_at: now,
        updated_at: now,
    };
    rows::insert(writing, user, &secret, new.value, actor.token()).await?;
    if is_delivered(&secret) {
        generations::grow_owner(writing, user).await?;
    }
    let record = Record::new(actor, "create", "user_secret").on(id, &secret.name).status(201);
    audit::insert(writing, record.diff(diff(None, Some(&secret), true))).await?;
    Ok(secret)
}

/// How a secret changes.
#[derive(Clone)]
pub(super) struct Update {
    pub(super) request: Arc<UpdateUserSecretRequest>,
    pub(super) targets: Arc<Targets>,
    pub(super) keep: KeepVersions,
    /// The number of the former value that becomes current.
    pub(super) rolled_back_to: Option<i64>,
}

/// Changes the secret `name`, with its audit record.
pub(super) async fn update(
    writing: &mut Writing,
    actor: Actor,
    user: Uuid,
    name: String,
    Update { request, targets, keep, rolled_back_to }: Update,
) -> Result<UserSecret, SecretError> {
    let mut holdings = rows::holdings(writing, user).await?;
    let after = exchange(&mut holdings, name, &request, &targets)?;
    let old = rows::read(writing, after.id).await?;
    let new = UserSecret {
        description: request.description.clone().unwrap_or_else(|| old.description.clone()),
        env_name: after.env_name,
        file_path: after.file_path,
        enabled: request.enabled.unwrap_or(old.enabled),
        updated_at: writing.now(),
        ..old.clone()
    };
    let is_new_value = match &request.value {
        Some(value) => rows::is_new_value(writing, user, new.id, value).await?,
        None => false,
    };
    if changes_manifest(&old, &new, is_new_value) {
        generations::grow_owner(writing, user).await?;
    }
    if is_new_value {
        // Before anything is written: what is kept has the time of the former value.
        versions::keep(writing, &actor, user, new.id, keep).await?;
    }
    rows::write_fields(writing, &new).await?;
    if let Some(value) = &request.value {
        rows::write_value(writing, user, new.id, value).await?;
    }
    if request.forget_old {
        versions::forget(writing, new.id).await?;
    }
    let diff = diff_of_update(&old, &new, &request, rolled_back_to);
    audit::insert(writing, Record::new(actor, "write", "user_secret").on(new.id, &new.name).diff(diff)).await?;
    Ok(new)
}

fn diff_of_update(
    old: &UserSecret,
    new: &UserSecret,
    request: &UpdateUserSecretRequest,
    rolled_back_to: Option<i64>,
) -> Value {
    let mut diff = diff(Some(old), Some(new), request.value.is_some());
    if let Some(number) = rolled_back_to {
        diff["rolled_back_to"] = number.into();
    }
    if request.forget_old {
        diff["forgot_old"] = true.into();
    }
    diff
}

/// Whether agents get it.
fn is_delivered(secret: &UserSecret) -> bool {
    secret.enabled && !(secret.env_name.is_empty() && secret.file_path.is_empty())
}

/// Whether an update concerns what agents get: not a description, and not the same value stored again.
fn changes_manifest(old: &UserSecret, new: &UserSecret, is_new_value: bool) -> bool {
    let targets =
        |secret: &UserSecret| is_delivered(secret).then(|| (secret.env_name.clone(), secret.file_path.clone()));
    targets(old) != targets(new) || is_new_value && is_delivered(new)
}

/// Exchanges the secret `name` for what `request` makes of it, where conflicts and caps allow that.
fn exchange(
    holdings: &mut Holdings,
    name: String,
    request: &UpdateUserSecretRequest,
    targets: &Targets,
) -> Result<Held, SecretError> {
    let before = holdings.take(&name).ok_or(SecretError::NotFound)?;
    let after = Held {
        id: before.id,
        name,
        env_name: request.env_name.clone().unwrap_or_else(|| before.env_name.clone()),
        file_path: request.file_path.clone().unwrap_or_else(|| before.file_path.clone()),
        value_bytes: request.value.as_ref().map_or(before.value_bytes, Secret::len),
    };
    let env = targets.check_env(&before.env_name, &after.env_name);
    let file = targets.check_file(&before.file_path, &after.file_path);
    let denied: Vec<_> = env.into_iter().chain(file).collect();
    if !denied.is_empty() {
        return Err(SecretError::Invalid(denied));
    }
    let problems = holdings.conflicts(&after);
    if !problems.is_empty() {
        return Err(conflict(problems));
    }
    holdings.add(after.clone()).map_err(SecretError::Cap)?;
    Ok(after)
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
