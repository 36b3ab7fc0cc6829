//! What went wrong with TLS, in words that say what to do.

use std::error::Error;
use std::fmt;
use std::io;

use jiff::Timestamp;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, OtherError};

use crate::errors;

/// A certificate signed by its own key, which nobody has said to trust.
#[derive(Debug, thiserror::Error)]
#[error("self-signed certificate")]
pub(super) struct SelfSigned;

/// Why a TLS connection could not be made. `Display` is the cause, [`TlsFailure::hint`] what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsFailure {
    /// The other side does not speak TLS.
    NotTls,
    /// The other side went away without a word, as some servers without TLS do.
    Ended,
    /// The two sides have no version or cipher in common.
    NothingInCommon,
    /// The certificate is for other names.
    Name {
        /// What we asked for.
        wanted: String,
        /// What the certificate has, already readable.
        has: Vec<String>,
    },
    /// The certificate is out of date.
    Expired {
        /// Its last moment; `None` if unknown.
        until: Option<String>,
        /// This machine's clock.
        now: String,
    },
    /// The certificate is not yet valid.
    NotYet {
        /// Its first moment; `None` if unknown.
        from: Option<String>,
        /// This machine's clock.
        now: String,
    },
    /// Nobody whom this machine trusts has signed the certificate.
    UnknownIssuer,
    /// The certificate is signed by its own key.
    SelfSigned,
    /// Anything else, in the words of the library.
    Other(String),
}

impl TlsFailure {
    /// The reason for `error`, whatever libraries have wrapped it in.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        Self::find(error).unwrap_or_else(|| Self::Other(errors::innermost(error).to_string()))
    }

    /// The reason for `error`, if TLS is to blame for it.
    #[must_use]
    pub fn find(error: &(dyn Error + 'static)) -> Option<Self> {
        if let Some(error) = errors::find::<rustls::Error>(error) {
            return Some(of_rustls(error));
        }
        // tokio-rustls has no type for it.
        let ended = errors::find::<io::Error>(error)
            .is_some_and(|io| io.kind() == io::ErrorKind::UnexpectedEof && io.to_string() == "tls handshake eof");
        ended.then_some(Self::Ended)
    }

    /// What to do. `ca_file` is how to name a CA file, such as `coder login URL --ca-file FILE`.
    #[must_use]
    pub fn hint(&self, ca_file: &str) -> String {
        match self {
            Self::NotTls => "The address starts with https://, and the server seems to speak http: try http://.".into(),
            Self::Ended => "Does the server speak http there? Then the address starts with http://.".into(),
            Self::NothingInCommon => "The server has to offer TLS 1.2 or 1.3.".into(),
            Self::Name { .. } => "Use a name that the certificate has, or give the server one for this name.".into(),
            Self::Expired { .. } => "If the clock is right, the server needs a new certificate.".into(),
            Self::NotYet { .. } => {
                "If the clock is right, wait, or give the server a certificate that is valid.".into()
            }
            Self::UnknownIssuer => format!(
                "If you trust the authority that signed it, name that one's certificate: {ca_file} (or SSL_CERT_FILE)"
            ),
            Self::SelfSigned => {
                format!("If this is your server, name the certificate itself: {ca_file} (or SSL_CERT_FILE)")
            }
            Self::Other(_) => "Check the server's certificate and address.".into(),
        }
    }
}

impl Error for TlsFailure {}

