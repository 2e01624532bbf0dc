//! The configuration: data that is validated whole at the start and handed down in pieces. Nobody below the server sees
//! all of it.

mod arguments;
mod cluster;
mod default_file;
mod file;
mod files;
mod help;
mod hooks;
mod hosts;
mod man_pages;
mod rules;
mod settings;
mod sources;
mod tasks;
mod validate;
mod values;
mod version;

use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;
use ipnet::IpNet;
use serde::Serialize;

pub use arguments::{Invocation, InvocationError, log_format};
pub use cluster::{ClusterRules, ClusterSettings, NatsLogin, NatsServer};
pub use files::{exposure, read_file};
pub use hooks::{HookPolicy, HookRules, HookSettings};
pub use hosts::{HostName, Origins};
pub use man_pages::man_pages;
pub use rules::{LimitsOfRoom, RoomRule, RuleSettings, Who};
pub use settings::Settings;
pub use sources::{ConfigError, Sources};
pub use tasks::{API_KEY_VARIABLE, ServerToAsk, Task};
pub use values::{ListenAddress, Size, Span, canonical};
pub use version::COMMIT;

/// The whole configuration of a server, every value within its rule.
#[derive(Clone, Debug)]
pub struct Config {
    /// Listen address for line clients; port 0 is any free port.
    pub tcp: SocketAddr,
    /// Listen address for HTTP and WebSocket; port 0 is any free port.
    pub http: SocketAddr,
    /// Worker threads.
    pub workers: u16,
    /// Shards over all workers.
    pub shards: u16,
    /// Clients at once; `None` is what the descriptors allow.
    pub max_clients: Option<usize>,
    /// Limits for one address.
    pub per_address: AddressLimits,
    /// Rooms at once, over all shards.
    pub rooms_max: usize,
    /// What all rooms together remember.
    pub history: HistoryLimits,
    /// Members of a room above which they are told their number instead of who joins and leaves, at most once a second.
    pub presence_events_members_max: usize,
    /// Whether the workers share their descriptors.
    pub descriptor_tables: DescriptorTables,
    /// Connections that the kernel keeps for each worker to accept.
    pub backlog: u32,
    /// Time for which a stopping server still accepts.
    pub drain_delay: Duration,
    /// Time over which a stop then ends its clients; zero where all end at once.
    pub drain_spread: Duration,
    /// Longest time of a stop after that.
    pub grace: Duration,
    /// File for the bound addresses.
    pub ready_file: Option<PathBuf>,
    /// Who may do what.
    pub access: AccessRules,
    /// The ports that speak TLS; `None` for none.
    pub tls: Option<TlsRules>,
    /// The application that is asked what clients may do; `None` where no hook is on.
    pub hooks: Option<HookRules>,
    /// The cluster of which the server is a node; `None` where it is alone.
    pub cluster: Option<ClusterRules>,
    /// The part that applies to every client.
    pub rules: Rules,
}

/// Who may do what: the part that a reload applies to a server that runs.
#[derive(Clone, Debug, PartialEq)]
pub struct AccessRules {
    /// The first rule that names a room applies to it. Without any, everybody may do everything.
    pub rooms: Vec<RoomRule>,
    /// The limits of rooms of which no rule says otherwise.
    pub default_limits: LimitsOfRoom,
    /// Clients without a token.
    pub anonymous: Anonymous,
    /// What makes a token valid.
    pub tokens: TokenRules,
    /// Whether the application may say who a client is as it connects.
    pub has_connect_hook: bool,
    /// Time for a client whose token has expired to present another.
    pub token_grace: Duration,
    /// Whether a token may stand in the query of a handshake.
    pub token_in_query: bool,
    /// File of API keys.
    pub api_keys_file: Option<PathBuf>,
}

impl AccessRules {
    /// Whether any client can be a user.
    pub fn have_users(&self) -> bool {
        self.tokens.have_keys() || self.has_connect_hook
    }
}

