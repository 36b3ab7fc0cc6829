//! `coder login`

use std::path::{Path, PathBuf};
use std::{fs, io};

use clap::Args;
use protocol::rest::{ApiKey, CreateTokenRequest, CreatedToken, Scope, User};
use protocol::secret::Secret;
use reqwest::Method;

use super::client::{Changed, Client};
use super::config_dir::MAX_LINE_BYTES;
use super::error::CliError;
use super::mistakes;
use super::server::{self, ServerArgs};
use super::ui;
use crate::tls;

/// Sign in to a server
///
/// The session token comes from --token, from its variable, or from standard input; at a terminal, this asks for the
/// token and does not show it. The server checks the token before it is saved.
#[derive(Args)]
#[command(after_help = "\
Examples:
  # Ask for the session token.
  coder login https://coder.example.com

  # Take the session token from a file, as scripts do.
  coder login https://coder.example.com < token.txt

  # Keep a token that may also define workspaces.
  coder login https://coder.example.com --scope workspaces

  # Trust a private certificate authority, or a self-signed certificate.
  coder login https://coder.example.com --ca-file ca.pem

The administrator of the server creates a session token with
`coder-server token create`. A Coder deployment shows you one at
https://coder.example.com/cli-auth.")]
pub(crate) struct LoginArgs {
    /// Address of the server [default: that of the last sign-in]
    #[arg(value_name = "URL")]
    address: Option<String>,

    /// Trust the certificates in this PEM file for this server: its authority's, or its own; a copy is kept with the sign-in
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,

    /// Keep a token that may do this: secrets, or workspaces to define workspaces as well
    #[arg(long, default_value_t = Scope::Secrets)]
    scope: Scope,
}

impl LoginArgs {
    pub(crate) async fn run(self, args: &ServerArgs) -> Result<(), CliError> {
        let url = match &self.address {
            Some(address) => server::parse_url(address)?,
            None => args.url()?,
        };
        if let Some(server) = mistakes::server_of_page(&url) {
            let page = url.path();
            return Err(CliError::Usage(format!("the address ends in {page}, a page of the server; use {server}")));
        }
        let dir = args.config_dir()?;
        let ca_file = self.ca_file.or(args.saved(&url).unwrap_or_default().ca_file);
        let ca = ca_file.as_deref().map(read_ca_file).transpose()?;
        let asked = match args.given_token() {
            Some(_) => None,
            None => Some(ask_token(url.host_str().unwrap_or_default())?),
        };
        let token = asked.as_ref().or(args.given_token()).ok_or_else(no_token)?;
        let client = args.connect_to(url.clone(), Some(token), ca_file).await?;
        let operation = CliError::request("check the session token");
        let user: User = client.get(&["users", "me"]).await.map_err(operation)?;
        let narrower = fit(&client, token, self.scope).await?;
        let token = narrower.as_ref().unwrap_or(token);
        dir.store(url.as_str().trim_end_matches('/'), token, ca.as_deref()).map_err(CliError::Store)?;
        ui::print(&format!("You are signed in to {} as {}.", client.server(), user.username)).map_err(CliError::output)
    }
}

/// Makes sure that what is kept may do as much as was asked for, and no more: a token that defines workspaces gets at the
/// values of secrets, so it lies on a disk only if its user says so. The token to keep in place of the given one, if any.
async fn fit(client: &Client, token: &Secret, wanted: Scope) -> Result<Option<Secret>, CliError> {
    let id = token.expose_str().unwrap_or_default().split('-').next().unwrap_or_default();
    // Older servers and Coder's have no such scopes.
    let key: Option<ApiKey> = client.get(&["users", "me", "keys", id]).await.ok();
    let scope =
        key.map_or(Scope::Secrets, |key| if key.scope == "workspaces" { Scope::Workspaces } else { Scope::Secrets });
    match (wanted, scope) {
        (Scope::Secrets, Scope::Secrets) | (Scope::Workspaces, Scope::Workspaces) => Ok(None),
        (Scope::Workspaces, Scope::Secrets) => Err(CliError::Unsupported {
            operation: "sign in with the scope workspaces".into(),
            reason: "this token may only manage secrets. An administrator makes one that may define workspaces: \
                     coder-server token create NAME --scope workspaces"
                .into(),
        }),
        (Scope::Secrets, Scope::Workspaces) => {
            let operation = CliError::request("get a session token for managing secrets");
            let request = CreateTokenRequest { scope: wanted.to_string(), ..CreateTokenRequest::default() };
            let made: Changed<CreatedToken> =
                client.change(Method::POST, &["users", "me", "keys"], Some(&request)).await.map_err(operation)?;
            let Changed::Answered(made) = made else {
                let reason = "the server's answer could not be read".to_owned();
                return Err(CliError::Unsupported { operation: "get a session token".into(), reason });
            };
            ui::note(
                "The token may define workspaces. This sign-in keeps one that may only manage secrets; to keep the \
                 given one, add --scope workspaces.",
            );
            Ok(Some(made.key))
        }
    }
}

/// Read before the token is asked for or sent.
fn read_ca_file(path: &Path) -> Result<Vec<u8>, CliError> {
    let unreadable = |error: io::Error| CliError::Usage(format!("cannot read the CA file {}: {error}", path.display()));
    let content = fs::read(path).map_err(unreadable)?;
    tls::check_ca_file(path).map_err(|error| CliError::Usage(error.to_string()))?;
    Ok(content)
}

fn ask_token(host: &str) -> Result<Secret, CliError> {
    let answer = if ui::stdin_is_terminal() {
        let question = format!("Session token for {host} (it is not shown): ");
        ui::ask_hidden(&question, MAX_LINE_BYTES).map_err(CliError::input)?.ok_or(CliError::Canceled)?
    } else {
        ui::read_stdin(MAX_LINE_BYTES).map_err(CliError::input)?
    };
    let token = Secret::new(answer.expose().trim_ascii().to_vec());
    if token.is_empty() { Err(no_token()) } else { Ok(token) }
}

fn no_token() -> CliError {
    CliError::Usage("no session token: give it with --token, by a pipe, or type it on a terminal".into())
}
