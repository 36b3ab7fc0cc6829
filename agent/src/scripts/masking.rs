use std::sync::OnceLock;

use protocol::secret::Secret;
use tracing::{error, info};

use crate::config::TOKEN_VARIABLE;
use crate::environment::Environment;
use crate::errors::chain;
use crate::mask::{MaskedStream, Masker};

/// The masker of one environment, made when the first output is about to be read: it takes milliseconds, which the
/// first script need not wait for, and a workspace without scripts never needs it.
#[derive(Debug)]
pub struct Masking {
    agent_token: Secret,
    /// `None` where it could not be made.
    masker: OnceLock<Option<Masker>>,
}

impl Masking {
    /// Masks the values of an environment and `agent_token`.
    #[must_use]
    pub fn new(agent_token: Secret) -> Self {
        Self { agent_token, masker: OnceLock::new() }
    }

    /// Masks one stream of output. `None`: nothing of it may be logged.
    pub(super) fn stream(&self, environment: &Environment) -> Option<MaskedStream> {
        self.masker.get_or_init(|| self.build(environment)).as_ref().map(Masker::stream)
    }

    fn build(&self, environment: &Environment) -> Option<Masker> {
        let mut values = environment.values_to_mask();
        values.push((TOKEN_VARIABLE.to_owned(), Secret::new(self.agent_token.expose().to_vec())));
        match Masker::new(&values) {
            Ok((masker, too_short)) => {
                if !too_short.is_empty() {
                    info!("too short to be masked in script output, whole or in part: {}", too_short.join(", "));
                }
                Some(masker)
            }
            Err(error) => {
                error!("{}: the output of scripts is not logged", chain(&error));
                None
            }
        }
    }
}
