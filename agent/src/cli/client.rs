//! The HTTP client of the commands: one server, one token, bounded in time and size.

mod change;
mod error;

use std::sync::OnceLock;
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use protocol::problem::Problem;
use protocol::rest::BUILD_VERSION_HEADER;
use reqwest::header::{CONTENT_TYPE, HeaderMap, LOCATION};
use reqwest::{Method, Response, StatusCode, Url};
use serde::de::DeserializeOwned;

use crate::errors;
use crate::network::Network;
use crate::tls::TlsFailure;
pub(crate) use change::Changed;
use error::Cause;
pub(crate) use error::{ClientError, SetUpError};

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

/// A client of one server.
pub(crate) struct Client {
    http: reqwest::Client,
    network: Network,
    /// The server of the sign-in, if it is another one.
    elsewhere: Option<String>,
    version: OnceLock<String>,
}

impl Client {
    /// A client of the server that `network` leads to. `headers` go with every request, and one of them is the session token.
    pub(crate) fn new(network: Network, headers: HeaderMap) -> Result<Self, SetUpError> {
        let http = network
            .client()?
            .user_agent(format!("coder-cli/{VERSION}"))
            .default_headers(headers)
            .connect_timeout(CONNECT_LIMIT)
            .timeout(REQUEST_LIMIT)
            .build()
            .map_err(|error| SetUpError::Http(error.without_url()))?;
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
        self.get_with(path, &[]).await
    }

    /// As [`Client::get`], with a query.
    pub(crate) async fn get_with<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, &str)],
    ) -> Result<T, ClientError> {
        read(&self.answer(Method::GET, path, query, None).await?)
    }

    /// Sends a request and gives the body of a success.
    async fn answer(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Result<Vec<u8>, ClientError> {
        let response = self.respond(method, path, query, body).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = self.body(response).await?;
        self.judge(status, &headers, &body)?;
        Ok(body)
    }

    /// Sends a request and waits for the head of its answer.
    async fn respond(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, &str)],
        body: Option<Vec<u8>>,
    ) -> Result<Response, ClientError> {
        let mut url = route(self.network.url(), path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let mut request = self.http.request(method, url);
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
