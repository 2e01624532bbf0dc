//! A WebSocket client frame by frame.

use std::io::{self, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use roomcast::protocol::disconnect::Disconnect;
use socket2::SockRef;

use super::client::Wire;
use super::http::{Head, Http};
use super::lines::short_of_buffer;

pub const CONTINUATION: u8 = 0x0;
pub const TEXT: u8 = 0x1;
pub const FINAL: u8 = 0x80;
pub const FINAL_TEXT: u8 = 0x81;
pub const FINAL_BINARY: u8 = 0x82;
pub const FINAL_CLOSE: u8 = 0x88;
pub const FINAL_PING: u8 = 0x89;
pub const FINAL_PONG: u8 = 0x8A;

const MASKED: u8 = 0x80;

/// Any will do: what it protects is not here.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The handshake of RFC 6455 §1.3.
pub const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Its answer.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// A client's frame.
pub fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut bytes = match payload.len() {
        length @ 0..=125 => vec![first, MASKED | length as u8],
        length @ 126..=0xffff => [&[first, MASKED | 126][..], &(length as u16).to_be_bytes()].concat(),
        length => [&[first, MASKED | 127][..], &(length as u64).to_be_bytes()].concat(),
    };
    bytes.extend(MASK);
    bytes.extend(payload.iter().zip(MASK.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// A close frame of a client.
pub fn close_frame(code: u16, reason: &str) -> Vec<u8> {
    frame(FINAL_CLOSE, [&code.to_be_bytes()[..], reason.as_bytes()].concat())
}

/// One connection behind its handshake.
pub struct WebSocket {
    stream: BufReader<TcpStream>,
    /// The payload of the close frame that came.
    closed: Option<Vec<u8>>,
}

impl WebSocket {
    /// A client that has heard nothing yet.
    #[track_caller]
    pub fn connect(server: SocketAddr) -> Self {
        Self::connect_saying(server, "")
    }

    /// The same with bytes right behind the handshake, in one write.
    #[track_caller]
    pub fn connect_saying(server: SocketAddr, bytes: impl AsRef<[u8]>) -> Self {
        Self::upgrade(server, [HANDSHAKE.as_bytes(), bytes.as_ref()].concat())
    }

    /// The client that this handshake makes.
    #[track_caller]
    pub fn upgrade(server: SocketAddr, handshake: impl AsRef<[u8]>) -> Self {
        Self::upgrade_over(Http::connect(server), handshake)
    }

    /// The same with a kernel that takes only a few KiB for it.
    #[track_caller]
    pub fn connect_short_of_buffer(server: SocketAddr) -> Self {
        Self::upgrade_over(Http::over(short_of_buffer(server)), HANDSHAKE)
    }

    #[track_caller]
    fn upgrade_over(client: Http, handshake: impl AsRef<[u8]>) -> Self {
        client.send(handshake);
        Self::upgraded(client)
    }

    /// The client of a handshake that was sent.
    #[track_caller]
    pub fn upgraded(client: Http) -> Self {
        let mut stream = client.into_stream();
        let head = Head::read(&mut stream);
        assert_eq!((head.status, head.header("sec-websocket-accept")), (101, Some(ACCEPT)), "{head:?}");
        Self { stream, closed: None }
    }

    fn socket(&self) -> &TcpStream {
        self.stream.get_ref()
    }

    /// Writes all of it in one call.
    #[track_caller]
    pub fn send(&self, bytes: impl AsRef<[u8]>) {
        self.socket().write_all(bytes.as_ref()).expect("a server that reads");
    }

    /// Another hold on the connection, to write from another thread.
    pub fn write_half(&self) -> TcpStream {
        self.socket().try_clone().expect("a descriptor")
    }

    /// The end of the input.
    pub fn end_input(&self) {
        self.socket().shutdown(Shutdown::Write).expect("a connected socket");
    }

    /// Closes with a reset.
    pub fn reset(self) {
        SockRef::from(self.socket()).set_linger(Some(Duration::ZERO)).expect("an option");
    }

    /// The next frame, its first byte and its payload; `None` at the end of the stream.
    #[track_caller]
    pub fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let mut first = [0];
        if self.stream.read(&mut first).expect("a frame or the end") == 0 {
            return None;
        }
        let [length] = self.take();
        let length = match length {
            126 => u16::from_be_bytes(self.take()).into(),
            127 => u64::from_be_bytes(self.take()) as usize,
            length => usize::from(length),
        };
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload).expect("a whole frame");
        Some((first[0], payload))
    }

    /// All bytes up to the end of the stream, or up to where a reset has destroyed it.
    pub fn rest_if_not_reset(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => panic!("{error}"),
            _ => rest,
        }
    }

    #[track_caller]
    fn take<const LENGTH: usize>(&mut self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        self.stream.read_exact(&mut bytes).expect("a whole frame");
        bytes
    }

    /// The next frame is this one.
    #[track_caller]
    pub fn expect_frame(&mut self, first: u8, payload: impl AsRef<[u8]>) {
        let (found, bytes) = self.frame().expect("a frame, not the end");
        assert_eq!((found, &bytes[..]), (first, payload.as_ref()), "{}", String::from_utf8_lossy(&bytes));
    }

    /// The next frame is this text.
    #[track_caller]
    pub fn expect(&mut self, text: &str) {
        self.expect_frame(FINAL_TEXT, text);
    }

    /// The next frame closes with this reason and its code, and is the last.
    #[track_caller]
    pub fn expect_close(&mut self, reason: Disconnect) {
        let code = reason.close_code().expect("a reason that a client is told");
        self.expect_frame(FINAL_CLOSE, [&code.to_be_bytes()[..], reason.reason().as_bytes()].concat());
        assert_eq!(self.frame(), None);
    }
}

impl Wire for WebSocket {
    fn say(&mut self, line: &str) {
        self.send(frame(FINAL_TEXT, line));
    }

    /// Answers pings, and the close with one of its own.
    fn hear(&mut self) -> Option<String> {
        loop {
            match self.frame()? {
                (FINAL_TEXT, text) => return Some(String::from_utf8(text).expect("text")),
                (FINAL_PING, payload) => self.send(frame(FINAL_PONG, payload)),
                (FINAL_CLOSE, payload) => {
                    // The server may have gone at once.
                    let _ = self.socket().write_all(&frame(FINAL_CLOSE, &payload));
                    self.closed = Some(payload);
                }
                (first, payload) => panic!("a frame {first:#x} of {} bytes", payload.len()),
            }
        }
    }

    fn hear_until_closed(&mut self, reason: Disconnect) -> Vec<String> {
        let heard = std::iter::from_fn(|| self.hear()).collect();
        let code = reason.close_code().expect("a reason that a client is told");
        let close = [&code.to_be_bytes()[..], reason.reason().as_bytes()].concat();
        assert_eq!(self.closed, Some(close), "{reason:?}");
        heard
    }
}
