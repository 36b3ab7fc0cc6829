use std::time::Duration;

use protocol::agent_api::DIALED_VERSION;
use protocol::live::DIAL_PARAMETER;
use protocol::rest::SESSION_TOKEN_HEADER;
use protocol::session::Transport;
use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderValue};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;

use super::answer;
use super::failure::DialError;
use super::websocket::{self, WebSocket};
use crate::config::TokenSource;
use crate::network::{ConnectError, Network};

/// The proxy, TLS and the WebSocket handshake together; the server may look up the agent in a slow database.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(30);

/// Why the connection is made; the server monitors the first kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The workspace's agent: the server shows it as connected.
    Agent,
    /// Somebody who only wants to know.
    Observer,
}

/// Where the control plane is and who calls.
pub struct Endpoint {
    network: Network,
    token: TokenSource,
    role: Role,
}

impl Endpoint {
    /// The server that `network` leads to, called with what `token` holds at each dial.
    #[must_use]
    pub fn new(network: Network, token: TokenSource, role: Role) -> Self {
        Self { network, token, role }
    }

    pub(super) fn network(&self) -> &Network {
        &self.network
    }

    /// For messages.
    pub(super) fn url(&self) -> &Url {
        self.network.url()
    }

    /// The address of an API route.
    pub(super) fn route(&self, path: &str) -> String {
        format!("{}{path}", self.url().as_str().trim_end_matches('/'))
    }

    /// One attempt.
    pub(super) async fn dial(&self) -> Result<impl Transport + use<>, DialError> {
        let headers = self.headers().await?;
        let tcp = self.network.reach().await?;
        match timeout(HANDSHAKE_LIMIT, self.handshake(tcp, headers)).await {
            Ok(done) => done,
            Err(_) => Err(DialError::Silent(HANDSHAKE_LIMIT)),
        }
    }

    async fn handshake(&self, tcp: TcpStream, headers: HeaderMap) -> Result<impl Transport + use<>, DialError> {
        let socket = self.network.through(tcp).await?;
        let request = self.request(headers)?;
        let (stream, _) = client_async_with_config(request, socket, Some(websocket::limits()))
            .await
            .map_err(|error| answer::explain(error, self.url()))?;
        Ok(WebSocket(stream))
    }

    fn request(&self, headers: HeaderMap) -> Result<Request, DialError> {
        // Coder's servers skip a parameter that they do not know.
        let (role, live) = match self.role {
            Role::Agent => ("agent", format!("&{DIAL_PARAMETER}=1")),
            Role::Observer => ("observer", String::new()),
        };
        let path = format!("/api/v2/workspaceagents/me/rpc?role={role}&version={DIALED_VERSION}{live}");
        let address = self.route(&path).replacen("http", "ws", 1);
        let request = address.into_client_request();
        let mut request = request.map_err(|error| answer::explain(error, self.url()))?;
        request.headers_mut().extend(headers);
        Ok(request)
    }

    /// The user's extra headers, and the current token, which is read again if it is in a file.
    pub(super) async fn headers(&self) -> Result<HeaderMap, crate::network::HeaderError> {
        let mut headers = self.network.headers().await?;
        headers.insert(SESSION_TOKEN_HEADER, self.token_header().await);
        Ok(headers)
    }

    async fn token_header(&self) -> HeaderValue {
        let token = self.token.current().await;
        // A token that is no header value was refused when it was read.
        let mut value = HeaderValue::from_bytes(token.expose()).unwrap_or(HeaderValue::from_static(""));
        value.set_sensitive(true);
        value
    }
}

impl From<ConnectError> for DialError {
    fn from(error: ConnectError) -> Self {
        Self::Connect(error)
    }
}
