//! The configuration: data, validated whole at the start and handed down in pieces. Nobody below the server sees all of it.

mod addresses;
mod arguments;
mod checks;
mod file;
mod http;
mod input;
mod lists;
mod settings;
mod sources;
mod units;

use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use checks::{limit, listen_address, one_line, outbox_budget, proxy_protocol, within};

pub use addresses::{ListenAddress, canonical};
pub use arguments::{Invocation, InvocationError, Task, log_format};
pub use http::{HostName, HttpLimits, ProxyProtocol};
pub use input::InputRules;
pub use settings::Settings;
pub use sources::{ConfigError, Sources};
pub use units::{Size, Span};

/// A server's whole configuration, every value within its rule.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where line clients connect. Port 0 is any free one.
    pub tcp: SocketAddr,
    /// Where browsers and operators connect. Port 0 is any free one.
    pub http: SocketAddr,
    /// Threads that serve clients.
    pub workers: u16,
    /// Tasks among which the rooms are shared out.
    pub shards: u16,
    /// Clients at once; `None` is what the descriptors allow.
    pub max_clients: Option<usize>,
    /// What one address may have of them.
    pub per_address: AddressLimits,
    /// How many rooms there may be, and how large.
    pub rooms: RoomLimits,
    /// Who has the descriptors that a process may have.
    pub descriptor_tables: DescriptorTables,
    /// Connections that the kernel keeps for the server to accept, per worker.
    pub backlog: u32,
    /// How long a server that is told to stop goes on accepting.
    pub drain_delay: Duration,
    /// How long a stop may take after that.
    pub grace: Duration,
    /// Where the bound addresses are written.
    pub ready_file: Option<PathBuf>,
    /// What applies to every client.
    pub rules: Rules,
}

/// What applies to every client.
#[derive(Clone, Debug)]
pub struct Rules {
    /// The first line; nothing if empty.
    pub greeting: String,
    /// What stands in front of messages.
    pub labels: Labels,
    /// The longest message, in bytes.
    pub message_bytes_max: usize,
    /// What a client may cost the others; as much as it likes if `None`.
    pub deliveries: Option<DeliveryLimits>,
    /// How far a client may be behind.
    pub outbox: OutboxLimits,
    /// How long clients may say nothing whole, and what is kept of it.
    pub input: InputRules,
    /// How WebSocket clients are kept alive.
    pub keepalive: KeepaliveRules,
    /// How long an HTTP client may take for the head of a request.
    pub header_timeout: Duration,
    /// Whether HTTP connections are accepted to the very end of a stop.
    pub probes_until_end: bool,
    /// What else applies to HTTP connections.
    pub http: HttpLimits,
    /// Which web pages may open a WebSocket.
    pub origins: Origins,
    /// The networks of proxies that are believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Where those begin each connection with a PROXY header.
    pub proxy_protocol: ProxyProtocol,
}

/// Which web pages may open a WebSocket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    /// Every one.
    Any,
    /// Those of the host that was asked, and these.
    SameHostAnd(Vec<String>),
}

/// What one address may have; `None` is as much as it likes. An IPv6 network of 64 bits is one address.
#[derive(Clone, Copy, Debug)]
pub struct AddressLimits {
    /// Clients at once.
    pub clients_max: Option<NonZeroU32>,
    /// New connections a second.
    pub connects_per_second: Option<NonZeroU32>,
}

/// How many rooms there may be, and how large.
#[derive(Clone, Copy, Debug)]
pub struct RoomLimits {
    /// Rooms at once, over all shards.
    pub rooms_max: usize,
    /// Members of each.
    pub members_max: usize,
}

/// What one client may cost the others.
#[derive(Clone, Copy, Debug)]
pub struct DeliveryLimits {
    /// Deliveries that it may cause, a second.
    pub per_second: NonZeroU32,
    /// As many at once, after a silence.
    pub burst: u32,
    /// How long it may be kept waiting before it is refused.
    pub pause_max: Duration,
}

/// How WebSocket clients are kept alive.
#[derive(Clone, Copy, Debug)]
pub struct KeepaliveRules {
    /// How often a client is pinged.
    pub ping_interval: Duration,
    /// How long it may say nothing, not even a pong.
    pub pong_timeout: Duration,
}

/// What stands in front of the messages of a client without a nick.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Labels {
    /// Its address where that is a loopback address, which tells nobody anything; else its transport and a number.
    Auto,
    /// Its address.
    Address,
    /// Its transport and a number, as in `TCP-12`.
    Id,
}

