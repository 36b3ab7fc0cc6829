//! Workspaces, their agents, and what agents report.

mod agent_parts;
mod application;
mod apply;
mod identity;
mod keep_agents;
mod logs;
mod presence;
mod read;
mod reports;
mod resources;
mod revocation;
mod rotate;
mod sources;
mod view;

#[cfg(test)]
mod tests;

pub use application::{Application, ApplyError};
pub use identity::{AgentIdentity, Agents, TokenHash, token_hash};
pub use logs::{EXTERNAL_SOURCE, Line, LogError, Logs, MAX_LOG_BYTES, NewLine, SERVER_SOURCE};
pub use presence::Presence;
pub use read::Workspaces;
pub use reports::{MetadataReport, ReportError, Reports, StartupReport, TimingReport};
pub use resources::{Resource, ResourceItem};
pub use revocation::{ReportedDelivery, ReportedTarget};
pub use sources::{DeliveredSecret, DeliveredVariable, Delivery, ManifestSources};
pub use view::{Agent, Connection, Metadata, Revocation, Script, Seen, Timing, Workspace};
