//! How an event is framed for one kind of client. The broker and the writer know dialects only as a way to get bytes: a
//! new one is a variant here and a transport that reads it.

use bytes::Bytes;

use super::disconnect::Disconnect;
use super::event::Event;
use super::websocket::encode;

/// An encoding and framing of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dialect {
    /// UTF-8 lines, each ended by `\n`.
    Lines,
    /// WebSocket text messages (RFC 6455), one per event.
    WebSocket,
}

impl Dialect {
    /// Every dialect, in the order of its index.
    pub const ALL: [Self; 2] = [Self::Lines, Self::WebSocket];

    /// Keeps an idle line client's connection alive; clients ignore it.
    pub const EMPTY_LINE: &[u8] = b"\n";

    /// The constant phrase for logs and metric labels.
    pub const fn transport(self) -> &'static str {
        match self {
            Self::Lines => "tcp",
            Self::WebSocket => "websocket",
        }
    }

    /// Appends the event as one whole message.
    pub fn write(self, event: &Event<'_>, out: &mut Vec<u8>) {
        let text_bytes = event.size_hint();
        out.reserve(text_bytes + self.framing_bytes(text_bytes));
        let start = out.len();
        event.write(out);
        match self {
            Self::Lines => out.push(b'\n'),
            Self::WebSocket => encode::text(out, start),
        }
    }

    /// The bytes that frame a text of that length. Exact, because a vector without spare capacity becomes `Bytes`
    /// without another allocation.
    const fn framing_bytes(self, text_bytes: usize) -> usize {
        match self {
            Self::Lines => "\n".len(),
            Self::WebSocket => encode::header_bytes(text_bytes),
        }
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
        if self == Self::Lines || reason == Disconnect::Quit {
            self.write(&Event::Closed(reason), &mut out);
        }
        if self == Self::WebSocket {
            out.extend(encode::close(Some(code), reason.reason()));
        }
        Some(out.into())
    }
}
