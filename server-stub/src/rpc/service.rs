//! The calls of the Agent API.

use std::time::{Duration, Instant};

use protocol::agent_api::{
    BannerConfig, BatchCreateLogsResponse, BatchUpdateMetadataResponse, CoordinateRequest, Empty,
    GetAnnouncementBannersRequest, GetAnnouncementBannersResponse, GetManifestRequest,
    GetResourcesMonitoringConfigurationRequest, GetResourcesMonitoringConfigurationResponse, GetServiceBannerRequest,
    Lifecycle, Startup, StreamDerpMapsRequest, UpdateStatsResponse, WorkspaceAgentScriptCompletedResponse,
    get_resources_monitoring_configuration_response::Config, path,
};
use protocol::drpc::{Bounds, Call, Service, Status};
use protocol::live;
use protocol::session::Pulse;

use super::deliver::{self, failed};
use super::reports;
use super::watch::Watching;
use crate::auth::Agent;
use crate::delivery::manifest;
use crate::limits::Cost;
use crate::metrics;
use crate::state::AppState;
use crate::store::Generation;
use crate::store::workspaces::{LogError, ReportError};

/// How often agents are asked to report statistics.
const STATS_INTERVAL: Duration = Duration::from_mins(5);
/// How many samples of its resource use an agent reports at once, and the seconds between them; as in Coder.
const MONITORED_DATAPOINTS: i32 = 20;
const MONITORED_SECONDS: i32 = 10;

/// Largest request, in bytes.
const MAX_REQUEST: usize = 256 * 1024;
/// Largest request with log lines or metadata, in bytes.
const MAX_BATCH: usize = 2 * 1024 * 1024;
/// Most items in a request. A megabyte of empty log lines, as agents count it, has fifty thousand.
const MAX_ITEMS: usize = 65_536;

/// Answers the calls of one agent's session.
pub(super) struct AgentService {
    state: AppState,
    agent: Agent,
    watching: Watching,
}

impl Service for AgentService {
    async fn handle(&self, path: &str, call: &mut Call) -> Result<(), Status> {
        tracing::debug!(agent = %self.agent.identity.path(), path, "call");
        let (cost, bounds) = budget(path);
        call.bound(bounds);
        let start = Instant::now();
        let _turn = self.state.limits.call(self.agent.identity.id, cost).await;
        let answered = self.answer(path, call).await;
        // A stream lasts as long as its agent wants.
        if cost != Cost::Stream {
            metrics::call(path, answered.is_ok(), start.elapsed());
        }
        answered
    }
}

impl AgentService {
    async fn answer(&self, path: &str, call: &mut Call) -> Result<(), Status> {
        match path {
            path::GET_MANIFEST => self.manifest(call).await,
            live::REPORT => self.delivery(call).await,
            live::WATCH => self.watching.watch(&self.state, &self.agent, call).await,
            path::UPDATE_STARTUP => self.startup(call).await,
            path::UPDATE_LIFECYCLE => self.lifecycle(call).await,
            path::BATCH_CREATE_LOGS => self.logs(call).await,
            path::SCRIPT_COMPLETED => self.script_completed(call).await,
            path::BATCH_UPDATE_METADATA => self.metadata(call).await,
            path::REPORT_CONNECTION => self.connection(call).await,
            path::UPDATE_STATS => stats(call).await,
            path::GET_ANNOUNCEMENT_BANNERS => announcements(call).await,
            path::GET_SERVICE_BANNER => service_banner(call).await,
            path::GET_RESOURCES_MONITORING_CONFIGURATION => monitoring(call).await,
            path::BATCH_UPDATE_APP_HEALTHS
            | path::PUSH_RESOURCES_MONITORING_USAGE
            | path::PUSH_CONTEXT_STATE
            | path::LIST_SUB_AGENTS
            | path::REPORT_BOUNDARY_LOGS
            | path::POST_TELEMETRY => nothing(call).await,
            path::COORDINATE => coordinate(call).await,
            path::STREAM_DERP_MAPS => derp_maps(call).await,
            _ => Err(Status::unimplemented()),
        }
    }
}

/// What a call costs and how large its request may be.
fn budget(path: &str) -> (Cost, Bounds) {
    let (cost, bytes) = match path {
        // An agent sends up to 1 MiB of output at a time, and some 21 bytes more for each line.
        path::BATCH_CREATE_LOGS | path::BATCH_UPDATE_METADATA | live::REPORT => (Cost::Call, MAX_BATCH),
        path::GET_MANIFEST => (Cost::Delivery, MAX_REQUEST),
        path::COORDINATE | path::STREAM_DERP_MAPS | live::WATCH => (Cost::Stream, MAX_REQUEST),
        _ => (Cost::Call, MAX_REQUEST),
    };
    (cost, Bounds { bytes, fields: MAX_ITEMS })
}

impl AgentService {
    pub(super) fn new(state: AppState, agent: Agent, pulse: Pulse) -> Self {
        Self { state, agent, watching: Watching::new(pulse) }
    }

    /// Which generation the agent fetched last over this session.
    pub(super) fn delivered(&self) -> Option<Generation> {
        self.watching.delivered()
    }

