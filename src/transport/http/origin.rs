//! Which web pages may open a WebSocket. A browser sends its user's cookies and network position along with the handshake of
//! any page, and names the page's origin; other clients send no origin, or any. Knows headers, no socket.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::header::{HOST, HeaderMap, HeaderValue, ORIGIN};

use crate::config::{HostName, Origins};

/// The port that a proxy was asked on, for proxies that leave it out of the host.
const FORWARDED_PORT: &str = "x-forwarded-port";

/// The rules for the origins of web pages.
#[derive(Clone, Debug)]
pub struct OriginRules {
    /// The origins that may connect.
    pub origins: Origins,
    /// The only names that count as the server's own; any name counts if there are none.
    pub hosts: Vec<HostName>,
}

/// How a request reached the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reached<'a> {
    /// At an address of the network.
    Directly,
    /// At a loopback address. Any site can make its name resolve to that address (DNS rebinding), so only loopback names
    /// are the server's own here.
    OverLoopback,
    /// Through a trusted proxy, which forwards the host that it was asked for; `None` if `Host` has it.
    Forwarded(Option<&'a str>),
}

impl OriginRules {
    /// Whether the page may connect: there is none, it is of the host that was asked for, or its origin is listed.
    pub(super) fn allow(&self, headers: &HeaderMap, reached: Reached<'_>) -> bool {
        let host = match reached {
            Reached::Forwarded(Some(host)) => Some(host),
            _ => headers.get(HOST).and_then(|host| host.to_str().ok()),
        };
        let host = host.and_then(HostName::parse).map(|host| with_forwarded_port(host, headers, reached));
        headers.get_all(ORIGIN).iter().all(|origin| match &self.origins {
            Origins::Any => true,
            Origins::SameHostAnd(listed) => {
                let is_listed = listed.iter().any(|listed| listed.as_bytes().eq_ignore_ascii_case(origin.as_bytes()));
                is_listed || host.as_ref().is_some_and(|host| self.is_of_host(origin, host, reached))
            }
        })
    }

