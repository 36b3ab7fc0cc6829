//! Numbers for Prometheus: what this process has done, and how long that took.
//!
//! The set of labels is bounded whatever callers do, and no label names a user, a secret or a workspace. The numbers belong to the
//! process, as its memory does, so whoever counts something says so here and needs no handle.

mod labels;
mod process;
mod registry;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use labels::{Call, Fault, Kind, Request, Route, Target, Version};
pub use labels::{Left, Outcome, Statement};
use registry::METRICS;

/// Versions of agents that get a label of their own; agents tell theirs.
const MAX_VERSIONS: usize = 16;
/// Longest such label.
const MAX_VERSION_BYTES: usize = 32;

/// The media type of [`text`].
pub const CONTENT_TYPE: &str = prometheus_client::encoding::prometheus_text::CONTENT_TYPE;

/// What is asked for when somebody looks, rather than counted as it happens.
#[derive(Debug, Default)]
pub struct Now {
    /// Sessions, by what their agents say of their version; empty where one has said nothing yet.
    pub agents: BTreeMap<String, u64>,
    /// Writes that wait for the database or are under way.
    pub writes: u64,
    /// Connections to PostgreSQL, all and idle.
    pub connections: Option<(u64, u64)>,
    /// When the key that encrypts was made, in seconds since 1970.
    pub key_made: Option<f64>,
    /// When the certificate expires, in seconds since 1970.
    pub certificate_expires: Option<f64>,
    /// Whether the server is handing its agents over.
    pub stopping: bool,
}

/// A request was answered. `route` is the pattern of its route, where it has one.
pub fn request(method: &str, route: Option<&str>, status: u16, took: Duration) {
    let route = Route { route: route.unwrap_or("none").to_owned() };
    let labels = Request { method: labels::method(method), route: route.route.clone(), status };
    METRICS.requests.get_or_create(&labels).inc();
    METRICS.request_time.get_or_create(&route).observe(took.as_secs_f64());
}

/// A call of an agent was answered.
pub fn call(path: &str, ok: bool, took: Duration) {
    let labels = Call::of(path);
    METRICS.call_time.get_or_create(&labels).observe(took.as_secs_f64());
    if !ok {
        METRICS.failed_calls.get_or_create(&labels).inc();
    }
}

/// A manifest was asked for.
pub fn manifest(outcome: Outcome) {
    METRICS.manifests.get_or_create(&Kind { outcome: outcome.as_str() }).inc();
}

/// A secret was delivered.
pub fn delivered(variable: bool, file: bool) {
    let target = match (variable, file) {
        (true, true) => "both",
        (true, false) => "variable",
        _ => "file",
    };
    METRICS.delivered.get_or_create(&Target { target }).inc();
}

/// A value could not be decrypted, and was not delivered.
pub fn left_out(kind: Left) {
    METRICS.left_out.get_or_create(&labels::LeftOut { kind: kind.as_str() }).inc();
}

/// Audit records of so many deliveries could not be written.
pub fn unaudited_deliveries(count: usize) {
    METRICS.unaudited.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
}

/// This server has heard of a change at another one, so long after its commit.
pub fn change_heard(after: Duration) {
    METRICS.change_lag.observe(after.as_secs_f64());
}

/// Measures one use of the database; what it took counts when this is dropped.
#[must_use]
pub struct Timer {
    statement: Statement,
    start: Instant,
}

/// The database is used from now on.
pub fn database(statement: Statement) -> Timer {
    Timer { statement, start: Instant::now() }
}

impl Drop for Timer {
    fn drop(&mut self) {
        let labels = labels::Database { operation: self.statement.as_str() };
        METRICS.database_time.get_or_create(&labels).observe(self.start.elapsed().as_secs_f64());
    }
}

/// The database failed.
pub fn database_failed(kind: &'static str) {
    METRICS.database_failures.get_or_create(&Fault { kind }).inc();
}

/// A write met another one, and runs again.
pub fn database_retried() {
    METRICS.database_retries.inc();
}

/// All numbers, as Prometheus reads them.
#[must_use]
pub fn text(now: &Now) -> String {
    METRICS.text(|metrics| {
        metrics.agents.clear();
        for (version, count) in bounded(&now.agents) {
            metrics.agents.get_or_create(&Version { version }).set(count);
        }
        metrics.writes.set(gauge(now.writes));
        if let Some((all, idle)) = now.connections {
            metrics.connections.set(gauge(all));
            metrics.idle_connections.set(gauge(idle));
        }
        metrics.stopping.set(i64::from(now.stopping));
        let since = |time: f64| (process::now() - time).max(0.0);
        metrics.key_age.set(now.key_made.map_or(f64::NAN, since));
        metrics.certificate_expires.set(now.certificate_expires.unwrap_or(f64::NAN));
        process::measure(&metrics.process);
    })
}

fn gauge(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The versions that most agents have; the rest is one.
fn bounded(agents: &BTreeMap<String, u64>) -> BTreeMap<String, i64> {
    let mut by_count: Vec<_> = agents.iter().collect();
    by_count.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let mut bounded = BTreeMap::new();
    for (place, (version, count)) in by_count.into_iter().enumerate() {
        let legal = version.len() <= MAX_VERSION_BYTES && version.bytes().all(|byte| byte.is_ascii_graphic());
        let version = match version.as_str() {
            "" => "unknown",
            version if legal && place < MAX_VERSIONS => version,
            _ => "other",
        };
        *bounded.entry(version.to_owned()).or_default() += gauge(*count);
    }
    bounded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_cannot_make_more_versions_than_there_is_room_for() {
        let mut agents: BTreeMap<_, _> = (0..1000).map(|n| (format!("v1.0.{n}"), 1)).collect();
        agents.insert("v2.0.0".into(), 7);
        agents.insert("v1\u{1b}[2J".into(), 9);
        agents.insert(String::new(), 3);
        let bounded = bounded(&agents);
        assert!(bounded.len() <= MAX_VERSIONS + 1, "{bounded:?}");
        assert_eq!((bounded["v2.0.0"], bounded["unknown"], bounded.values().sum::<i64>()), (7, 3, 1019));
        assert!(bounded["other"] >= 9 + 984);
    }

    #[test]
    fn a_path_or_method_that_nobody_serves_makes_no_label() {
        for n in 0..1000 {
            request(&format!("M{n}"), None, 404, Duration::ZERO);
            call(&format!("/coder.agent.v2.Agent/Call{n}"), false, Duration::ZERO);
        }
        let text = text(&Now::default());
        assert!(!text.contains("M999") && !text.contains("Call999"));
        assert!(text.contains(r#"method="other",route="none",status="404""#), "{text}");
        assert!(text.contains(r#"coder_server_agent_calls_failed_total{call="other"}"#), "{text}");
    }
}
