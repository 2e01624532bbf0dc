//! What carries messages of the Centrifuge protocol: a WebSocket, or a stream of HTTP with requests beside it.

use std::io::{BufRead, BufReader, Read, Write};

use serde_json::json;

use super::super::frame::{FINAL_CLOSE, FINAL_PING, FINAL_PONG, frame};
use super::super::http::Body;
use super::super::{Endpoint, Http, WebSocket};
use super::{Encoding, protobuf};

/// The handshake for this protocol, up to the header that names a subprotocol.
const HANDSHAKE: &str = "GET /connection/websocket HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\n\
    Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n";

/// A transport. A message holds one or more objects.
pub trait Carrier: Send {
    /// Sends one message.
    fn send(&mut self, message: &[u8]);

    /// Writes bytes that need not be a message. Only a WebSocket can.
    fn send_bytes(&mut self, bytes: &[u8]);

    /// The next message, or `None` at the end.
    fn receive(&mut self) -> Option<Vec<u8>>;

    /// The code and the reason with which the transport was closed. A stream has none.
    fn closed(&self) -> Option<(u16, String)>;

    /// Notes where requests beside a stream belong.
    fn continue_session(&mut self, session: &str, node: &str);
}

/// Messages of a WebSocket.
pub struct OverWebSocket {
    socket: WebSocket,
    encoding: Encoding,
    closed: Option<(u16, String)>,
}

impl OverWebSocket {
    #[track_caller]
    pub fn connect(server: Endpoint, encoding: Encoding) -> Self {
        Self::upgrade(Http::connect(server), encoding, "")
    }

    /// Upgrades a connection, with these header lines in the handshake.
    #[track_caller]
    pub fn upgrade(client: Http, encoding: Encoding, headers: &str) -> Self {
        let subprotocol = match encoding {
            Encoding::Json => "",
            Encoding::Protobuf => "Sec-WebSocket-Protocol: centrifuge-protobuf\r\n",
        };
        Self::on(WebSocket::upgrade_over(client, format!("{HANDSHAKE}{subprotocol}{headers}\r\n")), encoding)
    }

    pub fn on(socket: WebSocket, encoding: Encoding) -> Self {
        Self { socket, encoding, closed: None }
    }

    fn note_close(&mut self, payload: &[u8]) {
        let (code, reason) = payload.split_first_chunk().expect("a close code");
        let reason = str::from_utf8(reason).expect("a reason in UTF-8");
        self.closed = Some((u16::from_be_bytes(*code), reason.to_owned()));
        // The server may have closed the socket already.
        let _ = self.socket.write_half().write_all(&frame(FINAL_CLOSE, payload));
    }
}

impl Carrier for OverWebSocket {
    fn send(&mut self, message: &[u8]) {
        self.socket.send(frame(self.encoding.opcode(), message));
    }

    fn send_bytes(&mut self, bytes: &[u8]) {
        self.socket.send(bytes);
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        loop {
            match self.socket.frame()? {
                (FINAL_PING, payload) => self.socket.send(frame(FINAL_PONG, payload)),
                (FINAL_PONG, _) => {}
                (FINAL_CLOSE, payload) => self.note_close(&payload),
                (first, payload) if first == self.encoding.opcode() => return Some(payload),
                (first, payload) => panic!("a frame {first:#x} of {} bytes", payload.len()),
            }
        }
    }

    fn closed(&self) -> Option<(u16, String)> {
        self.closed.clone()
    }

    fn continue_session(&mut self, _: &str, _: &str) {}
}

/// How a stream separates objects.
enum Separator {
    /// The end of a line.
    Line,
    /// A length before each object.
    Length,
    /// `data: ` before and an empty line behind each object.
    Event,
}

/// A stream of what the server says, and requests for what the client says.
pub struct Emulation {
    server: Endpoint,
    stream: BufReader<Body>,
    separator: Separator,
    /// The session and the node of the connect result.
    session: (String, String),
    /// One connection for all requests, so that they stay in order.
    requests: Option<Http>,
}

impl Emulation {
    #[track_caller]
    pub fn http_stream(server: Endpoint, encoding: Encoding, message: &[u8]) -> Self {
        let separator = match encoding {
            Encoding::Json => Separator::Line,
            Encoding::Protobuf => Separator::Length,
        };
        Self::open(server, separator, &post("/connection/http_stream", encoding, message))
    }

    #[track_caller]
    pub fn sse(server: Endpoint, message: &str) -> Self {
        let escaped: String = message.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let request = format!("GET /connection/sse?cf_connect={escaped} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        Self::open(server, Separator::Event, request.as_bytes())
    }

    #[track_caller]
    fn open(server: Endpoint, separator: Separator, request: &[u8]) -> Self {
        let mut client = Http::connect(server);
        client.send(request);
        let head = client.head();
        assert_eq!(head.status, 200, "{head:?}");
        let stream = BufReader::new(Body::new(client, &head));
        Self { server, stream, separator, session: Default::default(), requests: None }
    }

    fn line(&mut self) -> Option<Vec<u8>> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line).expect("a line or the end");
        line.pop().map(|end| {
            assert_eq!(end, b'\n', "{line:?} has no end");
            line
        })
    }

    /// The data of the next event. The stream begins with an empty line.
    fn event(&mut self) -> Option<Vec<u8>> {
        let line = std::iter::from_fn(|| self.line()).find(|line| !line.is_empty() && line != b"\r")?;
        assert_eq!(self.line(), Some(Vec::new()), "an event has one line");
        Some(line.strip_prefix(b"data: ").expect("an event of data").to_vec())
    }

    fn counted(&mut self) -> Option<Vec<u8>> {
        if self.stream.fill_buf().expect("an object or the end").is_empty() {
            return None;
        }
        let length = protobuf::read_varint(|| {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).expect("a whole length");
            byte[0]
        });
        let mut object = protobuf::varint(length);
        let start = object.len();
        object.resize(start + length as usize, 0);
        self.stream.read_exact(&mut object[start..]).expect("a whole object");
        Some(object)
    }
}

/// A request that carries a message.
fn post(path: &str, encoding: Encoding, body: &[u8]) -> Vec<u8> {
    let kind = match encoding {
        Encoding::Json => "application/json",
        Encoding::Protobuf => "application/octet-stream",
    };
    let length = body.len();
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

impl Carrier for Emulation {
    fn send(&mut self, message: &[u8]) {
        let (session, node) = &self.session;
        let request = match self.separator {
            Separator::Length => {
                post("/emulation", Encoding::Protobuf, &protobuf::emulation_request(node, session, message))
            }
            Separator::Line | Separator::Event => {
                let data = str::from_utf8(message).expect("text");
                let body = json!({ "session": session, "node": node, "data": data }).to_string();
                post("/emulation", Encoding::Json, body.as_bytes())
            }
        };
        let requests = self.requests.get_or_insert_with(|| Http::connect(self.server));
        requests.send(request);
        let (head, body) = requests.answer();
        assert_eq!((head.status, body.as_str()), (204, ""), "{head:?}");
    }

    fn send_bytes(&mut self, _: &[u8]) {
        panic!("a stream has no frames");
    }

    fn receive(&mut self) -> Option<Vec<u8>> {
        match self.separator {
            Separator::Line => self.line(),
            Separator::Length => self.counted(),
            Separator::Event => self.event(),
        }
    }

    fn closed(&self) -> Option<(u16, String)> {
        None
    }

    fn continue_session(&mut self, session: &str, node: &str) {
        self.session = (session.to_owned(), node.to_owned());
    }
}
