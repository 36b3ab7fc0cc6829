use std::future::Future;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::Signal;
use protocol::agent_api::Timing;
use protocol::agent_api::timing::{Stage, Status};
use tokio::io::AsyncRead;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::MaskedOutput;
use super::Runner;
use super::invocation::Invocation;
use super::output::ScriptOutput;
use super::working_directory::WorkingDirectory;
use crate::environment::{Caller, Launched, Variables};
use crate::errors::chain;
use crate::manifest::Script;
use crate::report::Level;
use crate::sys::spawn::{Child, Launch};
use crate::sys::threads;

/// Between the request to end and the end.
const GRACE: Duration = Duration::from_secs(10);
/// How long the output is waited for after a script has ended. What comes later is still read and sent.
const PIPE_GRACE: Duration = Duration::from_secs(2);
/// How long a log file is waited for, to be opened or to have everything.
const DISK_PATIENCE: Duration = Duration::from_secs(5);
/// The exit code of what has none: ended by a signal, or never begun.
const UNKNOWN: i32 = 255;

/// How one script ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// As it is reported.
    pub status: Status,
    /// The script's own, or 255.
    pub exit_code: i32,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.status {
            Status::TimedOut => f.write_str("ran out of time"),
            _ => write!(f, "ended with exit code {}", self.exit_code),
        }
    }
}

/// Why a script was not left to itself.
enum Cut {
    TimedOut(Duration),
    Stopped,
}

impl Runner {
    /// Runs one script to its end and reports it.
    pub(super) async fn run(&self, script: &Script, stage: Stage, stop: &CancellationToken) -> Outcome {
        let (wall, start) = (SystemTime::now(), Instant::now());
        let output = Arc::new(self.output(script).await);
        let outcome = self.execute(script, stage, &output, stop).await.unwrap_or_else(|failure| {
            warn!(script = %script.id, name = script.display_name, "{failure}");
            output.note(&failure.text);
            Outcome { status: Status::ExitFailure, exit_code: failure.exit_code }
        });
        debug!(script = %script.id, "script {outcome}");
        // Whoever hears of the end may look into the log.
        let _ = timeout(DISK_PATIENCE, output.settled()).await;
        self.reporter.script(Timing {
            script_id: script.id.as_bytes().to_vec(),
            start: Some(wall.into()),
            // By the monotonic clock: an end before the start, because somebody set the time, is refused by servers.
            end: Some((wall + start.elapsed()).into()),
            exit_code: outcome.exit_code,
            stage: stage.into(),
            status: outcome.status.into(),
        });
        outcome
    }

    async fn output(&self, script: &Script) -> ScriptOutput {
        let (places, path, source) = (self.places.clone(), script.log_path.clone(), script.log_source_id);
        let opened = timeout(DISK_PATIENCE, threads::run(move || places.open(&path, source))).await;
        let opened = opened.map_or_else(
            |_| Err(format!("a script log cannot be opened within {DISK_PATIENCE:?}")),
            |opened| opened.map_err(|error| chain(&error)),
        );
        let file = opened.inspect_err(|reason| {
            let text = format!("{reason}; the script runs without it");
            warn!("{text}");
            self.reporter.own_line(Level::Warn, &text);
        });
        ScriptOutput::new(file.ok(), self.reporter.clone(), script.log_source_id)
    }

    async fn execute(
        &self,
        script: &Script,
        stage: Stage,
        output: &Arc<ScriptOutput>,
        stop: &CancellationToken,
    ) -> Result<Outcome, NotStarted> {
        let mut child = match first_cut(self.spawn(script, stage), script.timeout, stop).await {
            Ok(child) => child?,
            // A disk that does not answer.
            Err(cut) => return Ok(not_begun(&cut, output)),
        };
        let mut pumps = [
            self.pump(output, child.process.stdout.take(), Level::Info),
            self.pump(output, child.process.stderr.take(), Level::Error),
        ];
        let (ended, cut) = match first_cut(child.process.wait(), script.timeout, stop).await {
            Ok(ended) => (ended, None),
            Err(cut) => (terminate(&mut child, &mut pumps).await, Some(cut)),
        };
        let piped = timeout(PIPE_GRACE, ended_all(&mut pumps)).await;
        let exit_code = ended.ok().and_then(|status| status.code()).unwrap_or(UNKNOWN);
        let status = match cut {
            Some(Cut::TimedOut(limit)) => {
                output.note(&format!("(ended by the agent after its timeout of {limit:?})"));
                Status::TimedOut
            }
            Some(Cut::Stopped) => Status::ExitFailure,
            None if exit_code != 0 => Status::ExitFailure,
            None if piped.is_err() => {
                output.note("(the script has ended, but a process it started still holds its output open)");
                Status::PipesLeftOpen
            }
            None => Status::Ok,
        };
        Ok(Outcome { status, exit_code })
    }

