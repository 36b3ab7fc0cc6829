use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use protocol::secret::Secret;

use super::ConfigError;
use crate::sys::memory::{Guarded, guard_one};

/// A token is a UUID; a file that is longer than this is not one.
const MAX_BYTES: u64 = 4096;

/// The agent's token: either given once, or kept in a file that may be rotated while the agent runs.
#[derive(Debug)]
pub struct TokenSource {
    path: Option<PathBuf>,
    last: Guarded,
}

impl TokenSource {
    /// A token that cannot change.
    pub fn fixed(token: Secret, origin: &str) -> Result<Self, ConfigError> {
        check(&token).map_err(|reason| ConfigError::BadToken { origin: origin.to_owned(), reason })?;
        Ok(Self { path: None, last: guard_one(token).map_err(ConfigError::Memory)? })
    }

    /// A token in a file, read now for the first time.
    pub fn file(path: &Path) -> Result<Self, ConfigError> {
        let token = read(path).map_err(|source| ConfigError::ReadToken { path: path.to_owned(), source })?;
        check(&token).map_err(|reason| ConfigError::BadToken { origin: path.display().to_string(), reason })?;
        Ok(Self { path: Some(path.to_owned()), last: guard_one(token).map_err(ConfigError::Memory)? })
    }

    /// The token for the next dial.
    ///
    /// A file that cannot be read any more, or is just being replaced, leaves the token that was read last: the file
    /// may be readable to root only, and the agent may have dropped root since.
    pub fn current(&mut self) -> &Guarded {
        if let Some(token) = self.path.as_deref().and_then(|path| read(path).ok())
            && check(&token).is_ok()
            && let Ok(token) = guard_one(token)
        {
            self.last = token;
        }
        &self.last
    }

    /// The token that was read last.
    #[must_use]
    pub fn last(&self) -> &Guarded {
        &self.last
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
    if !token.expose().iter().all(u8::is_ascii_graphic) {
        return Err("it holds spaces or characters that no token has");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rotated_file_is_seen_and_a_broken_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, " first \n").unwrap();
        let mut source = TokenSource::file(&path).unwrap();
        assert_eq!(source.last().expose(), b"first");
        std::fs::write(&path, "second\n").unwrap();
        assert_eq!(source.current().expose(), b"second");
        std::fs::write(&path, "").unwrap();
        assert_eq!(source.current().expose(), b"second");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(source.current().expose(), b"second");
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
