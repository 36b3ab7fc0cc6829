//! Carries out an import: new secrets in one batch, then the values of existing ones, one by one.

use protocol::import::{Entry, Format, Shown};
use protocol::rest::{ChangedSecret, ImportUserSecretsRequest, UpdateUserSecretRequest};
use protocol::rules;
use protocol::secret::Secret;
use reqwest::{Method, StatusCode};

use super::plan::Plan;
use super::{OPERATION, count, names};
use crate::cli::client::{Changed, Client, ClientError};
use crate::cli::error::CliError;
use crate::cli::secret::{ROUTE, failure, list, report, route};
use crate::cli::ui;

/// The file itself.
pub(super) fn as_it_is(format: Format, content: Secret) -> ImportUserSecretsRequest {
    ImportUserSecretsRequest::new(format, content)
}

/// The entries that are left of a file, in its order.
pub(super) fn as_json(entries: &[Entry]) -> Result<ImportUserSecretsRequest, CliError> {
    let mut text = Vec::with_capacity(entries.iter().map(|entry| 2 * (entry.key.len() + entry.value.len()) + 8).sum());
    for (index, entry) in entries.iter().enumerate() {
        text.push(if index == 0 { b'{' } else { b',' });
        let value = entry.value.expose_str().unwrap_or_default();
        let written = serde_json::to_writer(&mut text, &entry.key).and_then(|()| {
            text.push(b':');
            serde_json::to_writer(&mut text, value)
        });
        written
            .map_err(|source| ClientError::Body { operation: "write the request", source })
            .map_err(CliError::request(OPERATION))?;
    }
    text.push(b'}');
    Ok(ImportUserSecretsRequest::new(Format::Json, Secret::new(text)))
}

/// Stores new secrets: all of them or none.
pub(super) async fn import(client: &Client, request: &ImportUserSecretsRequest) -> Result<(), CliError> {
    let [users, me, secrets] = ROUTE;
    let route = [users, me, secrets, "batch"];
    let imported: Changed<Vec<ChangedSecret>> = match client.change(Method::POST, &route, Some(request)).await {
        Ok(imported) => imported,
        Err(error) => return Err(failed(client, error).await),
    };
    let done = match imported.answer() {
        Some(imported) => format!("Imported {}.", count(imported.len())),
        None => "Imported the secrets.".to_owned(),
    };
    report(&done, &imported)?;
    if let Some(imported) = imported.answer() {
        warn_about_targets(imported);
    }
    Ok(())
}

async fn failed(client: &Client, error: ClientError) -> CliError {
    let operation = OPERATION.to_owned();
    if error.is_no_route() {
        // A server of before the import, or of before all secrets: the list tells.
        if let Err(unsupported @ CliError::Unsupported { .. }) = list::fetch_all(client, OPERATION).await {
            return unsupported;
        }
        let version = client.shown_version();
        let reason = format!("this server{version} cannot import; store each one with: coder secret create");
        return CliError::Unsupported { operation, reason };
    }
    let hint = if error.may_be_done() {
        Some("The secrets may have been stored all the same. Look with: coder secret list")
    } else {
        let exists = error.status() == Some(StatusCode::CONFLICT);
        exists.then_some("To change the values of secrets that exist: --update")
    };
    CliError::Change { operation, hint: hint.map(Into::into), source: Box::new(error) }
}

/// Stores new secrets, and gives existing ones the values of the file. A failure in between says what was done.
pub(super) async fn import_and_update(client: &Client, plan: &Plan) -> Result<(), CliError> {
    if !plan.skipped.is_empty() {
        note_skipped(&plan.skipped);
    }
    if !plan.new.is_empty() {
        import(client, &as_json(&plan.new)?).await?;
    }
    for (index, entry) in plan.existing.iter().enumerate() {
        if let Err(error) = update(client, entry).await {
            let rest = &plan.existing[index + 1..];
            ui::note(&format!("Updated {} before the failure.", count(index)));
            if !rest.is_empty() {
                ui::note(&format!("Not updated: {}", names(rest.iter().map(|entry| &entry.key))));
            }
            return Err(error);
        }
    }
    if plan.existing.is_empty() {
        return Ok(());
    }
    ui::print(&format!("Updated {}.", count(plan.existing.len()))).map_err(CliError::output)
}

async fn update(client: &Client, entry: &Entry) -> Result<(), CliError> {
    let operation = format!("update secret {}", Shown(&entry.key));
    let value = Secret::new(entry.value.expose().to_vec());
    let request = UpdateUserSecretRequest { value: Some(value), ..UpdateUserSecretRequest::default() };
    let changed = client.change::<ChangedSecret>(Method::PATCH, &route(&entry.key), Some(&request)).await;
    let changed = changed.map_err(failure::change(operation, &entry.key, "changed"))?;
    if let Some(fault) = changed.fault() {
        let key = Shown(&entry.key);
        let fault = ui::printable(fault);
        ui::warn(&format!("{key} was changed, but the server's answer could not be read: {fault}"));
    }
    Ok(())
}

/// Says which keys are left out because they have no value.
pub(super) fn note_skipped(skipped: &[String]) {
    ui::note(&format!("Left out {} without a value: {}", count(skipped.len()), names(skipped)));
}

fn warn_about_targets(imported: &[ChangedSecret]) {
    let is_without = |secret: &&ChangedSecret| secret.env_name.as_deref() == Some("");
    let without: Vec<&String> = imported.iter().filter(is_without).map(|secret| &secret.name).collect();
    if without.is_empty() {
        return;
    }
    let number = count(without.len());
    ui::warn(&format!("{number} imported without an environment variable name: {}", names(without.iter().copied())));
    for name in without {
        if let Err(reason) = rules::env_name(name) {
            ui::note(&format!("  {}: {reason}", Shown(name)));
        }
    }
    ui::note("Workspaces get a secret once it has a target: coder secret update <name> --env <ENV_NAME>");
}

#[cfg(test)]
mod tests {
    use protocol::import::parse;

    use super::*;

    #[test]
    fn what_is_left_of_a_file_is_sent_in_its_order() {
        let entries = parse(Format::Env, "B='a\"b'\nA=\"x\\ny\"").unwrap();
        let request = as_json(&entries).unwrap();
        assert_eq!(request.format, "json");
        assert_eq!(request.content.expose_str().unwrap(), r#"{"B":"a\"b","A":"x\ny"}"#);
        assert_eq!(parse(Format::Json, request.content.expose_str().unwrap()).unwrap().len(), 2);
    }
}
