//! `coder secret history` and `coder secret rollback`

use clap::{Args, ValueEnum};
use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use protocol::rest::{ChangedSecret, RollbackUserSecretRequest, SecretVersion};
use reqwest::Method;

use super::{connect_for, failure, report, route};
use crate::cli::client::{Changed, ClientError};
use crate::cli::error::CliError;
use crate::cli::server::ServerArgs;
use crate::cli::ui;

/// Show when the value of a secret changed, and by which session token
///
/// The server keeps a few former values, each for 7 days at most. No command shows a value; `rollback` makes a former one
/// current again. Coder's own server keeps none.
#[derive(Args)]
#[command(after_help = "\
Examples:
  coder secret history api-key")]
pub(crate) struct HistoryArgs {
    /// Name of the secret
    name: String,

    /// Print a table for people or JSON for programs
    #[arg(long, short, value_enum, ignore_case = true, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

/// Make a former value of a secret current again
///
/// This is a change like any other: running workspaces get it at once, and another rollback undoes it.
#[derive(Args)]
#[command(after_help = "\
Examples:
  # Undo the last change of the value.
  coder secret rollback api-key

  # Go back to a certain value.
  coder secret history api-key
  coder secret rollback api-key --to 3")]
pub(crate) struct RollbackArgs {
    /// Name of the secret
    name: String,

    /// Number of the value, as `coder secret history` shows it [default: the one before the current one]
    #[arg(long, value_name = "N")]
    to: Option<i64>,
}

impl HistoryArgs {
    pub(crate) async fn run(self, server: &ServerArgs) -> Result<(), CliError> {
        let client = connect_for(server, &self.name).await?;
        let operation = format!("show the history of secret {:?}", self.name);
        let [users, me, secrets, name] = route(&self.name);
        let history: Result<Vec<SecretVersion>, ClientError> = client.get(&[users, me, secrets, name, "history"]).await;
        let history = history.map_err(|error| without_history(&operation, error, failure::read(&operation)))?;
        let text = match self.output {
            Output::Json => serde_json::to_string_pretty(&history).map_err(|error| CliError::output(error.into()))?,
            Output::Table => table(&history, &TimeZone::system()),
        };
        ui::print(&text).map_err(CliError::output)
    }
}

impl RollbackArgs {
    pub(crate) async fn run(self, server: &ServerArgs) -> Result<(), CliError> {
        let client = connect_for(server, &self.name).await?;
        let operation = format!("roll back secret {:?}", self.name);
        let [users, me, secrets, name] = route(&self.name);
        let path = [users, me, secrets, name, "rollback"];
        let request = RollbackUserSecretRequest { to: self.to };
        let changed: Result<Changed<ChangedSecret>, ClientError> =
            client.change(Method::POST, &path, Some(&request)).await;
        let otherwise = failure::change(operation.clone(), &self.name, "changed");
        let changed = changed.map_err(|error| without_history(&operation, error, otherwise))?;
        let name = ui::one_line(&self.name);
        let which = self.to.map_or_else(|| "its former value".to_owned(), |number| format!("value {number}"));
        report(&format!("Rolled back secret {name} to {which}."), &changed)
    }
}

/// That the server has no such route; what `otherwise` makes of another failure.
fn without_history(operation: &str, error: ClientError, otherwise: impl FnOnce(ClientError) -> CliError) -> CliError {
    match error {
        ClientError::NoRoute { version } => {
            let reason = format!("this server{version} keeps no former values");
            CliError::Unsupported { operation: operation.to_owned(), reason }
        }
        error => otherwise(error),
    }
}

fn table(history: &[SecretVersion], zone: &TimeZone) -> String {
    let time = |at: Timestamp| at.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string();
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["VALUE", "STORED", "BY TOKEN", "REPLACED"]);
    table.add_rows(history.iter().map(|it| {
        let token = if it.token_id.is_empty() { "unknown".to_owned() } else { ui::one_line(&it.token_id) };
        [it.number.to_string(), time(it.created_at), token, it.replaced_at.map_or_else(|| "current".to_owned(), time)]
    }));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_times_and_tokens_and_marks_the_current_value() {
        let version = |number, token: &str, replaced_at| SecretVersion {
            number,
            created_at: Timestamp::UNIX_EPOCH,
            token_id: token.to_owned(),
            replaced_at,
        };
        let history = [version(2, "", None), version(1, "a1b2", Some(Timestamp::UNIX_EPOCH))];
        assert_eq!(
            table(&history, &TimeZone::UTC),
            "VALUE  STORED               BY TOKEN  REPLACED\n\
             2      1970-01-01 00:00:00  unknown   current\n\
             1      1970-01-01 00:00:00  a1b2      1970-01-01 00:00:00"
        );
    }
}
