//! Many agents in one process: each dials, fetches, reports and stays connected as a real one does, and does nothing else.

mod dial;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use backoff::SystemClock;
use backoff::backoff::Backoff as _;
use backoff::exponential::{ExponentialBackoff, ExponentialBackoffBuilder};
use protocol::agent_api::lifecycle::State;
use protocol::agent_api::{
    GetManifestRequest, Lifecycle, Manifest, Startup, UpdateLifecycleRequest, UpdateStartupRequest, path,
};
use protocol::drpc::{CallError, Client};
use protocol::session::Session;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio_util::sync::CancellationToken;

pub use dial::dial;

use crate::wait::poll;

/// A session that lasted this long was a good one, after which the pauses between dials start anew; as in the agent.
const GOOD_SESSION: Duration = Duration::from_secs(10);

/// Agents that are connected, or on their way to be.
pub struct Fleet {
    shared: Arc<Shared>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    address: String,
    secrets: usize,
    agents: usize,
    connected: AtomicUsize,
    wave: Mutex<Wave>,
}

/// What happened since the fleet was started, or since [`Fleet::next_wave`].
#[derive(Debug)]
pub struct Wave {
    start: Instant,
    /// When each agent had what it came for, in order. The first time that is its manifest and the server's acknowledgement that it
    /// is ready, later the manifest.
    pub served: Vec<Duration>,
    /// When each dial was begun, in order.
    pub dials: Vec<Duration>,
    /// How often each agent has dialled.
    pub attempts: Vec<u32>,
    /// Dials that failed and sessions that broke, in the words of each.
    pub failures: Vec<String>,
}

impl Wave {
    fn new(agents: usize) -> Self {
        let attempts = vec![0; agents];
        Self { start: Instant::now(), served: Vec::new(), dials: Vec::new(), attempts, failures: Vec::new() }
    }

    /// The time within which this part of the agents, at most 1.0, was served.
    pub fn percentile(&self, part: f64) -> Duration {
        #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "few")]
        let rank = (self.served.len() as f64 * part).ceil() as usize;
        self.served[rank.clamp(1, self.served.len()) - 1]
    }

    /// Each way in which something failed.
    pub fn kinds(&self) -> BTreeSet<&str> {
        self.failures.iter().map(String::as_str).collect()
    }

    /// Takes this time to have begun at its moment `start` instead; what was before does not count.
    #[must_use]
    pub fn since(mut self, start: Duration) -> Self {
        let later = |times: Vec<Duration>| times.into_iter().filter_map(|at| at.checked_sub(start)).collect();
        (self.served, self.dials) = (later(self.served), later(self.dials));
        self
    }

    /// Most dials that were begun within one second.
    pub fn most_dials_a_second(&self) -> usize {
        let within = |from: &Duration| {
            let first = self.dials.partition_point(|at| at < from);
            self.dials.partition_point(|at| *at < *from + Duration::from_secs(1)) - first
        };
        self.dials.iter().map(within).max().unwrap_or(0)
    }
}

impl Fleet {
    /// Starts one agent for each token, all at once; each expects this many secrets.
    pub fn start(address: &str, tokens: Vec<String>, secrets: usize) -> Self {
        allow_files(tokens.len());
        let agents = tokens.len();
        let wave = Mutex::new(Wave::new(agents));
        let shared =
            Arc::new(Shared { address: address.to_owned(), secrets, agents, connected: AtomicUsize::new(0), wave });
        let stop = CancellationToken::new();
        let thread = std::thread::spawn({
            let (shared, stop) = (shared.clone(), stop.clone());
            move || run(&shared, tokens, &stop)
        });
        Self { shared, stop, thread: Some(thread) }
    }

    /// Begins to count anew: everything from now on belongs to the next wave.
    pub fn next_wave(&self) {
        *self.shared.wave() = Wave::new(self.shared.agents);
    }

    /// How many agents have what they came for and a session that stands.
    pub fn connected(&self) -> usize {
        self.shared.connected.load(Ordering::SeqCst)
    }

    /// Waits until each agent was served in this wave, and takes what happened.
    #[track_caller]
    pub fn served(&self, limit: Duration) -> Wave {
        let all = self.shared.agents;
        let served = poll(limit, || {
            let mut wave = self.shared.wave();
            (wave.served.len() >= all).then(|| std::mem::replace(&mut *wave, Wave::new(all)))
        });
        served.unwrap_or_else(|| {
            let wave = self.shared.wave();
            panic!("{} of {all} agents served within {limit:?}; failures: {:?}", wave.served.len(), wave.kinds())
        })
    }

