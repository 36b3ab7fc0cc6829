//! A stream to the server: TCP, through the proxy if there is one, with TLS if the server's address says so.

use std::io;
use std::time::Duration;

use reqwest::StatusCode;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::{Network, Proxy};
use crate::names;
use crate::tls::{TlsError, TlsFailure};

/// For the name, and for each of its addresses: where IPv6 leads nowhere the kernel would try for two minutes, and IPv4
/// would never have its turn.
const CONNECT_LIMIT: Duration = Duration::from_secs(4);
const MAX_ADDRESSES: usize = 8;
/// Longest head of a proxy's answer.
const MAX_HEAD: usize = 8 * 1024;
/// `HTTP/1.1 200`.
const STATUS_BYTES: usize = 12;

/// TCP, or TLS over it.
pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// Why there is no stream.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ConnectError {
    #[error("cannot reach {host} port {port}")]
    Unreachable { host: String, port: u16, source: io::Error },
    #[error("cannot reach the proxy {proxy}")]
    ProxyUnreachable { proxy: String, source: io::Error },
    #[error("no secure connection to the proxy {proxy}")]
    ProxyTls { proxy: String, source: TlsFailure },
    #[error("the proxy {proxy} refuses our user name and password, or wants some: it answers {status}")]
    ProxyLogin { proxy: String, status: StatusCode },
    #[error("the proxy {proxy} refuses to connect to {target}: it answers {status}")]
    ProxyRefused { proxy: String, target: String, status: StatusCode },
    #[error("the proxy {proxy} cannot reach {target}: it answers {status}")]
    ProxyFailed { proxy: String, target: String, status: StatusCode },
    #[error("{proxy} does not answer as an HTTP proxy")]
    NoProxy { proxy: String, source: io::Error },
    #[error("no secure connection to the server")]
    Tls(#[source] TlsFailure),
    #[error("no secure connection to the server")]
    Setup(#[from] TlsError),
}

impl Network {
    /// TCP to the proxy, or to the server if there is none.
    pub async fn reach(&self) -> Result<TcpStream, ConnectError> {
        if let Some(proxy) = self.proxy() {
            let unreachable = |source| ConnectError::ProxyUnreachable { proxy: proxy.to_string(), source };
            return tcp(proxy.host(), proxy.port()).await.map_err(unreachable);
        }
        let (host, port) = self.target();
        tcp(host, port).await.map_err(|source| ConnectError::Unreachable { host: host.to_owned(), port, source })
    }

    /// Makes of what [`Network::reach`] gave a stream to the server itself. Unbounded in time.
    pub async fn through(&self, tcp: TcpStream) -> Result<Box<dyn Socket>, ConnectError> {
        let (host, port) = self.target();
        let mut socket: Box<dyn Socket> = Box::new(tcp);
        if let Some(proxy) = self.proxy() {
            let tls = |source| ConnectError::ProxyTls { proxy: proxy.to_string(), source };
            if proxy.is_encrypted() {
                socket = self.encrypt(socket, proxy.host()).await?.map_err(tls)?;
            }
            tunnel(&mut socket, proxy, host, port).await?;
        }
        if self.url().scheme() == "https" {
            socket = self.encrypt(socket, host).await?.map_err(ConnectError::Tls)?;
        }
        Ok(socket)
    }

    /// As the resolver and TLS want it: brackets belong to the URL, not to the address.
    fn target(&self) -> (&str, u16) {
        let host = self.url().host_str().unwrap_or_default().trim_matches(['[', ']']);
        (host, self.url().port_or_known_default().unwrap_or_default())
    }

    async fn encrypt(
        &self,
        socket: Box<dyn Socket>,
        host: &str,
    ) -> Result<Result<Box<dyn Socket>, TlsFailure>, TlsError> {
        let connector = TlsConnector::from(self.tls()?);
        let name = match ServerName::try_from(host.to_owned()) {
            Ok(name) => name,
            Err(error) => return Ok(Err(TlsFailure::of(&error))),
        };
        let encrypted = connector.connect(name, socket).await;
        Ok(encrypted.map(|stream| Box::new(stream) as Box<dyn Socket>).map_err(|error| TlsFailure::of(&error)))
    }
}

async fn tcp(host: &str, port: u16) -> io::Result<TcpStream> {
    let resolved = timeout(CONNECT_LIMIT, names::addresses(host, port)).await;
    let mut failure = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in resolved.map_err(|_| io::ErrorKind::TimedOut)??.into_iter().take(MAX_ADDRESSES) {
        match timeout(CONNECT_LIMIT, TcpStream::connect(address)).await {
            Ok(Ok(tcp)) => {
                // Without it each call waits for a delayed acknowledgement.
                tcp.set_nodelay(true)?;
                return Ok(tcp);
            }
            Ok(Err(error)) => failure = error,
            Err(_) => failure = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(failure)
}

/// Has the proxy connect to `host` itself: only it may know the name.
async fn tunnel(socket: &mut Box<dyn Socket>, proxy: &Proxy, host: &str, port: u16) -> Result<(), ConnectError> {
    let target = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
    if let Some(credentials) = proxy.authorization() {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(credentials.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    let shown = proxy.to_string();
    let answer = async {
        socket.write_all(&request).await?;
        socket.flush().await?;
        read_status(socket).await
    };
    match answer.await {
        Err(source) => Err(ConnectError::NoProxy { proxy: shown, source }),
        Ok(status) if status.is_success() => Ok(()),
        Ok(status) if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED || status == StatusCode::UNAUTHORIZED => {
            Err(ConnectError::ProxyLogin { proxy: shown, status })
        }
        Ok(status) if status.is_server_error() => Err(ConnectError::ProxyFailed { proxy: shown, target, status }),
        Ok(status) => Err(ConnectError::ProxyRefused { proxy: shown, target, status }),
    }
}

async fn read_status(socket: &mut Box<dyn Socket>) -> io::Result<StatusCode> {
    let mut head = Vec::with_capacity(1024);
    // The server says nothing before we do, so nothing of it is read along with the head.
    while !head.ends_with(b"\r\n\r\n") {
        if socket.read_buf(&mut head).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // What is no answer of HTTP may have no end. A refusal has a page after its head, which is not waited for.
        let refused = head.len() >= STATUS_BYTES && !status(&head).is_some_and(|status| status.is_success());
        if refused || head.len() > MAX_HEAD {
            break;
        }
    }
    status(&head).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "its answer is not HTTP"))
}

/// The status in `HTTP/1.1 200 Connection established`.
fn status(head: &[u8]) -> Option<StatusCode> {
    let (version, rest) = head.split_at_checked(9)?;
    (version.starts_with(b"HTTP/1.") && version.ends_with(b" ")).then_some(())?;
    StatusCode::from_bytes(rest.get(..3)?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_a_proxy() {
        assert_eq!(status(b"HTTP/1.0 200 Connection established\r\n\r\n"), Some(StatusCode::OK));
        assert_eq!(status(b"HTTP/1.1 407 \r\n\r\n"), Some(StatusCode::PROXY_AUTHENTICATION_REQUIRED));
        for bad in [&b""[..], b"HTTP/1.1 ", b"HTTP/1.1 2x0 OK", b"HTTP/2.0 200 OK", b"220 mail.example.com ESMTP"] {
            assert_eq!(status(bad), None);
        }
    }
}
