//! Host names into addresses.
//!
//! By glibc, as every other program of the machine. A static executable cannot: glibc would load modules of the machine
//! it runs on, which need their own glibc. It reads `/etc/hosts` and `/etc/resolv.conf` itself.
#![forbid(unsafe_code)]

#[cfg(feature = "static")]
mod resolver;

use std::io;
use std::net::SocketAddr;
#[cfg(not(feature = "static"))]
use std::net::ToSocketAddrs;
use std::sync::Arc;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

#[cfg(not(feature = "static"))]
use crate::sys::threads;

/// Where `host` is, in the order to try.
#[cfg(not(feature = "static"))]
pub async fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    let host = host.to_owned();
    Ok(threads::run(move || (host, port).to_socket_addrs()).await?.collect())
}

/// Where `host` is, in the order to try.
#[cfg(feature = "static")]
pub async fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    resolver::addresses(host, port).await
}

/// An HTTP client that finds its servers in the same way.
pub fn http_client() -> reqwest::ClientBuilder {
    reqwest::Client::builder().dns_resolver(Arc::new(Resolver))
}

/// The same names for reqwest, whose own way needs tokio's threads.
struct Resolver;

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            // reqwest puts the port of the URL in place of 0.
            let found = addresses(name.as_str(), 0).await?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