    /// How many agents were served in this wave so far.
    pub fn served_so_far(&self) -> usize {
        self.shared.wave().served.len()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take() {
            // Its panic has been printed.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn wave(&self) -> MutexGuard<'_, Wave> {
        self.wave.lock().expect("no panic with the figures")
    }

    fn dials(&self, agent: usize) {
        let mut wave = self.wave();
        let at = wave.start.elapsed();
        wave.dials.push(at);
        wave.attempts[agent] += 1;
    }

    fn serves(&self) {
        let mut wave = self.wave();
        let at = wave.start.elapsed();
        wave.served.push(at);
    }

    fn fails(&self, why: String) {
        self.wave().failures.push(why);
    }
}

/// Each connection is a file, and the usual soft limit is 1024.
fn allow_files(agents: usize) {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    setrlimit(Resource::Nofile, raised).expect("raise the limit of open files");
    let needed = agents as u64 + 100;
    assert!(limit.maximum.is_none_or(|most| most >= needed), "{agents} agents need `ulimit -Hn {needed}`");
}

fn run(shared: &Arc<Shared>, tokens: Vec<String>, stop: &CancellationToken) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("make a runtime");
    runtime.block_on(async {
        for (agent, token) in tokens.into_iter().enumerate() {
            tokio::spawn(live(shared.clone(), agent, token));
        }
        stop.cancelled().await;
    });
}

/// The agent's own loop: dial, serve, pause.
async fn live(shared: Arc<Shared>, agent: usize, token: String) {
    let (mut pauses, mut booted) = (pauses(), false);
    loop {
        shared.dials(agent);
        let failure = match dial(&shared.address, &token).await {
            Ok(session) => {
                let start = Instant::now();
                let failure = serve(&shared, session, &mut booted).await;
                if start.elapsed() > GOOD_SESSION {
                    pauses.reset();
                }
                failure
            }
            Err(failure) => failure,
        };
        shared.fails(failure);
        tokio::time::sleep(pauses.next_backoff().expect("pauses without end")).await;
    }
}

/// The agent's own pauses, by the same crate with the same numbers (`agent/src/control/retry.rs`, which cannot be depended on).
fn pauses() -> ExponentialBackoff<SystemClock> {
    const JITTER: f64 = 0.5;
    ExponentialBackoffBuilder::new()
        .with_initial_interval(Duration::from_millis(100))
        .with_max_interval(Duration::from_secs(10).div_f64(1.0 + JITTER))
        .with_randomization_factor(JITTER)
        .with_multiplier(1.6)
        .with_max_elapsed_time(None)
        .build()
}

/// One session until it breaks, and why it did.
async fn serve(shared: &Shared, mut session: Session, booted: &mut bool) -> String {
    let client = Client::new(session.opener());
    let called = async {
        let manifest = fetch(&client).await.map_err(|error| error.to_string())?;
        if manifest.secrets.len() != shared.secrets {
            return Err(format!("a manifest of {} secrets", manifest.secrets.len()));
        }
        if !*booted {
            report(&client).await.map_err(|error| error.to_string())?;
            *booted = true;
        }
        Ok(())
    };
    if let Err(failure) = called.await {
        return failure;
    }
    shared.serves();
    shared.connected.fetch_add(1, Ordering::SeqCst);
    while session.accept().await.is_some() {}
    shared.connected.fetch_sub(1, Ordering::SeqCst);
    "the session ended".to_owned()
}

/// The manifest.
pub async fn fetch(client: &Client) -> Result<Manifest, CallError> {
    client.call(path::GET_MANIFEST, &GetManifestRequest {}).await
}

/// What an agent without scripts tells of its boot.
async fn report(client: &Client) -> Result<(), CallError> {
    let startup =
        Startup { version: "v0.0.0-load".into(), expanded_directory: "/home/dev".into(), ..Startup::default() };
    let _: Startup = client.call(path::UPDATE_STARTUP, &UpdateStartupRequest { startup: Some(startup) }).await?;
    for state in [State::Starting, State::Ready] {
        let lifecycle = Some(Lifecycle { state: state.into(), changed_at: None });
        let _: Lifecycle = client.call(path::UPDATE_LIFECYCLE, &UpdateLifecycleRequest { lifecycle }).await?;
    }
    Ok(())
}
