//! The server's certificate, read again at a reload.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nix::unistd::Uid;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use x509_cert::Certificate;
use x509_cert::der::Decode as _;
use zeroize::Zeroizing;

use crate::config::TlsFiles;

/// A chain of certificates takes some kilobytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// Why TLS cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A PEM file could not be read.
    #[error("cannot read TLS {what} {}", path.display())]
    Read {
        /// certificate or private key.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A PEM file is damaged.
    #[error("cannot read TLS {what} {}: it is not valid PEM", path.display())]
    Pem {
        /// certificate or private key.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: pem::Error,
    },
    /// A PEM file has something else in it, or nothing.
    #[error("{} holds no {what}{hint}", path.display())]
    Missing {
        /// certificate or private key.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What it holds instead, and what to do.
        hint: &'static str,
    },
    /// Others can read the private key.
    #[error(
        "TLS private key {} has mode {mode:04o}: other users of this machine can read it; run: chmod 600 {}",
        path.display(), path.display()
    )]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// Certificate and key do not fit, or the protocol set-up failed.
    #[error("cannot use TLS certificate {} with private key {}", cert.display(), key.display())]
    Unusable {
        /// The certificate.
        cert: PathBuf,
        /// The key.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// The files of the server's identity, and what was last read from them.
pub(super) struct Identity {
    files: TlsFiles,
    current: watch::Sender<TlsAcceptor>,
    expires: Mutex<Option<Duration>>,
}

impl Identity {
    pub(super) fn read(files: TlsFiles) -> Result<Self, TlsError> {
        let (acceptor, expires) = acceptor(&files)?;
        Ok(Self { files, current: watch::Sender::new(acceptor), expires: Mutex::new(expires) })
    }

    /// When the certificate in use expires, since 1970; none if it does not tell.
    pub(super) fn expires(&self) -> Option<Duration> {
        *self.expires.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What new connections use, now and after each reload.
    pub(super) fn acceptors(&self) -> watch::Receiver<TlsAcceptor> {
        self.current.subscribe()
    }

    /// Reads the files again. When that fails, the server keeps what it has.
    pub(super) fn reload(&self) -> Result<(), TlsError> {
        let (acceptor, expires) = acceptor(&self.files)?;
        *self.expires.lock().unwrap_or_else(PoisonError::into_inner) = expires;
        self.current.send_replace(acceptor);
        Ok(())
    }

    pub(super) fn files(&self) -> &TlsFiles {
        &self.files
    }
}

/// TLS 1.2 and 1.3 with the given certificate, and when that expires.
fn acceptor(files: &TlsFiles) -> Result<(TlsAcceptor, Option<Duration>), TlsError> {
    let chain = certificates(&files.cert)?;
    let leaf = chain.first().and_then(|leaf| Certificate::from_der(leaf).ok());
    let expires = leaf.map(|leaf| leaf.tbs_certificate().validity().not_after.to_unix_duration());
    let key = private_key(&files.key)?;
    let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|source| TlsError::Unusable { cert: files.cert.clone(), key: files.key.clone(), source })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok((TlsAcceptor::from(Arc::new(config)), expires))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let what = "certificate";
    let (text, _) = read(what, path)?;
    let chain = CertificateDer::pem_slice_iter(&text).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|source| TlsError::Pem { what, path: path.to_owned(), source })?;
    if chain.is_empty() {
        let hint = if contains(&text, "PRIVATE KEY-----") {
            ", but a private key; are --tls-cert and --tls-key exchanged?"
        } else {
            " (no line BEGIN CERTIFICATE); it has to be PEM"
        };
        return Err(TlsError::Missing { what, path: path.to_owned(), hint });
    }
    Ok(chain)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let what = "private key";
    let (text, file) = read(what, path)?;
    let found = file.metadata().map_err(|source| TlsError::Read { what, path: path.to_owned(), source })?;
    // As PostgreSQL has it: a key of root may be shared with a group, such as ssl-cert; ours is for us alone.
    let allowed = if found.uid() == 0 && !Uid::effective().is_root() { 0o640 } else { 0o600 };
    if found.mode() & 0o077 & !allowed != 0 {
        return Err(TlsError::Mode { path: path.to_owned(), mode: found.mode() & 0o7777 });
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|source| match source {
        pem::Error::NoItemsFound => {
            let hint = if contains(&text, "ENCRYPTED PRIVATE KEY-----") {
                " that opens without a passphrase; remove it: openssl pkey -in FILE -out NEW"
            } else if contains(&text, "BEGIN CERTIFICATE-----") {
                ", but a certificate; are --tls-cert and --tls-key exchanged?"
            } else {
                " (no line BEGIN PRIVATE KEY); it has to be PEM"
            };
            TlsError::Missing { what, path: path.to_owned(), hint }
        }
        source => TlsError::Pem { what, path: path.to_owned(), source },
    })
}

/// The text of a file, and the very file that it came from.
fn read(what: &'static str, path: &Path) -> Result<(Zeroizing<Vec<u8>>, File), TlsError> {
    let failed = |source| TlsError::Read { what, path: path.to_owned(), source };
    // Without O_NONBLOCK a FIFO put there would hold the start for ever.
    let flags = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path).map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")));
    }
    let mut text = Zeroizing::new(Vec::new());
    (&file).take(MAX_BYTES).read_to_end(&mut text).map_err(failed)?;
    Ok((text, file))
}

fn contains(text: &[u8], word: &str) -> bool {
    text.windows(word.len()).any(|window| window == word.as_bytes())
}
