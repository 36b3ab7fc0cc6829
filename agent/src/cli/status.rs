//! `coder status`

use std::fmt::Write as _;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use comfy_table::{ContentArrangement, Table, presets};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::error::CliError;
use super::ui;
use crate::sessions::client::Client;
use crate::sessions::status::{State, Status, TargetKind};

/// Show which variables and files this workspace got, its scripts, and the connection
///
/// No value is shown. A file that changed after its delivery is called edited, chmodded, replaced or gone; the next start
/// delivers it again. The exit status is 0 if the workspace is ready and got every secret, else 1.
#[derive(Args)]
#[command(after_help = "\
Examples:
  coder status

  # List the targets that failed, in a script.
  coder status --output json | jq '.targets[] | select(.delivered | not)'")]
pub(crate) struct StatusArgs {
    /// Print a table for people or JSON for programs
    #[arg(long, short, value_enum, ignore_case = true, default_value_t = Output::Table)]
    output: Output,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Table,
    Json,
}

impl StatusArgs {
    pub(crate) fn run(self) -> Result<ExitCode, CliError> {
        let status = Client::new(ui::waiting).status()?;
        let text = match self.output {
            Output::Table => table(&status, &TimeZone::system()),
            Output::Json => serde_json::to_string_pretty(&status).map_err(|error| CliError::output(error.into()))?,
        };
        ui::print(&text).map_err(CliError::output)?;
        Ok(if status.is_whole() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn table(status: &Status, zone: &TimeZone) -> String {
    let mut text = summary(status, zone);
    if !status.targets.is_empty() {
        let rows = status.targets.iter().map(|target| {
            let kind = match target.kind {
                TargetKind::Env => "env",
                TargetKind::File => "file",
                TargetKind::Stale => "stale",
                TargetKind::Replaced => "replaced",
                TargetKind::Dir => "dir",
            };
            let since = target.drift.as_ref().map(|drift| format!("; since then: {}", drift.detail));
            let outcome = target.outcome.clone() + &since.unwrap_or_default();
            [kind, &target.name, &outcome].map(ui::one_line)
        });
        let _ = write!(text, "\n{}\n", aligned(["TARGET", "NAME", "OUTCOME"], rows));
    }
    if !status.scripts.is_empty() {
        let rows = status.scripts.iter().enumerate().map(|(index, script)| {
            let code = script.exit_code.map(|code| code.to_string()).unwrap_or_default();
            [&script_name(index, &script.name), &script.state, &code].map(|cell| ui::one_line(cell))
        });
        let _ = write!(text, "\n{}\n", aligned(["SCRIPT", "STATE", "EXIT CODE"], rows));
    }
    text.trim_end().to_owned()
}

/// The name of a script. Coder's own servers send none, and an id helps nobody.
fn script_name(index: usize, name: &str) -> String {
    let is_nameless = name.is_empty() || uuid::Uuid::parse_str(name).is_ok();
    if is_nameless { format!("startup script {}", index + 1) } else { name.to_owned() }
}

fn summary(status: &Status, zone: &TimeZone) -> String {
    let state = match (status.state, &status.reason) {
        (State::Booting, _) => "booting: what is started waits for the secrets".to_owned(),
        (State::Ready, _) => "ready".to_owned(),
        (State::Degraded, reason) => format!("degraded: {}", reason.as_deref().unwrap_or_default()),
    };
    let revision = status.revision.as_ref().map_or_else(
        || "none fetched yet".to_owned(),
        |it| format!("{}, fetched {}", it.number, time(it.fetched_at, zone)),
    );
    let workspace = match (&status.workspace, &status.agent) {
        (Some(workspace), Some(agent)) => format!("{workspace} (agent {agent})"),
        _ => "not known yet".to_owned(),
    };
    let process = format!("{} (process {})", status.version, status.pid);
    let lines = [
        ("Workspace", workspace),
        ("State", state),
        ("Connection", status.connection.clone()),
        ("Changes", changes(status, zone)),
        ("Revision", revision),
        ("Agent", process),
    ];
    lines.iter().fold(String::new(), |text, (name, value)| text + &format!("{name:<11} {}\n", ui::one_line(value)))
}

/// How changes arrive.
fn changes(status: &Status, zone: &TimeZone) -> String {
    let Some(updates) = &status.updates else { return "not known yet".to_owned() };
    let since = updates.since.map(|since| format!(" since {}", time(since, zone))).unwrap_or_default();
    match updates.how.as_str() {
        "watching" => format!("watching{since}: the server tells of each change"),
        "polling" => {
            let every = updates.every_seconds.unwrap_or_default();
            format!("polling{since}: asking the server every {every} s, because it does not tell of changes")
        }
        "off" => "off: changes arrive at the next start, reload or connection".to_owned(),
        other => format!("{other}{since}"),
    }
}

fn time(time: Timestamp, zone: &TimeZone) -> String {
    time.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn aligned(header: [&str; 3], rows: impl Iterator<Item = [String; 3]>) -> String {
    let mut table = Table::new();
    // Never wrapped to the width of a terminal: a path in two pieces can be neither copied nor searched for.
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header);
    table.add_rows(rows);
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sessions::status::{Drift, Revision, Script, Target, Updates};

    #[test]
    fn a_script_without_a_name_has_its_number() {
        assert_eq!(script_name(0, "Install tools"), "Install tools");
        assert_eq!(script_name(1, "0b2f5f1e-7a8f-4c1b-9a53-2f0e6c1d9b11"), "startup script 2");
        assert_eq!(script_name(0, ""), "startup script 1");
    }

    #[test]
    fn a_table_tells_all_and_drives_no_terminal() {
        let target = |kind, name: &str, delivered, outcome: &str| Target {
            kind,
            name: name.into(),
            delivered,
            outcome: outcome.into(),
            drift: None,
        };
        let mut status = Status {
            version: "v1".into(),
            pid: 7,
            workspace: Some("alice/dev".into()),
            agent: Some("main".into()),
            state: State::Ready,
            reason: None,
            connection: "connected".into(),
            updates: Some(Updates { how: "watching".into(), since: Some(Timestamp::UNIX_EPOCH), every_seconds: None }),
            revision: Some(Revision { number: 2, fetched_at: Timestamp::UNIX_EPOCH }),
            targets: vec![
                target(TargetKind::Env, "API_KEY", true, "set"),
                target(TargetKind::File, "/h/\u{1b}[2J", true, "created"),
            ],
            scripts: vec![Script { name: "Tools".into(), state: "ok".into(), exit_code: Some(0) }],
        };
        let text = table(&status, &TimeZone::UTC);
        assert_eq!(
            text,
            "Workspace   alice/dev (agent main)\n\
             State       ready\n\
             Connection  connected\n\
             Changes     watching since 1970-01-01 00:00:00: the server tells of each change\n\
             Revision    2, fetched 1970-01-01 00:00:00\n\
             Agent       v1 (process 7)\n\
             \n\
             TARGET  NAME          OUTCOME\n\
             env     API_KEY       set\n\
             file    /h/\\u{1b}[2J  created\n\
             \n\
             SCRIPT  STATE  EXIT CODE\n\
             Tools   ok     0"
        );
        assert!(status.is_whole());
        let drift = Some(Drift { kind: "chmodded".into(), detail: "chmodded from 0600 to 0644".into() });
        status.targets = vec![Target { drift, ..target(TargetKind::File, "/x", true, "created") }];
        assert!(table(&status, &TimeZone::UTC).contains("/x    created; since then: chmodded from 0600 to 0644\n"));
        assert!(status.is_whole());
        status.targets.push(target(TargetKind::File, "/x", false, "no space"));
        assert!(!status.is_whole());
        let json = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status);
        assert!(json.contains(r#""state":"ready""#) && json.contains(r#""fetched_at":"1970-01-01T00:00:00Z""#));
    }
}
