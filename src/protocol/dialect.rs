//! How an event becomes bytes for one kind of client: an encoding, wrapped in a framing. The broker and the writer know
//! dialects only as a way to get bytes, and group the members of a room by them.

use std::borrow::Cow;

use bytes::Bytes;
use strum::VariantArray;

use super::centrifuge::{disconnect_code, json, protobuf};
use super::chunk;
use super::compression::Compression;
use super::disconnect::{Disconnect, RetrySeconds};
use super::event::{Event, RequestId};
use super::names::RoomName;
use super::position::Epoch;
use super::publication::Publication;
use super::room_events::{self, HEARTBEAT};
use super::text;
use super::websocket::encode;

/// A pair of an encoding and a framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dialect {
    /// Text, as lines.
    TextLines,
    /// Text, as WebSocket messages.
    TextWebSocket(Compression),
    /// The Centrifuge protocol in JSON, as WebSocket messages.
    JsonWebSocket(Compression),
    /// The Centrifuge protocol in Protobuf, as WebSocket messages.
    ProtobufWebSocket(Compression),
    /// The Centrifuge protocol in JSON, as lines of an HTTP answer that does not end.
    JsonStream,
    /// The Centrifuge protocol in Protobuf, in an HTTP answer that does not end.
    ProtobufStream,
    /// The Centrifuge protocol in JSON, as server-sent events.
    JsonEvents,
    /// What the server pushes by the Centrifuge protocol, in JSON and without replies, as server-sent events.
    PushEvents,
    /// One room, as server-sent events.
    RoomEvents,
}

/// How an event is written, without framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// Words for people and line clients: see [`text`].
    Text,
    /// Replies and pushes of the Centrifuge protocol in JSON: see [`json`].
    Json,
    /// Replies and pushes of the Centrifuge protocol in Protobuf: see [`protobuf`].
    Protobuf,
    /// Pushes of the Centrifuge protocol in JSON, without what is around them: see [`json`].
    Push,
    /// A room as server-sent events, for clients that send nothing: see [`room_events`].
    RoomEvents,
}

/// How one encoded event is told apart from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Ended by `\n`.
    Line,
    /// A WebSocket text message (RFC 6455).
    WebSocketText(Compression),
    /// A WebSocket binary message.
    WebSocketBinary(Compression),
    /// A chunk of an HTTP answer (RFC 9112 §7.1).
    Chunk,
    /// A chunk that is a line.
    LineChunk,
    /// A chunk that is a server-sent event.
    EventChunk,
}

/// What a client has connected with, as metrics and logs name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Transport {
    /// A plain TCP connection.
    Tcp,
    /// A connection that was upgraded from HTTP.
    #[strum(serialize = "websocket")]
    WebSocket,
    /// An HTTP answer that does not end.
    HttpStream,
    /// An HTTP answer of server-sent events.
    Sse,
}

impl Transport {
    /// The constant phrase for logs and metric labels.
    pub fn word(self) -> &'static str {
        self.into()
    }
}

impl Framing {
    /// Frames what was appended to `out` from `start` on.
    #[inline]
    pub fn frame(self, out: &mut Vec<u8>, start: usize) {
        match self {
            Self::Line => out.push(b'\n'),
            Self::WebSocketText(compression) => encode::text(compression, out, start),
            Self::WebSocketBinary(compression) => encode::binary(compression, out, start),
            Self::Chunk => chunk::frame(b"", b"", out, start),
            Self::LineChunk => chunk::frame(b"", b"\n", out, start),
            Self::EventChunk => chunk::frame(b"data: ", b"\n\n", out, start),
        }
    }

    /// The bytes that frame an event of that length. Exact, because a vector without spare
    /// capacity becomes `Bytes` without another allocation.
    pub const fn bytes(self, event_bytes: usize) -> usize {
        match self {
            Self::Line => "\n".len(),
            Self::WebSocketText(_) | Self::WebSocketBinary(_) => encode::header_bytes(event_bytes),
            Self::Chunk => chunk::bytes(b"", b"", event_bytes),
            Self::LineChunk => chunk::bytes(b"", b"\n", event_bytes),
            Self::EventChunk => chunk::bytes(b"data: ", b"\n\n", event_bytes),
        }
    }
}

impl Dialect {
    /// Every dialect, those of WebSocket without compression.
    pub const ALL: [Self; 9] = [
        Self::TextLines,
        Self::TextWebSocket(Compression::None),
        Self::JsonWebSocket(Compression::None),
        Self::ProtobufWebSocket(Compression::None),
        Self::JsonStream,
        Self::ProtobufStream,
        Self::JsonEvents,
        Self::PushEvents,
        Self::RoomEvents,
    ];

