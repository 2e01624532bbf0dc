//! One connection behind its handshake. Reads a server's frames, and fails on one that a server must not send.

use std::fmt::{self, Debug};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::GETS_THERE_WITHIN;
use super::frame::{BINARY, CLOSE, FINAL, PING, PONG, TEXT, close, frame};

/// The handshake of RFC 6455 §1.3.
const HANDSHAKE: &[u8] = b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// Its answer.
const ACCEPT: &str = "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

pub struct Client(BufReader<TcpStream>);

impl Client {
    #[track_caller]
    pub fn connect(server: SocketAddr) -> Self {
        let stream = TcpStream::connect(server).expect("a server that accepts");
        stream.set_read_timeout(Some(GETS_THERE_WITHIN)).expect("an option");
        stream.set_nodelay(true).expect("an option");
        let mut client = Self(BufReader::new(stream));
        client.send(HANDSHAKE);
        let lines = client.0.by_ref().lines().map(|line| line.expect("an answer"));
        let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
        assert_eq!(head[0], "HTTP/1.1 101 Switching Protocols");
        assert!(head.iter().any(|line| line == ACCEPT), "{head:?}");
        client
    }

    /// Writes all of it in one call.
    #[track_caller]
    pub fn send(&self, bytes: impl AsRef<[u8]>) {
        self.0.get_ref().write_all(bytes.as_ref()).expect("a server that reads");
    }

    /// Writes it in calls of so many bytes.
    #[track_caller]
    pub fn send_in_chops(&self, bytes: &[u8], size: usize) {
        bytes.chunks(size).for_each(|chop| self.send(chop));
    }

    /// The next frame, its first byte and its payload; `None` at the end of the stream.
    #[track_caller]
    pub fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        if self.0.fill_buf().expect("a frame or the end").is_empty() {
            return None;
        }
        let [first, short] = self.take();
        assert_eq!(first & 0xf0, FINAL, "§5.2: no reserved bits; and this server sends no fragments");
        let length = match short {
            126 => u16::from_be_bytes(self.take()).into(),
            127 => u64::from_be_bytes(self.take()),
            short => u64::from(short),
        };
        let shortest = match length {
            ..=125 => length as u8,
            126..=0xffff => 126,
            _ => 127,
        };
        assert_eq!(short, shortest, "§5.1: a server masks nothing; §5.2: a length is as short as can be");
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).expect("a whole frame");
        Some((first, payload))
    }

    #[track_caller]
    fn take<const LENGTH: usize>(&mut self) -> [u8; LENGTH] {
        let mut bytes = [0; LENGTH];
        self.0.read_exact(&mut bytes).expect("a whole frame");
        bytes
    }

    /// The next frame is this one.
    #[track_caller]
    pub fn expect(&mut self, first: u8, payload: impl AsRef<[u8]>) {
        let payload = payload.as_ref();
        let (found, bytes) = self.frame().expect("a frame, not the end");
        // The bytes are not shown: there may be 16 MiB.
        let (found, expected) = ((found, bytes.len()), (first, payload.len()));
        assert_eq!(found, expected, "opcode and length; it begins with {:x?}", &bytes[..bytes.len().min(64)]);
        assert!(bytes == payload, "other bytes came back");
    }

    /// The next frame is this text, whole.
    #[track_caller]
    pub fn expect_text(&mut self, text: impl AsRef<[u8]>) {
        self.expect(FINAL | TEXT, text);
    }

    /// The next frame is this binary message, whole.
    #[track_caller]
    pub fn expect_binary(&mut self, bytes: impl AsRef<[u8]>) {
        self.expect(FINAL | BINARY, bytes);
    }

    /// Nothing else was on its way, and both sides close.
    #[track_caller]
    pub fn close(mut self) {
        self.send(close(1000, ""));
        self.expect(FINAL | CLOSE, 1000_u16.to_be_bytes());
        self.expect_end();
    }

    /// The next frame closes with this code, and nothing follows (§7.1.7). `offence` is shown if not.
    #[track_caller]
    pub fn expect_failure(&mut self, code: u16, offence: impl AsRef<[u8]>) {
        let offence = Shown(offence.as_ref());
        let (first, payload) = self.frame().unwrap_or_else(|| panic!("the end and no close after {offence:?}"));
        assert_eq!(first, FINAL | CLOSE, "{payload:x?} after {offence:?}");
        let (found, reason) = payload.split_at_checked(2).expect("a code");
        assert_eq!(found, code.to_be_bytes(), "{found:?} and not {code} after {offence:?}");
        assert!(str::from_utf8(reason).is_ok(), "§5.5.1: a reason is UTF-8");
        assert_eq!(self.frame(), None, "after {offence:?}");
    }

    /// The stream ends here, though this client's side is still open.
    #[track_caller]
    pub fn expect_end(&mut self) {
        assert_eq!(self.frame(), None);
    }

    /// The server has handled everything sent so far when this returns, and had nothing to say to it.
    #[track_caller]
    pub fn fence(&mut self) {
        self.send(frame(FINAL | PING, "fence"));
        self.expect(FINAL | PONG, "fence");
    }
}

/// The beginning of what was sent.
struct Shown<'a>(&'a [u8]);

impl Debug for Shown<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:02x?}, {} bytes", &self.0[..self.0.len().min(32)], self.0.len())
    }
}
