use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use protocol::agent_api::lifecycle::State;
use protocol::agent_api::{self, BatchCreateLogsRequest, BatchCreateLogsResponse, UpdateLifecycleRequest};
use protocol::drpc::{self, Call, Service, Status};
use protocol::secret::Secret;
use reqwest::Url;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::handshake::server::{ErrorResponse, Request, Response};
use uuid::Uuid;

use super::websocket::WebSocket;
use super::*;
use crate::config::TokenSource;
use crate::network::{Network, Settings};
use crate::report::Level;

/// Everything here happens within milliseconds; this only ends a test that hangs.
const LIMIT: Duration = Duration::from_secs(20);

const FOLLOWING: Following = Following { live: true, refresh: None };

/// A control plane of one agent: it records what it is told and refuses what it was told to refuse.
#[derive(Default)]
struct Fake {
    manifest: Mutex<agent_api::Manifest>,
    states: Mutex<Vec<State>>,
    lines: Mutex<Vec<String>>,
    /// Answers to the next lifecycle calls; then all are good.
    refusals: Mutex<VecDeque<Status>>,
    line_limit: usize,
}

impl Service for Fake {
    async fn handle(&self, path: &str, call: &mut Call) -> Result<(), Status> {
        match path {
            path::GET_MANIFEST => {
                let manifest = self.manifest.lock().unwrap().clone();
                call.reply(&manifest).await
            }
            path::UPDATE_LIFECYCLE => {
                let lifecycle = call.request::<UpdateLifecycleRequest>().await?.lifecycle.unwrap_or_default();
                if let Some(status) = self.refusals.lock().unwrap().pop_front() {
                    return Err(status);
                }
                self.states.lock().unwrap().push(lifecycle.state());
                call.reply(&lifecycle).await
            }
            path::BATCH_CREATE_LOGS => {
                let request = call.request::<BatchCreateLogsRequest>().await?;
                let log_limit_exceeded = {
                    let mut lines = self.lines.lock().unwrap();
                    lines.extend(request.logs.into_iter().map(|log| log.output));
                    lines.len() >= self.line_limit
                };
                call.reply(&BatchCreateLogsResponse { log_limit_exceeded }).await
            }
            _ => Err(Status::unimplemented()),
        }
    }
}

async fn listen() -> (TcpListener, Url) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    (listener, url)
}

fn endpoint(url: Url, token: TokenSource) -> Endpoint {
    Endpoint::new(Network::new(url, Settings::default(), &[]).unwrap(), token, Role::Agent)
}

async fn accept(listener: &TcpListener) -> TcpStream {
    let (tcp, _) = timeout(LIMIT, listener.accept()).await.unwrap().unwrap();
    tcp.set_nodelay(true).unwrap();
    tcp
}

/// The handshake, where `check` may refuse it.
#[expect(clippy::result_large_err, reason = "the signature is tungstenite's")]
async fn session(tcp: TcpStream, mut check: impl FnMut(&Request) -> Option<ErrorResponse> + Unpin) -> Option<Session> {
    let callback = |request: &Request, response: Response| check(request).map_or(Ok(response), Err);
    let stream = tokio_tungstenite::accept_hdr_async(tcp, callback).await.ok()?;
    Some(Session::start(WebSocket(stream), session::Role::Server, Options::new(session::Role::Server)))
}

async fn serve_next(listener: &TcpListener, fake: &Arc<Fake>) {
    let session = session(accept(listener).await, |_| None).await.unwrap();
    tokio::spawn(drpc::serve(session, fake.clone()));
}

fn start(url: Url, token: TokenSource) -> (Link, Reporter) {
    let reporter = Reporter::default();
    let (control, link) = Control::new(endpoint(url, token), reporter.clone(), FOLLOWING);
    tokio::spawn(control.run());
    (link, reporter)
}

fn token() -> TokenSource {
    TokenSource::fixed(Secret::from("the-token".to_owned()), "test").unwrap()
}

async fn manifest(link: &mut Link) -> agent_api::Manifest {
    fetched(link).await.manifest
}

async fn fetched(link: &mut Link) -> Fetched {
    timeout(LIMIT, link.manifests.recv()).await.unwrap().unwrap()
}

