//! How an event is framed for one kind of client. A new dialect is a variant here and a transport that reads it; the
//! broker and the writer ask only for bytes.

use std::io::Write;

use bytes::Bytes;
use memchr::memchr;

use super::disconnect::Disconnect;
use super::event::Event;
use super::websocket::encode;

/// A way of writing events.
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

    /// What keeps a line client's connection alive without saying anything.
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
        out.reserve(self.framed(event.size_hint()));
        match (self, event) {
            (Self::Lines, event) => {
                write_text(event, out);
                out.push(b'\n');
            }
            (Self::WebSocket, event) => {
                let start = out.len();
                write_text(event, out);
                encode::text(out, start);
            }
        }
    }

    /// The length of a message with a text of so many bytes. Exact: bytes that fill their vector are shared without another
    /// allocation.
    const fn framed(self, text_bytes: usize) -> usize {
        text_bytes
            + match self {
                Self::Lines => "\n".len(),
                Self::WebSocket => encode::header_bytes(text_bytes),
            }
    }

    /// The event as one message of its own.
    pub fn encode(self, event: &Event<'_>) -> Bytes {
        let mut out = Vec::new();
        self.write(event, &mut out);
        out.into()
    }

    /// The last that a client hears; nothing if it left by itself or its socket failed.
    pub fn closing(self, reason: Disconnect) -> Option<Bytes> {
        let code = reason.close_code()?;
        let last = Event::Closed(reason);
        Some(match (self, reason) {
            (Self::Lines, _) => self.encode(&last),
            (Self::WebSocket, Disconnect::Quit) => {
                let mut out = self.encode(&last).to_vec();
                out.extend(encode::close(Some(code), reason.reason()));
                out.into()
            }
            (Self::WebSocket, _) => encode::close(Some(code), reason.reason()).into(),
        })
    }
}

/// The event as text, without an end. What members say is labelled on each of its lines, so that nobody can make another's
/// line.
fn write_text(event: &Event<'_>, out: &mut Vec<u8>) {
    match event {
        Event::Message { label, text, .. } => {
            let (label, mut rest) = (label.as_str().as_bytes(), text.as_bytes());
            while let Some(end) = memchr(b'\n', rest) {
                write_labelled(label, rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]), out);
                out.push(b'\n');
                rest = &rest[end + 1..];
            }
            write_labelled(label, rest.strip_suffix(b"\r").unwrap_or(rest), out);
        }
        event => write!(out, "{event}").expect("a vector takes every byte"),
    }
}

/// By hand: what is published most is not to go through formatting.
fn write_labelled(label: &[u8], text: &[u8], out: &mut Vec<u8>) {
    for part in [b"[", label, b"] ", text] {
        out.extend_from_slice(part);
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::Offset;
    use super::super::names::{Label, RoomName};
    use super::*;

    #[test]
    fn a_line_ends_with_one_line_feed() {
        assert_eq!(Dialect::Lines.encode(&Event::Pong("x")), "PONG x\n");
    }

    #[test]
    fn a_websocket_message_has_a_header_and_no_line_feed() {
        assert_eq!(Dialect::WebSocket.encode(&Event::Pong("x")), &b"\x81\x06PONG x"[..]);
    }

    #[test]
    fn what_is_said_most_fills_its_vector_to_the_last_byte() {
        let (label, room) = (Label::generated("TCP-1"), RoomName::parse("lounge").unwrap());
        let joined = Event::Joined(&room);
        let of_one_line = [0, 117, 118, 65_527, 65_528].map(|length| "a".repeat(length));
        for text in of_one_line.into_iter().chain(["\n".repeat(63), "ab\n\nc".into()]) {
            let message = Event::Message { offset: Offset(1), label: &label, text: &text };
            for (dialect, event) in Dialect::ALL.into_iter().flat_map(|dialect| [(dialect, message), (dialect, joined)])
            {
                let mut out = Vec::new();
                dialect.write(&event, &mut out);
                assert_eq!(out.len(), out.capacity(), "{dialect:?}: {event}");
            }
        }
    }

    #[test]
    fn a_gap_is_a_message_of_its_own() {
        assert_eq!(Dialect::Lines.encode(&Event::Gap(17)), "GAP 17\n");
        assert_eq!(Dialect::WebSocket.encode(&Event::Gap(17)), &b"\x81\x06GAP 17"[..]);
    }

    #[test]
    fn a_text_of_several_lines_is_labelled_on_each() {
        let event = Event::Message { offset: Offset(1), label: &Label::generated("WS-1"), text: "a\n[bob] b" };
        assert_eq!(Dialect::Lines.encode(&event), "[WS-1] a\n[WS-1] [bob] b\n");
        assert_eq!(Dialect::WebSocket.encode(&event), &b"\x81\x17[WS-1] a\n[WS-1] [bob] b"[..]);
        let event =
            Event::Message { offset: Offset(1), label: &Label::generated("WS-1"), text: "a\r\nERR closed quit" };
        assert_eq!(Dialect::Lines.encode(&event), "[WS-1] a\n[WS-1] ERR closed quit\n");
        assert_eq!(Dialect::WebSocket.encode(&event), &b"\x81\x1f[WS-1] a\n[WS-1] ERR closed quit"[..]);
    }

    #[test]
    fn who_hangs_up_hears_nothing_and_who_quits_hears_bye() {
        assert_eq!(Dialect::Lines.closing(Disconnect::ClosedByPeer), None);
        assert_eq!(Dialect::Lines.closing(Disconnect::Quit).unwrap(), "Bye\n");
        assert_eq!(Dialect::Lines.closing(Disconnect::TooLong).unwrap(), "ERR closed too-long\n");
        assert_eq!(Dialect::WebSocket.closing(Disconnect::Quit).unwrap(), &b"\x81\x03Bye\x88\x06\x03\xe8quit"[..]);
        assert_eq!(
            Dialect::WebSocket.closing(Disconnect::SlowConsumer).unwrap(),
            &b"\x88\x0f\x0f\xa8slow-consumer"[..]
        );
    }
}
