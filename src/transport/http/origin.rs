//! Which web pages may open a WebSocket. A browser sends its user's cookies and network position along with any page's
//! handshake, and says whose page it is; other clients say nothing, or what they like. Knows headers, no socket.

use std::net::{IpAddr, Ipv6Addr};

use axum::http::header::{HOST, HeaderMap, HeaderValue, ORIGIN};

use crate::config::{HostName, Origins};

/// The port that a proxy was asked on, where the name that it was asked for has none.
const FORWARDED_PORT: &str = "x-forwarded-port";

/// What decides.
#[derive(Clone, Debug)]
pub struct OriginRules {
    /// Which pages may.
    pub origins: Origins,
    /// The only names that count as the server's own; any name may if there are none.
    pub hosts: Vec<HostName>,
}

/// How a request reached the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reached<'a> {
    /// At an address of the network.
    Directly,
    /// At a loopback address. Any name can be made to resolve to that one by whoever owns it (DNS rebinding), so only loopback
    /// names are the server's own here.
    OverLoopback,
    /// Through a trusted proxy, which says for which host it was asked; `None` if `Host` does.
    Forwarded(Option<&'a str>),
}

impl OriginRules {
    /// Whether the page that asks may: there is none, it is of the host that was asked, or it is listed.
    pub fn allow(&self, headers: &HeaderMap, reached: Reached<'_>) -> bool {
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

    /// Whether the name is one under which the server is reached.
    fn is_own(&self, page: &Page, reached: Reached<'_>) -> bool {
        if self.hosts.is_empty() {
            return reached != Reached::OverLoopback || is_loopback(&page.host.name);
        }
        let is_it = |own: &HostName| own.name == page.host.name && own.port.is_none_or(|port| port == page.port());
        self.hosts.iter().any(is_it)
    }
}

/// Whose page asks.
struct Page {
    host: HostName,
    /// The port that its scheme has where none is named.
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

    /// Whether its port is the one that was asked. Browsers leave out a scheme's own port, proxies may leave out any (nginx's
    /// `$host`): there the name alone decides. Not for loopback names, whose ports belong to programs that know nothing of
    /// each other.
    fn is_at_port_of(&self, host: &HostName, reached: Reached<'_>) -> bool {
        match host.port {
            Some(port) => port == self.port(),
            None if matches!(reached, Reached::Forwarded(_)) && !is_loopback(&host.name) => true,
            None => self.port() == self.default_port,
        }
    }
}

/// The host, at the port that a trusted proxy says it was asked on.
fn with_forwarded_port(host: HostName, headers: &HeaderMap, reached: Reached<'_>) -> HostName {
    let port = headers.get(FORWARDED_PORT).and_then(|port| port.to_str().ok()?.parse().ok());
    let port = port.filter(|_| matches!(reached, Reached::Forwarded(_)));
    HostName { port: host.port.or(port), ..host }
}

/// Whether a name is this machine for whoever uses it (RFC 6761 §6.3).
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
    use super::*;

    const DIRECTLY: Reached<'_> = Reached::Directly;
    const FORWARDED: Reached<'_> = Reached::Forwarded(None);

    fn rules(origins: &[&str], hosts: &[&str]) -> OriginRules {
        let origins = Origins::SameHostAnd(origins.iter().map(|&origin| origin.to_owned()).collect());
        OriginRules { origins, hosts: hosts.iter().map(|host| HostName::parse(host).unwrap()).collect() }
    }

    fn allowed(rules: &OriginRules, reached: Reached<'_>, host: &'static str, origin: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        headers.append(HOST, HeaderValue::from_static(host));
        headers.extend(origin.iter().map(|origin| (ORIGIN, HeaderValue::from_static(origin))));
        rules.allow(&headers, reached)
    }

