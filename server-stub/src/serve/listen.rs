//! Accepting connections, and bounds on what one may take.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderValue, Request, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use super::ServeError;
use super::places::{Handle, Place, Places};
use crate::auth::{Admitted, Peer};
use crate::config::TrustedProxies;

/// Longest TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// Longest wait for the head of a request, and so the longest idle connection between two.
const HEAD: Duration = Duration::from_secs(30);
/// Longest head of a request.
const HEAD_BYTES: usize = 32 * 1024;
/// Longest time, in milliseconds, that sent bytes wait to be taken; the kernel ends the connection then.
const UNREAD_MS: u32 = 60_000;
/// Pause after the kernel had no file for a connection; trying at once would only burn the processor.
const OUT_OF_FILES: Duration = Duration::from_millis(100);
/// Connections that may wait to be accepted, where the kernel allows it (`net.core.somaxconn`). The library asks for 128: what of a
/// fleet does not fit is tried again by the kernels of the agents, after one, three and seven seconds.
const QUEUE: i32 = 65_536;
/// At a stop, longest wait for the rest of a head that has begun to arrive.
const HALF_A_HEAD: Duration = Duration::from_secs(1);
/// Longest wait for requests in progress at a stop.
const STOP: Duration = Duration::from_secs(10);

/// A bound socket.
pub(super) struct Listener {
    pub(super) tcp: TcpListener,
    pub(super) tls: Option<watch::Receiver<TlsAcceptor>>,
    pub(super) proxies: TrustedProxies,
    pub(super) max_connections: usize,
}

impl Listener {
    /// Serves until `stop` is cancelled; requests in progress are finished, within bounds.
    pub(super) async fn serve(self, app: Router, stop: CancellationToken) {
        // Where all places are taken, further connections wait in the kernel.
        let places = Places::new(self.max_connections);
        let connections = TaskTracker::new();
        loop {
            let accepted = async {
                let permit = places.free().await;
                (permit, self.tcp.accept().await)
            };
            let (permit, accepted) = tokio::select! {
                accepted = accepted => accepted,
                () = stop.cancelled() => break,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let Some(permit) = permit else { break };
                    let address = Some(peer.ip()).filter(|address| !self.proxies.trusts(*address));
                    let place = places.enter(permit, address);
                    let connection = Connection {
                        peer,
                        app: app.clone(),
                        proxies: self.proxies.clone(),
                        place: place.handle(),
                        stop: stop.clone(),
                    };
                    // A certificate that was reloaded counts from the next connection on.
                    let tls = self.tls.as_ref().map(|tls| tls.borrow().clone());
                    connections.spawn(connection.run(Counted { stream, _place: place }, tls));
                }
                // The client gave up while it waited for us.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    sleep(OUT_OF_FILES).await;
                }
            }
        }
        drop(self.tcp);
        connections.close();
        if timeout(STOP, connections.wait()).await.is_err() {
            tracing::warn!("requests were still in progress at the stop");
        }
    }
}

/// Binds `address`, with room for a fleet that dials at once.
pub(super) async fn bind(address: &str) -> Result<TcpListener, ServeError> {
    let failed = |source| ServeError::Listen { address: address.to_owned(), source };
    let tcp = TcpListener::bind(address).await.map_err(failed)?;
    // Linux takes a second listen(2) as a change of the length.
    rustix::net::listen(&tcp, QUEUE).map_err(|errno| failed(errno.into()))?;
    Ok(tcp)
}

/// The address that a socket got; `wanted` is what was asked for.
pub(super) fn address(tcp: &TcpListener, wanted: &str) -> Result<SocketAddr, ServeError> {
    tcp.local_addr().map_err(|source| ServeError::Listen { address: wanted.to_owned(), source })
}

struct Connection {
    peer: SocketAddr,
    app: Router,
    proxies: TrustedProxies,
    place: Handle,
    stop: CancellationToken,
}

impl Connection {
    async fn run(self, counted: Counted, tls: Option<TlsAcceptor>) {
        // With Nagle's algorithm, small frames in both directions wait for acknowledgements: twenty calls a second.
        drop(counted.stream.set_nodelay(true));
        // A client that takes no answer would otherwise hold its place for ever.
        let _ = rustix::net::sockopt::set_tcp_user_timeout(&counted.stream, UNREAD_MS);
        let (peer, place) = (self.peer, self.place.clone());
        tokio::select! {
            () = self.serve(counted, tls) => {}
            () = place.lost() => tracing::debug!(%peer, "closed a connection that sent no request"),
        }
    }

    async fn serve(self, counted: Counted, tls: Option<TlsAcceptor>) {
        let peer = self.peer;
        match tls {
            None => self.http(counted).await,
            Some(tls) => match timeout(HANDSHAKE, tls.accept(counted)).await {
                Ok(Ok(stream)) => self.http(stream).await,
                Ok(Err(error)) => tracing::debug!(%error, %peer, "TLS handshake"),
                Err(_) => tracing::debug!(%peer, "TLS handshake took too long"),
            },
        }
    }

    async fn http(self, stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static) {
        let Self { peer, app, proxies, place, stop } = self;
        let requests = Arc::new(());
        let in_progress = Arc::clone(&requests);
        let service = hyper::service::service_fn(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            place.heard();
            let client = proxies.client(peer.ip(), request.headers());
            request.extensions_mut().insert(Peer(client));
            let admitted = Admitted::default();
            request.extensions_mut().insert(admitted.clone());
            let (answer, in_progress) = (app.clone().oneshot(request), Arc::clone(&in_progress));
            let place = place.clone();
            async move {
                let mut answer = answer.await;
                drop(in_progress);
                // Who has a token may stay; others make room when places run short.
                if let Ok(answer) = &mut answer
                    && admitted.actor().is_none()
                    && place.is_scarce()
                {
                    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                answer
            }
        });
        let served = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD)
            .max_buf_size(HEAD_BYTES)
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        let mut served = std::pin::pin!(served);
        let ended = tokio::select! {
            ended = &mut served => ended,
            () = stop.cancelled() => {
                served.as_mut().graceful_shutdown();
                tokio::select! {
                    ended = &mut served => ended,
                    // Hyper would wait for it as long as at any other time.
                    () = no_request_within(HALF_A_HEAD, &requests) => return,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!(%error, %peer, "connection");
        }
    }
}

/// Comes back when there is no request at the end of `time`; each holds a handle on `requests`, beside ours and the service's.
async fn no_request_within(time: Duration, requests: &Arc<()>) {
    sleep(time).await;
    if Arc::strong_count(requests) > 2 {
        std::future::pending::<()>().await;
    }
}

/// A connection with its place among the allowed ones. It keeps the place when a WebSocket session takes it over.
struct Counted {
    stream: TcpStream,
    _place: Place,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
