//! The rules of single settings, and those between settings.

use std::fmt;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;

use clap::ValueEnum;

use super::{ConfigError, ListenAddress, OUTBOX_BUDGET_MAX, ProxyProtocol, Settings, Size, lists};

pub(super) fn within<T: PartialOrd + fmt::Display>(
    name: &'static str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<T, ConfigError> {
    if range.contains(&value) {
        return Ok(value);
    }
    Err(ConfigError { name, value: value.to_string(), rule: format!("{} to {}", range.start(), range.end()) })
}

/// Zero is no limit.
pub(super) fn limit(name: &'static str, value: u32, max: u32) -> Result<Option<NonZeroU32>, ConfigError> {
    within(name, value, 0..=max).map(NonZeroU32::new)
}

/// In memory, a worker holds a longest message for the clients of each dialect: one that it writes, and the next.
const BUDGET_MESSAGES_MIN: usize = 4;

/// With a smaller share, the clients of a worker would be cut though they read.
pub(super) fn outbox_budget(settings: &Settings) -> Result<usize, ConfigError> {
    let Settings { message_bytes, workers, .. } = settings;
    let min = Size(message_bytes.0 * BUDGET_MESSAGES_MIN * usize::from(*workers));
    let each = format!(
        "at least {BUDGET_MESSAGES_MIN} of {{message-bytes}} {message_bytes} for each of {{workers}} {workers}"
    );
    within("outbox-budget", settings.outbox_budget, min..=OUTBOX_BUDGET_MAX)
        .map(|budget| budget.0)
        .map_err(|error| error.since(each))
}

pub(super) fn proxy_protocol(settings: &Settings) -> Result<ProxyProtocol, ConfigError> {
    let protocol = settings.proxy_protocol;
    if protocol != ProxyProtocol::Off && lists::trimmed(&settings.trusted_proxies).next().is_none() {
        let rule = "needs {trusted-proxies}, the networks of the proxies, as in 10.0.0.0/8";
        let name = protocol.to_possible_value().expect("no value is hidden").get_name().to_owned();
        return Err(ConfigError::new("proxy-protocol", name, rule.into()));
    }
    Ok(protocol)
}

pub(super) fn listen_address(name: &'static str, address: &ListenAddress) -> Result<SocketAddr, ConfigError> {
    let rule = |error| format!("an address of this machine and a port; the name does not resolve: {error}");
    address.resolve().map_err(|error| ConfigError::new(name, address, rule(error)))
}

pub(super) fn one_line(name: &'static str, value: String) -> Result<String, ConfigError> {
    if value.contains(char::is_control) {
        let rule = "one line without control characters".into();
        return Err(ConfigError { name, value: format!("{value:?}"), rule });
    }
    Ok(value)
}
