//! The way from this program to its server: the proxy in between, the extra headers, the trusted certificates.
//!
//! The agent's connection, its HTTP requests, `coder gitssh` and the command line share one [`Network`], so all of them
//! get through or fail for the same reason.
#![forbid(unsafe_code)]

mod connect;
mod headers;
mod no_proxy;
mod proxy;

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::header::HeaderMap;
use reqwest::{ClientBuilder, Url, redirect};
use rustls::ClientConfig;

pub use connect::{ConnectError, Socket};
pub use headers::{HeaderError, Headers};
pub use proxy::{Proxy, ProxyChoice, ProxyError};

use crate::names;
use crate::tls::{self, TlsError};

/// What the user set for connections to one server. Everything else comes from the environment and the system.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// Which proxy to use; the usual variables decide, if absent.
    pub proxy: Option<ProxyChoice>,
    /// Headers of every request to the server.
    pub headers: Headers,
    /// PEM file of certificates to trust besides those of the system.
    pub ca_file: Option<PathBuf>,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum NetworkError {
    /// No TLS.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// reqwest refuses the address of the proxy.
    #[error("set up the proxy")]
    Proxy(#[source] reqwest::Error),
}

/// The way to one server.
#[derive(Debug)]
pub struct Network {
    url: Url,
    proxy: Option<Proxy>,
    headers: Headers,
    /// For the header command.
    variables: Vec<(OsString, OsString)>,
    ca_file: Option<PathBuf>,
    tls: Mutex<Option<Arc<ClientConfig>>>,
}

impl Network {
    /// The way to the server at `url`. `variables` is the environment: it names proxies, and the header command gets it.
    pub fn new(url: Url, settings: Settings, variables: &[(OsString, OsString)]) -> Result<Self, ProxyError> {
        let proxy = match settings.proxy {
            Some(ProxyChoice::Direct) => None,
            Some(ProxyChoice::Proxy(proxy)) => Some(proxy),
            None => proxy::from_environment(&url, |name| variable(variables, name))?,
        };
        let variables = if settings.headers.has_command() { variables.to_vec() } else { Vec::new() };
        Ok(Self { url, proxy, headers: settings.headers, variables, ca_file: settings.ca_file, tls: Mutex::new(None) })
    }

    /// The server's address.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// The proxy that leads to the server. Its `Display` shows no credentials.
    #[must_use]
    pub fn proxy(&self) -> Option<&Proxy> {
        self.proxy.as_ref()
    }

    /// The extra headers, for one connection or one series of requests. Runs the header command, whose output may expire.
    pub async fn headers(&self) -> Result<HeaderMap, HeaderError> {
        self.headers.collect(&self.url, &self.variables).await
    }

    /// A client that takes this way. It follows no redirect: a token would go to whatever host that names.
    pub fn client(&self) -> Result<ClientBuilder, NetworkError> {
        let client = match &self.proxy {
            None => names::http_client().no_proxy(),
            Some(proxy) => names::http_client().proxy(proxy.for_reqwest().map_err(NetworkError::Proxy)?),
        };
        let tls = ClientConfig::clone(&*self.tls()?);
        Ok(client.redirect(redirect::Policy::none()).tls_backend_preconfigured(tls))
    }

    /// Made when it is first needed: reading the system's certificates takes half a MiB and a few milliseconds.
    fn tls(&self) -> Result<Arc<ClientConfig>, TlsError> {
        let mut slot = self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = &*slot {
            return Ok(config.clone());
        }
        let encrypted = self.url.scheme() == "https" || self.proxy.as_ref().is_some_and(Proxy::is_encrypted);
        let config = if encrypted { tls::client_config(self.ca_file.as_deref())? } else { tls::without_roots()? };
        Ok(slot.insert(Arc::new(config)).clone())
    }
}

fn variable<'v>(variables: &'v [(OsString, OsString)], name: &str) -> Option<&'v OsStr> {
    variables.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_os_str())
}
