//! The rule of each setting, and the rules between settings: [`Settings`] become a [`Config`].

use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU32};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use clap::ValueEnum;

use super::cluster::cluster;
use super::hooks::hooks;
use super::rules::room_rules;
use super::{
    AccessRules, AddressLimits, Config, ConfigError, DeliveryLimits, HistoryLimits, HookPolicy, HttpLimits, InputRules,
    KeepaliveRules, LimitsOfRoom, ListenAddress, OutboxLimits, ProxyProtocol, Rules, Settings, Size, Span, TlsPorts,
    TlsRules, TokenRules, Who, hosts,
};

const WORKERS_MAX: u16 = 1_024;
const MESSAGE_BYTES_MAX: Size = Size(16 * 1024 * 1024);
const DEFLATE_BYTES_MAX: Size = Size(u16::MAX as usize);
const OUTBOX_BYTES_MAX: Size = Size(1024 * 1024 * 1024);
const OUTBOX_MESSAGES_MAX: usize = 1 << 20;
pub(super) const BUDGET_MAX: Size = Size(1 << 40);
const CLIENTS_MAX: usize = 1 << 24;
const ROOMS_PER_CLIENT_MAX: usize = 1 << 16;
const HISTORY_MESSAGES_MAX: usize = 1 << 20;
const PER_ADDRESS_MAX: u32 = 1 << 20;
const DELIVERIES_MAX: u32 = 1 << 30;
const BACKLOG_MAX: u32 = 1 << 20;
/// A client over its rate of deliveries is not read for this long, and then refused.
const PAUSE_MAX: Duration = Duration::from_secs(5);
const SPAN_MIN: Span = Span(Duration::from_millis(1));
const HISTORY_AGE_MIN: Span = Span(Duration::from_secs(1));
const LEEWAY_MAX: Span = Span(Duration::from_secs(10 * 60));
const SPAN_MAX: Span = Span(Duration::from_secs(24 * 60 * 60));

/// A worker holds the longest message twice for the clients of each dialect: the one that it writes, and the next. With
/// a smaller share of the outbox budget its clients would be cut though they read.
const OUTBOX_MESSAGES_MIN: usize = 4;

/// Memory for the input of a client besides twice the longest message, which is longer by an eighth where compression does
/// not help: one read, in a vector that has doubled.
const INPUT_READ_BYTES: usize = 128 * 1024;

/// More than the memory of a room that retains one message, beside the message.
const REMEMBERED_ROOM_BYTES: Size = Size(4 * 1024);

impl TryFrom<Settings> for Config {
    type Error = ConfigError;

    fn try_from(settings: Settings) -> Result<Self, ConfigError> {
        let workers = threads("workers", settings.workers)?;
        let shards = threads("shards", settings.shards.unwrap_or(settings.workers))?;
        let access = access(&settings)?;
        Ok(Self {
            tcp: resolved("tcp", &settings.tcp)?,
            http: resolved("http", &settings.http)?,
            workers,
            shards,
            max_clients: settings.max_clients.map(|count| within("max-clients", count, 1..=CLIENTS_MAX)).transpose()?,
            per_address: AddressLimits {
                clients_max: limit("clients-per-address", settings.clients_per_address, PER_ADDRESS_MAX)?,
                connects_per_second: limit("connects-per-address", settings.connects_per_address, PER_ADDRESS_MAX)?,
            },
            rooms_max: within("rooms", settings.rooms, 1..=CLIENTS_MAX)?,
            history: history(&settings, shards)?,
            presence_events_members_max: within(
                "presence-events-members",
                settings.presence_events_members,
                0..=CLIENTS_MAX,
            )?,
            descriptor_tables: settings.descriptor_tables,
            backlog: within("backlog", settings.backlog, 1..=BACKLOG_MAX)?,
            drain_delay: within("drain-delay", settings.drain_delay, Span(Duration::ZERO)..=SPAN_MAX)?.0,
            drain_spread: within("drain-spread", settings.drain_spread, Span(Duration::ZERO)..=SPAN_MAX)?.0,
            grace: within("grace", settings.grace, Span(Duration::ZERO)..=SPAN_MAX)?.0,
            ready_file: settings.ready_file.clone(),
            tls: tls(&settings)?,
            hooks: hooks(&settings.hooks)?,
            cluster: cluster(&settings, &access)?,
            access,
            rules: Rules::try_from(settings)?,
        })
    }
}

