use std::fmt;
use std::io;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use ring::hmac;
use rustix::rand::GetRandomFlags;
use zeroize::Zeroizing;

pub(super) const KEY_BYTES: usize = 32;

/// Makes fingerprints. Random, so that nobody without it can tell which value a fingerprint stands for, not even by
/// trying all short ones. Clones share it.
#[derive(Clone)]
pub struct Key(Arc<Inner>);

struct Inner {
    bytes: Zeroizing<[u8; KEY_BYTES]>,
    hmac: hmac::Key,
}

/// What a content was, without the content.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Key {
    /// A new one, which nobody else has.
    pub fn random() -> io::Result<Self> {
        let mut bytes = Zeroizing::new([0; KEY_BYTES]);
        rustix::rand::getrandom(bytes.as_mut_slice(), GetRandomFlags::empty())?;
        Ok(Self::new(bytes))
    }

    pub(super) fn from_file(content: &[u8]) -> Option<Self> {
        Some(Self::new(Zeroizing::new(content.try_into().ok()?)))
    }

    fn new(bytes: Zeroizing<[u8; KEY_BYTES]>) -> Self {
        let hmac = hmac::Key::new(hmac::HMAC_SHA256, bytes.as_slice());
        Self(Arc::new(Inner { bytes, hmac }))
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.0.bytes.as_slice()
    }

    /// Of a file's whole content.
    #[must_use]
    pub fn fingerprint(&self, content: &[u8]) -> Fingerprint {
        Fingerprint(self.tag(b'c', content))
    }

    /// Of several contents in their order.
    #[must_use]
    pub fn fingerprint_of<'p>(&self, parts: impl IntoIterator<Item = &'p [u8]>) -> Fingerprint {
        let mut tag = hmac::Context::with_key(&self.0.hmac);
        tag.update(b"p");
        for part in parts {
            // With its length, so that no part can begin in another.
            tag.update(&(part.len() as u64).to_be_bytes());
            tag.update(part);
        }
        Fingerprint(tag.sign().as_ref().try_into().unwrap_or_default())
    }

    /// Stands before a line of the ledger: whoever cannot read the key cannot make one, and neither can a broken disk.
    pub(super) fn seal(&self, line: &str) -> String {
        BASE64.encode(self.tag(b'l', line.as_bytes()).first_chunk::<16>().unwrap_or(&[0; 16]))
    }

    /// The first byte keeps what is signed for one purpose from serving another.
    fn tag(&self, purpose: u8, content: &[u8]) -> [u8; 32] {
        let mut tag = hmac::Context::with_key(&self.0.hmac);
        tag.update(&[purpose]);
        tag.update(content);
        tag.sign().as_ref().try_into().unwrap_or_default()
    }
}

impl Fingerprint {
    pub(super) fn to_text(self) -> String {
        BASE64.encode(self.0)
    }

    pub(super) fn from_text(text: &str) -> Option<Self> {
        Some(Self(BASE64.decode(text).ok()?.try_into().ok()?))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(***)")
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint(***)")
    }
}
