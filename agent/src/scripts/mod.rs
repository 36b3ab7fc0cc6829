//! Startup, stop and cron scripts: their shell, their environment, their output, their time, and what is reported of them.
#![forbid(unsafe_code)]

mod cron;
mod data;
mod invocation;
mod log_file;
mod masking;
mod output;
mod run;
mod working_directory;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::join_all;
use protocol::agent_api::timing::{Stage, Status};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::environment::Environment;
use crate::manifest::{Metadata, Script};
use crate::report::Reporter;

pub use cron::run_on_schedule;
pub use data::{DataDirError, DataDirs};
pub use log_file::Places;
pub use masking::{MaskedOutput, Masking};
pub use run::Outcome;
pub use working_directory::{DirectoryError, WorkingDirectory};

/// Scripts that run at once; more than any template has, and few enough for any machine.
const SIDE_BY_SIDE: usize = 64;

/// Runs scripts in one environment. It takes an [`Environment`], so no script can run before the files are written.
#[derive(Debug)]
pub struct Runner {
    /// What scripts see.
    pub environment: Arc<Environment>,
    /// What their output must not show.
    pub masking: Arc<Masking>,
    /// Where they start, as the template says it; see [`Places::working_directory`].
    pub directory: String,
    /// Runs those that name no interpreter.
    pub shell: PathBuf,
    /// Where their log files are.
    pub places: Places,
    /// Where they keep what they make; `None` where there is no such place.
    pub data: Option<DataDirs>,
    /// Who is told of them.
    pub reporter: Reporter,
}

/// What a delivery leaves to be run again and again.
#[derive(Clone, Debug)]
pub struct Recurring {
    /// Runs it.
    pub runner: Arc<Runner>,
    /// All scripts of the template, those on a schedule among them.
    pub scripts: Arc<[Script]>,
    /// What is to be collected.
    pub metadata: Arc<[Metadata]>,
}

/// How a set of scripts ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Scripts that were run.
    pub count: usize,
    /// Those that failed, the ones that ran out of time not counted.
    pub failed: usize,
    /// Those that ran out of time.
    pub timed_out: usize,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { count, failed, timed_out } = self;
        write!(f, "{count} run, {failed} failed, {timed_out} out of time")
    }
}

impl Runner {
    /// Runs `scripts` side by side until the last has ended, or `stop` has ended them.
    pub async fn run_all(&self, scripts: &[Script], stage: Stage, stop: &CancellationToken) -> Summary {
        let places = Semaphore::new(SIDE_BY_SIDE);
        let outcomes = join_all(scripts.iter().map(async |script| {
            // Never closed, so a place always comes.
            let _place = places.acquire().await;
            let outcome = self.run(script, stage, stop).await;
            if matches!(outcome.status, Status::ExitFailure | Status::TimedOut) {
                warn!("script {:?} {outcome}", script.display_name);
            }
            outcome
        }))
        .await;
        if stage == Stage::Start {
            self.tell_of_directory().await;
        }
        let count = |status| outcomes.iter().filter(|outcome| outcome.status == status).count();
        Summary { count: outcomes.len(), failed: count(Status::ExitFailure), timed_out: count(Status::TimedOut) }
    }
}

#[cfg(test)]
pub(crate) mod tests;
