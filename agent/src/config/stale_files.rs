use std::str::FromStr;

use serde::Deserialize;

/// What becomes of files that no secret goes to any more.
#[derive(Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum StaleFiles {
    /// They stay.
    #[default]
    Keep,
    /// Those that are still what was written there are removed.
    Remove,
}

impl StaleFiles {
    /// The words for them, on the command line and in the configuration file.
    pub(super) const WORDS: [&str; 2] = ["keep", "remove"];
}

impl FromStr for StaleFiles {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        match word {
            "keep" => Ok(Self::Keep),
            "remove" => Ok(Self::Remove),
            other => Err(format!("{other:?} is neither keep nor remove")),
        }
    }
}
