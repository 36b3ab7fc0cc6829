//! The key: its private part rests in guarded memory and is read anew for each signature.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use pem_rfc7468::Decoder;
use protocol::rest::AgentGitSshKey;
use protocol::secret::Secret;
use ring::rand::SystemRandom;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, RSA_PKCS1_SHA256, RSA_PKCS1_SHA512, RsaKeyPair,
};
use ssh_encoding::{Decode, Encode, Mpint};

use crate::sys::memory::{self, Guarded};

/// Flags of a request to sign with an RSA key; without one of them it would be SHA-1.
const RSA_SHA2_256: u32 = 2;
const RSA_SHA2_512: u32 = 4;

/// What PKCS#8 puts before a key of the curve P-256: version 0 and the curve.
const PKCS8_P256: [u8; 24] = [
    0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
    0xce, 0x3d, 0x03, 0x01, 0x07,
];

/// Why a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The public line is none.
    #[error("the server's public key is malformed")]
    Public,
    /// The private part is none, or not of the public one's algorithm.
    #[error("the server's private key is malformed")]
    Private,
    /// Neither ed25519, ECDSA P-256 nor RSA.
    #[error("the server's key is of a kind that this program cannot sign with: {0}")]
    Algorithm(String),
    /// No memory for it.
    #[error("cannot keep the key in memory")]
    Memory(#[source] std::io::Error),
    /// A signature that was asked for in a way that is not offered, such as RSA with SHA-1.
    #[error("cannot sign in the way that was asked for")]
    Sign,
}

impl From<ssh_encoding::Error> for KeyError {
    fn from(_: ssh_encoding::Error) -> Self {
        Self::Private
    }
}

/// The part of a key that everybody may know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    line: String,
    blob: Vec<u8>,
}

impl PublicKey {
    /// Reads a line as it stands in `authorized_keys` and in `.pub` files.
    pub fn parse(line: &str) -> Result<Self, KeyError> {
        let line = line.trim();
        let mut words = line.split_ascii_whitespace();
        let (Some(algorithm), Some(blob)) = (words.next(), words.next()) else { return Err(KeyError::Public) };
        let blob = STANDARD.decode(blob).map_err(|_| KeyError::Public)?;
        if String::decode(&mut blob.as_slice()).ok().as_deref() != Some(algorithm) || line.contains(char::is_control) {
            return Err(KeyError::Public);
        }
        Ok(Self { line: line.to_owned(), blob })
    }

    /// The line, without a newline.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }

    /// The key as it travels in the protocol.
    #[must_use]
    pub fn blob(&self) -> &[u8] {
        &self.blob
    }

    fn algorithm(&self) -> &str {
        self.line.split_ascii_whitespace().next().unwrap_or_default()
    }
}

/// A user's key pair.
#[derive(Debug)]
pub struct GitKey {
    public: PublicKey,
    private: Guarded,
}

impl GitKey {
    /// Takes a key over from a server's answer, and checks that it can sign.
    pub fn new(wire: AgentGitSshKey) -> Result<Self, KeyError> {
        let public = PublicKey::parse(&wire.public_key)?;
        let signer = Signer::load(wire.private_key.expose())?;
        if signer.algorithm() != public.algorithm() {
            return Err(KeyError::Private);
        }
        let private = memory::guard(vec![wire.private_key]).map_err(KeyError::Memory)?;
        let private = private.into_iter().next().ok_or(KeyError::Private)?;
        Ok(Self { public, private })
    }

    /// The public part.
    #[must_use]
    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Signs, and gives the signature as it travels in the protocol.
    pub fn sign(&self, data: &[u8], flags: u32) -> Result<Vec<u8>, KeyError> {
        let (algorithm, signature) = Signer::load(self.private.expose())?.sign(data, flags)?;
        let mut blob = Vec::new();
        algorithm.encode(&mut blob).and_then(|()| signature.encode(&mut blob)).map_err(|_| KeyError::Sign)?;
        Ok(blob)
    }
}

/// A private key, ready for one signature.
enum Signer {
    Ed25519(Ed25519KeyPair),
    EcdsaP256(EcdsaKeyPair),
    /// Servers of Coder may be set to it; ring does what the RSA crate cannot, sign in constant time.
    Rsa(Box<RsaKeyPair>),
}