/// Who has the descriptors that a process may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DescriptorTables {
    /// All workers together.
    Shared,
    /// Each worker as many, in a table of its own.
    PerWorker,
}

/// How far a client may be behind, and what becomes of one that is farther.
#[derive(Clone, Copy, Debug)]
pub struct OutboxLimits {
    /// Bytes owed.
    pub bytes_max: usize,
    /// MessageDecoder owed.
    pub messages_max: usize,
    /// How old a refused byte may grow.
    pub slow_after: Duration,
    /// What becomes of a client past a bound.
    pub policy: SlowPolicy,
    /// Memory of all outboxes together, in bytes; what several are owed counts once.
    pub budget: usize,
}

impl OutboxLimits {
    /// The same for one of so many workers, each of which has its share of the budget for itself.
    pub fn of_one_worker(self, workers: u16) -> Self {
        Self { budget: self.budget / usize::from(workers), ..self }
    }
}

/// What becomes of a client past a bound of its outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SlowPolicy {
    /// It is cut.
    Disconnect,
    /// It loses the oldest messages of its room, and is told how many.
    DropOldest,
}

/// What is written to the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogLevel {
    /// Nothing but what ends the server.
    Error,
    /// What an operator should look at.
    Warn,
    /// Starts and stops.
    Info,
    /// Every connection.
    Debug,
}

/// How it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

const WORKERS_MAX: u16 = 1_024;
const MESSAGE_BYTES_MAX: Size = Size(16 * 1024 * 1024);
const OUTBOX_BYTES_MAX: Size = Size(1024 * 1024 * 1024);
const OUTBOX_MESSAGES_MAX: usize = 1 << 20;
const OUTBOX_BUDGET_MAX: Size = Size(1 << 40);
const CLIENTS_MAX: usize = 1 << 24;
const PER_ADDRESS_MAX: u32 = 1 << 20;
const DELIVERIES_MAX: u32 = 1 << 30;
const BACKLOG_MAX: u32 = 1 << 20;
/// A client that has no deliveries left is not read for this long, and then refused.
const PAUSE_MAX: Duration = Duration::from_secs(5);
const SPAN_MIN: Span = Span(Duration::from_millis(1));
const SPAN_MAX: Span = Span(Duration::from_secs(24 * 60 * 60));

impl TryFrom<Settings> for Config {
    type Error = ConfigError;

    fn try_from(settings: Settings) -> Result<Self, ConfigError> {
        let workers = within("workers", settings.workers, 1..=WORKERS_MAX)?;
        Ok(Self {
            tcp: listen_address("tcp", &settings.tcp)?,
            http: listen_address("http", &settings.http)?,
            workers,
            shards: within("shards", settings.shards.unwrap_or(workers), 1..=WORKERS_MAX)?,
            max_clients: settings.max_clients.map(|count| within("max-clients", count, 1..=CLIENTS_MAX)).transpose()?,
            per_address: AddressLimits {
                clients_max: limit("clients-per-address", settings.clients_per_address, PER_ADDRESS_MAX)?,
                connects_per_second: limit("connects-per-address", settings.connects_per_address, PER_ADDRESS_MAX)?,
            },
            rooms: RoomLimits {
                rooms_max: within("rooms", settings.rooms, 1..=CLIENTS_MAX)?,
                members_max: within("room-members", settings.room_members, 1..=CLIENTS_MAX)?,
            },
            descriptor_tables: settings.descriptor_tables,
            backlog: within("backlog", settings.backlog, 1..=BACKLOG_MAX)?,
            grace: within("grace", settings.grace, Span(Duration::ZERO)..=SPAN_MAX)?.0,
            drain_delay: within("drain-delay", settings.drain_delay, Span(Duration::ZERO)..=SPAN_MAX)?.0,
            ready_file: settings.ready_file.clone(),
            rules: Rules::try_from(settings)?,
        })
    }
}

impl TryFrom<Settings> for Rules {
    type Error = ConfigError;