/// What makes a token valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRules {
    /// Files of one secret each.
    pub secret_files: Vec<PathBuf>,
    /// PEM files of one public key each.
    pub public_key_files: Vec<PathBuf>,
    /// Files of JSON Web Key Sets.
    pub jwks_files: Vec<PathBuf>,
    /// The issuer that a token must name.
    pub issuer: Option<String>,
    /// The audience that a token must name.
    pub audience: Option<String>,
    /// Difference of clocks that a token may show.
    pub leeway: Duration,
}

impl TokenRules {
    /// Whether any token can be valid.
    pub fn have_keys(&self) -> bool {
        !(self.secret_files.is_empty() && self.public_key_files.is_empty() && self.jwks_files.is_empty())
    }
}

/// The ports that speak TLS, and the files of their certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsRules {
    /// The ports.
    pub ports: TlsPorts,
    /// PEM file of the certificate and its chain.
    pub certificate: PathBuf,
    /// PEM file of its private key.
    pub key: PathBuf,
}

/// The part of the configuration that applies to every client.
#[derive(Clone, Debug)]
pub struct Rules {
    /// First line to a client; empty for none.
    pub greeting: String,
    /// Labels of line clients without a nick.
    pub labels: Labels,
    /// Longest message, in bytes.
    pub message_bytes_max: usize,
    /// Shortest WebSocket message that is compressed, in bytes; `None` is no compression.
    pub deflate_bytes_min: Option<NonZeroU16>,
    /// Rooms that one client may be in at once.
    pub rooms_per_client_max: usize,
    /// Rate limit of deliveries; `None` is no limit.
    pub deliveries: Option<DeliveryLimits>,
    /// Bounds of the outboxes.
    pub outbox: OutboxLimits,
    /// Bounds of unfinished input.
    pub input: InputRules,
    /// Pings of WebSocket clients.
    pub keepalive: KeepaliveRules,
    /// Time for the head of an HTTP request.
    pub header_timeout: Duration,
    /// Whether HTTP connections are accepted to the very end of a stop.
    pub probes_until_end: bool,
    /// Further limits of HTTP connections.
    pub http: HttpLimits,
    /// The server's own web pages.
    pub pages: WebPages,
    /// Web pages that may open a WebSocket.
    pub origins: Origins,
    /// CIDRs of trusted proxies.
    pub trusted_proxies: Vec<IpNet>,
    /// Ports at which trusted proxies send a PROXY header.
    pub proxy_protocol: ProxyProtocol,
}

/// Limits for one address; `None` is no limit. An IPv6 network of 64 bits is one address.
#[derive(Clone, Copy, Debug)]
pub struct AddressLimits {
    /// Clients at once.
    pub clients_max: Option<NonZeroU32>,
    /// New connections per second.
    pub connects_per_second: Option<NonZeroU32>,
}

/// What all rooms together remember, and how much of it a client that resumes may get.
#[derive(Clone, Copy, Debug)]
pub struct HistoryLimits {
    /// Memory of what all rooms retain, in bytes.
    pub budget: usize,
    /// Publications that a client which resumes may have missed.
    pub recovery_messages_max: usize,
}

impl HistoryLimits {
    /// The limits of one of `shards`, each of which has an equal share of the budget.
    pub fn of_one_shard(self, shards: u16) -> Self {
        Self { budget: self.budget / usize::from(shards), ..self }
    }
}

/// The rate limit for the deliveries that one client causes.
#[derive(Clone, Copy, Debug)]
pub struct DeliveryLimits {
    /// Deliveries per second.
    pub per_second: NonZeroU32,
    /// Deliveries at once, after a silence.
    pub burst: u32,
    /// Longest time that a client waits before its message is refused.
    pub pause_max: Duration,
}

