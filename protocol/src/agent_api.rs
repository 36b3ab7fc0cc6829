//! Messages and paths of the Agent API, compiled from our own `agent.proto`.

use std::fmt;

#[expect(missing_docs, clippy::pedantic, reason = "generated from agent.proto, which documents it")]
mod generated {
    include!(concat!(env!("OUT_DIR"), "/coder.agent.v2.rs"));
}

use uuid::Uuid;

pub use generated::*;

/// The lowest minor that has all we call; no server filters manifest fields by it.
pub const DIALED_VERSION: &str = "2.4";
/// The only major version there is.
pub const MAJOR_VERSION: u32 = 2;

/// Paths of the calls, as a dRPC Invoke packet carries them.
pub mod path {
    macro_rules! paths {
        ($($(#[$doc:meta])* $name:ident = $path:literal;)*) => { $(#[doc = concat!("`", $path, "`")] pub const $name: &str = $path;)* };
    }
    paths! {
        GET_MANIFEST = "/coder.agent.v2.Agent/GetManifest";
        GET_SERVICE_BANNER = "/coder.agent.v2.Agent/GetServiceBanner";
        UPDATE_STATS = "/coder.agent.v2.Agent/UpdateStats";
        UPDATE_LIFECYCLE = "/coder.agent.v2.Agent/UpdateLifecycle";
        UPDATE_STARTUP = "/coder.agent.v2.Agent/UpdateStartup";
        BATCH_UPDATE_METADATA = "/coder.agent.v2.Agent/BatchUpdateMetadata";
        BATCH_CREATE_LOGS = "/coder.agent.v2.Agent/BatchCreateLogs";
        GET_ANNOUNCEMENT_BANNERS = "/coder.agent.v2.Agent/GetAnnouncementBanners";
        SCRIPT_COMPLETED = "/coder.agent.v2.Agent/ScriptCompleted";
        GET_RESOURCES_MONITORING_CONFIGURATION = "/coder.agent.v2.Agent/GetResourcesMonitoringConfiguration";
        BATCH_UPDATE_APP_HEALTHS = "/coder.agent.v2.Agent/BatchUpdateAppHealths";
        PUSH_RESOURCES_MONITORING_USAGE = "/coder.agent.v2.Agent/PushResourcesMonitoringUsage";
        PUSH_CONTEXT_STATE = "/coder.agent.v2.Agent/PushContextState";
        LIST_SUB_AGENTS = "/coder.agent.v2.Agent/ListSubAgents";
        REPORT_BOUNDARY_LOGS = "/coder.agent.v2.Agent/ReportBoundaryLogs";
        POST_TELEMETRY = "/coder.tailnet.v2.Tailnet/PostTelemetry";
        REPORT_CONNECTION = "/coder.agent.v2.Agent/ReportConnection";
        STREAM_DERP_MAPS = "/coder.tailnet.v2.Tailnet/StreamDERPMaps";
        COORDINATE = "/coder.tailnet.v2.Tailnet/Coordinate";
    }
}

/// The log source of what an agent of ours has to tell itself, such as failed deliveries.
///
/// A fixed id for each agent, so that a restart adds to the same source: the agent's id over a constant, marked as a
/// custom UUID (version 8), which no server hands out by itself.
#[must_use]
pub fn own_log_source(agent: Uuid) -> Uuid {
    const SALT: u128 = 0x6c1f_3f52_9d0a_4b57_b0e4_2a8d_71c9_5e36;
    uuid::Builder::from_custom_bytes((agent.as_u128() ^ SALT).to_be_bytes()).into_uuid()
}

// Both hold values: a derived Debug would put them into the first log line that prints a message.
impl fmt::Debug for Manifest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manifest")
            .field("workspace_name", &self.workspace_name)
            .field("agent_name", &self.agent_name)
            .field("environment_variables", &self.environment_variables.len())
            .field("scripts", &self.scripts.len())
            .field("secrets", &self.secrets.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for WorkspaceSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkspaceSecret")
            .field("env_name", &self.env_name)
            .field("file_path", &self.file_path)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_log_source_is_fixed_for_an_agent_and_differs_between_agents() {
        let [one, two] = [1, 2].map(Uuid::from_u128).map(own_log_source);
        assert_ne!(one, two);
        assert_eq!(own_log_source(Uuid::from_u128(1)), one);
        assert_eq!(one.get_version_num(), 8);
        assert!(!one.is_nil());
    }
}
