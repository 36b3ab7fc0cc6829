//! Workspaces, their agents, and what agents report.

mod apply;
mod belongings;
mod logs;
mod presence;
mod read;
mod reports;
mod sources;
mod view;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

pub use apply::{AppliedAgent, AppliedWorkspace, ApplyError};
pub use logs::{EXTERNAL_SOURCE, Line, LogError, MAX_LOG_BYTES, NewLine};
pub use presence::{AgentIdentity, Presence, TokenHash, token_hash};
pub use reports::{MetadataReport, ReportError, StartupReport, TimingReport};
pub use sources::{DeliveredSecret, Delivery, ManifestSources};
pub use view::{Agent, Connection, Metadata, Script, Timing, Workspace};