/// Pings of WebSocket clients.
#[derive(Clone, Copy, Debug)]
pub struct KeepaliveRules {
    /// Interval of pings.
    pub ping_interval: Duration,
    /// Silence, without even a pong, after which a client is closed.
    pub pong_timeout: Duration,
}

/// Bounds of unfinished input. A time that is `None` is no limit.
#[derive(Clone, Copy, Debug)]
pub struct InputRules {
    /// Memory of all input that is unfinished or not executed yet, in bytes.
    pub budget: usize,
    /// Time to finish a message.
    pub message_timeout: Option<Duration>,
    /// Time for a line client to say its first line.
    pub idle_timeout: Option<Duration>,
    /// Silence after which a line client is written an empty line.
    pub line_keepalive: Option<Duration>,
}

impl InputRules {
    /// The bounds of one of `workers`, each of which has an equal share of the budget.
    pub fn of_one_worker(self, workers: u16) -> Self {
        Self { budget: self.budget / usize::from(workers), ..self }
    }
}

/// Bounds of the outboxes, and the policy past them.
#[derive(Clone, Copy, Debug)]
pub struct OutboxLimits {
    /// Pending bytes of a client.
    pub bytes_max: usize,
    /// Pending messages of a client.
    pub messages_max: usize,
    /// Longest time that a refused byte may wait.
    pub slow_after: Duration,
    /// Policy for a client past a bound.
    pub policy: SlowPolicy,
    /// Memory of all outboxes, in bytes; an entry that is pending for several clients counts once.
    pub budget: usize,
}

impl OutboxLimits {
    /// The bounds of one of `workers`, each of which has an equal share of the budget.
    pub fn of_one_worker(self, workers: u16) -> Self {
        Self { budget: self.budget / usize::from(workers), ..self }
    }
}

/// Limits of HTTP connections besides the deadline for the head of a request.
#[derive(Clone, Debug)]
pub struct HttpLimits {
    /// Time without a request after which a connection is closed; `None` is no limit.
    pub idle_time: Option<Duration>,
    /// Age at which a connection answers its last request; `None` is no limit.
    pub connection_time: Option<Duration>,
    /// The only names that count as the server's own; any name does if there are none.
    pub hosts: Vec<HostName>,
}

/// Labels of line clients without a nick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Labels {
    /// The address of a client on the same host, which tells nobody anything; else as `id`.
    Auto,
    /// The address of the client.
    Address,
    /// A number, as in `TCP-12`.
    Id,
}

/// Whether the workers share one table of file descriptors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DescriptorTables {
    /// All workers share one table.
    Shared,
    /// Each worker has a table of its own, with the same limit.
    PerWorker,
}

/// Policy for a client that does not keep up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SlowPolicy {
    /// The client is disconnected.
    Disconnect,
    /// The client loses the oldest messages of its room and is told how many.
    DropOldest,
}

/// Ports at which trusted proxies begin each connection with a PROXY header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProxyProtocol {
    /// Neither port.
    Off,
    /// The port for line clients.
    Tcp,
    /// The port for HTTP.
    Http,
    /// Both ports.
    Both,
}

/// The server's own web pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum WebPages {
    /// No page is served.
    Off,
    /// Both pages are served, and the figures of the dashboard only to this machine and to API keys that may `info`.
    Chat,
    /// Both pages are served, and the figures of the dashboard to everybody.
    All,
}

/// Clients without a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Anonymous {
    /// They may do what the rules allow to anyone.
    Allow,
    /// They may only authenticate.
    Deny,
}

/// Ports that speak TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TlsPorts {
    /// Neither port.
    Off,
    /// The port for line clients.
    Tcp,
    /// The port for HTTP and WebSocket.
    Http,
    /// Both ports.
    Both,
}

/// Least important level that is logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    /// Only what ends the server.
    Error,
    /// What an operator should look at.
    Warn,
    /// Starts and stops.
    Info,
    /// Every connection.
    Debug,
}

/// Format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// Text for people.
    Text,
    /// One JSON object per line.
    Json,
}
