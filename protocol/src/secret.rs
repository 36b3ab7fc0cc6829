//! The type that holds a secret value from its first byte to its last.

use std::fmt;

use serde::{Deserialize, Deserializer, Serializer, de};
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// A secret value: the owner of its bytes, wiped when it is dropped.
///
/// It has no `Display`, no `Clone` and no `Serialize`, its `Debug` shows neither bytes nor length, and two values are
/// compared in constant time. The one way to the bytes is [`Secret::expose`], which is easy to grep for.
#[derive(Default)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes over `bytes`; the caller keeps no copy.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The value itself. What the caller copies it into is the caller's to wipe.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The value as text, where it is valid UTF-8.
    pub fn expose_str(&self) -> Result<&str, std::str::Utf8Error> {
        std::str::from_utf8(&self.0)
    }

    /// Number of bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the value has no bytes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for Secret {
    fn from(text: String) -> Self {
        Self::new(text.into_bytes())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Secret {}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl de::Visitor<'_> for Text {
            type Value = Secret;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Secret, E> {
                Ok(Secret::new(text.as_bytes().to_vec()))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<Secret, E> {
                Ok(Secret::from(text))
            }

            // The default messages repeat the unexpected scalar, and here that scalar is the secret.
            fn visit_bool<E: de::Error>(self, _: bool) -> Result<Secret, E> {
                Err(E::custom("invalid type: a secret value must be a string"))
            }

            fn visit_i64<E: de::Error>(self, _: i64) -> Result<Secret, E> {
                self.visit_bool(true)
            }

            fn visit_u64<E: de::Error>(self, _: u64) -> Result<Secret, E> {
                self.visit_bool(true)
            }

            fn visit_f64<E: de::Error>(self, _: f64) -> Result<Secret, E> {
                self.visit_bool(true)
            }
        }
        // Not `deserialize_string`: serde_json then refuses a number by itself, and repeats it.
        deserializer.deserialize_any(Text)
    }
}

/// `#[serde(serialize_with)]` for the request bodies that must carry a value to the server; nothing else serializes one.
pub(crate) fn expose_on_the_wire<S: Serializer>(secret: &Secret, serializer: S) -> Result<S::Ok, S::Error> {
    let text = secret.expose_str().map_err(|_| serde::ser::Error::custom("secret value must be valid UTF-8"))?;
    serializer.serialize_str(text)
}

/// As [`expose_on_the_wire`], for an optional value.
#[expect(clippy::ref_option, reason = "the signature is serde's")]
pub(crate) fn expose_optional_on_the_wire<S: Serializer>(
    secret: &Option<Secret>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match secret {
        Some(secret) => expose_on_the_wire(secret, serializer),
        None => serializer.serialize_none(),
    }
}

/// Wipes a buffer that held a value and could not be a [`Secret`], such as one a library handed out.
pub fn wipe(buffer: &mut impl Zeroize) {
    buffer.zeroize();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_neither_value_nor_length() {
        let short = format!("{:?}", Secret::new(b"a".to_vec()));
        assert_eq!(short, format!("{:?}", Secret::new(b"hunter2".to_vec())));
        assert_eq!(short, "Secret(***)");
    }

    #[test]
    fn a_scalar_that_is_no_string_is_refused_without_being_echoed() {
        for body in ["123456", "-7", "1.5", "true", "null", "[\"hunter2\"]", "{\"hunter2\":1}"] {
            let error = serde_json::from_str::<Secret>(body).unwrap_err().to_string();
            assert!(!error.contains("123456") && !error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn equality_is_by_bytes() {
        assert_eq!(Secret::new(b"a".to_vec()), Secret::new(b"a".to_vec()));
        assert_ne!(Secret::new(b"a".to_vec()), Secret::new(b"ab".to_vec()));
    }
}
