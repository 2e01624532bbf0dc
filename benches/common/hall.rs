//! A shard without its task: commands in, and what they lead to thrown away. Measures nothing.

use std::hash::RandomState;
use std::hint::black_box;

use roomcast::broker::{Batch, Shard, ShardCommand};
use roomcast::writer::{Address, Slot, WriterIndex};

use super::capacity;

/// The shard and its batch.
pub struct Hall {
    shard: Shard,
    batch: Batch,
}

impl Hall {
    /// Without rooms.
    pub fn new() -> Self {
        Self { shard: Shard::new(RandomState::new(), capacity()), batch: Batch::new(1) }
    }

    pub fn step(&mut self, command: ShardCommand) {
        self.shard.step(command, &mut self.batch);
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

/// Of a client on the one writer.
pub fn address(index: u32) -> Address {
    Address { writer: WriterIndex(0), slot: Slot { index, generation: 0 } }
}
