use std::fmt;
use std::io;
use std::time::Duration;

use protocol::agent_api::DIALED_VERSION;
use protocol::drpc::CallError;
use reqwest::{StatusCode, Url};
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tracing::{debug, info, warn};

use super::answer;
use super::redirect::Redirect;
use crate::errors::chain;
use crate::network::{ConnectError, HeaderError};
use crate::tls::TlsFailure;

/// More of a server's words than this helps nobody, and a hostile server must not fill the log.
const MAX_DETAIL: usize = 500;

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
    #[error("the connection has ended")]
    Ended,
}

impl DialError {
    /// Sorts what the WebSocket library says into what a person can do about it. `server` is who was dialed.
    pub(super) fn from_handshake(error: tungstenite::Error, server: &Url) -> Self {
        match error {
            tungstenite::Error::Http(response) => answer::explain(&response, server),
            tungstenite::Error::Io(error) => match TlsFailure::find(&error) {
                Some(failure) => Self::Connect(ConnectError::Tls(failure)),
                None => Self::Broken(error),
            },
            tungstenite::Error::ConnectionClosed
            | tungstenite::Error::AlreadyClosed
            | tungstenite::Error::Protocol(ProtocolError::HandshakeIncomplete) => {
                Self::Broken(io::ErrorKind::UnexpectedEof.into())
            }
            other => Self::NotHttp(Box::new(other)),
        }
    }

    fn advice(&self) -> String {
        match self {
            Self::Connect(error) => connect_advice(error),
            Self::Headers(_) => "check --agent-header and --agent-header-command".to_owned(),
            Self::Silent(_) | Self::Broken(_) => REACHABLE.to_owned(),
            Self::Token(_) => {
                "it changes when the workspace is rebuilt; a token file is read again before each attempt".to_owned()
            }
            Self::Version(_) => "the server may be too old for this agent".to_owned(),
            Self::NoUpgrade(_) => {
                "have it pass the headers Upgrade and Connection on, and speak HTTP/1.1 to the server".to_owned()
            }
            Self::Redirect(redirect) if redirect.is_login() => format!("an access proxy wants a login; {HEADERS}"),
            Self::Redirect(_) => {
                "set CODER_AGENT_URL to where the server is; a token is not sent after a redirect".to_owned()
            }
            Self::Page { status, .. } => page_advice(*status),
            Self::Status { status, detail } if detail.is_empty() && is_of_gateway(*status) => page_advice(*status),
            Self::Status { status, .. } if status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS => {
                "the server's own log tells more".to_owned()
            }
            Self::NotHttp(_) => {
                "is CODER_AGENT_URL the address of a Coder server? Where it speaks TLS the address starts with https://"
                    .to_owned()
            }
            Self::Status { .. } => "is CODER_AGENT_URL the address of a Coder server?".to_owned(),
        }
    }
}

const REACHABLE: &str = "check that the server runs and that CODER_AGENT_URL and the network lead to it";
const HEADERS: &str = "give the agent the headers that it asks for by --agent-header or --agent-header-command";

fn connect_advice(error: &ConnectError) -> String {
    match error {
        ConnectError::Unreachable { .. } => REACHABLE.to_owned(),
        ConnectError::Tls(failure) | ConnectError::ProxyTls { source: failure, .. } => {
            // In the middle of a line of the log.
            let hint = failure.hint("coder agent --ca-file FILE");
            let (first, rest) = hint.split_at_checked(1).unwrap_or_default();
            format!("{}{}", first.to_lowercase(), rest.trim_end_matches('.'))
        }
        ConnectError::Setup(_) => "name the roots to trust by --ca-file or SSL_CERT_FILE".to_owned(),
        ConnectError::ProxyLogin { .. } => "give them in its address: http://USER:PASSWORD@HOST:PORT".to_owned(),
        ConnectError::ProxyRefused { .. } => {
            "have the proxy allow it, or except the server from the proxy with NO_PROXY".to_owned()
        }
        ConnectError::ProxyFailed { .. } => {
            "check that the server runs, or except it from the proxy with NO_PROXY".to_owned()
        }
        ConnectError::ProxyUnreachable { .. } | ConnectError::NoProxy { .. } => {
            "check the address of the proxy, or except the server from it with NO_PROXY".to_owned()
        }
    }
}

/// Statuses by which something in front of a server says that it cannot get through to it.
fn is_of_gateway(status: StatusCode) -> bool {
    matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT)
}

/// Who answers with a page where Coder's API answers with JSON.
fn page_advice(status: StatusCode) -> String {
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            format!("an access proxy may stand in front of the server; {HEADERS}")
        }
        status if is_of_gateway(status) => {
            "a proxy in front of the server cannot reach it; check that the server runs".to_owned()
        }
        status if status.is_success() => {
            "is CODER_AGENT_URL the address of a Coder server? A login page or the portal \
                                          of a guest network answers like this, too"
                .to_owned()
        }
        _ => "is CODER_AGENT_URL the address of a Coder server?".to_owned(),
    }
}

impl Failure {
    fn advice(&self) -> String {
        match self {
            Self::Dial(error) => error.advice(),
            Self::Manifest(_) => "the server's own log tells more".to_owned(),
            Self::Report(_) | Self::Ended => "what runs goes on; reports wait".to_owned(),
        }
    }
}

/// Keeps the log readable while the server is away: the first of equal failures is a warning, the rest are not.
#[derive(Default)]
pub(super) struct Trouble {
    last: Option<String>,
}

impl Trouble {
    pub(super) fn failed(&mut self, failure: &Failure, pause: Duration) -> String {
        let text = printable(&chain(failure));
        if self.last.as_deref() == Some(&text) {
            debug!("{text}; next attempt in {pause:?}");
        } else {
            warn!("{text}; {}; trying again until it works", failure.advice());
        }
        self.last = Some(text.clone());
        text
    }

    pub(super) fn over(&mut self, server: &str) {
        info!("connected to {server}");
        self.last = None;
    }
}

/// Words of a server, safe for a terminal and a log.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(MAX_DETAIL).collect()
}

pub(super) struct Quoted<'t>(pub(super) &'t str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, " ({})", self.0) }
    }
}
