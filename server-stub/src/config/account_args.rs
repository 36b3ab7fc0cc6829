//! What users may have: how long they stay signed in, how long their tokens live, how many workspaces they define.

use std::time::Duration;

use clap::Args;

use super::quantities::lifetime;
use super::{ConfigError, Environment};

/// A month without a sign-in.
const DEFAULT_SESSION: &str = "30d";
/// A year.
const DEFAULT_TOKEN: &str = "365d";
const DEFAULT_WORKSPACES: u32 = 20;

/// Flags of `serve` about users.
#[derive(Debug, Default, Args)]
pub struct AccountArgs {
    /// End a session of a user this long after its last use, and 90 days after the sign-in at the latest [default: 30d]
    /// [also: CODER_SESSION_DURATION]
    #[arg(long, value_name = "TIME", env = "CODER_SERVER_SESSION_DURATION")]
    pub session_duration: Option<String>,
    /// Let users create API tokens that live at most this long [default: 365d] [also: CODER_MAX_TOKEN_LIFETIME]
    #[arg(long, value_name = "TIME", env = "CODER_SERVER_MAX_TOKEN_LIFETIME")]
    pub max_token_lifetime: Option<String>,
    /// Let each user define at most this many workspaces; 0 lets administrators alone define them [default: 20]
    #[arg(long, value_name = "N", env = "CODER_SERVER_MAX_WORKSPACES_PER_USER")]
    pub max_workspaces_per_user: Option<u32>,
}

/// What users may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountConfig {
    /// How long a session lives after its last use.
    pub session_duration: Duration,
    /// Longest life of an API token that users make.
    pub max_token_lifetime: Duration,
    /// Most workspaces that a user defines.
    pub max_workspaces: u32,
}

#[cfg(test)]
impl Default for AccountConfig {
    fn default() -> Self {
        let day = Duration::from_hours(24);
        Self { session_duration: 30 * day, max_token_lifetime: 365 * day, max_workspaces: DEFAULT_WORKSPACES }
    }
}

impl AccountArgs {
    /// Adds Coder's own variables and the defaults.
    pub(super) fn resolve(self, environment: Environment<'_>) -> Result<AccountConfig, ConfigError> {
        let text = |name: &str| {
            environment(name).filter(|value| !value.is_empty()).map(|value| value.to_string_lossy().into_owned())
        };
        let session = self.session_duration.or_else(|| text("CODER_SESSION_DURATION"));
        let token = self.max_token_lifetime.or_else(|| text("CODER_MAX_TOKEN_LIFETIME"));
        Ok(AccountConfig {
            session_duration: lifetime("--session-duration", session.as_deref().unwrap_or(DEFAULT_SESSION))?,
            max_token_lifetime: lifetime("--max-token-lifetime", token.as_deref().unwrap_or(DEFAULT_TOKEN))?,
            max_workspaces: self.max_workspaces_per_user.unwrap_or(DEFAULT_WORKSPACES),
        })
    }
}
