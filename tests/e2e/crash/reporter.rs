//! One agent, and what the server must have of its reports.

use jiff::Timestamp;
use protocol::agent_api::lifecycle::State;
use protocol::agent_api::{
    BatchCreateLogsRequest, BatchCreateLogsResponse, Lifecycle, Log, Startup, UpdateLifecycleRequest,
    UpdateStartupRequest, path,
};
use protocol::drpc::{CallError, Client};
use serde_json::Value;
use tests::Workspace;
use tests::fleet::{dial, fetch};
use tokio::runtime::Builder;

use super::client::Gone;

const VERSION: &str = "v0.0.";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Startup,
    Lifecycle,
    /// Two lines of log, both or neither.
    Lines,
}

#[derive(Debug)]
struct Report {
    kind: Kind,
    /// By which it is known again.
    number: i64,
    acknowledged: bool,
}

#[derive(Default)]
pub struct Reporter {
    last: i64,
    /// Since the last check.
    sent: Vec<Report>,
    /// All up to here were checked.
    checked: i64,
    /// Of its startup, as it was found then.
    version: i64,
}

impl Reporter {
    /// Connects as an agent does and reports until the server is gone. Returns how many reports were acknowledged.
    pub fn work(&mut self, url: &str, token: &str, reports: usize) -> usize {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let Ok(session) = dial(url.trim_start_matches("http://"), token).await else { return 0 };
            let client = Client::new(session.opener());
            // Which is a record of the audit log, too.
            if fetch(&client).await.map(drop).or_else(is_gone).is_err() {
                return 0;
            }
            let mut made = 0;
            while made < reports && self.report(&client).await.is_ok() {
                made += 1;
            }
            made
        })
    }

    async fn report(&mut self, client: &Client) -> Result<(), Gone> {
        self.last += 1;
        let number = self.last;
        let kind = [Kind::Startup, Kind::Lifecycle, Kind::Lines][usize::try_from(number % 3).expect("a remainder")];
        self.sent.push(Report { kind, number, acknowledged: false });
        match kind {
            Kind::Startup => startup(client, number).await,
            Kind::Lifecycle => lifecycle(client, number).await,
            Kind::Lines => lines(client, number).await,
        }
        .or_else(is_gone)?;
        self.sent.last_mut().expect("a report").acknowledged = true;
        Ok(())
    }

    /// Compares with what the administrator sees: everything acknowledged, in order and once; nothing that was not sent.
    pub fn check(&mut self, workspace: &Workspace) {
        let shown = workspace.show_agent();
        let states = texts(&shown, "lifecycle", "changed_at");
        self.compare(Kind::Lifecycle, states.iter().map(|at| second(at)).collect());
        let lines = texts(&shown, "startup_log", "output");
        let lines: Vec<i64> = lines.iter().filter_map(|line| line.strip_prefix("line ")?.parse().ok()).collect();
        assert!(lines.chunks(2).all(|batch| batch == [batch[0]; 2]), "half a batch: {lines:?}");
        self.compare(Kind::Lines, lines.into_iter().step_by(2).collect());
        self.compare_version(shown["version"].as_str().unwrap_or_default());
        self.sent.clear();
        self.checked = self.last;
    }

    fn sent(&self, kind: Kind) -> impl Iterator<Item = &Report> {
        self.sent.iter().filter(move |report| report.kind == kind)
    }

    fn compare(&self, kind: Kind, mut found: Vec<i64>) {
        found.retain(|number| *number > self.checked);
        let lost = self.sent(kind).find(|report| report.acknowledged && !found.contains(&report.number));
        assert!(lost.is_none(), "lost: {lost:?} of {found:?}");
        let made_up = found.iter().find(|number| self.sent(kind).all(|report| report.number != **number));
        assert!(made_up.is_none(), "made up: {made_up:?}, not {:?}", self.sent);
        assert!(found.is_sorted_by(|before, after| before < after), "out of order or twice: {found:?}");
    }

    /// There is only one, the last.
    fn compare_version(&mut self, shown: &str) {
        let version = shown.strip_prefix(VERSION).map_or(0, |number| number.parse().expect("a number"));
        let lost = self.sent(Kind::Startup).find(|report| report.acknowledged && report.number > version);
        assert!(lost.is_none(), "lost: {lost:?}, and {version} is there");
        let is_known = version == self.version || self.sent(Kind::Startup).any(|report| report.number == version);
        assert!(is_known, "made up: {version}, not {:?}", self.sent);
        self.version = version;
    }
}

/// A server that is killed says nothing; one that lives refuses nothing, unless the token was rotated meanwhile.
fn is_gone(error: CallError) -> Result<(), Gone> {
    match error {
        CallError::Closed | CallError::NoAnswer | CallError::TimedOut => Err(Gone),
        CallError::Refused(status) if status.message.contains("its token does not exist any more") => Err(Gone),
        error => panic!("{error}"),
    }
}

async fn startup(client: &Client, number: i64) -> Result<(), CallError> {
    let startup = Startup { version: format!("{VERSION}{number}"), ..Startup::default() };
    let request = UpdateStartupRequest { startup: Some(startup) };
    client.call::<_, Startup>(path::UPDATE_STARTUP, &request).await.map(drop)
}

async fn lifecycle(client: &Client, number: i64) -> Result<(), CallError> {
    let changed_at = Some(prost_types::Timestamp { seconds: number, nanos: 0 });
    let lifecycle = Lifecycle { state: State::Ready.into(), changed_at };
    let request = UpdateLifecycleRequest { lifecycle: Some(lifecycle) };
    client.call::<_, Lifecycle>(path::UPDATE_LIFECYCLE, &request).await.map(drop)
}

async fn lines(client: &Client, number: i64) -> Result<(), CallError> {
    let line = || Log { output: format!("line {number}"), ..Log::default() };
    let request = BatchCreateLogsRequest { log_source_id: vec![0; 16], logs: vec![line(), line()] };
    client.call::<_, BatchCreateLogsResponse>(path::BATCH_CREATE_LOGS, &request).await.map(drop)
}

fn texts(shown: &Value, list: &str, field: &str) -> Vec<String> {
    let texts = shown[list].as_array().into_iter().flatten().map(|it| it[field].as_str().unwrap_or_default());
    texts.map(str::to_owned).collect()
}

fn second(at: &str) -> i64 {
    at.parse::<Timestamp>().expect("a time").as_second()
}
