//! The server under load: its scheme and address, for example `tcp://127.0.0.1:8080`.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use anyhow::{Context, anyhow, ensure};
use serde::{Deserialize, Serialize};

/// The protocol that a target speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// Roomcast's line protocol.
    Tcp,
    /// Roomcast over WebSocket.
    WebSocket,
    Nats,
    Redis,
    /// A server that echoes lines.
    Echo,
    /// The bare loop, which `loadgen` starts itself.
    Limit,
}

/// The address of a server and its protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub scheme: Scheme,
    /// The host and port as typed, for the `Host` header.
    pub host: String,
    /// The resolved address.
    pub address: SocketAddr,
    /// The request path of a WebSocket; otherwise empty.
    pub path: String,
}

/// Schemes by name.
const NAMES: [(&str, Scheme); 5] = [
    ("tcp", Scheme::Tcp),
    ("ws", Scheme::WebSocket),
    ("nats", Scheme::Nats),
    ("redis", Scheme::Redis),
    ("echo", Scheme::Echo),
];

impl Scheme {
    /// The name in a URL.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, scheme)| *scheme == self).map_or("limit", |(name, _)| name)
    }
}

impl Target {
    /// The bare loop, before its address is known.
    pub fn limit() -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { scheme: Scheme::Limit, host: address.to_string(), address, path: String::new() }
    }
}

impl FromStr for Scheme {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> anyhow::Result<Self> {
        let known = NAMES.iter().find(|(known, _)| *known == name);
        known.map(|(_, scheme)| *scheme).with_context(|| format!("scheme {name:?}: tcp, ws, nats, redis or echo"))
    }
}

impl FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (scheme, rest) = text.split_once("://").with_context(|| format!("{text:?} is no scheme://host:port"))?;
        let scheme: Scheme = scheme.parse()?;
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        ensure!(scheme == Scheme::WebSocket || path.is_empty(), "{text:?}: only ws:// has a path");
        let path = if path.is_empty() && scheme == Scheme::WebSocket { "/ws" } else { path };
        let port = host.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
        ensure!(matches!(port, Some(Ok(_))), "{host:?} is no host:port");
        // One error without a source: clap prints only the outermost error of an argument.
        let mut addresses = host.to_socket_addrs().map_err(|error| anyhow!("{host:?} does not resolve: {error}"))?;
        let address = addresses.next().with_context(|| format!("{host:?} has no address"))?;
        Ok(Self { scheme, host: host.to_owned(), address, path: path.to_owned() })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scheme {
            Scheme::Limit => formatter.write_str("limit"),
            scheme => write!(formatter, "{}://{}{}", scheme.name(), self.host, self.path),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_scheme_a_host_and_a_port() {
        let target: Target = "ws://127.0.0.1:3000".parse().unwrap();
        assert_eq!(target.to_string(), "ws://127.0.0.1:3000/ws");
        assert_eq!(target.address, "127.0.0.1:3000".parse().unwrap());
        let target: Target = "tcp://127.0.0.1:8080".parse().unwrap();
        assert_eq!((target.scheme, target.path.as_str()), (Scheme::Tcp, ""));
    }

    #[test]
    fn anything_else_is_refused_with_the_rule() {
        for (text, rule) in [
            ("127.0.0.1:8080", "scheme://host:port"),
            ("http://127.0.0.1:8080", "tcp, ws, nats, redis or echo"),
            ("tcp://127.0.0.1", "host:port"),
            ("tcp://127.0.0.1:808080", "host:port"),
            ("tcp://no-such-host.invalid:8080", "\"no-such-host.invalid:8080\" does not resolve: "),
            ("tcp://127.0.0.1:8080/ws", "only ws:// has a path"),
        ] {
            let error = format!("{:#}", text.parse::<Target>().unwrap_err());
            assert!(error.contains(rule), "{error}");
        }
    }
}
