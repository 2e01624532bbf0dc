//! The read side of one client, the same on every transport: reads into the worker's shared buffer, has it executed there,
//! and keeps bytes of its own only for what is not whole. Never writes: all output is the writer's.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Poll, ready};

use bytes::Bytes;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tracing::{debug, info};

use super::input_guard::{InputGuard, WaitingFor};
use crate::config::canonical;
use crate::fault;
use crate::memory::{MemoryShare, MemoryUse};
use crate::net::connection_limit::ConnectionPermit;
use crate::protocol::dialect::Dialect;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::names::Label;
use crate::session::{Outcome, PendingCommand, Session, SessionContext};
use crate::writer::Slot;
use crate::writer::handle::WriterHandle;

/// The size of a worker's read buffer, and so the most that one read takes.
const READ_BYTES: usize = 64 * 1024;

/// TextCommands that one connection has executed before the next connection has its turn.
const TURN_COMMANDS: u8 = 64;

/// What a transport makes of the bytes.
pub trait ProtocolHandler {
    /// Takes out of `fresh`, which was read behind `_kept`, what is not of the conversation. Returns how many bytes are left, at its
    /// front.
    fn strip(&mut self, _kept: &mut Vec<u8>, fresh: &mut [u8]) -> usize {
        fresh.len()
    }

    /// Executes what is whole in `input`, at most so many commands.
    fn execute(&mut self, session: &mut Session, input: &mut [u8], commands_max: usize) -> (Turn, Executed);

    /// Memory that what is not whole yet takes, in bytes, besides the input itself.
    fn held_bytes(&self) -> usize {
        0
    }

    /// What the transport itself has still to say when the client is out of its room.
    fn final_bytes(&self) -> Option<Bytes> {
        None
    }
}

/// What was executed.
#[derive(Clone, Copy, Debug, Default)]
pub struct Executed {
    /// The bytes of input that it was.
    pub bytes: usize,
    /// The commands, or what costs as much.
    pub commands: usize,
    /// Whether a message was finished with it.
    pub has_finished: bool,
    /// Whether a line client said something with it.
    pub has_spoken: bool,
}

/// How a turn ended.
#[derive(Debug)]
pub enum Turn {
    /// Nothing whole is left.
    Idle,
    /// There is more, after the others.
    Yield,
    /// A command must be waited for.
    Pending(PendingCommand),
    /// The conversation ends, once this is done.
    Last(Outcome, Disconnect),
}

impl Turn {
    /// The turn after a command, if that ends it.
    pub fn after(outcome: Outcome) -> Option<Self> {
        match outcome {
            Outcome::Done => None,
            Outcome::Pending(pending) => Some(Self::Pending(pending)),
            Outcome::Ended(reason) => Some(Self::Last(Outcome::Done, reason)),
        }
    }
}

/// A worker's read buffer, and what becomes known where input is read. Its turns never overlap.
#[derive(Clone)]
pub struct ReadBuffer(Rc<Reading>);

struct Reading {
    bytes: RefCell<Box<[u8]>>,
    /// What was read and is not executed yet is needed.
    memory: MemoryUse,
    input_guard: Rc<InputGuard>,
}

impl ReadBuffer {
    /// The one buffer of a worker.
    pub fn new(memory: MemoryUse, input_guard: Rc<InputGuard>) -> Self {
        Self(Rc::new(Reading { bytes: RefCell::new(vec![0; READ_BYTES].into()), memory, input_guard }))
    }

    /// Who watches the clients that are read into it.
    pub fn input_guard(&self) -> &Rc<InputGuard> {
        &self.0.input_guard
    }

    /// A part of the worker that needs memory.
    pub fn memory_share(&self) -> MemoryShare {
        self.0.memory.part()
    }

    /// Reads what still comes and forgets it, until the end of the input or until the socket was closed.
    pub async fn discard_input(&self, stream: &TcpStream) {
        while stream.readable().await.is_ok() {
            match self.discard(stream) {
                Ok(0) => return,
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
                _ => yield_now().await,
            }
        }
    }

    /// Reads once and forgets it.
    pub fn discard(&self, stream: &TcpStream) -> io::Result<usize> {
        try_read(stream, &mut self.0.bytes.borrow_mut())
    }
}

