//! The writer's task: receives, steps the state machine, waits for sockets. Decides nothing.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{Notify, mpsc};
use tokio::task::yield_now;
use tokio::time::sleep_until;

use super::Slot;
use super::handle::{BATCH_BYTES, BatchSender, Sockets, WriterHandle, WriterMailbox};
use super::metrics::WriterMetrics;
use super::spread::Spread;
use super::state::{Input, Writer, WriterCommand};
use crate::config::OutboxLimits;
use crate::fault;
use crate::memory::{MemoryShare, MemoryUse};
use crate::protocol::disconnect::{Disconnect, RetrySeconds};
use crate::shutdown::{Drain, DrainPhase};

/// The time between two looks at clients that are blocked or closing. While there are none, no timer runs.
const SWEEP_INTERVAL: Duration = Duration::from_millis(100);

/// The longest time between two looks at who is due, while a stop ends clients one after another.
const SPREAD_INTERVAL: Duration = Duration::from_millis(50);

/// The task of one worker's writer.
pub struct WriterTask {
    sockets: Sockets,
    mailbox: mpsc::Receiver<WriterCommand>,
    mailbox_open: bool,
    /// Something came past the mailbox.
    wake: Rc<Notify>,
    /// One future per blocked socket; idle sockets cost nothing.
    watched: FuturesUnordered<LocalBoxFuture<'static, Slot>>,
    next_sweep: Instant,
    memory: MemoryShare,
    drain: Drain,
    /// How far the writer has followed the server's stop.
    phase: DrainPhase,
    /// The clients that the stop has still to end one after another, and since when it does.
    spread: Option<(Spread, Instant)>,
}

impl WriterTask {
    /// A writer without clients, and what the tasks of its worker see of it and of its sockets.
    pub fn new(
        own: BatchSender,
        mailbox: WriterMailbox,
        metrics: Arc<WriterMetrics>,
        limits: OutboxLimits,
        drain: Drain,
        memory: &MemoryUse,
    ) -> (Self, WriterHandle, Sockets) {
        let WriterMailbox { commands, load } = mailbox;
        let writer = Writer::counting_in(Arc::clone(&metrics), limits, load);
        let writer = Rc::new(RefCell::new(writer.with_retry(RetrySeconds(drain.retry_seconds()))));
        let sockets = Sockets { writer: Rc::clone(&writer), wire: Rc::default() };
        let handle = WriterHandle::new(writer, own, metrics);
        let task = Self {
            sockets: sockets.clone(),
            mailbox: commands,
            mailbox_open: true,
            wake: Rc::clone(&handle.wake),
            watched: FuturesUnordered::new(),
            next_sweep: Instant::now(),
            memory: memory.share(),
            drain,
            phase: DrainPhase::Serving,
            spread: None,
        };
        (task, handle, sockets)
    }

    /// Works until every sender and every client is gone.
    pub async fn run(mut self) {
        loop {
            self.take_what_waits();
            if self.is_dirty() {
                self.step(Input::Flush);
                yield_now().await;
            } else if !self.mailbox_open && self.clients() == 0 {
                return;
            } else {
                self.wait().await;
                fault::inject("writer");
            }
        }
    }

    /// Takes everything that can be had without waiting, so that it joins the next writes.
    fn take_what_waits(&mut self) {
        while let Ok(command) = self.mailbox.try_recv() {
            self.step(Input::Command(command));
        }
        while let Some(Some(slot)) = self.watched.next().now_or_never() {
            self.step(Input::Writable(slot));
        }
        let now = Instant::now();
        if self.needs_sweep() && now >= self.next_sweep {
            let late = now.saturating_duration_since(self.next_sweep);
            self.next_sweep = now + SWEEP_INTERVAL;
            self.step(Input::Sweep(late));
        }
        self.follow_stop(now);
    }

    /// Does what the stop has begun with since the last look.
    fn follow_stop(&mut self, now: Instant) {
        let (before, phase) = (self.phase, self.drain.phase());
        self.phase = phase;
        if before < DrainPhase::TurningAway && phase == DrainPhase::TurningAway && !self.drain.spread().is_zero() {
            let clients = self.sockets.writer.borrow().slots.all();
            self.spread = Some((Spread::new(clients, self.drain.spread(), &mut Rng::new()), now));
        }
        if before < DrainPhase::Stopping && phase >= DrainPhase::Stopping {
            self.spread = None;
            self.step(Input::DisconnectAll(Disconnect::Shutdown));
        }
        if before < DrainPhase::Cutting && phase == DrainPhase::Cutting {
            self.step(Input::Cut);
        }
        self.end_who_is_due(now);
    }

    fn end_who_is_due(&mut self, now: Instant) {
        let Some((spread, began_at)) = &mut self.spread else { return };
        let due = spread.take_due(now.saturating_duration_since(*began_at));
        if spread.is_over() {
            self.spread = None;
        }
        let writer = &mut *self.sockets.writer.borrow_mut();
        due.into_iter().for_each(|slot| writer.disconnect(slot, Disconnect::Shutdown));
    }

    /// Waits until there is something to take.
    async fn wait(&mut self) {
        let looks = self.needs_sweep() || self.spread.is_some();
        let look_at = self.spread.as_ref().map_or(self.next_sweep, |_| Instant::now() + SPREAD_INTERVAL);
        tokio::select! {
            command = self.mailbox.recv(), if self.mailbox_open => match command {
                Some(command) => self.step(Input::Command(command)),
                None => self.mailbox_open = false,
            },
            Some(slot) = self.watched.next() => self.step(Input::Writable(slot)),
            () = self.wake.notified() => {}
            () = sleep_until(look_at.into()), if looks => {}
            () = self.drain.later_than(self.phase) => {}
        }
    }

    fn step(&mut self, input: Input) {
        let (writer, wire) = (&mut *self.sockets.writer.borrow_mut(), &mut *self.sockets.wire.borrow_mut());
        let now = Instant::now();
        let needed_sweep = writer.needs_sweep();
        writer.step(now, input, wire);
        if !needed_sweep {
            // The first sweep is due from here on: before it there was nothing to be late for.
            self.next_sweep = now + SWEEP_INTERVAL;
        }
        self.memory.set(writer.memory_bytes() + self.mailbox.len() * BATCH_BYTES);
        for (slot, stream) in wire.take_newly_watched() {
            let writable = async move {
                // The next write shows an error.
                let _ = stream.writable().await;
                slot
            };
            self.watched.push(writable.boxed_local());
        }
    }

    fn is_dirty(&self) -> bool {
        self.sockets.writer.borrow().is_dirty()
    }

    fn needs_sweep(&self) -> bool {
        self.sockets.writer.borrow().needs_sweep()
    }

    fn clients(&self) -> usize {
        self.sockets.writer.borrow().clients()
    }
}
