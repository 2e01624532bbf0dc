//! Clients without WebSocket: the answer of a request goes on as their stream, and their commands come by other requests
//! as whole frames. What comes over the stream's own socket is discarded.

use std::rc::Rc;
use std::task::{Context, Poll};

use super::connection::{Client, Connection, Executed, InputDecoder, ReadBuffer};
use super::emulation::{StreamMailbox, Streams};
use super::keepalive::{Keepalive, Liveness};
use crate::protocol::dialect::{Dialect, Encoding};
use crate::protocol::disconnect::Disconnect;
use crate::protocol::publication::Publisher;
use crate::session::centrifuge::{CentrifugeHandler, Opening};
use crate::session::reader::{ReaderHandler, Reading};
use crate::session::{Outcome, ProtocolHandler, SessionContext};

/// Returns the connection of a client whose head has been answered, to be run to its end. What was already read is the
/// frame of its request.
pub fn open(
    client: Client,
    publisher: Publisher,
    dialect: Dialect,
    streams: &Rc<Streams>,
    buffer: &Rc<ReadBuffer>,
    context: &Rc<SessionContext>,
    keepalive: &Keepalive,
) -> impl Future<Output = ()> + use<> {
    let Client { already_read, .. } = client;
    let client = Client { already_read: Vec::new(), ..client };
    let sends_commands = dialect.encoding() != Encoding::Push;
    let (name, mailbox) = sends_commands.then(|| streams.open()).unzip();
    let decoder = |slot| StreamFrames {
        is_binary: dialect.encoding() == Encoding::Protobuf,
        first: Some(already_read.into()),
        mailbox,
        liveness: keepalive.watch(slot, dialect),
    };
    let opening = Opening { stream: name.map(Box::new) };
    let handler = |session| CentrifugeHandler::new(session, opening);
    let (buffer, context) = (Rc::clone(buffer), Rc::clone(context));
    Connection::open(client, publisher, dialect, buffer, context, decoder, handler).run()
}

/// Returns the connection of a client that reads one room, and whose head has been answered, to be run to its end.
pub fn open_reader(
    client: Client,
    publisher: Publisher,
    reading: Box<Reading>,
    buffer: &Rc<ReadBuffer>,
    context: &Rc<SessionContext>,
    keepalive: &Keepalive,
) -> impl Future<Output = ()> + use<> {
    let dialect = Dialect::RoomEvents;
    let decoder =
        |slot| StreamFrames { is_binary: false, first: None, mailbox: None, liveness: keepalive.watch(slot, dialect) };
    let handler = |session| ReaderHandler::new(session, reading);
    let (buffer, context) = (Rc::clone(buffer), Rc::clone(context));
    Connection::open(client, publisher, dialect, buffer, context, decoder, handler).run()
}

/// Has frames executed.
struct StreamFrames {
    is_binary: bool,
    /// The frame of the request that has opened the stream, until it is executed.
    first: Option<Box<[u8]>>,
    /// `None` for a client that sends no commands.
    mailbox: Option<StreamMailbox>,
    liveness: Rc<Liveness>,
}

impl<P: ProtocolHandler> InputDecoder<P> for StreamFrames {
    fn strip(&mut self, _: &mut Vec<u8>, _: &mut [u8]) -> usize {
        0
    }

    fn poll_input(&mut self, context: &mut Context<'_>) -> Poll<()> {
        match &self.mailbox {
            _ if self.first.is_some() => Poll::Ready(()),
            Some(mailbox) => mailbox.poll_waiting(context),
            None => Poll::Pending,
        }
    }

    fn execute(&mut self, handler: &mut P, _: &mut [u8]) -> Option<Executed> {
        let outcome = match self.first.take() {
            Some(frame) => self.execute_frame(handler, &frame),
            None => self.execute_frame(handler, &self.mailbox.as_ref()?.take()?.bytes),
        };
        Some(Executed { commands: 1, bytes: 0, is_message_end: true, is_line: false, outcome })
    }

    fn turn_ended(&self, is_idle: bool) {
        self.liveness.hear(is_idle);
    }
}

impl StreamFrames {
    fn execute_frame(&self, handler: &mut impl ProtocolHandler, frame: &[u8]) -> Outcome {
        if self.is_binary {
            return handler.binary(frame);
        }
        match simdutf8::basic::from_utf8(frame) {
            Ok(text) => handler.text(text),
            Err(_) => Outcome::Ended(Disconnect::NotUtf8),
        }
    }
}