    /// Keeps an idle line client's connection alive; clients ignore it.
    pub const EMPTY_LINE: &[u8] = b"\n";

    /// How events are written.
    pub const fn encoding(self) -> Encoding {
        match self {
            Self::TextLines | Self::TextWebSocket(_) => Encoding::Text,
            Self::JsonWebSocket(_) | Self::JsonStream | Self::JsonEvents => Encoding::Json,
            Self::ProtobufWebSocket(_) | Self::ProtobufStream => Encoding::Protobuf,
            Self::PushEvents => Encoding::Push,
            Self::RoomEvents => Encoding::RoomEvents,
        }
    }

    /// How encoded events are framed.
    pub const fn framing(self) -> Framing {
        match self {
            Self::TextLines => Framing::Line,
            Self::TextWebSocket(compression) | Self::JsonWebSocket(compression) => Framing::WebSocketText(compression),
            Self::ProtobufWebSocket(compression) => Framing::WebSocketBinary(compression),
            Self::JsonStream => Framing::LineChunk,
            Self::ProtobufStream | Self::RoomEvents => Framing::Chunk,
            Self::JsonEvents | Self::PushEvents => Framing::EventChunk,
        }
    }

    /// How messages are compressed, in either direction.
    pub const fn compression(self) -> Compression {
        match self.framing() {
            Framing::WebSocketText(compression) | Framing::WebSocketBinary(compression) => compression,
            Framing::Line | Framing::Chunk | Framing::LineChunk | Framing::EventChunk => Compression::None,
        }
    }

    /// What its clients have connected with.
    pub const fn transport(self) -> Transport {
        match self {
            Self::TextLines => Transport::Tcp,
            Self::TextWebSocket(_) | Self::JsonWebSocket(_) | Self::ProtobufWebSocket(_) => Transport::WebSocket,
            Self::JsonStream | Self::ProtobufStream => Transport::HttpStream,
            Self::JsonEvents | Self::PushEvents | Self::RoomEvents => Transport::Sse,
        }
    }

    /// Whether each publication comes with its offset, so that a client which loses one must come back and resume: it is
    /// never told of a gap.
    pub const fn has_offsets(self) -> bool {
        !matches!(self.encoding(), Encoding::Text)
    }

    /// Whether a client begins its connection by a command, before which it can do nothing.
    pub const fn connects_by_command(self) -> bool {
        !matches!(self.encoding(), Encoding::Text | Encoding::RoomEvents)
    }

    /// Whether the client answers pings.
    pub const fn answers_pings(self) -> bool {
        !matches!(self, Self::PushEvents | Self::RoomEvents | Self::TextLines)
    }

    /// Appends the event as one whole message, for all clients that get it; nothing if the dialect has no form for it.
    pub fn write(self, event: &Event<'_>, out: &mut Vec<u8>) {
        const PLAIN: Framing = Framing::WebSocketText(Compression::None);
        // Each of the two gets code of its own, without a look at what other dialects need: a tenth fewer instructions.
        match self {
            Self::TextLines => write_as(Encoding::Text, Framing::Line, event, out),
            Self::TextWebSocket(Compression::None) => write_as(Encoding::Text, PLAIN, event, out),
            other => other.write_any(event, out),
        }
    }

    #[inline(never)]
    fn write_any(self, event: &Event<'_>, out: &mut Vec<u8>) {
        write_as(self.encoding(), self.framing(), event, out);
    }

    /// Appends what one client alone gets, such as the reply to a command, as one whole message without compression. Text
    /// has no names for commands: its replies come in the order of the commands.
    pub fn write_reply(self, request: Option<RequestId>, event: &Event<'_>, out: &mut Vec<u8>) {
        let plain = self.uncompressed();
        let Some(request) = request else { return plain.write(event, out) };
        let start = out.len();
        match plain.encoding() {
            Encoding::Text => text::write(event, out),
            Encoding::Json => json::write_reply(request, event, out),
            Encoding::Protobuf => protobuf::write_reply(request, event, out),
            Encoding::Push => json::write_bare(event, out),
            Encoding::RoomEvents => room_events::write(event, out),
        }
        if out.len() > start {
            plain.framing().frame(out, start);
        }
    }

