//! Which web pages may use the routes that act for the user of a browser, from the WebSocket handshake to the server API,
//! and read the answers of the others. A browser sends its user's cookies and network position along with the request of
//! any page, and names the page's origin; other clients send no origin, or any. Knows headers, no socket.

use std::net::{IpAddr, Ipv6Addr};

use hyper::header::{HOST, HeaderMap, HeaderValue, ORIGIN};

use crate::config::{HostName, Origins};

/// The port that a proxy was asked on, for proxies that leave it out of the host.
const FORWARDED_PORT: &str = "x-forwarded-port";

/// The port of `https`.
const HTTPS_PORT: u16 = 443;

/// The rules for the origins of web pages.
#[derive(Clone, Debug)]
pub struct OriginRules {
    /// The origins that may connect.
    pub origins: Origins,
    /// The only names that count as the server's own; any name counts if there are none.
    pub hosts: Vec<HostName>,
    /// The port speaks TLS: a page that came without it may be anybody's, and is not one of the server's own.
    pub is_tls: bool,
}

/// How a request reached the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached<'a> {
    /// At an address of the network.
    Directly,
    /// At a loopback address. Any site can make its name resolve to that address (DNS rebinding), so only loopback
    /// names are the server's own here.
    OverLoopback,
    /// Through a trusted proxy, which forwards the host that it was asked for; `None` if `Host` has it.
    Forwarded(Option<&'a str>),
}

impl OriginRules {
    /// Whether the page may connect: there is none, it is of the host that was asked for, or its origin is listed.
    pub fn allow(&self, headers: &HeaderMap, reached: Reached<'_>) -> bool {
        let host = match reached {
            Reached::Forwarded(Some(host)) => HostName::parse(host),
            _ => asked_host(headers),
        };
        let host = host.map(|host| with_forwarded_port(host, headers, reached));
        headers.get_all(ORIGIN).iter().all(|origin| match &self.origins {
            Origins::Any => true,
            Origins::SameHostAnd(listed) => {
                let is_listed = listed.iter().any(|listed| listed.as_bytes().eq_ignore_ascii_case(origin.as_bytes()));
                is_listed || host.as_ref().is_some_and(|host| self.is_of_host(origin, host, reached))
            }
        })
    }

    /// Whether a page that reads from its own host may read this answer. Browsers name no origin then, and over plain HTTP
    /// nothing else tells them from other clients. So over loopback, where any site may have led its name, the host that
    /// was asked for must be a loopback name, an address, which no site can lead elsewhere, or one that the settings name.
    pub fn allow_reading(&self, headers: &HeaderMap, reached: Reached<'_>) -> bool {
        let is_own = |name: &str| is_loopback(name) || is_address(name) || self.is_named(name);
        reached != Reached::OverLoopback
            || headers.contains_key(ORIGIN)
            || !headers.contains_key(HOST)
            || asked_host(headers).is_some_and(|host| is_own(&host.name))
    }

    /// Whether the settings name this host, as one of the server or as the origin of pages.
    fn is_named(&self, name: &str) -> bool {
        let is_of_page = |origin: &String| Page::parse(origin).is_some_and(|page| page.host.name == name);
        let is_listed = match &self.origins {
            Origins::Any => true,
            Origins::SameHostAnd(listed) => listed.iter().any(is_of_page),
        };
        is_listed || self.hosts.iter().any(|host| host.name == name)
    }

    /// Whether the settings name no host and no page but those of this machine.
    pub fn are_of_this_machine(&self) -> bool {
        let is_of_this_machine = |origin: &String| Page::parse(origin).is_some_and(|page| is_loopback(&page.host.name));
        let are_pages = match &self.origins {
            Origins::Any => false,
            Origins::SameHostAnd(listed) => listed.iter().all(is_of_this_machine),
        };
        are_pages && self.hosts.iter().all(|host| is_loopback(&host.name))
    }

    fn is_of_host(&self, origin: &HeaderValue, host: &HostName, reached: Reached<'_>) -> bool {
        let Some(page) = origin.to_str().ok().and_then(Page::parse) else { return false };
        if self.is_tls && !page.is_https() && !matches!(reached, Reached::Forwarded(_)) {
            return false;
        }
        page.host.name == host.name && page.is_at_port_of(host, reached) && self.is_own(&page, reached)
    }

    /// Whether the page's host is one of the server's own names.
    fn is_own(&self, page: &Page, reached: Reached<'_>) -> bool {
        if self.hosts.is_empty() {
            return reached != Reached::OverLoopback || is_loopback(&page.host.name);
        }
        let is_it = |own: &HostName| own.name == page.host.name && own.port.is_none_or(|port| port == page.port());
        self.hosts.iter().any(is_it)
    }
}

/// The origin of a web page.
struct Page {
    host: HostName,
    /// The port of its scheme.
    default_port: u16,
}

impl Page {
    fn parse(origin: &str) -> Option<Self> {
        let schemes = [("http://", 80), ("https://", HTTPS_PORT)];
        let (host, default_port) =
            schemes.into_iter().find_map(|(scheme, port)| Some((origin.strip_prefix(scheme)?, port)))?;
        Some(Self { host: HostName::parse(host)?, default_port })
    }

    fn is_https(&self) -> bool {
        self.default_port == HTTPS_PORT
    }

    fn port(&self) -> u16 {
        self.host.port.unwrap_or(self.default_port)
    }

    /// Whether its port is the one that was asked for. Browsers leave out the port of the scheme, and proxies may leave
    /// out any port (nginx's `$host`): there the name alone decides. Not for loopback names, where other ports belong
    /// to other programs.
    fn is_at_port_of(&self, host: &HostName, reached: Reached<'_>) -> bool {
        match host.port {
            Some(port) => port == self.port(),
            None if matches!(reached, Reached::Forwarded(_)) && !is_loopback(&host.name) => true,
            None => self.port() == self.default_port,
        }
    }
}

/// The host with the port that a trusted proxy says it was asked on.
fn with_forwarded_port(host: HostName, headers: &HeaderMap, reached: Reached<'_>) -> HostName {
    let port = headers.get(FORWARDED_PORT).and_then(|port| port.to_str().ok()?.parse().ok());
    let port = port.filter(|_| matches!(reached, Reached::Forwarded(_)));
    HostName { port: host.port.or(port), ..host }
}

/// Whether the host that was asked for is a loopback name or address.
pub fn is_loopback_asked_for(headers: &HeaderMap) -> bool {
    asked_host(headers).is_some_and(|host| is_loopback(&host.name))
}

/// The host that was asked for, as the request says itself.
fn asked_host(headers: &HeaderMap) -> Option<HostName> {
    HostName::parse(headers.get(HOST)?.to_str().ok()?)
}

/// Whether a name is a loopback name (RFC 6761 §6.3) or address.
fn is_loopback(name: &str) -> bool {
    let is_loopback = address(name).is_some_and(|address| address.to_canonical().is_loopback());
    is_loopback || name == "localhost" || name.ends_with(".localhost")
}

fn is_address(name: &str) -> bool {
    address(name).is_some()
}

/// The address that stands in place of a name.
fn address(name: &str) -> Option<IpAddr> {
    match name.strip_prefix('[') {
        Some(address) => address.trim_end_matches(']').parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => name.parse().ok(),
    }
}
