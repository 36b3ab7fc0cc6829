//! Whom to believe: the usual check of a chain, and certificates that are trusted by themselves.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme};

use super::failure::SelfSigned;

/// The check of webpki. A certificate that it finds no way to is accepted all the same if it is itself one of those that
/// this machine trusts, as by OpenSSL and Go: what `openssl req -x509` makes is its own authority.
#[derive(Debug)]
pub(super) struct Verifier {
    chain: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
    ca_file: Option<PathBuf>,
}

impl Verifier {
    /// `None` if there are no roots.
    pub(super) fn new(roots: RootCertStore, provider: Arc<CryptoProvider>, ca_file: Option<PathBuf>) -> Option<Self> {
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build().ok()?;
        Some(Self { chain, provider, ca_file })
    }

    /// Read again, because certificates that nearly every connection has no use for would stay in memory.
    fn is_trusted_itself(&self, certificate: &CertificateDer<'_>) -> bool {
        super::trusted(self.ca_file.as_deref()).is_ok_and(|trusted| trusted.iter().any(|it| it == certificate))
    }

    fn leads_to_itself(&self, certificate: &CertificateDer<'_>, name: &ServerName<'_>, now: UnixTime) -> bool {
        let mut own = RootCertStore::empty();
        let added = own.add(certificate.clone().into_owned());
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(own), self.provider.clone()).build();
        let Ok(chain) = added.map_err(drop).and(chain.map_err(drop)) else { return false };
        match chain.verify_server_cert(certificate, &[], name, &[], now) {
            Ok(_) => true,
            Err(error) => error != CertificateError::UnknownIssuer.into(),
        }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let checked = self.chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        let Err(error) = checked else { return checked };
        if !leads_nowhere(&error) {
            return Err(error);
        }
        // webpki has looked at the dates before it looked for a way, but not yet at the name.
        if self.is_trusted_itself(end_entity) {
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            return Ok(ServerCertVerified::assertion());
        }
        let is_authority = error != CertificateError::UnknownIssuer.into();
        Err(if is_authority || self.leads_to_itself(end_entity, server_name, now) {
            CertificateError::Other(OtherError(Arc::new(SelfSigned))).into()
        } else {
            error
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

/// Whether the certificate is good but for its issuer, or is an authority's own.
fn leads_nowhere(error: &Error) -> bool {
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => true,
        Error::InvalidCertificate(CertificateError::Other(OtherError(inner))) => {
            // webpki's error, which rustls has no word for.
            inner.to_string() == "CaUsedAsEndEntity"
        }
        _ => false,
    }
}
