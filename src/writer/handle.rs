//! The handles of the writer: shards use its mailbox, the tasks of its own worker a [`WriterHandle`]. Never writes to a socket.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::sync::{Notify, mpsc};

use super::Slot;
use super::frames::{Entry, EntryNumber};
use super::load::{LoadLimits, WriterLoad};
use super::metrics::WriterMetrics;
use super::socket::SocketWire;
use super::state::{Writer, WriterCommand};
use crate::mailbox::{Full, Mailbox, Sending};
use crate::net::stream::Stream;
use crate::protocol::dialect::Dialect;
use crate::protocol::disconnect::Disconnect;

/// The most commands in a writer's mailbox, 16 MiB where all are batches. The writer empties it between two chunks of writes:
/// `WriterLoad` bounds what shards hand over by the number of deliveries.
const MAILBOX_COMMANDS: usize = 256;

/// A batch is full once its output has this many bytes: about what each has when many wait.
pub(crate) const BATCH_BYTES: usize = 64 * 1024;

/// A new mailbox of a writer.
pub fn mailbox() -> (BatchSender, WriterMailbox) {
    mailbox_with(MAILBOX_COMMANDS, LoadLimits::default())
}

/// A new mailbox of a writer that holds at most this many commands, with these bounds. Tests fill small ones.
pub fn mailbox_with(commands_max: usize, limits: LoadLimits) -> (BatchSender, WriterMailbox) {
    let (sender, commands) = mpsc::channel(commands_max);
    let load = Arc::new(WriterLoad::new(limits));
    (BatchSender { sender, load: Arc::clone(&load) }, WriterMailbox { commands, load })
}

/// The receiving end of one writer.
#[derive(Debug)]
pub struct WriterMailbox {
    /// What the writer receives.
    pub commands: mpsc::Receiver<WriterCommand>,
    /// Where the writer publishes what it has still to write.
    pub load: Arc<WriterLoad>,
}

/// The sending end, for the shards of all workers.
#[derive(Clone, Debug)]
pub struct BatchSender {
    pub(super) sender: mpsc::Sender<WriterCommand>,
    load: Arc<WriterLoad>,
}

impl BatchSender {
    /// Hands over the output of a batch. The caller has seen that the writer has room for it, so the wait is no longer than
    /// one turn of the writer.
    pub async fn deliver(&self, entries: Vec<Entry>) {
        self.load.hand_over(&entries);
        let sent = self.sender.send(WriterCommand::Batch(entries)).await;
        assert!(sent.is_ok(), "a writer outlives every shard");
    }

    /// What the writer has still to write.
    pub fn load(&self) -> &WriterLoad {
        &self.load
    }
}

/// The writer as the tasks of its own worker see it. Knows no socket, and never borrows across an await.
#[derive(Clone)]
pub struct WriterHandle {
    pub(super) writer: Rc<RefCell<Writer>>,
    pub(super) mailbox: Mailbox<WriterCommand>,
    /// Wakes the writer's task for what did not come through its mailbox.
    pub(super) wake: Rc<Notify>,
    pub(crate) metrics: Arc<WriterMetrics>,
}

/// The sockets of a worker, which its writer writes to.
#[derive(Clone)]
pub struct Sockets {
    pub(super) writer: Rc<RefCell<Writer>>,
    pub(super) wire: Rc<RefCell<SocketWire>>,
}

impl Sockets {
    /// Gives a socket to the writer. From here on its write side is the writer's alone.
    pub fn open(&self, stream: Rc<Stream>, dialect: Dialect) -> Slot {
        let slot = self.writer.borrow_mut().open(dialect);
        self.wire.borrow_mut().open(slot.index, stream);
        slot
    }

    /// Whether the client has sent bytes that its connection has not read. A system call.
    pub fn has_unread_input(&self, slot: Slot) -> bool {
        self.wire.borrow().has_unread_input(slot.index)
    }
}