    #[test]
    fn a_page_of_the_same_host_and_a_client_that_is_no_browser_may() {
        let same = |host, origin: &[&'static str]| allowed(&rules(&[], &[]), DIRECTLY, host, origin);
        assert!(same("chat.example", &[]));
        assert!(same("chat.example", &["https://chat.example"]));
        assert!(same("Chat.Example:3000", &["http://chat.example:3000"]));
        assert!(same("[2001:db8::1]:3000", &["http://[2001:db8::1]:3000"]));
        for other in ["https://evil.example", "https://chat.example.evil.example", "https://chat.example:444", "null"] {
            assert!(!same("chat.example", &[other]), "{other}");
        }
        assert!(!same("chat.example", &["https://chat.example", "https://evil.example"]), "two are no browser's");
        assert!(!same("", &["https://"]), "no host is nobody's");
    }

    #[test]
    fn a_schemes_own_port_is_the_same_named_or_not() {
        let same = |host, origin| allowed(&rules(&[], &[]), DIRECTLY, host, &[origin]);
        assert!(same("chat.example:443", "https://chat.example"));
        assert!(same("chat.example", "https://chat.example:443"));
        assert!(same("chat.example:80", "http://chat.example"));
        assert!(!same("chat.example:80", "https://chat.example"));
        assert!(!same("chat.example:443", "http://chat.example"));
        assert!(!same("chat.example", "https://chat.example:8443"));
    }

    #[test]
    fn a_listed_page_may_and_with_a_star_every_page() {
        let listed = rules(&["https://app.example"], &[]);
        let may = |reached, origin| allowed(&listed, reached, "chat.example", &[origin]);
        assert!(may(DIRECTLY, "https://app.example") && may(DIRECTLY, "https://chat.example"));
        assert!(may(Reached::OverLoopback, "https://app.example"));
        assert!(!may(DIRECTLY, "http://app.example"));
        let any = OriginRules { origins: Origins::Any, hosts: Vec::new() };
        assert!(allowed(&any, Reached::OverLoopback, "chat.example", &["null"]));
    }

    #[test]
    fn over_loopback_only_loopback_names_are_the_same_host() {
        let same = |host, origin| allowed(&rules(&[], &[]), Reached::OverLoopback, host, &[origin]);
        assert!(same("localhost:3000", "http://localhost:3000"));
        assert!(same("Chat.LocalHost:3000", "http://chat.localhost:3000"));
        assert!(same("127.0.0.1:3000", "http://127.0.0.1:3000") && same("127.9.9.9", "http://127.9.9.9"));
        assert!(same("[::1]:3000", "http://[::1]:3000"));
        for rebound in ["evil.example:3000", "localhost.evil.example:3000", "notlocalhost:3000", "10.0.0.1:3000"] {
            assert!(!same(rebound, Box::leak(format!("http://{rebound}").into())), "{rebound}");
        }
    }

    #[test]
    fn where_hosts_are_named_only_they_are_the_same_host_wherever_the_server_is_reached() {
        let named = rules(&[], &["chat.example", "b.example:8443"]);
        for reached in [DIRECTLY, Reached::OverLoopback, FORWARDED] {
            let same = |host, origin| allowed(&named, reached, host, &[origin]);
            assert!(same("chat.example", "https://chat.example"), "{reached:?}");
            assert!(same("chat.example:3000", "http://chat.example:3000"));
            assert!(same("b.example:8443", "https://b.example:8443"));
            assert!(!same("b.example", "https://b.example"));
            assert!(!same("localhost:3000", "http://localhost:3000"));
            assert!(!same("evil.example", "https://chat.example"));
        }
    }

    #[test]
    fn a_trusted_proxy_says_for_which_host_it_was_asked_and_may_leave_out_the_port() {
        let same = |reached, origin| allowed(&rules(&[], &[]), reached, "backend", &[origin]);
        assert!(same(Reached::Forwarded(Some("chat.example")), "https://chat.example"));
        assert!(same(Reached::Forwarded(Some("chat.example")), "https://chat.example:8443"));
        assert!(!same(Reached::Forwarded(Some("chat.example:443")), "https://chat.example:8443"));
        assert!(!same(Reached::Forwarded(Some("chat.example")), "https://backend"));
        assert!(!same(Reached::Forwarded(Some("localhost")), "http://localhost:9999"), "another program's page");
        assert!(same(FORWARDED, "https://backend:8443") && !same(DIRECTLY, "https://backend:8443"));
        let mut headers = HeaderMap::new();
        headers.append(HOST, HeaderValue::from_static("chat.example"));
        headers.append(ORIGIN, HeaderValue::from_static("https://chat.example:9999"));
        headers.append(FORWARDED_PORT, HeaderValue::from_static("8443"));
        assert!(!rules(&[], &[]).allow(&headers, FORWARDED));
        headers.insert(ORIGIN, HeaderValue::from_static("https://chat.example:8443"));
        assert!(rules(&[], &[]).allow(&headers, FORWARDED) && !rules(&[], &[]).allow(&headers, DIRECTLY));
    }
}
