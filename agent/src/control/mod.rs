//! The connection to the control plane: made and made again for ever, it fetches manifests and sends reports.
#![forbid(unsafe_code)]

mod advice;
mod answer;
mod deliver;
mod dial;
mod failure;
mod follow;
mod git_key;
mod redirect;
mod rest;
mod retry;
mod trouble;
pub mod websocket;
mod words;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use protocol::agent_api::{GetManifestRequest, Manifest, path};
use protocol::drpc::Client;
use protocol::session::{self, Options, Session, Transport};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::report::Reporter;
pub use dial::{Endpoint, Role};
pub use failure::{DialError, Failure};
pub use follow::{Following, Updates};
use follow::{State, Word};
pub use redirect::Redirect;
use rest::Rest;
pub use rest::RestError;
use retry::Retry;
use trouble::Trouble;

/// A session that lasted this long was a good one. A shorter one, closed by the server as soon as it was made, must not
/// start the pauses anew, or such a server would be dialled ten times a second.
const GOOD_SESSION: Duration = Duration::from_secs(10);

/// The connection, as a task.
pub struct Control {
    endpoint: Arc<Endpoint>,
    reporter: Reporter,
    manifests: mpsc::Sender<Fetched>,
    refetch: mpsc::Receiver<()>,
    requests: Arc<AtomicU64>,
    state: watch::Sender<Connection>,
    stop: CancellationToken,
    following: Following,
    updates: watch::Sender<Updates>,
    /// What the last manifest that was handed over is; nothing, until there was one.
    held: Option<State>,
}

/// The rest of the agent's end of the connection.
#[derive(Debug)]
pub struct Link {
    /// The first manifest, and another after each change and each refetch. The next is fetched when this one was taken.
    pub manifests: mpsc::Receiver<Fetched>,
    /// How the connection is.
    pub state: watch::Receiver<Connection>,
    /// How changes reach the agent.
    pub updates: watch::Receiver<Updates>,
    /// What the connection is asked to do.
    pub handle: Handle,
}

/// A manifest as it came.
#[derive(Debug)]
pub struct Fetched {
    /// What the server answered.
    pub manifest: Manifest,
    /// The last [`Handle::refetch`] that was made before it was asked for; 0 where there was none.
    pub request: u64,
}

/// Asks the connection to do something.
#[derive(Clone, Debug)]
pub struct Handle {
    refetch: mpsc::Sender<()>,
    requests: Arc<AtomicU64>,
    stop: CancellationToken,
}

/// How the connection is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connection {
    /// Not made yet.
    Dialing,
    /// The server has answered over it.
    Connected,
    /// It failed for this reason, and is tried again.
    Failed(String),
}

impl Handle {
    /// Asks for the manifest again. Without a connection the next one brings it anyway. The manifest that answers has this
    /// number, or a higher one.
    #[expect(clippy::must_use_candidate, reason = "most who ask do not wait for the answer")]
    pub fn refetch(&self) -> u64 {
        let number = self.requests.fetch_add(1, Ordering::SeqCst) + 1;
        // A request that waits already asks for the same.
        let _ = self.refetch.try_send(());
        number
    }

    /// Lets the connection end as it should.
    pub fn close(&self) {
        self.stop.cancel();
    }
}

impl Control {
    /// A connection to `endpoint` that empties `reporter` and follows changes as `following` says.
    #[must_use]
    pub fn new(endpoint: impl Into<Arc<Endpoint>>, reporter: Reporter, following: Following) -> (Self, Link) {
        let endpoint = endpoint.into();
        // One of each: the agent works on one manifest at a time, and two requests for the next ask for the same.
        let (manifests, taken) = mpsc::channel(1);
        let (request, refetch) = mpsc::channel(1);
        let (state, observed) = watch::channel(Connection::Dialing);
        let (updates, followed) = watch::channel(Updates::Unknown);
        let stop = CancellationToken::new();
        let requests = Arc::new(AtomicU64::new(0));
        let handle = Handle { refetch: request, requests: requests.clone(), stop: stop.clone() };
        let link = Link { manifests: taken, state: observed, updates: followed, handle };
        let held = None;
        (Self { endpoint, reporter, manifests, refetch, requests, state, stop, following, updates, held }, link)
    }

    /// Keeps the connection until [`Handle::close`].
    pub async fn run(mut self) {
        let stop = self.stop.clone();
        let mut retry = Retry::new();
        let mut trouble = Trouble::default();
        while !stop.is_cancelled() {
            let failure = match stop.run_until_cancelled(self.endpoint.dial()).await {
                None => return,
                Some(Ok(transport)) => {
                    let started = Instant::now();
                    let Some(failure) = self.serve(transport, &mut trouble).await else { return };
                    if started.elapsed() > GOOD_SESSION {
                        retry.reset();
                    }
                    failure
                }
                Some(Err(error)) => error.into(),
            };
            let pause = retry.pause();
            follow::lost(&self.updates, &self.state, trouble.failed(&failure, pause));
            stop.run_until_cancelled(sleep(pause)).await;
        }
    }

    /// One session, until it breaks for the reason returned, or is ended by us.
    async fn serve(&mut self, transport: impl Transport, trouble: &mut Trouble) -> Option<Failure> {
        let mut session = Session::start(transport, session::Role::Agent, Options::new(session::Role::Agent));
        let client = Client::new(session.opener());
        let endpoint = self.endpoint.clone();
        let rest = Rest::new(&endpoint);
        // What was asked for while there was no connection comes with this one.
        while self.refetch.try_recv().is_ok() {}
        let (state, stop, reporter) = (self.state.clone(), self.stop.clone(), self.reporter.clone());
        let connected = || {
            if state.send_if_modified(|state| std::mem::replace(state, Connection::Connected) != Connection::Connected)
            {
                trouble.over(endpoint.url().as_str());
            }
        };
        let words = watch::Sender::new(Word::None);
        let failure = tokio::select! {
            () = stop.cancelled() => None,
            failure = follow::listen(&client, self.held, &words) => Some(failure),
            failure = self.follow(&client, words.subscribe(), connected) => Some(failure),
            error = deliver::deliver(&reporter, &client, &rest, words.subscribe()) => Some(Failure::Report(error)),
            () = refuse_streams(&mut session) => Some(Failure::Ended),
        };
        session.close().await;
        failure
    }
}

/// A server has no calls to make to an agent. Resolves when the session has ended.
async fn refuse_streams(session: &mut Session) {
    while session.accept().await.is_some() {}
}

/// Fetches one manifest and leaves, without the server taking note of an agent.
pub async fn fetch_once(endpoint: &Endpoint) -> Result<Manifest, Failure> {
    let transport = endpoint.dial().await.map_err(Failure::Dial)?;
    let session = Session::start(transport, session::Role::Agent, Options::new(session::Role::Agent));
    let client = Client::new(session.opener());
    let manifest = client.call(path::GET_MANIFEST, &GetManifestRequest {}).await.map_err(Failure::Manifest)?;
    session.close().await;
    Ok(manifest)
}

#[cfg(test)]
mod tests;
