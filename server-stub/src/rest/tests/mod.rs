//! The routes as a client sees them, on a real database. The names are those of the reference's own tests.

mod create;
mod git_keys;
mod import;
mod limits;
mod policy;
mod read;
mod surroundings;
mod update;
mod workspaces;

use std::net::IpAddr;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use protocol::rest::SESSION_TOKEN_HEADER;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

use super::router;
use crate::auth::Peer;
use crate::serve::{AppState, Settings};
use crate::store::{Algorithm, testing};

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
        let mut settings = Settings {
            access_url: "http://here".into(),
            file_paths: true,
            rate_limit: 0,
            git_keys: Algorithm::default(),
        };
        change(&mut settings);
        let (dir, store) = testing::store().await;
        let mut tokens = Vec::new();
        for name in ["alice", "bob"] {
            let user = store.create_user(name).await.unwrap();
            let made = store.create_token(&user).await.unwrap();
            tokens.push(made.token.expose_str().unwrap().to_owned());
        }
        let state = AppState::new(store, settings).await.unwrap();
        let (bob, alice) = (tokens.pop().unwrap(), tokens.pop().unwrap());
        Self { router: router(state.clone()), state, alice, bob, dir }
    }

    /// The same database under another policy, as after a restart with other flags.
    async fn policy(mut self, file_paths: bool) -> Self {
        let settings = Settings { file_paths, ..(*self.state.settings).clone() };
        self.state = AppState::new(self.state.store.clone(), settings).await.unwrap();
        self.router = router(self.state.clone());
        self
    }

    async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        Answer { status: parts.status, headers: parts.headers, length: bytes.len(), body }
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

    async fn delete(&self, name: &str) -> Answer {
        self.call(&self.alice, Method::DELETE, &format!("{SECRETS}/{name}"), None).await
    }

    async fn import(&self, format: &str, content: &str) -> Answer {
        let body = json!({ "format": format, "content": content });
        self.call(&self.alice, Method::POST, &format!("{SECRETS}/batch"), Some(body)).await
    }

    /// Names of the stored secrets of alice.
    async fn names(&self) -> Vec<String> {
        let list = self.get(SECRETS).await;
        list.body.as_array().unwrap().iter().map(|secret| secret["name"].as_str().unwrap().to_owned()).collect()
    }

    async fn audited(&self) -> crate::store::audit::Entry {
        self.state.store.audit_entries(1).await.unwrap().remove(0)
    }
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    length: usize,
    body: Value,
}

impl Answer {
    #[track_caller]
    fn is(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        self
    }

    /// Fields and details of the faults.
    fn faults(&self) -> Vec<(&str, &str)> {
        let faults = self.body["validations"].as_array().map(Vec::as_slice).unwrap_or_default();
        faults.iter().map(|fault| (fault["field"].as_str().unwrap(), fault["detail"].as_str().unwrap())).collect()
    }

    fn fields(&self) -> Vec<&str> {
        self.faults().into_iter().map(|(field, _)| field).collect()
    }

    fn message(&self) -> &str {
        self.body["message"].as_str().unwrap()
    }
}
