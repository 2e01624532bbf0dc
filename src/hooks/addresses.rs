//! The addresses at which an application may be asked. A name that somebody else can change must not lead a question, or
//! a probe, into the network behind the server, so each address that is connected to is looked at.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use ipnet::IpNet;
use tower_service::Service;

/// Networks that are not public (RFC 6890 and the registries of IANA that follow it), and what they are.
const NOT_PUBLIC: [(&str, &str); 29] = [
    ("0.0.0.0/8", "unspecified"),
    ("10.0.0.0/8", "private"),
    ("100.64.0.0/10", "shared by a carrier"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("172.16.0.0/12", "private"),
    ("192.0.0.0/24", "reserved"),
    ("192.0.2.0/24", "documentation"),
    ("192.88.99.0/24", "reserved"),
    ("192.168.0.0/16", "private"),
    ("198.18.0.0/15", "reserved"),
    ("198.51.100.0/24", "documentation"),
    ("203.0.113.0/24", "documentation"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("::1/128", "loopback"),
    ("::/96", "unspecified"),
    ("64:ff9b::/96", "translated to IPv4"),
    ("64:ff9b:1::/48", "translated to IPv4"),
    ("100::/64", "discarded"),
    ("2001::/23", "reserved"),
    ("2001:db8::/32", "documentation"),
    ("2002::/16", "translated to IPv4"),
    ("3fff::/20", "documentation"),
    ("5f00::/16", "reserved"),
    ("fc00::/7", "unique-local"),
    ("fe80::/10", "link-local"),
    ("fec0::/10", "private"),
    ("ff00::/8", "multicast"),
];

/// What an address is that is neither public nor in one of these networks; `None` if the application may be there. An
/// address of IPv4 that is mapped to IPv6 counts as that of IPv4.
pub(super) fn not_allowed(address: IpAddr, networks: &[IpNet]) -> Option<&'static str> {
    let address = address.to_canonical();
    if networks.iter().any(|network| network.contains(&address)) {
        return None;
    }
    let has_address = |network: &str| network.parse::<IpNet>().is_ok_and(|network| network.contains(&address));
    NOT_PUBLIC.iter().find(|(network, _)| has_address(network)).map(|(_, what)| *what)
}

/// Resolves names to the addresses at which the application may be. The connector connects to no others.
#[derive(Clone)]
pub(super) struct AllowedResolver {
    resolver: GaiResolver,
    networks: Arc<[IpNet]>,
}

impl AllowedResolver {
    pub(super) fn new(networks: Arc<[IpNet]>) -> Self {
        Self { resolver: GaiResolver::new(), networks }
    }
}

impl Service<Name> for AllowedResolver {
    type Response = std::vec::IntoIter<SocketAddr>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let (resolving, networks) = (self.resolver.call(name), Arc::clone(&self.networks));
        Box::pin(async move { allowed(resolving.await?, &networks) })
    }
}

/// The addresses at which the application may be. An error if there are only others.
fn allowed(found: impl Iterator<Item = SocketAddr>, networks: &[IpNet]) -> io::Result<std::vec::IntoIter<SocketAddr>> {
    let mut refused = None;
    let mut allowed = Vec::new();
    for address in found {
        match not_allowed(address.ip(), networks) {
            None => allowed.push(address),
            Some(what) => refused = Some((address.ip(), what)),
        }
    }
    match refused {
        Some((address, what)) if allowed.is_empty() => {
            Err(io::Error::other(format!("its address {address} is {what}: hook-networks does not list it")))
        }
        _ => Ok(allowed.into_iter()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn what(address: &str) -> Option<&'static str> {
        not_allowed(address.parse().unwrap(), &[])
    }

    #[test]
    fn every_network_in_the_table_is_one_and_is_refused_at_both_ends() {
        for (network, named) in NOT_PUBLIC {
            let network: IpNet = network.parse().unwrap();
            assert_eq!(network, network.trunc());
            for address in [network.network(), network.broadcast()] {
                assert!(not_allowed(address, &[]).is_some(), "{address} is {named}");
            }
        }
    }

    #[test]
    fn addresses_that_are_not_public_are_refused_however_they_are_written() {
        for (address, named) in [
            ("127.0.0.1", "loopback"),
            ("::1", "loopback"),
            ("::ffff:127.0.0.1", "loopback"),
            ("::ffff:10.1.2.3", "private"),
            ("::127.0.0.1", "unspecified"),
            ("169.254.169.254", "link-local"),
            ("fd00:ec2::254", "unique-local"),
            ("100.64.0.1", "shared by a carrier"),
            ("64:ff9b::7f00:1", "translated to IPv4"),
            ("2002:7f00:1::", "translated to IPv4"),
        ] {
            assert_eq!(what(address), Some(named), "{address}");
        }
        for public in ["1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "::ffff:8.8.8.8"] {
            assert_eq!(what(public), None, "{public}");
        }
    }

    #[test]
    fn a_listed_network_is_allowed_and_of_a_name_only_what_is_allowed_is_left() {
        let networks = ["10.0.0.0/8".parse().unwrap()];
        assert_eq!(not_allowed("::ffff:10.1.2.3".parse().unwrap(), &networks), None);
        assert_eq!(not_allowed("192.168.0.1".parse().unwrap(), &networks), Some("private"));
        let found = |addresses: &[&str]| {
            let found: Vec<SocketAddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
            allowed(found.into_iter(), &networks).map(Iterator::collect::<Vec<_>>).map_err(|error| error.to_string())
        };
        assert_eq!(found(&["127.0.0.1:1", "10.0.0.1:1", "1.1.1.1:1"]).unwrap().len(), 2);
        let refused = "its address 127.0.0.1 is loopback: hook-networks does not list it";
        assert_eq!(found(&["127.0.0.1:1"]).unwrap_err(), refused);
        assert_eq!(found(&[]).unwrap(), []);
    }
}