impl Signer {
    fn load(pem: &[u8]) -> Result<Self, KeyError> {
        let mut decoder = Decoder::new_detect_wrap(pem).map_err(|_| KeyError::Private)?;
        let mut der = memory::wiped_buffer(decoder.remaining_len());
        let label = decoder.type_label().to_owned();
        decoder.decode(&mut der).map_err(|_| KeyError::Private)?;
        match label.as_str() {
            "OPENSSH PRIVATE KEY" => openssh(&der),
            "EC PRIVATE KEY" => ec(&der),
            "RSA PRIVATE KEY" => RsaKeyPair::from_der(&der).map(|pair| Self::Rsa(Box::new(pair))).map_err(rejected),
            _ => Err(KeyError::Algorithm(label)),
        }
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "ssh-ed25519",
            Self::EcdsaP256(_) => "ecdsa-sha2-nistp256",
            Self::Rsa(_) => "ssh-rsa",
        }
    }

    fn sign(&self, data: &[u8], flags: u32) -> Result<(&'static str, Vec<u8>), KeyError> {
        let random = SystemRandom::new();
        match self {
            Self::Ed25519(pair) => Ok((self.algorithm(), pair.sign(data).as_ref().to_vec())),
            Self::EcdsaP256(pair) => {
                let both = pair.sign(&random, data).map_err(|_| KeyError::Sign)?;
                let (r, s) = both.as_ref().split_at_checked(32).ok_or(KeyError::Sign)?;
                let mut signature = Vec::new();
                for number in [r, s] {
                    Mpint::from_positive_bytes(number).encode(&mut signature).map_err(|_| KeyError::Sign)?;
                }
                Ok((self.algorithm(), signature))
            }
            Self::Rsa(pair) => {
                let (algorithm, encoding): (_, &'static dyn ring::signature::RsaEncoding) = match flags {
                    flags if flags & RSA_SHA2_512 != 0 => ("rsa-sha2-512", &RSA_PKCS1_SHA512),
                    flags if flags & RSA_SHA2_256 != 0 => ("rsa-sha2-256", &RSA_PKCS1_SHA256),
                    _ => return Err(KeyError::Sign),
                };
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(encoding, &random, data, &mut signature).map_err(|_| KeyError::Sign)?;
                Ok((algorithm, signature))
            }
        }
    }
}

fn rejected(_: ring::error::KeyRejected) -> KeyError {
    KeyError::Private
}

/// OpenSSH's own format, unencrypted. Buffers on the way are wiped by the allocator.
fn openssh(document: &[u8]) -> Result<Signer, KeyError> {
    let mut reader = document.strip_prefix(b"openssh-key-v1\0").ok_or(KeyError::Private)?;
    for expected in ["none", "none", ""] {
        if Vec::<u8>::decode(&mut reader)? != expected.as_bytes() {
            return Err(KeyError::Private);
        }
    }
    if u32::decode(&mut reader)? != 1 {
        return Err(KeyError::Private);
    }
    Vec::<u8>::decode(&mut reader)?; // the public key, which comes again below
    let private = Secret::new(Vec::decode(&mut reader)?);
    let mut reader = private.expose();
    if u32::decode(&mut reader)? != u32::decode(&mut reader)? {
        return Err(KeyError::Private);
    }
    let algorithm = String::decode(&mut reader)?;
    if algorithm != "ssh-ed25519" {
        return Err(KeyError::Algorithm(algorithm));
    }
    let public = Vec::<u8>::decode(&mut reader)?;
    let pair = Secret::new(Vec::decode(&mut reader)?);
    let seed = pair.expose().get(..32).ok_or(KeyError::Private)?;
    Ed25519KeyPair::from_seed_and_public_key(seed, &public).map(Signer::Ed25519).map_err(rejected)
}

/// SEC1. ring reads PKCS#8 only, which is the same in a wrapper.
fn ec(sec1: &[u8]) -> Result<Signer, KeyError> {
    // Of this length a key of the curve is, and both lengths of the wrapper have one form only.
    let Ok(len @ 102..0x80) = u8::try_from(sec1.len()) else {
        return Err(KeyError::Algorithm("a curve other than P-256".into()));
    };
    let total = u8::try_from(PKCS8_P256.len() + 2).map_err(|_| KeyError::Private)? + len;
    let document = Secret::new([&[0x30, 0x81, total], &PKCS8_P256[..], &[0x04, len], sec1].concat());
    EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, document.expose(), &SystemRandom::new())
        .map(Signer::EcdsaP256)
        .map_err(rejected)
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
