//! The server, from its configuration to its orderly end.

mod drain;
mod listen;
mod observe;
mod places;
pub(crate) mod process;
mod readiness;
mod router;
mod scrape;
mod signals;
#[cfg(test)]
mod tests;
mod tls;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

pub use tls::TlsError;

use crate::audit;
use crate::config::{ConfigError, Drain, Environment, OpenError, ServeConfig, StoreArgs, TrustedProxies};
use crate::state::{AppState, Settings};
use crate::store::{DataDir, DatabaseUrl, KeySource, Role, Store, StoreError};

/// Longest wait for sessions of agents to end at a stop.
const SESSIONS_END: Duration = Duration::from_secs(5);
/// How often the room for administrators is looked after.
const RESERVE_INTERVAL: Duration = Duration::from_mins(1);

/// How often former values of secrets are looked after.
const VERSIONS_INTERVAL: Duration = Duration::from_hours(1);

/// Why the server did not start, or how it broke down.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Flags, variables or the data directory.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The database or its keys.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The same data directory is served already.
    #[error("data directory {} is already served by process {pid}", dir.path().display())]
    Served {
        /// The directory.
        dir: DataDir,
        /// The process.
        pid: String,
    },
    /// The certificate.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The address.
    #[error("cannot listen on {address}")]
    Listen {
        /// As configured.
        address: String,
        /// Why: in use, not ours, not allowed.
        source: io::Error,
    },
    /// Nothing can be written any more.
    #[error("the database writer broke down")]
    StoreEnded,
    /// The runtime would not hand out signals.
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
    /// A second signal while the server was stopping.
    #[error("stopped by a second signal, before all requests and sessions had ended")]
    Interrupted,
}

impl ServeError {
    /// Whether nothing was served yet.
    #[must_use]
    pub fn is_before_the_first_request(&self) -> bool {
        !matches!(self, Self::Signals(_) | Self::StoreEnded | Self::Interrupted)
    }
}

impl From<OpenError> for ServeError {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Config(error) => Self::Config(error),
            OpenError::Store(error) => Self::Store(error),
        }
    }
}

/// Runs the server until SIGTERM or SIGINT; SIGHUP reloads its certificate and keys.
pub async fn serve(config: ServeConfig, store: &StoreArgs, environment: Environment<'_>) -> Result<(), ServeError> {
    let data_dir = store.data_dir()?;
    let source = store.key_source(&data_dir, environment)?;
    let database = store.database_url(environment)?;
    let server = Server::bind(config, &data_dir, database.as_ref(), source).await?;
    let signals = signals::Signals::catch()?;
    server.welcome(&data_dir).await?;
    tracing::info!("listening on {}", server.url());
    // Fails where no service manager asked to be told.
    drop(sd_notify::notify(&[sd_notify::NotifyState::Ready]));
    // Of all that a server does at a time: on the heap.
    Box::pin(signals.govern(server)).await
}

/// A server that is bound and can be run.
pub struct Server {
    listener: listen::Listener,
    url: String,
    state: AppState,
    /// Where the database is, unless another server keeps it.
    disk: Option<PathBuf>,
    identity: Option<Arc<tls::Identity>>,
    retention: audit::Retention,
    drain: Drain,
    metrics: Option<listen::Listener>,
    data_dir: DataDir,
    // One server for a data directory: two would each believe that the other's agents are gone.
    _lock: std::fs::File,
}

impl Server {
    /// Opens the store and binds the address.
    pub async fn bind(
        config: ServeConfig,
        data_dir: &DataDir,
        database: Option<&DatabaseUrl>,
        keys: KeySource,
    ) -> Result<Self, ServeError> {
        let lock = data_dir
            .serve()
            .map_err(ConfigError::from)?
            .map_err(|pid| ServeError::Served { dir: data_dir.clone(), pid })?;
        let identity = config.tls.map(tls::Identity::read).transpose()?.map(Arc::new);
        let tcp = listen::bind(&config.listen).await?;
        let address = listen::address(&tcp, &config.listen)?;
        let metrics = match &config.metrics_listen {
            Some(address) => Some(metrics_listener(address).await?),
            None => None,
        };
        let allowed = process::raise_open_files();
        let url = format!("{}://{address}", if identity.is_some() { "https" } else { "http" });
        if identity.is_none() && !address.ip().is_loopback() {
            tracing::warn!(
                %address,
                "listening without TLS on an address that other machines reach: tokens and values cross in clear"
            );
        }
        if database.is_some_and(DatabaseUrl::is_clear) {
            tracing::warn!(
                "the connection to the database may be read on its way; add ?sslmode=verify-full to its URL"
            );
        }
        let store = Store::open_as(Role::Server, data_dir, database, keys).await?;
        let settings = Settings {
            access_url: config.access_url.unwrap_or_else(|| reachable(&url, address)),
            targets: Arc::new(config.targets),
            rate_limit: config.rate_limit,
            git_keys: config.git_keys,
            refresh_coder_agents: config.refresh_coder_agents,
            keep_versions: config.keep_versions,
            accounts: config.accounts,
        };
        Ok(Self {
            listener: listen::Listener {
                tcp,
                tls: identity.as_ref().map(|identity| identity.acceptors()),
                proxies: config.proxies,
                max_connections: config.max_connections.unwrap_or(allowed).max(1),
            },
            identity,
            state: AppState::new(store, settings).await?,
            disk: database.is_none().then(|| data_dir.path().to_owned()),
            url,
            retention: audit::Retention { age: config.audit_retention, bytes: config.audit_max_size },
            drain: config.drain,
            metrics,
            data_dir: data_dir.clone(),
            _lock: lock,
        })
    }

