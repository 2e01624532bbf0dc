//! The settings as people give them: one name each as a flag, in the environment and in the settings file.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::thread::available_parallelism;
use std::time::Duration;

use clap::ArgAction;
use serde::{Deserialize, Serialize};

use super::addresses::ListenAddress;
use super::units::{Size, Span};
use super::{DescriptorTables, Labels, LogFormat, LogLevel, ProxyProtocol, SlowPolicy};

/// Every setting. The doc comments are the help text.
#[derive(Clone, Debug, PartialEq, clap::Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Settings {
    /// Where line clients connect; port 0 is any free one (default: 127.0.0.1:8080)
    #[arg(long, env = "ROOMCAST_TCP", value_name = "ADDRESS")]
    pub tcp: ListenAddress,
    /// Where browsers and operators connect; port 0 is any free one (default: 127.0.0.1:3000)
    #[arg(long, env = "ROOMCAST_HTTP", value_name = "ADDRESS")]
    pub http: ListenAddress,
    /// Threads that serve clients (default: the processor's cores)
    #[arg(long, env = "ROOMCAST_WORKERS", value_name = "COUNT")]
    pub workers: u16,
    /// Tasks among which the rooms are shared out (default: as many as workers)
    #[arg(long, env = "ROOMCAST_SHARDS", value_name = "COUNT")]
    pub shards: Option<u16>,
    /// The first line that a client gets; none if empty (default: a welcome and the first commands)
    #[arg(long, env = "ROOMCAST_GREETING", value_name = "TEXT")]
    pub greeting: String,
    /// What stands in front of the messages of a client without a nick: its address, its number, or for clients of other hosts
    /// the number (default: auto)
    #[arg(long, env = "ROOMCAST_LABELS", value_enum)]
    pub labels: Labels,
    /// Clients at once (default: what the descriptors allow)
    #[arg(long, env = "ROOMCAST_MAX_CLIENTS", value_name = "COUNT")]
    pub max_clients: Option<usize>,
    /// Clients at once from one address, an IPv6 network of 64 bits being one; 0 is no limit (default: 0)
    #[arg(long, env = "ROOMCAST_CLIENTS_PER_ADDRESS", value_name = "COUNT")]
    pub clients_per_address: u32,
    /// New connections a second from one address; 0 is no limit (default: 0)
    #[arg(long, env = "ROOMCAST_CONNECTS_PER_ADDRESS", value_name = "COUNT")]
    pub connects_per_address: u32,
    /// Rooms at once (default: 1000000)
    #[arg(long, env = "ROOMCAST_ROOMS", value_name = "COUNT")]
    pub rooms: usize,
    /// Members of one room (default: 1000000)
    #[arg(long, env = "ROOMCAST_ROOM_MEMBERS", value_name = "COUNT")]
    pub room_members: usize,
    /// Deliveries a second that one client may cause; 0 is no limit (default: 1000000)
    #[arg(long, env = "ROOMCAST_DELIVERIES_PER_SECOND", value_name = "COUNT")]
    pub deliveries_per_second: u32,
    /// Deliveries that one client may cause at once, where they are limited (default: 1000000)
    #[arg(long, env = "ROOMCAST_DELIVERIES_BURST", value_name = "COUNT")]
    pub deliveries_burst: u32,
    /// Web pages that may open a WebSocket besides those of the same host, as in `https://example.org`; * is every page
    #[arg(long, env = "ROOMCAST_ALLOWED_ORIGINS", value_name = "ORIGIN", value_delimiter = ',')]
    pub allowed_origins: Vec<String>,
    /// Names under which the server is reached, as in `chat.example,chat.example:8443`: only pages of these count as pages of
    /// the same host (default: any name; on a loopback address only loopback names)
    #[arg(long, env = "ROOMCAST_HOSTS", value_name = "HOST", value_delimiter = ',')]
    pub hosts: Vec<String>,
    /// Networks whose proxies are believed who their clients are, as in 10.0.0.0/8,192.168.1.7 (default: none)
    #[arg(long, env = "ROOMCAST_TRUSTED_PROXIES", value_name = "NETWORK", value_delimiter = ',')]
    pub trusted_proxies: Vec<String>,
    /// Where those begin each connection with a PROXY header (default: off)
    #[arg(long, env = "ROOMCAST_PROXY_PROTOCOL", value_enum)]
    pub proxy_protocol: ProxyProtocol,
    /// Whether the workers share the descriptors that a process may have, or each has as many (default: shared)
    #[arg(long, env = "ROOMCAST_DESCRIPTOR_TABLES", value_enum)]
    pub descriptor_tables: DescriptorTables,
    /// The longest message (default: 64KiB)
    #[arg(long, env = "ROOMCAST_MESSAGE_BYTES", value_name = "SIZE")]
    pub message_bytes: Size,
    /// What a client may be owed before it counts as slow, in bytes (default: 1MiB)
    #[arg(long, env = "ROOMCAST_OUTBOX_BYTES", value_name = "SIZE")]
    pub outbox_bytes: Size,
    /// What a client may be owed before it counts as slow, in messages (default: 1024)
    #[arg(long, env = "ROOMCAST_OUTBOX_MESSAGES", value_name = "COUNT")]
    pub outbox_messages: usize,
    /// What all clients of the server may be owed together, in bytes of memory; what several are owed counts once, and each
    /// worker has its share (default: 256MiB)
    #[arg(long, env = "ROOMCAST_OUTBOX_BUDGET", value_name = "SIZE")]
    pub outbox_budget: Size,
    /// What all clients of the server may have begun to say together, in bytes of memory; each worker has its share, and past it
    /// the client that has begun most is closed (default: 256MiB)
    #[arg(long, env = "ROOMCAST_INPUT_BUDGET", value_name = "SIZE")]
    pub input_budget: Size,
    /// How long a client may leave a message unfinished that it has begun; 0s is no limit (default: 60s)
    #[arg(long, env = "ROOMCAST_MESSAGE_TIMEOUT", value_name = "DURATION")]
    pub message_timeout: Span,
    /// How long a line client may stay that has joined nothing and said nothing; 0s is no limit (default: 60s)
    #[arg(long, env = "ROOMCAST_IDLE_TIMEOUT", value_name = "DURATION")]
    pub idle_timeout: Span,
    /// How often a silent line client is written an empty line, for proxies that close what is silent; 0s is never (default: 0s)
    #[arg(long, env = "ROOMCAST_LINE_KEEPALIVE", value_name = "DURATION")]
    pub line_keepalive: Span,
    /// What becomes of a slow client: it is cut, or loses its oldest messages and is told how many (default: disconnect)
    #[arg(long, env = "ROOMCAST_SLOW", value_enum)]
    pub slow: SlowPolicy,
    /// How long a client may leave a byte untaken (default: 10s)
    #[arg(long, env = "ROOMCAST_SLOW_AFTER", value_name = "DURATION")]
    pub slow_after: Span,
    /// How often a WebSocket client is pinged (default: 30s)
    #[arg(long, env = "ROOMCAST_PING_INTERVAL", value_name = "DURATION")]
    pub ping_interval: Span,
    /// How long a WebSocket client may say nothing, not even a pong (default: 60s)
    #[arg(long, env = "ROOMCAST_PONG_TIMEOUT", value_name = "DURATION")]
    pub pong_timeout: Span,
    /// How long an HTTP client may take for the head of a request (default: 10s)
    #[arg(long, env = "ROOMCAST_HEADER_TIMEOUT", value_name = "DURATION")]
    pub header_timeout: Span,
    /// How long an HTTP connection may be kept: the first answer after that says that it closes; 0s is no limit (default: 60s)
    #[arg(long, env = "ROOMCAST_HTTP_CONNECTION_TIME", value_name = "DURATION")]
    pub http_connection_time: Span,
    /// How long a stop may take (default: 30s)
    #[arg(long, env = "ROOMCAST_GRACE", value_name = "DURATION")]
    pub grace: Span,
    /// How long a server that is told to stop goes on accepting, for load balancers that must notice first (default: 0s)
    #[arg(long, env = "ROOMCAST_DRAIN_DELAY", value_name = "DURATION")]
    pub drain_delay: Span,
    /// Whether HTTP connections are accepted to the very end of a stop, so that probes are answered: then no other server can
    /// take the port before (default: false)
    #[arg(long, env = "ROOMCAST_PROBES_UNTIL_END", value_name = "BOOL", action = ArgAction::Set)]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub probes_until_end: bool,
    /// Connections that the kernel keeps for each worker to accept (default: 4096)
    #[arg(long, env = "ROOMCAST_BACKLOG", value_name = "COUNT")]
    pub backlog: u32,
    /// Where to write the bound addresses, one line each, once clients are accepted
    #[arg(long, env = "ROOMCAST_READY_FILE", value_name = "PATH")]
    pub ready_file: Option<PathBuf>,
    /// What to log (default: info)
    #[arg(long, env = "ROOMCAST_LOG", value_enum)]
    pub log: LogLevel,
    /// How to log (default: text)
    #[arg(long, env = "ROOMCAST_LOG_FORMAT", value_enum)]
    pub log_format: LogFormat,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            tcp: (Ipv4Addr::LOCALHOST, 8080).into(),
            http: (Ipv4Addr::LOCALHOST, 3000).into(),
            workers: available_parallelism().ok().and_then(|cores| u16::try_from(cores.get()).ok()).unwrap_or(1),
            shards: None,
            greeting: "Welcome! Commands: JOIN <room>, LEAVE, LIST".into(),
            labels: Labels::Auto,
            max_clients: None,
            clients_per_address: 0,
            connects_per_address: 0,
            deliveries_per_second: 1_000_000,
            deliveries_burst: 1_000_000,
            allowed_origins: Vec::new(),
            hosts: Vec::new(),
            trusted_proxies: Vec::new(),
            proxy_protocol: ProxyProtocol::Off,
            rooms: 1_000_000,
            room_members: 1_000_000,
            descriptor_tables: DescriptorTables::Shared,
            message_bytes: Size(64 * 1024),
            outbox_bytes: Size(1024 * 1024),
            outbox_messages: 1024,
            outbox_budget: Size(256 * 1024 * 1024),
            input_budget: Size(256 * 1024 * 1024),
            message_timeout: Span(Duration::from_secs(60)),
            idle_timeout: Span(Duration::from_secs(60)),
            line_keepalive: Span(Duration::ZERO),
            slow: SlowPolicy::Disconnect,
            slow_after: Span(Duration::from_secs(10)),
            ping_interval: Span(Duration::from_secs(30)),
            pong_timeout: Span(Duration::from_secs(60)),
            header_timeout: Span(Duration::from_secs(10)),
            http_connection_time: Span(Duration::from_secs(60)),
            grace: Span(Duration::from_secs(30)),
            drain_delay: Span(Duration::ZERO),
            probes_until_end: false,
            backlog: 4096,
            ready_file: None,
            log: LogLevel::Info,
            log_format: LogFormat::Text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_can_be_read_back() {
        let settings = Settings { shards: Some(3), ready_file: Some("ready".into()), ..Settings::default() };
        let text = toml::to_string(&settings).unwrap();
        assert!(text.contains("message-bytes = \"64KiB\"\n"), "{text}");
        assert_eq!(toml::from_str::<Settings>(&text).unwrap(), settings);
    }
}