impl TryFrom<Settings> for Rules {
    type Error = ConfigError;

    fn try_from(settings: Settings) -> Result<Self, ConfigError> {
        let message_bytes = message_bytes(&settings)?;
        let keepalive = keepalive(&settings)?;
        let burst = within("deliveries-burst", settings.deliveries_burst, 1..=DELIVERIES_MAX)?;
        let per_second = limit("deliveries-per-second", settings.deliveries_per_second, DELIVERIES_MAX)?;
        // The server does not hear a client that it does not read, and must not cut it for its silence.
        let pause_max = PAUSE_MAX.min(keepalive.pong_timeout / 2);
        Ok(Self {
            labels: settings.labels,
            message_bytes_max: message_bytes.0,
            deflate_bytes_min: deflate_bytes(settings.deflate_bytes)?,
            rooms_per_client_max: within("rooms-per-client", settings.rooms_per_client, 1..=ROOMS_PER_CLIENT_MAX)?,
            deliveries: per_second.map(|per_second| DeliveryLimits { per_second, burst, pause_max }),
            outbox: outbox(&settings)?,
            input: input(&settings)?,
            keepalive,
            header_timeout: within("header-timeout", settings.header_timeout, SPAN_MIN..=SPAN_MAX)?.0,
            probes_until_end: settings.probes_until_end,
            http: HttpLimits {
                idle_time: time("http-idle-time", settings.http_idle_time)?,
                connection_time: time("http-connection-time", settings.http_connection_time)?,
                hosts: hosts::host_names("hosts", &settings.hosts)?,
            },
            pages: settings.pages,
            origins: hosts::origins("allowed-origins", &settings.allowed_origins)?,
            trusted_proxies: hosts::networks("trusted-proxies", &settings.trusted_proxies)?,
            proxy_protocol: proxy_protocol(&settings)?,
            greeting: one_line("greeting", settings.greeting)?,
        })
    }
}

/// Workers or shards.
fn threads(name: &'static str, count: usize) -> Result<u16, ConfigError> {
    let count = within(name, count, 1..=usize::from(WORKERS_MAX))?;
    Ok(u16::try_from(count).expect("the range is one of u16"))
}

fn message_bytes(settings: &Settings) -> Result<Size, ConfigError> {
    within("message-bytes", settings.message_bytes, Size(1)..=MESSAGE_BYTES_MAX)
}

fn deflate_bytes(size: Size) -> Result<Option<NonZeroU16>, ConfigError> {
    let Size(bytes) = within("deflate-bytes", size, Size(0)..=DEFLATE_BYTES_MAX)?;
    Ok(u16::try_from(bytes).ok().and_then(NonZeroU16::new))
}

fn history(settings: &Settings, shards: u16) -> Result<HistoryLimits, ConfigError> {
    let message_bytes = message_bytes(settings)?;
    let of_rules = settings.rules.iter().filter_map(|rule| rule.history_messages);
    let is_off = of_rules.chain([settings.history_messages]).all(|messages| messages == 0);
    // With less, a shard would drop a long message at once.
    let share_min = if is_off { 0 } else { message_bytes.0 + REMEMBERED_ROOM_BYTES.0 };
    let budget_min = Size(usize::from(shards) * share_min);
    let budget = within("history-budget", settings.history_budget, budget_min..=BUDGET_MAX).map_err(|error| {
        let each = format!("{{message-bytes}} {message_bytes} and {REMEMBERED_ROOM_BYTES}");
        error.because(&format!("at least {each} for each of {{shards}} {shards}"))
    })?;
    let recovery_messages_max = within("recovery-messages", settings.recovery_messages, 0..=HISTORY_MESSAGES_MAX)?;
    Ok(HistoryLimits {
        budget: budget.0,
        // More would make a slow consumer of the client that they are sent to.
        recovery_messages_max: recovery_messages_max.min(settings.outbox_messages),
    })
}

