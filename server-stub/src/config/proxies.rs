//! Who is calling when reverse proxies are in between.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName};
use ipnet::IpNet;

/// The proxies whose word counts, and the headers in which they name the client. Empty: nobody's word counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    origins: Arc<[IpNet]>,
    headers: Arc<[HeaderName]>,
}

impl TrustedProxies {
    /// Reads comma-separated networks (`10.0.0.0/8`; a plain address is a network of one) and header names.
    ///
    /// The error is the part that is none.
    pub fn parse(origins: &str, headers: &str) -> Result<Self, String> {
        let origins = split(origins).map(|part| network(part).ok_or_else(|| part.to_owned()));
        let headers = split(headers).map(|part| part.parse().map_err(|_| part.to_owned()));
        Ok(Self { origins: origins.collect::<Result<_, _>>()?, headers: headers.collect::<Result<_, _>>()? })
    }

    /// Whether `address` is one of the proxies.
    #[must_use]
    pub fn trusts(&self, address: IpAddr) -> bool {
        self.origins.iter().any(|network| network.contains(&address))
    }

    /// The client behind `peer`, the other end of the connection.
    ///
    /// Proxies append, so a header is read from its end: the first address that is no trusted proxy is the client. What stands before
    /// it, the client may have written itself.
    #[must_use]
    pub fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let peer = peer.to_canonical();
        if !self.trusts(peer) {
            return peer;
        }
        let Some(header) = self.headers.iter().find(|name| headers.contains_key(*name)) else { return peer };
        let mut client = peer;
        for value in headers.get_all(header).iter().rev() {
            // A value that is no text names nobody, and nor does anything before it.
            for hop in value.to_str().unwrap_or_default().rsplit(',') {
                let Some(address) = hop_address(hop.trim()) else { return client };
                client = address;
                if !self.trusts(client) {
                    return client;
                }
            }
        }
        client
    }
}

fn split(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

fn network(text: &str) -> Option<IpNet> {
    text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from))
}

/// `192.0.2.1`, `192.0.2.1:4711`, `2001:db8::1`, `[2001:db8::1]` or `[2001:db8::1]:4711`.
fn hop_address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = bare.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    address.map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(peer: &str, headers: &[(&'static str, &str)]) -> String {
        let proxies =
            TrustedProxies::parse("10.0.0.0/8, 127.0.0.1, fd00::/8", "CF-Connecting-IP,X-Forwarded-For").unwrap();
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        proxies.client(peer.parse().unwrap(), &map).to_string()
    }

    #[test]
    fn the_last_hop_that_is_no_trusted_proxy_is_the_client() {
        let forwarded = |value| client("10.0.0.1", &[("x-forwarded-for", value)]);
        assert_eq!(forwarded("192.0.2.1"), "192.0.2.1");
        assert_eq!(forwarded("203.0.113.9, 192.0.2.1"), "192.0.2.1");
        assert_eq!(forwarded("203.0.113.9, 192.0.2.1,10.1.1.1 ,fd00::1"), "192.0.2.1");
        assert_eq!(forwarded("10.1.1.1"), "10.1.1.1");
        assert_eq!(forwarded("[2001:db8::1]:4711"), "2001:db8::1");
        assert_eq!(forwarded("192.0.2.1:4711"), "192.0.2.1");
        assert_eq!(forwarded("::ffff:192.0.2.1"), "192.0.2.1");
        let twice = [("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "192.0.2.1, 10.0.0.2")];
        assert_eq!(client("10.0.0.1", &twice), "192.0.2.1");
    }

    #[test]
    fn nobody_else_is_believed() {
        assert_eq!(client("192.0.2.7", &[("x-forwarded-for", "203.0.113.9")]), "192.0.2.7");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &[("x-real-ip", "203.0.113.9")]), "10.0.0.1");
        for nonsense in ["", "unknown", "203.0.113.9, nobody", "203.0.113.9,"] {
            assert_eq!(client("10.0.0.1", &[("x-forwarded-for", nonsense)]), "10.0.0.1", "{nonsense}");
        }
        assert_eq!(client("10.0.0.1", &[("x-forwarded-for", "nobody, 10.0.0.2")]), "10.0.0.2");
        assert_eq!(client("::ffff:10.0.0.1", &[("x-forwarded-for", "192.0.2.1")]), "192.0.2.1");
    }

    #[test]
    fn the_first_header_that_is_there_counts() {
        let both = [("x-forwarded-for", "203.0.113.9"), ("cf-connecting-ip", "192.0.2.1")];
        assert_eq!(client("10.0.0.1", &both), "192.0.2.1");
    }

    #[test]
    fn what_is_no_network_and_no_header_is_named() {
        assert_eq!(TrustedProxies::parse("10.0.0.0/8,10.0.0.0/99", ""), Err("10.0.0.0/99".to_owned()));
        assert_eq!(TrustedProxies::parse("", "X Forwarded"), Err("X Forwarded".to_owned()));
    }
}
