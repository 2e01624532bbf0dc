//! Line clients: bytes in, commands of a session out. Reads into the worker's shared buffer and parses there; a connection
//! keeps bytes of its own only for a line that has not ended. Never writes: all output is the writer's.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Poll, ready};

use rustix::net::{Shutdown, shutdown};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::task::yield_now;
use tracing::debug;

use super::accept::{Accepted, Place};
use crate::config::Labels;
use crate::protocol::command::{self, Refusal};
use crate::protocol::dialect::Dialect;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::event::Event;
use crate::protocol::lines::{is_foreign, next_line};
use crate::protocol::names::Label;
use crate::session::{Handled, Session, SessionHost, Unfinished};
use crate::writer::Slot;
use crate::writer::handle::WriterHandle;

/// The size of a worker's read buffer, and so the most that one read takes.
const READ_BYTES: usize = 64 * 1024;

/// Lines that one connection has executed before the next connection has its turn.
const TURN_LINES: usize = 64;

/// What the line connections of one worker share. Read by their turns, which never overlap.
pub struct LineHost {
    read_buffer: RefCell<Box<[u8]>>,
    line_bytes_max: usize,
    labels: Labels,
}

impl LineHost {
    /// With lines of at most so many bytes.
    pub fn new(line_bytes_max: usize, labels: Labels) -> Self {
        Self { read_buffer: RefCell::new(vec![0; READ_BYTES].into()), line_bytes_max, labels }
    }

    fn label(&self, peer: SocketAddr, id: u64) -> Label {
        match self.labels {
            Labels::Address => Label::of_server(peer),
            Labels::Id => Label::of_server(format_args!("TCP-{id}")),
        }
    }
}

/// Lets a client in: the conversation to be run, from its first byte to its end. `id` is the client's number in this
/// server. `None` if there was no place; the client has been told.
pub fn open(
    accepted: Accepted,
    id: u64,
    host: Rc<LineHost>,
    sessions: Rc<SessionHost>,
) -> Option<impl Future<Output = ()>> {
    let Accepted { stream, peer, place } = accepted;
    let Some(place) = place else {
        refuse_full(&stream, &host);
        return None;
    };
    let mut connection = Connection::open(stream, place, host.label(peer, id), host, sessions);
    Some(async move {
        let reason = connection.converse().await;
        // Boxed, as is all that a client seldom waits for: an idle one is to be small.
        Box::pin(connection.end(reason)).await;
    })
}

/// There is no place. Says so if the socket takes it, which a new one does, and does not linger: the descriptor is needed.
fn refuse_full(stream: &TcpStream, host: &LineHost) {
    let last = Dialect::Lines.encode(&Event::Closed(Disconnect::TooManyConnections));
    let _ = stream.try_write(&last);
    let _ = shutdown(stream, Shutdown::Write);
    // What has come already: closed with unread input, the socket would answer with a reset in place of the end.
    let _ = try_read(stream, &mut host.read_buffer.borrow_mut());
}

/// The read side of one client.
struct Connection {
    stream: Rc<TcpStream>,
    slot: Slot,
    writer: WriterHandle,
    host: Rc<LineHost>,
    session: Session,
    /// Read and not executed yet: whole lines after a turn that ended early, and the beginning of one.
    tail: Vec<u8>,
    /// Nothing was executed yet, so what comes may turn out to be another protocol.
    is_new: bool,
    /// The conversation is over once the client has been told why.
    over: Option<Disconnect>,
    _place: Place,
}

/// How a turn ended.
enum Turn {
    /// Nothing more to read.
    Idle,
    /// There is more, after the others.
    Yield,
    /// A command must be waited for.
    Later(Unfinished),
    /// The conversation has ended.
    Ended(Disconnect),
}

impl Turn {
    fn or_yield(self) -> Self {
        if matches!(self, Self::Idle) { Self::Yield } else { self }
    }
}

impl Connection {
    fn open(stream: TcpStream, place: Place, label: Label, host: Rc<LineHost>, sessions: Rc<SessionHost>) -> Self {
        let stream = Rc::new(stream);
        let writer = sessions.writer.clone();
        let slot = writer.open(Rc::clone(&stream), Dialect::Lines);
        let session = Session::new(sessions, slot, Dialect::Lines, label);
        Self { stream, slot, writer, host, session, tail: Vec::new(), is_new: true, over: None, _place: place }
    }

