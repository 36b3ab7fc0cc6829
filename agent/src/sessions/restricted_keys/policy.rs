//! From how the client authenticated, and from the lines of `authorized_keys`, to the command that may run.
//!
//! Whatever is not clear is refused: sshd has let the client in already, and only we know that it is not to have a shell.

use super::authorized_keys::{self, Command, Line};
use super::{KeyFiles, Refusal};

/// Ends the type of a certificate.
const CERTIFICATE: &[u8] = b"-cert-v01@openssh.com";

/// How the client authenticated.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// With these keys; with none if it used a password or the like.
    Keys(Vec<Vec<u8>>),
    /// sshd does not say.
    Unknown,
    /// sshd says that there was a key, and we cannot read which.
    Unreadable,
}

impl Shown {
    /// Reads the file that sshd writes: a method on each line, followed by its key if it has one.
    pub(super) fn parse(info: &[u8]) -> Self {
        let mut keys = Vec::new();
        let mut lines = info.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).peekable();
        if lines.peek().is_none() {
            return Self::Unknown;
        }
        for line in lines {
            let Some(rest) = line.strip_prefix(b"publickey") else { continue };
            match authorized_keys::key(rest.trim_ascii_start()) {
                Some(key) => keys.push(key),
                None => return Self::Unreadable,
            }
        }
        Self::Keys(keys)
    }
}

pub(super) fn decide(shown: Shown, lines: &[Line], files: &KeyFiles<'_>) -> Result<Option<Vec<u8>>, Refusal> {
    let keys = match shown {
        Shown::Keys(keys) => keys,
        Shown::Unknown if lines.iter().any(Line::may_restrict) => {
            return refuse("sshd needs \"ExposeAuthInfo yes\" to say which key it was");
        }
        Shown::Unknown => return Ok(None),
        Shown::Unreadable => return refuse("sshd names its key in a form that cannot be read"),
    };
    let mut commands: Vec<&Command> = Vec::new();
    for key in &keys {
        if authorized_keys::kind_of(key).is_some_and(|kind| kind.ends_with(CERTIFICATE)) {
            certificate(key, lines)?;
        } else {
            commands.extend(commands_of(key, lines, files)?);
        }
    }
    commands.dedup();
    match commands[..] {
        [] | [Command::Any] => Ok(None),
        [Command::Only(command)] => Ok(Some(command.clone())),
        [Command::Unclear] => refuse("the command= of its line in authorized_keys is malformed"),
        // Which line sshd used may depend on addresses and times that only sshd has looked at.
        _ => refuse("several lines let it in, with different commands"),
    }
}

/// The commands of all lines that let `key` in.
fn commands_of<'l>(key: &[u8], lines: &'l [Line], files: &KeyFiles<'_>) -> Result<Vec<&'l Command>, Refusal> {
    // sshd may be able to read what we cannot, and uses the first line that fits.
    if let Some(place) = lines.iter().find_map(|line| line.hides(key)) {
        return refuse(format!("its key is in {place}, which cannot be read"));
    }
    let commands: Vec<_> = lines.iter().filter_map(|line| line.command_for(key)).collect();
    if !commands.is_empty() {
        return Ok(commands);
    }
    let unreadable = lines.iter().find_map(Line::unreadable_place);
    match unreadable {
        _ if !files.allows_unlisted => refuse(format!(
            "its key is in none of {}; name the file with \"coder session --authorized-keys FILE\"",
            files.patterns.join(", ")
        )),
        Some(place) => refuse(format!("its key may be in {place}, which cannot be read")),
        None => Ok(Vec::new()),
    }
}

/// Who signed a certificate, and what for, is sshd's to judge. If either could mean a command, the login is refused.
fn certificate(key: &[u8], lines: &[Line]) -> Result<(), Refusal> {
    const FORCED: &[u8] = b"force-command";
    if key.windows(FORCED.len()).any(|window| window == FORCED) || lines.iter().any(Line::may_restrict_certificates) {
        return refuse("certificates with a command are not supported");
    }
    Ok(())
}

fn refuse<T>(reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Unclear(reason.into()))
}

#[cfg(test)]
#[path = "policy_tests.rs"]
mod tests;
