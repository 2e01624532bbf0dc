//! Connections that may be cut at any time, which is an error and no failure of the test.

use std::io::{self, Error, ErrorKind, Write};

use harness::frame::{FINAL_PING, FINAL_PONG, FINAL_TEXT, frame};
use harness::{HANDSHAKE, Lines, NodeAddress, Transport, WebSocket};

/// A connection that carries lines or text messages.
pub enum Wire {
    Lines(Lines),
    WebSocket(WebSocket),
}

impl Wire {
    /// Connects a client of the text dialect.
    pub fn text(node: NodeAddress, transport: Transport) -> io::Result<Self> {
        match transport {
            Transport::Tcp => Lines::try_connect(node.tcp).map(Self::Lines),
            Transport::WebSocket => WebSocket::try_upgrade(node.http, HANDSHAKE).map(Self::WebSocket),
        }
    }

    /// Connects a client of the Centrifuge protocol in JSON.
    pub fn centrifuge(node: NodeAddress) -> io::Result<Self> {
        let handshake = HANDSHAKE.replace("/ws", "/connection/websocket");
        WebSocket::try_upgrade(node.http, handshake).map(Self::WebSocket)
    }

    /// Sends a line or a message.
    pub fn send(&self, text: &str) -> io::Result<()> {
        match self {
            Self::Lines(lines) => lines.write_half().write_all(format!("{text}\n").as_bytes()),
            Self::WebSocket(socket) => socket.write_half().write_all(&frame(FINAL_TEXT, text)),
        }
    }

    /// The next line or message.
    pub fn receive(&mut self) -> io::Result<String> {
        match self {
            Self::Lines(lines) => unless_silent(lines.try_line())?.ok_or_else(cut),
            Self::WebSocket(socket) => loop {
                match unless_silent(socket.try_frame())?.ok_or_else(cut)? {
                    (FINAL_TEXT, text) => return Ok(String::from_utf8(text).expect("text")),
                    (FINAL_PING, payload) => socket.write_half().write_all(&frame(FINAL_PONG, payload))?,
                    _ => return Err(cut()),
                }
            },
        }
    }
}

/// The end of a connection.
pub fn cut() -> Error {
    ErrorKind::UnexpectedEof.into()
}

/// A connection on which nothing comes for the longest time that a test waits is a failure.
#[track_caller]
fn unless_silent<T>(result: io::Result<T>) -> io::Result<T> {
    if let Err(error) = &result {
        assert!(!matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "nothing comes for too long");
    }
    result
}
