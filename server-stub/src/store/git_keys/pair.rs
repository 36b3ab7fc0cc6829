//! Making a key pair, in the formats that Coder's servers give it out in.

use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use p256::elliptic_curve::sec1::ToSec1Point as _;
use pem_rfc7468::LineEnding;
use protocol::secret::Secret;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use ssh_encoding::Encode;
use zeroize::Zeroizing;

use crate::store::keys::{KeyError, random};

/// What a key pair is made for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// Small, fast and taken by every git host of today.
    #[default]
    Ed25519,
    /// ECDSA on the curve P-256, for hosts that must keep to the NIST's curves.
    EcdsaP256,
}

/// Why a name is no [`Algorithm`].
#[derive(Debug, thiserror::Error)]
pub enum AlgorithmError {
    /// Coder's third one.
    #[error(
        "RSA keys are not made here: the Rust implementation leaks key bits through its timing (RUSTSEC-2023-0071); use \
         ed25519 or ecdsa"
    )]
    Rsa,
    /// No algorithm at all.
    #[error("unknown algorithm {0:?}; use ed25519 or ecdsa")]
    Unknown(String),
}

impl FromStr for Algorithm {
    type Err = AlgorithmError;

    fn from_str(name: &str) -> Result<Self, AlgorithmError> {
        match name.to_ascii_lowercase().as_str() {
            "ed25519" => Ok(Self::Ed25519),
            "ecdsa" => Ok(Self::EcdsaP256),
            rsa if rsa.starts_with("rsa") => Err(AlgorithmError::Rsa),
            _ => Err(AlgorithmError::Unknown(name.to_owned())),
        }
    }
}

/// Why no pair could be made.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// No random bytes.
    #[error(transparent)]
    Random(#[from] KeyError),
    /// The parts of a key do not fit its format; impossible for keys of fixed size.
    #[error("cannot encode the new key")]
    Encode,
}

/// A new pair.
#[derive(Debug)]
pub(super) struct Pair {
    /// A line for `authorized_keys`, with its newline.
    pub(super) public: String,
    /// PEM.
    pub(super) private: Secret,
}

impl Pair {
    /// Makes a pair of random bytes from the kernel.
    pub(super) fn generate(algorithm: Algorithm) -> Result<Self, PairError> {
        match algorithm {
            Algorithm::Ed25519 => ed25519(),
            Algorithm::EcdsaP256 => ecdsa_p256(),
        }
    }
}

fn ed25519() -> Result<Pair, PairError> {
    let seed = Zeroizing::new(random::<32>()?);
    let pair = Ed25519KeyPair::from_seed_unchecked(seed.as_slice()).map_err(|_| PairError::Encode)?;
    let public = pair.public_key().as_ref();
    let blob = strings(&[b"ssh-ed25519", public])?;
    let check: [u8; 4] = random()?;
    let pem = openssh(&blob, public, &seed, check).map_err(|_| PairError::Encode)?;
    Ok(Pair { public: line("ssh-ed25519", &blob), private: pem })
}

/// OpenSSH's own format, unencrypted: what is at rest is sealed by the keyring anyway.
fn openssh(blob: &[u8], public: &[u8], seed: &[u8; 32], check: [u8; 4]) -> Result<Secret, ssh_encoding::Error> {
    let mut private = Zeroizing::new(Vec::with_capacity(256));
    // The same random number twice tells a reader that it has decrypted.
    private.extend_from_slice(&check);
    private.extend_from_slice(&check);
    private.extend_from_slice(blob);
    Zeroizing::new([seed, public].concat()).as_slice().encode(&mut *private)?;
    b"".as_slice().encode(&mut *private)?; // no comment
    let padding = private.len().next_multiple_of(8) - private.len();
    private.extend((1..).take(padding));

    let mut document = Zeroizing::new(b"openssh-key-v1\0".to_vec());
    document.reserve(512);
    for text in ["none", "none", ""] {
        text.encode(&mut *document)?;
    }
    1_u32.encode(&mut *document)?;
    blob.encode(&mut *document)?;
    private.as_slice().encode(&mut *document)?;
    Ok(pem_rfc7468::encode_string("OPENSSH PRIVATE KEY", LineEnding::LF, &document)
        .map_err(|_| ssh_encoding::Error::Length)?
        .into())
}

fn ecdsa_p256() -> Result<Pair, PairError> {
    let secret = loop {
        // Of 2^32 random numbers one is no key of this curve.
        let number = Zeroizing::new(random::<32>()?);
        if let Ok(secret) = p256::SecretKey::from_slice(number.as_slice()) {
            break secret;
        }
    };
    let point = secret.public_key().to_sec1_point(false);
    let blob = strings(&[b"ecdsa-sha2-nistp256", b"nistp256", point.as_bytes()])?;
    let pem = secret.to_sec1_pem(LineEnding::LF).map_err(|_| PairError::Encode)?;
    Ok(Pair { public: line("ecdsa-sha2-nistp256", &blob), private: Secret::new(pem.as_bytes().to_vec()) })
}

fn strings(parts: &[&[u8]]) -> Result<Vec<u8>, PairError> {
    let mut blob = Vec::new();
    parts.iter().try_for_each(|part| part.encode(&mut blob)).map_err(|_| PairError::Encode)?;
    Ok(blob)
}

fn line(algorithm: &str, blob: &[u8]) -> String {
    format!("{algorithm} {}\n", STANDARD.encode(blob))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;

    /// The public line that OpenSSH derives from the private key: it reads the file, and checks the pair.
    fn derived(pair: &Pair) -> Option<String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        std::fs::write(&path, pair.private.expose()).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        let output = Command::new("ssh-keygen").args(["-y", "-P", "", "-f"]).arg(&path).output().ok()?;
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(String::from_utf8(output.stdout).unwrap())
    }

    #[test]
    fn openssh_reads_every_kind_and_finds_the_same_public_key() {
        for (algorithm, label) in
            [(Algorithm::Ed25519, "OPENSSH PRIVATE KEY"), (Algorithm::EcdsaP256, "EC PRIVATE KEY")]
        {
            let pair = Pair::generate(algorithm).unwrap();
            assert!(pair.private.expose_str().unwrap().starts_with(&format!("-----BEGIN {label}-----\n")));
            assert!(pair.public.ends_with('\n'));
            // Where there is no ssh-keygen the end-to-end tests, which need it, say so.
            if let Some(derived) = derived(&pair) {
                assert_eq!(derived.trim_end(), pair.public.trim_end());
            }
        }
    }

    #[test]
    fn no_two_pairs_are_alike() {
        let pair = || Pair::generate(Algorithm::Ed25519).unwrap().public;
        assert_ne!(pair(), pair());
    }

    #[test]
    fn algorithms_by_the_names_of_coder() {
        assert_eq!("ed25519".parse::<Algorithm>().unwrap(), Algorithm::Ed25519);
        assert_eq!("ECDSA".parse::<Algorithm>().unwrap(), Algorithm::EcdsaP256);
        assert!(matches!("rsa4096".parse::<Algorithm>(), Err(AlgorithmError::Rsa)));
        assert!(matches!("dsa".parse::<Algorithm>(), Err(AlgorithmError::Unknown(_))));
    }
}
