//! Which proxy leads to a server.

use std::ffi::OsStr;
use std::fmt;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::percent_decode_str;
use reqwest::Url;
use reqwest::header::HeaderValue;

use super::no_proxy;

/// Turns the proxy off where a proxy can be named.
const DIRECT: &str = "direct";

/// An HTTP proxy.
#[derive(Clone, Debug)]
pub struct Proxy {
    scheme: &'static str,
    /// As in a URL: an IPv6 address is in brackets.
    host: String,
    port: u16,
    authorization: Option<HeaderValue>,
    origin: String,
}

/// What a setting of the proxy says.
#[derive(Clone, Debug)]
pub enum ProxyChoice {
    /// No proxy, whatever the variables say.
    Direct,
    /// This proxy for every server.
    Proxy(Proxy),
}

/// Why a proxy cannot be used. The address is not repeated, because it may hold a password.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say it")]
pub enum ProxyError {
    #[error(
        "the proxy in {origin} is not usable: it is a SOCKS proxy; name an HTTP proxy (http://HOST:PORT), or except the \
         server with NO_PROXY"
    )]
    Socks { origin: String },
    #[error("the proxy in {origin} is not usable: {reason}; it should look like http://proxy.example.com:3128")]
    Bad { origin: String, reason: String },
}

impl ProxyChoice {
    /// A proxy, or `direct` for none. `origin` is what the user knows the setting by.
    pub fn parse(text: &str, origin: &str) -> Result<Self, ProxyError> {
        if text.trim() == DIRECT { Ok(Self::Direct) } else { Proxy::parse(text, origin).map(Self::Proxy) }
    }

    /// Whether the setting holds a password.
    #[must_use]
    pub fn has_credentials(&self) -> bool {
        matches!(self, Self::Proxy(Proxy { authorization: Some(_), .. }))
    }
}

impl Proxy {
    /// A proxy as the usual variables name it: `http://` may be left out, user name and password may be in front.
    fn parse(text: &str, origin: &str) -> Result<Self, ProxyError> {
        let bad = |reason: &str| ProxyError::Bad { origin: origin.to_owned(), reason: reason.to_owned() };
        let text = text.trim();
        let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let url = Url::parse(&full).map_err(|error| bad(&error.to_string()))?;
        let scheme = match url.scheme() {
            "http" => "http",
            "https" => "https",
            socks if socks.starts_with("socks") => return Err(ProxyError::Socks { origin: origin.to_owned() }),
            _ => return Err(bad("it starts with neither http:// nor https://")),
        };
        let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
        Ok(Self { scheme, host: host.to_owned(), port, authorization: authorization(&url), origin: origin.to_owned() })
    }

    /// Whether the connection to the proxy itself uses TLS.
    pub(super) fn is_encrypted(&self) -> bool {
        self.scheme == "https"
    }

    /// Name or address, for the resolver and for TLS.
    pub(super) fn host(&self) -> &str {
        self.host.trim_matches(['[', ']'])
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The value of `Proxy-Authorization`.
    pub(super) fn authorization(&self) -> Option<&HeaderValue> {
        self.authorization.as_ref()
    }

    pub(super) fn for_reqwest(&self) -> reqwest::Result<reqwest::Proxy> {
        let proxy = reqwest::Proxy::all(format!("{}://{}:{}", self.scheme, self.host, self.port))?;
        Ok(match &self.authorization {
            Some(value) => proxy.custom_http_auth(value.clone()),
            None => proxy,
        })
    }
}

/// With what names it, and without credentials.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{} ({})", self.scheme, self.host, self.port, self.origin)
    }
}

fn authorization(url: &Url) -> Option<HeaderValue> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let mut credentials: Vec<u8> = percent_decode_str(url.username()).collect();
    credentials.push(b':');
    credentials.extend(percent_decode_str(url.password().unwrap_or_default()));
    let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(credentials))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// The proxy that the variables name for `url`, as Go reads them: `HTTPS_PROXY` or `HTTP_PROXY` by the scheme of the
