//! Encryption of single values.
//!
//! Each value is sealed with AES-256-GCM under a fresh nonce, and bound to its place: table, user, row, column and key. Who can write
//! the database but has no key can therefore neither read a value nor move one user's value into another's row.

use std::fmt;
use std::sync::{PoisonError, RwLock};

use aes_gcm::aead::{Aead, Nonce, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use protocol::secret::Secret;
use ring::hmac;
use uuid::Uuid;

use super::file;
use super::key::{KeyBytes, KeyError, KeyId, KeySource, generate, id_of, parse, random};
use super::mac::{self, Claim, Mac, framed};

/// The nonce length of AES-GCM.
const NONCE_BYTES: usize = 12;

/// What a sealed value is bound to. Made by [`super::sealed::SealedColumn::of`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Place {
    pub(super) table: &'static str,
    pub(super) user: Uuid,
    pub(super) row: Uuid,
    pub(super) column: &'static str,
}

impl Place {
    fn associated_data(&self, key: &KeyId) -> Vec<u8> {
        framed(&[
            self.table.as_bytes(),
            self.user.as_bytes(),
            self.row.as_bytes(),
            self.column.as_bytes(),
            key.as_str().as_bytes(),
        ])
    }
}

/// A value as the database keeps it.
#[derive(Debug)]
pub(in crate::store) struct Sealed {
    /// The key that opens it.
    pub(in crate::store) key: KeyId,
    /// Nonce, ciphertext and tag.
    pub(in crate::store) data: Vec<u8>,
}

struct Cipher {
    id: KeyId,
    aes: Aes256Gcm,
    mac: hmac::Key,
}

impl Cipher {
    fn new(key: &KeyBytes) -> Self {
        Self { id: id_of(key), aes: Aes256Gcm::new((&**key).into()), mac: mac::derive(key) }
    }

    fn seal(&self, place: &Place, value: &[u8]) -> Result<Sealed, KeyError> {
        let nonce: Nonce<Aes256Gcm> = random::<NONCE_BYTES>()?.into();
        let payload = Payload { msg: value, aad: &place.associated_data(&self.id) };
        let sealed = self.aes.encrypt(&nonce, payload).map_err(|_| KeyError::Cipher)?;
        Ok(Sealed { key: self.id.clone(), data: [nonce.as_slice(), &sealed].concat() })
    }

    fn unseal(&self, place: &Place, data: &[u8]) -> Option<Secret> {
        let (nonce, sealed) = data.split_first_chunk::<NONCE_BYTES>()?;
        let payload = Payload { msg: sealed, aad: &place.associated_data(&self.id) };
        self.aes.decrypt(&Nonce::<Aes256Gcm>::from(*nonce), payload).ok().map(Secret::new)
    }
}

/// The keys this process has. It only ever gains keys: a reader may still hold a row that the key dropped last encrypted.
pub(in crate::store) struct Keyring {
    source: KeySource,
    ciphers: RwLock<Vec<Cipher>>,
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("source", &self.source).finish_non_exhaustive()
    }
}

impl Keyring {
    /// Reads the keys.
    pub(in crate::store) fn load(source: KeySource) -> Result<Self, KeyError> {
        let keyring = Self { source, ciphers: RwLock::default() };
        keyring.reread()?;
        Ok(keyring)
    }

    /// As [`Keyring::load`], making a key file that is not there. For a database that needs no key yet.
    pub(in crate::store) fn load_or_create(source: KeySource) -> Result<Self, KeyError> {
        if let KeySource::File(path) = &source
            && !path.exists()
        {
            file::create(path, &generate()?)?;
        }
        Self::load(source)
    }

    /// Where the keys come from.
    pub(in crate::store) fn source(&self) -> &KeySource {
        &self.source
    }

    /// The ids, in the order of the source.
    pub(in crate::store) fn ids(&self) -> Vec<KeyId> {
        self.ciphers().iter().map(|cipher| cipher.id.clone()).collect()
    }

    /// Fails, naming the key and where keys are read from, when `key` is not there even after reading the source again.
    pub(in crate::store) fn require(&self, key: &KeyId) -> Result<(), KeyError> {
        self.with(key, |_| ()).map_or_else(|| Err(self.missing(key)), Ok)
    }

    /// Seals a value under `key`.
    pub(in crate::store) fn seal(&self, key: &KeyId, place: &Place, value: &[u8]) -> Result<Sealed, KeyError> {
        self.with(key, |cipher| cipher.seal(place, value)).unwrap_or_else(|| Err(self.missing(key)))
    }

    /// Opens a value. Fails if the key is unknown, the data damaged or the place another. One that does not open must not hide the
    /// others: report it and go on.
    pub(in crate::store) fn unseal(&self, key: &KeyId, place: &Place, data: &[u8]) -> Result<Secret, KeyError> {
        self.with(key, |cipher| cipher.unseal(place, data))
            .flatten()
            .ok_or_else(|| KeyError::Undecryptable { what: format!("{} {}", place.table, place.row), key: key.clone() })
    }

