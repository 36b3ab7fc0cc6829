//! What the tests share: transports in memory, a service, yamux frames by hand.

pub mod calls;
pub mod frames;
pub mod go;
pub mod transport;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use prost::Message as _;
use protocol::drpc::{Call, Client, Service, Status, serve};
use protocol::session::{Options, Role, Session};
use tokio::task::JoinHandle;

pub use transport::{Cut, Pipe, pipe};

/// Waits with a bound, so that what hangs fails.
pub async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(15), what).await.expect("took too long")
}

/// Waits until `condition` holds.
pub async fn until(mut condition: impl FnMut() -> bool) {
    soon(async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// A message of any size.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Blob {
    #[prost(bytes = "vec", tag = "1")]
    pub data: Vec<u8>,
}

impl Blob {
    pub fn of(text: &str) -> Self {
        Self { data: text.as_bytes().to_vec() }
    }

    /// A message whose encoded length is exactly `length`.
    pub fn encoded_as(length: usize) -> Self {
        let header = (2..=6)
            .find(|header| Self { data: vec![0; length - header] }.encoded_len() == length)
            .expect("no such length");
        Self { data: (0..length - header).map(|i| i.to_le_bytes()[0]).collect() }
    }
}

/// How large a reply `/t/Sized` is to send.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Size {
    #[prost(uint64, tag = "1")]
    pub encoded: u64,
}

#[derive(Default)]
pub struct TestService {
    /// Calls of `/t/Silent` that run.
    pub silent: Arc<AtomicUsize>,
}

struct Running(Arc<AtomicUsize>);

impl Running {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Service for TestService {
    async fn handle(&self, path: &str, call: &mut Call) -> Result<(), Status> {
        match path {
            "/t/Echo" => {
                let blob: Blob = call.request().await?;
                call.answer(&blob)
            }
            "/t/Doubt" => {
                call.answer(&Blob::of("yes"))?;
                Err(Status::new("no, after all"))
            }
            "/t/Fail" => Err(Status::new("boom")),
            "/t/Sized" => {
                let size: Size = call.request().await?;
                call.reply(&Blob::encoded_as(usize::try_from(size.encoded).unwrap())).await
            }
            "/t/Silent" => {
                let _running = Running::new(&self.silent);
                std::future::pending().await
            }
            "/t/Chat" => {
                while let Some(blob) = call.next::<Blob>().await? {
                    call.reply(&blob).await?;
                }
                Ok(())
            }
            "/t/Panic" => panic!("a handler with a bug"),
            _ => Err(Status::unimplemented()),
        }
    }
}

/// Serves the test service on one end of a pipe.
pub fn serve_on(end: Pipe) -> (Arc<TestService>, JoinHandle<()>) {
    let service = Arc::new(TestService::default());
    let session = Session::start(end, Role::Server, Options::new(Role::Server));
    (service.clone(), tokio::spawn(serve(session, service)))
}

/// A client on one end of a pipe.
pub fn client_on(end: Pipe) -> (Session, Client) {
    let session = Session::start(end, Role::Agent, Options::new(Role::Agent));
    let client = Client::new(session.opener());
    (session, client)
}

/// A Go agent at our server.
pub fn go_agent() -> (go::Go, Arc<TestService>) {
    let (ours, theirs) = pipe();
    let (service, _) = serve_on(ours);
    (go::Go::start(theirs, true), service)
}

/// Our agent at a Go server that answers.
pub fn go_server() -> (go::Go, Session, Client) {
    let (ours, theirs) = pipe();
    let (session, client) = client_on(ours);
    let go = go::Go::start(theirs, false);
    let accepting = go.clone();
    tokio::spawn(async move {
        while let Some(stream) = accepting.accept().await {
            tokio::spawn(calls::answer(stream));
        }
    });
    (go, session, client)
}

/// So many calls at once.
pub async fn echo_at_once(client: &Client, count: usize) {
    let calls: Vec<_> = (0..count)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move { echo(&client, &Blob::of("y")).await })
        })
        .collect();
    for call in calls {
        soon(call).await.unwrap();
    }
}

pub async fn echo(client: &Client, blob: &Blob) {
    let answer: Blob = soon(client.call("/t/Echo", blob)).await.unwrap();
    assert!(answer == *blob, "another message came back");
}