async fn failure(link: &mut Link) -> String {
    let failed = link.state.wait_for(|state| matches!(state, Connection::Failed(_)));
    match timeout(LIMIT, failed).await.unwrap().unwrap().clone() {
        Connection::Failed(text) => text,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_manifest_comes_after_each_connection_and_each_refetch_and_reports_go_out() {
    let (listener, url) = listen().await;
    let fake = Arc::new(Fake { line_limit: usize::MAX, ..Fake::default() });
    let (mut link, reporter) = start(url, token());
    let seen = session(accept(&listener).await, |request| {
        assert_eq!(request.uri().to_string(), "/api/v2/workspaceagents/me/rpc?role=agent&version=2.4&live=1");
        assert_eq!(request.headers()["Coder-Session-Token"], "the-token");
        None
    });
    tokio::spawn(drpc::serve(seen.await.unwrap(), fake.clone()));

    assert_eq!(fetched(&mut link).await.request, 0);
    fake.manifest.lock().unwrap().workspace_name = "changed".into();
    let request = link.handle.refetch();
    let again = fetched(&mut link).await;
    assert_eq!((again.manifest.workspace_name.as_str(), again.request), ("changed", request));

    reporter.lifecycle(State::Starting);
    reporter.lifecycle(State::Ready);
    reporter.line(Uuid::from_u128(1), Level::Info, b"hello");
    timeout(LIMIT, reporter.flushed()).await.unwrap();
    assert_eq!(*fake.states.lock().unwrap(), [State::Starting, State::Ready]);
    assert_eq!(*fake.lines.lock().unwrap(), ["hello"]);
    assert_eq!(*link.state.borrow(), Connection::Connected);
}

#[tokio::test]
async fn what_was_not_acknowledged_is_sent_again_over_the_next_connection() {
    let (listener, url) = listen().await;
    let fake = Arc::new(Fake { line_limit: usize::MAX, ..Fake::default() });
    let (mut link, reporter) = start(url, token());
    // The first server dies while the manifest is asked for.
    let dying = session(accept(&listener).await, |_| None).await.unwrap();
    drop(dying);
    reporter.lifecycle(State::Starting);
    failure(&mut link).await;
    serve_next(&listener, &fake).await;
    manifest(&mut link).await;
    reporter.lifecycle(State::Ready);
    timeout(LIMIT, reporter.flushed()).await.unwrap();
    assert_eq!(*fake.states.lock().unwrap(), [State::Starting, State::Ready]);
}

#[tokio::test]
async fn a_refused_token_is_said_and_a_rotated_one_is_used_at_the_next_dial() {
    let (listener, url) = listen().await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("token");
    std::fs::write(&path, "old").unwrap();
    let (mut link, _reporter) = start(url, TokenSource::file(&path).unwrap());
    let fake = Arc::new(Fake::default());
    let server = async {
        loop {
            let opened = session(accept(&listener).await, |request| {
                if request.headers()["Coder-Session-Token"] == "new" {
                    return None;
                }
                let body = r#"{"message":"Agent token is invalid."}"#.to_owned();
                Some(Response::builder().status(401).body(Some(body)).unwrap())
            });
            if let Some(session) = opened.await {
                drpc::serve(session, fake.clone()).await;
            }
        }
    };
    let client = async {
        let text = failure(&mut link).await;
        assert_eq!(text, "the server refuses the agent token (Agent token is invalid)");
        std::fs::write(&path, "new").unwrap();
        manifest(&mut link).await;
    };
    tokio::select! {
        () = server => {}
        () = client => {}
    }
}

#[tokio::test]
async fn each_kind_of_wrong_server_has_a_message_of_its_own() {
    let version = r#"{"message":"Unknown or unsupported API version","validations":[{"field":"version","detail":"server is at version 2.3, behind requested minor version 2.4"}]}"#;
    let cases = [
        ("", "the connection broke during the handshake"),
        ("220 mail.example.com ESMTP\r\n\r\n", "the server does not speak HTTP as it should"),
        (
            "HTTP/1.1 500 Oops\r\n\r\n{\"message\":\"Internal error\\u001b[31m\"}",
            "the server answers 500 Internal Server Error (Internal error [31m)",
        ),
        ("HTTP/1.1 404 Not Found\r\n\r\n<html>", "a web page answers in place of the server: 404 Not Found"),
        ("HTTP/1.1 200 OK\r\n\r\n", "the server answers 200 OK"),
        (
            "HTTP/1.1 307 Temporary Redirect\r\nlocation: https://c/api/v2/workspaceagents/me/rpc\r\n\r\n",
            "the server redirects to https://c/api/v2/workspaceagents/me/rpc",
        ),
        (
            "HTTP/1.1 302 Found\r\nlocation: https://c/?next=x\r\n\r\n",
            "the server sends us to a login page: https://c/",
        ),
        (
            &format!("HTTP/1.1 400 Bad Request\r\n\r\n{version}"),
            "the server refuses Agent API 2.4 (Unknown or unsupported API version: server is at version 2.3, behind requested minor version 2.4)",
        ),
    ];
    for (answer, expected) in cases {
        let (listener, url) = listen().await;
        let (mut link, _reporter) = start(url, token());
        let server = async {
            let mut tcp = accept(&listener).await;
            assert!(tcp.read(&mut [0; 4096]).await.unwrap() > 0);
            tcp.write_all(answer.as_bytes()).await.unwrap();
        };
        let ((), text) = tokio::join!(server, failure(&mut link));
        assert!(text.starts_with(expected), "{text}");
    }
}

#[tokio::test]
async fn a_server_that_is_not_there_is_waited_for() {
    let (listener, url) = listen().await;
    let address = listener.local_addr().unwrap();
    drop(listener);
    let (mut link, _reporter) = start(url, token());
    let text = failure(&mut link).await;
    assert!(text.starts_with(&format!("cannot reach 127.0.0.1 port {}: ", address.port())), "{text}");
    let listener = TcpListener::bind(address).await.unwrap();
    serve_next(&listener, &Arc::new(Fake::default())).await;
    manifest(&mut link).await;
}

#[tokio::test]
async fn a_state_the_server_refuses_for_good_does_not_hold_up_the_next() {
    let (listener, url) = listen().await;
    let refusals = [Status::new("database is locked"), Status::unimplemented()].into();
    let fake = Arc::new(Fake { refusals: Mutex::new(refusals), ..Fake::default() });
    let (_link, reporter) = start(url, token());
    serve_next(&listener, &fake).await;
    reporter.lifecycle(State::Starting);
    reporter.lifecycle(State::Ready);
    timeout(LIMIT, reporter.flushed()).await.unwrap();
    assert_eq!(*fake.states.lock().unwrap(), [State::Ready], "the first was tried again, then left out");
}

#[tokio::test]
async fn after_the_log_limit_of_the_server_no_line_is_sent() {
    let (listener, url) = listen().await;
    let fake = Arc::new(Fake { line_limit: 1, ..Fake::default() });
    let (_link, reporter) = start(url, token());
    serve_next(&listener, &fake).await;
    reporter.line(Uuid::from_u128(1), Level::Info, b"one");
    timeout(LIMIT, reporter.flushed()).await.unwrap();
    reporter.line(Uuid::from_u128(1), Level::Info, b"two");
    timeout(LIMIT, reporter.flushed()).await.unwrap();
    assert_eq!(*fake.lines.lock().unwrap(), ["one"]);
}

#[tokio::test]
async fn a_manifest_of_four_mebibytes_ends_in_a_message_or_in_a_manifest() {
    let (listener, url) = listen().await;
    let fake = Arc::new(Fake::default());
    fake.manifest.lock().unwrap().directory = "d".repeat(4 * 1024 * 1024 - 64);
    let (mut link, _reporter) = start(url, token());
    serve_next(&listener, &fake).await;
    assert!(manifest(&mut link).await.directory.len() > 4_000_000);
}

#[tokio::test]
async fn closing_the_link_ends_the_task_with_a_websocket_close() {
    let (listener, url) = listen().await;
    let (control, mut link) = Control::new(endpoint(url, token()), Reporter::default(), FOLLOWING);
    let task = tokio::spawn(control.run());
    let fake = Arc::new(Fake::default());
    serve_next(&listener, &fake).await;
    manifest(&mut link).await;
    link.handle.close();
    timeout(LIMIT, task).await.unwrap().unwrap();
}
