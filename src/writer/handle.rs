//! How the writer is told: by shards through its mailbox, by the tasks of its own worker through a handle.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::address::Slot;
use super::frames::{Entry, Frames, Targets};
use super::socket::SocketWire;
use super::state::{Writer, WriterCommand};
use crate::mailbox::{Full, Mailbox};
use crate::protocol::command::Refusal;
use crate::protocol::dialect::Dialect;
use crate::protocol::disconnect::Disconnect;

/// Batches that wait in a writer's mailbox at most: 16 MiB.
const MAILBOX_BATCHES: usize = 256;

/// A batch is closed once its output has this many bytes: about what each has when many wait.
pub const BATCH_BYTES: usize = 64 * 1024;

/// A writer's mailbox, not yet shared out.
pub fn mailbox() -> (BatchSender, mpsc::Receiver<WriterCommand>) {
    let (sender, receiver) = mpsc::channel(MAILBOX_BATCHES);
    (BatchSender(sender), receiver)
}

/// How a shard, on whichever worker, tells a writer.
#[derive(Clone, Debug)]
pub struct BatchSender(mpsc::Sender<WriterCommand>);

impl BatchSender {
    /// Hands over what a batch led to, in order. Waits while the writer has more than it can write: that is how
    /// publishers feel it.
    pub async fn deliver(&self, entries: Vec<Entry>) {
        let sent = self.0.send(WriterCommand::Batch(entries)).await;
        assert!(sent.is_ok(), "a writer outlives every shard");
    }

    /// The handle for the tasks of the writer's own worker.
    pub(super) fn into_handle(self, output: Rc<RefCell<Output>>) -> WriterHandle {
        WriterHandle { output, mailbox: Mailbox::new(self.0) }
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
    pub fn count_error(&self, refusal: &Refusal) {
        self.output.borrow().writer.metrics.count_error(refusal);
    }

    /// A client's socket was read.
    pub fn count_received(&self, bytes: usize) {
        self.output.borrow().writer.metrics.count_received(bytes);
    }

    /// Ends a conversation: its connection is told why. The first reason stays.
    pub fn hang_up(&self, slot: Slot, reason: Disconnect) {
        self.output.borrow_mut().writer.hang_up(slot, reason);
    }

    /// Ready with the reason once the conversation is to end.
    pub fn poll_hang_up(&self, slot: Slot, context: &mut Context<'_>) -> Poll<Disconnect> {
        match self.output.borrow_mut().writer.hung_up(slot, Some(context.waker())) {
            Some(reason) => Poll::Ready(reason),
            None => Poll::Pending,
        }
    }

    /// Why the conversation is to end, if it is.
    pub fn hung_up(&self, slot: Slot) -> Option<Disconnect> {
        self.output.borrow_mut().writer.hung_up(slot, None)
    }

    /// Queues a reply behind everything already queued for the client.
    ///
    /// # Errors
    /// The reply, when the mailbox is full; `reply` waits.
    pub fn try_reply(&self, slot: Slot, bytes: Bytes) -> Result<(), Bytes> {
        let entry = Entry::reply(slot, bytes);
        match self.mailbox.try_tell(WriterCommand::Entry(entry)) {
            Err(Full(WriterCommand::Entry(entry))) => Err(entry.frames.into_bytes()),
            _ => Ok(()),
        }
    }

    /// Queues the answer to a ping frame; of those that find the socket full, only the latest is sent.
    ///
    /// # Errors
    /// The answer, when the mailbox is full; `pong` waits.
    pub fn try_pong(&self, slot: Slot, bytes: Bytes) -> Result<(), Bytes> {
        match self.mailbox.try_tell(WriterCommand::Pong { slot, bytes }) {
            Err(Full(WriterCommand::Pong { bytes, .. })) => Err(bytes),
            _ => Ok(()),
        }
    }

    /// Queues one reply for many clients as one command.
    ///
    /// # Errors
    /// The mailbox is full; nobody gets it.
    pub fn try_reply_all(&self, slots: Vec<Slot>, bytes: Bytes) -> Result<(), Full<()>> {
        let entry = Entry { targets: Targets::Audience(slots.into()), frames: Frames::reply(bytes) };
        self.mailbox.try_tell(WriterCommand::Entry(entry)).map_err(|Full(_)| Full(()))
    }

    /// Queues a reply behind everything already queued for the client.
    pub fn reply(&self, slot: Slot, bytes: Bytes) -> impl Future<Output = ()> {
        self.mailbox.tell(WriterCommand::Entry(Entry::reply(slot, bytes)))
    }

    /// Queues the answer to a ping frame.
    pub fn pong(&self, slot: Slot, bytes: Bytes) -> impl Future<Output = ()> {
        self.mailbox.tell(WriterCommand::Pong { slot, bytes })
    }

    /// Ends the output: what is still due, the last line, the end of the stream.
    pub fn close(&self, slot: Slot, reason: Disconnect) -> impl Future<Output = ()> {
        self.mailbox.tell(WriterCommand::Close { slot, reason })
    }

    /// Nothing more will be read from the client.
    pub fn input_ended(&self, slot: Slot) -> impl Future<Output = ()> {
        self.mailbox.tell(WriterCommand::InputEnded(slot))
    }
}
