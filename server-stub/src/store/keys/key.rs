//! Encryption keys: their names, where they come from, what can be wrong with them.

use std::fmt;
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::secret::Secret;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

/// Bytes of a key.
pub(in crate::store) const KEY_BYTES: usize = 32;
/// Variable with comma-separated keys; the first encrypts, all decrypt.
pub const KEYS_VARIABLE: &str = "CODER_SERVER_ENCRYPTION_KEYS";

/// Name of a key: 16 hexadecimal digits of a hash of it. Safe to print.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct KeyId(String);

impl KeyId {
    /// The id as the database spells it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(in crate::store) fn stored(id: &str) -> Self {
        Self(id.to_owned())
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Where keys come from.
#[derive(Debug)]
pub enum KeySource {
    /// A file, one base64 key a line; made at the first start.
    File(PathBuf),
    /// Keys given by an environment variable; held as the text of the variable.
    Variable {
        /// Its name, for messages.
        name: &'static str,
        /// Its text.
        text: Secret,
    },
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Variable { name, .. } => write!(f, "the variable {name}"),
        }
    }
}

/// Why keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The key file could not be read, made or replaced.
    #[error("cannot {action} encryption key file {}", path.display())]
    File {
        /// read, create, replace or inspect.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Others can read the key file.
    #[error("encryption key file {} has mode {mode:04o}; other users must not be able to read it (chmod 600)", path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// The key file belongs to someone else.
    #[error("encryption key file {} belongs to {owner}, not to the user this runs as", path.display())]
    Owner {
        /// The file.
        path: PathBuf,
        /// User name or number.
        owner: String,
    },
    /// A key is not 32 bytes in base64.
    #[error("key {number} in {place} is not 32 bytes in base64")]
    Malformed {
        /// Counted from one.
        number: usize,
        /// File or variable.
        place: String,
    },
    /// There is no key at all.
    #[error("{place} holds no encryption key")]
    Empty {
        /// File or variable.
        place: String,
    },
    /// The database needs a key that is not there.
    #[error("the database needs encryption key {key}, which is not in {place} (found there: {found})")]
    Missing {
        /// The key.
        key: KeyId,
        /// File or variable.
        place: String,
        /// Ids of the keys that are there.
        found: String,
    },
    /// Stored data does not decrypt: damaged, or put there by someone without the key.
    #[error("value of {what} does not decrypt with key {key}")]
    Undecryptable {
        /// Table and row.
        what: String,
        /// The key that encrypted it.
        key: KeyId,
    },
    /// A row that lets somebody in has no MAC of a key, or one that is not of its content.
    #[error("{what} was changed by somebody without the encryption key")]
    Unproven {
        /// Table and row.
        what: String,
    },
    /// The kernel gave no random bytes.
    #[error("cannot get random bytes from the kernel")]
    Random(#[source] std::io::Error),
    /// The cipher refused; only inputs beyond all limits can do that.
    #[error("cannot encrypt a value")]
    Cipher,
}

/// Random bytes from the kernel.
pub(in crate::store) fn random<const N: usize>() -> Result<[u8; N], KeyError> {
    let mut bytes = [0; N];
    match rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()) {
        Ok(filled) if filled == N => Ok(bytes),
        Ok(_) => Err(KeyError::Random(std::io::ErrorKind::UnexpectedEof.into())),
        Err(errno) => Err(KeyError::Random(errno.into())),
    }
}

/// A key's bytes, wiped when dropped.
pub(in crate::store) type KeyBytes = Zeroizing<[u8; KEY_BYTES]>;

/// A new random key.
pub(in crate::store) fn generate() -> Result<KeyBytes, KeyError> {
    random().map(Zeroizing::new)
}

/// The id of a key.
pub(in crate::store) fn id_of(key: &KeyBytes) -> KeyId {
    use std::fmt::Write as _;
    let hash = Sha256::new().chain_update(b"coder-server key id\0").chain_update(key.as_slice()).finalize();
    KeyId(hash.iter().take(8).fold(String::new(), |mut id, byte| {
        // Writing to a String cannot fail.
        let _ = write!(id, "{byte:02x}");
        id
    }))
}

/// Keys as base64 text, separated by lines or commas; lines that start with `#` are comments.
pub(in crate::store) fn parse(text: &str, place: &str) -> Result<Vec<KeyBytes>, KeyError> {
    let words = text
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .flat_map(|line| line.split(','))
        .map(str::trim)
        .filter(|word| !word.is_empty());
    let mut keys = Vec::new();
    for (number, word) in (1..).zip(words) {
        let malformed = || KeyError::Malformed { number, place: place.to_owned() };
        let bytes = Zeroizing::new(STANDARD.decode(word).map_err(|_| malformed())?);
        let mut key = KeyBytes::default();
        if bytes.len() != KEY_BYTES {
            return Err(malformed());
        }
        key.copy_from_slice(&bytes);
        keys.push(key);
    }
    if keys.is_empty() { Err(KeyError::Empty { place: place.to_owned() }) } else { Ok(keys) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_are_no_keys_are_refused_by_number_and_never_shown() {
        for (text, number) in [("aGVsbG8=", 1), (&format!("{},hunter2!", STANDARD.encode([7; 32])), 2)] {
            let error = parse(text, "here").unwrap_err().to_string();
            assert_eq!(error, format!("key {number} in here is not 32 bytes in base64"));
        }
        assert_eq!(parse("# nothing\n\n", "here").unwrap_err().to_string(), "here holds no encryption key");
    }
}
