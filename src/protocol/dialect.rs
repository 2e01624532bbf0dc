//! How an event becomes bytes for one kind of client: an encoding, wrapped in a framing. The broker and the writer know
//! dialects only as a way to get bytes, and group the members of a room by them.

use bytes::Bytes;
use strum::VariantArray;

use super::disconnect::Disconnect;
use super::event::{Event, RequestId};
use super::text;
use super::websocket::encode;

/// A pair of an encoding and a framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, VariantArray)]
pub enum Dialect {
    /// Text, as lines.
    TextLines,
    /// Text, as WebSocket messages.
    TextWebSocket,
}

/// How an event is written, without framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Words for people and line clients: see [`text`].
    Text,
}

/// How one encoded event is told apart from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Ended by `\n`.
    Line,
    /// A WebSocket text message (RFC 6455).
    WebSocket,
}

/// What a client has connected with, as metrics and logs name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, strum::IntoStaticStr)]
#[strum(serialize_all = "lowercase")]
pub enum Transport {
    /// A plain TCP connection.
    Tcp,
    /// A connection that was upgraded from HTTP.
    WebSocket,
}

impl Transport {
    /// The constant phrase for logs and metric labels.
    pub fn word(self) -> &'static str {
        self.into()
    }
}

impl Framing {
    /// Frames what was appended to `out` from `start` on.
    fn frame(self, out: &mut Vec<u8>, start: usize) {
        match self {
            Self::Line => out.push(b'\n'),
            Self::WebSocket => encode::text(out, start),
        }
    }

    /// The bytes that frame an event of that length. Exact, because a vector without spare capacity becomes `Bytes`
    /// without another allocation.
    const fn bytes(self, event_bytes: usize) -> usize {
        match self {
            Self::Line => "\n".len(),
            Self::WebSocket => encode::header_bytes(event_bytes),
        }
    }
}

impl Dialect {
    /// Keeps an idle line client's connection alive; clients ignore it.
    pub const EMPTY_LINE: &[u8] = b"\n";

    /// How events are written.
    pub const fn encoding(self) -> Encoding {
        match self {
            Self::TextLines | Self::TextWebSocket => Encoding::Text,
        }
    }

    /// How encoded events are framed.
    pub const fn framing(self) -> Framing {
        match self {
            Self::TextLines => Framing::Line,
            Self::TextWebSocket => Framing::WebSocket,
        }
    }

    /// What its clients have connected with.
    pub const fn transport(self) -> Transport {
        match self {
            Self::TextLines => Transport::Tcp,
            Self::TextWebSocket => Transport::WebSocket,
        }
    }

    /// Appends the event as one whole message.
    pub fn write(self, event: &Event<'_>, out: &mut Vec<u8>) {
        let Encoding::Text = self.encoding();
        let event_bytes = text::size_hint(event);
        out.reserve(event_bytes + self.framing().bytes(event_bytes));
        let start = out.len();
        text::write(event, out);
        self.framing().frame(out, start);
    }

    /// Appends the reply to a command as one whole message. Text has no names for commands: its replies come in the order
    /// of the commands.
    pub fn write_reply(self, _request: Option<RequestId>, event: &Event<'_>, out: &mut Vec<u8>) {
        self.write(event, out);
    }

    /// Encodes the event as a message of its own.
    pub fn encode(self, event: &Event<'_>) -> Bytes {
        let mut out = Vec::new();
        self.write(event, &mut out);
        out.into()
    }

    /// The last bytes for a client; `None` if it closed the connection itself or its socket failed.
    pub fn closing(self, reason: Disconnect) -> Option<Bytes> {
        let code = reason.close_code()?;
        let mut out = Vec::new();
        if self.framing() == Framing::Line || reason == Disconnect::Quit {
            self.write(&Event::Closed(reason), &mut out);
        }
        if self.framing() == Framing::WebSocket {
            out.extend(encode::close(Some(code), reason.reason()));
        }
        Some(out.into())
    }
}
