//! A shard without its task: it handles commands, and drops their results. This module measures nothing.

use std::hash::RandomState;
use std::hint::black_box;

use roomcast::broker::{Batch, Now, Shard, ShardCommand};
use roomcast::writer::{Address, Slot, WriterIndex};

use super::{capacity, rules};

/// A shard and its batch.
pub struct BareShard {
    shard: Shard,
    batch: Batch,
    now: Now,
}

impl BareShard {
    /// A shard without rooms.
    pub fn new() -> Self {
        Self { shard: Shard::new(RandomState::new(), capacity(), rules()), batch: Batch::new(1), now: Now::read() }
    }

    pub fn step(&mut self, command: ShardCommand) {
        self.shard.step(self.now, command, &mut self.batch);
    }

    pub fn is_full(&self) -> bool {
        self.batch.is_full()
    }

    pub fn end_batch(&mut self) {
        for (_, entries) in self.batch.take_entries() {
            black_box(entries);
        }
        self.batch.acknowledge();
    }
}

/// The address of a client of the only writer.
pub fn address(index: u32) -> Address {
    Address { writer: WriterIndex(0), slot: Slot { index, generation: 0 } }
}
