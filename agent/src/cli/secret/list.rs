//! `coder secret list`

use std::time::Duration;

use clap::{Args, ValueEnum};
use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use protocol::rest::{UserSecret, UserSecretsCapabilities};
use reqwest::StatusCode;

use super::{ROUTE, connect_for, route};
use crate::cli::client::Client;
use crate::cli::error::CliError;
use crate::cli::server::ServerArgs;
use crate::cli::ui;

/// How long the list waits to hear whether files are delivered at all.
const CAPABILITIES_LIMIT: Duration = Duration::from_secs(1);

/// List your secrets, or show one
///
/// Everything but the value, which no command shows.
#[derive(Args)]
#[command(after_help = "\
Examples:
  # List all of your secrets.
  coder secret list

  # Show a single secret by name.
  coder secret list api-key

  # Names and files alone.
  coder secret list --column name,file

  # For a script.
  coder secret list --output json")]
pub(crate) struct ListArgs {
    /// Name of the one to show
    name: Option<String>,

    /// Table for people, JSON for programs
    #[arg(long, short, value_enum, ignore_case = true, default_value_t = Output::Table)]
    output: Output,

    /// Columns of the table [default: all]
    #[arg(long, short, value_enum, ignore_case = true, value_delimiter = ',', hide_default_value = true,
          default_values_t = Column::ALL)]
    column: Vec<Column>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

#[derive(Clone, Copy, ValueEnum)]
enum Column {
    Name,
    Created,
    Updated,
    Env,
    File,
    Enabled,
    Description,
}

impl ListArgs {
    pub(crate) async fn run(self, server: &ServerArgs) -> Result<(), CliError> {
        let (client, mut secrets) = self.fetch(server).await?;
        secrets.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(text) = self.render(&secrets)? {
            ui::print(&text).map_err(CliError::output)?;
        }
        if secrets.is_empty() {
            ui::note("No secrets found.");
        }
        if secrets.iter().any(|secret| !secret.file_path.is_empty()) {
            note_file_delivery(&client).await;
        }
        Ok(())
    }

    async fn fetch(&self, server: &ServerArgs) -> Result<(Client, Vec<UserSecret>), CliError> {
        if let Some(name) = &self.name {
            let client = connect_for(server, name).await?;
            let operation = CliError::request(format!("get secret {name:?}"));
            let secret = client.get(&route(name)).await.map_err(operation)?;
            Ok((client, vec![secret]))
        } else {
            let client = server.connect().await?;
            let secrets = client.get(&ROUTE).await.map_err(CliError::request("list secrets"))?;
            Ok((client, secrets))
        }
    }

    fn render(&self, secrets: &[UserSecret]) -> Result<Option<String>, CliError> {
        match self.output {
            Output::Json => {
                let text = serde_json::to_string_pretty(secrets).map_err(|error| CliError::output(error.into()))?;
                Ok(Some(text))
            }
            Output::Table if secrets.is_empty() => Ok(None),
            Output::Table => Ok(Some(table(secrets, &self.column, Timestamp::now()))),
        }
    }
}

fn table(secrets: &[UserSecret], columns: &[Column], now: Timestamp) -> String {
    let mut table = Table::new();
    // Never wrapped to the width of a terminal: a name in two pieces can be neither copied nor searched for.
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(columns.iter().map(|column| column.header()));
    table.add_rows(secrets.iter().map(|secret| columns.iter().map(move |column| column.cell(secret, now))));
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

impl Column {
    const ALL: [Self; 7] =
        [Self::Name, Self::Created, Self::Updated, Self::Env, Self::File, Self::Enabled, Self::Description];

    fn header(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_uppercase()).unwrap_or_default()
    }

    fn cell(self, secret: &UserSecret, now: Timestamp) -> String {
        match self {
            Self::Name => ui::one_line(&secret.name),
            Self::Created => ago(secret.created_at, now),
            Self::Updated => ago(secret.updated_at, now),
            Self::Env => ui::one_line(&secret.env_name),
            Self::File => ui::one_line(&secret.file_path),
            Self::Enabled => secret.enabled.to_string(),
            Self::Description => ui::one_line(&secret.description),
        }
    }
}

/// A time as people say it; one that is long ago, or not yet, by its date here.
fn ago(time: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(time).as_secs();
    let (number, unit) = match seconds {
        // Clocks differ a little.
        -60..5 => return "now".into(),
        5..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..86_400 => (seconds / 3600, "hour"),
        86_400..2_592_000 => (seconds / 86_400, "day"),
        _ => return time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d").to_string(),
    };
    format!("{number} {unit}{} ago", if number == 1 { "" } else { "s" })
}

async fn note_file_delivery(client: &Client) {
    let route = ["deployment", "user-secrets", "capabilities"];
    match tokio::time::timeout(CAPABILITIES_LIMIT, client.get::<UserSecretsCapabilities>(&route)).await {
        Ok(Ok(capabilities)) if capabilities.file_path_delivery_enabled => {}
        Ok(Ok(_)) => ui::note("File path delivery is disabled."),
        // A server from before the policy delivers files.
        Ok(Err(error)) if error.status() == Some(StatusCode::NOT_FOUND) => {}
        Ok(Err(_)) | Err(_) => ui::note("Could not check whether file path delivery is enabled."),
    }
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;
    use uuid::Uuid;

    use super::*;

    fn secret(name: &str, description: &str) -> UserSecret {
        UserSecret {
            id: Uuid::nil(),
            name: name.into(),
            description: description.into(),
            env_name: "API_KEY".into(),
            file_path: String::new(),
            enabled: true,
            created_at: Timestamp::UNIX_EPOCH,
            updated_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn times_as_people_say_them() {
        let now = Timestamp::UNIX_EPOCH + 1000.hours();
        for (seconds, expected) in [
            (-30, "now"),
            (0, "now"),
            (5, "5 seconds ago"),
            (60, "1 minute ago"),
            (119, "1 minute ago"),
            (7200, "2 hours ago"),
            (86_400, "1 day ago"),
            (2_591_999, "29 days ago"),
        ] {
            assert_eq!(ago(now - seconds.seconds(), now), expected);
        }
        assert_eq!(ago(now - 2400.hours(), now).len(), "1969-11-03".len());
        assert_eq!(ago(now + 48.hours(), now).len(), "1970-02-13".len());
    }

    #[test]
    fn a_table_has_the_chosen_columns() {
        let now = Timestamp::UNIX_EPOCH + 2.hours();
        let rows = [secret("api-key", "For tools"), secret("b", "x\n\u{1b}[2J")];
        let text = table(&rows, &[Column::Name, Column::Updated, Column::Enabled, Column::Description], now);
        let lines: Vec<Vec<&str>> = text
            .lines()
            .map(|line| line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect())
            .collect();
        assert_eq!(
            lines,
            [
                ["NAME", "UPDATED", "ENABLED", "DESCRIPTION"],
                ["api-key", "2 hours ago", "true", "For tools"],
                ["b", "2 hours ago", "true", "x\\n\\u{1b}[2J"],
            ]
        );
    }
}
