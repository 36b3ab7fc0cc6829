//! The HTTP client of the commands: one server, one token, bounded in time and size.

mod change;

use std::sync::OnceLock;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use protocol::problem::Problem;
use protocol::rest::{BUILD_VERSION_HEADER, SESSION_TOKEN_HEADER};
use protocol::secret::Secret;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, LOCATION};
use reqwest::{Method, Response, StatusCode, Url};
use serde::de::DeserializeOwned;

use super::mistakes;
use super::server::ServerError;
use crate::errors;
use crate::network::Network;
use crate::tls::TlsFailure;
pub(crate) use change::Changed;

/// What `--version` and the User-Agent say.
pub(crate) const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));

/// Longest request, with its connection and its answer.
const REQUEST_LIMIT: Duration = Duration::from_secs(30);
/// Longest wait for a connection: an address that nobody answers should not take the whole of [`REQUEST_LIMIT`].
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Longest answer: a full list of secrets, with descriptions of a size that nobody writes.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;
/// Longest version that a message repeats, in characters.
const MAX_VERSION_CHARS: usize = 64;
/// How Coder's servers call a route that they do not have; a secret that is not there has another text.
const NO_ROUTE: &str = "Route not found";

/// What a segment of an address may not hold as it is.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

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
    fn new(text: String) -> Self {
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

/// A client of one server.
pub(crate) struct Client {
    http: reqwest::Client,
    network: Network,
    /// The server of the sign-in, if it is another one.
    elsewhere: Option<String>,
    version: OnceLock<String>,
}

impl Client {
    /// A client of the server that `network` leads to. `headers` go with every request.
    pub(crate) fn new(network: Network, token: Option<&Secret>, mut headers: HeaderMap) -> Result<Self, ServerError> {
        if let Some(token) = token {
            if let Some(mistake) = mistakes::no_session_token(token) {
                return Err(ServerError::NoSessionToken(mistake));
            }
            let mut token = HeaderValue::from_bytes(token.expose()).map_err(|_| ServerError::Token)?;
            token.set_sensitive(true);
            headers.insert(SESSION_TOKEN_HEADER, token);
        }
        let http = network
            .client()?
            .user_agent(format!("coder-cli/{VERSION}"))
            .default_headers(headers)
            .connect_timeout(CONNECT_LIMIT)
            .timeout(REQUEST_LIMIT)
            .build()
            .map_err(|error| ServerError::Http(error.without_url()))?;
        Ok(Self { http, network, elsewhere: None, version: OnceLock::new() })
    }

    /// Says that the user is signed in to the server at `url`, which is not this one.
    pub(crate) fn signed_in_to(mut self, url: &Url) -> Self {
        self.elsewhere = Some(shown(url));
        self
    }

    /// The server's address as it may be shown: without user name and password.
    pub(crate) fn server(&self) -> String {
        shown(self.network.url())
    }

    /// The version of the server as a message shows it: such as ` (v2.36.0)`, and nothing before its first answer.
    pub(crate) fn shown_version(&self) -> String {
        self.version.get().map(|version| format!(" ({version})")).unwrap_or_default()
    }

    /// GET of the route that `path` names under `/api/v2`.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &[&str]) -> Result<T, ClientError> {
        read(&self.answer(Method::GET, path, None).await?)
    }

    /// Sends a request and gives the body of a success.
    async fn answer(&self, method: Method, path: &[&str], body: Option<Vec<u8>>) -> Result<Vec<u8>, ClientError> {
        let response = self.respond(method, path, body).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = self.body(response).await?;
        self.judge(status, &headers, &body)?;
        Ok(body)
    }

    /// Sends a request and waits for the head of its answer.
    async fn respond(&self, method: Method, path: &[&str], body: Option<Vec<u8>>) -> Result<Response, ClientError> {
        let mut request = self.http.request(method, route(self.network.url(), path));
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        if let Some(version) = response.headers().get(BUILD_VERSION_HEADER).and_then(|version| version.to_str().ok()) {
            self.version.get_or_init(|| version.chars().take(MAX_VERSION_CHARS).collect());
        }
        Ok(response)
    }

    /// Whether this is a success of a Coder server.
    fn judge(&self, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Result<(), ClientError> {
        if status.is_redirection() {
            return Err(self.redirected(headers));
        }
        // A dashboard or a proxy answers anything with a page, successes included.
        let empty_success = status.is_success() && body.is_empty();
        if !is_json(headers) && !empty_success {
            let (server, content) = (self.server(), content_type(headers).to_owned());
            return Err(match status {
                StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => {
                    ClientError::Gateway { server, status, content }
                }
                _ => ClientError::NotCoder { server, proxy: self.proxy(), status, content },
            });
        }
        if status.is_success() { Ok(()) } else { Err(self.refused(status, body)) }
    }

    async fn body(&self, mut response: Response) -> Result<Vec<u8>, ClientError> {
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            if body.len() + chunk.len() > MAX_BODY_BYTES {
                return Err(ClientError::TooLarge { server: self.server() });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn unreachable(&self, error: &reqwest::Error) -> ClientError {
        let server = self.server();
        if error.is_timeout() && !error.is_connect() {
            return ClientError::Timeout { server };
        }
        let proxy = self.proxy();
        if let Some(source) = TlsFailure::find(error).filter(|_| error.is_connect()) {
            return ClientError::Tls { server, proxy, source };
        }
        let (connected, source) = (!error.is_connect(), Cause::new(errors::innermost(error).to_string()));
        ClientError::Unreachable { server, connected, proxy, source }
    }

    fn proxy(&self) -> Option<String> {
        self.network.proxy().map(ToString::to_string)
    }

    fn refused(&self, status: StatusCode, body: &[u8]) -> ClientError {
        let problem = serde_json::from_slice::<Problem>(body).ok().filter(|problem| !problem.message.is_empty());
        let problem = problem.unwrap_or_else(|| Problem::new(format!("the server answered {status}.")));
        if status == StatusCode::NOT_FOUND && problem.message.starts_with(NO_ROUTE) {
            return ClientError::NoRoute { version: self.shown_version() };
        }
        ClientError::Refused { server: self.server(), status, problem, elsewhere: self.elsewhere.clone() }
    }

    fn redirected(&self, headers: &HeaderMap) -> ClientError {
        let location = headers.get(LOCATION).and_then(|location| location.to_str().ok()).unwrap_or_default();
        let location = self.network.url().join(location).map_or_else(|_| "another place".into(), |url| shown(&url));
        ClientError::Redirected { server: self.server(), location }
    }
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(body)
        .map_err(|source| ClientError::Body { operation: "read the answer of the server", source })
}

fn content_type(headers: &HeaderMap) -> &str {
    let value = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("no content type");
    value.split(';').next().unwrap_or(value).trim()
}

fn is_json(headers: &HeaderMap) -> bool {
    content_type(headers).eq_ignore_ascii_case("application/json")
}

/// The address of a route, below the path that the server may have.
///
/// Not by `path_segments_mut`, which drops tabs and line breaks: the secret `a\tb` would be `ab`, another one.
fn route(base: &Url, path: &[&str]) -> Url {
    let mut full = format!("{}/api/v2", base.path().trim_end_matches('/'));
    for segment in path {
        full.push('/');
        full.extend(utf8_percent_encode(segment, RESERVED));
    }
    let mut url = base.clone();
    url.set_path(&full);
    url
}

fn shown(url: &Url) -> String {
    let mut url = url.clone();
    // Both fail only for an address without a host, which has neither.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.set_query(None);
    url.as_str().trim_end_matches('/').to_owned()
}

#[cfg(test)]
mod tests;
