//! Encryption at rest: keys, where they come from, what each sealed value is bound to, and which rows need a proof.

mod bulk;
pub(super) mod file;
pub(super) mod key;
mod mac;
mod ring;
pub(super) mod sealed;

pub use bulk::BulkSealer;
pub(super) use key::random;
pub use key::{KEYS_VARIABLE, KeyError, KeyId, KeySource};
pub(super) use mac::{Claim, Mac};
pub(super) use ring::{Keyring, Place, Sealed};
