//! Importing a file of secrets: all of them or none.

use std::sync::Arc;

use protocol::import::{self, Entry, EntryProblem, Format};
use protocol::problem::{FieldProblem, Problem};
use protocol::rest::{ImportUserSecretsRequest, UserSecret};
use protocol::rules::MAX_SECRETS;
use uuid::Uuid;

use super::super::audit::Actor;
use super::super::engine::Writing;
use super::change::{self, New};
use super::rules::{Held, Holdings, shown};
use super::{SecretError, Secrets, Targets, rows};

impl Secrets<'_> {
    /// Stores every entry of a secrets file as a new secret, in the file's order. It never overwrites.
    pub async fn import(
        &self,
        actor: Actor,
        user: Uuid,
        request: ImportUserSecretsRequest,
        targets: &Targets,
    ) -> Result<Vec<UserSecret>, SecretError> {
        let entries = parse(&request)?;
        drop(request);
        let mut problems: Vec<_> = import::check(&entries).iter().map(located).collect();
        if problems.is_empty() {
            problems = denied(&entries, targets);
        }
        if !problems.is_empty() {
            return Err(SecretError::Invalid(problems));
        }
        let entries = Arc::new(entries);
        self.0.write(move |writing| Box::pin(insert_all(writing, actor, user, entries))).await
    }
}

fn parse(request: &ImportUserSecretsRequest) -> Result<Vec<Entry>, SecretError> {
    let format: Format = request.format.parse().map_err(SecretError::Format)?;
    let text = request.content.expose_str().unwrap_or_default();
    import::parse(format, text).map_err(SecretError::Parse)
}

async fn insert_all(
    writing: &mut Writing,
    actor: Actor,
    user: Uuid,
    entries: Arc<Vec<Entry>>,
) -> Result<Vec<UserSecret>, SecretError> {
    let mut holdings = rows::holdings(writing, user).await?;
    let new: Vec<Held> = entries.iter().map(held).collect();
    check(&mut holdings, &entries, &new)?;
    let mut stored = Vec::with_capacity(entries.len());
    for (entry, held) in entries.iter().zip(new) {
        let new = New {
            name: &entry.key,
            description: "",
            env_name: entry.env_name(),
            file_path: "",
            enabled: true,
            value: &entry.value,
        };
        stored.push(change::insert(writing, actor.clone(), user, held.id, new).await?);
    }
    Ok(stored)
}

/// Conflicts come before caps: what exists already would not count once it is out of the file.
fn check(holdings: &mut Holdings, entries: &[Entry], new: &[Held]) -> Result<(), SecretError> {
    let mut conflicts = Vec::new();
    for ((index, entry), held) in entries.iter().enumerate().zip(new) {
        conflicts.extend(holdings.import_conflicts(held).into_iter().map(|problem| {
            let field = if problem.field == "name" { "name" } else { "env_name" };
            let (key, line) = (entry.key.clone(), entry.line);
            located(&EntryProblem { index, key, line, field, detail: problem.detail })
        }));
    }
    if !conflicts.is_empty() {
        return Err(SecretError::Conflict { message: "Some secrets already exist.", problems: conflicts });
    }
    let (have, more) = (holdings.count(), new.len());
    if have + more > MAX_SECRETS {
        let detail = format!(
            "Each user can have at most {MAX_SECRETS} secrets. You have {have} and the file has {more}: remove at least {}.",
            have + more - MAX_SECRETS
        );
        return Err(SecretError::Cap(Problem::new("User secrets limit reached.").detail(detail)));
    }
    for (index, held) in new.iter().enumerate() {
        holdings.add(held.clone()).map_err(|problem| {
            let detail = format!("Entry secrets[{index}] (\"{}\"): {}", shown(&held.name), problem.detail);
            SecretError::Cap(problem.detail(detail))
        })?;
    }
    Ok(())
}

fn located(problem: &EntryProblem) -> FieldProblem {
    FieldProblem::new(problem.request_field(), problem.located_detail())
}

/// The entries whose variables the administrator denies.
fn denied(entries: &[Entry], targets: &Targets) -> Vec<FieldProblem> {
    let denied = entries.iter().enumerate().filter_map(|(index, entry)| {
        let problem = targets.check_env("", entry.env_name())?;
        let (key, line) = (entry.key.clone(), entry.line);
        Some(located(&EntryProblem { index, key, line, field: "env_name", detail: problem.detail }))
    });
    denied.collect()
}

fn held(entry: &Entry) -> Held {
    Held {
        id: Uuid::new_v4(),
        name: entry.key.clone(),
        env_name: entry.env_name().to_owned(),
        file_path: String::new(),
        value_bytes: entry.value.len(),
    }
}
