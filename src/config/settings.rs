//! The settings as people give them: one name each as a flag, in the environment and in the settings file.
//!
//! The doc comments are the help text and `docs/settings.md`: the first paragraph is the short help, all of them the
//! long one. A default that depends on the machine stands in the first paragraph as `(default: …)`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::thread::available_parallelism;

use clap::{Arg, ArgAction, Args, Command, FromArgMatches};
use serde::Serialize;

use super::rules::RuleSettings;
use super::values::{ListenAddress, Size, Span};
use super::{
    Anonymous, ClusterSettings, DescriptorTables, HookSettings, Labels, LogFormat, LogLevel, ProxyProtocol, SlowPolicy,
    TlsPorts, WebPages,
};

/// Every setting, not validated yet: [`Config`](super::Config) is the validated form.
#[derive(Clone, Debug, PartialEq, Args, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Settings {
    /// Address for line clients; port 0 is any free port.
    ///
    /// An address (`127.0.0.1:8080`, `[::1]:8080`) or a name (`localhost:8080`), which is resolved once at the start.
    #[arg(long, help_heading = "Listening", value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub tcp: ListenAddress,
    /// Address for browsers, probes and metrics; port 0 is any free port.
    ///
    /// It serves WebSocket and other clients (`/ws`, `/connection/…`), rooms (`/rooms`), the server API (`/api`), web pages,
    /// `/health`, `/ready` and `/metrics`. An address or a name, as for `tcp`.
    #[arg(long, help_heading = "Listening", value_name = "ADDRESS", default_value = "127.0.0.1:3000")]
    pub http: ListenAddress,
    /// Connections that the kernel queues for each worker to accept.
    ///
    /// The kernel caps it at `net.core.somaxconn`.
    #[arg(long, help_heading = "Listening", value_name = "COUNT", default_value = "4096")]
    pub backlog: u32,
    /// File that receives the bound addresses once clients are accepted.
    ///
    /// One line per listener, `tcp 127.0.0.1:54321` and `http 127.0.0.1:54322`, written whole. The file is removed at a
    /// clean stop, so a script can wait for it.
    #[arg(long, help_heading = "Listening", value_name = "PATH")]
    pub ready_file: Option<PathBuf>,

    /// Threads that serve clients (default: one per processor core).
    #[arg(long, help_heading = "Threads", value_name = "COUNT")]
    #[arg(default_value_t = processor_cores(), hide_default_value = true)]
    pub workers: usize,
    /// Tasks that share the rooms among them (default: as many as workers).
    #[arg(long, help_heading = "Threads", value_name = "COUNT")]
    pub shards: Option<usize>,
    /// Table of file descriptors for the workers: shared or per-worker.
    ///
    /// With `per-worker` each worker may hold as many descriptors as the system allows a process. It needs a system
    /// that permits `unshare(CLONE_FILES)`; see docs/operating.md.
    #[arg(long, help_heading = "Threads", value_enum, value_name = "KIND", default_value = "shared")]
    pub descriptor_tables: DescriptorTables,

    /// Clients at once (default: what the descriptor limit allows).
    ///
    /// HTTP connections count while they last. The server raises its descriptor limit from soft to hard at the start.
    #[arg(long, help_heading = "Limits", value_name = "COUNT")]
    pub max_clients: Option<usize>,
    /// Clients at once from one address; 0 is no limit.
    ///
    /// HTTP connections count while they last. An IPv6 network of 64 bits is one address. Behind a proxy set
    /// `trusted-proxies` first, or all clients have the address of the proxy.
    #[arg(long, help_heading = "Limits", value_name = "COUNT", default_value = "0")]
    pub clients_per_address: u32,
    /// New connections per second from one address; 0 is no limit.
    #[arg(long, help_heading = "Limits", value_name = "COUNT", default_value = "0")]
    pub connects_per_address: u32,
    /// Rooms at once.
    ///
    /// A `JOIN` beyond it is refused with `ERR too-many`, and the client stays in the room where it is.
    #[arg(long, help_heading = "Limits", value_name = "COUNT", default_value = "1000000")]
    pub rooms: usize,
    /// Members of one room.
    ///
    /// A `JOIN` beyond it is refused with `ERR too-many`, and the client stays in the room where it is.
    #[arg(long, help_heading = "Limits", value_name = "COUNT", default_value = "1000000")]
    pub room_members: usize,
    /// Rooms that one client may be in at once.
    ///
    /// A client of the text protocol is in one room at most.
    #[arg(long, help_heading = "Limits", value_name = "COUNT", default_value = "128")]
    pub rooms_per_client: usize,
    /// Deliveries per second that one client may cause; 0 is no limit.
    ///
    /// One message in a room of a thousand members is a thousand deliveries. The server stops reading a client that is
    /// over its rate, for 5 s at most, and then refuses its messages with `ERR too-many`. An SDK is refused at once, with
    /// code 111, since it takes a late reply for a lost connection. A client that reconnects gets no new burst until its
    /// address has earned it. Each client of an address has a limit of its own: `clients-per-address` limits their number.
    #[arg(long, help_heading = "Limits", value_name = "COUNT", default_value = "1000000")]
    pub deliveries_per_second: u32,
    /// Deliveries that one client may cause at once.
    ///
    /// It only applies where `deliveries-per-second` is not 0.
    #[arg(long, help_heading = "Limits", value_name = "COUNT", default_value = "1000000")]
    pub deliveries_burst: u32,
    /// Memory for unfinished input of all clients.
    ///
    /// Each worker has an equal share. Past its share, a worker closes the client with the most unfinished input.
    #[arg(long, help_heading = "Limits", value_name = "SIZE", default_value = "256MiB")]
    pub input_budget: Size,

    /// First line to each client; empty for none (default: a welcome).
    ///
    /// The default is `Welcome! Commands: JOIN <room>, LEAVE, LIST`.
    #[arg(long, help_heading = "Messages", value_name = "TEXT", hide_default_value = true)]
    #[arg(default_value = "Welcome! Commands: JOIN <room>, LEAVE, LIST")]
    pub greeting: String,
    /// Label of a line client without a nick: auto, address or id.
    ///
    /// It is shown before the client's messages. A WebSocket client without a nick is `WS-` and a number.
    #[arg(long, help_heading = "Messages", value_enum, value_name = "KIND", default_value = "auto")]
    pub labels: Labels,
    /// Longest line or WebSocket message, in either direction.
    ///
    /// A message that is too long only together with its label is refused with `ERR too-long`. A longer one ends the
    /// connection.
    #[arg(long, help_heading = "Messages", value_name = "SIZE", default_value = "64KiB")]
    pub message_bytes: Size,
    /// Shortest message that is compressed for WebSocket clients that ask for it; 0B turns compression off.
    ///
    /// By permessage-deflate, which browsers ask for. A message is compressed once for all of them. Shorter ones would take
    /// about as much processor time, and save little.
    #[arg(long, help_heading = "Messages", value_name = "SIZE", default_value = "512B")]
    pub deflate_bytes: Size,
    /// Time for a client to finish a message that it has begun; 0s is no limit.
    ///
    /// Time in which the server makes the client wait does not count.
    #[arg(long, help_heading = "Messages", value_name = "DURATION", default_value = "60s")]
    pub message_timeout: Span,
    /// Time for a line client to send its first line; 0s is no limit.
    ///
    /// A client that has sent a line, such as every member of a room, may stay silent for ever.
    #[arg(long, help_heading = "Messages", value_name = "DURATION", default_value = "60s")]
    pub idle_timeout: Span,
    /// Interval of empty lines to silent line clients; 0s is never.
    ///
    /// For proxies that close connections on which nothing is sent.
    #[arg(long, help_heading = "Messages", value_name = "DURATION", default_value = "0s")]
    pub line_keepalive: Span,
    /// Interval of pings to WebSocket clients.
    #[arg(long, help_heading = "Messages", value_name = "DURATION", default_value = "30s")]
    pub ping_interval: Span,
    /// Silence after which a WebSocket client is closed.
    ///
    /// Any message or pong ends the silence. At least twice `ping-interval`.
    #[arg(long, help_heading = "Messages", value_name = "DURATION", default_value = "60s")]
    pub pong_timeout: Span,

    /// Newest messages that each room retains; 0 turns history off.
    ///
    /// A client that comes back gets those that it has missed. A room without members keeps its messages until they are too
    /// old.
    #[arg(long, help_heading = "History", value_name = "COUNT", default_value = "100")]
    pub history_messages: usize,
    /// Longest time that a message is retained.
    #[arg(long, help_heading = "History", value_name = "DURATION", default_value = "10m")]
    pub history_age: Span,
    /// Memory for what all rooms retain.
    ///
    /// Each shard has an equal share, which must hold a room with one message of `message-bytes`. When a shard exceeds its
    /// share, it drops the messages that would expire first: the oldest, where no rule gives its rooms another
    /// `history-age`.
    #[arg(long, help_heading = "History", value_name = "SIZE", default_value = "256MiB")]
    pub history_budget: Size,
    /// Messages that a client may have missed when it comes back.
    ///
    /// A client that has missed more, or more than `outbox-messages` or `outbox-bytes`, or messages that are no longer
    /// retained, gets none of them and is told so.
    #[arg(long, help_heading = "History", value_name = "COUNT", default_value = "300")]
    pub recovery_messages: usize,

    /// Whether members are told who joins and who leaves.
    #[arg(long, help_heading = "Presence", value_name = "BOOL", action = ArgAction::Set, default_value = "false")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub presence_events: bool,
    /// Members of a room above which they are told their number instead.
    ///
    /// At most once a second. It only applies where `presence-events` is true.
    #[arg(long, help_heading = "Presence", value_name = "COUNT", default_value = "200")]
    pub presence_events_members: usize,

    /// Policy for a client that does not keep up: disconnect or drop-oldest.
    ///
    /// docs/protocol.md describes both policies and when they apply.
    #[arg(long, help_heading = "Slow consumers", value_enum, value_name = "POLICY", default_value = "disconnect")]
    pub slow: SlowPolicy,
    /// Longest time that a client may leave a byte unread.
    ///
    /// Known within a factor of two. Under `drop-oldest`: the longest time that a client may read nothing at all.
    #[arg(long, help_heading = "Slow consumers", value_name = "DURATION", default_value = "10s")]
    pub slow_after: Span,
    /// Pending bytes beyond which a client counts as slow.
    #[arg(long, help_heading = "Slow consumers", value_name = "SIZE", default_value = "1MiB")]
    pub outbox_bytes: Size,
    /// Pending messages beyond which a client counts as slow.
    #[arg(long, help_heading = "Slow consumers", value_name = "COUNT", default_value = "1024")]
    pub outbox_messages: usize,
    /// Memory for what all clients have not read yet.
    ///
    /// Each worker has an equal share, which must hold four `message-bytes`. A message that is pending for many clients
    /// of a worker counts once. Past its share, a worker first makes publishers wait, then applies the policy to the
    /// slow client with the most pending bytes.
    #[arg(long, help_heading = "Slow consumers", value_name = "SIZE", default_value = "256MiB")]
    pub outbox_budget: Size,

    /// Web pages of this server: off, chat or all.
    ///
    /// The chat at `/` and the dashboard at `/dashboard`; see docs/pages.md.
    #[arg(long, help_heading = "HTTP", value_enum, value_name = "PAGES", default_value = "chat")]
    pub pages: WebPages,
    /// Web pages of other hosts that may connect and read answers; `*` is every page.
    ///
    /// As in `https://example.org,https://example.com`. Pages of the same host are always allowed. Other pages get
    /// status 403 where they would act for their user, as at `/ws`, and the log names them. Clients that are no browser
    /// send no `Origin` and are not affected.
    #[arg(long, help_heading = "HTTP", value_name = "ORIGIN", value_delimiter = ',')]
    pub allowed_origins: Vec<String>,
    /// Names of this server in origins of its own pages (default: any name).
    ///
    /// As in `chat.example,chat.example:8443`: only pages of these count as pages of the same host. Without it any name
    /// does, but on a connection to a loopback address only loopback names, because anybody can make a name resolve to
    /// 127.0.0.1. On such a connection rooms can be read only under these names, loopback names and IP addresses.
    #[arg(long, help_heading = "HTTP", value_name = "HOST", value_delimiter = ',')]
    pub hosts: Vec<String>,
    /// CIDRs of trusted proxies, as in 10.0.0.0/8,192.168.1.7.
    ///
    /// Limits and labels use the address of the client that the proxy sends in `X-Forwarded-For` or in a PROXY header;
    /// docs/proxies.md has nginx, Caddy and HAProxy.
    #[arg(long, help_heading = "HTTP", value_name = "CIDR", value_delimiter = ',')]
    pub trusted_proxies: Vec<String>,
    /// Ports at which trusted proxies send a PROXY header: off, tcp, http or both.
    ///
    /// Version 1 or 2. A connection of a trusted proxy without the header is refused; on other connections it is not
    /// interpreted.
    #[arg(long, help_heading = "HTTP", value_enum, value_name = "PORTS", default_value = "off")]
    pub proxy_protocol: ProxyProtocol,
    /// Time for a TLS handshake, to begin a request, and then to send its head.
    #[arg(long, help_heading = "HTTP", value_name = "DURATION", default_value = "10s")]
    pub header_timeout: Span,
    /// Time from an answer to the next request after which an HTTP connection is closed; 0s is no limit.
    ///
    /// A request that is being answered is not interrupted: its head and each 4 KiB of its body have `header-timeout`, and a
    /// client must read each 4 KiB of its answers within `slow-after`.
    #[arg(long, help_heading = "HTTP", value_name = "DURATION", default_value = "60s")]
    pub http_idle_time: Span,
    /// Age at which an HTTP connection is closed; 0s is no limit.
    ///
    /// The first answer after that time says `Connection: close`. WebSockets are not affected.
    #[arg(long, help_heading = "HTTP", value_name = "DURATION", default_value = "60s")]
    pub http_connection_time: Span,

    /// Ports that speak TLS: off, tcp, http or both.
    ///
    /// TLS 1.3 and 1.2. A PROXY header comes before the handshake.
    #[arg(long, help_heading = "TLS", value_enum, value_name = "PORTS", default_value = "off")]
    pub tls: TlsPorts,
    /// PEM file of the certificate, followed by its chain.
    ///
    /// It is read again when it or the key changes, and at SIGHUP; if it is wrong, the certificate in use stays.
    #[arg(long, help_heading = "TLS", value_name = "PATH")]
    pub tls_cert: Option<PathBuf>,
    /// PEM file of the private key of the certificate.
    #[arg(long, help_heading = "TLS", value_name = "PATH")]
    pub tls_key: Option<PathBuf>,

    /// Clients without a token: allow or deny.
    ///
    /// With `deny` a client must present a valid token, at the handshake or by `AUTH`, within `header-timeout`.
    #[arg(long, help_heading = "Tokens", value_enum, value_name = "POLICY", default_value = "allow")]
    pub anonymous: Anonymous,
    /// Files of secrets that sign tokens (HS256, HS384, HS512).
    ///
    /// Each holds one secret of at least 32 bytes; a line end at its end does not count. The name of the file without its
    /// extension is the key's `kid`. Several files allow a change of keys without an interruption: a token without `kid` is
    /// tried with each.
    #[arg(long, help_heading = "Tokens", value_name = "PATH", value_delimiter = ',')]
    pub token_secret_file: Vec<String>,
    /// PEM files of public keys that verify tokens (RS256 to RS512, PS256 to PS512, ES256, ES384).
    ///
    /// The name of the file without its extension is the key's `kid`.
    #[arg(long, help_heading = "Tokens", value_name = "PATH", value_delimiter = ',')]
    pub token_public_key_file: Vec<String>,
    /// Files of JSON Web Key Sets that verify tokens.
    ///
    /// Each key has its own `kid`. The server never takes a URL from a token.
    #[arg(long, help_heading = "Tokens", value_name = "PATH", value_delimiter = ',')]
    pub token_jwks_file: Vec<String>,
    /// Issuer (`iss`) that every token must name.
    #[arg(long, help_heading = "Tokens", value_name = "TEXT")]
    pub token_issuer: Option<String>,
    /// Audience (`aud`) that every token must name.
    #[arg(long, help_heading = "Tokens", value_name = "TEXT")]
    pub token_audience: Option<String>,
    /// Tolerated difference of clocks, for `exp` and `nbf` of tokens.
    #[arg(long, help_heading = "Tokens", value_name = "DURATION", default_value = "5s")]
    pub token_leeway: Span,
    /// Time for a client to present another token when its own has expired.
    ///
    /// The client is told `EXPIRED <seconds>` first; then its connection ends.
    #[arg(long, help_heading = "Tokens", value_name = "DURATION", default_value = "25s")]
    pub token_grace: Span,
    /// Whether a token may be in the query of a handshake, as `?token=…`.
    ///
    /// Proxies log queries, so a token there may be read by others.
    #[arg(long, help_heading = "Tokens", value_name = "BOOL", action = ArgAction::Set, default_value = "false")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub token_in_query: bool,
    /// File of API keys, one line each as `roomcast gen-key` prints it.
    ///
    /// It holds hashes, not keys.
    #[arg(long, help_heading = "Tokens", value_name = "PATH")]
    pub api_keys_file: Option<PathBuf>,

    /// The settings of hooks.
    #[command(flatten)]
    #[serde(flatten)]
    pub hooks: HookSettings,
    /// The settings of a cluster.
    #[command(flatten)]
    #[serde(flatten)]
    pub nats: ClusterSettings,

    /// Time for which a stopping server still accepts clients.
    ///
    /// `/ready` says `draining` meanwhile, so that load balancers notice. In Kubernetes, 5s are enough.
    #[arg(long, help_heading = "Stopping", value_name = "DURATION", default_value = "0s")]
    pub drain_delay: Span,
    /// Time over which a stop disconnects clients, one after another in random order.
    ///
    /// So they do not all reconnect at once. Clients that are still connected are served meanwhile, and new ones are refused.
    /// With 0s all are disconnected at once. Clients are told when to reconnect: after 1 second to another node of a cluster,
    /// and to a single server after this time and 1 second.
    #[arg(long, help_heading = "Stopping", value_name = "DURATION", default_value = "0s")]
    pub drain_spread: Span,
    /// Longest time that a stop may take after the drain delay and the drain spread.
    #[arg(long, help_heading = "Stopping", value_name = "DURATION", default_value = "30s")]
    pub grace: Span,
    /// Whether HTTP connections are accepted to the end of a stop.
    ///
    /// Then probes are answered to the end, but no other server can take the port before. Otherwise another server can
    /// take both ports while this one drains.
    #[arg(long, help_heading = "Stopping", value_name = "BOOL", action = ArgAction::Set, default_value = "false")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub probes_until_end: bool,

    /// Least important level that is logged: error, warn, info or debug.
    ///
    /// The log goes to standard error. Lines that nobody reads are dropped and counted; the server never waits for its
    /// log.
    #[arg(long, help_heading = "Logging", value_enum, value_name = "LEVEL", default_value = "info")]
    pub log: LogLevel,
    /// Format of the log: text or json.
    #[arg(long, help_heading = "Logging", value_enum, value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,

    /// Rules of rooms, in the settings file only, as `[[rule]]`.
    #[arg(skip)]
    #[serde(rename = "rule", skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleSettings>,
}

impl Settings {
    /// The flags of all settings, in the order of the help.
    pub(super) fn arguments() -> Vec<Arg> {
        Self::augment_args(Command::new("")).get_arguments().cloned().collect()
    }
}

impl Default for Settings {
    fn default() -> Self {
        let matches = Self::augment_args(Command::new("")).try_get_matches_from([""]);
        matches.and_then(|matches| Self::from_arg_matches(&matches)).expect("every default is a value of its setting")
    }
}

fn processor_cores() -> usize {
    available_parallelism().map_or(1, NonZeroUsize::get)
}
