//! The read side of one client, the same on every transport: reads into the worker's shared buffer, has the commands
//! executed there, and keeps bytes of its own only of what is not executed yet. Never writes: all output is the
//! writer's.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::task::yield_now;
use tracing::{debug, info};

use super::input_guard::{InputGuard, WaitingFor};
use crate::auth::tokens::Token;
use crate::config::canonical;
use crate::fault;
use crate::memory::MemoryUse;
use crate::net::connection_limit::ConnectionPermit;
use crate::net::stream::Stream;
use crate::net::tls::Received;
use crate::protocol::dialect::Dialect;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::publication::Publisher;
use crate::session::{Identity, Outcome, ProtocolHandler, Session, SessionContext};
use crate::writer::Slot;
use crate::writer::handle::Sockets;

/// The size of a worker's read buffer, and the most that one read takes, in bytes.
const READ_BYTES: usize = 64 * 1024;

/// Commands that one connection executes before the next connection has its turn.
const TURN_COMMANDS: u8 = 64;

/// Decodes a transport's bytes into messages and has a protocol handler execute them.
pub(super) trait InputDecoder<P> {
    /// Removes from `fresh`, which was read behind `kept`, what is not input of the protocol. Returns how many bytes
    /// are left at its front.
    fn strip(&mut self, _kept: &mut Vec<u8>, fresh: &mut [u8]) -> usize {
        fresh.len()
    }

    /// Ready once there is a message to execute that has not come over the socket.
    fn poll_input(&mut self, _context: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }

    /// Executes the first message of `input`. Returns `None` if that needs more bytes.
    fn execute(&mut self, handler: &mut P, input: &mut [u8]) -> Option<Executed>;

    /// Called after each turn; `is_idle` if everything that was read is executed.
    fn turn_ended(&self, _is_idle: bool) {}

    /// Memory of an incomplete message, in bytes, besides the input itself.
    fn held_bytes(&self) -> usize {
        0
    }

    /// Final bytes to send after leaving the rooms.
    fn final_bytes(&self) -> Option<Bytes> {
        None
    }
}

/// A command, or what costs as much, that was executed.
#[derive(Debug)]
pub(super) struct Executed {
    /// The commands that it counts as in the turn of its connection: 1, or more if it costs more.
    pub commands: u8,
    /// Its length, in bytes of input.
    pub bytes: usize,
    /// Whether a message ends with it.
    pub is_message_end: bool,
    /// Whether it is a line that is not empty.
    pub is_line: bool,
    pub outcome: Outcome,
}

/// How a turn ended.
enum Turn {
    /// Everything is executed: more must be read.
    Idle,
    /// There is more to execute, after other connections had their turn.
    Yield,
    /// A command must be waited for, or was the last.
    Interrupted(Outcome),
}

/// A worker's read buffer, whose uses never overlap, with the worker's sockets and the guard of what is read from them.
pub struct ReadBuffer {
    bytes: RefCell<Box<[u8]>>,
    pub(super) memory: MemoryUse,
    pub(super) input_guard: Rc<InputGuard>,
    /// The worker's sockets.
    pub sockets: Sockets,
}

impl ReadBuffer {
    /// The buffer of a worker. Memory for input that is not executed yet counts in `memory`: otherwise the process would
    /// keep what hundreds of clients had begun and left.
    pub fn new(memory: MemoryUse, input_guard: Rc<InputGuard>, sockets: Sockets) -> Rc<Self> {
        Rc::new(Self { bytes: RefCell::new(vec![0; READ_BYTES].into()), memory, input_guard, sockets })
    }

    /// Reads and discards until the end of the input, or until the socket fails.
    pub(super) async fn discard_input(&self, stream: &Stream) {
        while stream.readable().await.is_ok() {
            match self.discard(stream) {
                Ok(0) => return,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
                _ => yield_now().await,
            }
        }
    }

    /// Reads and discards once.
    pub(super) fn discard(&self, stream: &Stream) -> io::Result<usize> {
        stream.try_discard(&mut self.bytes.borrow_mut())
    }
}

/// An accepted client's socket, and what is known of the client.
pub struct Client {
    /// The stream.
    pub stream: Stream,
    /// Counts the client in the connection limit.
    pub permit: ConnectionPermit,
    /// The client's address, behind trusted proxies.
    pub address: IpAddr,
    /// Bytes that were read from the socket already.
    pub already_read: Vec<u8>,
    /// The valid token that the client has presented.
    pub token: Option<Box<Token>>,
}

