//! When the manifest is fetched: at the start, when the server says that it has changed, when somebody asks, and every few minutes if the
//! server cannot say so.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use protocol::agent_api::{GetManifestRequest, path};
use protocol::drpc::{CallError, Client};
use protocol::live::{Generation, WATCH, WatchRequest, WatchResponse};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tracing::{debug, info};

use super::{Connection, Control, Failure, Fetched};

/// The server repeats the number every minute; a stream on which none comes is dead, whatever the rest of the session does.
const SILENCE: Duration = Duration::from_secs(150);
/// A server that is slow to say what is current is not waited for any longer.
const FIRST_WORD: Duration = Duration::from_secs(10);
/// A server that had a reason not to answer the watch is asked again.
const RETRY_WATCH: Duration = Duration::from_secs(30);

/// Whether and how changes are followed while the workspace runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Following {
    /// Changes are delivered when they happen. Otherwise at the next start, reload or connection.
    pub live: bool,
    /// How often a server is asked that cannot tell of changes; never, if `None`.
    pub refresh: Option<Duration>,
}

/// How changes reach the agent at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Updates {
    /// There is no connection, or the server has not said yet what it can.
    #[default]
    Unknown,
    /// The server tells of each.
    Watching {
        /// Since when.
        since: Timestamp,
    },
    /// The server cannot tell, so it is asked.
    Polling {
        /// Since when.
        since: Timestamp,
        /// How often.
        every: Duration,
    },
    /// Nobody asks, and nothing that is told is delivered.
    Off,
}

/// What the server has said of changes in this session.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) enum Word {
    /// Nothing yet.
    #[default]
    None,
    /// It cannot tell.
    Unable,
    /// This is current.
    Current(State),
}

/// What a manifest, or the server's word, stands for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct State {
    generation: Option<Generation>,
    revoked: bool,
}

/// Says what the server tells, until the session breaks.
pub(super) async fn listen(client: &Client, delivered: Option<State>, words: &watch::Sender<Word>) -> Failure {
    let request = WatchRequest { delivered: delivered.and_then(|state| state.generation) };
    loop {
        let refused = match client.stream::<_, WatchResponse>(WATCH, &request).await {
            Err(error) => error,
            Ok(mut answers) => loop {
                match timeout(SILENCE, answers.next()).await {
                    Err(_) => return Failure::Silent(SILENCE),
                    Ok(Err(error)) => break error,
                    Ok(Ok(WatchResponse { generation, revoked })) => {
                        words.send_replace(Word::Current(State { generation, revoked }));
                    }
                }
            },
        };
        let has_worked = matches!(*words.borrow(), Word::Current(_));
        match refused {
            CallError::Refused(_) | CallError::NoAnswer if !has_worked => {
                words.send_if_modified(|word| std::mem::replace(word, Word::Unable) != Word::Unable);
                if refused.is_unimplemented() {
                    return std::future::pending().await;
                }
                debug!("the server does not tell of changes now: {refused}");
                sleep(RETRY_WATCH).await;
            }
            error => return Failure::Watch(error),
        }
    }
}

