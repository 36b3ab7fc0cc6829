//! Not reqwest's own use of the same resolver: that asks a public one where it finds no `/etc/resolv.conf`.

use std::io;
use std::net::{IpAddr, SocketAddr};

use hickory_resolver::net::NetError;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, ResolverBuilder, TokioResolver};

const SERVERS: &str = "/etc/resolv.conf";

pub(super) async fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(address, port)]);
    }
    let mut found = in_hosts_file(host);
    if found.is_empty() {
        found = ask(host).await?;
    }
    Ok(found.into_iter().map(|address| SocketAddr::new(address, port)).collect())
}

/// What `/etc/hosts` says; a name that is in it is asked of nobody.
fn in_hosts_file(host: &str) -> Vec<IpAddr> {
    let (Ok(name), Ok(hosts)) = (Name::from_utf8(host), Hosts::from_system()) else { return Vec::new() };
    let find = |kind| hosts.lookup_static_host(&Query::query(name.clone(), kind));
    let found = [RecordType::A, RecordType::AAAA].into_iter().filter_map(find);
    found.flat_map(|lookup| lookup.answers().iter().filter_map(|it| it.data.ip_addr()).collect::<Vec<_>>()).collect()
}

/// The files are read for each name, as by glibc: engines and DHCP change them while we run.
async fn ask(host: &str) -> io::Result<Vec<IpAddr>> {
    let resolver = TokioResolver::builder_tokio().and_then(ResolverBuilder::build);
    let resolver = resolver.map_err(|error| io::Error::other(format!("{SERVERS}: {error}")))?;
    let found = resolver.lookup_ip(host).await.map_err(|error| failure(&error))?;
    Ok(found.iter().collect())
}

fn failure(error: &NetError) -> io::Error {
    if error.is_no_records_found() {
        io::Error::new(io::ErrorKind::NotFound, format!("the name servers of {SERVERS} do not know the name"))
    } else {
        io::Error::other(format!("no answer from the name servers of {SERVERS}: {error}"))
    }
}