/// A client's socket and what comes with it.
pub struct Client {
    /// The socket.
    pub stream: TcpStream,
    /// Its place among the clients.
    pub permit: ConnectionPermit,
    /// How it is written to.
    pub dialect: Dialect,
    /// What stands in front of its messages.
    pub label: Label,
    /// Where it comes from, behind the proxies that are believed.
    pub address: IpAddr,
    /// What was read from the socket already.
    pub already_read: Vec<u8>,
}

/// The read side of one client.
pub struct Connection<R> {
    stream: Rc<TcpStream>,
    slot: Slot,
    writer: WriterHandle,
    buffer: ReadBuffer,
    session: Session,
    handler: R,
    /// Read and not executed yet: whole commands after a turn that ended early, and the beginning of one.
    tail: Vec<u8>,
    /// The tail may hold a whole command.
    is_behind: bool,
    /// A line client has said something.
    has_spoken: bool,
    /// TextCommands that may still be executed before others have their turn.
    commands_left: u8,
    _permit: ConnectionPermit,
}

impl<R: ProtocolHandler> Connection<R> {
    /// Gives the write side to the writer. `reader` gets to know the slot.
    pub fn open(
        client: Client,
        buffer: ReadBuffer,
        sessions: Rc<SessionContext>,
        handler: impl FnOnce(Slot) -> R,
    ) -> Self {
        let Client { stream, permit, dialect, label, address, already_read } = client;
        let stream = Rc::new(stream);
        let writer = sessions.writer.clone();
        let slot = writer.open(Rc::clone(&stream), dialect);
        let drain = sessions.drain.clone();
        let session = Session::new(sessions, slot, dialect, label, address);
        if drain.is_stopping() {
            // Let in at the last moment: those who leave do not wait for this one to finish talking.
            writer.disconnect(slot, Disconnect::Shutdown);
        }
        buffer.0.memory.change(0, already_read.capacity());
        Self {
            stream,
            slot,
            writer,
            buffer,
            session,
            handler: handler(slot),
            is_behind: !already_read.is_empty(),
            tail: already_read,
            has_spoken: false,
            commands_left: TURN_COMMANDS,
            _permit: permit,
        }
    }

    /// From the first byte to the end. Not an `async fn`, which would hold `self` twice.
    #[allow(clippy::manual_async_fn)]
    pub fn run(mut self) -> impl Future<Output = ()> {
        async move {
            let reason = self.serve_commands().await;
            // Boxed, as is all that a client seldom waits for: an idle one is to be small.
            Box::pin(self.end(reason)).await;
        }
    }

    async fn end(self, reason: Disconnect) {
        let held = self.held_bytes();
        let Self { stream, slot, writer, buffer, session, handler, tail, _permit, .. } = self;
        let final_bytes = handler.final_bytes();
        // What is not needed any more is not to wait for a client that lingers.
        drop((handler, tail));
        buffer.0.memory.change(held, 0);
        buffer.input_guard().forget(slot);
        session.end(reason, final_bytes).await;
        log_end(&stream, reason);
        buffer.discard_input(&stream).await;
        writer.input_ended(slot).await;
    }

    async fn serve_commands(&mut self) -> Disconnect {
        let mut outcome = self.session.greet();
        loop {
            match outcome {
                Outcome::Done => {}
                Outcome::Pending(pending) => Box::pin(self.session.finish(pending)).await,
                Outcome::Ended(reason) => return reason,
            }
            if let Some(reason) = self.writer.disconnect_reason(self.slot) {
                return reason;
            }
            outcome = match self.turn() {
                Turn::Idle => match self.readable().await {
                    Ok(()) => {
                        self.commands_left = TURN_COMMANDS;
                        Outcome::Done
                    }
                    Err(reason) => Outcome::Ended(reason),
                },
                Turn::Yield => {
                    yield_now().await;
                    self.commands_left = TURN_COMMANDS;
                    Outcome::Done
                }
                Turn::Pending(pending) => Outcome::Pending(pending),
                Turn::Last(Outcome::Pending(pending), reason) => {
                    Box::pin(self.session.finish(pending)).await;
                    Outcome::Ended(reason)
                }
                Turn::Last(_, reason) => Outcome::Ended(reason),
            };
        }
    }

