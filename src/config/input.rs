//! What applies to input: how long a client may take for it, and how much of it is kept.

use std::time::Duration;

use super::settings::Settings;
use super::units::{Size, Span};
use super::{ConfigError, SPAN_MAX, within};

const BUDGET_MAX: Size = Size(1 << 40);

/// What a client's input may take in memory beside twice the longest message: a read, in a vector that has doubled.
const BESIDE_BYTES: usize = 128 * 1024;

/// How long clients may say nothing whole, and what is kept of it. A time that is `None` is no limit.
#[derive(Clone, Copy, Debug)]
pub struct InputRules {
    /// Memory of all input together that is unfinished or not executed yet, in bytes.
    pub budget: usize,
    /// How long a message that was begun may stay unfinished.
    pub message_timeout: Option<Duration>,
    /// How long a line client may stay that has said nothing at all.
    pub idle_timeout: Option<Duration>,
    /// How long a line client is silent before it is written an empty line.
    pub line_keepalive: Option<Duration>,
}

impl InputRules {
    /// The same for one of so many workers, each of which has its share of the budget for itself.
    pub fn of_one_worker(self, workers: u16) -> Self {
        Self { budget: self.budget / usize::from(workers), ..self }
    }

    pub(super) fn of(settings: &Settings, message_bytes: Size) -> Result<Self, ConfigError> {
        // A worker's share holds whatever one client may have begun.
        let budget_min = Size(usize::from(settings.workers) * (2 * message_bytes.0 + BESIDE_BYTES));
        Ok(Self {
            budget: within("input-budget", settings.input_budget, budget_min..=BUDGET_MAX)?.0,
            message_timeout: time("message-timeout", settings.message_timeout)?,
            idle_timeout: time("idle-timeout", settings.idle_timeout)?,
            line_keepalive: time("line-keepalive", settings.line_keepalive)?,
        })
    }
}

/// Zero is no limit.
fn time(name: &'static str, value: Span) -> Result<Option<Duration>, ConfigError> {
    within(name, value, Span(Duration::ZERO)..=SPAN_MAX).map(|Span(time)| (!time.is_zero()).then_some(time))
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::*;

    fn rules(change: impl FnOnce(&mut Settings)) -> Result<InputRules, String> {
        let mut settings = Settings { workers: 2, ..Settings::default() };
        change(&mut settings);
        Config::try_from(settings).map(|config| config.rules.input).map_err(|error| error.to_string())
    }

    #[test]
    fn a_share_of_the_budget_holds_what_one_client_may_have_begun() {
        let refused = rules(|settings| settings.input_budget = Size(1024)).unwrap_err();
        assert_eq!(refused, "input-budget 1KiB: 512KiB to 1024GiB");
        assert!(rules(|settings| settings.input_budget = Size(512 * 1024)).is_ok());
    }

    #[test]
    fn no_time_is_no_limit_and_a_time_is_at_most_a_day() {
        let rules_of = rules(|settings| settings.idle_timeout = Span(Duration::ZERO)).unwrap();
        assert_eq!((rules_of.idle_timeout, rules_of.line_keepalive), (None, None));
        assert_eq!(rules_of.message_timeout, Some(Duration::from_secs(60)));
        let refused = rules(|settings| settings.idle_timeout = Span(Duration::from_secs(90_000))).unwrap_err();
        assert_eq!(refused, "idle-timeout 1day 1h: 0s to 1day");
    }

    #[test]
    fn workers_share_each_budget_and_each_has_the_whole_of_every_other_bound() {
        let rules = Config::try_from(Settings::default()).unwrap().rules;
        let share = rules.outbox.of_one_worker(4);
        assert_eq!((share.budget, share.bytes_max), (64 * 1024 * 1024, rules.outbox.bytes_max));
        let share = rules.input.of_one_worker(4);
        assert_eq!((share.budget, share.message_timeout), (64 * 1024 * 1024, rules.input.message_timeout));
    }
}
