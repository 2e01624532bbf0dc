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
    /// The Centrifuge protocol in JSON over WebSocket.
    Centrifuge,
    /// The Centrifuge protocol in Protobuf over WebSocket.
    CentrifugeProtobuf,
    /// Readers of one room over plain HTTP, as server-sent events.
    Sse,
    /// Publishing by the server API, over plain HTTP.
    Api,
    Nats,
    Redis,
    /// A server that echoes lines.
    Echo,
    /// The bare loop, which `loadgen` starts itself.
    Limit,
}

impl Scheme {
    /// Whether it is spoken over WebSocket.
    pub fn is_websocket(self) -> bool {
        matches!(self, Self::WebSocket | Self::Centrifuge | Self::CentrifugeProtobuf)
    }

    /// Whether a connection begins as one of HTTP.
    pub fn is_http(self) -> bool {
        self.is_websocket() || matches!(self, Self::Sse | Self::Api)
    }

    /// Whether clients can present tokens.
    pub fn has_tokens(self) -> bool {
        self == Self::Tcp || self.is_websocket()
    }

    /// Whether it has positions from which clients resume.
    pub fn has_positions(self) -> bool {
        self.has_tokens() || self == Self::Sse
    }

    /// Whether a position of this scheme is understood by the other one, and its clients can do the same there.
    pub fn resumes_as(self, other: Self) -> bool {
        let is_text = |scheme| matches!(scheme, Self::Tcp | Self::WebSocket);
        let is_centrifuge = |scheme| matches!(scheme, Self::Centrifuge | Self::CentrifugeProtobuf);
        self == other || (is_text(self) && is_text(other)) || (is_centrifuge(self) && is_centrifuge(other))
    }

    /// The path of a target that names none.
    fn default_path(self) -> &'static str {
        match self {
            Self::WebSocket => "/ws",
            Self::Centrifuge | Self::CentrifugeProtobuf => "/connection/websocket",
            _ => "",
        }
    }
}

/// The schemes with tokens, for errors.
pub const WITH_TOKENS: &str = "tcp://, tls://, ws://, wss:// and centrifuge+ws://";

/// The schemes with positions, for errors.
pub const WITH_POSITIONS: &str = "tcp://, tls://, ws://, wss://, centrifuge+ws:// and sse://";

/// The address of a server and its protocol.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    pub scheme: Scheme,
    /// Whether the connection is encrypted.
    #[serde(default)]
    pub is_tls: bool,
    /// Whether clients offer to receive compressed messages.
    #[serde(default)]
    pub is_deflated: bool,
    /// The host and port as typed, for the `Host` header.
    pub host: String,
    /// The resolved address.
    pub address: SocketAddr,
    /// The request path of a WebSocket; otherwise empty.
    pub path: String,
}

/// Schemes by their name in a URL, with whether that name asks for TLS.
const NAMES: [(&str, (Scheme, bool)); 15] = [
    ("tcp", (Scheme::Tcp, false)),
    ("tls", (Scheme::Tcp, true)),
    ("ws", (Scheme::WebSocket, false)),
    ("wss", (Scheme::WebSocket, true)),
    ("centrifuge+ws", (Scheme::Centrifuge, false)),
    ("centrifuge+wss", (Scheme::Centrifuge, true)),
    ("centrifuge-protobuf+ws", (Scheme::CentrifugeProtobuf, false)),
    ("centrifuge-protobuf+wss", (Scheme::CentrifugeProtobuf, true)),
    ("sse", (Scheme::Sse, false)),
    ("sses", (Scheme::Sse, true)),
    ("api", (Scheme::Api, false)),
    ("apis", (Scheme::Api, true)),
    ("nats", (Scheme::Nats, false)),
    ("redis", (Scheme::Redis, false)),
    ("echo", (Scheme::Echo, false)),
];

/// What follows the name of a scheme whose clients offer compression.
const DEFLATE: &str = "+deflate";

/// Parses the name of a scheme in a URL. Returns whether it asks for TLS beside the scheme.
pub fn parse_scheme(name: &str) -> anyhow::Result<(Scheme, bool)> {
    let known = NAMES.iter().find(|(known, _)| *known == name);
    let rule =
        "tcp, tls, ws, wss, sse, api, nats, redis or echo; centrifuge+ws, centrifuge-protobuf+ws, or either with wss";
    known.map(|(_, scheme)| *scheme).with_context(|| format!("scheme {name:?}: {rule}"))
}

