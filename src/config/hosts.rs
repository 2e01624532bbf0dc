//! Host names, web origins and networks. Each listed entry is brought into the form that can match; an entry that could
//! never match is refused.

use std::net::{IpAddr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

use super::ConfigError;
use super::values::is_host_name;

/// Bits in front of the IPv4 address in one that was mapped to IPv6, `::ffff:192.0.2.1`.
const MAPPED_BITS: u8 = 96;

/// A host, as a name under which the server is reached or as a part of an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName {
    /// In lower case; an IPv6 address in its shortest form, with brackets.
    pub name: String,
    /// The only port that matches; any port does if `None`.
    pub port: Option<u16>,
}

impl HostName {
    /// Reads `name` or `name:port`, as browsers write it: in ASCII, an IPv6 address in brackets.
    pub fn parse(text: &str) -> Option<Self> {
        let name_end = if text.starts_with('[') { text.find(']')? + 1 } else { text.find(':').unwrap_or(text.len()) };
        let (name, port) = text.split_at(name_end);
        let port = match port.strip_prefix(':') {
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => Some(digits.parse().ok()?),
            None if port.is_empty() => None,
            _ => return None,
        };
        let name = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
            Some(address) => format!("[{}]", address.parse::<Ipv6Addr>().ok()?),
            None => is_host_name(name).then(|| name.to_ascii_lowercase())?,
        };
        Some(Self { name, port })
    }
}

/// Web pages that may open a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Every page.
    Any,
    /// Pages of the host that was asked, and pages of these origins.
    SameHostAnd(Vec<String>),
}

pub(super) fn host_names(setting: &'static str, listed: &[String]) -> Result<Vec<HostName>, ConfigError> {
    let rule = "a host without scheme and path, with a port or without, as in chat.example:8443";
    each(setting, listed, |text| HostName::parse(text).ok_or(rule))
}

pub(super) fn origins(setting: &'static str, listed: &[String]) -> Result<Origins, ConfigError> {
    if listed.iter().any(|origin| origin == "*") {
        return Ok(Origins::Any);
    }
    each(setting, listed, origin).map(Origins::SameHostAnd)
}

/// A plain address is a network of its own. Peers that were mapped to IPv6 are compared as IPv4, so networks are too.
pub(super) fn networks(setting: &'static str, listed: &[String]) -> Result<Vec<IpNet>, ConfigError> {
    each(setting, listed, |text| {
        let network = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        network.map(unmapped).ok_or("a network or an address, as in 10.0.0.0/8")
    })
}

/// The parsed entries of a list; an entry that does not parse is named with the rule.
fn each<T>(
    setting: &'static str,
    listed: &[String],
    parse: impl Fn(&str) -> Result<T, &'static str>,
) -> Result<Vec<T>, ConfigError> {
    let entry = |text: &String| parse(text).map_err(|rule| ConfigError::new(setting, format_args!("{text:?}"), rule));
    listed.iter().map(entry).collect()
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
    let host = rest.strip_suffix('/').unwrap_or(rest);
    if !host.is_ascii() {
        return Err("a host in the ASCII form that browsers send, as in https://xn--bcher-kva.example");
    }
    let in_scheme = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    if scheme.is_empty() || !scheme.bytes().all(in_scheme) {
        return Err(RULE);
    }
    let HostName { name, port } = HostName::parse(host).ok_or(RULE)?;
    Ok(match (scheme.as_str(), port) {
        ("http", Some(80)) | ("https", Some(443)) | (_, None) => format!("{scheme}://{name}"),
        (_, Some(port)) => format!("{scheme}://{name}:{port}"),
    })
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

    fn refused(text: &str) -> String {
        origins("allowed-origins", &[text.to_owned()]).unwrap_err().to_string()
    }

    #[test]
    fn a_host_is_a_name_or_an_address_with_a_port_or_without() {
        let parsed = |text| HostName::parse(text).map(|HostName { name, port }| (name, port));
        assert_eq!(parsed("Chat.Example"), Some(("chat.example".into(), None)));
        assert_eq!(parsed("chat.example:8443"), Some(("chat.example".into(), Some(8443))));
        assert_eq!(parsed("192.0.2.1:80"), Some(("192.0.2.1".into(), Some(80))));
        assert_eq!(parsed("[0:0::1]:3000"), Some(("[::1]".into(), Some(3000))));
        assert_eq!(parsed("[::1]"), Some(("[::1]".into(), None)));
        let none = [":80", "a:", "a:b", "a:99999", "https://a", "a/b", "*", "::1", "[::1", "[x]", "a b", "a:80:90"];
        for none in none.into_iter().chain(["", "ä.example"]) {
            assert_eq!(parsed(none), None, "{none}");
        }
        assert_eq!(
            host_names("hosts", &["https://a.example".to_owned()]).unwrap_err().to_string(),
            r#"hosts "https://a.example": a host without scheme and path, with a port or without, as in chat.example:8443"#
        );
    }

    #[test]
    fn origins_take_the_form_that_browsers_send() {
        for (text, sent) in [
            ("https://a.example", "https://a.example"),
            ("HTTPS://Chat.Example:443", "https://chat.example"),
            ("http://chat.example:80/", "http://chat.example"),
            ("http://chat.example:443", "http://chat.example:443"),
            ("https://chat.example:08443", "https://chat.example:8443"),
            ("http://[0:0::1]:3000", "http://[::1]:3000"),
            ("capacitor://localhost", "capacitor://localhost"),
        ] {
            assert_eq!(origin(text).as_deref(), Ok(sent));
        }
        assert_eq!(origins("", &["https://a.example".to_owned(), "*".to_owned()]), Ok(Origins::Any));
    }

    #[test]
    fn an_origin_that_could_never_match_is_refused_with_the_rule() {
        for text in ["https://a.example/chat", "a.example", "https://*.example", "https://me@a.example", "https://"] {
            let rule = "a scheme and a host without a path, as in https://example.org, or *";
            assert_eq!(refused(text), format!("allowed-origins {text:?}: {rule}"));
        }
        let rule = "the origin of a page, which begins with http:// or https://";
        assert_eq!(refused("wss://a.example"), format!(r#"allowed-origins "wss://a.example": {rule}"#));
        let rule = "a host in the ASCII form that browsers send, as in https://xn--bcher-kva.example";
        assert_eq!(refused("https://bücher.example"), format!(r#"allowed-origins "https://bücher.example": {rule}"#));
    }

    #[test]
    fn networks_of_mapped_addresses_are_ipv4() {
        for (text, network) in [
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("192.0.2.1", "192.0.2.1/32"),
            ("::ffff:127.0.0.1", "127.0.0.1/32"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("2001:db8::/32", "2001:db8::/32"),
        ] {
            assert_eq!(networks("", &[text.to_owned()]).unwrap()[0].to_string(), network);
        }
        let error = networks("proxies", &["10.0.0.0/33".to_owned()]).unwrap_err().to_string();
        assert_eq!(error, r#"proxies "10.0.0.0/33": a network or an address, as in 10.0.0.0/8"#);
    }
}
