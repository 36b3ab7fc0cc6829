//! Host names into addresses.
//!
//! By glibc, as every other program of the machine. A static executable cannot: glibc would load modules of the machine
//! it runs on, which need their own glibc. It reads `/etc/hosts` and `/etc/resolv.conf` itself.
#![forbid(unsafe_code)]

#[cfg(feature = "static")]
mod resolver;

use std::io;
use std::net::SocketAddr;

/// Where `host` is, in the order to try.
#[cfg(not(feature = "static"))]
pub async fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    Ok(tokio::net::lookup_host((host, port)).await?.collect())
}

/// Where `host` is, in the order to try.
#[cfg(feature = "static")]
pub async fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    resolver::addresses(host, port).await
}

/// An HTTP client that finds its servers in the same way.
pub fn http_client() -> reqwest::ClientBuilder {
    let client = reqwest::Client::builder();
    #[cfg(feature = "static")]
    let client = client.dns_resolver(std::sync::Arc::new(resolver::OfReqwest));
    client
}
