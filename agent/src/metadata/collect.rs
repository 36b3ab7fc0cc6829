use std::io::{self, pipe};
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, SystemTime};

use nix::sys::signal::Signal;
use tokio::io::AsyncReadExt;
use tokio::net::unix::pipe::Receiver;
use tokio::time::timeout;
use tracing::warn;

use crate::environment::Launched;
use crate::errors::chain;
use crate::manifest::Metadata;
use crate::report::Reading;
use crate::scripts::{MaskedOutput, Runner};
use crate::sys::spawn::Child;

/// Both streams of a script together; the server keeps less still.
const MAX_OUTPUT: usize = 10 * 1024;
/// For an item without timeout that is collected once: three times the pause between two reports.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a pipe is read after the script has ended, in case a process it started still holds it.
const PIPE_GRACE: Duration = Duration::from_secs(1);

/// Runs the script of one item; whatever goes wrong is in the reading.
pub(super) async fn collect(runner: &Runner, item: &Metadata) -> Reading {
    let collected_at = SystemTime::now();
    let limit = item.timeout.or(item.interval).unwrap_or(DEFAULT_TIMEOUT);
    let (value, error) = match timeout(limit, start(runner, item)).await {
        Ok(Ok((script, output))) => finish(script, output, limit).await,
        Ok(Err(error)) => (String::new(), error),
        Err(_) => (String::new(), format!("not begun within {limit:?}: a disk does not answer")),
    };
    Reading { key: item.key.clone(), value, error, collected_at }
}

/// A script that must not outlive the wish for its output.
struct RunningScript {
    child: Child,
    ended: bool,
}

impl Drop for RunningScript {
    fn drop(&mut self) {
        // It only reads, so it has nothing to put in order before its end.
        if !self.ended
            && let Err(error) = self.child.signal(Signal::SIGKILL)
        {
            warn!(%error, "cannot end a metadata script");
        }
    }
}

async fn start(runner: &Runner, item: &Metadata) -> Result<(RunningScript, CollectedOutput), String> {
    let prepared = |error: io::Error| format!("cannot prepare the script: {error}");
    let Some(mask) = runner.mask() else { return Err("values cannot be masked, so nothing is shown".to_owned()) };
    // One pipe for both, so that lines come in the order they were written.
    let (reader, writer) = pipe().map_err(prepared)?;
    let stream = Receiver::from_owned_fd(OwnedFd::from(reader)).map_err(prepared)?;
    let mut launch = runner.launch(Launched::Scheduled, &item.script, Vec::new()).await.map_err(prepared)?;
    launch.stdout = writer.try_clone().map_err(prepared)?.into();
    launch.stderr = writer.into();
    let child = launch.spawn().await.map_err(|error| chain(&error))?;
    Ok((RunningScript { child, ended: false }, CollectedOutput { stream, mask, kept: Vec::new(), total: 0 }))
}

/// The value and the error.
async fn finish(mut script: RunningScript, mut output: CollectedOutput, limit: Duration) -> (String, String) {
    let ended = timeout(limit, script.end(&mut output)).await;
    let (value, cut) = output.finish();
    let error = match ended {
        Err(_) => Some(format!("not done within {limit:?}")),
        Ok(Err(error)) => Some(format!("cannot wait for the script: {error}")),
        Ok(Ok(status)) => failure(status).or(cut),
    };
    (value, error.unwrap_or_default())
}

impl RunningScript {
    async fn end(&mut self, output: &mut CollectedOutput) -> io::Result<ExitStatus> {
        let reading = output.read();
        tokio::pin!(reading);
        let status = tokio::select! {
            status = self.child.process.wait() => {
                // What does not come by then belongs to a process that was left behind.
                let _ = timeout(PIPE_GRACE, &mut reading).await;
                status?
            }
            () = &mut reading => self.child.process.wait().await?,
        };
        self.ended = true;
        Ok(status)
    }
}

fn failure(status: ExitStatus) -> Option<String> {
    match (status.code(), status.signal()) {
        (Some(0), _) => None,
        (Some(code), _) => Some(format!("exit code {code}")),
        (None, Some(signal)) => Some(format!("ended by signal {signal}")),
        (None, None) => Some("ended in an unknown way".to_owned()),
    }
}

/// What a script prints, masked before it is cut.
struct CollectedOutput {
    stream: Receiver,
    mask: MaskedOutput,
    kept: Vec<u8>,
    total: usize,
}

impl CollectedOutput {
    /// To the end, also where it is too long: a script that writes into a closed pipe would fail for that.
    async fn read(&mut self) {
        let mut chunk = vec![0; 4096];
        // A read error of a pipe is its end.
        while let Ok(length @ 1..) = self.stream.read(&mut chunk).await {
            self.total += length;
            if self.kept.len() <= MAX_OUTPUT {
                self.kept.extend_from_slice(&self.mask.push(&chunk[..length]));
            }
        }
    }

    /// The value, and an error where it was too long.
    fn finish(mut self) -> (String, Option<String>) {
        if self.kept.len() <= MAX_OUTPUT {
            self.kept.extend_from_slice(&self.mask.finish());
        }
        let mut value = String::from_utf8_lossy(&self.kept).into_owned();
        value.truncate(value.floor_char_boundary(MAX_OUTPUT));
        let total = self.total;
        let cut = (total > MAX_OUTPUT).then(|| format!("output of {total} bytes, cut to {MAX_OUTPUT}"));
        (value, cut)
    }
}
