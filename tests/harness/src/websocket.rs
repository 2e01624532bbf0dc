//! A WebSocket client that writes bytes and reads frames. It fails on a frame that a server must not send.

use std::fmt::{self, Debug};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use socket2::SockRef;

use super::client::Wire;
use super::frame::{
    FINAL, FINAL_BINARY, FINAL_CLOSE, FINAL_PING, FINAL_PONG, FINAL_TEXT, LengthForm, close_frame, frame,
};
use super::http::{Head, Http};
use super::lines::short_of_buffer;
use super::{Disconnect, Endpoint, Stream};

/// The handshake of RFC 6455 §1.3.
pub const HANDSHAKE: &str = "GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";

/// The key in the answer to it.
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// One connection after its handshake.
pub struct WebSocket {
    stream: BufReader<Stream>,
    /// The payload of the close frame that came.
    closed: Option<Vec<u8>>,
    /// The server has agreed to compress messages.
    pub(super) may_be_compressed: bool,
}

impl WebSocket {
    /// Connects and reads only the answer to the handshake.
    #[track_caller]
    pub fn connect(server: impl Into<Endpoint>) -> Self {
        Self::connect_sending(server, "")
    }

    /// Connects, with these bytes right behind the handshake in one write.
    #[track_caller]
    pub fn connect_sending(server: impl Into<Endpoint>, bytes: impl AsRef<[u8]>) -> Self {
        Self::upgrade(server, [HANDSHAKE.as_bytes(), bytes.as_ref()].concat())
    }

    /// Connects with this handshake.
    #[track_caller]
    pub fn upgrade(server: impl Into<Endpoint>, handshake: impl AsRef<[u8]>) -> Self {
        Self::upgrade_over(Http::connect(server), handshake)
    }

    /// Connects with a receive buffer of a few KiB.
    #[track_caller]
    pub fn connect_short_of_buffer(server: impl Into<Endpoint>) -> Self {
        Self::upgrade_over(Http::on(short_of_buffer(server.into())), HANDSHAKE)
    }

    /// Sends this handshake on a connection, and reads the answer.
    #[track_caller]
    pub fn upgrade_over(client: Http, handshake: impl AsRef<[u8]>) -> Self {
        client.send(handshake);
        Self::upgraded(client)
    }

    /// Connects with this handshake to a server that may be gone, or refuse.
    pub fn try_upgrade(server: impl Into<Endpoint>, handshake: impl AsRef<[u8]>) -> io::Result<Self> {
        let connection = Stream::try_connect(server.into())?;
        (&connection).write_all(handshake.as_ref())?;
        let mut stream = BufReader::new(connection);
        match Head::try_read(&mut stream)?.status {
            101 => Ok(Self { stream, closed: None, may_be_compressed: false }),
            status => Err(io::Error::other(format!("status {status}"))),
        }
    }

    /// Reads the answer to a handshake that was sent.
    #[track_caller]
    pub fn upgraded(client: Http) -> Self {
        let mut stream = client.into_stream();
        let head = Head::read(&mut stream);
        assert_eq!((head.status, head.header("sec-websocket-accept")), (101, Some(ACCEPT)), "{head:?}");
        let may_be_compressed = head.header("sec-websocket-extensions").is_some();
        Self { stream, closed: None, may_be_compressed }
    }

    /// A client whose handshake was answered.
    pub fn over(client: Http) -> Self {
        Self { stream: client.into_stream(), closed: None, may_be_compressed: false }
    }

    fn output(&self) -> &Stream {
        self.stream.get_ref()
    }

    /// Writes all of it in one call.
    #[track_caller]
    pub fn send(&self, bytes: impl AsRef<[u8]>) {
        self.output().write_all(bytes.as_ref()).expect("a server that reads");
    }

    /// Writes it in pieces of this size, each in a call of its own.
    #[track_caller]
    pub fn send_in_pieces(&self, bytes: &[u8], size: usize) {
        bytes.chunks(size).for_each(|piece| self.send(piece));
    }

    /// The same connection for another thread to write to.
    #[track_caller]
    pub fn write_half(&self) -> Stream {
        self.output().try_clone().expect("a descriptor")
    }

    /// Ends what the server reads.
    pub fn end_input(&self) {
        self.output().shutdown(Shutdown::Write).expect("a connected socket");
    }

    /// Closes with a reset.
    pub fn reset(self) {
        SockRef::from(self.output().socket()).set_linger(Some(Duration::ZERO)).expect("an option");
    }

    /// The first byte and the payload of the next frame, or `None` at the end of the stream.
    #[track_caller]
    pub fn frame(&mut self) -> Option<(u8, Vec<u8>)> {
        self.try_frame().expect("a whole frame or the end")
    }