    /// The MAC of a claim under `key`.
    pub(in crate::store) fn mac(&self, key: &KeyId, claim: &Claim) -> Result<Mac, KeyError> {
        let signed = self.with(key, |cipher| claim.sign(&cipher.mac));
        Ok(Mac { key: key.clone(), data: signed.ok_or_else(|| self.missing(key))? })
    }

    /// Whether `mac` was made for this claim by somebody who has `key`.
    pub(in crate::store) fn proves(&self, key: &KeyId, claim: &Claim, mac: &[u8]) -> bool {
        self.with(key, |cipher| claim.is_signed(&cipher.mac, mac)).unwrap_or(false)
    }

    /// An unknown id makes the source be read again: a key may have been added while we ran.
    fn with<T>(&self, key: &KeyId, work: impl Fn(&Cipher) -> T) -> Option<T> {
        let find = || self.ciphers().iter().find(|cipher| cipher.id == *key).map(&work);
        find().or_else(|| {
            if let Err(error) = self.reread() {
                tracing::error!(%error, "cannot read the encryption keys again");
            }
            find()
        })
    }

    /// Takes keys that were added to the source.
    pub(in crate::store) fn reread(&self) -> Result<(), KeyError> {
        let keys = match &self.source {
            KeySource::File(path) => file::read(path)?,
            KeySource::Variable { name, text } => parse(text.expose_str().unwrap_or_default(), name)?,
        };
        let mut ciphers = self.ciphers.write().unwrap_or_else(PoisonError::into_inner);
        for cipher in keys.iter().map(Cipher::new) {
            if !ciphers.iter().any(|known| known.id == cipher.id) {
                ciphers.push(cipher);
            }
        }
        Ok(())
    }

    fn ciphers(&self) -> std::sync::RwLockReadGuard<'_, Vec<Cipher>> {
        self.ciphers.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn missing(&self, key: &KeyId) -> KeyError {
        let found: Vec<_> = self.ciphers().iter().map(|cipher| cipher.id.to_string()).collect();
        KeyError::Missing { key: key.clone(), place: self.source.to_string(), found: found.join(", ") }
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    use super::super::key::KEYS_VARIABLE;
    use super::*;

    fn keyring(keys: &[&KeyBytes]) -> Keyring {
        let text = keys.iter().map(|key| STANDARD.encode(***key)).collect::<Vec<_>>().join(",");
        Keyring::load(KeySource::Variable { name: KEYS_VARIABLE, text: text.into() }).unwrap()
    }

    fn place() -> impl Strategy<Value = Place> {
        let table = prop::sample::select(vec!["user_secrets", "user_secret", "agents"]);
        let column = prop::sample::select(vec!["value", "s_value", "env"]);
        (table, any::<u128>(), any::<u128>(), column).prop_map(|(table, user, row, column)| Place {
            table,
            user: Uuid::from_u128(user),
            row: Uuid::from_u128(row),
            column,
        })
    }

    proptest! {
        #[test]
        fn a_value_opens_in_its_own_place_only(value: Vec<u8>, here in place(), there in place()) {
            let (one, two) = (generate().unwrap(), generate().unwrap());
            let keys = keyring(&[&one, &two]);
            let sealed = keys.seal(&id_of(&one), &here, &value).unwrap();
            let opened = keys.unseal(&sealed.key, &here, &sealed.data).unwrap();
            prop_assert_eq!(opened.expose(), value.as_slice());
            for other in [
                Place { table: there.table, ..here },
                Place { user: there.user, ..here },
                Place { row: there.row, ..here },
                Place { column: there.column, ..here },
            ] {
                prop_assert_eq!(keys.unseal(&sealed.key, &other, &sealed.data).is_ok(), other == here);
            }
            prop_assert!(keys.unseal(&id_of(&two), &here, &sealed.data).is_err());
        }

        #[test]
        fn a_damaged_value_does_not_open(value: Vec<u8>, here in place(), at: prop::sample::Index, bit in 0..8u8) {
            let key = generate().unwrap();
            let keys = keyring(&[&key]);
            let mut sealed = keys.seal(&id_of(&key), &here, &value).unwrap();
            let at = at.index(sealed.data.len());
            sealed.data[at] ^= 1 << bit;
            prop_assert!(keys.unseal(&sealed.key, &here, &sealed.data).is_err());
            prop_assert!(keys.unseal(&sealed.key, &here, &sealed.data[..at]).is_err());
        }
    }

    #[test]
    fn the_same_value_never_seals_the_same_way() {
        let key = generate().unwrap();
        let keys = keyring(&[&key]);
        let here = Place { table: "t", user: Uuid::nil(), row: Uuid::nil(), column: "c" };
        let sealed = |()| keys.seal(&id_of(&key), &here, b"v").unwrap().data;
        assert_ne!(sealed(()), sealed(()));
    }
}
