//! Every metric, with the help that Prometheus shows; docs/metrics.md lists them.

use std::sync::{LazyLock, Mutex, PoisonError};

use prometheus_client::encoding::prometheus_text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::labels::{Build, Call, Database, Fault, Kind, LeftOut, Request, Route, Target, Version};
use super::process::Process;

pub(super) static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::new);

/// A gauge with a fraction.
pub(super) type Number = Gauge<f64, std::sync::atomic::AtomicU64>;
type Timed<L> = Family<L, Histogram, fn() -> Histogram>;

pub(super) struct Metrics {
    /// Held while the gauges are set and written, so that two who look do not mix.
    registry: Mutex<Registry>,
    pub(super) requests: Family<Request, Counter>,
    pub(super) request_time: Timed<Route>,
    pub(super) call_time: Timed<Call>,
    pub(super) failed_calls: Family<Call, Counter>,
    pub(super) agents: Family<Version, Gauge>,
    pub(super) manifests: Family<Kind, Counter>,
    pub(super) delivered: Family<Target, Counter>,
    pub(super) left_out: Family<LeftOut, Counter>,
    pub(super) unaudited: Counter,
    pub(super) change_lag: Histogram,
    pub(super) database_time: Timed<Database>,
    pub(super) database_failures: Family<Fault, Counter>,
    pub(super) database_retries: Counter,
    pub(super) writes: Gauge,
    pub(super) connections: Gauge,
    pub(super) idle_connections: Gauge,
    pub(super) stopping: Gauge,
    pub(super) key_age: Number,
    pub(super) certificate_expires: Number,
    pub(super) process: Process,
}

/// From a millisecond to the half minute after which agents give up.
fn times() -> Histogram {
    Histogram::new([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0])
}

impl Metrics {
    fn new() -> Self {
        let timed = || times as fn() -> Histogram;
        let metrics = Self {
            registry: Mutex::default(),
            requests: Family::default(),
            request_time: Family::new_with_constructor(timed()),
            call_time: Family::new_with_constructor(timed()),
            failed_calls: Family::default(),
            agents: Family::default(),
            manifests: Family::default(),
            delivered: Family::default(),
            left_out: Family::default(),
            unaudited: Counter::default(),
            change_lag: times(),
            database_time: Family::new_with_constructor(timed()),
            database_failures: Family::default(),
            database_retries: Counter::default(),
            writes: Gauge::default(),
            connections: Gauge::default(),
            idle_connections: Gauge::default(),
            stopping: Gauge::default(),
            key_age: Number::default(),
            certificate_expires: Number::default(),
            process: Process::default(),
        };
        let mut registry = Registry::default();
        metrics.process.register(&mut registry);
        let ours = registry.sub_registry_with_prefix("coder_server");
        metrics.register_traffic(ours);
        metrics.register_database(ours);
        Self { registry: Mutex::new(registry), ..metrics }
    }

    fn register_traffic(&self, registry: &mut Registry) {
        let version = Info::new(Build { version: env!("CARGO_PKG_VERSION") });
        registry.register("build", "The version of the server", version);
        registry.register("http_requests", "Answered requests", self.requests.clone());
        let help = "Time from the head of a request to its answer";
        registry.register_with_unit("http_request_duration", help, Unit::Seconds, self.request_time.clone());
        let help = "Time from a call of an agent to its answer";
        registry.register_with_unit("agent_call_duration", help, Unit::Seconds, self.call_time.clone());
        registry.register(
            "agent_calls_failed",
            "Calls of agents that were answered with an error",
            self.failed_calls.clone(),
        );
        registry.register("agents_connected", "Sessions of agents, by the version that they tell", self.agents.clone());
        registry.register("manifests", "Manifests that agents asked for", self.manifests.clone());
        registry.register("secrets_delivered", "Secrets in delivered manifests", self.delivered.clone());
        let help = "Values that could not be decrypted and were left out of a manifest";
        registry.register("values_left_out", help, self.left_out.clone());
        let help = "Deliveries whose audit record could not be written";
        registry.register("deliveries_unaudited", help, self.unaudited.clone());
        registry.register("stopping", "1 while the server hands its agents over to others", self.stopping.clone());
        let help = "When the TLS certificate expires; NaN without TLS";
        registry.register("tls_certificate_expiry_timestamp_seconds", help, self.certificate_expires.clone());
    }

    fn register_database(&self, registry: &mut Registry) {
        let help = "Time from the commit of a change at another server to this one's notice of it";
        registry.register_with_unit("change_lag", help, Unit::Seconds, self.change_lag.clone());
        let help = "Time of statements, and of whole writes from the wait for their turn to the commit";
        registry.register_with_unit("database_duration", help, Unit::Seconds, self.database_time.clone());
        registry.register("database_failures", "Statements that failed", self.database_failures.clone());
        let help = "Writes that met another one and ran again";
        registry.register("database_retries", help, self.database_retries.clone());
        registry.register("database_writes_waiting", "Writes that wait or are under way", self.writes.clone());
        registry.register("database_connections", "Connections to PostgreSQL", self.connections.clone());
        let help = "Connections to PostgreSQL that nothing uses";
        registry.register("database_connections_idle", help, self.idle_connections.clone());
        let help = "Age of the key that encrypts";
        registry.register_with_unit("encryption_key_age", help, Unit::Seconds, self.key_age.clone());
    }

    /// Everything as text, after `set` has set what is only asked for.
    pub(super) fn text(&self, set: impl FnOnce(&Self)) -> String {
        let registry = self.registry.lock().unwrap_or_else(PoisonError::into_inner);
        set(self);
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = prometheus_text::encode(&mut text, &registry);
        text
    }
}
