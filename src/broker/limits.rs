//! The limits of rooms by their rules, and how rooms that exist get other ones when the rules change.

use std::mem;
use std::sync::Arc;

use super::history::RECLAIM_STEPS_MAX;
use super::now::Now;
use super::shard::Shard;
use crate::auth::rules::RoomRules;
use crate::config::{Config, HistoryLimits, LimitsOfRoom};
use crate::protocol::names::RoomName;

/// The steps of [`RECLAIM_STEPS_MAX`] that finding the rule of a room counts as.
const RULE_STEPS: usize = 16;

/// What holds for all rooms of a shard.
#[derive(Clone, Debug)]
pub struct ShardRules {
    /// The longest list that a client gets, in bytes.
    pub message_bytes_max: usize,
    /// What the rooms of one shard remember.
    pub history: HistoryLimits,
    /// The most bytes of publications that a client gets at once: no more than may be pending for it.
    pub replay_bytes_max: usize,
    /// Members of a room above which they are told their number instead of who joins and leaves.
    pub presence_events_members_max: usize,
    /// The rules at the start, from which the limits of each room follow.
    pub rooms: Arc<RoomRules>,
}

impl From<&Config> for ShardRules {
    fn from(config: &Config) -> Self {
        Self {
            message_bytes_max: config.rules.message_bytes_max,
            history: config.history.of_one_shard(config.shards),
            replay_bytes_max: config.rules.outbox.bytes_max,
            presence_events_members_max: config.presence_events_members_max,
            rooms: Arc::new(RoomRules::from(&config.access)),
        }
    }
}

/// The limits of a shard's rooms. Rooms with equal limits share one copy, so that a room needs eight bytes for them.
#[derive(Debug)]
pub(super) struct RuledLimits {
    rules: Arc<RoomRules>,
    shared: Vec<Arc<LimitsOfRoom>>,
    /// Rooms that were created under earlier rules, and whose limits were not looked up again yet.
    outdated: Vec<RoomName>,
}

impl RuledLimits {
    pub fn new(rules: Arc<RoomRules>) -> Self {
        Self { rules, shared: Vec::new(), outdated: Vec::new() }
    }

    /// The limits of a room by the newest rules. Linear in the rules.
    pub fn of(&mut self, room: &RoomName) -> Arc<LimitsOfRoom> {
        let limits = self.rules.limits_of(room);
        if let Some(shared) = self.shared.iter().find(|shared| ***shared == limits) {
            return Arc::clone(shared);
        }
        self.shared.push(Arc::new(limits));
        Arc::clone(&self.shared[self.shared.len() - 1])
    }

    /// Whether rooms still have limits by earlier rules.
    pub fn have_outdated(&self) -> bool {
        !self.outdated.is_empty()
    }

    /// The memory of the list of outdated rooms, in bytes.
    pub fn bytes(&self) -> usize {
        self.outdated.capacity() * mem::size_of::<RoomName>()
    }

    /// Applies other rules to rooms that are created from now on. `rooms` are those that exist.
    fn replace(&mut self, rules: Arc<RoomRules>, rooms: impl Iterator<Item = RoomName>) {
        self.rules = rules;
        self.shared.retain(|shared| Arc::strong_count(shared) > 1);
        self.outdated = rooms.collect();
    }

    fn next_outdated(&mut self) -> Option<RoomName> {
        let room = self.outdated.pop();
        if self.outdated.is_empty() {
            self.outdated = Vec::new();
        }
        room
    }
}

impl Shard {
    /// Applies other rules: to new rooms and to some of the others at once, to the rest in sweeps, so that no message
    /// waits for a walk over all rooms.
    pub(super) fn apply_rules(&mut self, now: Now, rules: Arc<RoomRules>) {
        self.limits.replace(rules, self.rooms.keys().cloned());
        if let Some(cluster) = &mut self.cluster {
            // What they let a room retain was dropped until now.
            cluster.raise_horizon(cluster.position());
        }
        self.continue_sweep(now);
    }

    /// Gives some of the rooms that were created under earlier rules their new limits. Members above a new limit stay, and
    /// messages above it are dropped. True if there are more rooms.
    pub(super) fn update_limits(&mut self) -> bool {
        if self.limits.have_outdated() {
            self.invalidate_listings();
        }
        let mut steps_left = RECLAIM_STEPS_MAX;
        while steps_left > 0
            && let Some(name) = self.limits.next_outdated()
        {
            steps_left = steps_left.saturating_sub(RULE_STEPS);
            let Some(room) = self.rooms.get_mut(&name) else { continue };
            let dropped = self.history.change_limits(&name, &mut room.log, self.limits.of(&name));
            steps_left = steps_left.saturating_sub(dropped);
            self.remove_unused(&name);
        }
        self.limits.have_outdated()
    }
}
