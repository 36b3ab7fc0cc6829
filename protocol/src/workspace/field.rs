//! Types of a definition's fields. Each checks its text while it is read, so that the message has the line.

use std::fmt;

use serde::Deserialize;

/// Longest name of a workspace, an agent or an owner, as Coder has it.
const MAX_NAME_BYTES: usize = 32;
/// Longest name of a variable.
pub(super) const MAX_ENV_NAME_BYTES: usize = 256;
/// Longest script. One message to the agent has room for several of them.
const MAX_SCRIPT_BYTES: usize = 1024 * 1024;
/// Longest path, Linux's `PATH_MAX`.
const MAX_PATH_BYTES: usize = 4096;
/// Longest text for people, and longest metadata key.
const MAX_LABEL_BYTES: usize = 256;

macro_rules! text_fields {
    ($($(#[$doc:meta])* $name:ident = $check:ident;)*) => { $(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(String);

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                $check(&text)?;
                Ok(Self(text))
            }
        }

        impl $name {
            /// The checked text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )* };
}

text_fields! {
    /// Name of a workspace, an agent or an owner.
    Name = check_name;
    /// Name of a variable. The template may set names that are reserved for user secrets, such as `PATH`, and names that a shell cannot.
    EnvName = check_env_name;
    /// The text of a script.
    ScriptText = check_script;
    /// A path in the workspace, as written: the agent expands it.
    WorkspacePath = check_path;
    /// A text for people, or the key of a metadata item.
    Label = check_label;
    /// A schedule in cron's notation with six fields, of which the first is the seconds.
    Cron = check_cron;
}

fn bounded(text: &str, limit: usize) -> Result<(), String> {
    if text.contains('\0') {
        return Err("must not contain null bytes".into());
    }
    if text.len() > limit {
        return Err(format!("must not exceed {limit} bytes, and has {}", text.len()));
    }
    Ok(())
}

fn required(text: &str, limit: usize) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err("must not be empty".into());
    }
    bounded(text, limit)
}

fn check_name(name: &str) -> Result<(), String> {
    required(name, MAX_NAME_BYTES)?;
    let legal = name.split('-').all(|part| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric()));
    if legal {
        Ok(())
    } else {
        Err(format!("name {name:?} must be letters and digits, with single hyphens between them"))
    }
}

/// POSIX forbids `=` and NUL in names, and nothing else.
fn check_env_name(name: &str) -> Result<(), String> {
    required(name, MAX_ENV_NAME_BYTES)?;
    if name.contains('=') { Err(format!("environment variable name {name:?} must not contain =")) } else { Ok(()) }
}

fn check_script(text: &str) -> Result<(), String> {
    required(text, MAX_SCRIPT_BYTES)
}

fn check_path(path: &str) -> Result<(), String> {
    bounded(path, MAX_PATH_BYTES)
}

fn check_label(text: &str) -> Result<(), String> {
    required(text, MAX_LABEL_BYTES)?;
    // A control character in a label would reach the terminal of whoever lists workspaces.
    if text.chars().any(char::is_control) { Err("must not contain control characters".into()) } else { Ok(()) }
}

fn check_cron(text: &str) -> Result<(), String> {
    required(text, MAX_LABEL_BYTES)?;
    let fields = text.split_whitespace().count();
    let legal = text.bytes().all(|b| b.is_ascii_alphanumeric() || b" \t*,-/?".contains(&b));
    if fields == 6 && legal {
        return Ok(());
    }
    Err(format!("cron {text:?} must have six fields: second, minute, hour, day of month, month, day of week"))
}

/// A number of seconds, as Coder counts timeouts and intervals. Zero means none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Seconds(i32);

impl TryFrom<String> for Seconds {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.parse::<i64>().map(i32::try_from) {
            Ok(Ok(seconds)) if seconds >= 0 => Ok(Self(seconds)),
            Ok(Ok(_)) => Err(format!("{text} seconds: must not be negative")),
            Ok(Err(_)) => Err(format!("{text} seconds: must lie between 0 and {}", i32::MAX)),
            Err(_) => Err(format!("{text:?} is not a whole number of seconds")),
        }
    }
}

impl Seconds {
    /// The number.
    #[must_use]
    pub fn get(self) -> i64 {
        self.0.into()
    }

    /// A number of seconds that is known to be in range.
    #[must_use]
    pub const fn of(seconds: u16) -> Self {
        Self(seconds as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["dev", "my-dev-2", "A1", "0"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", " ", "-a", "a-", "a--b", "a_b", "a b", "ä", &"x".repeat(33)] {
            assert!(check_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn variables() {
        for good in ["PATH", "_", "a1", "1A", "A-B", "odd name", "Ä", &"X".repeat(256)] {
            assert_eq!(check_env_name(good), Ok(()), "{good}");
        }
        for bad in ["", " ", "A=B", "A\0", &"X".repeat(257)] {
            assert!(check_env_name(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn cron_has_six_fields() {
        for good in ["0 */5 * * * *", "0 0 22 ? * MON-FRI"] {
            assert_eq!(check_cron(good), Ok(()), "{good}");
        }
        for bad in ["", "* * * * *", "@daily", "0 0 0 0 0 $(id)"] {
            assert!(check_cron(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn seconds() {
        let read = |text: &str| Seconds::try_from(text.to_owned());
        assert_eq!(read("0").unwrap().get(), 0);
        assert!(read("-1").unwrap_err().contains("negative"));
        assert!(read("2147483648").unwrap_err().contains("between"));
        for bad in ["soon", "1.5", "", "9223372036854775808"] {
            assert!(read(bad).unwrap_err().contains("whole number"), "{bad}");
        }
    }
}
