//! What a user secret may look like: one function a field, and every fault of a request reported together.
//!
//! The texts are the reference's contract: its command line and scripts match on them.

pub mod code;
mod shells;

use crate::problem::FieldProblem;
use crate::rest::{CreateUserSecretRequest, UpdateUserSecretRequest};
use crate::secret::Secret;
pub use shells::Shell;

/// Longest name, in bytes. Ours: a longer one would not fit into the URL that deletes it.
pub const MAX_NAME_BYTES: usize = 1024;
/// Longest description, in bytes. Ours: without a bound, fifty of them would be an answer of any size.
pub const MAX_DESCRIPTION_BYTES: usize = 16_384;
/// Longest value, in plaintext bytes.
pub const MAX_VALUE_BYTES: usize = 24_576;
/// Longest environment variable name, in bytes.
pub const MAX_ENV_NAME_BYTES: usize = 256;
/// Longest file path, in bytes: Linux's `PATH_MAX`.
pub const MAX_FILE_PATH_BYTES: usize = 4096;
/// Most secrets of one user, disabled ones included.
pub const MAX_SECRETS: usize = 50;
/// Most plaintext bytes of all values of one user.
pub const MAX_TOTAL_VALUE_BYTES: usize = 204_800;
/// Most plaintext bytes of all values of one user that have an environment variable target.
pub const MAX_ENV_VALUE_BYTES: usize = 24_576;

/// Names that the system or a session owns, whatever their letter case.
const RESERVED_ENV_NAMES: [&str; 31] = [
    "PATH",
    "HOME",
    "SHELL",
    "USER",
    "LOGNAME",
    "PWD",
    "OLDPWD",
    "LANG",
    "TERM",
    "IFS",
    "CDPATH",
    "ENV",
    "BASH_ENV",
    "TMPDIR",
    "TMP",
    "TEMP",
    "HOSTNAME",
    "SSH_AUTH_SOCK",
    "SSH_CLIENT",
    "SSH_CONNECTION",
    "SSH_TTY",
    "EDITOR",
    "VISUAL",
    "PAGER",
    "VSCODE_PROXY_URI",
    "CS_DISABLE_GETTING_STARTED_OVERRIDE",
    "XDG_RUNTIME_DIR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "XDG_CACHE_HOME",
    "XDG_STATE_HOME",
];

/// Families of names that change how git, the locale or the dynamic loader behave.
const RESERVED_ENV_PREFIXES: [&str; 4] = ["GIT_", "LC_", "LD_", "DYLD_"];

/// Checks a secret's name, which is a segment of its URL.
pub fn name(name: &str) -> Result<(), String> {
    if name.trim().is_empty() {
        return Err("Name is required.".into());
    }
    if name.trim() != name {
        return Err("Name must not have leading or trailing whitespace.".into());
    }
    if name.contains(['/', '?', '#']) {
        return Err("Name must not contain /, ?, or #.".into());
    }
    // No text column of PostgreSQL holds one, and no file name or variable does.
    if name.contains('\0') {
        return Err("Name must not contain null bytes.".into());
    }
    if name.len() > MAX_NAME_BYTES {
        return Err(format!("Name must not exceed {MAX_NAME_BYTES} bytes."));
    }
    // Every URL library resolves these two away, encoded or not: such a secret could be created and never reached again.
    if matches!(name, "." | "..") {
        return Err("Name must not be . or ..".into());
    }
    Ok(())
}

/// Checks the value of a new secret, which must not be empty.
pub fn required_value(secret: &Secret) -> Result<(), String> {
    if secret.is_empty() { Err("Value is required.".into()) } else { value(secret) }
}

/// Checks a value. An empty one is legal here: an update may clear it.
pub fn value(value: &Secret) -> Result<(), String> {
    if value.expose().contains(&0) {
        return Err("secret value must not contain null bytes".into());
    }
    if value.len() > MAX_VALUE_BYTES {
        return Err(format!("secret value must not exceed {MAX_VALUE_BYTES} bytes"));
    }
    Ok(())
}

/// Checks the name of an environment variable target; empty means none. The agent checks again what a server sends.
pub fn env_name(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Ok(());
    }
    if name.len() > MAX_ENV_NAME_BYTES {
        return Err(format!("environment variable name must not exceed {MAX_ENV_NAME_BYTES} bytes"));
    }
    let legal_start = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    if !legal_start || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
        return Err("must start with a letter or underscore, followed by letters, digits, or underscores".into());
    }
    let upper = name.to_ascii_uppercase();
    if RESERVED_ENV_NAMES.contains(&upper.as_str()) {
        return Err(format!("{name} is a reserved environment variable name"));
    }
    if upper == "CODER" || upper.starts_with("CODER_") {
        return Err("environment variable names starting with CODER_ are reserved for internal use".into());
    }
    match RESERVED_ENV_PREFIXES.iter().find(|prefix| upper.starts_with(**prefix)) {
        Some(prefix) => Err(format!("environment variables starting with {prefix} are reserved")),
        None => Ok(()),
    }
}

/// Checks a file target; empty means none. `..` and system paths are the owner's own business.
pub fn file_path(path: &str) -> Result<(), String> {
    if path.is_empty() {
        return Ok(());
    }
    if !path.starts_with("~/") && !path.starts_with('/') {
        return Err("file path must start with ~/ or /".into());
    }
    if path.contains('\0') {
        return Err("file path must not contain null bytes".into());
    }
    if path.len() > MAX_FILE_PATH_BYTES {
        return Err(format!("file path must not exceed {MAX_FILE_PATH_BYTES} bytes"));
    }
    Ok(())
}

/// Every fault of a create request, in the order `name`, `value`, `env_name`, `file_path`, `description`.
#[must_use]
pub fn create(request: &CreateUserSecretRequest) -> Vec<FieldProblem> {
    collect([
        ("name", name(&request.name)),
        ("value", required_value(&request.value)),
        ("env_name", env_name(&request.env_name)),
        ("file_path", file_path(&request.file_path)),
        ("description", description(&request.description)),
    ])
}

/// Every fault of an update request, in the order `value`, `env_name`, `file_path`, `description`.
#[must_use]
pub fn update(request: &UpdateUserSecretRequest) -> Vec<FieldProblem> {
    collect([
        ("value", request.value.as_ref().map_or(Ok(()), value)),
        ("env_name", request.env_name.as_deref().map_or(Ok(()), env_name)),
        ("file_path", request.file_path.as_deref().map_or(Ok(()), file_path)),
        ("description", request.description.as_deref().map_or(Ok(()), description)),
    ])
}

fn description(text: &str) -> Result<(), String> {
    if text.contains('\0') {
        return Err("Description must not contain null bytes.".into());
    }
    if text.len() > MAX_DESCRIPTION_BYTES {
        return Err(format!("Description must not exceed {MAX_DESCRIPTION_BYTES} bytes."));
    }
    Ok(())
}

fn collect<const N: usize>(checks: [(&str, Result<(), String>); N]) -> Vec<FieldProblem> {
    checks.into_iter().filter_map(|(field, check)| check.err().map(|detail| FieldProblem::new(field, detail))).collect()
}

#[cfg(test)]
mod tests;
