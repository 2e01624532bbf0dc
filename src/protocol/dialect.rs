//! How an event is framed for one kind of client. A new dialect is a variant here and a transport that reads it; the
//! broker and the writer ask only for bytes.

use std::io::Write;

use bytes::Bytes;

use super::event::Event;

/// A way of writing events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dialect {
    /// UTF-8 lines, each ended by `\n`.
    Lines,
}

impl Dialect {
    /// Appends the event as one whole message.
    pub fn write(self, event: &Event<'_>, out: &mut Vec<u8>) {
        out.reserve(event.size_hint() + "\n".len());
        match self {
            Self::Lines => writeln!(out, "{event}").expect("a vector takes every byte"),
        }
    }

    /// The event as one message of its own.
    pub fn encode(self, event: &Event<'_>) -> Bytes {
        let mut out = Vec::new();
        self.write(event, &mut out);
        out.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_with_one_line_feed() {
        assert_eq!(Dialect::Lines.encode(&Event::Pong("x")), "PONG x\n");
    }
}
