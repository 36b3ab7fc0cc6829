use std::future::poll_fn;
use std::io;
use std::task::Poll;

use nix::sys::signal::Signal;
use tokio::signal::unix::{self, SignalKind};

/// Signals that arrive at the agent.
pub(super) struct Signals(Vec<(Signal, unix::Signal)>);

impl Signals {
    /// Those the agent itself obeys.
    pub(super) fn for_agent() -> io::Result<Self> {
        Self::listen([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP])
    }

    /// Everything a main process may be sent.
    pub(super) fn for_command() -> io::Result<Self> {
        Self::listen(Signal::iterator().filter(|signal| {
            !matches!(
                signal,
                // Cannot be caught, or mean that this very process did something wrong.
                Signal::SIGKILL | Signal::SIGSTOP | Signal::SIGILL | Signal::SIGFPE | Signal::SIGSEGV
                | Signal::SIGBUS | Signal::SIGSYS | Signal::SIGTRAP | Signal::SIGABRT
                // Are about our own children, pipes, files and place at the terminal.
                | Signal::SIGCHLD | Signal::SIGPIPE | Signal::SIGXFSZ | Signal::SIGTTIN | Signal::SIGTTOU | Signal::SIGTSTP
            )
        }))
    }

    fn listen(signals: impl IntoIterator<Item = Signal>) -> io::Result<Self> {
        let listen = |signal| Ok((signal, unix::signal(SignalKind::from_raw(signal as i32))?));
        signals.into_iter().map(listen).collect::<io::Result<_>>().map(Self)
    }

    /// The next one.
    pub(super) async fn next(&mut self) -> Signal {
        poll_fn(|cx| {
            for (signal, stream) in &mut self.0 {
                if stream.poll_recv(cx).is_ready() {
                    return Poll::Ready(*signal);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Whether whoever sent it wants the workspace to end.
pub(super) fn is_stop(signal: Signal) -> bool {
    matches!(signal, Signal::SIGTERM | Signal::SIGINT | Signal::SIGQUIT)
}
