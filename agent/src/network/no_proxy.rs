//! `NO_PROXY` as Go reads it, and with it Coder's own agent and command line.

use std::net::IpAddr;

use reqwest::Url;

/// Whether `list` excepts `host` at `port` from the proxy. Entries are separated by commas: `*` for every host,
/// `example.com` for that domain and its subdomains, `.example.com` or `*.example.com` for its subdomains, an address or
/// a CIDR block, and `:port` after any of them but the last. An entry that is none of these counts for nothing.
pub(super) fn excepts(list: &str, host: &str, port: u16) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    list.split(|c: char| c == ',' || c.is_whitespace()).any(|entry| matches(entry, host, address, port))
}

fn matches(entry: &str, host: &str, address: Option<IpAddr>, port: u16) -> bool {
    if entry == "*" {
        return true;
    }
    if let Some((block, bits)) = parse_block(entry) {
        return address.is_some_and(|address| is_in(block, bits, address));
    }
    let (name, only) = split_port(entry);
    if name.is_empty() || only.is_some_and(|only| only != port) {
        return false;
    }
    match (name.parse::<IpAddr>(), address) {
        (Ok(excepted), Some(address)) => excepted == address,
        (Err(_), None) => is_within(name, host),
        _ => false,
    }
}

/// Address and length of the prefix of a CIDR block.
fn parse_block(entry: &str) -> Option<(IpAddr, u32)> {
    let (address, bits) = entry.split_once('/')?;
    let (address, bits) = (address.parse::<IpAddr>().ok()?, bits.parse().ok()?);
    let most = if address.is_ipv4() { 32 } else { 128 };
    (bits <= most).then_some((address, bits))
}

fn is_in(block: IpAddr, bits: u32, address: IpAddr) -> bool {
    match (block, address) {
        (IpAddr::V4(block), IpAddr::V4(address)) => {
            (block.to_bits() ^ address.to_bits()).checked_shr(32 - bits).is_none_or(|differs| differs == 0)
        }
        (IpAddr::V6(block), IpAddr::V6(address)) => {
            (block.to_bits() ^ address.to_bits()).checked_shr(128 - bits).is_none_or(|differs| differs == 0)
        }
        _ => false,
    }
}

/// The port after a name, an IPv4 address, or an IPv6 address in brackets. Any other port counts for nothing.
fn split_port(entry: &str) -> (&str, Option<u16>) {
    match entry.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => match port.parse() {
            Ok(port) => (name.trim_matches(['[', ']']), Some(port)),
            Err(_) => ("", None),
        },
        _ => (entry.trim_matches(['[', ']']), None),
    }
}

fn is_within(domain: &str, host: &str) -> bool {
    let subdomains = domain.strip_prefix("*.").or_else(|| domain.strip_prefix('.'));
    let domain = ascii(subdomains.unwrap_or(domain));
    match host.strip_suffix(domain.as_str()) {
        Some("") => subdomains.is_none() && !domain.is_empty(),
        Some(before) => before.ends_with('.') && !domain.is_empty(),
        None => false,
    }
}

/// As a URL has it: in lower case and, where it is international, in Punycode.
fn ascii(domain: &str) -> String {
    let url = Url::parse(&format!("http://{domain}/")).ok();
    url.as_ref().and_then(Url::host_str).map_or_else(|| domain.to_ascii_lowercase(), ToOwned::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_as_go_reads_them() {
        for (list, host, port, expected) in [
            ("", "example.com", 443, false),
            ("*", "example.com", 443, true),
            ("example.com", "example.com", 443, true),
            ("EXAMPLE.com", "example.com", 443, true),
            ("example.com", "a.b.example.com", 443, true),
            ("example.com", "notexample.com", 443, false),
            (".example.com", "a.example.com", 443, true),
            (".example.com", "example.com", 443, false),
            ("*.example.com", "a.example.com", 443, true),
            ("*.example.com", "example.com", 443, false),
            ("example.com:7080", "example.com", 7080, true),
            ("example.com:7080", "example.com", 443, false),
            ("example.com:x", "example.com", 443, false),
            (":443", "example.com", 443, false),
            ("other, example.com", "example.com", 443, true),
            ("other example.com", "example.com", 443, true),
            (".", "example.com", 443, false),
            ("m\u{fc}nchen.example", "xn--mnchen-3ya.example", 443, true),
            ("10.0.0.0/8", "10.1.2.3", 443, true),
            ("10.0.0.0/8", "11.1.2.3", 443, false),
            ("10.0.0.0/8", "example.com", 443, false),
            ("10.1.2.2/31", "10.1.2.3", 443, true),
            ("10.1.2.3/32", "10.1.2.2", 443, false),
            ("0.0.0.0/0", "10.1.2.2", 443, true),
            ("0.0.0.0/0", "[fd00::1]", 443, false),
            ("10.0.0.0/33", "10.1.2.3", 443, false),
            ("::/0", "[fd00::1]", 443, true),
            ("10.1.2.3", "10.1.2.3", 443, true),
            ("10.1.2.3:80", "10.1.2.3", 443, false),
            ("10.1.2.3:443", "10.1.2.3", 443, true),
            ("1.2.3", "10.1.2.3", 443, false),
            ("fd00::/8", "[fd00::1]", 443, true),
            ("fd00::1", "[fd00::1]", 443, true),
            ("[fd00::1]", "[fd00::1]", 443, true),
            ("[fd00::1]:443", "[fd00::1]", 443, true),
            ("[fd00::1]:80", "[fd00::1]", 443, false),
        ] {
            assert_eq!(excepts(list, host, port), expected, "{list:?} {host} {port}");
        }
    }
}
