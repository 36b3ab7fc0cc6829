//! The TLS set-up of every outgoing connection: rustls with ring, trusting the system's certificates, those named by
//! `SSL_CERT_FILE` and `SSL_CERT_DIR`, and those of a CA file that the user names.
#![forbid(unsafe_code)]

mod failure;
mod verifier;

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::WantsClientCert;
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};
use rustls_native_certs::{CertificateResult, load_certs_from_paths};

pub use failure::TlsFailure;
use verifier::Verifier;

/// Where distributions keep the bundle. The directory of single files beside it holds the same certificates, and reading
/// both would double the time and the memory of a start.
const SYSTEM_BUNDLES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];
const SYSTEM_DIRECTORY: &str = "/etc/ssl/certs";

const FILE_VARIABLE: &str = "SSL_CERT_FILE";
const DIRECTORY_VARIABLE: &str = "SSL_CERT_DIR";
const CA_FILE: &str = "--ca-file";

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file or directory that the user names holds no certificate.
    #[error("no certificates in {path} (named by {origin}){}", because(.reason))]
    Named {
        /// `SSL_CERT_FILE`, `SSL_CERT_DIR` or `--ca-file`.
        origin: &'static str,
        /// What it names.
        path: PathBuf,
        /// What went wrong with it.
        reason: String,
    },
    /// No certificate anywhere: no server could be trusted.
    #[error("this system has no certificate authorities; install ca-certificates or set SSL_CERT_FILE")]
    NoRoots,
    /// rustls refuses its own defaults.
    #[error("set up TLS")]
    Protocol(#[source] rustls::Error),
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

/// The client side of TLS. It trusts the certificates in the PEM file `ca_file` besides those of the system.
pub fn client_config(ca_file: Option<&Path>) -> Result<ClientConfig, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(trusted(ca_file)?);
    if roots.is_empty() {
        return Err(TlsError::NoRoots);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Verifier::new(roots, provider, ca_file.map(Path::to_owned)).ok_or(TlsError::NoRoots)?;
    Ok(builder()?.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth())
}

/// For a client of unencrypted connections: reads no certificates and trusts none.
pub fn without_roots() -> Result<ClientConfig, TlsError> {
    let with_roots: ConfigBuilder<ClientConfig, WantsClientCert> =
        builder()?.with_root_certificates(RootCertStore::empty());
    Ok(with_roots.with_no_client_auth())
}

/// The number of certificates in the PEM file at `path`; an error if it holds none.
pub fn check_ca_file(path: &Path) -> Result<usize, TlsError> {
    load(CA_FILE, path).map(|certificates| certificates.len())
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    builder.with_safe_default_protocol_versions().map_err(TlsError::Protocol)
}

/// Every certificate that a server's may lead to, or be.
fn trusted(ca_file: Option<&Path>) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let mut certificates = system().certs;
    let variables = named(env::var_os(FILE_VARIABLE).as_deref(), env::var_os(DIRECTORY_VARIABLE).as_deref());
    let ca_file = ca_file.map(|path| (CA_FILE, path.to_owned()));
    for (origin, path) in variables.into_iter().chain(ca_file) {
        certificates.extend(load(origin, &path)?);
    }
    Ok(certificates)
}

fn load(origin: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found = if origin == DIRECTORY_VARIABLE {
        load_certs_from_paths(None, Some(path))
    } else {
        load_certs_from_paths(Some(path), None)
    };
    if found.certs.is_empty() {
        let reason = found.errors.first().map(ToString::to_string).unwrap_or_default();
        return Err(TlsError::Named { origin, path: path.to_owned(), reason });
    }
    Ok(found.certs)
}

fn system() -> CertificateResult {
    match SYSTEM_BUNDLES.iter().map(Path::new).find(|bundle| bundle.exists()) {
        Some(bundle) => load_certs_from_paths(Some(bundle), None),
        None => load_certs_from_paths(None, Some(Path::new(SYSTEM_DIRECTORY))),
    }
}

/// What the two variables name; an empty one names nothing, and the second may name several directories.
fn named(file: Option<&OsStr>, directories: Option<&OsStr>) -> Vec<(&'static str, PathBuf)> {
    let file = file.into_iter().map(|file| (FILE_VARIABLE, PathBuf::from(file)));
    let directories = directories.into_iter().flat_map(env::split_paths).map(|path| (DIRECTORY_VARIABLE, path));
    file.chain(directories).filter(|(_, path)| !path.as_os_str().is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_name_one_file_and_several_directories() {
        assert_eq!(named(None, None), []);
        assert_eq!(named(Some("".as_ref()), Some("".as_ref())), []);
        let expected = [("SSL_CERT_FILE", "/a"), ("SSL_CERT_DIR", "/b"), ("SSL_CERT_DIR", "/c")];
        assert_eq!(named(Some("/a".as_ref()), Some("/b::/c".as_ref())), expected.map(|(v, p)| (v, PathBuf::from(p))));
    }

    #[test]
    fn an_unencrypted_connection_reads_no_certificates() {
        assert_eq!(without_roots().unwrap().alpn_protocols, Vec::<Vec<u8>>::new());
    }

    #[test]
    fn a_ca_file_that_holds_none_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        std::fs::write(&path, "no certificate").unwrap();
        let error = check_ca_file(&path).unwrap_err().to_string();
        assert!(error.starts_with(&format!("no certificates in {} (named by --ca-file)", path.display())), "{error}");
    }
}
