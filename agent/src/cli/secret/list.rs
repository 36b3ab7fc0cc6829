//! `coder secret list`

use std::time::Duration;

use clap::{Args, ValueEnum};
use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use protocol::rest::{UserSecret, UserSecretsCapabilities};
use reqwest::StatusCode;

use super::{ROUTE, connect_for, failure, route};
use crate::cli::client::{Client, ClientError};
use crate::cli::error::CliError;
use crate::cli::server::ServerArgs;
use crate::cli::ui;

/// How long the list waits to hear whether files are delivered at all.
const CAPABILITIES_LIMIT: Duration = Duration::from_secs(1);

/// What the list is for where it is wanted for itself.
const LIST: &str = "list secrets";

/// List your secrets, or show one
///
/// The list has everything but the values, which no command shows. Where a terminal is too narrow for the table, the
/// table leaves out CREATED and UPDATED, and then DESCRIPTION.
#[derive(Args)]
#[command(after_help = "\
Examples:
  # List all of your secrets.
  coder secret list

  # Show a single secret by name.
  coder secret list api-key

  # Show names and files only.
  coder secret list --column name,file

  # Print JSON for a script.
  coder secret list --output json")]
pub(crate) struct ListArgs {
    /// Show only the secret of this name
    name: Option<String>,

    /// Print a table for people or JSON for programs
    #[arg(long, short, value_enum, ignore_case = true, default_value_t = Output::Table)]
    output: Output,

    /// Show only these columns of the table, in this order [default: all]
    #[arg(long, short, value_enum, ignore_case = true, value_delimiter = ',')]
    column: Vec<Column>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Table,
    Json,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
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
            let operation = failure::read(format!("get secret {name:?}"));
            let secret = client.get(&route(name)).await.map_err(operation)?;
            Ok((client, vec![secret]))
        } else {
            let client = server.connect().await?;
            let secrets = fetch_all(&client, LIST).await?;
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
            Output::Table if self.column.is_empty() => {
                Ok(Some(fitting_table(secrets, ui::terminal_width(), Timestamp::now())))
            }
            Output::Table => Ok(Some(table(secrets, &self.column, Timestamp::now()))),
        }
    }
}

/// All secrets of the caller. `operation` is what they are wanted for, in an error.
pub(super) async fn fetch_all(client: &Client, operation: &str) -> Result<Vec<UserSecret>, CliError> {
    let without_secrets = |error: ClientError| match error.status() {
        // The list is there for every user, even an empty one.
        Some(StatusCode::NOT_FOUND) if matches!(error, ClientError::Refused { .. }) => {
            ClientError::NoRoute { version: client.shown_version() }
        }
        _ => error,
    };
    client.get(&ROUTE).await.map_err(without_secrets).map_err(failure::read(operation))
}

/// The names of all secrets, for completion; none where the user is not signed in or the server does not answer.
pub(crate) async fn names(server: &ServerArgs) -> Vec<String> {
    let Ok(client) = server.connect().await else { return Vec::new() };
    let secrets = fetch_all(&client, LIST).await.unwrap_or_default();
    secrets.into_iter().map(|secret| secret.name).filter(|name| !name.chars().any(char::is_control)).collect()
}

/// The table with as many columns as fit into `width`. A row that wraps is hard to read, and a name in two pieces can be
/// neither copied nor searched for.
fn fitting_table(secrets: &[UserSecret], width: Option<usize>, now: Timestamp) -> String {
    let without = |dropped: &[Column]| -> Vec<Column> {
        Column::ALL.into_iter().filter(|column| !dropped.contains(column)).collect()
    };
    let candidates = [
        without(&[]),
        without(&[Column::Created, Column::Updated]),
        without(&[Column::Created, Column::Updated, Column::Description]),
    ];
    let mut text = String::new();
    for columns in candidates {
        text = table(secrets, &columns, now);
        let needed = text.lines().map(|line| line.chars().count()).max().unwrap_or_default();
        if width.is_none_or(|width| needed <= width) {
            break;
        }
    }
    text
}

fn table(secrets: &[UserSecret], columns: &[Column], now: Timestamp) -> String {
    let mut table = Table::new();
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

/// A time as people say it; one that is long ago, or not yet, by its date here. Empty for a server that sent none.
fn ago(time: Timestamp, now: Timestamp) -> String {
    if time == Timestamp::default() {
        return String::new();
    }
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
            created_at: Timestamp::from_second(1).unwrap(),
            updated_at: Timestamp::from_second(1).unwrap(),
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
        assert_eq!(ago(Timestamp::default(), now), "");
        assert_eq!(ago(now + 48.hours(), now).len(), "1970-02-13".len());
    }

    #[test]
    fn a_narrow_terminal_loses_whole_columns() {
        let mut row = secret("database-password", "The password of the database of the team");
        row.created_at = Timestamp::UNIX_EPOCH + 1.hours();
        row.file_path = "~/.config/tool/config.json".into();
        let header = |width| {
            let text = fitting_table(&[row.clone()], width, Timestamp::UNIX_EPOCH + 2.hours());
            text.lines().next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ")
        };
        assert_eq!(header(None), "NAME CREATED UPDATED ENV FILE ENABLED DESCRIPTION");
        assert_eq!(header(Some(200)), header(None));
        assert_eq!(header(Some(110)), "NAME ENV FILE ENABLED DESCRIPTION");
        assert_eq!(header(Some(80)), "NAME ENV FILE ENABLED");
        assert_eq!(header(Some(20)), "NAME ENV FILE ENABLED");
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
                ["api-key", "1 hour ago", "true", "For tools"],
                ["b", "1 hour ago", "true", "x\\n\\u{1b}[2J"],
            ]
        );
    }
}
