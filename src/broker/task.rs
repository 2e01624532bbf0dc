//! The task of one shard: receives commands, has them handled in batches and hands the batches to the writers. Decides
//! nothing, and never waits for one writer where another could go on.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use futures_util::future::select_all;
use tokio::task::yield_now;

use super::batch::Batch;
use super::command::{Ack, ShardCommand};
use super::handle::ShardMailbox;
use super::metrics::ShardMetrics;
use super::shard::Shard;
use crate::fault;
use crate::memory::{Need, Needs};
use crate::writer::WriterIndex;
use crate::writer::handle::BatchSender;

/// About what a room takes in memory beside its members.
const ROOM_BYTES: usize = 1_000;

/// The task of one shard.
pub struct ShardTask {
    shard: Shard,
    mailbox: ShardMailbox,
    mailbox_open: bool,
    /// By `WriterIndex`.
    writers: Vec<BatchSender>,
    metrics: Arc<ShardMetrics>,
    need: Need,
}

impl ShardTask {
    /// A shard without rooms, told through `mailbox`.
    pub fn new(mailbox: ShardMailbox, writers: Vec<BatchSender>, metrics: Arc<ShardMetrics>, needs: &Needs) -> Self {
        let shard = Shard::new(mailbox.keys(), mailbox.capacity());
        Self { shard, mailbox, mailbox_open: true, writers, metrics, need: needs.part() }
    }

    /// Works until every handle is gone, the mailbox is empty and nothing waits for a writer.
    pub async fn run(mut self) {
        let mut batch = Batch::new(self.writers.len());
        while self.begin(&mut batch).await {
            fault::may_strike("shard");
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
        if self.shard.is_waiting() {
            if let Some(command) = self.next_or_freed(batch).await {
                self.shard.step(command, batch);
            }
            return true;
        }
        match self.mailbox.next().await {
            Some(command) => self.handle(command, batch),
            None => self.mailbox_open = false,
        }
        self.mailbox_open
    }

    /// The next command that may be handled while some wait for their writers; `None` if there is none yet.
    async fn next_or_freed(&mut self, batch: &Batch) -> Option<ShardCommand> {
        let Self { shard, mailbox, mailbox_open, writers, .. } = self;
        // Before the look, so that nothing is missed between it and the wait.
        let freed = writers.iter().map(|writer| Box::pin(writer.backlog().freed()));
        let freed: Vec<Pin<Box<_>>> = freed.collect();
        if let Some(command) = shard.next_waiting(has_room(writers, batch)) {
            return Some(command);
        }
        tokio::select! {
            command = mailbox.next(), if *mailbox_open => match command {
                Some(command) => shard.admit(command, has_room(writers, batch)),
                None => {
                    *mailbox_open = false;
                    None
                }
            },
            _ = select_all(freed) => None,
        }
    }

    /// Handles what can be had without waiting, until the batch is full: what has waited before what comes now.
    fn fill(&mut self, batch: &mut Batch) {
        while !batch.is_full() {
            let waited =
                if self.shard.is_waiting() { self.shard.next_waiting(has_room(&self.writers, batch)) } else { None };
            match waited {
                Some(command) => self.shard.step(command, batch),
                None => match self.mailbox.try_next() {
                    Some(command) => self.handle(command, batch),
                    None => return,
                },
            }
        }
    }

    /// Handles a command or lets it wait.
    fn handle(&mut self, command: ShardCommand, batch: &mut Batch) {
        match self.shard.admit(command, has_room(&self.writers, batch)) {
            Some(command) => self.shard.step(command, batch),
            None => batch.begin_command(),
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
        self.need.set(rooms * ROOM_BYTES);
    }
}

/// Whether a writer has room for a message to so many members, behind what the batch holds for it already.
fn has_room<'a>(writers: &'a [BatchSender], batch: &'a Batch) -> impl Fn(WriterIndex, usize) -> bool + 'a {
    |writer, targets| writers[usize::from(writer.0)].backlog().has_room(batch.deliveries(writer), targets)
}
