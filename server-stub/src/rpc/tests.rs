//! The client of `protocol` over a real WebSocket on loopback.

mod calls;
mod live;
mod sessions;

use std::time::Duration;

use prost::Message;
use protocol::agent_api::{lifecycle, log, path, startup, *};
use protocol::drpc::{CallError, Client, Status};
use protocol::session::Session;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Error;
use uuid::Uuid;

use super::routes;
use super::testing::{World, apply};
use crate::store::testing::{execute, put_secret};
use crate::store::workspaces::{Agent, Connection as Seen};

/// Longest wait for what must happen; on a loaded machine nothing here takes a second.
const PATIENCE: Duration = Duration::from_secs(20);

async fn world() -> (World, Session, Client) {
    let world = World::new(routes()).await;
    let session = world.dial("?version=2.4").await;
    let client = Client::new(session.opener());
    (world, session, client)
}

async fn refused<Q: Message, R: Message + Default>(client: &Client, path: &str, request: &Q) -> Status {
    match client.call::<Q, R>(path, request).await {
        Err(CallError::Refused(status)) => status,
        other => panic!("{path}: {:?}", other.err()),
    }
}

async fn shown(world: &World) -> Agent {
    world.state.store.workspaces().find(world.agent.workspace_id).await.unwrap().unwrap().agents.remove(0)
}

/// Waits for what another task does.
async fn until(world: &World, what: &str, holds: impl Fn(&Agent) -> bool) {
    let waiting = async {
        while !holds(&shown(world).await) {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}