    fn failed(&self, error: &(dyn std::error::Error + 'static)) -> Status {
        failed(&self.state, &self.agent, error)
    }

    async fn manifest(&self, call: &mut Call) -> Result<(), Status> {
        call.request::<GetManifestRequest>().await?;
        let (manifest, generation) = deliver::manifest(&self.state, &self.agent).await?;
        call.answer(&manifest)?;
        self.watching.fetched(generation);
        self.state.live.fetched(self.agent.identity.id);
        Ok(())
    }

    async fn startup(&self, call: &mut Call) -> Result<(), Status> {
        let (echo, report): (Startup, _) = reports::startup(call.request().await?)?;
        self.state.fleet.runs(self.agent.identity.id, &report.version);
        self.state
            .store
            .reports()
            .startup(self.agent.identity.id, report)
            .await
            .map_err(|error| self.failed(&error))?;
        call.answer(&echo)
    }

    async fn lifecycle(&self, call: &mut Call) -> Result<(), Status> {
        let (echo, state, changed_at): (Lifecycle, _, _) = reports::lifecycle(call.request().await?)?;
        let id = self.agent.identity.id;
        self.state.store.reports().lifecycle(id, state, changed_at).await.map_err(|error| self.failed(&error))?;
        call.answer(&echo)
    }

    async fn logs(&self, call: &mut Call) -> Result<(), Status> {
        let (source, lines) = reports::logs(call.request().await?)?;
        let kept = self.state.store.logs().append(self.agent.identity.id, source, lines).await;
        let log_limit_exceeded = kept.map_err(|error| match error {
            LogError::Store(error) => self.failed(&error),
            refused => Status::new(refused.to_string()),
        })?;
        call.answer(&BatchCreateLogsResponse { log_limit_exceeded })
    }

    async fn script_completed(&self, call: &mut Call) -> Result<(), Status> {
        let report = reports::timing(call.request().await?)?;
        let kept = self.state.store.reports().timing(self.agent.identity.id, report).await;
        kept.map_err(|error| match error {
            ReportError::Store(error) => self.failed(&error),
            refused @ ReportError::UnknownScript(_) => Status::new(refused.to_string()),
        })?;
        call.answer(&WorkspaceAgentScriptCompletedResponse {})
    }

    async fn metadata(&self, call: &mut Call) -> Result<(), Status> {
        let reports = reports::metadata(call.request().await?)?;
        self.state
            .store
            .reports()
            .metadata(self.agent.identity.id, reports)
            .await
            .map_err(|error| self.failed(&error))?;
        call.answer(&BatchUpdateMetadataResponse {})
    }

    async fn delivery(&self, call: &mut Call) -> Result<(), Status> {
        let report = reports::delivery(call.request().await?)?;
        let identity = &self.agent.identity;
        let workspace = (identity.workspace_id, format!("{}/{}", identity.owner_name, identity.workspace_name));
        let kept = self.state.store.reports().delivery(self.agent.actor.clone(), workspace, report).await;
        kept.map_err(|error| self.failed(&error))?;
        call.answer(&live::ReportResponse {})
    }

    async fn connection(&self, call: &mut Call) -> Result<(), Status> {
        let record = reports::connection(call.request().await?, &self.agent)?;
        self.state.uses.record(&self.state.store, record).await.map_err(|error| self.failed(&error))?;
        call.answer(&Empty {})
    }
}

/// Drops the statistics, because this server has no dashboard. The agent needs the interval.
async fn stats(call: &mut Call) -> Result<(), Status> {
    call.request::<Empty>().await?;
    call.answer(&UpdateStatsResponse { report_interval: STATS_INTERVAL.try_into().ok() })
}

async fn announcements(call: &mut Call) -> Result<(), Status> {
    call.request::<GetAnnouncementBannersRequest>().await?;
    call.answer(&GetAnnouncementBannersResponse::default())
}

async fn service_banner(call: &mut Call) -> Result<(), Status> {
    call.request::<GetServiceBannerRequest>().await?;
    call.answer(&BannerConfig::default())
}

/// Asks for no monitoring. A Go agent needs the configuration all the same: it dereferences it.
async fn monitoring(call: &mut Call) -> Result<(), Status> {
    call.request::<GetResourcesMonitoringConfigurationRequest>().await?;
    let config = Config { num_datapoints: MONITORED_DATAPOINTS, collection_interval_seconds: MONITORED_SECONDS };
    call.answer(&GetResourcesMonitoringConfigurationResponse { config: Some(config) })
}

/// Answers calls of a Coder agent that this server has no use for. Each answer has only optional fields, and an absent field means none:
/// no sub-agents, not accepted. An error would fill the agent's log, every ten seconds for as long as it runs.
async fn nothing(call: &mut Call) -> Result<(), Status> {
    call.request::<Empty>().await?;
    call.answer(&Empty {})
}

/// Keeps the stream open without an answer: there is no network to coordinate, but a Go agent redials when this call ends early.
async fn coordinate(call: &mut Call) -> Result<(), Status> {
    while let Some(request) = call.next::<CoordinateRequest>().await? {
        if request.disconnect.is_some() {
            break;
        }
    }
    Ok(())
}

/// Sends one map without regions, and then keeps the stream open until the session ends, as a Go agent demands.
async fn derp_maps(call: &mut Call) -> Result<(), Status> {
    call.request::<StreamDerpMapsRequest>().await?;
    call.reply(&manifest::empty_derp_map()).await?;
    std::future::pending().await
}