    fn try_from(settings: Settings) -> Result<Self, ConfigError> {
        let message_bytes = within("message-bytes", settings.message_bytes, Size(1)..=MESSAGE_BYTES_MAX)?;
        let ping_interval = within("ping-interval", settings.ping_interval, SPAN_MIN..=SPAN_MAX)?;
        // A bound below one message would be passed by any client whose socket refuses one.
        let outbox_bytes = within("outbox-bytes", settings.outbox_bytes, message_bytes..=OUTBOX_BYTES_MAX)
            .map_err(|error| error.since(format!("at least {{message-bytes}} {message_bytes}")))?;
        // A ping and its pong need their time, or a client is cut for a silence that nobody broke.
        let pong_timeout = within("pong-timeout", settings.pong_timeout, Span(ping_interval.0 * 2)..=SPAN_MAX)
            .map_err(|error| error.since(format!("at least twice {{ping-interval}} {ping_interval}")))?
            .0;
        let input = InputRules::of(&settings, message_bytes)?;
        let burst = within("deliveries-burst", settings.deliveries_burst, 1..=DELIVERIES_MAX)?;
        let per_second = limit("deliveries-per-second", settings.deliveries_per_second, DELIVERIES_MAX)?;
        // Who is not read cannot be heard, and is not to be cut for that.
        let pause_max = PAUSE_MAX.min(pong_timeout / 2);
        Ok(Self {
            http: HttpLimits::try_from(&settings)?,
            deliveries: per_second.map(|per_second| DeliveryLimits { per_second, burst, pause_max }),
            greeting: one_line("greeting", settings.greeting.clone())?,
            labels: settings.labels,
            message_bytes_max: message_bytes.0,
            outbox: OutboxLimits {
                bytes_max: outbox_bytes.0,
                messages_max: within("outbox-messages", settings.outbox_messages, 1..=OUTBOX_MESSAGES_MAX)?,
                slow_after: within("slow-after", settings.slow_after, SPAN_MIN..=SPAN_MAX)?.0,
                policy: settings.slow,
                budget: outbox_budget(&settings)?,
            },
            input,
            keepalive: KeepaliveRules { ping_interval: ping_interval.0, pong_timeout },
            trusted_proxies: lists::networks("trusted-proxies", &settings.trusted_proxies)?,
            probes_until_end: settings.probes_until_end,
            proxy_protocol: proxy_protocol(&settings)?,
            origins: lists::origins(&settings.allowed_origins)?,
            header_timeout: within("header-timeout", settings.header_timeout, SPAN_MIN..=SPAN_MAX)?.0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(change: impl FnOnce(&mut Settings)) -> String {
        let mut settings = Settings { workers: 2, ..Settings::default() };
        change(&mut settings);
        Config::try_from(settings).unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_within_their_rules() {
        let config = Config::try_from(Settings::default()).unwrap();
        assert_eq!(config.shards, config.workers);
        assert_eq!(config.rules.message_bytes_max, 65_536);
        assert_eq!(config.grace, Duration::from_secs(30));
    }

    #[test]
    fn a_value_out_of_its_rule_is_named_with_the_rule() {
        assert_eq!(refused(|settings| settings.workers = 0), "workers 0: 1 to 1024");
        assert_eq!(refused(|settings| settings.shards = Some(2_000)), "shards 2000: 1 to 1024");
        assert_eq!(refused(|settings| settings.message_bytes = Size(0)), "message-bytes 0B: 1B to 16MiB");
        assert_eq!(
            refused(|settings| settings.outbox_bytes = Size(1024)),
            "outbox-bytes 1KiB: 64KiB to 1GiB, at least message-bytes 64KiB"
        );
        assert_eq!(
            refused(|settings| settings.outbox_budget = Size(512 * 1024 - 1)),
            "outbox-budget 524287B: 512KiB to 1024GiB, at least 4 of message-bytes 64KiB for each of workers 2"
        );
        assert_eq!(
            refused(|settings| settings.pong_timeout = SPAN_MIN),
            "pong-timeout 1ms: 1m to 1day, at least twice ping-interval 30s"
        );
        assert_eq!(
            refused(|settings| settings.proxy_protocol = ProxyProtocol::Tcp),
            "proxy-protocol tcp: needs trusted-proxies, the networks of the proxies, as in 10.0.0.0/8"
        );
        assert_eq!(refused(|settings| settings.input_budget = Size(1024)), "input-budget 1KiB: 512KiB to 1024GiB");
        assert_eq!(refused(|settings| settings.idle_timeout.0 *= 10_000), "idle-timeout 6days 22h 40m: 0s to 1day");
        assert_eq!(refused(|settings| settings.slow_after = Span(Duration::ZERO)), "slow-after 0s: 1ms to 1day");
        assert_eq!(
            refused(|settings| settings.greeting = "a\nb".into()),
            r#"greeting "a\nb": one line without control characters"#
        );
    }
}
