use std::ffi::OsString;
use std::future::Future;
use std::io::{IsTerminal, stdin};
use std::os::unix::process::ExitStatusExt;
use std::pin::pin;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpgrp};
use tokio::time::{Instant, sleep_until};
use tracing::{debug, error, info, warn};

use super::signals::{Signals, is_stop};
use crate::environment::{Caller, Environment, Launched};
use crate::errors::chain;
use crate::sessions::Sessions;
use crate::sys::spawn::{self, Child, Launch};

/// What a shell reports for a process that a signal ended, and what cannot be told otherwise.
const SIGNAL_BASE: i32 = 128;
const UNKNOWN: u8 = 255;
/// How long a disk may take to give us the main process after somebody has asked for its end.
const PATIENCE: Duration = Duration::from_secs(2);

/// Runs the main process as soon as there is an environment for it, passes every signal on to it, and returns its exit
/// code. `stop_asked` is called when somebody asks it to end.
pub(super) async fn run(command: &[OsString], sessions: &Sessions, signals: &mut Signals, stop_asked: impl Fn()) -> u8 {
    let environment = tokio::select! {
        environment = sessions.environment() => environment,
        signal = stopped(signals) => return code_of_signal(signal as i32),
    };
    let foreground = owns_terminal();
    let (mut child, early) = match start(launch(command, &environment, foreground), signals).await {
        Ok((Ok(child), early)) => (child, early),
        Ok((Err(code), _)) => return code,
        Err(signal) => return code_of_signal(signal as i32),
    };
    for signal in early {
        pass_on(&child, signal, &stop_asked);
    }
    // Its own copy of the variables is with the kernel now.
    drop(environment);
    loop {
        tokio::select! {
            status = child.process.wait() => {
                if foreground {
                    // An interrupt from the keyboard cuts the stop scripts short.
                    spawn::take_terminal_back();
                }
                return status.map_or(UNKNOWN, code);
            }
            signal = signals.next() => pass_on(&child, signal, &stop_asked),
        }
    }
}

/// What `launch` gives, and the signals that came meanwhile: the main process may run before we hear that it does. The
/// signal that asks for the end, where the disk that it is on does not answer; it is then killed as soon as it starts.
async fn start<T>(launch: impl Future<Output = T>, signals: &mut Signals) -> Result<(T, Vec<Signal>), Signal> {
    let mut early = Vec::new();
    let mut asked = None;
    let mut launch = pin!(launch);
    loop {
        let patience = asked.map_or_else(Instant::now, |(_, at)| at + PATIENCE);
        tokio::select! {
            biased;
            started = &mut launch => return Ok((started, early)),
            signal = signals.next() => {
                early.retain(|it| *it != signal);
                early.push(signal);
                if is_stop(signal) {
                    asked = asked.or(Some((signal, Instant::now())));
                }
            }
            () = sleep_until(patience), if asked.is_some() => {
                return Err(asked.map_or(Signal::SIGTERM, |(signal, _)| signal));
            }
        }
    }
}

/// Before the main process runs there is nobody to pass a signal on to.
async fn stopped(signals: &mut Signals) -> Signal {
    loop {
        let signal = signals.next().await;
        if is_stop(signal) {
            return signal;
        }
    }
}

async fn launch(command: &[OsString], environment: &Environment, foreground: bool) -> Result<Child, u8> {
    let Some((program, arguments)) = command.split_first() else { return Ok(0).and(Err(0)) };
    let mut launch = Launch::new(program);
    launch.arguments = arguments.to_vec();
    launch.environment = environment.resolve(&Caller::Agent(Launched::Main, Vec::new())).into_variables();
    launch.stdin = Stdio::inherit();
    launch.stdout = Stdio::inherit();
    launch.stderr = Stdio::inherit();
    launch.foreground = foreground;
    let child = launch.spawn().await.map_err(|failure| {
        error!("{}", chain(&failure));
        failure.exit_code()
    })?;
    info!(pid = child.group(), "main process started");
    Ok(child)
}

/// Whether the terminal is ours to give: a background job must not take it from the shell.
fn owns_terminal() -> bool {
    stdin().is_terminal()
        && rustix::termios::tcgetpgrp(stdin()).is_ok_and(|owner| owner.as_raw_nonzero().get() == getpgrp().as_raw())
}

fn pass_on(child: &Child, signal: Signal, stop_asked: &impl Fn()) {
    // Others may mean anything to it: an interpreter goes on after SIGINT.
    if signal == Signal::SIGTERM {
        stop_asked();
    }
    forward(child, signal);
}

/// To the process alone: what it started is its own to tell, as it would be without the agent.
fn forward(child: &Child, signal: Signal) {
    debug!(%signal, "signal passed on to the main process");
    if let Err(error) = kill(Pid::from_raw(child.group()), signal) {
        warn!(%signal, %error, "cannot pass a signal on to the main process");
    }
}

fn code(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code).unwrap_or(UNKNOWN),
        (None, Some(signal)) => code_of_signal(signal),
        (None, None) => UNKNOWN,
    }
}

fn code_of_signal(signal: i32) -> u8 {
    u8::try_from(SIGNAL_BASE + signal).unwrap_or(UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_the_childs_or_128_and_the_signal() {
        for (raw, expected) in [(0, 0), (7 << 8, 7), (255 << 8, 255), (15, 143), (9, 137), (139, 139)] {
            assert_eq!(code(ExitStatus::from_raw(raw)), expected, "{raw}");
        }
    }
}
