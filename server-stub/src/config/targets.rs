//! Targets that are denied to secrets.

use super::ConfigError;
use crate::store::{PatternError, Targets};

/// The policy of the options.
pub(super) fn targets(no_files: bool, env: &[String], files: &[String]) -> Result<Targets, ConfigError> {
    let mut targets = Targets::default();
    if no_files {
        targets = targets.without_files();
    }
    for (name, patterns, deny) in [
        ("--deny-user-secret-env-name", env, Targets::deny_env as fn(Targets, &str) -> Result<Targets, PatternError>),
        ("--deny-user-secret-file-path", files, Targets::deny_file),
    ] {
        for text in patterns.iter().map(|text| text.trim()).filter(|text| !text.is_empty()) {
            targets =
                deny(targets, text).map_err(|source| ConfigError::Pattern { name, text: text.to_owned(), source })?;
        }
    }
    Ok(targets)
}
