//! The settings as people give them: one name each as a flag, in the environment and in the settings file.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread::available_parallelism;
use std::time::Duration;
use std::{fs, io};

use clap::value_parser;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::units::{Size, Span};
use super::{DescriptorTables, Labels, LogFormat, LogLevel, ProxyProtocol, SlowPolicy};

/// Every setting. The doc comments are the help text.
#[derive(Clone, Debug, PartialEq, clap::Args, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct Settings {
    /// Where line clients connect; port 0 is any free one (default: 127.0.0.1:8080)
    #[arg(long, env = "ROOMCAST_TCP", value_name = "ADDRESS")]
    pub tcp: SocketAddr,
    /// Where browsers and operators connect; port 0 is any free one (default: 127.0.0.1:3000)
    #[arg(long, env = "ROOMCAST_HTTP", value_name = "ADDRESS")]
    pub http: SocketAddr,
    /// Threads that serve clients (default: the processor's cores)
    #[arg(long, env = "ROOMCAST_WORKERS", value_name = "COUNT", value_parser = value_parser!(u16).range(1..=1024))]
    pub workers: u16,
    /// Tasks among which the rooms are shared out (default: as many as workers)
    #[arg(long, env = "ROOMCAST_SHARDS", value_name = "COUNT", value_parser = value_parser!(u16).range(1..=1024))]
    pub shards: Option<u16>,
    /// The first line that a client gets; none if empty (default: a welcome and the first commands)
    #[arg(long, env = "ROOMCAST_GREETING", value_name = "TEXT")]
    pub greeting: String,
    /// What stands in front of the messages of a client without a nick (default: address)
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
    /// Deliveries a second that one client may cause; 0 is no limit (default: 0)
    #[arg(long, env = "ROOMCAST_DELIVERIES_PER_SECOND", value_name = "COUNT")]
    pub deliveries_per_second: u32,
    /// Deliveries that one client may cause at once, where they are limited (default: 10000)
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
            labels: Labels::Address,
            max_clients: None,
            clients_per_address: 0,
            connects_per_address: 0,
            deliveries_per_second: 0,
            deliveries_burst: 10_000,
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
            slow: SlowPolicy::Disconnect,
            slow_after: Span(Duration::from_secs(10)),
            ping_interval: Span(Duration::from_secs(30)),
            pong_timeout: Span(Duration::from_secs(60)),
            header_timeout: Span(Duration::from_secs(10)),
            http_connection_time: Span(Duration::from_secs(60)),
            grace: Span(Duration::from_secs(30)),
            backlog: 4096,
            ready_file: None,
            log: LogLevel::Info,
            log_format: LogFormat::Text,
        }
    }
}

/// A settings file that cannot be used.
#[derive(Debug, Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("cannot read settings file {path}: {error}")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It is no TOML, or says something that is no setting.
    #[error("settings file {path} line {line}: {what}")]
    Invalid {
        /// Which file.
        path: PathBuf,
        /// Where, counted from 1.
        line: usize,
        /// What is wrong and what would be right.
        what: String,
    },
}

impl Settings {
    /// The settings of a TOML file, the others at their defaults.
    pub(super) fn from_file(path: &Path) -> Result<Self, FileError> {
        let unreadable = |error| FileError::Unreadable { path: path.into(), error };
        let text = fs::read_to_string(path).map_err(unreadable)?;
        toml::from_str(&text).map_err(|error| {
            let before = error.span().map_or("", |span| &text[..span.start]);
            let what = error.message().replace('\n', "; ");
            FileError::Invalid { path: path.into(), line: before.matches('\n').count() + 1, what }
        })
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

    #[test]
    fn a_file_names_the_line_that_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("roomcast.toml");
        let refused = |text: &str| {
            fs::write(&path, text).unwrap();
            Settings::from_file(&path).unwrap_err().to_string()
        };
        let error = refused("workers = 1\nwrokers = 2\n");
        assert!(error.contains("line 2: unknown field `wrokers`, expected one of `tcp`"), "{error}");
        let error = refused("slow-after = \"soon\"\n");
        assert!(error.ends_with("line 1: duration \"soon\": a number and a unit, as in 30s"), "{error}");
        assert!(!refused("a = = b").contains('\n'));
        let error = Settings::from_file(&folder.path().join("none")).unwrap_err().to_string();
        assert!(error.starts_with("cannot read settings file"), "{error}");
    }
}
