//! Variables as other programs read them. The reader gets each value byte for byte, or the variable is left out and named.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;

use protocol::rules::Shell;
use zeroize::Zeroizing;

use super::value::{FormatError, replace, utf8};
use super::{Format, dotenv, tcsh};
use crate::environment::{Origin, Variable};

/// A variable that is left out because of its name.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub(super) name: String,
    pub(super) origin: Origin,
    reason: Reason,
}

#[derive(Debug, PartialEq, Eq)]
enum Reason {
    /// The name is no identifier.
    NoIdentifier,
    /// These programs keep the name for themselves; `instead` is the format of a shell that does not.
    Kept { by: Vec<String>, instead: Option<Shell> },
}

impl LeftOut {
    /// Whether somebody set the variable for this workspace. What only came along with the agent's start is nobody's loss.
    pub(super) fn is_missed(&self) -> bool {
        self.reason == Reason::NoIdentifier || matches!(self.origin, Origin::Template | Origin::Secret)
    }
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "variable {} is left out: ", self.name)?;
        match &self.reason {
            Reason::NoIdentifier => f.write_str("this format cannot hold its name"),
            Reason::Kept { by, instead } => {
                let (keep, verb) = (by.join(", "), if by.len() == 1 { "keeps" } else { "keep" });
                write!(f, "{keep} {verb} this name for internal use")?;
                instead.map_or(Ok(()), |format| write!(f, "; --format {format} has it"))
            }
        }
    }
}

type Text = Zeroizing<Vec<u8>>;

impl Format {
    /// The text, and the variables that it cannot hold.
    pub(super) fn write(self, variables: &[Variable]) -> Result<(Text, Vec<LeftOut>), FormatError> {
        let mut left_out = Vec::new();
        let mut kept = Vec::new();
        for variable in variables {
            match self.refusal(&variable.name) {
                None => kept.push(variable),
                Some(reason) => {
                    let name = variable.name.to_string_lossy().into_owned();
                    left_out.push(LeftOut { name, origin: variable.origin, reason });
                }
            }
        }
        let mut text = Text::default();
        match self {
            Self::Json => text.extend(json(&kept)?),
            Self::Tcsh => text = tcsh::write(&kept),
            _ => kept.into_iter().try_for_each(|variable| self.write_one(&mut text, variable))?,
        }
        Ok((text, left_out))
    }

    fn write_one(self, text: &mut Text, variable: &Variable) -> Result<(), FormatError> {
        let (name, value) = (variable.name.as_bytes(), variable.value.expose());
        let mut put = |before: &str, middle: &str, value: &[u8], end: &[u8]| {
            for part in [before.as_bytes(), name, middle.as_bytes(), value, end] {
                text.extend(part);
            }
        };
        let escaped = |value: &[u8]| Text::from(replace(value, |byte, _| self.escape(byte)));
        match self {
            // Nothing is special between single quotes, so only the quote itself leaves them.
            Self::Sh | Self::Bash | Self::Dash | Self::Mksh | Self::Zsh => {
                put("export ", "='", &escaped(value), b"'\n");
            }
            Self::Fish => put("set -gx ", " '", &escaped(value), b"'\n"),
            Self::Dotenv => put("", "=", &Text::from(dotenv::quoted(variable)?), b"\n"),
            Self::Systemd => put("", "=\"", &escaped(utf8(variable, "systemd")?), b"\"\n"),
            Self::Nul => put("", "=", value, b"\0"),
            Self::Json | Self::Tcsh => {}
        }
        Ok(())
    }

    /// What stands for a byte between the quotes of this format.
    fn escape(self, byte: u8) -> Option<&'static [u8]> {
        match (self, byte) {
            (Self::Sh | Self::Bash | Self::Dash | Self::Mksh | Self::Zsh, b'\'') => Some(br"'\''"),
            (Self::Fish, b'\'') => Some(br"\'"),
            (Self::Fish | Self::Systemd, b'\\') => Some(b"\\\\"),
            (Self::Systemd, b'"') => Some(b"\\\""),
            (Self::Systemd, b'$') => Some(b"\\$"),
            (Self::Systemd, b'`') => Some(b"\\`"),
            _ => None,
        }
    }

    /// Why the format cannot hold a name. Shells and files take identifiers only; exported functions of bash have others.
    fn refusal(self, name: &OsStr) -> Option<Reason> {
        let can_hold = match self {
            Self::Nul => true,
            Self::Json => name.to_str().is_some(),
            _ => is_identifier(name.as_bytes()),
        };
        if !can_hold {
            return Some(Reason::NoIdentifier);
        }
        let name = name.to_str().unwrap_or_default();
        let shells: &[Shell] = match self {
            Self::Sh => &Shell::POSIX,
            Self::Bash => &[Shell::Bash],
            Self::Dash => &[Shell::Dash],
            Self::Mksh => &[Shell::Mksh],
            Self::Zsh => &[Shell::Zsh],
            Self::Fish => &[Shell::Fish],
            Self::Tcsh => &[Shell::Tcsh],
            _ => &[],
        };
        let mut by: Vec<_> = shells.iter().filter(|shell| shell.keeps(name)).map(ToString::to_string).collect();
        if self == Self::Systemd && is_of_systemd(name) {
            by.push("systemd".to_owned());
        }
        if matches!(self, Self::Fish | Self::Tcsh) && name == "OPTIND" {
            // Each /bin/sh that is dash would end with an error from then on.
            by.push("sh".to_owned());
        }
        let instead = Shell::POSIX.into_iter().find(|shell| self == Self::Sh && !shell.keeps(name));
        (!by.is_empty()).then_some(Reason::Kept { by, instead })
    }
}

fn is_identifier(name: &[u8]) -> bool {
    let mut bytes = name.iter();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || *first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// What the service manager sets for each service by itself (systemd.exec(5), "Environment Variables Set or Propagated").
/// Set for all services, it would speak to programs in systemd's name.
fn is_of_systemd(name: &str) -> bool {
    const NAMES: [&str; 20] = [
        "CACHE_DIRECTORY",
        "CONFIGURATION_DIRECTORY",
        "CREDENTIALS_DIRECTORY",
        "EXIT_CODE",
        "EXIT_STATUS",
        "FDSTORE",
        "INVOCATION_ID",
        "JOURNAL_STREAM",
        "LOGS_DIRECTORY",
        "MAINPID",
        "MANAGERPID",
        "NOTIFY_SOCKET",
        "PIDFILE",
        "REMOTE_ADDR",
        "REMOTE_PORT",
        "RUNTIME_DIRECTORY",
        "SERVICE_RESULT",
        "STATE_DIRECTORY",
        "WATCHDOG_PID",
        "WATCHDOG_USEC",
    ];
    const FAMILIES: [&str; 5] = ["LISTEN_", "MEMORY_PRESSURE_", "MONITOR_", "SYSTEMD_", "TRIGGER_"];
    NAMES.contains(&name) || FAMILIES.iter().any(|family| name.starts_with(family))
}

fn json(variables: &[&Variable]) -> Result<Vec<u8>, FormatError> {
    let mut object = BTreeMap::new();
    for variable in variables {
        let value = std::str::from_utf8(utf8(variable, "json")?).unwrap_or_default();
        object.insert(variable.name.to_str().unwrap_or_default(), value);
    }
    let mut text = serde_json::to_vec_pretty(&object).unwrap_or_default();
    text.push(b'\n');
    Ok(text)
}

#[cfg(test)]
#[path = "format_tests.rs"]
mod tests;
