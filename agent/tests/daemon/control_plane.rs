//! A control plane of one agent: it records what it is told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use agent::control::websocket::WebSocket;
use protocol::agent_api::lifecycle::State;
use protocol::agent_api::{
    BatchCreateLogsRequest, BatchCreateLogsResponse, Manifest, Startup, Timing, UpdateLifecycleRequest,
    UpdateStartupRequest, WorkspaceAgentScript, WorkspaceAgentScriptCompletedRequest,
    WorkspaceAgentScriptCompletedResponse, WorkspaceSecret, path,
};
use protocol::drpc::{self, Call, Service, Status};
use protocol::session::{Options, Role, Session};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Only ends a test that hangs.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);
pub(crate) const SCRIPT_SOURCE: Uuid = Uuid::from_u128(0x51);

/// What the agent has told.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) manifests: usize,
    pub(crate) startup: Option<Startup>,
    pub(crate) states: Vec<State>,
    pub(crate) timings: Vec<Timing>,
    pub(crate) lines: Vec<(Uuid, String)>,
    pub(crate) log_sources: Vec<String>,
}

#[derive(Default)]
struct Shared {
    manifest: Mutex<Manifest>,
    seen: Mutex<Seen>,
    changed: Notify,
    /// Ends the sessions of now.
    drop: Mutex<CancellationToken>,
}

pub(crate) struct ControlPlane {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

impl ControlPlane {
    pub(crate) async fn start(manifest: Manifest) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared { manifest: Mutex::new(manifest), ..Shared::default() });
        tokio::spawn({
            let shared = shared.clone();
            async move {
                while let Ok((tcp, _)) = listener.accept().await {
                    tcp.set_nodelay(true).unwrap();
                    tokio::spawn(connection(tcp, shared.clone()));
                }
            }
        });
        Self { url, shared }
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Manifest)) {
        change(&mut self.shared.manifest.lock().unwrap());
    }

    /// Breaks every connection.
    pub(crate) fn drop_sessions(&self) {
        std::mem::take(&mut *self.shared.drop.lock().unwrap()).cancel();
    }

    /// Waits until what was told satisfies `condition`.
    pub(crate) async fn wait(&self, what: &str, condition: impl Fn(&Seen) -> bool) -> Seen {
        let waiting = async {
            loop {
                let changed = self.shared.changed.notified();
                let seen = self.shared.seen.lock().unwrap().clone();
                if condition(&seen) {
                    return seen;
                }
                changed.await;
            }
        };
        timeout(LIMIT, waiting).await.unwrap_or_else(|_| panic!("{what}: {:?}", self.seen()))
    }

    pub(crate) fn seen(&self) -> Seen {
        self.shared.seen.lock().unwrap().clone()
    }
}

/// A WebSocket, or the one REST call an agent makes.
async fn connection(mut tcp: TcpStream, shared: Arc<Shared>) {
    let mut start = [0; 4];
    while tcp.peek(&mut start).await.unwrap_or(4) < 4 {}
    if &start == b"POST" {
        let mut request = Vec::new();
        while !request.ends_with(b"}") {
            let mut chunk = [0; 1024];
            let read = tcp.read(&mut chunk).await.unwrap();
            request.extend_from_slice(&chunk[..read]);
        }
        shared.record(|seen| seen.log_sources.push(String::from_utf8(request).unwrap()));
        tcp.write_all(b"HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}").await.unwrap();
        return;
    }
    let stop = shared.drop.lock().unwrap().clone();
    let Ok(stream) = tokio_tungstenite::accept_async(tcp).await else { return };
    let session = Session::start(WebSocket(stream), Role::Server, Options::new(Role::Server));
    stop.run_until_cancelled(drpc::serve(session, shared)).await;
}

impl Shared {
    fn record(&self, record: impl FnOnce(&mut Seen)) {
        record(&mut self.seen.lock().unwrap());
        self.changed.notify_waiters();
    }
}

impl Service for Shared {
    async fn handle(&self, path: &str, call: &mut Call) -> Result<(), Status> {
        match path {
            path::GET_MANIFEST => {
                let manifest = self.manifest.lock().unwrap().clone();
                call.reply(&manifest).await?;
                self.record(|seen| seen.manifests += 1);
                Ok(())
            }
            path::UPDATE_STARTUP => {
                let startup = call.request::<UpdateStartupRequest>().await?.startup.unwrap_or_default();
                self.record(|seen| seen.startup = Some(startup.clone()));
                call.reply(&startup).await
            }
            path::UPDATE_LIFECYCLE => {
                let lifecycle = call.request::<UpdateLifecycleRequest>().await?.lifecycle.unwrap_or_default();
                self.record(|seen| seen.states.push(lifecycle.state()));
                call.reply(&lifecycle).await
            }
            path::SCRIPT_COMPLETED => {
                let timing = call.request::<WorkspaceAgentScriptCompletedRequest>().await?.timing.unwrap_or_default();
                self.record(|seen| seen.timings.push(timing));
                call.reply(&WorkspaceAgentScriptCompletedResponse {}).await
            }
            path::BATCH_CREATE_LOGS => {
                let request = call.request::<BatchCreateLogsRequest>().await?;
                let source = Uuid::from_slice(&request.log_source_id).unwrap();
                self.record(|seen| seen.lines.extend(request.logs.into_iter().map(|log| (source, log.output))));
                call.reply(&BatchCreateLogsResponse { log_limit_exceeded: false }).await
            }
            _ => Err(Status::unimplemented()),
        }
    }
}

pub(crate) fn manifest(secrets: Vec<WorkspaceSecret>, scripts: Vec<WorkspaceAgentScript>) -> Manifest {
    Manifest {
        agent_id: Uuid::from_u128(1).as_bytes().to_vec(),
        workspace_id: Uuid::from_u128(2).as_bytes().to_vec(),
        agent_name: "main".into(),
        workspace_name: "dev".into(),
        owner_username: "alice".into(),
        environment_variables: [("API_KEY".to_owned(), "placeholder".to_owned())].into(),
        secrets,
        scripts,
        ..Manifest::default()
    }
}

pub(crate) fn secret(env_name: &str, file_path: &str, value: &str) -> WorkspaceSecret {
    WorkspaceSecret { env_name: env_name.into(), file_path: file_path.into(), value: value.into() }
}

pub(crate) fn on_start(script: &str) -> WorkspaceAgentScript {
    WorkspaceAgentScript {
        id: Uuid::from_u128(0x50).as_bytes().to_vec(),
        log_source_id: SCRIPT_SOURCE.as_bytes().to_vec(),
        display_name: "prepare".into(),
        script: script.into(),
        run_on_start: true,
        ..WorkspaceAgentScript::default()
    }
}

pub(crate) fn on_stop(script: &str) -> WorkspaceAgentScript {
    WorkspaceAgentScript { run_on_start: false, run_on_stop: true, ..on_start(script) }
}
