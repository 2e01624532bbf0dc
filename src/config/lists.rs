//! Settings that are lists. Every entry is brought into the form that can match; one that never could is refused.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

use super::{ConfigError, Origins};

/// Bits in front of the IPv4 address in one that was mapped to IPv6, `::ffff:192.0.2.1`.
const MAPPED_BITS: u8 = 96;

/// The entries without blanks around them, and none that is empty.
pub(super) fn trimmed(listed: &[String]) -> impl Iterator<Item = &str> {
    listed.iter().map(|entry| entry.trim()).filter(|entry| !entry.is_empty())
}

/// The web pages that may connect.
pub(super) fn origins(listed: &[String]) -> Result<Origins, ConfigError> {
    if trimmed(listed).any(|origin| origin == "*") {
        return Ok(Origins::Any);
    }
    let origin = |text| {
        let refused =
            |rule: &str| ConfigError { name: "allowed-origins", value: format!("{text:?}"), rule: rule.into() };
        origin(text).map_err(refused)
    };
    trimmed(listed).map(origin).collect::<Result<_, _>>().map(Origins::SameHostAnd)
}

/// An origin as browsers send it: in lower case, without the port that its scheme has anyway.
fn origin(text: &str) -> Result<String, &'static str> {
    const RULE: &str = "a scheme and a host without a path, as in https://example.org, or *";
    let (scheme, rest) = text.split_once("://").ok_or(RULE)?;
    let scheme = scheme.to_ascii_lowercase();
    if scheme.starts_with("ws") {
        return Err("the origin of a page, which begins with http:// or https://");
    }
    // People copy addresses of pages, which end with a slash.
    let place = rest.strip_suffix('/').unwrap_or(rest);
    if !place.is_ascii() {
        return Err("a host in the ASCII form that browsers send, as in https://xn--bcher-kva.example");
    }
    let in_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    if scheme.is_empty() || !scheme.bytes().all(in_scheme) {
        return Err(RULE);
    }
    let (host, port) = host_and_port(place).ok_or(RULE)?;
    let default_port = match scheme.as_str() {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    Ok(match port.filter(|port| Some(*port) != default_port) {
        Some(port) => format!("{scheme}://{host}:{port}"),
        None => format!("{scheme}://{host}"),
    })
}

fn host_and_port(place: &str) -> Option<(String, Option<u16>)> {
    let host_end = if place.starts_with('[') { place.find(']')? + 1 } else { place.find(':').unwrap_or(place.len()) };
    let (host, port) = place.split_at(host_end);
    let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        Some(address) => format!("[{}]", address.parse::<Ipv6Addr>().ok()?),
        None => host.to_ascii_lowercase(),
    };
    let in_host = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if host.is_empty() || !(host.starts_with('[') || host.bytes().all(in_host)) {
        return None;
    }
    match port.strip_prefix(':') {
        Some(port) => port.parse().ok().map(|port| (host, Some(port))),
        None => port.is_empty().then_some((host, None)),
    }
}

/// A plain address is a network of its own. Peers are compared as IPv4 where they were mapped to IPv6, so networks are too.
pub(super) fn networks(name: &'static str, listed: &[String]) -> Result<Vec<IpNet>, ConfigError> {
    let network = |text: &str| {
        let parsed = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        let rule = || "a network or an address, as in 10.0.0.0/8".to_owned();
        parsed.map(unmapped).ok_or_else(|| ConfigError { name, value: format!("{text:?}"), rule: rule() })
    };
    trimmed(listed).map(network).collect()
}

fn unmapped(network: IpNet) -> IpNet {
    let IpNet::V6(v6) = network else { return network };
    let Some(bits) = v6.prefix_len().checked_sub(MAPPED_BITS) else { return network };
    let mapped = v6.addr().to_ipv4_mapped().and_then(|address| Ipv4Net::new(address, bits).ok());
    mapped.map_or(network, IpNet::V4)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owned(listed: &[&str]) -> Vec<String> {
        listed.iter().map(|&entry| entry.to_owned()).collect()
    }

    #[test]
    fn origins_take_the_form_that_browsers_send() {
        for (text, sent) in [
            ("https://a.example", "https://a.example"),
            (" https://b.example ", "https://b.example"),
            ("HTTPS://Chat.Example:443", "https://chat.example"),
            ("http://chat.example:80/", "http://chat.example"),
            ("http://chat.example:443", "http://chat.example:443"),
            ("https://chat.example:08443", "https://chat.example:8443"),
            ("http://[0:0::1]:3000", "http://[::1]:3000"),
            ("capacitor://localhost", "capacitor://localhost"),
        ] {
            assert_eq!(origins(&owned(&[text])), Ok(Origins::SameHostAnd(owned(&[sent]))), "{text}");
        }
        assert_eq!(origins(&owned(&["", " "])), Ok(Origins::SameHostAnd(Vec::new())));
        assert_eq!(origins(&owned(&["https://a.example", " * "])), Ok(Origins::Any));
    }

    #[test]
    fn an_origin_that_could_never_match_is_refused_with_the_rule() {
        let refused = |text| origins(&owned(&[text])).unwrap_err().to_string();
        for (text, rule) in [
            ("https://a.example/chat", "a scheme and a host without a path, as in https://example.org, or *"),
            ("a.example", "a scheme and a host without a path, as in https://example.org, or *"),
            ("https://*.example", "a scheme and a host without a path, as in https://example.org, or *"),
            ("https://me@a.example", "a scheme and a host without a path, as in https://example.org, or *"),
            ("https://a.example:http", "a scheme and a host without a path, as in https://example.org, or *"),
            ("https://", "a scheme and a host without a path, as in https://example.org, or *"),
            ("wss://a.example", "the origin of a page, which begins with http:// or https://"),
            (
                "https://bücher.example",
                "a host in the ASCII form that browsers send, as in https://xn--bcher-kva.example",
            ),
        ] {
            assert_eq!(refused(text), format!("allowed-origins {text:?}: {rule}"));
        }
    }

    #[test]
    fn networks_of_mapped_addresses_are_ipv4() {
        let listed =
            owned(&["10.0.0.0/8", " 192.0.2.1 ", "::ffff:127.0.0.1", "::ffff:10.0.0.0/104", "2001:db8::/32", ""]);
        let found: Vec<String> = networks("proxies", &listed).unwrap().iter().map(ToString::to_string).collect();
        assert_eq!(found, ["10.0.0.0/8", "192.0.2.1/32", "127.0.0.1/32", "10.0.0.0/8", "2001:db8::/32"]);
        let error = networks("proxies", &owned(&["10.0.0.0/33"])).unwrap_err().to_string();
        assert_eq!(error, r#"proxies "10.0.0.0/33": a network or an address, as in 10.0.0.0/8"#);
    }
}
