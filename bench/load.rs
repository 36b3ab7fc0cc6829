//! Manifests as often as one process can ask for them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::future;
use protocol::drpc::Client;
use protocol::session::Session;
use tests::fleet;

/// As many as keep two cores busy without measuring a queue.
const AT_ONCE: usize = 32;

/// Which work is done over and over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// A fetch over an open connection.
    Fetch,
    /// A dial, a fetch and the end.
    Connect,
}

/// How many times a second the server at `address` does it.
pub fn rate(address: &str, tokens: &[String], work: Work, span: Duration) -> f64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("make a runtime");
    runtime.block_on(async {
        let done = AtomicUsize::new(0);
        let mut sessions = Vec::new();
        for token in tokens.iter().take(AT_ONCE) {
            sessions.push((token, dial(address, token).await));
        }
        let start = Instant::now();
        let workers = sessions.into_iter().map(|(token, mut session)| {
            let done = &done;
            async move {
                while start.elapsed() < span {
                    fetch(&session).await;
                    done.fetch_add(1, Ordering::Relaxed);
                    if work == Work::Connect {
                        session.close().await;
                        session = dial(address, token).await;
                    }
                }
            }
        });
        future::join_all(workers).await;
        #[expect(clippy::cast_precision_loss, reason = "no decimals are shown")]
        let done = done.load(Ordering::Relaxed) as f64;
        done / start.elapsed().as_secs_f64()
    })
}

/// How long one fetch after the other takes, over `passes` of open connections, one for each token.
pub fn latencies(address: &str, tokens: &[String], passes: usize, between: impl FnOnce()) -> Vec<Duration> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("make a runtime");
    runtime.block_on(async {
        let mut sessions = Vec::new();
        for token in tokens {
            let session = dial(address, token).await;
            fetch(&session).await;
            sessions.push(session);
        }
        between();
        let mut took = Vec::with_capacity(tokens.len() * passes);
        for session in std::iter::repeat_n(&sessions, passes).flatten() {
            let start = Instant::now();
            fetch(session).await;
            took.push(start.elapsed());
        }
        took.sort_unstable();
        took
    })
}

async fn dial(address: &str, token: &str) -> Session {
    fleet::dial(address, token).await.expect("a session")
}

async fn fetch(session: &Session) {
    let manifest = fleet::fetch(&Client::new(session.opener())).await.expect("a manifest");
    assert!(!manifest.secrets.is_empty(), "a manifest without secrets measures nothing");
}
