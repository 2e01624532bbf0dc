//! The writer's task: receives, steps the state machine, waits for sockets. Decides nothing.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::sync::{Notify, mpsc};
use tokio::task::yield_now;
use tokio::time::sleep_until;

use super::address::Slot;
use super::handle::{BATCH_BYTES, BatchSender, Output, WriterHandle, WriterMailbox};
use super::metrics::WriterMetrics;
use super::socket::SocketWire;
use super::state::{Counts, Input, Writer, WriterCommand};
use crate::config::OutboxLimits;
use crate::fault;
use crate::memory::{MemoryShare, MemoryUse};
use crate::protocol::disconnect::Disconnect;
use crate::shutdown::Drain;

/// How often the clients that refused bytes or are closing are looked at. While there are none, nothing ticks.
const SWEEP_INTERVAL: Duration = Duration::from_millis(100);

/// The task of one worker's writer.
pub struct WriterTask {
    output: Rc<RefCell<Output>>,
    mailbox: mpsc::Receiver<WriterCommand>,
    mailbox_open: bool,
    /// Something came past the mailbox.
    wake: Rc<Notify>,
    /// One future per socket that has refused bytes; idle sockets cost nothing.
    watched: FuturesUnordered<LocalBoxFuture<'static, Slot>>,
    next_sweep: Instant,
    memory: MemoryShare,
    drain: Drain,
    disconnected_all: bool,
    cut: bool,
}

/// What woke the writer.
enum Woken {
    Command(Option<WriterCommand>),
    Writable(Slot),
    Pinged,
    Sweep,
    Stopping,
    Cutting,
}

impl WriterTask {
    /// A writer without clients, and the handle for the tasks of its worker.
    pub fn new(
        own: BatchSender,
        mailbox: WriterMailbox,
        metrics: Arc<WriterMetrics>,
        limits: OutboxLimits,
        drain: Drain,
        memory: &MemoryUse,
    ) -> (Self, WriterHandle) {
        let WriterMailbox { commands, load } = mailbox;
        let output = Output { writer: Writer::counting_in(metrics, limits, load), wire: SocketWire::default() };
        let output = Rc::new(RefCell::new(output));
        let wake = Rc::new(Notify::new());
        let handle = own.into_handle(Rc::clone(&output), Rc::clone(&wake));
        let task = Self {
            output,
            mailbox: commands,
            mailbox_open: true,
            wake,
            watched: FuturesUnordered::new(),
            next_sweep: Instant::now(),
            memory: memory.part(),
            drain,
            disconnected_all: false,
            cut: false,
        };
        (task, handle)
    }

    /// Works until nobody can tell it anything more and every client is gone. Returns what it has done.
    pub async fn run(mut self) -> Counts {
        loop {
            self.take_what_waits();
            if self.is_dirty() {
                self.step(Input::Flush);
                yield_now().await;
            } else if !self.mailbox_open && self.clients() == 0 {
                return self.output.borrow().writer.counts();
            } else {
                let woken = self.wait().await;
                self.handle(woken);
            }
        }
    }

    /// Everything that can be had without waiting, so that it joins the next writes.
    fn take_what_waits(&mut self) {
        while let Ok(command) = self.mailbox.try_recv() {
            self.step(Input::Command(command));
        }
        while let Some(Some(slot)) = self.watched.next().now_or_never() {
            self.step(Input::Writable(slot));
        }
        if self.needs_sweep() && Instant::now() >= self.next_sweep {
            self.handle(Woken::Sweep);
        }
        if !self.disconnected_all && self.drain.is_stopping() {
            self.handle(Woken::Stopping);
        }
        if !self.cut && self.drain.is_cutting() {
            self.handle(Woken::Cutting);
        }
    }

    async fn wait(&mut self) -> Woken {
        let needs_sweep = self.needs_sweep();
        tokio::select! {
            command = self.mailbox.recv(), if self.mailbox_open => Woken::Command(command),
            Some(slot) = self.watched.next() => Woken::Writable(slot),
            () = self.wake.notified() => Woken::Pinged,
            () = sleep_until(self.next_sweep.into()), if needs_sweep => Woken::Sweep,
            () = self.drain.stopping(), if !self.disconnected_all => Woken::Stopping,
            () = self.drain.cutting(), if !self.cut => Woken::Cutting,
        }
    }

    fn handle(&mut self, woken: Woken) {
        fault::inject("writer");
        match woken {
            Woken::Command(Some(command)) => self.step(Input::Command(command)),
            Woken::Command(None) => self.mailbox_open = false,
            Woken::Writable(slot) => self.step(Input::Writable(slot)),
            Woken::Pinged => {}
            Woken::Sweep => {
                let now = Instant::now();
                let late = now.saturating_duration_since(self.next_sweep);
                self.next_sweep = now + SWEEP_INTERVAL;
                self.step(Input::Sweep { late });
            }
            Woken::Stopping => {
                self.disconnected_all = true;
                self.step(Input::DisconnectAll(Disconnect::Shutdown));
            }
            Woken::Cutting => {
                self.cut = true;
                self.step(Input::Cut);
            }
        }
    }

    fn step(&mut self, input: Input) {
        let output = &mut *self.output.borrow_mut();
        let now = Instant::now();
        let needed_sweep = output.writer.needs_sweep();
        output.writer.step(now, input, &mut output.wire);
        if !needed_sweep {
            // The first is due from here on: before it there was nothing to be late for.
            self.next_sweep = now + SWEEP_INTERVAL;
        }
        self.memory.set(output.writer.memory_bytes() + self.mailbox.len() * BATCH_BYTES);
        for (slot, stream) in output.wire.take_newly_watched() {
            let writable = async move {
                // An error shows at the next write.
                let _ = stream.writable().await;
                slot
            };
            self.watched.push(writable.boxed_local());
        }
    }

    fn is_dirty(&self) -> bool {
        self.output.borrow().writer.is_dirty()
    }

    fn needs_sweep(&self) -> bool {
        self.output.borrow().writer.needs_sweep()
    }

    fn clients(&self) -> usize {
        self.output.borrow().writer.clients()
    }
}