/// The read side of one client: what decodes its input, and the protocol handler that executes it.
pub(super) struct Connection<I, P> {
    stream: Rc<Stream>,
    slot: Slot,
    context: Rc<SessionContext>,
    buffer: Rc<ReadBuffer>,
    decoder: I,
    handler: P,
    /// Read and not executed yet: whole commands after a turn that ended early, and the beginning of one.
    tail: Vec<u8>,
    /// The tail may hold a whole command.
    is_behind: bool,
    /// A message has ended in this turn.
    is_message_end: bool,
    /// The client has sent a line that is not empty.
    has_sent_line: bool,
    /// Commands that may still be executed before other connections have their turn.
    commands_left: u8,
    _permit: ConnectionPermit,
}

impl<I: InputDecoder<P>, P: ProtocolHandler> Connection<I, P> {
    /// Gives the write side to the writer, and the slot that it assigns to the decoder.
    pub fn open(
        client: Client,
        publisher: Publisher,
        dialect: Dialect,
        buffer: Rc<ReadBuffer>,
        context: Rc<SessionContext>,
        decoder: impl FnOnce(Slot) -> I,
        handler: impl FnOnce(Session) -> P,
    ) -> Self {
        let Client { stream, permit, address, already_read, token } = client;
        let stream = Rc::new(stream);
        let slot = buffer.sockets.open(Rc::clone(&stream), dialect);
        let identity = Identity { publisher, token };
        let session = Session::new(Rc::clone(&context), slot, dialect, identity, address);
        if context.drain.is_turning_away() {
            // Accepted at the last moment: the writer may have looked for its clients already, and members that leave do
            // not wait until this client has no more to publish.
            context.writer.disconnect(slot, Disconnect::Shutdown);
        }
        buffer.memory.change(0, already_read.capacity() + stream.held_input());
        Self {
            stream,
            slot,
            context,
            buffer,
            decoder: decoder(slot),
            handler: handler(session),
            is_behind: !already_read.is_empty(),
            tail: already_read,
            is_message_end: false,
            has_sent_line: false,
            commands_left: TURN_COMMANDS,
            _permit: permit,
        }
    }

    /// Serves the client from its first byte to its end. Not an `async fn`, which would hold `self` twice.
    #[allow(clippy::manual_async_fn)]
    pub fn run(mut self) -> impl Future<Output = ()> {
        async move {
            let reason = self.serve_commands().await;
            // Boxed, as is everything that a client waits for seldom, so that idle clients stay small.
            Box::pin(self.end(reason)).await;
        }
    }

    async fn end(self, reason: Disconnect) {
        let held = self.held_bytes();
        let Self { stream, slot, context, buffer, decoder, handler, tail, _permit, .. } = self;
        let (final_bytes, writer, session) = (decoder.final_bytes(), context.writer.clone(), handler.into_session());
        // A client may linger for long, and needs none of this any more. A context that is held would keep shards
        // alive.
        drop((decoder, tail, context));
        buffer.memory.change(held, 0);
        buffer.input_guard.forget(slot);
        session.end(reason, final_bytes).await;
        log_end(&stream, reason);
        buffer.discard_input(&stream).await;
        writer.input_ended(slot).await;
    }

    async fn serve_commands(&mut self) -> Disconnect {
        let mut outcome = self.handler.begin();
        loop {
            match outcome {
                Outcome::Done => {}
                Outcome::Pending => {
                    let before = self.held_bytes();
                    outcome = poll_fn(|context| self.handler.poll(context)).await;
                    self.count_held(before, false);
                    continue;
                }
                Outcome::Ended(reason) => return reason,
            }
            if let Some(reason) = self.context.writer.disconnect_reason(self.slot) {
                return reason;
            }
            if self.handler.session().needs_review() {
                outcome = self.handler.review();
                continue;
            }
            outcome = match self.turn() {
                Turn::Interrupted(outcome) => outcome,
                Turn::Yield => {
                    yield_now().await;
                    self.commands_left = TURN_COMMANDS;
                    Outcome::Done
                }
                Turn::Idle => {
                    if let Err(reason) = self.readable().await {
                        return reason;
                    }
                    self.commands_left = TURN_COMMANDS;
                    Outcome::Done
                }
            };
        }
    }

    /// Waits for input, for the writer to disconnect the client, or for rights to change.
    async fn readable(&mut self) -> Result<(), Disconnect> {
        poll_fn(|context| {
            if let Poll::Ready(reason) = self.context.writer.poll_disconnect(self.slot, context) {
                return Poll::Ready(Err(reason));
            }
            if self.handler.session().needs_review() {
                return Poll::Ready(Ok(()));
            }
            if self.decoder.poll_input(context).is_ready() {
                self.is_behind = true;
                return Poll::Ready(Ok(()));
            }
            let readable = ready!(self.stream.poll_readable(context));
            Poll::Ready(readable.map_err(|_| Disconnect::IoError))
        })
        .await
    }

