use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tracing::{error, info};

use crate::config::TOKEN_VARIABLE;
use crate::environment::Environment;
use crate::errors::chain;
use crate::manifest::SecretSet;
use crate::mask::{MaskedStream, Masker};
use crate::sys::memory::Guarded;

/// So many environments stay known for the sake of sessions and files, whose end nobody tells the agent.
const RECENT: usize = 8;

/// What no output may show: the agent's token and the values of every environment that is still in use.
///
/// After a change of a secret, what was started before goes on with the old value, and what a script reads may be either.
#[derive(Debug)]
pub struct Masking {
    agent_token: Guarded,
    known: Mutex<InUse>,
}

#[derive(Debug, Default)]
struct InUse {
    recent: VecDeque<Arc<Environment>>,
    /// Those of scripts that still run.
    older: Vec<Weak<Environment>>,
    /// Of a delivery that has come as far as the files.
    coming: Vec<(String, Guarded)>,
    /// Of all these; made when output is about to be read, which in many workspaces is never.
    masker: Option<Masker>,
    /// Changes with the values.
    version: u64,
    /// Names of values that are not masked, each told once.
    too_short: Vec<String>,
}

impl Masking {
    /// Masks `agent_token`, and what is added.
    #[must_use]
    pub fn new(agent_token: Guarded) -> Self {
        Self { agent_token, known: Mutex::default() }
    }

    /// Masks the user's secrets from before they are in files, where a script that runs already may see them.
    pub fn expect(&self, secrets: &SecretSet) {
        let mut known = self.known();
        known.coming = secrets.secrets.iter().map(|secret| (secret.name().to_owned(), secret.value.share())).collect();
        known.changed();
    }

    /// Masks the values of one more environment, also in output that is being read already.
    pub fn add(&self, environment: &Arc<Environment>) {
        let mut known = self.known();
        // Of a connection that was lost and is back: it must not push out what is different.
        let same = known.recent.back().is_some_and(|last| last.masks_like(environment));
        let full = known.recent.len() == RECENT;
        let replaced = if same { known.recent.pop_back() } else { full.then(|| known.recent.pop_front()).flatten() };
        known.older.retain(|it| it.strong_count() > 0);
        known.older.extend(replaced.iter().map(Arc::downgrade));
        known.recent.push_back(environment.clone());
        known.coming.clear();
        known.changed();
    }

    /// The masker of all that is known, and its version.
    fn masker(&self) -> Option<(Masker, u64)> {
        let mut known = self.known();
        if known.masker.is_none() {
            let built = self.build(&mut known);
            known.masker = built;
        }
        known.masker.clone().map(|masker| (masker, known.version))
    }

    fn build(&self, known: &mut InUse) -> Option<Masker> {
        let older = known.older.iter().filter_map(Weak::upgrade);
        let mut values: Vec<_> = older.chain(known.recent.iter().cloned()).flat_map(|it| it.values_to_mask()).collect();
        values.extend(known.coming.iter().map(|(name, value)| (name.clone(), value.copy())));
        values.push((TOKEN_VARIABLE.to_owned(), self.agent_token.copy()));
        match Masker::new(&values) {
            Ok((masker, mut too_short)) => {
                too_short.retain(|name| !known.too_short.contains(name));
                if !too_short.is_empty() {
                    info!("too short to be masked in script output, whole or in part: {}", too_short.join(", "));
                }
                known.too_short.append(&mut too_short);
                Some(masker)
            }
            Err(error) => {
                error!("{}: the output of scripts is not logged", chain(&error));
                None
            }
        }
    }

    fn known(&self) -> MutexGuard<'_, InUse> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InUse {
    fn changed(&mut self) {
        self.masker = None;
        self.version += 1;
    }
}

/// One stream of output on its way through what is masked by then.
pub struct MaskedOutput {
    masking: Arc<Masking>,
    /// In use for as long as somebody may still print its values.
    _environment: Arc<Environment>,
    stream: MaskedStream,
    version: u64,
}

impl fmt::Debug for MaskedOutput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MaskedOutput").finish_non_exhaustive()
    }
}

impl MaskedOutput {
    /// For what is started with `environment`. `None`: nothing of it may be shown.
    #[must_use]
    pub fn new(masking: &Arc<Masking>, environment: &Arc<Environment>) -> Option<Self> {
        let (masker, version) = masking.masker()?;
        let (masking, environment) = (masking.clone(), environment.clone());
        Some(Self { masking, _environment: environment, stream: masker.stream(), version })
    }

    /// As [`MaskedStream::push`]. Nothing comes out while the values of now cannot be masked.
    pub fn push(&mut self, chunk: &[u8]) -> Vec<u8> {
        if self.is_current() { self.stream.push(chunk) } else { Vec::new() }
    }

    /// As [`MaskedStream::finish`].
    pub fn finish(&mut self) -> Vec<u8> {
        if self.is_current() { self.stream.finish() } else { Vec::new() }
    }

    fn is_current(&mut self) -> bool {
        if self.masking.known().version != self.version {
            let Some((masker, version)) = self.masking.masker() else { return false };
            self.stream.follow(&masker);
            self.version = version;
        }
        true
    }
}
