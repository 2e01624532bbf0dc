//! The task of one shard: receives commands, has them handled in batches and hands the batches to the writers. Decides
//! nothing, and never waits for one writer where another could go on.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::{SelectAll, select_all};
use tokio::sync::futures::OwnedNotified;
use tokio::task::yield_now;

use super::batch::Batch;
use super::command::{Ack, ShardCommand};
use super::handle::ShardMailbox;
use super::metrics::ShardMetrics;
use super::shard::Shard;
use crate::fault;
use crate::memory::{MemoryShare, MemoryUse};
use crate::writer::WriterIndex;
use crate::writer::handle::BatchSender;

/// About what a room takes in memory beside its members.
const ROOM_BYTES: usize = 1_000;

/// Commands that are looked at for one batch, whether they are handled or wait.
const SORTED_COMMANDS_MAX: usize = 4_096;

/// The task of one shard.
pub struct ShardTask {
    shard: Shard,
    mailbox: ShardMailbox,
    mailbox_open: bool,
    /// By `WriterIndex`.
    writers: Vec<BatchSender>,
    /// Ready when a writer has made room. There is one while commands wait and none of them could go at the last look.
    freed: Option<SelectAll<Pin<Box<OwnedNotified>>>>,
    metrics: Arc<ShardMetrics>,
    memory: MemoryShare,
}

impl ShardTask {
    /// A shard without rooms, told through `mailbox`.
    pub fn new(
        mailbox: ShardMailbox,
        writers: Vec<BatchSender>,
        metrics: Arc<ShardMetrics>,
        memory: &MemoryUse,
    ) -> Self {
        let shard = Shard::new(mailbox.keys(), mailbox.room_limiter());
        Self { shard, mailbox, mailbox_open: true, writers, freed: None, metrics, memory: memory.part() }
    }

    /// Works until every handle is gone, the mailbox is empty and nothing waits for a writer.
    pub async fn run(mut self) {
        let mut batch = Batch::new(self.writers.len());
        while self.begin(&mut batch).await {
            fault::inject("shard");
            self.fill(&mut batch);
            // Told before the writers are.
            self.metrics.mailbox_commands.set(self.mailbox.waiting() as u64);
            for (writer, entries) in batch.take_entries() {
                self.writers[usize::from(writer.0)].deliver(entries).await;
            }
            batch.take_acks().for_each(Ack::fire);
            self.count(&mut batch);
            yield_now().await;
        }
    }

    /// Waits until there is something to do. False when nothing ever will be.
    async fn begin(&mut self, batch: &mut Batch) -> bool {
        if !self.shard.is_waiting() {
            self.freed = None;
            match self.mailbox.next().await {
                Some(command) => self.handle(command, batch),
                None => self.mailbox_open = false,
            }
            return self.mailbox_open;
        }
        if self.freed.is_none() {
            // Made before the look, so that nothing is missed between the look and the wait.
            let freed = select_all(self.writers.iter().map(|writer| Box::pin(writer.load().freed())));
            if let Some(command) = self.shard.next_waiting(has_room(&self.writers, batch)) {
                self.shard.step(command, batch);
                return true;
            }
            self.freed = Some(freed);
        }
        let freed = self.freed.as_mut().expect("it was made");
        tokio::select! {
            command = self.mailbox.next(), if self.mailbox_open => match command {
                Some(command) => self.handle(command, batch),
                None => self.mailbox_open = false,
            },
            _ = freed => self.freed = None,
        }
        true
    }

    /// Handles what can be had without waiting, until the batch is full: by turns what has waited and what comes now, so that
    /// neither holds up the other. What has waited is looked at only if a writer may have made room since the last look.
    fn fill(&mut self, batch: &mut Batch) {
        let mut sorted = 0;
        let mut may_go_on = self.freed.is_none();
        while !batch.is_full() && sorted < SORTED_COMMANDS_MAX {
            let waited = if may_go_on && self.shard.is_waiting() {
                self.shard.next_waiting(has_room(&self.writers, batch))
            } else {
                None
            };
            may_go_on = waited.is_some();
            waited.into_iter().for_each(|command| self.shard.step(command, batch));
            match self.mailbox.try_next() {
                Some(command) => self.handle(command, batch),
                None if !may_go_on => return,
                None => {}
            }
            sorted += 1;
        }
    }

    /// Handles a command or lets it wait.
    fn handle(&mut self, command: ShardCommand, batch: &mut Batch) {
        if let Some(command) = self.shard.admit(command, has_room(&self.writers, batch)) {
            self.shard.step(command, batch);
        }
    }

    fn count(&mut self, batch: &mut Batch) {
        let now = Instant::now();
        for read_at in batch.take_read_times() {
            self.metrics.published.add(1);
            self.metrics.fanned_out.record(now.saturating_duration_since(read_at), 1);
        }
        let rooms = self.shard.rooms();
        self.metrics.rooms.set(rooms as u64);
        self.memory.set(rooms * ROOM_BYTES);
    }
}

/// Whether a writer has room for a message to so many members, behind what the batch holds for it already.
fn has_room<'a>(writers: &'a [BatchSender], batch: &'a Batch) -> impl Fn(WriterIndex, usize) -> bool + 'a {
    |writer, targets| writers[usize::from(writer.0)].load().has_room(batch.deliveries(writer), targets)
}