impl Control {
    /// Fetches each manifest that is wanted, until the session breaks.
    pub(super) async fn follow(
        &mut self,
        client: &Client,
        mut words: watch::Receiver<Word>,
        mut connected: impl FnMut(),
    ) -> Failure {
        let mut is_wanted = self.held.is_none() || self.is_behind(&mut words, &mut connected).await;
        // An agent that ends takes no manifest any more, but its last reports still need the connection.
        while !self.manifests.is_closed() {
            if std::mem::take(&mut is_wanted) {
                let request = self.requests.load(Ordering::SeqCst);
                match client.call(path::GET_MANIFEST, &GetManifestRequest {}).await {
                    Ok(manifest) => {
                        connected();
                        self.held = Some(state_of(&manifest));
                        if self.manifests.send(Fetched { manifest, request }).await.is_err() {
                            break;
                        }
                    }
                    Err(error) => return Failure::Manifest(error),
                }
            }
            let poll = self.poll_interval(*words.borrow());
            let polled = async {
                match poll {
                    Some(every) => sleep(every).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                asked = self.refetch.recv() => match asked {
                    Some(()) => is_wanted = true,
                    None => break,
                },
                Ok(()) = words.changed() => is_wanted = self.hears(*words.borrow_and_update(), &mut connected),
                () = polled => is_wanted = true,
            }
        }
        std::future::pending().await
    }

    /// Whether something has changed since the last session, as far as the server can tell.
    async fn is_behind(&mut self, words: &mut watch::Receiver<Word>, connected: &mut impl FnMut()) -> bool {
        let first = words.wait_for(|word| *word != Word::None);
        let word = tokio::select! {
            first = timeout(FIRST_WORD, first) => match first {
                Ok(Ok(word)) => *word,
                _ => return true,
            },
            _ = self.refetch.recv() => return true,
        };
        words.mark_unchanged();
        self.hears(word, connected);
        match word {
            Word::Current(state) => self.held != Some(state),
            Word::None | Word::Unable => true,
        }
    }

    /// Takes note of what the server says; whether a manifest is to be fetched because of it.
    fn hears(&self, word: Word, connected: &mut impl FnMut()) -> bool {
        let since = Timestamp::now();
        let refresh = self.following.refresh;
        let updates = match word {
            Word::None => return false,
            _ if !self.following.live => Updates::Off,
            Word::Current(_) => Updates::Watching { since },
            Word::Unable => refresh.map_or(Updates::Off, |every| Updates::Polling { since, every }),
        };
        let is_news = self.updates.send_if_modified(|before| {
            let is_other = std::mem::discriminant(before) != std::mem::discriminant(&updates);
            if is_other {
                *before = updates;
            }
            is_other
        });
        if is_news && word == Word::Unable && self.following.live {
            let asked =
                refresh.map_or_else(|| "and is not asked".to_owned(), |every| format!("and is asked every {every:?}"));
            info!("this server does not tell of changes, {asked} (--refresh)");
        }
        let Word::Current(state) = word else { return false };
        connected();
        match self.held {
            Some(held) if self.following.live => held != state,
            // Whoever wants no changes while the workspace runs still heeds a revocation.
            Some(held) => held.revoked != state.revoked,
            None => false,
        }
    }

    fn poll_interval(&self, word: Word) -> Option<Duration> {
        let is_polled = word == Word::Unable && self.following.live;
        self.following.refresh.filter(|_| is_polled).map(spread)
    }
}

/// What a manifest says of itself; nothing, if it comes from a Coder server.
fn state_of(manifest: &protocol::agent_api::Manifest) -> State {
    State { generation: manifest.generation, revoked: manifest.revoked }
}

/// A tenth more or less: agents that were started together must not ask together for ever.
fn spread(every: Duration) -> Duration {
    let random = RandomState::new().hash_one(0) % 201;
    let per_mille = u32::try_from(random).map_or(1000, |random| 900 + random);
    every.saturating_mul(per_mille) / 1000
}

/// Tells that there is no connection.
pub(super) fn lost(updates: &watch::Sender<Updates>, state: &watch::Sender<Connection>, reason: String) {
    state.send_replace(Connection::Failed(reason));
    updates.send_replace(Updates::Unknown);
}

#[cfg(test)]
mod tests {
    use protocol::drpc::{self, Call, Service, Status};
    use protocol::session::{Options, Role, Session};
    use tokio_tungstenite::WebSocketStream;
    use tokio_tungstenite::tungstenite::protocol::Role as Side;

    use super::super::websocket::WebSocket;
    use super::*;

    /// Says one number, and then nothing.
    struct Mute;

    impl Service for Mute {
        async fn handle(&self, _: &str, call: &mut Call) -> Result<(), Status> {
            let generation = Some(Generation { epoch: 1, number: 7 });
            call.reply(&WatchResponse { generation, revoked: false }).await?;
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_without_a_sign_of_life_is_given_up() {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let session = async |io, side, role| {
            // The session itself never ends.
            let calm = Duration::from_hours(1);
            let options = Options { ping_interval: calm, silence_limit: calm, ..Options::new(role) };
            Session::start(WebSocket(WebSocketStream::from_raw_socket(io, side, None).await), role, options)
        };
        let server = session(theirs, Side::Server, Role::Server).await;
        tokio::spawn(drpc::serve(server, std::sync::Arc::new(Mute)));
        let agent = session(ours, Side::Client, Role::Agent).await;
        let words = watch::Sender::new(Word::None);
        let start = tokio::time::Instant::now();
        let failure = listen(&Client::new(agent.opener()), None, &words).await;
        assert!(matches!(failure, Failure::Silent(_)), "{failure:?}");
        assert!(start.elapsed() >= SILENCE && start.elapsed() < 2 * SILENCE, "{:?}", start.elapsed());
        assert!(matches!(*words.borrow(), Word::Current(state) if state.generation.is_some_and(|it| it.number == 7)));
    }

    #[test]
    fn polls_are_spread_by_a_tenth() {
        let every = Duration::from_secs(100);
        let spread: Vec<_> = (0..50).map(|_| spread(every)).collect();
        assert!(spread.iter().all(|it| (Duration::from_secs(90)..=Duration::from_secs(110)).contains(it)));
        assert!(spread.iter().any(|it| *it != spread[0]));
    }
}