impl fmt::Display for TlsFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotTls => f.write_str("the server does not answer with TLS"),
            Self::Ended => f.write_str("the server ended the connection during the TLS handshake"),
            Self::NothingInCommon => f.write_str("the server offers no TLS version or cipher that we have"),
            Self::Name { wanted, has } if has.is_empty() => {
                write!(f, "the server's certificate is for no name at all, so not for {wanted}")
            }
            Self::Name { wanted, has } => {
                write!(f, "the server's certificate is for {}, not for {wanted}", has.join(", "))
            }
            Self::Expired { until, now } => {
                write!(f, "the server's certificate expired{}; this machine's clock says {now}", on(until.as_ref()))
            }
            Self::NotYet { from, now } => {
                let from = from.as_ref().map(|from| format!(" before {from}")).unwrap_or_default();
                write!(f, "the server's certificate is not valid yet{from}; this machine's clock says {now}")
            }
            Self::UnknownIssuer => {
                f.write_str("the server's certificate is signed by an authority that this machine does not know")
            }
            Self::SelfSigned => {
                f.write_str("the server's certificate is self-signed, and this machine does not know it")
            }
            Self::Other(reason) => f.write_str(reason),
        }
    }
}

fn on(time: Option<&String>) -> String {
    time.map(|time| format!(" on {time}")).unwrap_or_default()
}

fn of_rustls(error: &rustls::Error) -> TlsFailure {
    use CertificateError::{Expired, ExpiredContext, NotValidYet, NotValidYetContext};
    use CertificateError::{NotValidForNameContext, Other, UnknownIssuer};
    match error {
        rustls::Error::InvalidMessage(_) => TlsFailure::NotTls,
        rustls::Error::AlertReceived(AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure)
        | rustls::Error::PeerIncompatible(_) => TlsFailure::NothingInCommon,
        rustls::Error::InvalidCertificate(reason) => match reason {
            NotValidForNameContext { expected, presented } => TlsFailure::Name {
                wanted: expected.to_str().into_owned(),
                has: presented.iter().map(|name| readable(name)).collect(),
            },
            ExpiredContext { time, not_after } => {
                TlsFailure::Expired { until: Some(shown(*not_after)), now: day(*time) }
            }
            Expired => TlsFailure::Expired { until: None, now: day(UnixTime::now()) },
            NotValidYetContext { time, not_before } => {
                TlsFailure::NotYet { from: Some(shown(*not_before)), now: day(*time) }
            }
            NotValidYet => TlsFailure::NotYet { from: None, now: day(UnixTime::now()) },
            UnknownIssuer => TlsFailure::UnknownIssuer,
            Other(OtherError(inner)) if inner.is::<SelfSigned>() => TlsFailure::SelfSigned,
            other => TlsFailure::Other(format!("the server's certificate is refused: {other}")),
        },
        other => TlsFailure::Other(other.to_string()),
    }
}

/// `DnsName("a.example")` and `IpAddress(10.0.0.1)` of webpki, as a person writes them. A hostile server chooses the name.
fn readable(name: &str) -> String {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or(name);
    inner.trim_matches('"').chars().filter(|c| !c.is_control()).take(255).collect()
}

fn shown(time: UnixTime) -> String {
    format(time, "%Y-%m-%d %H:%M UTC")
}

/// Without the time, or each minute of the same failure would be news to a log.
fn day(time: UnixTime) -> String {
    format(time, "%Y-%m-%d")
}

fn format(time: UnixTime, format: &str) -> String {
    let time = i64::try_from(time.as_secs()).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
    time.map_or_else(|| "an unknown time".into(), |time| time.strftime(format).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_shown_as_people_write_them() {
        assert_eq!(readable("DnsName(\"a.example\")"), "a.example");
        assert_eq!(readable("IpAddress(10.0.0.1)"), "10.0.0.1");
    }

    #[test]
    fn the_cause_is_found_below_what_wraps_it() {
        let time = UnixTime::since_unix_epoch(std::time::Duration::from_hours(24));
        let certificate = CertificateError::ExpiredContext { time, not_after: time };
        let inner = io::Error::new(io::ErrorKind::InvalidData, rustls::Error::InvalidCertificate(certificate));
        let failure = TlsFailure::find(&io::Error::other(inner)).unwrap();
        let expected = "the server's certificate expired on 1970-01-02 00:00 UTC; this machine's clock says 1970-01-02";
        assert_eq!(failure.to_string(), expected);
        assert_eq!(TlsFailure::find(&io::Error::other("refused")), None);
    }
}