    /// The same dialect without compression. Compressing takes as long as many deliveries, which only pays where many
    /// clients get the message; and one client could have others wait by asking for much.
    const fn uncompressed(self) -> Self {
        match self {
            Self::TextWebSocket(_) => Self::TextWebSocket(Compression::None),
            Self::JsonWebSocket(_) => Self::JsonWebSocket(Compression::None),
            Self::ProtobufWebSocket(_) => Self::ProtobufWebSocket(Compression::None),
            _ => self,
        }
    }

    /// Appends a publication that a client has missed: as a whole message, or where a reply holds all of them, as a part
    /// of that reply.
    pub fn write_missed(self, room: &RoomName, epoch: Epoch, publication: &Publication, out: &mut Vec<u8>) {
        match self.encoding() {
            Encoding::Text => self.write(&Event::Published(room, epoch, publication), out),
            Encoding::Json | Encoding::Push => json::write_missed(publication, out),
            Encoding::Protobuf => protobuf::write_missed(publication, out),
            Encoding::RoomEvents => room_events::write(&Event::Published(room, epoch, publication), out),
        }
    }

    /// Encodes the event as a message of its own; empty if the dialect has no form for it.
    pub fn encode(self, event: &Event<'_>) -> Bytes {
        let mut out = Vec::new();
        self.write(event, &mut out);
        out.into()
    }

    /// What asks a client whether it is still there.
    pub fn ping(self) -> Bytes {
        let mut out = Vec::new();
        match self.encoding() {
            Encoding::Text => return encode::ping().into(),
            Encoding::Json | Encoding::Push => out.extend_from_slice(b"{}"),
            Encoding::Protobuf => out.push(0),
            Encoding::RoomEvents => out.extend_from_slice(HEARTBEAT),
        }
        self.uncompressed().framing().frame(&mut out, 0);
        out.into()
    }

    /// The last bytes for a client, with the time after which clients of a server that stops come back; `None` if the
    /// client closed the connection itself, its socket failed, or it was told already.
    pub fn closing(self, reason: Disconnect, retry: RetrySeconds) -> Option<Bytes> {
        reason.close_code()?;
        if self.encoding() == Encoding::Text && reason == Disconnect::Quit && self.transport() == Transport::WebSocket {
            let mut out = Vec::new();
            self.write(&Event::Closed(reason, retry), &mut out);
            out.extend(encode::close(reason.close_code(), reason.reason()));
            return Some(out.into());
        }
        let (code, words) = self.close_code(reason, retry);
        Some(self.close(&Event::Closed(reason, retry), (code, &words)))
    }

    /// The last bytes for a client whose connection an application ends in words of its own.
    pub fn closing_with(self, code: u16, reason: &str) -> Bytes {
        self.close(&Event::Dismissed(code, reason), (code, reason))
    }

    /// The end of a connection: a close frame, or the event and the end of the answer.
    fn close(self, event: &Event<'_>, (code, reason): (u16, &str)) -> Bytes {
        let mut out = Vec::new();
        match self.framing() {
            Framing::WebSocketText(_) | Framing::WebSocketBinary(_) => return encode::close(Some(code), reason).into(),
            Framing::Line => self.write(event, &mut out),
            Framing::Chunk | Framing::LineChunk | Framing::EventChunk => {
                self.write(event, &mut out);
                out.extend_from_slice(chunk::LAST);
            }
        }
        out.into()
    }

    /// The code and the reason of a WebSocket close frame.
    fn close_code(self, reason: Disconnect, retry: RetrySeconds) -> (u16, Cow<'static, str>) {
        let (code, words) = match self.encoding() {
            Encoding::Text | Encoding::RoomEvents => (reason.close_code().unwrap_or_default(), reason.reason()),
            Encoding::Json | Encoding::Protobuf | Encoding::Push => disconnect_code(reason),
        };
        (code, retry.told_with(reason, words))
    }
}

#[inline(always)]
fn write_as(encoding: Encoding, framing: Framing, event: &Event<'_>, out: &mut Vec<u8>) {
    let event_bytes = match encoding {
        Encoding::Text => text::size_hint(event),
        Encoding::Json | Encoding::Push => json::size_hint(event),
        Encoding::Protobuf => protobuf::size_hint(event),
        Encoding::RoomEvents => room_events::size_hint(event),
    };
    out.reserve(event_bytes + framing.bytes(event_bytes));
    let start = out.len();
    match encoding {
        Encoding::Text => text::write(event, out),
        Encoding::Json => json::write(event, out),
        Encoding::Protobuf => protobuf::write(event, out),
        Encoding::Push => json::write_bare(event, out),
        Encoding::RoomEvents => room_events::write(event, out),
    }
    if out.len() > start || encoding == Encoding::Text {
        framing.frame(out, start);
    }
}
