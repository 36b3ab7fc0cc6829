//! What the process does to itself: limits, core dumps, logs.

use std::io;

use rustix::fs::Mode;
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit, umask};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt};

use crate::config::LogFormat;

/// Below this, a fleet's morning does not fit.
const FEW_FILES: u64 = 4096;
/// Files that are no connections: database, logs, listener.
const RESERVED_FILES: u64 = 64;
/// More connections than one server of this kind should be given, whatever the kernel allows.
const MAX_CONNECTIONS: u64 = 65_536;

/// No core dump and no ptrace by others of this user: keys and values are in this memory. Files are private from birth.
pub(crate) fn harden() {
    umask(Mode::RWXG | Mode::RWXO);
    let no_core = Rlimit { current: Some(0), maximum: Some(0) };
    // Each protects by itself, and a kernel that refuses one (a sandbox) is no reason not to serve.
    let _ = setrlimit(Resource::Core, no_core);
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    std::panic::set_hook(Box::new(|panic| {
        // The payload of a panic may hold anything, a value too. Text that was compiled in is ours.
        let text = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("(message withheld)");
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic: {text}");
    }));
}

/// Raises the open-file limit to the hard one, and tells how many connections that allows.
pub(super) fn raise_open_files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let files = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let files = files.unwrap_or(u64::MAX);
    if files < FEW_FILES {
        tracing::warn!(files, "the open-file limit is low: each agent needs a connection (systemd: LimitNOFILE=)");
    }
    usize::try_from(files.saturating_sub(RESERVED_FILES).clamp(16, MAX_CONNECTIONS)).unwrap_or(usize::MAX)
}

/// Log lines on standard error, from INFO on: the event first, then its fields.
pub(crate) fn log_as_server(format: LogFormat) {
    let ansi = io::IsTerminal::is_terminal(&io::stderr());
    let lines = fmt::layer().with_writer(io::stderr).with_target(false);
    let filter = filter(LevelFilter::INFO);
    // Fails where a test runs several servers in one process and the first has set it.
    drop(match format {
        LogFormat::Text => tracing_subscriber::registry().with(lines.with_ansi(ansi).with_filter(filter)).try_init(),
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_current_span(false).with_span_list(false);
            tracing_subscriber::registry().with(lines.with_filter(filter)).try_init()
        }
    });
}

/// For a command that ends: warnings only, and without the time.
pub(crate) fn log_as_command() {
    let lines = fmt::layer().with_writer(io::stderr).without_time().with_target(false);
    drop(tracing_subscriber::registry().with(lines.with_filter(filter(LevelFilter::WARN))).try_init());
}

/// `CODER_SERVER_LOG`, else `RUST_LOG`, changes what is logged: `debug`, or `server_stub::rpc=trace,warn`.
fn filter<S>(default: LevelFilter) -> impl tracing_subscriber::layer::Filter<S>
where
    S: tracing::Subscriber + for<'span> tracing_subscriber::registry::LookupSpan<'span>,
{
    let wanted = ["CODER_SERVER_LOG", "RUST_LOG"].into_iter().find_map(|name| std::env::var(name).ok());
    let filter = EnvFilter::builder().with_default_directive(default.into()).parse_lossy(wanted.unwrap_or_default());
    quiet_libraries(filter)
}

/// Libraries log buffers and headers below INFO, and tokens and values are in them.
fn quiet_libraries<S>(filter: EnvFilter) -> impl tracing_subscriber::layer::Filter<S>
where
    S: tracing::Subscriber + for<'span> tracing_subscriber::registry::LookupSpan<'span>,
{
    let ours = |target: &str| ["server_stub", "protocol"].iter().any(|name| target.starts_with(name));
    filter.and(filter_fn(move |metadata| ours(metadata.target()) || *metadata.level() <= tracing::Level::INFO))
}
