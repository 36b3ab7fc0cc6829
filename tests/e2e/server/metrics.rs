//! What Prometheus reads.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use tests::{Need, SHORT, World, requires, wait_until};

use super::connections::ask;
use crate::peers::client::Client;
use crate::peers::control_plane::{MANIFEST, STARTUP};
use crate::peers::wire::Proto;

/// Metrics that appear with their first event, which nothing in these tests causes.
const SILENT: [&str; 3] = [
    "coder_server_values_left_out_total",
    "coder_server_database_failures_total",
    "coder_server_agent_calls_failed_total",
];

struct Measured {
    world: World,
    address: String,
}

impl Measured {
    fn new() -> Self {
        let world = World::builder().server(["--metrics-listen", "127.0.0.1:0"]).with(tests::DEV);
        let log = world.server.stderr();
        let address = log.split("metrics at http://").nth(1).expect("a line with the address");
        let address = address.split('/').next().unwrap().to_owned();
        Self { world, address }
    }

    fn text(&self) -> String {
        let answer = ask(&self.address, "/metrics");
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("text/plain; version=0.0.4"), "{answer}");
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }
}

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)
}

/// Names in backticks at the start of a row.
fn documented() -> BTreeSet<String> {
    let page = fs::read_to_string(docs("metrics.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next().map(str::to_owned));
    rows.collect()
}

#[test]
fn requests_calls_and_deliveries_are_counted_and_nobody_is_named() {
    let measured = Measured::new();
    let World { server, alice, workspace, .. } = &measured.world;
    alice.secret("private-name-of-a-secret", &["--env", "PRIVATE_NAME"]);
    let client = Client::dial(server, workspace.token());
    let startup = Proto::default().message(1, &Proto::default().bytes(1, "v7.8.9").bytes(2, "/home/alice"));
    let _ = client.call(STARTUP, &startup.0).message();
    let _ = client.call(MANIFEST, &[]).message();
    let _ = client.call("/coder.agent.v2.Agent/Unknown", &[]);
    assert_eq!(alice.rest().get("/nothing/here").status, 404);

    let text = measured.text();
    for line in [
        r#"coder_server_agents_connected{version="v7.8.9"} 1"#,
        r#"coder_server_manifests_total{outcome="delivered"} 1"#,
        r#"coder_server_secrets_delivered_total{target="variable"} 1"#,
        r#"coder_server_agent_call_duration_seconds_count{call="GetManifest"} 1"#,
        r#"coder_server_agent_calls_failed_total{call="other"} 1"#,
        r#"coder_server_http_requests_total{method="POST",route="/api/v2/users/{user}/secrets",status="201"} 1"#,
        r#"coder_server_http_requests_total{method="GET",route="none",status="404"} 1"#,
    ] {
        assert!(text.lines().any(|found| found == line), "{line}\n{text}");
    }
    for name in ["alice", "dev", "private", "PRIVATE", "/home", workspace.token(), &alice.token] {
        assert!(!text.contains(name), "{name}\n{text}");
    }
    drop(client);
    wait_until("the session to end", SHORT, || !measured.text().contains("v7.8.9"));
}

#[test]
fn every_metric_is_documented_and_every_alert_is_about_one() {
    let measured = Measured::new();
    let client = Client::dial(&measured.world.server, measured.world.workspace.token());
    let _ = client.call(MANIFEST, &[]).message();
    let _ = measured.world.alice.names();
    let text = measured.text();
    let exposed: BTreeSet<String> =
        text.lines().filter_map(|line| Some(line.strip_prefix("# TYPE ")?.split(' ').next()?.to_owned())).collect();
    let documented = documented();
    let missing: Vec<_> = exposed.difference(&documented).collect();
    assert!(missing.is_empty(), "not in docs/metrics.md: {missing:?}");
    // No secret is delivered here.
    let silent = |name: &&String| SILENT.contains(&name.as_str()) || *name == "coder_server_secrets_delivered_total";
    let gone: Vec<_> = documented.difference(&exposed).filter(|name| !silent(name)).collect();
    assert!(gone.is_empty(), "in docs/metrics.md and not exposed: {gone:?}");

    let rules = fs::read_to_string(docs("alerts.yml")).unwrap();
    let words = rules.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    for name in words.filter(|word| word.starts_with("coder_server_") || word.starts_with("process_")) {
        let name = name.strip_suffix("_bucket").unwrap_or(name);
        assert!(documented.contains(name), "an alert asks for {name}");
    }
}

#[test]
fn prometheus_accepts_the_metrics_and_the_alerts() {
    let test = "prometheus_accepts_the_metrics_and_the_alerts";
    if !requires(test, &[Need::Program("promtool", "prometheus")]) {
        return;
    }
    let measured = Measured::new();
    let env = &measured.world.env;
    let client = Client::dial(&measured.world.server, measured.world.workspace.token());
    let _ = client.call(MANIFEST, &[]).message();
    let checked = env.program("/usr/bin/promtool").args(["check", "metrics"]).stdin(measured.text()).run().success();
    assert_eq!((checked.stdout.as_str(), checked.stderr.as_str()), ("", ""), "no advice either");
    let _ = env.program("/usr/bin/promtool").args(["check", "rules"]).arg(docs("alerts.yml")).run().success();
}

#[test]
fn the_socket_is_off_by_default_and_has_a_budget_of_its_own() {
    let world = World::new();
    assert!(!world.server.stderr().contains("metrics at"));
    assert_eq!(world.alice.rest().get("/metrics").status, 404);
    assert!(ask(world.server.address(), "/metrics").starts_with("HTTP/1.1 404"));

    let measured = Measured::new();
    let silent: Vec<_> = (0..40).map(|_| TcpStream::connect(&measured.address).unwrap()).collect();
    assert!(ask(measured.world.server.address(), "/healthz").starts_with("HTTP/1.1 200"));
    assert!(measured.text().contains("coder_server_build_info"));
    drop(silent);
    // The routes of users are not there.
    assert!(ask(&measured.address, "/api/v2/buildinfo").starts_with("HTTP/1.1 404"));
}
