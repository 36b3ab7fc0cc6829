use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use protocol::agent_api::DIALED_VERSION;
use protocol::rest::SESSION_TOKEN_HEADER;
use protocol::session::Transport;
use reqwest::Url;
use reqwest::header::HeaderValue;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::client_async_with_config;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;

use super::failure::DialError;
use super::websocket::{self, WebSocket};
use crate::config::TokenSource;
use crate::{names, tls};

/// For the name, and for each of its addresses: where IPv6 leads nowhere the kernel would try for two minutes, and IPv4
/// would never have its turn.
const CONNECT_LIMIT: Duration = Duration::from_secs(4);
const MAX_ADDRESSES: usize = 8;
/// TLS and the WebSocket handshake together; the server may look up the agent in a slow database.
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
    url: Url,
    token: Mutex<TokenSource>,
    tls: Mutex<Option<Arc<ClientConfig>>>,
    role: Role,
}

/// TCP or TLS over it.
trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

impl Endpoint {
    /// The server at `url`, called with what `token` holds at each dial.
    #[must_use]
    pub fn new(url: Url, token: TokenSource, role: Role) -> Self {
        Self { url, token: Mutex::new(token), tls: Mutex::new(None), role }
    }

    /// For messages.
    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// The address of an API route.
    pub(super) fn route(&self, path: &str) -> String {
        format!("{}{path}", self.url.as_str().trim_end_matches('/'))
    }

    /// One attempt.
    pub(super) async fn dial(&self) -> Result<impl Transport + use<>, DialError> {
        let tcp = self.connect().await?;
        timeout(HANDSHAKE_LIMIT, self.handshake(tcp)).await.map_err(|_| DialError::Silent(HANDSHAKE_LIMIT))?
    }

    async fn connect(&self) -> Result<TcpStream, DialError> {
        let (host, port) = (self.host(), self.url.port_or_known_default().unwrap_or_default());
        let unreachable = |source| DialError::Unreachable { host: host.to_owned(), port, source };
        let resolved = timeout(CONNECT_LIMIT, names::addresses(host, port)).await;
        let resolved = resolved.map_err(|_| unreachable(io::ErrorKind::TimedOut.into()))?.map_err(unreachable)?;
        let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in resolved.into_iter().take(MAX_ADDRESSES) {
            match timeout(CONNECT_LIMIT, TcpStream::connect(address)).await {
                Ok(Ok(tcp)) => {
                    // Without it each call waits for a delayed acknowledgement (trap 15).
                    tcp.set_nodelay(true).map_err(unreachable)?;
                    return Ok(tcp);
                }
                Ok(Err(error)) => failure = error,
                Err(_) => failure = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(unreachable(failure))
    }

    /// As the resolver and TLS want it: brackets belong to the URL, not to the address.
    fn host(&self) -> &str {
        self.url.host_str().unwrap_or_default().trim_matches(['[', ']'])
    }

    async fn handshake(&self, tcp: TcpStream) -> Result<impl Transport + use<>, DialError> {
        let socket: Box<dyn Socket> = if self.url.scheme() == "https" {
            let name = ServerName::try_from(self.host().to_owned())
                .map_err(|error| DialError::Tls(io::Error::other(error)))?;
            let connector = TlsConnector::from(self.tls()?);
            Box::new(connector.connect(name, tcp).await.map_err(DialError::Tls)?)
        } else {
            Box::new(tcp)
        };
        let request = self.request()?;
        let (stream, _) = client_async_with_config(request, socket, Some(websocket::limits()))
            .await
            .map_err(DialError::from_handshake)?;
        Ok(WebSocket(stream))
    }

    fn request(&self) -> Result<Request, DialError> {
        let role = if self.role == Role::Agent { "agent" } else { "observer" };
        let path = format!("/api/v2/workspaceagents/me/rpc?role={role}&version={DIALED_VERSION}");
        let address = self.route(&path).replacen("http", "ws", 1);
        let mut request = address.into_client_request().map_err(DialError::from_handshake)?;
        request.headers_mut().insert(SESSION_TOKEN_HEADER, self.token_header());
        Ok(request)
    }

    /// The current token, read again where it is in a file.
    pub(super) fn token_header(&self) -> HeaderValue {
        let mut source = self.token.lock().unwrap_or_else(PoisonError::into_inner);
        // A token that is no header value was refused when it was read.
        let mut value = HeaderValue::from_bytes(source.current().expose()).unwrap_or(HeaderValue::from_static(""));
        value.set_sensitive(true);
        value
    }

    /// Made for the first https dial, because reading the system's roots takes time and memory.
    pub(super) fn tls(&self) -> Result<Arc<ClientConfig>, DialError> {
        let mut slot = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = &*slot {
            return Ok(config.clone());
        }
        let config = tls::client_config(self.url.scheme()).map_err(|error| DialError::Tls(io::Error::other(error)))?;
        Ok(slot.insert(Arc::new(config)).clone())
    }
}