/// server, in upper case before lower case, `NO_PROXY` for exceptions, and none to this machine itself. `ALL_PROXY`,
/// which Go does not know and curl does, comes last.
pub(super) fn from_environment<'v>(
    url: &Url,
    variable: impl Fn(&str) -> Option<&'v OsStr>,
) -> Result<Option<Proxy>, ProxyError> {
    let own = if url.scheme() == "https" { ["HTTPS_PROXY", "https_proxy"] } else { ["HTTP_PROXY", "http_proxy"] };
    let named = own.into_iter().chain(["ALL_PROXY", "all_proxy"]).filter(|name| {
        // A CGI program has the Proxy header of whoever asks in HTTP_PROXY.
        *name != "HTTP_PROXY" || variable("REQUEST_METHOD").is_none()
    });
    let Some((name, value)) = named.into_iter().find_map(|name| Some((name, variable(name)?))) else { return Ok(None) };
    let (host, port) = (url.host_str().unwrap_or_default(), url.port_or_known_default().unwrap_or_default());
    let exceptions = variable("NO_PROXY").or_else(|| variable("no_proxy")).unwrap_or_default();
    if is_loopback(host) || no_proxy::excepts(&exceptions.to_string_lossy(), host, port) {
        return Ok(None);
    }
    let not_text = || ProxyError::Bad { origin: name.to_owned(), reason: "it is no text".to_owned() };
    Proxy::parse(value.to_str().ok_or_else(not_text)?, name).map(Some)
}

/// A proxy elsewhere cannot reach this machine's own server, and would only get to see the token.
fn is_loopback(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    address.map_or(host == "localhost", |address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(url: &str, variables: &[(&str, &str)]) -> Option<String> {
        let find = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| OsStr::new(*value));
        from_environment(&url.parse().unwrap(), find).unwrap().map(|proxy| proxy.to_string())
    }

    #[test]
    fn variables_as_go_reads_them() {
        let https = "https://coder.example.com";
        for (url, variables, expected) in [
            (https, &[][..], None),
            (https, &[("HTTPS_PROXY", "http://p:3128")], Some("http://p:3128 (HTTPS_PROXY)")),
            (https, &[("https_proxy", "p:3128")], Some("http://p:3128 (https_proxy)")),
            (https, &[("https_proxy", "a"), ("HTTPS_PROXY", "b")], Some("http://b:80 (HTTPS_PROXY)")),
            (https, &[("HTTP_PROXY", "http://p:3128")], None),
            (https, &[("ALL_PROXY", "https://p")], Some("https://p:443 (ALL_PROXY)")),
            ("http://coder", &[("HTTP_PROXY", "http://[fd00::1]:8080/")], Some("http://[fd00::1]:8080 (HTTP_PROXY)")),
            ("http://coder", &[("HTTP_PROXY", "p"), ("REQUEST_METHOD", "GET")], None),
            ("http://coder", &[("http_proxy", "p"), ("REQUEST_METHOD", "GET")], Some("http://p:80 (http_proxy)")),
            (https, &[("HTTPS_PROXY", "p"), ("NO_PROXY", "example.com")], None),
            (https, &[("HTTPS_PROXY", "p"), ("no_proxy", ".com:443")], None),
            (https, &[("HTTPS_PROXY", "p"), ("NO_PROXY", "example.org")], Some("http://p:80 (HTTPS_PROXY)")),
            ("https://localhost:1", &[("HTTPS_PROXY", "p")], None),
            ("https://127.3.2.1", &[("HTTPS_PROXY", "p")], None),
            ("https://[::1]:7080", &[("HTTPS_PROXY", "p")], None),
            // What is not used need not be usable.
            ("https://localhost", &[("HTTPS_PROXY", "socks5://p")], None),
        ] {
            assert_eq!(chosen(url, variables).as_deref(), expected, "{url} {variables:?}");
        }
    }

    #[test]
    fn credentials_are_sent_and_never_shown() {
        let proxy = Proxy::parse("http://me:hunter%402@p:3128", "HTTPS_PROXY").unwrap();
        assert_eq!(proxy.authorization().unwrap(), "Basic bWU6aHVudGVyQDI=");
        assert_eq!(proxy.to_string(), "http://p:3128 (HTTPS_PROXY)");
        assert!(!format!("{proxy:?}").contains("bWU6"));
        for text in ["socks5://me:hunter2@p", "ftp://me:hunter2@p", "http://me:hunter2@", "http://me:hunter2@p:x"] {
            let error = Proxy::parse(text, "ALL_PROXY").unwrap_err().to_string();
            assert!(
                error.starts_with("the proxy in ALL_PROXY is not usable: it is a SOCKS proxy") == text.starts_with('s')
            );
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn direct_is_no_proxy() {
        assert!(matches!(ProxyChoice::parse(" direct ", "x"), Ok(ProxyChoice::Direct)));
        assert!(ProxyChoice::parse("http://u@p", "x").unwrap().has_credentials());
    }
}
