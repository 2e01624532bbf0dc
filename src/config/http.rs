//! What applies to HTTP connections: where proxies announce their clients, how long a connection is kept, and under which names
//! the server is reached.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::settings::Settings;
use super::units::Span;
use super::{ConfigError, SPAN_MAX, within};

/// What applies to HTTP connections besides the deadline for a request's head.
#[derive(Clone, Debug)]
pub struct HttpLimits {
    /// A connection answers its last request after this time; `None` is no limit.
    pub connection_time: Option<Duration>,
    /// The only names that count as the server's own; any name may if there are none.
    pub hosts: Vec<HostName>,
}

/// A name under which the server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName {
    /// In lower case; an IPv6 address with its brackets.
    pub name: String,
    /// The only port that counts; any port does if `None`.
    pub port: Option<u16>,
}

/// Where trusted proxies begin each connection with a PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyProtocol {
    /// Nowhere.
    Off,
    /// At the port for line clients.
    Tcp,
    /// At the port for HTTP.
    Http,
    /// At both.
    Both,
}

impl TryFrom<&Settings> for HttpLimits {
    type Error = ConfigError;

    fn try_from(settings: &Settings) -> Result<Self, ConfigError> {
        let zero = Span(Duration::ZERO);
        let time = within("http-connection-time", settings.http_connection_time, zero..=SPAN_MAX)?.0;
        let listed = settings.hosts.iter().map(|text| text.trim()).filter(|text| !text.is_empty());
        let hosts = listed.map(|text| HostName::parse(text).ok_or_else(|| refused(text))).collect::<Result<_, _>>()?;
        Ok(Self { connection_time: (!time.is_zero()).then_some(time), hosts })
    }
}

impl HostName {
    /// Reads `name` or `name:port`, as browsers write it: in ASCII, an IPv6 address in brackets.
    pub fn parse(text: &str) -> Option<Self> {
        let is_address = text.starts_with('[');
        let name_end = if is_address { text.find(']')? + 1 } else { text.find(':').unwrap_or(text.len()) };
        let (name, port) = text.split_at(name_end);
        let port = match port.strip_prefix(':') {
            Some(digits) if digits.bytes().all(|digit| digit.is_ascii_digit()) => Some(digits.parse().ok()?),
            None if port.is_empty() => None,
            _ => return None,
        };
        let in_name = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let is_name = match name.strip_prefix('[') {
            Some(address) => address.trim_end_matches(']').parse::<std::net::Ipv6Addr>().is_ok(),
            None => !name.is_empty() && name.bytes().all(in_name),
        };
        is_name.then(|| Self { name: name.to_ascii_lowercase(), port })
    }
}

fn refused(text: &str) -> ConfigError {
    let rule = "a host without scheme and path, with a port or without, as in chat.example:8443".into();
    ConfigError { name: "hosts", value: format!("{text:?}"), rule }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_with_a_port_or_without() {
        let parsed = |text| HostName::parse(text).map(|HostName { name, port }| (name, port));
        assert_eq!(parsed("Chat.Example"), Some(("chat.example".into(), None)));
        assert_eq!(parsed("chat.example:8443"), Some(("chat.example".into(), Some(8443))));
        assert_eq!(parsed("192.0.2.1:80"), Some(("192.0.2.1".into(), Some(80))));
        assert_eq!(parsed("[::1]:3000"), Some(("[::1]".into(), Some(3000))));
        assert_eq!(parsed("[::1]"), Some(("[::1]".into(), None)));
        for none in [
            "",
            ":80",
            "a:",
            "a:b",
            "a:99999",
            "https://a",
            "a/b",
            "*",
            "::1",
            "[::1",
            "[x]",
            "a b",
            "ä.example",
            "a:80:90",
        ] {
            assert_eq!(parsed(none), None, "{none}");
        }
    }

    #[test]
    fn listed_hosts_are_trimmed_and_what_can_never_match_is_refused_with_the_rule() {
        let limits = |hosts: &[&str], time| {
            let hosts = hosts.iter().map(|&host| host.to_owned()).collect();
            HttpLimits::try_from(&Settings { hosts, http_connection_time: Span(time), ..Settings::default() })
        };
        let found = limits(&["a.example", " b.example:8443 "], Duration::ZERO).unwrap();
        assert_eq!(found.connection_time, None);
        let b = HostName { name: "b.example".into(), port: Some(8443) };
        assert_eq!(found.hosts, [HostName { name: "a.example".into(), port: None }, b]);
        assert_eq!(
            limits(&["https://a.example"], Duration::ZERO).unwrap_err().to_string(),
            r#"hosts "https://a.example": a host without scheme and path, with a port or without, as in chat.example:8443"#
        );
    }
}
