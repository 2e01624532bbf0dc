//! Counters of the questions to the application.

use std::sync::Arc;
use std::time::Duration;

use strum::{EnumCount, IntoStaticStr, VariantArray};

use super::Hook;
use crate::metrics::{Counter, Exposition, Histogram};
use crate::stats::Unanswered;

/// What came of a question. The metric label is the variant's name in kebab case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub(super) enum Outcome {
    Allowed,
    Refused,
    /// There was no answer, or one that breaks a rule.
    Failed,
    Timeout,
    /// The application was not asked, since too many others were waiting.
    Overloaded,
    /// The application was not asked, after many failures.
    CircuitOpen,
    /// An earlier decision was repeated.
    Cached,
}

/// The counters of one worker's questions, on cache lines of their own: no two workers write to one.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct HookMetrics {
    questions: [[Counter; Outcome::COUNT]; Hook::COUNT],
    times: Histogram,
    pub(super) in_flight: Counter,
}

impl HookMetrics {
    pub(super) fn count(&self, hook: Hook, outcome: Outcome) {
        self.questions[hook as usize][outcome as usize].add(1);
    }

    /// Counts the time of a question that was sent, from its wish to its end.
    pub(super) fn record(&self, time: Duration) {
        self.times.record(time, 1);
    }

    /// The questions of all workers that have had no answer.
    pub fn unanswered(all: &[Arc<Self>]) -> Unanswered {
        let sum =
            |outcome: Outcome| all.iter().flat_map(|one| &one.questions).map(|one| one[outcome as usize].get()).sum();
        let failed = [Outcome::Failed, Outcome::Timeout, Outcome::Overloaded].map(&sum).iter().sum();
        Unanswered { failed, circuit_open: sum(Outcome::CircuitOpen) }
    }

    /// Appends the counts of all workers.
    pub fn expose(all: &[Arc<Self>], out: &mut Exposition) {
        let labels = |hook: Hook, outcome: Outcome| {
            let word: &str = outcome.into();
            format!("hook=\"{}\",outcome=\"{word}\"", hook.word())
        };
        let sum = |hook: Hook, outcome: Outcome| {
            all.iter().map(|one| one.questions[hook as usize][outcome as usize].get()).sum::<u64>()
        };
        let pairs =
            Hook::VARIANTS.iter().flat_map(|&hook| Outcome::VARIANTS.iter().map(move |&outcome| (hook, outcome)));
        out.counters(
            "roomcast_hook_requests_total",
            "Questions to the application, by outcome: allowed, refused, failed (no answer or a wrong one), timeout, \
             overloaded (not asked for want of a permit in time), \
             circuit-open (not asked after many failures), cached (not asked again).",
            pairs.map(|(hook, outcome)| (labels(hook, outcome), sum(hook, outcome))),
        );
        out.histogram(
            "roomcast_hook_seconds",
            "Time in seconds of a question that was sent to the application, from its wait for a permit to its end.",
            all.iter().map(|one| &one.times),
        );
        let in_flight = all.iter().map(|one| one.in_flight.get()).sum();
        out.gauge("roomcast_hooks_in_flight", "Questions that the application has not answered yet.", in_flight);
    }
}
