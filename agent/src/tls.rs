//! The TLS set-up of every outgoing connection: rustls with ring, trusting the system's certificates and those named by
//! `SSL_CERT_FILE` and `SSL_CERT_DIR`.
#![forbid(unsafe_code)]

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::{ClientConfig, RootCertStore};
use rustls_native_certs::{CertificateResult, load_certs_from_paths};

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

/// Why there is no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file or directory that a variable names gives no certificate.
    #[error("no certificates in {path} (named by {variable}){}", because(.reason))]
    Named {
        /// `SSL_CERT_FILE` or `SSL_CERT_DIR`.
        variable: &'static str,
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

/// The client side of TLS for a URL of `scheme`. The system's certificates cost half a MiB and a few milliseconds, so
/// they are read only where the connection is encrypted (`https`, `wss`).
pub fn client_config(scheme: &str) -> Result<ClientConfig, TlsError> {
    let roots = if matches!(scheme, "https" | "wss") { roots()? } else { RootCertStore::empty() };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().map_err(TlsError::Protocol)?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

fn roots() -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(system().certs);
    for (variable, path) in named(env::var_os("SSL_CERT_FILE").as_deref(), env::var_os("SSL_CERT_DIR").as_deref()) {
        let found = if variable == "SSL_CERT_FILE" {
            load_certs_from_paths(Some(&path), None)
        } else {
            load_certs_from_paths(None, Some(&path))
        };
        if found.certs.is_empty() {
            let reason = found.errors.first().map(ToString::to_string).unwrap_or_default();
            return Err(TlsError::Named { variable, path, reason });
        }
        roots.add_parsable_certificates(found.certs);
    }
    if roots.is_empty() { Err(TlsError::NoRoots) } else { Ok(roots) }
}

fn system() -> CertificateResult {
    match SYSTEM_BUNDLES.iter().map(Path::new).find(|bundle| bundle.exists()) {
        Some(bundle) => load_certs_from_paths(Some(bundle), None),
        None => load_certs_from_paths(None, Some(Path::new(SYSTEM_DIRECTORY))),
    }
}

/// What the two variables name; an empty one names nothing, and the second may name several directories.
fn named(file: Option<&OsStr>, directories: Option<&OsStr>) -> Vec<(&'static str, PathBuf)> {
    let file = file.into_iter().map(|file| ("SSL_CERT_FILE", PathBuf::from(file)));
    let directories = directories.into_iter().flat_map(env::split_paths).map(|path| ("SSL_CERT_DIR", path));
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
        let config = client_config("http").unwrap();
        assert_eq!(config.alpn_protocols, Vec::<Vec<u8>>::new());
    }
}