pub(super) fn history_messages(count: usize) -> Result<usize, ConfigError> {
    within("history-messages", count, 0..=HISTORY_MESSAGES_MAX)
}

pub(super) fn history_age(age: Span) -> Result<Duration, ConfigError> {
    within("history-age", age, HISTORY_AGE_MIN..=SPAN_MAX).map(|Span(age)| age)
}

pub(super) fn room_members(count: usize) -> Result<usize, ConfigError> {
    within("room-members", count, 1..=CLIENTS_MAX)
}

fn access(settings: &Settings) -> Result<AccessRules, ConfigError> {
    let default = LimitsOfRoom {
        members_max: room_members(settings.room_members)?,
        history_messages_max: history_messages(settings.history_messages)?,
        history_age_max: history_age(settings.history_age)?,
        presence_events: settings.presence_events,
        joined_by: Who::Anyone,
    };
    Ok(AccessRules {
        rooms: room_rules(&settings.rules, default)?,
        default_limits: default,
        anonymous: settings.anonymous,
        tokens: TokenRules {
            secret_files: settings.token_secret_file.iter().map(PathBuf::from).collect(),
            public_key_files: settings.token_public_key_file.iter().map(PathBuf::from).collect(),
            jwks_files: settings.token_jwks_file.iter().map(PathBuf::from).collect(),
            issuer: settings.token_issuer.clone(),
            audience: settings.token_audience.clone(),
            leeway: within("token-leeway", settings.token_leeway, Span(Duration::ZERO)..=LEEWAY_MAX)?.0,
        },
        has_connect_hook: settings.hooks.hook_connect != HookPolicy::Off,
        token_grace: within("token-grace", settings.token_grace, Span(Duration::ZERO)..=SPAN_MAX)?.0,
        token_in_query: settings.token_in_query,
        api_keys_file: settings.api_keys_file.clone(),
    })
}

fn tls(settings: &Settings) -> Result<Option<TlsRules>, ConfigError> {
    let ports = settings.tls;
    let value = ports.to_possible_value().expect("no value is hidden");
    let wrong = |rule| Err(ConfigError::new("tls", value.get_name(), rule));
    match (ports, &settings.tls_cert, &settings.tls_key) {
        (TlsPorts::Off, None, None) => Ok(None),
        (TlsPorts::Off, ..) => wrong("{tls-cert} and {tls-key} are used with tcp, http or both"),
        (_, Some(certificate), Some(key)) => {
            Ok(Some(TlsRules { ports, certificate: certificate.clone(), key: key.clone() }))
        }
        _ => wrong("needs {tls-cert} and {tls-key}, the PEM files of the certificate and of its private key"),
    }
}

fn outbox(settings: &Settings) -> Result<OutboxLimits, ConfigError> {
    let Settings { message_bytes, workers, .. } = settings;
    let budget_min = Size(message_bytes.0 * OUTBOX_MESSAGES_MIN * workers);
    // Any client whose socket refuses one message would pass a smaller bound.
    let bytes_max = within("outbox-bytes", settings.outbox_bytes, *message_bytes..=OUTBOX_BYTES_MAX)
        .map_err(|error| error.because(&format!("at least {{message-bytes}} {message_bytes}")))?;
    let budget = within("outbox-budget", settings.outbox_budget, budget_min..=BUDGET_MAX).map_err(|error| {
        let each = format!("{{message-bytes}} {message_bytes} for each of {{workers}} {workers}");
        error.because(&format!("at least {OUTBOX_MESSAGES_MIN} of {each}"))
    })?;
    Ok(OutboxLimits {
        bytes_max: bytes_max.0,
        messages_max: within("outbox-messages", settings.outbox_messages, 1..=OUTBOX_MESSAGES_MAX)?,
        slow_after: within("slow-after", settings.slow_after, SPAN_MIN..=SPAN_MAX)?.0,
        policy: settings.slow,
        budget: budget.0,
    })
}

