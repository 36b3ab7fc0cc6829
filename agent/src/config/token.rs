use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::secret::Secret;
use tokio::time::timeout;

use super::ConfigError;
use crate::sys::memory::{Guarded, guard_one};
use crate::sys::threads;

/// A token is a UUID; a file that is longer than this is not one.
const MAX_BYTES: u64 = 4096;
/// How long a dial waits for the file. Nothing else of the agent waits with it.
const DISK_PATIENCE: Duration = Duration::from_secs(2);

/// The agent's token: either given once, or kept in a file that may be rotated while the agent runs.
#[derive(Debug)]
pub struct TokenSource {
    path: Option<PathBuf>,
    last: Mutex<Guarded>,
    /// Shared with whoever reads the file.
    reader: Arc<()>,
}

impl TokenSource {
    /// A token that cannot change.
    pub fn fixed(token: Secret, origin: &str) -> Result<Self, ConfigError> {
        check(&token).map_err(|reason| ConfigError::BadToken { origin: origin.to_owned(), reason })?;
        Self::new(None, token)
    }

    /// A token in a file, read now for the first time.
    pub fn file(path: &Path) -> Result<Self, ConfigError> {
        let token = read(path).map_err(|source| ConfigError::ReadToken { path: path.to_owned(), source })?;
        check(&token).map_err(|reason| ConfigError::BadToken { origin: path.display().to_string(), reason })?;
        Self::new(Some(path.to_owned()), token)
    }

    fn new(path: Option<PathBuf>, token: Secret) -> Result<Self, ConfigError> {
        let last = Mutex::new(guard_one(token).map_err(ConfigError::Memory)?);
        Ok(Self { path, last, reader: Arc::default() })
    }

    /// The token for the next dial.
    ///
    /// A file that cannot be read any more, or is just being replaced, leaves the token that was read last: the file
    /// may be readable to root only, and the agent may have dropped root since. So does a disk that does not answer.
    pub async fn current(&self) -> Guarded {
        if let Some(token) = self.read_again().await
            && check(&token).is_ok()
            && let Ok(token) = guard_one(token)
        {
            *self.lock() = token;
        }
        self.last()
    }

    /// One reader at a time: a disk that hangs must not collect a thread with every dial.
    async fn read_again(&self) -> Option<Secret> {
        let (path, reader) = (self.path.clone()?, Arc::clone(&self.reader));
        if Arc::strong_count(&reader) > 2 {
            return None;
        }
        timeout(DISK_PATIENCE, threads::run(move || (read(&path), reader).0)).await.ok()?.ok()
    }

    /// The token that was read last.
    #[must_use]
    pub fn last(&self) -> Guarded {
        self.lock().share()
    }

    fn lock(&self) -> MutexGuard<'_, Guarded> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn read(path: &Path) -> io::Result<Secret> {
    let mut bytes = Vec::with_capacity(128);
    File::open(path)?.take(MAX_BYTES).read_to_end(&mut bytes)?;
    let whole = Secret::new(bytes);
    Ok(Secret::new(whole.expose().trim_ascii().to_vec()))
}

/// The token travels in an HTTP header, where anything but visible ASCII would be an error that is harder to read.
fn check(token: &Secret) -> Result<(), &'static str> {
    if token.is_empty() {
        return Err("it is empty");
    }
    if matches!(token.expose(), [b'"' | b'\'', .., b'"' | b'\'']) {
        return Err("it is in quotes; give it without them");
    }
    if is_session_token(token.expose()) {
        return Err("it is the session token of a user; an agent has a token of its own, which \
                    `coder-server workspace apply` prints");
    }
    if !token.expose().iter().all(u8::is_ascii_graphic) {
        return Err("it holds spaces or characters that no token has");
    }
    Ok(())
}

/// Whether it has the form of a session token, of Coder's server or ours: a public id of ten characters, a hyphen, and the
/// secret part. An agent's token is a UUID.
fn is_session_token(token: &[u8]) -> bool {
    match token.split_at_checked(10) {
        Some((id, [b'-', secret @ ..])) => secret.len() >= 22 && id.iter().chain(secret).all(u8::is_ascii_alphanumeric),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_rotated_file_is_seen_and_a_broken_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, " first \n").unwrap();
        let source = TokenSource::file(&path).unwrap();
        assert_eq!(source.last().expose(), b"first");
        std::fs::write(&path, "second\n").unwrap();
        assert_eq!(source.current().await.expose(), b"second");
        std::fs::write(&path, "").unwrap();
        assert_eq!(source.current().await.expose(), b"second");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(source.current().await.expose(), b"second");
    }

    #[test]
    fn a_token_of_another_kind_is_told() {
        let said = |text: &str| check(&Secret::from(text.to_owned())).err().unwrap_or_default();
        assert!(said("abcde12345-0123456789abcdefghijkl").contains("session token of a user"));
        assert!(said("\"0b2f5f1e-7a8f-4c1b-9a53-2f0e6c1d9b11\"").contains("in quotes"));
        for good in ["0b2f5f1e-7a8f-4c1b-9a53-2f0e6c1d9b11", "first", "abcde12345-short"] {
            assert_eq!(said(good), "", "{good}");
        }
    }

    #[test]
    fn a_token_that_is_none_is_refused_without_being_shown() {
        for text in ["", "two words", "päss", "line\nbreak"] {
            let error = TokenSource::fixed(Secret::from(text.to_owned()), "CODER_AGENT_TOKEN").unwrap_err().to_string();
            assert!(error.starts_with("the agent token in CODER_AGENT_TOKEN is unusable: it "), "{error}");
            assert!(text.is_empty() || !error.contains(text), "{error}");
        }
    }
}
