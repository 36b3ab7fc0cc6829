//! What can go wrong with a request, and what the user can do about it.

use protocol::problem::Problem;
use reqwest::StatusCode;

use super::{MAX_BODY_BYTES, REQUEST_LIMIT};
use crate::network::NetworkError;
use crate::tls::TlsFailure;

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SetUpError {
    /// No TLS.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// The HTTP client refuses its set-up.
    #[error("set up HTTP")]
    Http(#[source] reqwest::Error),
}

/// Why a request gave nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    /// No connection, or it broke.
    #[error("cannot reach {server}{}", through(.proxy.as_deref()))]
    Unreachable {
        /// The server's address.
        server: String,
        /// Whether a connection was there, so that the server may have read the request.
        connected: bool,
        /// The proxy in between.
        proxy: Option<String>,
        /// The innermost reason.
        source: Cause,
    },
    /// No TLS with the server, or not with this one.
    #[error("no secure connection to {server}{}", through(.proxy.as_deref()))]
    Tls {
        /// The server's address.
        server: String,
        /// The proxy in between.
        proxy: Option<String>,
        /// Why.
        source: TlsFailure,
    },
    /// The server took too long.
    #[error("{server} did not answer within {} s", REQUEST_LIMIT.as_secs())]
    Timeout {
        /// The server's address.
        server: String,
    },
    /// The server said no, in the words of `problem`.
    #[error("{problem}")]
    Refused {
        /// The server's address.
        server: String,
        /// The HTTP status.
        status: StatusCode,
        /// What the server says.
        problem: Problem,
        /// The server of the sign-in, if it is another one.
        elsewhere: Option<String>,
    },
    /// The server does not know the route: it is too old, or another product.
    #[error("this server{version} does not offer what was asked")]
    NoRoute {
        /// Its version as a message shows it: empty, or such as ` (v2.30.0)`.
        version: String,
    },
    /// A proxy answered in place of the server.
    #[error("{server} answered {status} with {content}: a proxy in between cannot reach the server")]
    Gateway {
        /// The server's address.
        server: String,
        /// The HTTP status.
        status: StatusCode,
        /// What the answer was.
        content: String,
    },
    /// Something answered that is no Coder server.
    #[error("{server}{} is not a Coder server: it answered {status} with {content}", through(.proxy.as_deref()))]
    NotCoder {
        /// The server's address.
        server: String,
        /// The proxy in between.
        proxy: Option<String>,
        /// The HTTP status.
        status: StatusCode,
        /// What the answer was.
        content: String,
    },
    /// The server points elsewhere. A token is for one server and does not follow.
    #[error("{server} sends us on to {location}")]
    Redirected {
        /// The server's address.
        server: String,
        /// Where it points.
        location: String,
    },
    /// The answer is over 16 MiB.
    #[error("the answer of {server} exceeds {MAX_BODY_BYTES} bytes")]
    TooLarge {
        /// The server's address.
        server: String,
    },
    /// The request could not be written as JSON, or the answer not be read.
    #[error("{operation}")]
    Body {
        /// Which of the two.
        operation: &'static str,
        /// Why.
        source: serde_json::Error,
    },
}

/// The innermost source of a failure. Those around it say "error sending request" in three ways.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Cause {
    /// The proxy does not know us.
    #[error("the proxy wants a user name and password, or refuses ours")]
    ProxyLogin,
    /// The proxy does not connect us.
    #[error("the proxy refuses to connect to the server, or cannot")]
    ProxyRefused,
    /// What came is not HTTP.
    #[error("{0}")]
    NotHttp(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

impl Cause {
    /// hyper has no types for these that others could name.
    pub(super) fn new(text: String) -> Self {
        match text.as_str() {
            "tunnel error: proxy authorization required" => Self::ProxyLogin,
            "tunnel error: unsuccessful" => Self::ProxyRefused,
            _ if text.starts_with("invalid HTTP") => Self::NotHttp(text),
            _ => Self::Other(text),
        }
    }
}

fn through(proxy: Option<&str>) -> String {
    proxy.map(|proxy| format!(" through the proxy {proxy}")).unwrap_or_default()
}

impl ClientError {
    /// The HTTP status of a refusal.
    pub(crate) fn status(&self) -> Option<StatusCode> {
        match self {
            Self::Refused { status, .. } | Self::NotCoder { status, .. } | Self::Gateway { status, .. } => {
                Some(*status)
            }
            Self::NoRoute { .. } => Some(StatusCode::NOT_FOUND),
            _ => None,
        }
    }

    /// What the server said when it refused.
    pub(crate) fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Refused { problem, .. } => Some(problem),
            _ => None,
        }
    }

    /// Whether the server may have done what was asked, although this error is all that came back.
    pub(crate) fn may_be_done(&self) -> bool {
        match self {
            Self::Unreachable { connected, .. } => *connected,
            Self::Timeout { .. } | Self::TooLarge { .. } => true,
            // A refusal is final. A server that fails may have failed after it had stored.
            Self::Refused { status, .. } | Self::NotCoder { status, .. } | Self::Gateway { status, .. } => {
                status.is_server_error() || status.is_success()
            }
            Self::Tls { .. } | Self::NoRoute { .. } | Self::Redirected { .. } | Self::Body { .. } => false,
        }
    }

    /// Whether the server has no such route: Coder says so in JSON, and a router without the method in a bare 405.
    pub(crate) fn is_no_route(&self) -> bool {
        matches!(self, Self::NoRoute { .. }) || self.status() == Some(StatusCode::METHOD_NOT_ALLOWED)
    }

    /// What the user can do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        match self {
            Self::Tls { source, server, .. } => Some(source.hint(&format!("coder login {server} --ca-file FILE"))),
            Self::Unreachable { proxy: Some(_), .. } => Some(
                "Check the address of the proxy, and that it lets you through; NO_PROXY excepts a server from it."
                    .into(),
            ),
            Self::Unreachable { source: Cause::NotHttp(_), server, .. } if server.starts_with("http://") => {
                Some("Check the address: a server that speaks TLS has one that starts with https://.".into())
            }
            Self::Unreachable { .. } | Self::Timeout { .. } => {
                Some("Check the address, http or https included, and that the server runs.".into())
            }
            Self::Refused { status: StatusCode::UNAUTHORIZED, elsewhere: Some(elsewhere), server, .. } => {
                Some(format!(
                    "You are signed in to {elsewhere}, and the session token of that server is sent to no other one. \
                 Sign in here with: coder login {server}"
                ))
            }
            Self::Refused { status: StatusCode::UNAUTHORIZED, server, .. } => {
                Some(format!("Log in with a session token that is valid: coder login {server}"))
            }
            Self::Gateway { .. } => Some("Try again later, or tell the administrator of the server.".into()),
            Self::NotCoder { status: StatusCode::PROXY_AUTHENTICATION_REQUIRED, proxy: Some(_), .. } => {
                Some("Give the proxy's user name and password in its address: http://USER:PASSWORD@HOST:PORT".into())
            }
            Self::NotCoder { status: StatusCode::BAD_REQUEST, server, .. } if server.starts_with("http://") => {
                Some("Check the address: a server that speaks TLS has one that starts with https://.".into())
            }
            Self::NotCoder { .. } => Some("Check the address. To use another one: coder login <url>".into()),
            Self::Redirected { .. } => Some("If that is your server, log in to it: coder login <url>".into()),
            _ => None,
        }
    }
}