    /// The same from a server that may be gone in the middle of a frame.
    #[track_caller]
    pub fn try_frame(&mut self) -> io::Result<Option<(u8, Vec<u8>)>> {
        if self.stream.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let [first, short] = self.take()?;
        let reserved = if self.may_be_compressed { 0x30 } else { 0x70 };
        assert_eq!(first & (FINAL | reserved), FINAL, "§5.2: no reserved bits; and this server sends no fragments");
        let (form, length) = match short {
            126 => (LengthForm::Two, u16::from_be_bytes(self.take()?).into()),
            127 => (LengthForm::Eight, u64::from_be_bytes(self.take()?) as usize),
            short => (LengthForm::None, short.into()),
        };
        assert_eq!(
            form,
            LengthForm::shortest(length),
            "§5.1: a server masks nothing; §5.2: a length is as short as can be"
        );
        let mut payload = vec![0; length];
        self.stream.read_exact(&mut payload)?;
        Ok(Some((first, payload)))
    }

    fn take<const LENGTH: usize>(&mut self) -> io::Result<[u8; LENGTH]> {
        let mut bytes = [0; LENGTH];
        self.stream.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    /// All bytes up to the end of the stream, or up to where a reset has destroyed it.
    pub fn rest_if_not_reset(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        match self.stream.read_to_end(&mut rest) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => panic!("{error}"),
            _ => rest,
        }
    }

    /// The next frame is this one.
    #[track_caller]
    pub fn expect_frame(&mut self, first: u8, payload: impl AsRef<[u8]>) {
        let (found, bytes) = self.frame().expect("a frame, not the end");
        let (found, expected) = ((found, Beginning(&bytes)), (first, Beginning(payload.as_ref())));
        assert!(found.0 == expected.0 && found.1.0 == expected.1.0, "{found:?} and not {expected:?}");
    }

    /// The next frame is this text.
    #[track_caller]
    pub fn expect(&mut self, text: impl AsRef<[u8]>) {
        self.expect_frame(FINAL_TEXT, text);
    }

    /// The next frame that is no ping is this text. Pings are answered.
    #[track_caller]
    pub fn expect_behind_pings(&mut self, text: impl AsRef<[u8]>) {
        assert_eq!(self.line_or_end().as_deref().map(str::as_bytes), Some(text.as_ref()));
    }

    /// The next frame is this binary message.
    #[track_caller]
    pub fn expect_binary(&mut self, bytes: impl AsRef<[u8]>) {
        self.expect_frame(FINAL_BINARY, bytes);
    }

    /// The stream ends here.
    #[track_caller]
    pub fn expect_end(&mut self) {
        assert_eq!(self.frame(), None);
    }

    /// The next frame closes for this reason and is the last.
    #[track_caller]
    pub fn expect_close(&mut self, reason: Disconnect) {
        self.expect_frame(FINAL_CLOSE, reason.close_payload());
        self.expect_end();
    }

    /// The next frame closes with this code and is the last (RFC 6455 §7.1.7). `offence`, what the client did wrong, is
    /// shown if it does not.
    #[track_caller]
    pub fn expect_failure(&mut self, code: u16, offence: impl AsRef<[u8]>) {
        let offence = Beginning(offence.as_ref());
        let (first, payload) = self.frame().unwrap_or_else(|| panic!("the end and no close after {offence:?}"));
        assert_eq!(first, FINAL_CLOSE, "{payload:x?} after {offence:?}");
        let (found, reason) = payload.split_at_checked(2).expect("a code");
        assert_eq!(found, code.to_be_bytes(), "{found:?} and not {code} after {offence:?}");
        assert!(str::from_utf8(reason).is_ok(), "§5.5.1: a reason is UTF-8");
        assert_eq!(self.frame(), None, "after {offence:?}");
    }

    /// Nothing was on its way, and both sides close.
    #[track_caller]
    pub fn close(mut self) {
        self.send(close_frame(1000, ""));
        self.expect_frame(FINAL_CLOSE, 1000_u16.to_be_bytes());
        self.expect_end();
    }

    /// The server has handled everything that was sent when this returns, and had no answer to it.
    #[track_caller]
    pub fn fence(&mut self) {
        self.send(frame(FINAL_PING, "fence"));
        self.expect_frame(FINAL_PONG, "fence");
    }
}

impl Wire for WebSocket {
    fn send_line(&mut self, line: &str) {
        self.send(frame(FINAL_TEXT, line));
    }

    /// Answers pings, and the close with one of its own.
    fn line_or_end(&mut self) -> Option<String> {
        loop {
            match self.frame()? {
                (FINAL_TEXT, text) => return Some(String::from_utf8(text).expect("text")),
                (FINAL_PING, payload) => self.send(frame(FINAL_PONG, payload)),
                (FINAL_CLOSE, payload) => {
                    // The server may have closed the socket already.
                    let _ = self.output().write_all(&frame(FINAL_CLOSE, &payload));
                    self.closed = Some(payload);
                }
                (first, payload) => panic!("a frame {first:#x} of {} bytes", payload.len()),
            }
        }
    }

    fn hear_until_closed(&mut self, reason: Disconnect, heard: &mut dyn FnMut(String)) {
        std::iter::from_fn(|| self.line_or_end()).for_each(heard);
        assert_eq!(self.closed, Some(reason.close_payload()), "{reason:?}");
    }
}

/// Bytes of which a failure shows only the first: there may be 16 MiB.
struct Beginning<'a>(&'a [u8]);

impl Debug for Beginning<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(64)];
        write!(out, "{} bytes, {:?}, {shown:02x?}", self.0.len(), String::from_utf8_lossy(shown))
    }
}