    async fn spawn(&self, script: &Script, stage: Stage) -> Result<Child, NotStarted> {
        let launched = if stage == Stage::Cron { Launched::Scheduled } else { Launched::Script };
        let own = self.data_variables(script).await;
        let mut launch = self
            .launch(launched, &script.script, own)
            .await
            .map_err(|error| NotStarted { text: format!("cannot prepare the script: {error}"), exit_code: UNKNOWN })?;
        launch.stdout = Stdio::piped();
        launch.stderr = Stdio::piped();
        launch.spawn().await.map_err(|error| NotStarted { text: chain(&error), exit_code: error.exit_code().into() })
    }

    /// What runs `text` as a script of this workspace, with `own` variables on top.
    pub(crate) async fn launch(&self, launched: Launched, text: &str, own: Variables) -> io::Result<Launch> {
        let invocation = Invocation::of(text, &self.shell)?;
        let mut launch = Launch::new(invocation.program);
        launch.arguments = invocation.arguments;
        launch.inherit = invocation.inherit;
        launch.environment = self.environment.resolve(&Caller::Agent(launched, own)).into_variables();
        launch.directory = Some(self.working_directory().await.path);
        Ok(launch)
    }

    /// Where scripts and sessions start. It takes as long as the disk does; the caller bounds the wait.
    pub(crate) async fn working_directory(&self) -> WorkingDirectory {
        let (places, template) = (self.places.clone(), self.directory.clone());
        threads::run(move || places.working_directory(&template)).await
    }

    /// After the startup scripts, one of which may have made the directory.
    pub(super) async fn tell_of_directory(&self) {
        if let Some(problem) = self.working_directory().await.problem {
            warn!("{problem}");
            self.reporter.own_line(Level::Warn, &problem.to_string());
        }
    }

    /// Masks one stream of what scripts print. `None`: nothing of it may be shown.
    pub(crate) fn mask(&self) -> Option<MaskedOutput> {
        MaskedOutput::new(&self.masking, &self.environment)
    }

    /// A script without its directory runs all the same, and fails where it needs it.
    async fn data_variables(&self, script: &Script) -> Variables {
        let Some(data) = self.data.clone() else { return Variables::new() };
        let source = script.log_source_id;
        threads::run(move || data.variables(source)).await.unwrap_or_else(|error| {
            let text = chain(&error);
            warn!("{text}");
            self.reporter.own_line(Level::Warn, &text);
            Variables::new()
        })
    }

    /// A task of its own, so that a background process which keeps the pipe is still logged after the script's end,
    /// rather than killed by writing into a closed pipe.
    fn pump(
        &self,
        output: &Arc<ScriptOutput>,
        stream: Option<impl AsyncRead + Unpin + Send + 'static>,
        level: Level,
    ) -> JoinHandle<()> {
        let output = output.clone();
        let mask = self.mask();
        tokio::spawn(async move {
            if let Some(stream) = stream {
                output.pump(stream, level, mask).await;
            }
        })
    }
}

fn not_begun(cut: &Cut, output: &ScriptOutput) -> Outcome {
    let status = match cut {
        Cut::TimedOut(limit) => {
            output.note(&format!("(not begun within its timeout of {limit:?}: a disk does not answer)"));
            Status::TimedOut
        }
        Cut::Stopped => Status::ExitFailure,
    };
    Outcome { status, exit_code: UNKNOWN }
}

/// A script that did not begin.
#[derive(Debug)]
struct NotStarted {
    text: String,
    exit_code: i32,
}

impl std::fmt::Display for NotStarted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.text)
    }
}

/// The end of the script, unless its time or the agent's is over first.
async fn first_cut<T>(
    ended: impl Future<Output = T>,
    limit: Option<Duration>,
    stop: &CancellationToken,
) -> Result<T, Cut> {
    let out_of_time = async {
        match limit {
            Some(limit) => {
                sleep(limit).await;
                limit
            }
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        ended = ended => Ok(ended),
        () = stop.cancelled() => Err(Cut::Stopped),
        limit = out_of_time => Err(Cut::TimedOut(limit)),
    }
}

/// Asks the whole group to end, and after a while makes it.
async fn terminate(child: &mut Child, pumps: &mut [JoinHandle<()>]) -> io::Result<ExitStatus> {
    signal(child, Signal::SIGTERM);
    // The shell often ends at once; what it started may need the time. It is gone when the pipes are closed.
    let all = async {
        let status = child.process.wait().await;
        ended_all(pumps).await;
        status
    };
    let ended = timeout(GRACE, all).await;
    signal(child, Signal::SIGKILL);
    match ended {
        Ok(status) => status,
        Err(_) => child.process.wait().await,
    }
}

fn signal(child: &Child, signal: Signal) {
    if let Err(error) = child.signal(signal) {
        warn!(%signal, %error, "cannot signal a script");
    }
}

/// Waits for all, also when asked again for those that have ended.
async fn ended_all(pumps: &mut [JoinHandle<()>]) {
    for pump in pumps.iter_mut().filter(|pump| !pump.is_finished()) {
        // A panic there has been told by the panic hook; the output ends with it.
        let _ = pump.await;
    }
}
