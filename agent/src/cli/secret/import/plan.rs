//! What an import would do: which secrets are new, which exist, which are left out.

use std::collections::BTreeSet;
use std::fmt;

use protocol::import::Entry;
use protocol::rest::UserSecret;

use super::{OPERATION, names};
use crate::cli::error::CliError;
use crate::cli::ui;

/// The entries of a file, sorted by what has to be done with them, each in the order of the file.
pub(super) struct Plan {
    /// To be created.
    pub(super) new: Vec<Entry>,
    /// To be changed, if the user wants that.
    pub(super) existing: Vec<Entry>,
    /// Whether the user wants that.
    update: bool,
    /// The keys that have no value.
    pub(super) skipped: Vec<String>,
}

impl Plan {
    /// A plan for a user who has the secrets `stored`.
    pub(super) fn new(entries: Vec<Entry>, skipped: Vec<String>, stored: &[UserSecret], update: bool) -> Self {
        let stored: BTreeSet<&str> = stored.iter().map(|secret| secret.name.as_str()).collect();
        let (existing, new) = entries.into_iter().partition(|entry| stored.contains(entry.key.as_str()));
        Self { new, existing, update, skipped }
    }

    /// Fails as the import itself would.
    pub(super) fn refuse_existing(&self) -> Result<(), CliError> {
        if self.update || self.existing.is_empty() {
            return Ok(());
        }
        let existing = names(self.existing.iter().map(|entry| &entry.key));
        let reason = format!("these secrets exist already: {existing}; to change their values: --update");
        Err(CliError::Unsupported { operation: OPERATION.into(), reason })
    }
}

/// One line for each key, without its value.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for entry in &self.new {
            let key = ui::one_line(&entry.key);
            match entry.env_name() {
                "" => writeln!(f, "create  {key}  (no environment variable)")?,
                name => writeln!(f, "create  {key}  (environment variable {name})")?,
            }
        }
        let action = if self.update { "update" } else { "exists" };
        for entry in &self.existing {
            writeln!(f, "{action}  {}", ui::one_line(&entry.key))?;
        }
        for key in &self.skipped {
            writeln!(f, "skip    {}  (no value)", ui::one_line(key))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use protocol::import::{Format, parse};

    use super::*;

    #[test]
    fn a_plan_tells_new_from_existing_without_values() {
        let entries = parse(Format::Env, "A=hunter2\nB-C=hunter2\nD=hunter2").unwrap();
        let stored: UserSecret = serde_json::from_str(r#"{"name":"D"}"#).unwrap();
        let mut plan = Plan::new(entries, vec!["E".into()], &[stored], true);
        assert_eq!(
            plan.to_string(),
            "create  A  (environment variable A)\ncreate  B-C  (no environment variable)\nupdate  D\nskip    E  (no value)\n"
        );
        assert!(plan.refuse_existing().is_ok());
        plan.update = false;
        assert!(plan.to_string().contains("\nexists  D\n"));
        assert!(plan.refuse_existing().unwrap_err().to_string().contains("exist already: \"D\""));
    }
}
