//! The server on real sockets, with clients that do not play along.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;

use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;

use super::super::tls::Identity;
use super::super::{ServeError, Server};
use crate::config::{ServeArgs, ServeConfig, TlsFiles};
use crate::store::{DataDir, KeySource, Store};

/// Longer than anything here takes.
const SOON: Duration = Duration::from_secs(20);

struct Running {
    dir: TempDir,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), ServeError>>,
    store: Store,
}

fn config() -> ServeConfig {
    let args = ServeArgs { listen: Some("127.0.0.1:0".into()), ..ServeArgs::default() };
    args.resolve(&|_| None).unwrap()
}

async fn bind(dir: &TempDir, config: ServeConfig) -> Result<Server, ServeError> {
    let data_dir = DataDir::open(dir.path()).unwrap();
    Server::bind(config, &data_dir, None, KeySource::File(data_dir.key_file())).await
}

async fn start(change: impl FnOnce(&TempDir, &mut ServeConfig)) -> Running {
    let dir = tempfile::tempdir().unwrap();
    // Closes the directory, before there is anything in it.
    DataDir::open(dir.path()).unwrap();
    let mut config = config();
    change(&dir, &mut config);
    let server = bind(&dir, config).await.unwrap();
    let address = server.url().split("//").nth(1).unwrap().parse().unwrap();
    let store = server.state().store.clone();
    let (stop, stopped) = oneshot::channel();
    let ended = tokio::spawn(server.run(async {
        drop(stopped.await);
    }));
    Running { dir, address, stop, ended, store }
}

impl Running {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn stop(self) {
        drop(self.stop);
        timeout(SOON, self.ended).await.unwrap().unwrap().unwrap();
    }
}

async fn ask(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> String {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    answer(stream).await
}

/// The head of an answer and what came with it.
async fn answer(stream: &mut (impl AsyncRead + Unpin)) -> String {
    let mut text = Vec::new();
    while !text.windows(4).any(|window| window == b"\r\n\r\n") {
        if timeout(SOON, stream.read_buf(&mut text)).await.unwrap().unwrap() == 0 {
            break;
        }
    }
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn a_stop_finishes_the_request_in_progress_and_closes_idle_connections() {
    let server = start(|_, _| {}).await;
    let (mut idle, mut busy) = (server.connect().await, server.connect().await);
    assert!(ask(&mut idle).await.starts_with("HTTP/1.1 200"));
    // A request that has begun: its head is there, its body is not.
    busy.write_all(b"POST /api/v2/users/logout HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n").await.unwrap();
    let address = server.address;
    drop(server.stop);
    let mut end = Vec::new();
    timeout(SOON, idle.read_to_end(&mut end)).await.unwrap().unwrap();
    drop(busy.write_all(b"\r\n{}").await);
    timeout(SOON, server.ended).await.unwrap().unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
    drop(server.dir);
}

#[tokio::test]
async fn a_connection_over_the_limit_waits_for_a_place() {
    let server = start(|_, config| config.max_connections = Some(2)).await;
    let (mut one, mut two, mut three) = (server.connect().await, server.connect().await, server.connect().await);
    assert!(ask(&mut one).await.starts_with("HTTP/1.1 200"));
    assert!(ask(&mut two).await.starts_with("HTTP/1.1 200"));
    three.write_all(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    assert!(timeout(Duration::from_millis(100), three.readable()).await.is_err());
    drop(one);
    assert!(answer(&mut three).await.starts_with("HTTP/1.1 200"));
    server.stop().await;
}

#[tokio::test]
async fn a_server_that_cannot_write_any_more_ends_with_an_error() {
    let server = start(|_, _| {}).await;
    server.store.close().await;
    let ended = timeout(SOON, server.ended).await.unwrap().unwrap();
    assert!(matches!(ended, Err(ServeError::StoreEnded)));
    drop((server.dir, server.stop));
}

#[tokio::test]
async fn nonsense_and_endless_heads_end_their_connection_only() {
    let server = start(|_, _| {}).await;
    let mut nonsense = server.connect().await;
    nonsense.write_all(b"\x16\x03\x01 hello\r\n\r\n").await.unwrap();
    assert!(answer(&mut nonsense).await.starts_with("HTTP/1.1 400"));
    let mut endless = server.connect().await;
    let header = format!("X: {}\r\n", "x".repeat(1000));
    endless.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    // The server may close while we still write.
    drop(endless.write_all(header.repeat(64).as_bytes()).await);
    let mut end = Vec::new();
    drop(timeout(SOON, endless.read_to_end(&mut end)).await.unwrap());
    assert!(end.is_empty() || end.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&end));
    assert!(ask(&mut server.connect().await).await.starts_with("HTTP/1.1 200"));
    server.stop().await;
}

#[tokio::test]
async fn it_is_known_when_the_certificate_expires() {
    let dir = tempfile::tempdir().unwrap();
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let files = TlsFiles { cert: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
    std::fs::write(&files.cert, cert.pem()).unwrap();
    std::fs::write(&files.key, signing_key.serialize_pem()).unwrap();
    std::fs::set_permissions(&files.key, std::fs::Permissions::from_mode(0o600)).unwrap();
    let identity = Identity::read(files).unwrap();
    // The first of January 4096, which is what rcgen writes if nobody says otherwise.
    assert_eq!(identity.expires().unwrap().as_secs(), 67_090_118_400);
}

#[tokio::test]
async fn tls_is_served_with_the_given_certificate_and_nothing_else() {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let server = start(|dir, config| {
        let files = TlsFiles { cert: dir.path().join("cert.pem"), key: dir.path().join("key.pem") };
        std::fs::write(&files.cert, cert.pem()).unwrap();
        std::fs::write(&files.key, signing_key.serialize_pem()).unwrap();
        std::fs::set_permissions(&files.key, std::fs::Permissions::from_mode(0o600)).unwrap();
        config.tls = Some(files);
    })
    .await;
    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let client = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    let mut stream = connector.connect(name, server.connect().await).await.unwrap();
    assert!(ask(&mut stream).await.starts_with("HTTP/1.1 200"));
    let mut plain = server.connect().await;
    plain.write_all(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
    let mut end = Vec::new();
    drop(timeout(SOON, plain.read_to_end(&mut end)).await.unwrap());
    assert!(!end.starts_with(b"HTTP"));
    drop(stream);
    server.stop().await;
}

#[tokio::test]
async fn what_prevents_a_start_is_named() {
    let server = start(|_, _| {}).await;
    let error = bind(&server.dir, config()).await.err().unwrap().to_string();
    assert!(error.contains(&format!("process {}", std::process::id())), "{error}");

    let dir = tempfile::tempdir().unwrap();
    let taken = ServeConfig { listen: server.address.to_string(), ..config() };
    let error = bind(&dir, taken).await.err().unwrap();
    assert_eq!(error.to_string(), format!("cannot listen on {}", server.address));
    assert!(source_of(&error).to_lowercase().contains("in use"), "{error}");

    let missing = TlsFiles { cert: dir.path().join("no-cert"), key: dir.path().join("no-key") };
    let error = bind(&dir, ServeConfig { tls: Some(missing), ..config() }).await.err().unwrap().to_string();
    assert!(error.starts_with("cannot read TLS certificate") && error.ends_with("no-cert"), "{error}");
    // Nothing of these starts is left in the way.
    bind(&dir, config()).await.unwrap();
    server.stop().await;
}

fn source_of(error: &ServeError) -> String {
    std::error::Error::source(error).map(ToString::to_string).unwrap_or_default()
}
