//! A program with the key at its side: ssh, or ssh-keygen to sign.

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::io;
use std::process::{Command, ExitStatus};
use std::sync::Arc;
use std::task::Poll;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::watch;

use super::choice::Choice;
use super::fetch::{self, FetchError, Key, SignError};
use super::socket::{Socket, SocketError};
use super::ssh_agent::{Offer, SshAgent};
use crate::sessions::client::Client;
use crate::sys::{signal_state, terminal_child};

/// The variable by which programs find an ssh-agent.
const AUTH_SOCKET: &str = "SSH_AUTH_SOCK";

/// Signals that somebody may send to us and that mean the program. Those of the terminal it gets itself as well.
const PASSED_ON: [Signal; 6] =
    [Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT, Signal::SIGTERM, Signal::SIGUSR1, Signal::SIGUSR2];

/// Why a program was not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Without the key it can be run all the same.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// It is not there, or not executable.
    #[error("cannot run {program}")]
    Start {
        /// Its name.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// Its end could not be seen.
    #[error("cannot wait for {program}")]
    Wait {
        /// Its name.
        program: String,
        /// Why.
        source: io::Error,
    },
}

/// What became of the key while the program ran.
#[derive(Debug)]
pub enum KeyUse {
    /// The program did not ask for keys, or ended before there was one.
    Unasked,
    /// It signed.
    Signed,
    /// It was listed, and the other side took none of the keys, or another one.
    Passed(Arc<Key>),
    /// It was wanted, and could not sign.
    Failed(SignError),
    /// It was not offered, for this reason.
    LeftOut(String),
    /// There was none.
    Missing(FetchError),
}

/// How a program ended.
#[derive(Debug)]
pub struct Ended {
    /// Its own status.
    pub status: ExitStatus,
    /// What became of the key.
    pub key: KeyUse,
}

/// Runs `command` on our streams, in our process group. `choice` decides whether the key is fetched by `client` and
/// offered.
pub(super) async fn run(
    mut command: Command,
    choice: impl Future<Output = Choice>,
    client: Client,
) -> Result<Ended, RunError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let socket = Socket::make()?;
    let own_agent = std::env::var_os(AUTH_SOCKET).filter(|path| !path.is_empty());
    command.env(AUTH_SOCKET, socket.path());
    // Before the program starts, so that no signal ends us and leaves it behind.
    let mut signals = Signals::listen();
    let start = |source| RunError::Start { program: program.clone(), source };
    let mut child = terminal_child::spawn(command).map_err(start)?;
    let root = child.id().ok_or_else(|| start(io::ErrorKind::NotFound.into()))?;

    let (offer, offered) = watch::channel(Offer::Pending);
    let agent = Arc::new(SshAgent::new(offered, own_agent.map(Into::into)));
    let mut key = KeyUse::Unasked;
    let status = tokio::select! {
        status = wait(&mut child, &mut signals) => status,
        never = agent.serve(&socket.listener, root) => match never {},
        never = async { key = prepare(choice, client, &offer).await; pending::<Infallible>().await } => match never {},
    };
    let status = status.map_err(|source| RunError::Wait { program, source })?;
    Ok(Ended { status, key: judge(key, &agent) })
}

/// Decides, fetches, offers.
async fn prepare(choice: impl Future<Output = Choice>, client: Client, offer: &watch::Sender<Offer>) -> KeyUse {
    let choice = choice.await;
    let (offered, outcome) = match choice.settled() {
        Some(reason) => (Offer::Nothing, KeyUse::LeftOut(reason.to_string())),
        None => match fetch::fetch(client, false).await.map(Arc::new) {
            Err(error) => (Offer::Nothing, KeyUse::Missing(error)),
            Ok(key) => match choice.leaves_out(key.public()) {
                Some(reason) => (Offer::Nothing, KeyUse::LeftOut(reason.to_string())),
                None => (Offer::Key(Arc::clone(&key)), KeyUse::Passed(key)),
            },
        },
    };
    offer.send_replace(offered);
    outcome
}

fn judge(key: KeyUse, agent: &SshAgent) -> KeyUse {
    if agent.has_signed() {
        return KeyUse::Signed;
    }
    if let Some(error) = agent.take_failure() {
        return KeyUse::Failed(error);
    }
    match key {
        _ if !agent.was_listed() && !matches!(key, KeyUse::LeftOut(_)) => KeyUse::Unasked,
        key => key,
    }
}

async fn wait(child: &mut Child, signals: &mut Signals) -> io::Result<ExitStatus> {
    loop {
        let pid = child.id().unwrap_or_default();
        tokio::select! {
            status = child.wait() => return status,
            signal = signals.next() => match signal {
                // `~^Z` stops ssh alone. A shell sees that only if its own child, which we are, stops as well.
                Signal::SIGCHLD if terminal_child::has_stopped(pid) => terminal_child::stop(),
                Signal::SIGCHLD => {}
                // It may have ended just now; then there is nobody left to tell.
                signal => drop(i32::try_from(pid).map(|pid| kill(Pid::from_raw(pid), signal))),
            },
        }
    }
}

/// The signals of [`PASSED_ON`] and that of a child that stops, but for those that we were told to ignore: the program
/// ignores them as well then.
struct Signals(Vec<(Signal, unix::Signal)>);

impl Signals {
    fn listen() -> Self {
        let listened =
            PASSED_ON.into_iter().chain([Signal::SIGCHLD]).filter(|signal| !signal_state::is_ignored(*signal as i32));
        let streams = listened.filter_map(|signal| {
            // Where it cannot be listened to it keeps its default action.
            Some((signal, unix::signal(SignalKind::from_raw(signal as i32)).ok()?))
        });
        Self(streams.collect())
    }

    async fn next(&mut self) -> Signal {
        poll_fn(|context| {
            for (signal, stream) in &mut self.0 {
                if stream.poll_recv(context).is_ready() {
                    return Poll::Ready(*signal);
                }
            }
            Poll::Pending
        })
        .await
    }
}
