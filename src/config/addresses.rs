//! Where a server listens, as people write it: an address or a name, and a port. Names are looked up once, at the start.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::units::as_text;

/// An address to listen on, as it was given: `127.0.0.1:8080`, `[::1]:8080` or `localhost:8080`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ListenAddress(String);

impl ListenAddress {
    /// The address to bind: of several addresses of a name the first of IPv4, else the first.
    ///
    /// # Errors
    /// There is no such name.
    pub fn resolve(&self) -> io::Result<SocketAddr> {
        let found: Vec<SocketAddr> = self.0.to_socket_addrs()?.collect();
        let first = found.iter().find(|address| address.is_ipv4()).or(found.first()).copied();
        first.map(canonical).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))
    }
}

/// An IPv4 address that was mapped to IPv6 (`::ffff:192.0.2.1`), as a listener for both sees it, is IPv4.
pub fn canonical(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V6(v6) if v6.ip().to_ipv4_mapped().is_some() => SocketAddr::new(v6.ip().to_canonical(), v6.port()),
        _ => address,
    }
}

impl FromStr for ListenAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let refused = |instead: String| Err(format!("an address and a port, as in {instead}"));
        if text.parse::<SocketAddr>().is_ok() {
            return Ok(Self(text.to_owned()));
        }
        let (host, port) = text.rsplit_once(':').unwrap_or((text, ""));
        if text.parse::<u16>().is_ok() {
            return refused(format!("127.0.0.1:{text}"));
        }
        if host.contains(':') && text.bytes().all(|byte| byte.is_ascii_hexdigit() || b":[]".contains(&byte)) {
            // An IPv6 address without brackets: its last group may or may not be meant as a port.
            return refused(format!("[{}]:8080", text.trim_matches(['[', ']'])));
        }
        if host.is_empty() && port.parse::<u16>().is_ok() {
            return refused(format!("127.0.0.1:{port}, or 0.0.0.0:{port} for every address"));
        }
        if port.is_empty() && is_host_name(host) {
            return refused(format!("{host}:8080"));
        }
        if !is_host_name(host) || port.parse::<u16>().is_err() {
            return refused("127.0.0.1:8080 or localhost:8080; a port is 0 to 65535".to_owned());
        }
        Ok(Self(text.to_owned()))
    }
}

fn is_host_name(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl From<SocketAddr> for ListenAddress {
    fn from(address: SocketAddr) -> Self {
        Self(address.to_string())
    }
}

impl From<(Ipv4Addr, u16)> for ListenAddress {
    fn from(address: (Ipv4Addr, u16)) -> Self {
        SocketAddr::from(address).into()
    }
}

as_text!(ListenAddress);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_names_with_a_port_are_shown_as_they_were_given() {
        for text in ["127.0.0.1:0", "[::1]:8080", "localhost:8080", "chat_1.example-2.org:65535"] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text);
        }
        assert_eq!(" localhost:1 ".parse::<ListenAddress>().unwrap().to_string(), "localhost:1");
    }

    #[test]
    fn what_is_none_is_refused_with_what_would_be_right() {
        for (text, instead) in [
            ("8080", "127.0.0.1:8080"),
            (":8080", "127.0.0.1:8080, or 0.0.0.0:8080 for every address"),
            ("localhost", "localhost:8080"),
            ("::1", "[::1]:8080"),
            ("[::1]", "[::1]:8080"),
            ("localhost:http", "127.0.0.1:8080 or localhost:8080; a port is 0 to 65535"),
            ("localhost:65536", "127.0.0.1:8080 or localhost:8080; a port is 0 to 65535"),
            ("http://localhost:1", "127.0.0.1:8080 or localhost:8080; a port is 0 to 65535"),
            ("", "127.0.0.1:8080 or localhost:8080; a port is 0 to 65535"),
        ] {
            assert_eq!(text.parse::<ListenAddress>(), Err(format!("an address and a port, as in {instead}")), "{text}");
        }
    }

    #[test]
    fn names_resolve_and_mapped_addresses_are_ipv4() {
        let resolved = |text: &str| text.parse::<ListenAddress>().unwrap().resolve().map(|found| found.to_string());
        assert_eq!(resolved("localhost:8080").unwrap(), "127.0.0.1:8080");
        assert_eq!(resolved("[::ffff:127.0.0.1]:1").unwrap(), "127.0.0.1:1");
        assert_eq!(resolved("[::]:1").unwrap(), "[::]:1");
        assert!(resolved("no-such-host.invalid:1").is_err());
    }
}
