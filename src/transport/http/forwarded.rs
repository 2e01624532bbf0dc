//! The client and the host that a trusted proxy forwards a request for, by the `X-Forwarded-*` headers.

use std::net::{IpAddr, SocketAddr};

use axum::http::header::{HeaderMap, HeaderValue};

use crate::net::proxy::TrustedProxies;

/// Each proxy appends the address that it was asked from.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The host that the proxy was asked for.
const FORWARDED_HOST: &str = "x-forwarded-host";

/// The client that a request was made for: going back from the peer, the first address that is no trusted proxy.
pub fn forwarded_for(proxies: &TrustedProxies, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
    let lists = headers.get_all(FORWARDED_FOR).iter().rev().map(HeaderValue::to_str);
    let mut hops = lists.flat_map(|list| list.unwrap_or("unreadable").rsplit(','));
    let mut client = peer;
    while proxies.trusts(client) {
        let Some(before) = hops.next().and_then(|hop| address(hop.trim())) else { break };
        client = before;
    }
    client
}

/// Whether a request says that it was forwarded. A web page cannot make its browser say so in a handshake.
pub fn is_forwarded(headers: &HeaderMap) -> bool {
    headers.contains_key(FORWARDED_FOR) || headers.contains_key(FORWARDED_HOST)
}

/// The host that the first of the proxies was asked for, if they say.
pub fn forwarded_host(headers: &HeaderMap) -> Option<&str> {
    let list = headers.get(FORWARDED_HOST)?.to_str().ok()?;
    list.split(',').next().map(str::trim)
}

/// The address of a hop. Some proxies add a port.
fn address(hop: &str) -> Option<IpAddr> {
    hop.parse().ok().or_else(|| hop.parse().ok().map(|with_port: SocketAddr| with_port.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_forwarded_for_the_last_address_that_is_no_trusted_proxy() {
        let networks = ["10.0.0.0/8", "2001:db8::/32"].map(|network| network.parse().unwrap());
        let proxies = TrustedProxies::new(&networks, false);
        let client = |peer: &str, lists: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for list in lists {
                headers.append(FORWARDED_FOR, HeaderValue::from_static(list));
            }
            forwarded_for(&proxies, peer.parse().unwrap(), &headers).to_string()
        };
        assert_eq!(client("10.0.0.1", &["192.0.2.7"]), "192.0.2.7");
        assert_eq!(client("::ffff:10.0.0.1", &["192.0.2.7:4711"]), "192.0.2.7");
        let hearsay = ["203.0.113.9, 192.0.2.7 , 10.0.0.2"];
        assert_eq!(client("10.0.0.1", &hearsay), "192.0.2.7", "what came before is hearsay");
        assert_eq!(client("10.0.0.1", &["192.0.2.7", "2001:db8::1"]), "192.0.2.7");
        assert_eq!(client("192.0.2.1", &["192.0.2.7"]), "192.0.2.1", "a stranger is not believed");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["192.0.2.7, me"]), "10.0.0.1");
    }
}