    /// Waits for input, or for the writer to end the conversation.
    async fn readable(&self) -> Result<(), Disconnect> {
        poll_fn(|context| {
            if let Poll::Ready(reason) = self.writer.poll_disconnect(self.slot, context) {
                return Poll::Ready(Err(reason));
            }
            let readable = ready!(self.stream.poll_read_ready(context));
            Poll::Ready(readable.map_err(|_| Disconnect::IoError))
        })
        .await
    }

    /// What is kept of the input, in bytes of memory.
    fn held_bytes(&self) -> usize {
        self.tail.capacity() + self.handler.held_bytes()
    }

    /// One read or as many commands as are left, without waiting.
    fn turn(&mut self) -> Turn {
        let before = self.held_bytes();
        let (turn, has_finished) = self.read_and_execute();
        let held = self.held_bytes();
        self.buffer.0.memory.change(before, held);
        if before > 0 || held > 0 {
            let waiting_for = if self.is_behind { WaitingFor::Server } else { WaitingFor::Client };
            for largest in self.buffer.input_guard().keeps(self.slot, held, waiting_for, has_finished) {
                self.writer.disconnect(largest, Disconnect::InputBudget);
            }
        }
        turn
    }

    /// The second is whether a message was finished.
    fn read_and_execute(&mut self) -> (Turn, bool) {
        if self.is_behind {
            return self.execute_tail(false);
        }
        let buffer = self.buffer.clone();
        let buffer = &mut *buffer.0.bytes.borrow_mut();
        // Less and less as the budget of input fills, so that a client that the server makes wait is not read and not cut.
        let read_max = self.buffer.input_guard().read_bytes_max(READ_BYTES);
        let read = match try_read(&self.stream, &mut buffer[..read_max]) {
            Ok(0) => return (Turn::Last(Outcome::Done, Disconnect::ClosedByPeer), false),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return (Turn::Idle, false),
            Err(_) => return (Turn::Last(Outcome::Done, Disconnect::IoError), false),
        };
        fault::inject("conversation");
        self.writer.count_received(read);
        // A full buffer means that there is more to read.
        let is_more = read == read_max;
        let fresh = self.handler.strip(&mut self.tail, &mut buffer[..read]);
        if !self.tail.is_empty() {
            self.tail.extend_from_slice(&buffer[..fresh]);
            return self.execute_tail(is_more);
        }
        let commands_max = self.commands_left.into();
        let (turn, executed) = self.handler.execute(&mut self.session, &mut buffer[..fresh], commands_max);
        self.tail = buffer[executed.bytes..fresh].to_vec();
        self.after(turn, executed, is_more)
    }

    fn execute_tail(&mut self, is_more: bool) -> (Turn, bool) {
        let mut tail = mem::take(&mut self.tail);
        let (turn, executed) = self.handler.execute(&mut self.session, &mut tail, self.commands_left.into());
        tail.drain(..executed.bytes);
        self.tail = if tail.is_empty() { Vec::new() } else { tail };
        self.after(turn, executed, is_more)
    }

    fn after(&mut self, turn: Turn, executed: Executed, is_more: bool) -> (Turn, bool) {
        // TextCommands that wait for nobody are part of the turn as well.
        self.commands_left = self.commands_left.saturating_sub(executed.commands.try_into().unwrap_or(u8::MAX));
        self.is_behind = !matches!(turn, Turn::Idle);
        if executed.has_spoken {
            self.buffer.input_guard().line_client_spoke(self.slot, !mem::replace(&mut self.has_spoken, true));
        }
        let turn = if is_more && !self.is_behind { Turn::Yield } else { turn };
        (turn, executed.has_finished)
    }
}

/// What an operator should see is told by default, the rest on request.
fn log_end(stream: &TcpStream, reason: Disconnect) {
    let (peer, reason_text) = (stream.peer_addr().ok().map(canonical).map(tracing::field::display), reason.reason());
    match reason {
        Disconnect::SlowConsumer => info!(peer, reason = reason_text, "connection ended"),
        _ => debug!(peer, reason = reason_text, "connection ended"),
    }
}

/// Reads once. A short read has emptied the socket, and saying so saves the call that would only be refused.
fn try_read(stream: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let mut short = None;
    let outcome = stream.try_io(Interest::READABLE, || {
        let read = rustix::io::read(stream, &mut *buffer)?;
        if (1..buffer.len()).contains(&read) {
            short = Some(read);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(read)
    });
    short.map_or(outcome, Ok)
}
