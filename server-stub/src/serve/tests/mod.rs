//! The server on real sockets, what surrounds every route, and the routes that tests over a socket reach less easily. The scenarios of user secrets are in `tests/e2e/http`.

mod git_keys;
mod sockets;
mod surroundings;
mod workspaces;

use std::net::IpAddr;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use protocol::rest::SESSION_TOKEN_HEADER;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

use super::router::router;
use crate::auth::Peer;
use crate::state::{AppState, Settings};
use crate::store::testing;

const SECRETS: &str = "/api/v2/users/me/secrets";

/// A server without a socket, and two users.
struct World {
    state: AppState,
    router: Router,
    alice: String,
    bob: String,
    dir: TempDir,
}

impl World {
    async fn new() -> Self {
        Self::with(|_| {}).await
    }

    async fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = Settings::unlimited();
        change(&mut settings);
        let testing::World { dir, store, .. } = testing::World::new().await;
        testing::user(&store, "bob").await;
        let mut tokens = Vec::new();
        for name in ["alice", "bob"] {
            let user = store.users().require(name).await.unwrap();
            let made = store.tokens().create(&user).await.unwrap();
            tokens.push(made.token.expose_str().unwrap().to_owned());
        }
        let state = AppState::new(store, settings).await.unwrap();
        let (bob, alice) = (tokens.pop().unwrap(), tokens.pop().unwrap());
        Self { router: router(state.clone(), None), state, alice, bob, dir }
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        Answer { status: parts.status, headers: parts.headers, body }
    }

    async fn call(&self, token: &str, method: Method, path: &str, body: Option<Value>) -> Answer {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(SESSION_TOKEN_HEADER, token)
            .header(header::CONTENT_TYPE, "application/json")
            .extension(Peer(IpAddr::from([127, 0, 0, 1])));
        let body = body.map_or_else(Body::empty, |body| Body::from(body.to_string()));
        self.send(request.body(body).unwrap()).await
    }

    async fn get(&self, path: &str) -> Answer {
        self.call(&self.alice, Method::GET, path, None).await
    }

    async fn create(&self, body: Value) -> Answer {
        self.call(&self.alice, Method::POST, SECRETS, Some(body)).await
    }

    async fn patch(&self, name: &str, body: Value) -> Answer {
        self.call(&self.alice, Method::PATCH, &format!("{SECRETS}/{name}"), Some(body)).await
    }

    async fn import(&self, format: &str, content: &str) -> Answer {
        let body = json!({ "format": format, "content": content });
        self.call(&self.alice, Method::POST, &format!("{SECRETS}/batch"), Some(body)).await
    }
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

impl Answer {
    #[track_caller]
    fn is(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self
    }

    fn message(&self) -> &str {
        self.body["message"].as_str().unwrap()
    }
}
