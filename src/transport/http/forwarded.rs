//! The client and the host for which a trusted proxy forwards a request, by the `X-Forwarded-*` headers.

use std::net::{IpAddr, SocketAddr};

use hyper::header::{HeaderMap, HeaderValue};

use crate::net::proxy::TrustedProxies;

/// A list to which each proxy appends the address of its client.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// The host for which the proxy was asked.
const FORWARDED_HOST: &str = "x-forwarded-host";

/// The headers by which proxies say that they forward begin with this, or are among the others.
const FORWARDING_PREFIX: &str = "x-forwarded-";
const FORWARDING_HEADERS: [&str; 3] = ["forwarded", "via", "x-real-ip"];

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

/// Whether a request claims to be forwarded. A web page cannot make its browser claim so in a WebSocket handshake.
pub fn is_forwarded(headers: &HeaderMap) -> bool {
    let is_of_proxy = |name: &str| name.starts_with(FORWARDING_PREFIX) || FORWARDING_HEADERS.contains(&name);
    headers.keys().any(|name| is_of_proxy(name.as_str()))
}

/// The host for which the first of the proxies was asked, if they forward it.
pub fn forwarded_host(headers: &HeaderMap) -> Option<&str> {
    let list = headers.get(FORWARDED_HOST)?.to_str().ok()?;
    list.split(',').next().map(str::trim)
}

/// The address of a hop. Some proxies add a port.
fn address(hop: &str) -> Option<IpAddr> {
    hop.parse().ok().or_else(|| hop.parse().ok().map(|with_port: SocketAddr| with_port.ip()))
}
