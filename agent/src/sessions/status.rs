//! How the workspace is, for people and programs. Names, paths and reasons; never a value.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What `coder status` shows.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Version of the running agent.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// `OWNER/NAME`, once the server has told.
    pub workspace: Option<String>,
    /// Name of the agent, once the server has told.
    pub agent: Option<String>,
    /// How far the workspace is.
    pub state: State,
    /// Why it is degraded.
    pub reason: Option<String>,
    /// `connected`, `connecting`, or what failed.
    pub connection: String,
    /// How changes reach the workspace; absent while that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updates: Option<Updates>,
    /// What was delivered last.
    pub revision: Option<Revision>,
    /// Where secrets and variables of the user went.
    pub targets: Vec<Target>,
    /// The template's scripts.
    pub scripts: Vec<Script>,
}

/// How far the workspace is.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Launches wait for the secrets.
    Booting,
    /// Launches get everything.
    Ready,
    /// Launches get what there is.
    Degraded,
}

/// One manifest that was carried out.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Counts from 1 with each start of the agent.
    pub number: u64,
    /// When it arrived.
    pub fetched_at: Timestamp,
}

/// How changes reach the workspace.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Updates {
    /// `watching`, `polling` or `off`.
    pub how: String,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// For `polling`: how often the server is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub every_seconds: Option<u64>,
}

/// One place a secret goes to.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Variable or file.
    pub kind: TargetKind,
    /// Its name or path.
    pub name: String,
    /// Whether the secret is there.
    pub delivered: bool,
    /// What happened, in words.
    pub outcome: String,
    /// For a file that is not as it was delivered any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drift: Option<Drift>,
}

/// How a file differs from what was delivered.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// `edited`, `chmodded`, `replaced`, `gone`; `unknown` where it cannot be looked at.
    pub kind: String,
    /// The same with its particulars.
    pub detail: String,
}

/// What a target is.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum TargetKind {
    /// A variable.
    Env,
    /// A file.
    File,
    /// A file that no secret goes to any more.
    Stale,
    /// What was in a file before its secret.
    Replaced,
    /// The template's directory, where it cannot be entered.
    Dir,
}

/// One script of the template.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Script {
    /// As the template calls it.
    pub name: String,
    /// `ok`, `running`, `exit failure` …
    pub state: String,
    /// Once it has ended.
    pub exit_code: Option<i32>,
}

impl Status {
    /// Whether a launch gets all it should: every secret was delivered, and no file of one is gone.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let is_gone = |target: &Target| target.drift.as_ref().is_some_and(|drift| drift.kind == "gone");
        self.state == State::Ready && self.targets.iter().all(|target| target.delivered && !is_gone(target))
    }
}