    fn is_of_host(&self, origin: &HeaderValue, host: &HostName, reached: Reached<'_>) -> bool {
        let Some(page) = Page::parse(origin) else { return false };
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
    fn parse(origin: &HeaderValue) -> Option<Self> {
        let origin = origin.to_str().ok()?;
        let schemes = [("http://", 80), ("https://", 443)];
        let (host, default_port) =
            schemes.into_iter().find_map(|(scheme, port)| Some((origin.strip_prefix(scheme)?, port)))?;
        Some(Self { host: HostName::parse(host)?, default_port })
    }

    fn port(&self) -> u16 {
        self.host.port.unwrap_or(self.default_port)
    }

    /// Whether its port is the one that was asked for. Browsers leave out the port of the scheme, and proxies may leave out any
    /// port (nginx's `$host`): there the name alone decides. Not for loopback names, where other ports belong to other
    /// programs.
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

/// Whether a name is a loopback name (RFC 6761 §6.3) or address.
fn is_loopback(name: &str) -> bool {
    let address = match name.strip_prefix('[') {
        Some(address) => address.trim_end_matches(']').parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => name.parse().ok(),
    };
    let is_loopback = address.is_some_and(|address: IpAddr| address.to_canonical().is_loopback());
    is_loopback || name == "localhost" || name.ends_with(".localhost")
}

#[cfg(test)]
mod tests {
    use super::Reached::{Directly, Forwarded, OverLoopback};
    use super::*;

    fn rules(origins: &[&str], hosts: &[&str]) -> OriginRules {
        let origins = Origins::SameHostAnd(origins.iter().map(|&origin| origin.to_owned()).collect());
        OriginRules { origins, hosts: hosts.iter().map(|host| HostName::parse(host).unwrap()).collect() }
    }

    fn headers(values: &[(&'static str, &str)]) -> HeaderMap {
        let value =
            |&(name, value): &(&'static str, &str)| (name.parse().unwrap(), HeaderValue::from_str(value).unwrap());
        values.iter().map(value).collect()
    }

    /// Checks rows of a host, an origin, and whether it may connect.
    #[track_caller]
    fn check(rules: &OriginRules, reached: Reached<'_>, rows: &[(&str, &str, bool)]) {
        for (host, origin, may_connect) in rows {
            let allowed = rules.allow(&headers(&[("host", host), ("origin", origin)]), reached);
            assert_eq!(allowed, *may_connect, "{origin} at {host}, {reached:?}");
        }
    }

    #[test]
    fn a_page_of_the_same_host_may_connect_with_the_port_of_its_scheme_named_or_not() {
        check(
            &rules(&[], &[]),
            Directly,
            &[
                ("chat.example", "https://chat.example", true),
                ("Chat.Example:3000", "http://chat.example:3000", true),
                ("[2001:db8::1]:3000", "http://[2001:db8::1]:3000", true),
                ("chat.example", "https://evil.example", false),
                ("chat.example", "https://chat.example.evil.example", false),
                ("chat.example", "null", false),
                ("", "https://", false),
                ("chat.example:443", "https://chat.example", true),
                ("chat.example", "https://chat.example:443", true),
                ("chat.example:80", "http://chat.example", true),
                ("chat.example:80", "https://chat.example", false),
                ("chat.example:443", "http://chat.example", false),
                ("chat.example", "https://chat.example:444", false),
            ],
        );
    }

    #[test]
    fn a_client_that_is_no_browser_may_connect_and_two_origins_are_no_browsers() {
        let one = [("host", "chat.example"), ("origin", "https://chat.example")];
        let two = [one[0], one[1], ("origin", "https://evil.example")];
        let found = [&one[..1], &one, &two].map(|values| rules(&[], &[]).allow(&headers(values), Directly));
        assert_eq!(found, [true, true, false]);
    }

    #[test]
    fn a_listed_page_may_connect_and_with_a_star_every_page() {
        let listed = rules(&["https://app.example"], &[]);
        check(
            &listed,
            Directly,
            &[
                ("chat.example", "https://app.example", true),
                ("chat.example", "https://chat.example", true),
                ("chat.example", "http://app.example", false),
            ],
        );
        check(&listed, OverLoopback, &[("chat.example", "https://app.example", true)]);
        let any = OriginRules { origins: Origins::Any, hosts: Vec::new() };
        check(&any, OverLoopback, &[("chat.example", "null", true)]);
    }

    #[test]
    fn over_loopback_only_loopback_names_are_the_same_host() {
        check(
            &rules(&[], &[]),
            OverLoopback,
            &[
                ("localhost:3000", "http://localhost:3000", true),
                ("Chat.LocalHost:3000", "http://chat.localhost:3000", true),
                ("127.0.0.1:3000", "http://127.0.0.1:3000", true),
                ("127.9.9.9", "http://127.9.9.9", true),
                ("[::1]:3000", "http://[::1]:3000", true),
                ("evil.example:3000", "http://evil.example:3000", false),
                ("localhost.evil.example:3000", "http://localhost.evil.example:3000", false),
                ("notlocalhost:3000", "http://notlocalhost:3000", false),
                ("10.0.0.1:3000", "http://10.0.0.1:3000", false),
            ],
        );
    }

    #[test]
    fn where_hosts_are_named_only_they_are_the_same_host_however_the_server_is_reached() {
        for reached in [Directly, OverLoopback, Forwarded(None)] {
            check(
                &rules(&[], &["chat.example", "b.example:8443"]),
                reached,
                &[
                    ("chat.example", "https://chat.example", true),
                    ("chat.example:3000", "http://chat.example:3000", true),
                    ("b.example:8443", "https://b.example:8443", true),
                    ("b.example", "https://b.example", false),
                    ("localhost:3000", "http://localhost:3000", false),
                    ("evil.example", "https://chat.example", false),
                ],
            );
        }
    }

    #[test]
    fn a_trusted_proxy_forwards_the_host_and_may_leave_out_the_port() {
        let rules = rules(&[], &[]);
        for (host, origin, may_connect) in [
            ("chat.example", "https://chat.example", true),
            ("chat.example", "https://chat.example:8443", true),
            ("chat.example:443", "https://chat.example:8443", false),
            ("chat.example", "https://backend", false),
            ("localhost", "http://localhost:9999", false), // The page of another program.
        ] {
            check(&rules, Forwarded(Some(host)), &[("backend", origin, may_connect)]);
        }
        check(&rules, Forwarded(None), &[("backend", "https://backend:8443", true)]);
        check(&rules, Directly, &[("backend", "https://backend:8443", false)]);
        let at_port = |port| [("host", "a.example"), ("origin", port), ("x-forwarded-port", "8443")];
        assert!(!rules.allow(&headers(&at_port("https://a.example:9999")), Forwarded(None)));
        let same = headers(&at_port("https://a.example:8443"));
        assert!(rules.allow(&same, Forwarded(None)) && !rules.allow(&same, Directly));
    }
}
