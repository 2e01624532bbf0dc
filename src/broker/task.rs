//! The task of one shard: receives commands, has them handled in batches and hands the batches to the writers. Decides
//! nothing, and never waits for one writer while it could serve another.

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::{SelectAll, select_all};
use tokio::sync::futures::OwnedNotified;
use tokio::task::yield_now;
use tokio::time::{sleep, sleep_until};

use super::batch::Batch;
use super::command::ShardCommand;
use super::handle::ShardMailbox;
use super::metrics::ShardMetrics;
use super::now::Now;
use super::shard::Shard;
use crate::backplane::feed::{FeedMailbox, Followed};
use crate::fault;
use crate::memory::{MemoryShare, MemoryUse};
use crate::writer::WriterIndex;
use crate::writer::handle::BatchSender;

/// The time between two sweeps over what is remembered. While nothing is, no timer runs.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);

/// The time between two looks whether the node has caught up with clients that have seen more.
const BEHIND_INTERVAL: Duration = Duration::from_millis(5);

/// Commands that are looked at for one batch, whether they are handled or wait.
const SORTED_COMMANDS_MAX: usize = 4_096;

/// What a shard begins a batch with.
enum Step {
    /// A command from the mailbox.
    Command(ShardCommand),
    /// A command that has waited for its writers, which now have room.
    Waited(ShardCommand),
    /// What is remembered must be looked at.
    Sweep,
    /// The backplane has news.
    Followed(Followed),
    /// The backplane has ended.
    FeedEnded,
    /// A writer has made room, or clients may have waited long enough for the node to catch up.
    Freed,
    /// Nothing more comes from the mailbox.
    Closed,
}

/// The task of one shard.
pub struct ShardTask {
    shard: Shard,
    mailbox: ShardMailbox,
    mailbox_open: bool,
    /// `None` where the server is alone, or once the backplane has ended.
    feed: Option<FeedMailbox>,
    /// Read once for each batch.
    now: Now,
    next_sweep: Instant,
    /// The last sweep has left something to do.
    is_sweeping: bool,
    /// By `WriterIndex`.
    writers: Vec<BatchSender>,
    /// Ready when a writer has made room. It exists while commands wait and none of them could go at the last look.
    freed: Option<SelectAll<Pin<Box<OwnedNotified>>>>,
    metrics: Arc<ShardMetrics>,
    memory: MemoryShare,
}

impl ShardTask {
    /// A shard without rooms.
    pub fn new(
        mut mailbox: ShardMailbox,
        writers: Vec<BatchSender>,
        metrics: Arc<ShardMetrics>,
        memory: &MemoryUse,
    ) -> Self {
        let (shard, memory) = (mailbox.shard(), memory.share());
        Self {
            shard,
            feed: mailbox.take_feed(),
            mailbox,
            mailbox_open: true,
            now: Now::read(),
            next_sweep: Instant::now(),
            is_sweeping: false,
            writers,
            freed: None,
            metrics,
            memory,
        }
    }

    /// Works until every sender is gone, the mailbox is empty and nothing waits for a writer.
    pub async fn run(mut self) {
        let mut batch = Batch::new(self.writers.len());
        while let Some(step) = self.next().await {
            self.now = Now::read();
            match step {
                Step::Command(command) => self.handle(command, &mut batch),
                Step::Waited(command) => self.shard.step(self.now, command, &mut batch),
                Step::Sweep => self.sweep(&mut batch),
                Step::Followed(followed) => self.hear(followed, &mut batch),
                Step::FeedEnded => self.shard.lose_backplane(self.now, &mut batch),
                Step::Freed | Step::Closed => {}
            }
            fault::inject("shard");
            self.fill(&mut batch);
            if self.shard.look_ahead(self.now) {
                // They wait for no writer.
                self.freed = None;
            }
            self.metrics.mailbox_commands.set(self.mailbox.waiting() as u64);
            for (writer, entries) in batch.take_entries() {
                self.writers[usize::from(writer.0)].deliver(entries).await;
            }
            batch.acknowledge();
            self.count(&mut batch);
            yield_now().await;
        }
    }