    async fn end(self, reason: Disconnect) {
        let Self { stream, slot, writer, host, session, _place, .. } = self;
        session.end(reason).await;
        debug!(reason = reason.reason(), "connection ended");
        discard_input(&stream, &host).await;
        writer.input_ended(slot).await;
    }

    async fn converse(&mut self) -> Disconnect {
        let mut handled = self.session.greet();
        loop {
            match handled {
                Handled::Done => {}
                Handled::Later(unfinished) => Box::pin(self.session.finish(unfinished)).await,
                Handled::Ended(reason) => return reason,
            }
            if let Some(reason) = self.over.or_else(|| self.writer.hang_up(self.slot)) {
                return reason;
            }
            handled = match self.turn() {
                Turn::Idle => match self.readable().await {
                    Ok(()) => Handled::Done,
                    Err(reason) => Handled::Ended(reason),
                },
                Turn::Yield => {
                    yield_now().await;
                    Handled::Done
                }
                Turn::Later(unfinished) => Handled::Later(unfinished),
                Turn::Ended(reason) => Handled::Ended(reason),
            };
        }
    }

    /// Waits for input, or for the writer to end the conversation.
    async fn readable(&self) -> Result<(), Disconnect> {
        poll_fn(|context| {
            if let Poll::Ready(reason) = self.writer.poll_hang_up(self.slot, context) {
                return Poll::Ready(Err(reason));
            }
            let readable = ready!(self.stream.poll_read_ready(context));
            Poll::Ready(readable.map_err(|_| Disconnect::IoError))
        })
        .await
    }

    /// One read or 64 lines, without waiting.
    fn turn(&mut self) -> Turn {
        let host = Rc::clone(&self.host);
        let buffer = &mut *host.read_buffer.borrow_mut();
        let mut tail = mem::take(&mut self.tail);
        if !tail.contains(&b'\n') {
            let read = match try_read(&self.stream, buffer) {
                Ok(0) => return Turn::Ended(Disconnect::ClosedByPeer),
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.tail = tail;
                    return Turn::Idle;
                }
                Err(_) => return Turn::Ended(Disconnect::IoError),
            };
            if tail.is_empty() {
                let (turn, executed) = self.execute(&buffer[..read]);
                self.tail = buffer[executed..read].to_vec();
                // A full buffer means that there is more to read: after the others.
                return if read == READ_BYTES { turn.or_yield() } else { turn };
            }
            tail.extend_from_slice(&buffer[..read]);
        }
        let (turn, executed) = self.execute(&tail);
        tail.drain(..executed);
        self.tail = if tail.is_empty() { Vec::new() } else { tail };
        turn.or_yield()
    }

    /// Executes whole lines up to the end of a turn. Returns how many bytes they had.
    fn execute(&mut self, input: &[u8]) -> (Turn, usize) {
        if self.is_new && is_foreign(input) {
            return (Turn::Ended(Disconnect::ProtocolError), 0);
        }
        let mut executed = 0;
        for _ in 0..TURN_LINES {
            let handled = match next_line(&input[executed..], self.host.line_bytes_max) {
                Ok(None) => return (Turn::Idle, executed),
                Ok(Some(line)) => {
                    self.is_new = false;
                    executed += line.consumed;
                    self.handle(line.bytes)
                }
                Err(too_long) => {
                    self.over = Some(Disconnect::TooLong);
                    self.session.refuse(&Refusal::from(too_long))
                }
            };
            match handled {
                Handled::Done if self.over.is_some() => return (Turn::Yield, executed),
                Handled::Done => {}
                Handled::Later(unfinished) => return (Turn::Later(unfinished), executed),
                Handled::Ended(reason) => return (Turn::Ended(reason), executed),
            }
        }
        (Turn::Yield, executed)
    }

    fn handle(&mut self, line: &[u8]) -> Handled {
        match command::parse(line) {
            Ok(Some(command)) => self.session.handle(command),
            Ok(None) => Handled::Done,
            Err(refusal) => self.session.refuse(&refusal),
        }
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

/// Reads what still comes and forgets it, until the end of the input or until the writer has closed the socket.
async fn discard_input(stream: &TcpStream, host: &LineHost) {
    while stream.readable().await.is_ok() {
        match try_read(stream, &mut host.read_buffer.borrow_mut()) {
            Ok(0) => return,
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
            _ => {}
        }
    }
}
