use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use protocol::agent_api;
use protocol::live::Generation;
use protocol::secret::Secret;
use tokio::time::timeout;
use tracing::{debug, warn};

use super::digest::{Digest, Digester};
use super::phase::Life;
use super::start::ProcessContext;
use crate::config::StaleFiles;
use crate::environment::{Caller, Environment, Launched, LeftOut, Options, Variables};
use crate::errors::chain;
use crate::files::disk::Disk;
use crate::files::{self, Counts, FileReport, FilesApplied};
use crate::gitssh;
use crate::ledger::{Key, Ledger, Record};
use crate::manifest::{self, Manifest, ManifestError, Refused, SecretSet};
use crate::plan::{Plan, Policy};
use crate::report::Reporter;
use crate::scripts::{DataDirs, Masking, Places, Recurring, Runner};
use crate::sys::core_dumps;
use crate::sys::memory::Guarded;
use crate::sys::threads;

/// Servers want semver with a leading `v`.
pub(super) const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));

/// What every delivery depends on besides its manifest.
pub(super) struct Deliverer {
    pub(super) process: ProcessContext,
    /// Who is told of the start, and of scripts.
    pub(super) reporter: Reporter,
    /// Which server it is, to tell its files from those of others.
    pub(super) server: String,
    pub(super) ledger: Arc<Mutex<Ledger>>,
    pub(super) stale_files: StaleFiles,
    /// `None` where there is no place for them.
    pub(super) script_data: Option<DataDirs>,
    /// `Some` where children get it.
    pub(super) agent_token: Option<Guarded>,
    /// What no output may show.
    pub(super) masking: Arc<Masking>,
    /// Tells whether a manifest is what was delivered already.
    pub(super) digester: Digester,
}

/// What became of a manifest.
pub(super) enum Outcome {
    /// It was carried out.
    Delivered(Box<Delivery>),
    /// It is what was delivered already. The server may count it as another state all the same.
    Same(Option<Generation>),
}

/// A manifest that was carried out: the files are settled and the environment is built.
pub(super) struct Delivery {
    /// The scripts and metadata of the template, and what runs them in the new environment.
    pub(super) recurring: Recurring,
    /// What could not be delivered, without values.
    pub(super) problems: Vec<String>,
    pub(super) files: FileReport,
    /// For comparing files with what was delivered.
    pub(super) key: Key,
    /// For comparing other manifests with this one.
    pub(super) digest: Digest,
    /// Which state it is; `None` from a Coder server.
    pub(super) generation: Option<Generation>,
    /// The workspace gets nothing any more.
    pub(super) revoked: bool,
    /// What the server calls the workspace and its agent.
    pub(super) names: Names,
    pub(super) fetched_at: Timestamp,
    /// Names of the variables that secrets go to.
    pub(super) variables: Vec<String>,
    /// What of the user's and the template's is not set, and why.
    pub(super) refused: Vec<Refused>,
    pub(super) left_out: Vec<LeftOut>,
    /// As the template wrote it.
    pub(super) motd: String,
}

/// What the server calls the workspace and its agent.
pub(super) struct Names {
    pub(super) workspace: String,
    pub(super) agent: String,
}

impl Names {
    fn of(manifest: &Manifest) -> Self {
        let Manifest { owner_username, workspace_name, agent_name, .. } = manifest;
        Self { workspace: format!("{owner_username}/{workspace_name}"), agent: agent_name.clone() }
    }
}

impl Deliverer {
    /// Manifest and secrets → plan → files → environment. What `latest` delivered is not written again, unless it is gone and
    /// somebody asked for the delivery.
    pub(super) async fn deliver(
        &self,
        wire: agent_api::Manifest,
        latest: Option<&Delivery>,
        is_asked: bool,
        life: &Life,
    ) -> Result<Outcome, ManifestError> {
        let fetched_at = Timestamp::now();
        let (manifest, secrets) = manifest::split(wire)?;
        let digest = self.digester.digest(&manifest, &secrets);
        if !is_asked && latest.is_some_and(|latest| latest.digest == digest && latest.problems.is_empty()) {
            return Ok(Outcome::Same(manifest.generation));
        }
        if let Err(error) = core_dumps::exclude_heap() {
            warn!(%error, "cannot exclude the heap from core dumps; a core dump forced by root may contain secrets");
        }
        self.report_start(&manifest).await;
        life.fetched();
        let delivery = self.carry_out(manifest, secrets, latest, is_asked, digest).await;
        Ok(Outcome::Delivered(Box::new(Delivery { fetched_at, ..delivery })))
    }

    async fn carry_out(
        &self,
        manifest: Manifest,
        secrets: SecretSet,
        latest: Option<&Delivery>,
        is_asked: bool,
        digest: Digest,
    ) -> Delivery {
        let refused = secrets.refused.clone();
        let mut problems: Vec<_> = refused.iter().map(ToString::to_string).collect();
        let variables = secrets.secrets.iter().filter_map(|secret| secret.env_name.clone()).collect();
        self.masking.expect(&secrets);
        let policy = self.policy(latest, is_asked, manifest.revoked);
        let (applied, key) = self.apply(secrets, policy, source(&manifest, &self.server)).await;
        let (environment, files) = self.environment(&manifest, applied, latest);
        let environment = Arc::new(environment);
        debug!(targets = files.outcomes().len(), "files are settled");
        problems.extend(files.errors().map(|error| chain(error)));
        self.masking.add(&environment);
        let left_out = environment.resolve(&Caller::Agent(Launched::Main, Vec::new())).left_out;
        problems.extend(left_out.iter().map(ToString::to_string));

        Delivery {
            generation: manifest.generation,
            revoked: manifest.revoked,
            names: Names::of(&manifest),
            motd: manifest.motd_path.clone(),
            recurring: self.recurring(manifest, environment),
            problems,
            files,
            key,
            digest,
            fetched_at: Timestamp::now(),
            variables,
            refused,
            left_out,
        }
    }

