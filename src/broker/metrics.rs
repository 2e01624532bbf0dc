//! The metrics of a shard.

use super::history::Evicted;
use super::log::Retained;
use super::shard::Recoveries;
use crate::metrics::{Counter, Exposition, Histogram};

/// The metrics of one shard, on cache lines of their own, so that two workers never write to the same one.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ShardMetrics {
    pub(super) published: Counter,
    pub(super) rooms: Counter,
    pub(super) mailbox_commands: Counter,
    /// From the read of a message until every writer with members has it.
    pub(super) fanned_out: Histogram,
    /// What rooms retain.
    history_messages: Counter,
    history_bytes: Counter,
    /// By the limit that they exceeded.
    evicted_count: Counter,
    evicted_age: Counter,
    evicted_budget: Counter,
    /// Joins with a position.
    recovered: Counter,
    unrecovered: Counter,
}

impl ShardMetrics {
    /// Sets what the rooms of the shard remember, and what came of it so far.
    pub(super) fn count_history(&self, retained: Retained, evicted: Evicted, recoveries: Recoveries) {
        self.history_messages.set(retained.messages as u64);
        self.history_bytes.set(retained.bytes as u64);
        self.evicted_count.set(evicted.count);
        self.evicted_age.set(evicted.age);
        self.evicted_budget.set(evicted.budget);
        self.recovered.set(recoveries.recovered);
        self.unrecovered.set(recoveries.unrecovered);
    }

    /// Appends the metrics of all shards.
    pub(crate) fn expose(all: &[impl AsRef<Self>], out: &mut Exposition) {
        out.gauges(
            "roomcast_shard_mailbox_commands",
            "Commands that waited in the mailbox of a shard when it took its newest batch; a number that stays high means that the \
             shard cannot keep up.",
            all.iter()
                .enumerate()
                .map(|(shard, one)| (format!("shard=\"{shard}\""), one.as_ref().mailbox_commands.get())),
        );
        out.histogram(
            "roomcast_fan_out_seconds",
            "Seconds from the read of a message off its sender's socket until every worker with members of its room has it.",
            all.iter().map(|one| &one.as_ref().fanned_out),
        );
        Self::expose_history(all, out);
    }

    fn expose_history(all: &[impl AsRef<Self>], out: &mut Exposition) {
        let sum = |counter: fn(&Self) -> &Counter| all.iter().map(|one| counter(one.as_ref()).get()).sum();
        out.gauge(
            "roomcast_history_messages",
            "Messages that rooms retain for clients that come back.",
            sum(|one| &one.history_messages),
        );
        out.gauge(
            "roomcast_history_bytes",
            "Bytes of memory for what rooms retain, which history-budget limits.",
            sum(|one| &one.history_bytes),
        );
        let evicted = [
            ("reason=\"count\"", sum(|one| &one.evicted_count)),
            ("reason=\"age\"", sum(|one| &one.evicted_age)),
            ("reason=\"budget\"", sum(|one| &one.evicted_budget)),
        ];
        out.counters(
            "roomcast_history_evicted_total",
            "Messages that rooms retain no more, by the limit that they exceeded: history-messages, history-age or \
             history-budget.",
            evicted.map(|(labels, value)| (labels.to_owned(), value)),
        );
        let recoveries = [
            ("outcome=\"recovered\"", sum(|one| &one.recovered)),
            ("outcome=\"unrecovered\"", sum(|one| &one.unrecovered)),
        ];
        out.counters(
            "roomcast_recoveries_total",
            "Joins with a position: recovered ones got everything that was missed, the others were told that they cannot.",
            recoveries.map(|(labels, value)| (labels.to_owned(), value)),
        );
    }

    /// Bytes of memory for what rooms retain.
    pub(crate) fn history_bytes(all: &[impl AsRef<Self>]) -> u64 {
        all.iter().map(|one| one.as_ref().history_bytes.get()).sum()
    }

    /// The number of messages published to all shards.
    pub(crate) fn published(all: &[impl AsRef<Self>]) -> u64 {
        all.iter().map(|one| one.as_ref().published.get()).sum()
    }

    /// The number of rooms with members in all shards.
    pub(crate) fn rooms(all: &[impl AsRef<Self>]) -> u64 {
        all.iter().map(|one| one.as_ref().rooms.get()).sum()
    }
}
