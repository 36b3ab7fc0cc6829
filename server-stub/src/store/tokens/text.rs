//! The text of a session token: a public id, and the part that proves.

use std::fmt::Write as _;

use protocol::secret::Secret;
use sha2::{Digest, Sha256};

use super::super::StoreError;
use super::super::keys::random;

/// Characters of a token's public id: 50 random bits of it.
pub(super) const ID_LENGTH: usize = 10;
const ID_ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
/// The part that proves: 32 random bytes in hexadecimal digits.
const SECRET_LENGTH: usize = 64;

pub(super) fn new_id() -> Result<String, StoreError> {
    let bytes: [u8; ID_LENGTH] = random()?;
    Ok(bytes.iter().map(|byte| char::from(ID_ALPHABET[usize::from(byte % 32)])).collect())
}

pub(super) fn new_secret() -> Result<Secret, StoreError> {
    let bytes: [u8; SECRET_LENGTH / 2] = random()?;
    let mut text = String::with_capacity(SECRET_LENGTH);
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    Ok(Secret::from(text))
}

/// The whole token.
pub(super) fn whole(id: &str, secret: &Secret) -> Secret {
    Secret::new([id.as_bytes(), b"-", secret.expose()].concat())
}

/// The secret is random, so a plain hash is as good as a slow one.
pub(super) fn hash(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

/// Public id and secret part; none for what cannot be a token, which then costs no look-up.
pub(super) fn split(token: &Secret) -> Option<(&str, &[u8])> {
    let (id, secret) = token.expose_str().ok()?.split_once('-')?;
    (is_id(id) && secret.len() == SECRET_LENGTH).then_some((id, secret.as_bytes()))
}

/// Whether a text can be a public id.
pub(super) fn is_id(text: &str) -> bool {
    text.len() == ID_LENGTH && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
}
