//! What handlers share.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::audit::TokenUses;
use crate::config::AccountConfig;
use crate::delivery::DeliveryAudit;
use crate::fleet::Fleet;
use crate::limits::Limits;
use crate::live::Live;
use crate::store::{Algorithm, KeepVersions, Store, StoreError, Targets};

/// What handlers need of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The address users and agents reach the server at.
    pub access_url: String,
    /// What secrets may target.
    pub targets: Arc<Targets>,
    /// Requests a minute and principal; 0 for no limit.
    pub rate_limit: u32,
    /// What new git keys are made for.
    pub git_keys: Algorithm,
    /// What users may have.
    pub accounts: AccountConfig,
    /// Whether the sessions of agents without live delivery end after a change, so that they fetch it.
    pub refresh_coder_agents: bool,
    /// How many former values of a secret are kept.
    pub keep_versions: KeepVersions,
}

impl Settings {
    /// Without a limit, for tests.
    #[cfg(test)]
    pub(crate) fn unlimited() -> Self {
        Self {
            access_url: "http://here".into(),
            targets: Arc::default(),
            rate_limit: 0,
            git_keys: Algorithm::default(),
            refresh_coder_agents: true,
            keep_versions: KeepVersions(5),
            accounts: AccountConfig::default(),
        }
    }
}

/// What every handler shares.
#[derive(Clone)]
pub struct AppState {
    /// The database.
    pub store: Store,
    /// The configuration.
    pub settings: Arc<Settings>,
    /// How much a caller may ask for.
    pub limits: Arc<Limits>,
    /// Uses of tokens, for the audit log.
    pub uses: Arc<TokenUses>,
    /// The sessions of agents.
    pub fleet: Arc<Fleet>,
    /// Those who hear of changes.
    pub live: Arc<Live>,
    /// Whether deliveries of secrets reach the audit log.
    pub deliveries: Arc<DeliveryAudit>,
    /// Identifies the deployment.
    pub deployment_id: Uuid,
    /// Cancelled when the server is asked to stop: it is not ready any more, and agents leave in groups.
    pub stopping: CancellationToken,
    /// Cancelled when the server stops to serve; a long session ends on it.
    pub shutdown: CancellationToken,
    /// Sessions that outlive their request; a stop waits for them, within bounds.
    pub sessions: TaskTracker,
}

impl AppState {
    /// The state of a server that has just started.
    pub async fn new(store: Store, settings: Settings) -> Result<Self, StoreError> {
        store.secrets().record_policy(&settings.targets).await?;
        Ok(Self {
            deployment_id: store.deployment_id(),
            limits: Arc::new(Limits::new(settings.rate_limit)),
            store,
            settings: Arc::new(settings),
            uses: Arc::default(),
            fleet: Arc::default(),
            live: Arc::default(),
            deliveries: Arc::default(),
            stopping: CancellationToken::new(),
            shutdown: CancellationToken::new(),
            sessions: TaskTracker::new(),
        })
    }
}