    /// Waits until there is something to do. `None` when nothing ever will be.
    async fn next(&mut self) -> Option<Step> {
        let needs_sweep = self.shard.needs_sweep();
        if needs_sweep && self.now.instant >= self.next_sweep {
            // Also while commands that have waited keep the shard busy.
            return Some(Step::Sweep);
        }
        let sweep = sleep_until(self.next_sweep.into());
        let is_behind = self.shard.is_behind();
        if !self.shard.is_waiting() {
            self.freed = None;
            return tokio::select! {
                command = self.mailbox.next() => command.map(Step::Command),
                () = sweep, if needs_sweep => Some(Step::Sweep),
                step = heard(&mut self.feed), if self.feed.is_some() => Some(step),
                () = sleep(BEHIND_INTERVAL), if is_behind => Some(Step::Freed),
            };
        }
        if self.freed.is_none() {
            // Created before the look, so that nothing is missed between the look and the wait.
            let freed = select_all(self.writers.iter().map(|writer| Box::pin(writer.load().freed())));
            if let Some(command) = self.shard.next_waiting(has_room(&self.writers, None)) {
                return Some(Step::Waited(command));
            }
            self.freed = Some(freed);
        }
        let freed = self.freed.as_mut().expect("it was created above");
        Some(tokio::select! {
            command = self.mailbox.next(), if self.mailbox_open => match command {
                Some(command) => Step::Command(command),
                None => {
                    self.mailbox_open = false;
                    Step::Closed
                }
            },
            _ = freed => {
                self.freed = None;
                Step::Freed
            }
            () = sweep, if needs_sweep => Step::Sweep,
            step = heard(&mut self.feed), if self.feed.is_some() => step,
            () = sleep(BEHIND_INTERVAL), if is_behind => Step::Freed,
        })
    }

    /// Sweeps, or goes on with what the last sweep has left to do.
    fn sweep(&mut self, batch: &mut Batch) {
        let has_more = match self.is_sweeping {
            true => self.shard.continue_sweep(self.now),
            false => self.shard.sweep(self.now, batch),
        };
        self.is_sweeping = has_more;
        self.next_sweep = if has_more { self.now.instant } else { self.now.instant + SWEEP_INTERVAL };
    }

    /// Handles what can be had without waiting, until the batch is full: commands that have waited and new ones in turn, so
    /// that neither delays the other. Waiting commands are looked at only if a writer may have made room since the last look.
    fn fill(&mut self, batch: &mut Batch) {
        let mut sorted = 0;
        let mut may_go_on = self.freed.is_none();
        while !batch.is_full() && sorted < SORTED_COMMANDS_MAX {
            let has_heard = self.hear_next(batch);
            let waited = if may_go_on && self.shard.is_waiting() {
                self.shard.next_waiting(has_room(&self.writers, Some(batch)))
            } else {
                None
            };
            may_go_on = waited.is_some();
            waited.into_iter().for_each(|command| self.shard.step(self.now, command, batch));
            match self.mailbox.try_next() {
                Some(command) => self.handle(command, batch),
                None if !may_go_on && !has_heard => return,
                None => {}
            }
            sorted += 1;
        }
    }

    /// Handles the next news of the backplane. False if there is none; then the shard is where the backplane is.
    fn hear_next(&mut self, batch: &mut Batch) -> bool {
        let Some(feed) = &mut self.feed else { return false };
        // Read before the look: what is told after the look is not included.
        let reached = feed.reached();
        match feed.try_next() {
            Some(followed) => {
                self.hear(followed, batch);
                true
            }
            None => {
                self.shard.reach(reached);
                false
            }
        }
    }

    /// Handles news of the backplane. An entry waits for the writers of its room, as a publish does.
    fn hear(&mut self, followed: Followed, batch: &mut Batch) {
        match followed {
            Followed::Placed(placed) => self.handle(ShardCommand::Placed(placed), batch),
            followed => self.shard.hear(self.now, followed, batch),
        }
    }

    /// Handles a command or lets it wait.
    fn handle(&mut self, command: ShardCommand, batch: &mut Batch) {
        if let Some(command) = self.shard.admit(command, has_room(&self.writers, Some(batch))) {
            self.shard.step(self.now, command, batch);
        }
    }

    fn count(&mut self, batch: &mut Batch) {
        let now = Instant::now();
        for read_at in batch.take_read_times() {
            self.metrics.published.add(1);
            self.metrics.fanned_out.record(now.saturating_duration_since(read_at), 1);
        }
        self.metrics.rooms.set(self.shard.active_rooms() as u64);
        self.metrics.count_history(self.shard.retained(), self.shard.evicted(), self.shard.recoveries());
        self.memory.set(self.shard.memory_bytes());
    }
}

/// Waits for news of the backplane, or for its end.
async fn heard(feed: &mut Option<FeedMailbox>) -> Step {
    match feed.as_mut().expect("only a shard of a cluster hears").next().await {
        Some(followed) => Step::Followed(followed),
        None => {
            *feed = None;
            Step::FeedEnded
        }
    }
}

/// Whether a writer has room for a message to this many members, behind what the batch already holds for it.
fn has_room<'a>(writers: &'a [BatchSender], batch: Option<&'a Batch>) -> impl Fn(WriterIndex, usize) -> bool + 'a {
    move |writer, targets| {
        let in_batch = batch.map_or(0, |batch| batch.deliveries(writer));
        writers[usize::from(writer.0)].load().has_room(in_batch, targets)
    }
}
