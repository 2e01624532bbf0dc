//! Values as people write them: sizes (`64KiB`), durations (`30s`) and listen addresses. Each is printed as it is read.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use serde::Serialize;

/// A number of bytes, written `64KiB`, `1MiB` or `1000B`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub struct Size(pub usize);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let size = text.parse::<ByteSize>().ok().and_then(|size| usize::try_from(size.as_u64()).ok());
        size.map(Self).ok_or_else(|| "a number and a unit, as in 64KiB".into())
    }
}

impl fmt::Display for Size {
    /// In the largest unit that loses nothing, where `ByteSize` would round.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
        let whole = units.into_iter().find(|(shift, _)| self.0 > 0 && self.0.trailing_zeros() >= *shift);
        match whole {
            Some((shift, unit)) => write!(out, "{}{unit}", self.0 >> shift),
            None => write!(out, "{}B", self.0),
        }
    }
}

/// A duration, written `30s`, `100ms` or `1min 30s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub struct Span(pub Duration);

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        humantime::parse_duration(text).map(Self).map_err(|_| "a number and a unit, as in 30s".into())
    }
}

impl fmt::Display for Span {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(out)
    }
}

/// An address to listen on: `127.0.0.1:8080`, `[::1]:8080` or `localhost:8080`. Names are resolved once, at the start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub struct ListenAddress(String);

impl ListenAddress {
    /// The address to bind. A name with several addresses gives its first IPv4 address, or else its first.
    ///
    /// # Errors
    /// The name does not resolve.
    pub fn resolve(&self) -> io::Result<SocketAddr> {
        let found: Vec<SocketAddr> = self.0.to_socket_addrs()?.collect();
        let first = found.iter().find(|address| address.is_ipv4()).or(found.first()).copied();
        first.map(canonical).ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the name has no address"))
    }
}

/// The IPv4 address of one that was mapped to IPv6 (`::ffff:192.0.2.1`), as a listener for both sees it.
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

/// Whether the text has the characters of a host name or of an IPv4 address, and at least one.
pub(super) fn is_host_name(host: &str) -> bool {
    !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

impl From<(Ipv4Addr, u16)> for ListenAddress {
    fn from((address, port): (Ipv4Addr, u16)) -> Self {
        Self(format!("{address}:{port}"))
    }
}

/// Lets serde print a type as its text.
macro_rules! serde_as_text {
    ($($type:ty),*) => {$(
        impl From<$type> for String {
            fn from(value: $type) -> Self {
                value.to_string()
            }
        }
    )*};
}

serde_as_text!(Size, Span, ListenAddress);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations_are_printed_as_they_are_read() {
        for (text, bytes) in [("64KiB", 65_536), ("1MiB", 1_048_576), ("1000B", 1_000), ("65537B", 65_537), ("0B", 0)] {
            assert_eq!((text.parse(), Size(bytes).to_string()), (Ok(Size(bytes)), text.to_owned()));
        }
        assert_eq!("64 KiB".parse(), Ok(Size(65_536)));
        assert_eq!("many".parse::<Size>(), Err("a number and a unit, as in 64KiB".into()));
        for text in ["30s", "100ms", "1m 30s", "1day"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        assert_eq!("soon".parse::<Span>(), Err("a number and a unit, as in 30s".into()));
    }

    #[test]
    fn addresses_and_names_with_a_port_are_printed_as_they_were_given() {
        for text in ["127.0.0.1:0", "[::1]:8080", "localhost:8080", "chat_1.example-2.org:65535", " localhost:1 "] {
            assert_eq!(text.parse::<ListenAddress>().unwrap().to_string(), text.trim());
        }
    }

    #[test]
    fn a_wrong_address_is_refused_with_what_would_be_right() {
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
