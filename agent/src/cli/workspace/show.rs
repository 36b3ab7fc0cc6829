//! `coder workspace list` and `coder workspace show`

use clap::Args;
use comfy_table::{ContentArrangement, Table, presets};
use protocol::definitions::Revealed;
use reqwest::Method;
use serde_json::Value;

use super::path;
use crate::cli::client::{Changed, Client};
use crate::cli::error::CliError;
use crate::cli::server::ServerArgs;
use crate::cli::ui;

/// What stands for a value that is shown only when somebody asks for it alone.
const DOTS: &str = "••••••••";

/// List your workspaces
#[derive(Args)]
pub(super) struct ListArgs {
    /// List the workspaces of all users, as an administrator or auditor
    #[arg(long)]
    all: bool,

    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl ListArgs {
    pub(super) async fn run(self, server: &ServerArgs) -> Result<(), CliError> {
        let client = server.connect().await?;
        let query = [("q", if self.all { "owner:*" } else { "owner:me" })];
        let found: Value =
            client.get_with(&["workspaces"], &query).await.map_err(CliError::request("list your workspaces"))?;
        if self.json {
            return print_json(&found["workspaces"]);
        }
        let rows: Vec<_> = list(&found["workspaces"]).flat_map(list_rows).collect();
        if rows.is_empty() {
            ui::note("No workspaces found.");
            return Ok(());
        }
        ui::print(&table(&["WORKSPACE", "AGENT", "STATUS", "LIFECYCLE"], rows)).map_err(CliError::output)
    }
}

fn list_rows(workspace: &Value) -> Vec<Vec<String>> {
    let path = format!("{}/{}", text(&workspace["owner_name"]), text(&workspace["name"]));
    let build = &workspace["latest_build"];
    let agents: Vec<_> = list(&build["resources"]).flat_map(|resource| list(&resource["agents"])).collect();
    if agents.is_empty() {
        return vec![vec![path, String::new(), text(&build["status"]), String::new()]];
    }
    let row = |agent: &&Value| {
        vec![path.clone(), text(&agent["name"]), text(&agent["status"]), text(&agent["lifecycle_state"])]
    };
    agents.iter().map(row).collect()
}

/// Show a workspace: its resources and what its template displays, and its agents with their scripts
#[derive(Args)]
#[command(after_help = "\
Examples:
  # Show a workspace. Sensitive values are dots.
  coder workspace show dev

  # Show one sensitive value. The server records who asked.
  coder workspace show dev --reveal twilio_iam_api_key.api_key/Password")]
pub(super) struct ShowArgs {
    /// Name of the workspace; an administrator says OWNER/NAME
    name: String,

    /// Print only the value that the template displays for this resource under this key; this takes a token of scope
    /// workspaces
    #[arg(long, value_name = "RESOURCE/KEY")]
    reveal: Option<String>,

    /// Print JSON
    #[arg(long, conflicts_with = "reveal")]
    json: bool,
}

impl ShowArgs {
    pub(super) async fn run(self, server: &ServerArgs) -> Result<(), CliError> {
        let (owner, name) = path(&self.name)?;
        let client = server.connect().await?;
        let operation = CliError::request(format!("get workspace {:?}", self.name));
        let found: Value = client.get(&["users", owner, "workspace", name]).await.map_err(operation)?;
        if let Some(wanted) = &self.reveal {
            return reveal(&client, (owner, name), &found, wanted).await;
        }
        if self.json { print_json(&found) } else { show(&found) }
    }
}

/// The longest address that fits is taken, and the rest is the key: both may hold slashes.
async fn reveal(client: &Client, (owner, name): (&str, &str), workspace: &Value, wanted: &str) -> Result<(), CliError> {
    let items = list(&workspace["latest_build"]["resources"]).flat_map(|resource| {
        let address = text(&resource["address"]);
        list(&resource["metadata"]).map(move |item| (address.clone(), item))
    });
    let fits = |(address, item): &(String, &Value)| {
        let key = wanted.strip_prefix(address.as_str()).and_then(|rest| rest.strip_prefix('/'));
        key.is_some_and(|key| key == text(&item["key"]))
    };
    let Some((_, item)) = items.filter(fits).max_by_key(|(address, _)| address.len()) else {
        let detail = format!("there is nothing at {wanted:?}; see: coder workspace show {name}");
        return Err(CliError::Usage(detail));
    };
    let id = text(&item["id"]);
    let operation = format!("reveal {wanted:?}");
    let body = serde_json::Map::new();
    let route = ["definitions", owner, name, "metadata", &id, "reveal"];
    let revealed: Changed<Revealed> =
        client.change(Method::POST, &route, Some(&body)).await.map_err(CliError::request(operation.clone()))?;
    let Changed::Answered(Revealed { value }) = revealed else {
        let reason = "the server's answer could not be read".to_owned();
        return Err(CliError::Unsupported { operation, reason });
    };
    let mut bytes = value.as_ref().map(|value| value.expose().to_vec()).unwrap_or_default();
    bytes.push(b'\n');
    let printed = ui::print_bytes(&bytes);
    protocol::secret::wipe(&mut bytes);
    printed.map_err(CliError::output)
}

fn show(workspace: &Value) -> Result<(), CliError> {
    let build = &workspace["latest_build"];
    let mut lines = vec![
        format!("workspace  {}/{}", text(&workspace["owner_name"]), text(&workspace["name"])),
        format!("status     {}", text(&build["status"])),
        format!("applied    {}", text(&build["created_at"])),
    ];
    let rows: Vec<_> =
        list(&build["resources"]).filter(|resource| resource["hide"] != true).flat_map(resource_rows).collect();
    if !rows.is_empty() {
        lines.push(format!("\n{}", table(&["RESOURCE", "KEY", "VALUE"], rows)));
    }
    for agent in list(&build["resources"]).flat_map(|resource| list(&resource["agents"])) {
        lines.push(format!("\nagent      {}", text(&agent["name"])));
        lines.push(format!("status     {}", text(&agent["status"])));
        lines.push(format!("lifecycle  {}", text(&agent["lifecycle_state"])));
        for script in list(&agent["scripts"]) {
            lines.push(format!("script     {}", text(&script["display_name"])));
        }
    }
    ui::print(&lines.join("\n")).map_err(CliError::output)
}

fn resource_rows(resource: &Value) -> Vec<Vec<String>> {
    // The one that stands for a workspace without resources has no address.
    let address = text(&resource["address"]);
    if address.is_empty() {
        return Vec::new();
    }
    let items: Vec<_> = list(&resource["metadata"]).collect();
    if items.is_empty() {
        return vec![vec![address, String::new(), String::new()]];
    }
    let row = |item: &&Value| {
        let value = if item["sensitive"] == true { DOTS.to_owned() } else { text(&item["value"]) };
        vec![address.clone(), text(&item["key"]), value]
    };
    items.iter().map(row).collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().map(Vec::as_slice).unwrap_or_default().iter()
}

fn text(value: &Value) -> String {
    ui::one_line(value.as_str().unwrap_or_default())
}

fn print_json(value: &Value) -> Result<(), CliError> {
    let text = serde_json::to_string_pretty(value).map_err(|error| CliError::output(error.into()))?;
    ui::print(&text).map_err(CliError::output)
}

fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(head);
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}