fn input(settings: &Settings) -> Result<InputRules, ConfigError> {
    // The share of a worker holds the longest input of one client.
    let budget_min = Size(settings.workers * (settings.message_bytes.0 * 9 / 4 + INPUT_READ_BYTES));
    Ok(InputRules {
        budget: within("input-budget", settings.input_budget, budget_min..=BUDGET_MAX)?.0,
        message_timeout: time("message-timeout", settings.message_timeout)?,
        idle_timeout: time("idle-timeout", settings.idle_timeout)?,
        line_keepalive: time("line-keepalive", settings.line_keepalive)?,
    })
}

fn keepalive(settings: &Settings) -> Result<KeepaliveRules, ConfigError> {
    let interval = within("ping-interval", settings.ping_interval, SPAN_MIN..=SPAN_MAX)?;
    // A ping and its pong need their time, or a client is cut for a silence that it did not choose.
    let timeout = within("pong-timeout", settings.pong_timeout, Span(interval.0 * 2)..=SPAN_MAX)
        .map_err(|error| error.because(&format!("at least twice {{ping-interval}} {interval}")))?;
    Ok(KeepaliveRules { ping_interval: interval.0, pong_timeout: timeout.0 })
}

fn proxy_protocol(settings: &Settings) -> Result<ProxyProtocol, ConfigError> {
    let protocol = settings.proxy_protocol;
    if protocol != ProxyProtocol::Off && settings.trusted_proxies.is_empty() {
        let rule = "needs {trusted-proxies}, the networks of the proxies, as in 10.0.0.0/8";
        let value = protocol.to_possible_value().expect("no value is hidden");
        return Err(ConfigError::new("proxy-protocol", value.get_name(), rule));
    }
    Ok(protocol)
}

fn resolved(name: &'static str, address: &ListenAddress) -> Result<SocketAddr, ConfigError> {
    address.resolve().map_err(|error| {
        let rule = format!("an address of this machine and a port; the name does not resolve: {error}");
        ConfigError::new(name, address, rule)
    })
}

fn one_line(name: &'static str, value: String) -> Result<String, ConfigError> {
    if value.contains(char::is_control) {
        return Err(ConfigError::new(name, format_args!("{value:?}"), "one line without control characters"));
    }
    Ok(value)
}

/// A count; zero is no limit.
fn limit(name: &'static str, value: u32, max: u32) -> Result<Option<NonZeroU32>, ConfigError> {
    within(name, value, 0..=max).map(NonZeroU32::new)
}

/// A time; zero is no limit.
fn time(name: &'static str, value: Span) -> Result<Option<Duration>, ConfigError> {
    within(name, value, Span(Duration::ZERO)..=SPAN_MAX).map(|Span(time)| (!time.is_zero()).then_some(time))
}