impl WriterHandle {
    /// A handle of a writer that somebody else steps.
    pub fn new(writer: Rc<RefCell<Writer>>, own: BatchSender, metrics: Arc<WriterMetrics>) -> Self {
        Self { writer, mailbox: Mailbox::new(own.sender), wake: Rc::default(), metrics }
    }

    /// Has a connection end. The first reason stays.
    pub fn disconnect(&self, slot: Slot, reason: Disconnect) {
        self.writer.borrow_mut().disconnect(slot, reason);
    }

    /// Ready with the reason once the connection should end.
    pub fn poll_disconnect(&self, slot: Slot, context: &mut Context<'_>) -> Poll<Disconnect> {
        match self.writer.borrow_mut().disconnect_reason(slot, Some(context.waker())) {
            Some(reason) => Poll::Ready(reason),
            None => Poll::Pending,
        }
    }

    /// Why the connection should end, if it should.
    pub fn disconnect_reason(&self, slot: Slot) -> Option<Disconnect> {
        self.writer.borrow_mut().disconnect_reason(slot, None)
    }

    /// Queues a reply behind everything already queued for the client.
    ///
    /// # Errors
    /// The reply, when the mailbox is full; `reply` waits.
    pub fn try_reply(&self, slot: Slot, bytes: Bytes) -> Result<(), Bytes> {
        match self.mailbox.try_send(WriterCommand::Entry(Entry::reply(slot, bytes))) {
            Err(Full(WriterCommand::Entry(entry))) => Err(entry.frames.bytes),
            _ => Ok(()),
        }
    }

    /// Queues a reply behind everything already queued for the client.
    pub fn reply(&self, slot: Slot, bytes: Bytes) -> Sending {
        self.mailbox.send(WriterCommand::Entry(Entry::reply(slot, bytes)))
    }

    /// Queues the answer to a ping frame; while the socket is blocked, only the latest answer is kept.
    ///
    /// # Errors
    /// The answer, when the mailbox is full; `pong` waits.
    pub fn try_pong(&self, slot: Slot, bytes: Bytes) -> Result<(), Bytes> {
        match self.mailbox.try_send(WriterCommand::Pong(slot, bytes)) {
            Err(Full(WriterCommand::Pong(_, bytes))) => Err(bytes),
            _ => Ok(()),
        }
    }

    /// Queues the answer to a ping frame.
    pub fn pong(&self, slot: Slot, bytes: Bytes) -> Sending {
        self.mailbox.send(WriterCommand::Pong(slot, bytes))
    }

    /// Sends a short message, a ping or a notice, to each of these clients. Never waits, since it need not stay behind what is
    /// in the mailbox. Returns its number.
    pub fn send_now(&self, slots: &[Slot], bytes: Bytes) -> EntryNumber {
        let number = self.writer.borrow_mut().send_now(slots, bytes);
        self.wake.notify_one();
        number
    }

    /// Wakes every connection, so that its session sees what has changed for all. Linear in the clients.
    pub fn wake_all(&self) {
        self.writer.borrow_mut().wake_all();
    }

    /// Wakes one connection, so that its session sees what has changed for it.
    pub fn wake(&self, slot: Slot) {
        self.writer.borrow_mut().wake(slot);
    }

    /// Whether the client's socket has taken all of that ping.
    pub fn has_sent(&self, slot: Slot, ping: EntryNumber) -> bool {
        self.writer.borrow_mut().has_sent(slot, ping)
    }

    /// Ends the output: what is pending, the last line, the end of the stream.
    pub fn close(&self, slot: Slot, reason: Disconnect) -> Sending {
        self.mailbox.send(WriterCommand::Close(slot, reason))
    }

    /// Nothing more will be read from the client.
    pub fn input_ended(&self, slot: Slot) -> Sending {
        self.mailbox.send(WriterCommand::InputEnded(slot))
    }
}