    /// Memory of input that is kept, in bytes.
    fn held_bytes(&self) -> usize {
        self.tail.capacity() + self.decoder.held_bytes() + self.stream.held_input() + self.handler.held_bytes()
    }

    /// Counts the input that is kept now, where this many bytes were kept before. `is_new` if a message has ended since.
    fn count_held(&mut self, before: usize, is_new: bool) {
        let held = self.held_bytes();
        self.buffer.memory.change(before, held);
        if before > 0 || held > 0 {
            let is_behind = self.is_behind || self.handler.held_bytes() > 0;
            let waiting_for = if is_behind { WaitingFor::Server } else { WaitingFor::Client };
            for largest in self.buffer.input_guard.keep(self.slot, held, waiting_for, is_new) {
                self.context.writer.disconnect(largest, Disconnect::InputBudget);
            }
        }
    }

    /// Reads once, or executes what was read before, without waiting.
    fn turn(&mut self) -> Turn {
        let before = self.held_bytes();
        self.is_message_end = false;
        let turn = if self.is_behind { self.execute_tail(false) } else { self.read_and_execute() };
        self.count_held(before, self.is_message_end);
        turn
    }

    fn read_and_execute(&mut self) -> Turn {
        let buffer = Rc::clone(&self.buffer);
        let buffer = &mut *buffer.bytes.borrow_mut();
        // Less and less as the input budget fills, so that clients that wait for the server are not read and not
        // disconnected.
        let read_max = self.buffer.input_guard.read_bytes_max(READ_BYTES);
        let Received { bytes: read, is_more } = match self.stream.try_read(&mut buffer[..read_max]) {
            Ok(Received { bytes: 0, .. }) => return Turn::Interrupted(Outcome::Ended(Disconnect::ClosedByPeer)),
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Turn::Idle,
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                return Turn::Interrupted(Outcome::Ended(Disconnect::ProtocolError));
            }
            Err(_) => return Turn::Interrupted(Outcome::Ended(Disconnect::IoError)),
        };
        fault::inject("connection");
        self.context.writer.metrics.count_received(read);
        let fresh = self.decoder.strip(&mut self.tail, &mut buffer[..read]);
        if !self.tail.is_empty() {
            self.tail.extend_from_slice(&buffer[..fresh]);
            return self.execute_tail(is_more);
        }
        let (executed, turn) = self.execute(&mut buffer[..fresh], is_more);
        self.tail = buffer[executed..fresh].to_vec();
        turn
    }

    fn execute_tail(&mut self, is_more: bool) -> Turn {
        let mut tail = mem::take(&mut self.tail);
        let (executed, turn) = self.execute(&mut tail, is_more);
        tail.drain(..executed);
        self.tail = if tail.is_empty() { Vec::new() } else { tail };
        turn
    }

    /// Executes commands until the turn ends. Returns how many bytes of input they were. Commands that are waited for
    /// count in the turn of those before them.
    fn execute(&mut self, input: &mut [u8], is_more: bool) -> (usize, Turn) {
        let mut executed_bytes = 0;
        let mut is_line = false;
        let mut turn = Turn::Yield;
        self.is_behind = true;
        while self.commands_left > 0 {
            let Some(executed) = self.decoder.execute(&mut self.handler, &mut input[executed_bytes..]) else {
                self.is_behind = false;
                turn = if is_more { Turn::Yield } else { Turn::Idle };
                break;
            };
            self.commands_left = self.commands_left.saturating_sub(executed.commands);
            if self.handler.session().needs_review() {
                // The review comes before the next command. A valid token also costs as much as many commands.
                self.commands_left = 0;
            }
            executed_bytes += executed.bytes;
            is_line |= executed.is_line;
            self.is_message_end |= executed.is_message_end;
            if !matches!(executed.outcome, Outcome::Done) {
                turn = Turn::Interrupted(executed.outcome);
                break;
            }
        }
        self.decoder.turn_ended(!self.is_behind);
        if is_line {
            let is_first = !mem::replace(&mut self.has_sent_line, true);
            self.buffer.input_guard.hear_line_client(self.slot, is_first);
        }
        (executed_bytes, turn)
    }
}

/// Logs at info what an operator should see, and the rest at debug.
fn log_end(stream: &Stream, reason: Disconnect) {
    let (peer, reason_text) = (stream.peer_addr().ok().map(canonical).map(tracing::field::display), reason.reason());
    match reason {
        Disconnect::SlowConsumer => info!(peer, reason = reason_text, "connection ended"),
        _ => debug!(peer, reason = reason_text, "connection ended"),
    }
}
