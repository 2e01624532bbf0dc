//! How the writer is told: by shards through its mailbox, by the tasks of its own worker through a handle.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};

use super::address::Slot;
use super::frames::Entry;
use super::load::WriterLoad;
use super::queued::EntryNumber;
use super::socket::SocketWire;
use super::state::{Writer, WriterCommand};
use crate::mailbox::{Full, Mailbox};
use crate::protocol::command::CommandError;
use crate::protocol::dialect::Dialect;
use crate::protocol::disconnect::Disconnect;

/// Commands that wait in a writer's mailbox at most, 16 MiB where all are batches. The writer empties it between two
/// chunks of writes: what shards hand over is bounded by their count of deliveries, in `WriterLoad`.
const MAILBOX_COMMANDS: usize = 256;

/// A batch is closed once its output has this many bytes: about what each has when many wait.
pub const BATCH_BYTES: usize = 64 * 1024;

/// A writer's mailbox, not yet shared out.
pub fn mailbox() -> (BatchSender, WriterMailbox) {
    let (sender, commands) = mpsc::channel(MAILBOX_COMMANDS);
    let load = Arc::new(WriterLoad::default());
    (BatchSender { sender, load: Arc::clone(&load) }, WriterMailbox { commands, load })
}

/// The receiving end of one writer.
#[derive(Debug)]
pub struct WriterMailbox {
    /// What it is told.
    pub commands: mpsc::Receiver<WriterCommand>,
    /// Where it says what it has still to write.
    pub load: Arc<WriterLoad>,
}

/// How a shard, on whichever worker, tells a writer.
#[derive(Clone, Debug)]
pub struct BatchSender {
    sender: mpsc::Sender<WriterCommand>,
    load: Arc<WriterLoad>,
}

impl BatchSender {
    /// Hands over what a batch led to, in order. The caller has looked whether the writer has room for it, so it waits
    /// for no more than one turn of the writer.
    pub async fn deliver(&self, entries: Vec<Entry>) {
        self.load.hand_over(&entries);
        let sent = self.sender.send(WriterCommand::Batch(entries)).await;
        assert!(sent.is_ok(), "a writer outlives every shard");
    }

    /// What the writer has still to write.
    pub fn load(&self) -> &WriterLoad {
        &self.load
    }

    /// The handle for the tasks of the writer's own worker.
    pub(super) fn into_handle(self, output: Rc<RefCell<Output>>, wake: Rc<Notify>) -> WriterHandle {
        WriterHandle { output, mailbox: Mailbox::new(self.sender), wake }
    }
}

/// The writer and its sockets, shared by the tasks of one worker and never borrowed across an await.
#[derive(Debug)]
pub(super) struct Output {
    pub writer: Writer,
    pub wire: SocketWire,
}

/// The writer as the tasks of its own worker know it.
#[derive(Clone)]
pub struct WriterHandle {
    output: Rc<RefCell<Output>>,
    mailbox: Mailbox<WriterCommand>,
    /// Wakes the writer's task for what did not come through its mailbox.
    wake: Rc<Notify>,
}

impl WriterHandle {
    /// Gives a socket to the writer. From here on its write side is the writer's alone.
    pub fn open(&self, stream: Rc<TcpStream>, dialect: Dialect) -> Slot {
        let output = &mut *self.output.borrow_mut();
        let slot = output.writer.open(dialect);
        output.wire.open(slot.index, stream);
        slot
    }

    /// A client was turned away before it had a slot.
    pub fn count_refused(&self, dialect: Dialect, reason: Disconnect) {
        self.output.borrow().writer.metrics.count_refused(dialect, reason);
    }

    /// A command was answered with an error.
    pub fn count_error(&self, error: &CommandError) {
        self.output.borrow().writer.metrics.count_error(error);
    }

    /// A client's socket was read.
    pub fn count_received(&self, bytes: usize) {
        self.output.borrow().writer.metrics.count_received(bytes);
    }

    /// Ends a conversation: its connection is told why. The first reason stays.
    pub fn disconnect(&self, slot: Slot, reason: Disconnect) {
        self.output.borrow_mut().writer.disconnect(slot, reason);
    }

    /// Ready with the reason once the conversation is to end.
    pub fn poll_disconnect(&self, slot: Slot, context: &mut Context<'_>) -> Poll<Disconnect> {
        match self.output.borrow_mut().writer.disconnect_reason(slot, Some(context.waker())) {
            Some(reason) => Poll::Ready(reason),
            None => Poll::Pending,
        }
    }

    /// Why the conversation is to end, if it is.
    pub fn disconnect_reason(&self, slot: Slot) -> Option<Disconnect> {
        self.output.borrow_mut().writer.disconnect_reason(slot, None)
    }

    /// Queues a reply behind everything already queued for the client.
    ///
    /// # Errors
    /// The reply, when the mailbox is full; `reply` waits.
    pub fn try_reply(&self, slot: Slot, bytes: Bytes) -> Result<(), Bytes> {
        let entry = Entry::reply(slot, bytes);
        match self.mailbox.try_send(WriterCommand::Entry(entry)) {
            Err(Full(WriterCommand::Entry(entry))) => Err(entry.frames.into_bytes()),
            _ => Ok(()),
        }
    }

    /// Queues the answer to a ping frame; of those that find the socket full, only the latest is sent.
    ///
    /// # Errors
    /// The answer, when the mailbox is full; `pong` waits.
    pub fn try_pong(&self, slot: Slot, bytes: Bytes) -> Result<(), Bytes> {
        match self.mailbox.try_send(WriterCommand::Pong { slot, bytes }) {
            Err(Full(WriterCommand::Pong { bytes, .. })) => Err(bytes),
            _ => Ok(()),
        }
    }

    /// Sends a ping frame, or what stands for one, to each of these clients. It never waits, since it need not stay behind
    /// anything. Returns its number.
    pub fn ping(&self, slots: &[Slot], bytes: Bytes) -> EntryNumber {
        let number = self.output.borrow_mut().writer.ping(slots, bytes);
        self.wake.notify_one();
        number
    }

    /// Whether the client's socket has taken all of that ping.
    pub fn has_sent(&self, slot: Slot, ping: EntryNumber) -> bool {
        self.output.borrow_mut().writer.has_sent(slot, ping)
    }

    /// Whether the client has sent bytes that its connection has not read. A system call.
    pub fn has_unread_input(&self, slot: Slot) -> bool {
        self.output.borrow().wire.has_unread_input(slot.index)
    }

    /// Queues a reply behind everything already queued for the client.
    pub fn reply(&self, slot: Slot, bytes: Bytes) -> impl Future<Output = ()> {
        self.mailbox.send(WriterCommand::Entry(Entry::reply(slot, bytes)))
    }

    /// Queues the answer to a ping frame.
    pub fn pong(&self, slot: Slot, bytes: Bytes) -> impl Future<Output = ()> {
        self.mailbox.send(WriterCommand::Pong { slot, bytes })
    }

    /// Ends the output: what is still due, the last line, the end of the stream.
    pub fn close(&self, slot: Slot, reason: Disconnect) -> impl Future<Output = ()> {
        self.mailbox.send(WriterCommand::Close { slot, reason })
    }

    /// Nothing more will be read from the client.
    pub fn input_ended(&self, slot: Slot) -> impl Future<Output = ()> {
        self.mailbox.send(WriterCommand::InputEnded(slot))
    }
}