pub(super) fn within<T: PartialOrd + fmt::Display>(
    name: &'static str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<T, ConfigError> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(ConfigError::new(name, value, format!("{} to {}", range.start(), range.end())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::RuleSettings;

    fn refused(change: impl FnOnce(&mut Settings)) -> String {
        let mut settings = Settings { workers: 2, ..Settings::default() };
        change(&mut settings);
        Config::try_from(settings).unwrap_err().to_string()
    }

    #[test]
    fn the_defaults_are_within_their_rules_and_workers_share_the_budgets_alone() {
        let config = Config::try_from(Settings::default()).unwrap();
        assert_eq!(config.shards, config.workers);
        let Rules { outbox, input, .. } = config.rules;
        assert_eq!(outbox.of_one_worker(4).budget, 64 * 1024 * 1024);
        assert_eq!(outbox.of_one_worker(4).bytes_max, outbox.bytes_max);
        let history = config.history.of_one_shard(4);
        assert_eq!((history.budget, history.recovery_messages_max), (64 * 1024 * 1024, 300));
        let room = config.access.default_limits;
        assert_eq!((room.history_messages_max, room.history_age_max), (100, Duration::from_secs(600)));
        assert_eq!(input.of_one_worker(4).budget, 64 * 1024 * 1024);
        assert_eq!(input.of_one_worker(4).message_timeout, Some(Duration::from_secs(60)));
    }

    #[test]
    fn a_value_out_of_its_rule_is_named_with_the_rule() {
        assert_eq!(refused(|settings| settings.workers = 0), "workers 0: 1 to 1024");
        assert_eq!(refused(|settings| settings.shards = Some(2_000)), "shards 2000: 1 to 1024");
        assert_eq!(refused(|settings| settings.message_bytes = Size(0)), "message-bytes 0B: 1B to 16MiB");
        let largest = Size(usize::MAX);
        assert_eq!(
            refused(|settings| settings.message_bytes = largest),
            format!("message-bytes {largest}: 1B to 16MiB")
        );
        assert_eq!(
            refused(|settings| settings.outbox_bytes = Size(1024)),
            "outbox-bytes 1KiB: 64KiB to 1GiB, at least message-bytes 64KiB"
        );
        assert_eq!(
            refused(|settings| settings.outbox_budget = Size(512 * 1024 - 1)),
            "outbox-budget 524287B: 512KiB to 1024GiB, at least 4 of message-bytes 64KiB for each of workers 2"
        );
        assert_eq!(
            refused(|settings| settings.history_budget = Size(136 * 1024 - 1)),
            "history-budget 139263B: 136KiB to 1024GiB, at least message-bytes 64KiB and 4KiB for each of shards 2"
        );
        assert_eq!(refused(|settings| settings.history_age = SPAN_MIN), "history-age 1ms: 1s to 1day");
        assert_eq!(refused(|settings| settings.rooms_per_client = 0), "rooms-per-client 0: 1 to 65536");
        assert_eq!(
            refused(|settings| settings.pong_timeout = SPAN_MIN),
            "pong-timeout 1ms: 1m to 1day, at least twice ping-interval 30s"
        );
        assert_eq!(
            refused(|settings| settings.proxy_protocol = ProxyProtocol::Tcp),
            "proxy-protocol tcp: needs trusted-proxies, the networks of the proxies, as in 10.0.0.0/8"
        );
        assert_eq!(refused(|settings| settings.input_budget = Size(1024)), "input-budget 1KiB: 544KiB to 1024GiB");
        assert_eq!(refused(|settings| settings.deflate_bytes = Size(65_536)), "deflate-bytes 64KiB: 0B to 65535B");
        assert_eq!(refused(|settings| settings.idle_timeout.0 *= 10_000), "idle-timeout 6days 22h 40m: 0s to 1day");
        assert_eq!(refused(|settings| settings.slow_after = Span(Duration::ZERO)), "slow-after 0s: 1ms to 1day");
        assert_eq!(
            refused(|settings| settings.greeting = "a\nb".into()),
            r#"greeting "a\nb": one line without control characters"#
        );
    }

    #[test]
    fn a_rule_does_not_keep_a_secret_from_members_that_it_tells_them() {
        let rule = RuleSettings { presence: Some(Who::User), ..RuleSettings::new("a", Who::Anyone) };
        let with = |rule: RuleSettings, presence_events| {
            Config::try_from(Settings { rules: vec![rule], presence_events, ..Settings::default() })
        };
        assert!(with(rule.clone(), false).is_ok());
        assert!(with(RuleSettings { presence_events: Some(false), ..rule.clone() }, true).is_ok());
        assert!(with(RuleSettings { join: Who::User, ..rule.clone() }, true).is_ok());
        let error = with(rule, true).unwrap_err().to_string();
        assert!(error.starts_with(r#"rule "a": presence keeps from some members who is in"#), "{error}");
    }

    #[test]
    fn without_history_its_budget_may_be_anything() {
        let settings = Settings { history_messages: 0, history_budget: Size(0), ..Settings::default() };
        assert_eq!(Config::try_from(settings).unwrap().access.default_limits.history_messages_max, 0);
    }

    #[test]
    fn no_time_is_no_limit() {
        let zero = Span(Duration::ZERO);
        let settings =
            Settings { idle_timeout: zero, http_idle_time: zero, http_connection_time: zero, ..Settings::default() };
        let rules = Config::try_from(settings).unwrap().rules;
        assert_eq!((rules.input.idle_timeout, rules.http.idle_time, rules.http.connection_time), (None, None, None));
    }
}
