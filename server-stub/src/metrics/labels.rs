//! The labels, each with few values.

use prometheus_client::encoding::EncodeLabelSet;
use protocol::agent_api::path;

/// What became of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The agent got it.
    Delivered,
    /// The agent or its token is gone.
    Refused,
    /// It is larger than a message.
    TooLarge,
    /// The server could not make it.
    Failed,
}

impl Outcome {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Refused => "refused",
            Self::TooLarge => "too_large",
            Self::Failed => "failed",
        }
    }
}

/// What was left out of a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Left {
    /// A user secret.
    Secret,
    /// A variable of the template.
    Variable,
}

impl Left {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Variable => "variable",
        }
    }
}

/// What the database is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Statement {
    /// A statement that reads.
    Query,
    /// A statement that changes rows.
    Command,
    /// A whole write, from the wait for its turn to the commit.
    Write,
}

impl Statement {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Query => "query",
            Self::Command => "command",
            Self::Write => "write",
        }
    }
}

/// Methods that have a label of their own.
pub(super) fn method(name: &str) -> &'static str {
    let known = ["GET", "POST", "PUT", "PATCH", "DELETE"];
    known.into_iter().find(|known| *known == name).unwrap_or("other")
}

/// Declares sets of labels.
macro_rules! labels {
    ($($name:ident { $($label:ident: $type:ty),* })*) => {$(
        #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
        pub(super) struct $name {
            $(pub(super) $label: $type,)*
        }
    )*};
}

labels! {
    Request { method: &'static str, route: String, status: u16 }
    Route { route: String }
    Call { call: &'static str }
    Kind { outcome: &'static str }
    Target { target: &'static str }
    LeftOut { kind: &'static str }
    Database { operation: &'static str }
    Fault { kind: &'static str }
    Version { version: String }
    Build { version: &'static str }
}

/// Calls that have a label of their own.
const CALLS: [&str; 19] = [
    path::GET_MANIFEST,
    path::GET_SERVICE_BANNER,
    path::UPDATE_STATS,
    path::UPDATE_LIFECYCLE,
    path::UPDATE_STARTUP,
    path::BATCH_UPDATE_METADATA,
    path::BATCH_CREATE_LOGS,
    path::GET_ANNOUNCEMENT_BANNERS,
    path::SCRIPT_COMPLETED,
    path::GET_RESOURCES_MONITORING_CONFIGURATION,
    path::BATCH_UPDATE_APP_HEALTHS,
    path::PUSH_RESOURCES_MONITORING_USAGE,
    path::PUSH_CONTEXT_STATE,
    path::LIST_SUB_AGENTS,
    path::REPORT_BOUNDARY_LOGS,
    path::POST_TELEMETRY,
    path::REPORT_CONNECTION,
    path::STREAM_DERP_MAPS,
    path::COORDINATE,
];

impl Call {
    /// The method of the path, if it is one that this server knows.
    pub(super) fn of(path: &str) -> Self {
        let known = CALLS.iter().find(|known| **known == path);
        Self { call: known.and_then(|path| path.rsplit('/').next()).unwrap_or("other") }
    }
}