impl Target {
    /// The bare loop, before its address is known.
    pub fn limit() -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        Self {
            scheme: Scheme::Limit,
            is_tls: false,
            is_deflated: false,
            host: address.to_string(),
            address,
            path: String::new(),
        }
    }

    /// The name of the scheme in a URL.
    pub fn scheme_name(&self) -> String {
        let is_ours = |(_, scheme): &&(&str, (Scheme, bool))| *scheme == (self.scheme, self.is_tls);
        let name = NAMES.iter().find(is_ours).map_or("limit", |(name, _)| name);
        if self.is_deflated { format!("{name}{DEFLATE}") } else { name.to_owned() }
    }

    /// The WebSocket for text at the same address.
    pub fn websocket(&self) -> Self {
        let scheme = Scheme::WebSocket;
        Self { scheme, path: scheme.default_path().to_owned(), ..self.clone() }
    }

    /// Whether the bytes of the socket are lines.
    pub fn is_plain_lines(&self) -> bool {
        self.scheme == Scheme::Tcp && !self.is_tls
    }

    /// The host without the port, as a certificate names it.
    pub fn host_name(&self) -> &str {
        let name = self.host.rsplit_once(':').map_or(self.host.as_str(), |(name, _)| name);
        name.trim_start_matches('[').trim_end_matches(']')
    }
}

impl FromStr for Target {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let (scheme, rest) = text.split_once("://").with_context(|| format!("{text:?} is no scheme://host:port"))?;
        let (name, is_deflated) = scheme.strip_suffix(DEFLATE).map_or((scheme, false), |name| (name, true));
        let (scheme, is_tls) = parse_scheme(name)?;
        ensure!(scheme.is_websocket() || !is_deflated, "{text:?}: only WebSockets compress");
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        ensure!(scheme.is_websocket() || path.is_empty(), "{text:?}: only ws:// and wss:// have a path");
        let path = if path.is_empty() { scheme.default_path() } else { path };
        let port = host.rsplit_once(':').map(|(_, port)| port.parse::<u16>());
        ensure!(matches!(port, Some(Ok(_))), "{host:?} is no host:port");
        // One error without a source: clap prints only the outermost error of an argument.
        let mut addresses = host.to_socket_addrs().map_err(|error| anyhow!("{host:?} does not resolve: {error}"))?;
        let address = addresses.next().with_context(|| format!("{host:?} has no address"))?;
        Ok(Self { scheme, is_tls, is_deflated, host: host.to_owned(), address, path: path.to_owned() })
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.scheme {
            Scheme::Limit => formatter.write_str("limit"),
            _ => write!(formatter, "{}://{}{}", self.scheme_name(), self.host, self.path),
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
        let target: Target = "centrifuge-protobuf+ws://127.0.0.1:3000".parse().unwrap();
        assert_eq!(target.to_string(), "centrifuge-protobuf+ws://127.0.0.1:3000/connection/websocket");
        let target: Target = "tcp://127.0.0.1:8080".parse().unwrap();
        assert_eq!((target.scheme, target.path.as_str()), (Scheme::Tcp, ""));
    }

    #[test]
    fn a_target_over_tls_names_the_host_of_the_certificate() {
        for (text, scheme, name) in [
            ("tls://127.0.0.1:8080", Scheme::Tcp, "127.0.0.1"),
            ("tls://[::1]:8080", Scheme::Tcp, "::1"),
            ("wss://localhost:3000/ws", Scheme::WebSocket, "localhost"),
            ("centrifuge+wss://localhost:3000/connection/websocket", Scheme::Centrifuge, "localhost"),
        ] {
            let target: Target = text.parse().unwrap();
            assert_eq!((target.scheme, target.is_tls, target.host_name()), (scheme, true, name));
            assert_eq!(target.to_string(), text);
        }
    }

    #[test]
    fn a_target_of_compressed_messages_says_so() {
        let target: Target = "ws+deflate://127.0.0.1:3000/ws".parse().unwrap();
        assert_eq!((target.scheme, target.is_deflated), (Scheme::WebSocket, true));
        assert_eq!(target.to_string(), "ws+deflate://127.0.0.1:3000/ws");
    }

    #[test]
    fn anything_else_is_refused_with_the_rule() {
        for (text, rule) in [
            ("127.0.0.1:8080", "scheme://host:port"),
            ("http://127.0.0.1:8080", "tcp, tls, ws, wss, sse, api, nats, redis or echo"),
            ("tcp://127.0.0.1", "host:port"),
            ("tcp://127.0.0.1:808080", "host:port"),
            ("tcp://no-such-host.invalid:8080", "\"no-such-host.invalid:8080\" does not resolve: "),
            ("tcp+deflate://127.0.0.1:8080", "only WebSockets compress"),
            ("tcp://127.0.0.1:8080/ws", "only ws:// and wss:// have a path"),
        ] {
            let error = format!("{:#}", text.parse::<Target>().unwrap_err());
            assert!(error.contains(rule), "{error}");
        }
    }
}
