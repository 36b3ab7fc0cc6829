//! `coder tokens`

use std::str::FromStr as _;
use std::time::Duration;

use clap::{Args, Subcommand};
use comfy_table::{ContentArrangement, Table, presets};
use jiff::tz::TimeZone;
use jiff::{Span, SpanRelativeTo, Timestamp};
use protocol::rest::{ApiKey, CreateTokenRequest, CreatedToken, Scope, never};
use reqwest::Method;

use super::client::{Changed, Client, ClientError};
use super::error::CliError;
use super::server::ServerArgs;
use super::ui;

const ROUTE: [&str; 4] = ["users", "me", "keys", "tokens"];

/// Create, list and revoke tokens for your programs
///
/// A token signs in as you. Give each program its own, so that you can revoke one without touching the others.
#[derive(Args)]
#[command(after_help = "\
Examples:
  # Create a token that is valid for a week.
  coder tokens create --name ci --lifetime 7d

  # List your tokens. Nothing shows a token again.
  coder tokens list

  # Revoke a token by its name or id.
  coder tokens remove ci")]
pub(crate) struct TokensArgs {
    #[command(subcommand)]
    command: TokensCommand,
}

#[derive(Subcommand)]
enum TokensCommand {
    Create(CreateArgs),
    #[command(visible_alias = "ls")]
    List(ListArgs),
    #[command(visible_aliases = ["delete", "rm"])]
    Remove(RemoveArgs),
}

/// Create a token and print it; it is shown this once
#[derive(Args)]
struct CreateArgs {
    /// Name of the token, unique among yours [default: none]
    #[arg(long, short)]
    name: Option<String>,

    /// How long the token is valid, such as 7d or 12h [default: 30d]
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    lifetime: Option<Duration>,

    /// What the token may do: secrets, or workspaces to define workspaces as well, if your own sign-in may do that
    #[arg(long, default_value_t = Scope::Secrets)]
    scope: Scope,
}

/// List your tokens, without the tokens themselves
#[derive(Args)]
struct ListArgs {
    /// List the tokens of all users, as an administrator
    #[arg(long)]
    all: bool,

    /// Also list tokens that have expired
    #[arg(long)]
    include_expired: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Revoke a token; it stops working immediately
#[derive(Args)]
struct RemoveArgs {
    /// Name or id of the token, or the token itself
    #[arg(value_name = "TOKEN")]
    named: String,
}

impl TokensArgs {
    pub(crate) async fn run(self, server: &ServerArgs) -> Result<(), CliError> {
        let client = server.connect().await?;
        match self.command {
            TokensCommand::Create(args) => args.run(&client).await,
            TokensCommand::List(args) => args.run(&client).await,
            TokensCommand::Remove(args) => args.run(&client).await,
        }
    }
}

impl CreateArgs {
    async fn run(self, client: &Client) -> Result<(), CliError> {
        let request = CreateTokenRequest {
            lifetime: self.lifetime.map_or(0, |time| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)),
            // Coder's own servers know other scopes, and take no scope for the usual one.
            scope: if self.scope == Scope::Secrets { String::new() } else { self.scope.to_string() },
            token_name: self.name.unwrap_or_default(),
        };
        let failed = |error: ClientError| {
            let perhaps = "The token may have been created all the same. Look with: coder tokens list";
            let hint = error.may_be_done().then(|| perhaps.to_owned());
            CliError::Change { operation: "create a token".into(), hint, source: Box::new(error) }
        };
        let made: Changed<CreatedToken> = client.change(Method::POST, &ROUTE, Some(&request)).await.map_err(failed)?;
        let Some(made) = made.answer() else {
            let reason = "the server's answer could not be read; revoke the token: coder tokens list".to_owned();
            return Err(CliError::Unsupported { operation: "print the new token".into(), reason });
        };
        // The one place that prints a token.
        ui::print(made.key.expose_str().unwrap_or_default()).map_err(CliError::output)
    }
}

impl ListArgs {
    async fn run(self, client: &Client) -> Result<(), CliError> {
        let query = [("include_all", self.all), ("include_expired", self.include_expired)];
        let query: Vec<_> = query.map(|(name, set)| (name, if set { "true" } else { "false" })).into();
        let tokens: Vec<ApiKey> =
            client.get_with(&ROUTE, &query).await.map_err(CliError::request("list your tokens"))?;
        if self.json {
            let text = serde_json::to_string_pretty(&tokens).map_err(|error| CliError::output(error.into()))?;
            return ui::print(&text).map_err(CliError::output);
        }
        if tokens.is_empty() {
            ui::note("No tokens found.");
            return Ok(());
        }
        ui::print(&table(&tokens, self.all)).map_err(CliError::output)
    }
}

fn table(tokens: &[ApiKey], with_owner: bool) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    let mut head = vec!["ID", "NAME", "SCOPE", "CREATED", "EXPIRES", "LAST USED"];
    if with_owner {
        head.push("USER");
    }
    table.set_header(head);
    for token in tokens {
        let mut row = vec![
            ui::one_line(&token.id),
            ui::one_line(&token.token_name),
            ui::one_line(&token.scope),
            local(token.created_at),
            local(token.expires_at),
            local(token.last_used),
        ];
        if with_owner {
            row.push(ui::one_line(&token.username));
        }
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// A time for people. Servers write the year 1 or 9999 where there is none.
fn local(time: Timestamp) -> String {
    let zoned = time.to_zoned(TimeZone::system());
    if time == never() || zoned.year() >= 9999 {
        return "never".into();
    }
    zoned.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

impl RemoveArgs {
    async fn run(self, client: &Client) -> Result<(), CliError> {
        // Of a whole token only the public part is sent: a path can end up in logs.
        let id = self.named.split_once('-').filter(|(id, secret)| id.len() == 10 && secret.len() >= 20);
        let wanted = id.map_or(self.named.as_str(), |(id, _)| id);
        let tokens: Vec<ApiKey> = client.get(&ROUTE).await.map_err(CliError::request("list your tokens"))?;
        let named = tokens.iter().find(|token| token.token_name == wanted && !wanted.is_empty());
        // A session is not in the list, but has an id as well.
        let id = named.map_or(wanted, |token| token.id.as_str());
        if id.is_empty() || id.contains(['/', '.']) {
            return Err(CliError::Usage(format!("there is no token {wanted:?}; see: coder tokens list")));
        }
        let operation = format!("revoke token {:?}", ui::one_line(wanted));
        let failed = |error: ClientError| {
            let hint = Some("List your tokens with: coder tokens list".to_owned());
            CliError::Change { operation, hint, source: Box::new(error) }
        };
        client.delete(&["users", "me", "keys", id]).await.map_err(failed)?;
        ui::print(&format!("Revoked token {}.", ui::one_line(wanted))).map_err(CliError::output)
    }
}

fn lifetime(text: &str) -> Result<Duration, String> {
    let span = Span::from_str(text).ok().and_then(|span| span.to_duration(SpanRelativeTo::days_are_24_hours()).ok());
    let time = span.and_then(|span| Duration::try_from(span).ok()).filter(|time| *time >= Duration::from_secs(1));
    time.ok_or_else(|| "a time such as 7d, 12h or 90m".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lifetimes_as_people_write_them() {
        assert_eq!(lifetime("7d").unwrap(), Duration::from_hours(168));
        assert_eq!(lifetime("12h30m").unwrap(), Duration::from_mins(750));
        for bad in ["", "0", "soon", "-1h", "7"] {
            assert!(lifetime(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn no_time_is_never() {
        assert_eq!(local(never()), "never");
        assert_eq!(local(Timestamp::MAX), "never");
    }
}
