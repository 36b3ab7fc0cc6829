//! Why there is no connection.

use std::io;
use std::time::Duration;

use protocol::agent_api::DIALED_VERSION;
use protocol::drpc::CallError;
use reqwest::StatusCode;
use tokio_tungstenite::tungstenite;

use super::redirect::Redirect;
use super::words::Quoted;
use crate::network::{ConnectError, HeaderError};

/// Why a dial failed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum DialError {
    #[error(transparent)]
    Connect(ConnectError),
    #[error("no headers for the server")]
    Headers(#[from] HeaderError),
    #[error("the server does not answer within {} seconds", .0.as_secs())]
    Silent(Duration),
    #[error("the server refuses the agent token{}", Quoted(.0))]
    Token(String),
    #[error("the server refuses Agent API {DIALED_VERSION}{}", Quoted(.0))]
    Version(String),
    #[error("a proxy in between does not pass WebSockets on: the server answers {0}")]
    NoUpgrade(StatusCode),
    #[error("the server {0}")]
    Redirect(Redirect),
    #[error("a web page answers in place of the server: {status}{}", Quoted(.title))]
    Page { status: StatusCode, title: String },
    #[error("the server answers {status}{}", Quoted(.detail))]
    Status { status: StatusCode, detail: String },
    #[error("the server does not speak HTTP as it should")]
    NotHttp(#[source] Box<tungstenite::Error>),
    #[error("the connection broke during the handshake")]
    Broken(#[source] io::Error),
}

/// Why there is no connection now: it could not be made, or it has ended.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum Failure {
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error("cannot fetch the manifest")]
    Manifest(#[source] CallError),
    #[error("the connection was lost while reporting")]
    Report(#[source] CallError),
    #[error("the connection was lost while waiting for changes")]
    Watch(#[source] CallError),
    #[error("the server has said nothing of changes for {} seconds", .0.as_secs())]
    Silent(Duration),
    #[error("the connection has ended")]
    Ended,
}
