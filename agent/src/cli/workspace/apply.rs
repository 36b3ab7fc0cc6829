//! `coder workspace apply`

use std::path::PathBuf;

use clap::Args;
use comfy_table::{ContentArrangement, Table, presets};
use protocol::definitions::{Applied, ApplyRequest, Batch};
use protocol::rest::User;
use reqwest::Method;

use super::read;
use crate::cli::client::{Changed, Client, ClientError};
use crate::cli::error::CliError;
use crate::cli::server::ServerArgs;
use crate::cli::ui;

/// Create or update workspaces: all of them or none
///
/// The files are read here, and only what a workspace is made from is sent. Attributes of a Terraform state never leave
/// this machine.
#[derive(Args)]
#[command(after_help = "\
Examples:
  # Create or update what a file defines.
  coder workspace apply dev.yaml

  # Say what would change.
  coder workspace apply --dry-run dev.yaml

  # Make the workspace of a Terraform or OpenTofu state.
  terraform show -json | coder workspace apply --terraform -")]
pub(super) struct ApplyArgs {
    /// Workspace definition in YAML, or - for standard input
    #[arg(value_name = "FILE", required_unless_present = "terraform")]
    files: Vec<PathBuf>,

    /// Take the workspace from a state: the output of `terraform show -json`, or a state file; - for standard input
    #[arg(long, value_name = "FILE", conflicts_with = "files")]
    terraform: Option<PathBuf>,

    /// Name of the workspace [default: the one that the state has]
    #[arg(long, requires = "terraform")]
    name: Option<String>,

    /// Make the workspace yours even if the state names another owner
    #[arg(long, requires = "terraform")]
    ignore_owner: bool,

    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl ApplyArgs {
    pub(super) async fn run(self, server: &ServerArgs) -> Result<(), CliError> {
        let mut batch = match &self.terraform {
            Some(path) => read::state(path, self.name.clone())?,
            None => read::definitions(&self.files)?,
        };
        let client = server.connect().await?;
        check_owners(&client, &mut batch, self.ignore_owner).await?;
        let definitions = std::mem::take(&mut batch.definitions);
        let request = ApplyRequest { definitions, dry_run: self.dry_run };
        let answer: Changed<Applied> = client
            .change(Method::POST, &["definitions"], Some(&request))
            .await
            .map_err(|error| failed(error, &batch))?;
        let Changed::Answered(mut applied) = answer else {
            let reason = "the change was stored, but the server's answer could not be read; the tokens of new agents \
                          are lost: coder workspace rotate-token NAME"
                .to_owned();
            return Err(CliError::Unsupported { operation: "show what was applied".into(), reason });
        };
        batch.annotate(&mut applied);
        self.show(&applied)
    }

    fn show(&self, applied: &Applied) -> Result<(), CliError> {
        if self.json {
            let text = serde_json::to_string_pretty(applied).map_err(|error| CliError::output(error.into()))?;
            return ui::print(&text).map_err(CliError::output);
        }
        ui::print(&table(applied, self.dry_run)).map_err(CliError::output)?;
        for remark in applied.remarks(self.dry_run) {
            ui::note(&ui::printable(&remark));
        }
        if applied.has_tokens() && !self.dry_run {
            ui::note(
                "\nTokens are shown this once. Start an agent with CODER_AGENT_URL and CODER_AGENT_TOKEN set: coder agent",
            );
        }
        Ok(())
    }
}

/// A definition that names an owner must name the caller; both are named if not.
async fn check_owners(client: &Client, batch: &mut Batch, ignore: bool) -> Result<(), CliError> {
    let user: User = client.get(&["users", "me"]).await.map_err(CliError::request("get user \"me\""))?;
    for index in 0..batch.definitions.len() {
        let origin = batch.origin(index).to_owned();
        let Some(definition) = batch.definitions.get_mut(index) else { continue };
        let Some(owner) = definition.owner.take() else { continue };
        if !owner.eq_ignore_ascii_case(&user.username) && !ignore {
            let ways = "--ignore-owner makes it yours";
            return Err(CliError::Usage(format!(
                "{origin}: workspace {} belongs to {owner}, and you are {}; {ways}",
                definition.name, user.username
            )));
        }
    }
    Ok(())
}

/// With the place of the definition that is to blame.
fn failed(error: ClientError, batch: &Batch) -> CliError {
    let blamed = error.problem().and_then(|problem| problem.validations.first().cloned());
    let index = blamed
        .as_ref()
        .and_then(|fault| fault.field.strip_prefix("definitions[")?.split(']').next()?.parse::<usize>().ok());
    if let Some((fault, index)) = blamed.zip(index) {
        return CliError::Refused { operation: batch.origin(index).to_owned(), reason: fault.detail };
    }
    let perhaps = "The workspaces may have been changed all the same. Look with: coder workspace list";
    let hint = error.may_be_done().then(|| perhaps.to_owned());
    CliError::Change { operation: "apply the definitions".into(), hint, source: Box::new(error) }
}

fn table(applied: &Applied, dry_run: bool) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(Applied::HEAD);
    for row in applied.rows(dry_run) {
        table.add_row(row.iter().map(|cell| ui::one_line(cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}