    fn policy(&self, latest: Option<&Delivery>, is_asked: bool, revoked: bool) -> Policy {
        Policy {
            home: self.process.home.clone(),
            delivered: latest.map(Delivery::delivered).unwrap_or_default(),
            restores_missing: is_asked,
            own_directories: self.process.own_directories.clone(),
            // A revocation takes away what can be taken, whatever the user wants of other files.
            stale_files: if revoked { StaleFiles::Remove } else { self.stale_files },
        }
    }

    async fn report_start(&self, manifest: &Manifest) {
        /// The server is told of the start also where a home does not answer.
        const PATIENCE: Duration = Duration::from_secs(2);
        let reporter = &self.reporter;
        reporter.set_agent(manifest.agent_id);
        let (places, template) = (self.places(), manifest.directory.clone());
        let found = timeout(PATIENCE, threads::run(move || places.working_directory(&template).path)).await;
        let directory = found.unwrap_or_else(|_| self.process.home.clone().unwrap_or_else(|| "/".into()));
        reporter.startup(VERSION.to_owned(), directory.display().to_string());
    }

    fn recurring(&self, manifest: Manifest, environment: Arc<Environment>) -> Recurring {
        let runner = Runner {
            masking: self.masking.clone(),
            environment,
            directory: manifest.directory,
            shell: self.process.shell.clone(),
            places: self.places(),
            data: self.script_data.clone(),
            reporter: self.reporter.clone(),
        };
        let (scripts, metadata) = (manifest.scripts.into(), manifest.metadata.into());
        Recurring { runner: Arc::new(runner), scripts, metadata }
    }

    /// On a thread of its own: a disk may take its time, and the server is told of the start meanwhile.
    async fn apply(&self, secrets: SecretSet, policy: Policy, source: String) -> (FilesApplied, Key) {
        let ledger = self.ledger.clone();
        let work = move || {
            let mut ledger = ledger.lock().unwrap_or_else(PoisonError::into_inner);
            ledger.begin(source);
            let plan = Plan::new(secrets, &Disk, &policy, &ledger);
            let applied = files::apply(plan, &mut ledger);
            (applied, ledger.key().clone())
        };
        threads::run(work).await
    }

    /// For launches that cannot wait for the server.
    pub(super) fn without_secrets(&self) -> Environment {
        Environment::without_secrets(self.start_variables(), self.options())
    }

    fn environment(
        &self,
        manifest: &Manifest,
        files: FilesApplied,
        latest: Option<&Delivery>,
    ) -> (Environment, FileReport) {
        let former = latest.map(|latest| latest.recurring.runner.environment.names()).unwrap_or_default();
        Environment::build(self.start_variables(), manifest, files, Options { former, ..self.options() })
    }

    fn start_variables(&self) -> Variables {
        let owned =
            |(name, value): &(OsString, OsString)| (name.clone(), Secret::new(value.as_encoded_bytes().to_vec()));
        self.process.inherited.iter().map(owned).collect()
    }

    fn options(&self) -> Options {
        let agent_token = self.agent_token.as_ref().map(Guarded::share);
        let git_ssh_command = gitssh::git_ssh_command();
        let path_prefix = self.script_data.iter().map(|data| data.bin().to_owned()).collect();
        let account = self.process.account.clone();
        let shells = self.process.shells.clone();
        Options { account, agent_token, git_ssh_command, path_prefix, shells, ..Options::default() }
    }

    fn places(&self) -> Places {
        let ProcessContext { home, inherited, log_dir, .. } = &self.process;
        Places { log_dir: log_dir.clone(), home: home.clone(), variables: inherited.clone() }
    }
}

impl Delivery {
    /// What the next delivery need not write again.
    pub(super) fn delivered(&self) -> Vec<(PathBuf, Record)> {
        self.files.delivered()
    }

    /// What was delivered, in words; an error where that was not everything.
    pub(super) fn outcome(&self) -> Result<String, String> {
        let Counts { written, unchanged, left, gone, .. } = self.files.counts();
        let parts = [(written, "written"), (unchanged, "unchanged"), (left, "edited since and left"), (gone, "gone")];
        let parts: Vec<_> =
            parts.iter().filter(|(count, _)| *count > 0).map(|(n, what)| format!("{n} {what}")).collect();
        let text = if parts.is_empty() { self.to_string() } else { format!("{self}; files: {}", parts.join(", ")) };
        if self.problems.is_empty() && gone == 0 { Ok(text) } else { Err(text) }
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = self.files.counts().delivered();
        write!(f, "delivered {} and {}", counted(self.variables.len(), "variable"), counted(files, "file"))?;
        match self.problems.as_slice() {
            [] => Ok(()),
            [one] => write!(f, "; 1 problem: {one}"),
            [first, ..] => write!(f, "; {} problems, the first: {first}", self.problems.len()),
        }
    }
}

/// Whose secrets these are, for the ledger.
pub(super) fn source(manifest: &Manifest, server: &str) -> String {
    format!("{} {server}", manifest.owner_username)
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
