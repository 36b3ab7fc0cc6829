use std::fmt;
use std::io;
use std::time::Duration;

use protocol::agent_api::DIALED_VERSION;
use protocol::drpc::CallError;
use protocol::problem::Problem;
use reqwest::StatusCode;
use reqwest::header::{HeaderValue, LOCATION};
use tokio_tungstenite::tungstenite;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::handshake::client::Response;
use tracing::{debug, info, warn};

use crate::errors::chain;

/// More of a server's words than this helps nobody, and a hostile server must not fill the log.
const MAX_DETAIL: usize = 500;

/// Why a dial failed.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum DialError {
    #[error("cannot reach {host} port {port}")]
    Unreachable { host: String, port: u16, source: io::Error },
    #[error("the server does not answer within {} seconds", .0.as_secs())]
    Silent(Duration),
    #[error("no secure connection to the server")]
    Tls(#[source] io::Error),
    #[error("the server refuses the agent token{}", Quoted(.0))]
    Token(String),
    #[error("the server refuses Agent API {DIALED_VERSION}{}", Quoted(.0))]
    Version(String),
    #[error("the server redirects to {0}")]
    Redirect(String),
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
    /// Sorts what the WebSocket library says into what a person can do about it.
    pub(super) fn from_handshake(error: tungstenite::Error) -> Self {
        match error {
            tungstenite::Error::Http(response) => Self::from_response(&response),
            tungstenite::Error::Io(error) => Self::Broken(error),
            tungstenite::Error::ConnectionClosed
            | tungstenite::Error::AlreadyClosed
            | tungstenite::Error::Protocol(ProtocolError::HandshakeIncomplete) => {
                Self::Broken(io::ErrorKind::UnexpectedEof.into())
            }
            other => Self::NotHttp(Box::new(other)),
        }
    }

    fn from_response(response: &Response) -> Self {
        let detail = detail(response.body().as_deref().unwrap_or_default());
        match response.status() {
            StatusCode::UNAUTHORIZED => Self::Token(detail),
            StatusCode::BAD_REQUEST => Self::Version(detail),
            status if status.is_redirection() => {
                let location = response.headers().get(LOCATION).map(HeaderValue::as_bytes).unwrap_or_default();
                Self::Redirect(printable(&String::from_utf8_lossy(location)))
            }
            status => Self::Status { status, detail },
        }
    }

    fn advice(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } | Self::Silent(_) | Self::Broken(_) => {
                "check that the server runs and that CODER_AGENT_URL and the network lead to it"
            }
            Self::Tls(_) => "check the server's certificate; SSL_CERT_FILE can name the root that signed it",
            Self::Token(_) => {
                "it changes when the workspace is rebuilt; a token file is read again before each attempt"
            }
            Self::Version(_) => "the server may be too old for this agent",
            Self::Redirect(_) => "set CODER_AGENT_URL to where the server is; a token is not sent after a redirect",
            Self::Status { status, .. } if status.is_server_error() || *status == StatusCode::TOO_MANY_REQUESTS => {
                "the server's own log tells more"
            }
            Self::Status { .. } | Self::NotHttp(_) => "is CODER_AGENT_URL the address of a Coder server?",
        }
    }
}

impl Failure {
    fn advice(&self) -> &'static str {
        match self {
            Self::Dial(error) => error.advice(),
            Self::Manifest(_) => "the server's own log tells more",
            Self::Report(_) | Self::Ended => "what runs goes on; reports wait",
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

/// The message and the first validation of an error body, as far as it arrived with the header.
fn detail(body: &[u8]) -> String {
    let Ok(problem) = serde_json::from_slice::<Problem>(body) else { return String::new() };
    let more = problem.validations.first().map_or(problem.detail.as_str(), |field| field.detail.as_str());
    let message = problem.message.trim_end_matches('.');
    printable(&if more.is_empty() { message.to_owned() } else { format!("{message}: {}", more.trim_end_matches('.')) })
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