    /// The address it listens on, with the port it got.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What the handlers share.
    #[must_use]
    pub fn state(&self) -> &AppState {
        &self.state
    }

    /// Serves until `stop`, then ends in order: requests, sessions, what is still to be written.
    ///
    /// Fails when the store breaks down: a supervisor restarts a server that has ended, not one that answers 500 to every write.
    pub async fn run(self, stop: impl Future<Output = ()>) -> Result<(), ServeError> {
        let state = self.state;
        let serving = self.listener.serve(router::router(state.clone(), self.disk), state.shutdown.clone());
        let scraped = async {
            let Some(listener) = self.metrics else { return std::future::pending().await };
            listener.serve(scrape::router(state.clone(), self.identity), state.shutdown.clone()).await;
            std::future::pending::<()>().await;
        };
        let stopping = async {
            stop.await;
            drain::drain(&state, self.drain).await;
            state.shutdown.cancel();
            // The last word is the listener's.
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = serving => {}
            () = stopping => {}
            () = scraped => {}
            () = audit::keep(state.store.clone(), &state.uses, self.retention) => {}
            () = state.fleet.keep(state.store.clone()) => {}
            never = state.live.keep(state.store.clone()) => match never {},
            () = keep_reserve(&self.data_dir) => {}
            () = forget_versions(&state) => {}
            () = state.store.ended() => return Err(ServeError::StoreEnded),
        }
        state.sessions.close();
        if timeout(SESSIONS_END, state.sessions.wait()).await.is_err() {
            tracing::warn!("sessions of agents were still open at the stop");
        }
        if let Err(error) = state.uses.flush(&state.store).await {
            tracing::error!(error = &error as &dyn std::error::Error, "cannot record the last uses of tokens");
        }
        if let Err(error) = state.store.servers().leave().await {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot end the lease of this server");
        }
        state.store.close().await;
        Ok(())
    }

    /// For whoever starts it for the first time: where things are, and what comes next.
    async fn welcome(&self, data_dir: &DataDir) -> Result<(), ServeError> {
        if self.state.store.users().any().await? {
            return Ok(());
        }
        let text = format!(
            "\nA new server, with no users yet.\n\n  \
             data     {}\n  \
             keys     {}   (copy them to a safe place: without them nothing can be decrypted)\n\n\
             Next, in another terminal:\n\n  \
             coder-server user create NAME{}   prints a session token\n  \
             coder login {}   asks for that token\n\n",
            data_dir.path().display(),
            self.state.store.keys().source(),
            match DataDir::default_path() {
                Ok(default) if default == data_dir.path() => String::new(),
                _ => format!(" --data-dir {}", data_dir.path().display()),
            },
            self.state.settings.access_url,
        );
        // Advice that nobody can read is not worth failing for.
        drop(io::stderr().write_all(text.as_bytes()));
        Ok(())
    }
}

/// The socket for metrics. In clear and without a token: it belongs on loopback or on an administrator's network.
async fn metrics_listener(listen: &str) -> Result<listen::Listener, ServeError> {
    let tcp = listen::bind(listen).await?;
    let address = listen::address(&tcp, listen)?;
    tracing::info!("metrics at http://{address}/metrics");
    let (proxies, max_connections) = (TrustedProxies::default(), scrape::MAX_CONNECTIONS);
    Ok(listen::Listener { tcp, tls: None, proxies, max_connections })
}

/// Keeps room on the disk for administrators, also after they have used it.
async fn keep_reserve(data_dir: &DataDir) {
    let mut look = tokio::time::interval(RESERVE_INTERVAL);
    loop {
        look.tick().await;
        if let Err(error) = data_dir.keep_reserve() {
            tracing::warn!(%error, "cannot keep room on the disk for administrators");
        }
    }
}

/// Deletes former values of secrets that are too old, or more than are kept.
async fn forget_versions(state: &AppState) {
    let mut look = tokio::time::interval(VERSIONS_INTERVAL);
    loop {
        look.tick().await;
        if let Err(error) = state.store.secrets().trim_versions(state.settings.keep_versions).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "cannot delete former values of secrets");
        }
    }
}

/// 0.0.0.0 is an address to listen on and none to dial.
fn reachable(url: &str, address: SocketAddr) -> String {
    if address.ip().is_unspecified() {
        url.replace(&address.ip().to_string(), "localhost").replace("[localhost]", "localhost")
    } else {
        url.to_owned()
    }
}
