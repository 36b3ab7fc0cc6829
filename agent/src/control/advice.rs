//! What a person can do about a connection that fails.

use reqwest::StatusCode;

use super::failure::{DialError, Failure};
use crate::network::ConnectError;

impl Failure {
    /// What a person can do about it, for the middle of a line of the log.
    pub(super) fn advice(&self) -> String {
        match self {
            Self::Dial(error) => error.advice(),
            Self::Manifest(_) => "the server's own log tells more".to_owned(),
            Self::Report(_) | Self::Watch(_) | Self::Silent(_) | Self::Ended => {
                "what runs goes on; reports wait".to_owned()
            }
        }
    }
}

impl DialError {
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
