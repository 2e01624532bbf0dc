//! What a shard counts.

use crate::metrics::{Counter, Exposition, Histogram};

/// The counts of one shard, on cache lines of their own: two workers are not to write to one.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct ShardMetrics {
    pub(super) published: Counter,
    pub(super) rooms: Counter,
    pub(super) mailbox_commands: Counter,
    /// From the read of a message until all its writers have it.
    pub(super) fanned_out: Histogram,
}

impl ShardMetrics {
    /// All shards together.
    pub fn expose(all: &[impl AsRef<Self>], out: &mut Exposition) {
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
    }

    /// MessageDecoder published, over all shards.
    pub fn published(all: &[impl AsRef<Self>]) -> u64 {
        all.iter().map(|one| one.as_ref().published.get()).sum()
    }

    /// Rooms with members, over all shards.
    pub fn rooms(all: &[impl AsRef<Self>]) -> u64 {
        all.iter().map(|one| one.as_ref().rooms.get()).sum()
    }
}
