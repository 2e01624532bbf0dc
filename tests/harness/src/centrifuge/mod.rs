//! A client of the Centrifuge protocol over any transport and in both encodings. Commands and answers are JSON for the
//! test; in Protobuf they are translated field by field, so one test runs over all of them.

mod carrier;
mod protobuf;
mod schema;

use std::collections::VecDeque;

use serde_json::{Value, json};

use super::frame::{FINAL_BINARY, FINAL_TEXT, close_frame};
use super::lines::short_of_buffer;
use super::{Endpoint, Http, WebSocket, until};
use carrier::{Carrier, Emulation, OverWebSocket};
pub use protobuf::{command as protobuf_command, varint};

/// How objects are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// JSON, one object per line.
    Json,
    /// Protobuf, each object behind its length.
    Protobuf,
}

/// A transport of the Centrifuge protocol with an encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CentrifugeTransport {
    /// `/connection/websocket`.
    WebSocket(Encoding),
    /// `/connection/http_stream` for what the server says, `/emulation` for what the client says.
    HttpStream(Encoding),
    /// `/connection/sse` and `/emulation`, always JSON.
    Sse,
}

impl CentrifugeTransport {
    /// Every transport in every encoding.
    pub const ALL: [Self; 5] = [
        Self::WebSocket(Encoding::Json),
        Self::WebSocket(Encoding::Protobuf),
        Self::HttpStream(Encoding::Json),
        Self::HttpStream(Encoding::Protobuf),
        Self::Sse,
    ];

    /// The encoding.
    pub fn encoding(self) -> Encoding {
        match self {
            Self::WebSocket(encoding) | Self::HttpStream(encoding) => encoding,
            Self::Sse => Encoding::Json,
        }
    }
}

/// One client. It answers pings until it is told not to.
pub struct Centrifuge {
    carrier: Box<dyn Carrier>,
    encoding: Encoding,
    /// Objects that came and were not asked for yet, as JSON.
    objects: VecDeque<String>,
    /// The id of the last command.
    id: u32,
    /// Whether a ping of the server is answered.
    pub answers_pings: bool,
    /// The result of the connect command; null before it.
    pub connected: Value,
}

impl Centrifuge {
    /// Connects in JSON over WebSocket and reads the answer to the connect command.
    #[track_caller]
    pub fn connect(server: impl Into<Endpoint>, token: Option<&str>) -> Self {
        Self::connect_over(CentrifugeTransport::WebSocket(Encoding::Json), server, token)
    }

    /// Connects over this transport and reads the answer to the connect command.
    #[track_caller]
    pub fn connect_over(transport: CentrifugeTransport, server: impl Into<Endpoint>, token: Option<&str>) -> Self {
        let request = token.map_or_else(|| json!({}), |token| json!({ "token": token }));
        let (mut client, reply) = Self::connect_with(transport, server, request);
        assert!(reply["connect"]["client"].is_string(), "no connection: {reply}");
        client.connected = reply["connect"].clone();
        client
    }

    /// Sends this connect request over this transport, and returns the client and the reply, which may be an error.
    #[track_caller]
    pub fn connect_with(
        transport: CentrifugeTransport,
        server: impl Into<Endpoint>,
        request: impl ToString,
    ) -> (Self, Value) {
        let (server, encoding) = (server.into(), transport.encoding());
        let command = format!("{{\"id\":1,\"connect\":{}}}", request.to_string());
        let carrier: Box<dyn Carrier> = match transport {
            CentrifugeTransport::WebSocket(_) => {
                let mut socket = OverWebSocket::connect(server, encoding);
                socket.send(&encoded(encoding, &command));
                Box::new(socket)
            }
            CentrifugeTransport::HttpStream(_) => {
                Box::new(Emulation::http_stream(server, encoding, &encoded(encoding, &command)))
            }
            CentrifugeTransport::Sse => Box::new(Emulation::sse(server, &command)),
        };
        let mut client = Self::over(carrier, encoding);
        client.id = 1;
        let reply = client.reply(1);
        if let (Some(session), Some(node)) = (reply["connect"]["session"].as_str(), reply["connect"]["node"].as_str()) {
            client.carrier.continue_session(session, node);
        }
        (client, reply)
    }

    /// Opens a WebSocket and sends no command.
    #[track_caller]
    pub fn open(server: impl Into<Endpoint>, encoding: Encoding) -> Self {
        Self::over(Box::new(OverWebSocket::connect(server.into(), encoding)), encoding)
    }

    /// Opens a WebSocket with these header lines in its handshake, and sends no command.
    #[track_caller]
    pub fn open_with(server: impl Into<Endpoint>, encoding: Encoding, headers: &str) -> Self {
        Self::over(Box::new(OverWebSocket::upgrade(Http::connect(server), encoding, headers)), encoding)
    }

    /// Opens a WebSocket with a receive buffer of a few KiB, and sends no command.
    #[track_caller]
    pub fn open_short_of_buffer(server: impl Into<Endpoint>, encoding: Encoding) -> Self {
        let client = Http::on(short_of_buffer(server.into()));
        Self::over(Box::new(OverWebSocket::upgrade(client, encoding, "")), encoding)
    }

    /// A client on a WebSocket whose handshake the test has done itself.
    pub fn on(socket: WebSocket, encoding: Encoding) -> Self {
        Self::over(Box::new(OverWebSocket::on(socket, encoding)), encoding)
    }

    fn over(carrier: Box<dyn Carrier>, encoding: Encoding) -> Self {
        let (objects, connected) = (VecDeque::new(), Value::Null);
        Self { carrier, encoding, objects, id: 0, answers_pings: true, connected }
    }

    /// Connects in JSON over WebSocket, without a token, and subscribes to a room.
    #[track_caller]
    pub fn member(server: impl Into<Endpoint>, room: &str) -> Self {
        let mut client = Self::connect(server, None);
        client.subscribe(room);
        client
    }

    /// Subscribes to a room and returns the result.
    #[track_caller]
    pub fn subscribe(&mut self, room: &str) -> Value {
        self.result("subscribe", json!({ "channel": room }))
    }

    /// Waits until a room, which this client need not be in, has this many members.
    #[track_caller]
    pub fn until_members(&mut self, room: &str, count: usize) {
        until(|| self.result("presence_stats", json!({ "channel": room }))["num_clients"] == count);
    }

    /// Publishes to a room and reads the reply.
    #[track_caller]
    pub fn publish(&mut self, room: &str, data: impl ToString) {
        let room = Value::from(room);
        self.result("publish", format!("{{\"channel\":{room},\"data\":{}}}", data.to_string()));
    }

    /// Sends a command and returns its result, which must not be an error.
    #[track_caller]
    pub fn result(&mut self, method: &str, request: impl ToString) -> Value {
        let mut reply = self.command(format!("{{\"{method}\":{}}}", request.to_string()));
        assert!(reply[method].is_object(), "the reply to {method} is {reply}");
        reply[method].take()
    }

    /// Sends a command and returns its error, with `code`, `message` and perhaps `temporary`.
    #[track_caller]
    pub fn error(&mut self, method: &str, request: impl ToString) -> Value {
        let mut reply = self.command(format!("{{\"{method}\":{}}}", request.to_string()));
        assert!(reply["error"].is_object(), "the reply to {method} is {reply}");
        reply["error"].take()
    }

    /// Sends `{"<method>": {…}}` with the next id, and returns the whole reply without its id. What comes before stays
    /// for [`Self::object`] and [`Self::push`].
    #[track_caller]
    pub fn command(&mut self, command: impl ToString) -> Value {
        let id = self.send_command(command);
        self.reply(id)
    }

    /// Sends a command with the next id, which it returns, and waits for nothing.
    #[track_caller]
    pub fn send_command(&mut self, command: impl ToString) -> u32 {
        self.id += 1;
        let command = command.to_string();
        let rest = command.strip_prefix('{').expect("an object");
        self.send(format!("{{\"id\":{},{rest}", self.id));
        self.id
    }

    /// Reads up to the reply with this id and returns it without the id.
    #[track_caller]
    pub fn reply(&mut self, id: u32) -> Value {
        let mut before = VecDeque::new();
        loop {
            let object = self.object();
            let mut reply: Value = serde_json::from_str(&object).expect("JSON");
            if reply["id"] == id {
                before.append(&mut self.objects);
                self.objects = before;
                reply.as_object_mut().expect("an object").remove("id");
                return reply;
            }
            before.push_back(object);
        }
    }

    /// Sends objects as one message, one on each line, as they are.
    #[track_caller]
    pub fn send(&mut self, objects: impl AsRef<str>) {
        self.carrier.send(&encoded(self.encoding, objects.as_ref()));
    }

    /// Sends the payload of a message as it is. In JSON the message is text, otherwise binary.
    #[track_caller]
    pub fn send_payload(&mut self, payload: impl AsRef<[u8]>) {
        self.carrier.send(payload.as_ref());
    }

    /// Writes these bytes to the WebSocket: a frame, or a part of one.
    #[track_caller]
    pub fn send_bytes(&mut self, bytes: impl AsRef<[u8]>) {
        self.carrier.send_bytes(bytes.as_ref());
    }

    /// The next object as it came, or as JSON if it came in Protobuf. `None` at the end. Pings never show.
    #[track_caller]
    pub fn object_or_end(&mut self) -> Option<String> {
        loop {
            if let Some(object) = self.objects.pop_front() {
                return Some(object);
            }
            let message = self.carrier.receive()?;
            for object in decoded(self.encoding, &message) {
                if object == "{}" {
                    self.answer_ping();
                } else {
                    self.objects.push_back(object);
                }
            }
        }
    }

    fn answer_ping(&mut self) {
        if self.answers_pings {
            self.send("{}");
        }
    }

    /// The next object as it came, or as JSON if it came in Protobuf.
    #[track_caller]
    pub fn object(&mut self) -> String {
        self.object_or_end().unwrap_or_else(|| panic!("the end with {:?} and no object", self.carrier.closed()))
    }

    /// What is inside the next object, which is a push.
    #[track_caller]
    pub fn push(&mut self) -> Value {
        pushed(&self.object())
    }

    /// What is inside the next object, which is a push of a publication, without its time, which is returned with it.
    #[track_caller]
    pub fn push_and_time(&mut self) -> (Value, u64) {
        let mut push = self.push();
        let time = push["pub"].as_object_mut().and_then(|publication| publication.remove("time"));
        (push, time.and_then(|time| time.as_u64()).expect("a time"))
    }

    /// The data of the next object, which is a publication of this room.
    #[track_caller]
    pub fn publication(&mut self, room: &str) -> Value {
        let mut push = self.push();
        assert!(push["channel"] == room && push["pub"].is_object(), "no publication of {room}: {push}");
        push["pub"]["data"].take()
    }

    /// Everything that was on its way: what is inside the pushes before the reply to a `ping`. Replies to commands that
    /// were sent without waiting must have been read.
    #[track_caller]
    pub fn fence(&mut self) -> Vec<Value> {
        self.result("ping", "{}");
        self.objects.drain(..).map(|object| pushed(&object)).collect()
    }

    /// Nothing was on its way.
    #[track_caller]
    pub fn expect_nothing(&mut self) {
        assert_eq!(self.fence(), [Value::Null; 0]);
    }

    /// The objects up to where the server disconnects, and the code and the reason: of the close frame, or of the
    /// disconnect push that ends a stream.
    #[track_caller]
    pub fn until_closed(&mut self) -> (Vec<String>, (u16, String)) {
        let mut objects: Vec<String> = std::iter::from_fn(|| self.object_or_end()).collect();
        if let Some(closed) = self.carrier.closed() {
            return (objects, closed);
        }
        let last = pushed(&objects.pop().expect("a disconnect before the end"));
        let code = last["disconnect"]["code"].as_u64().and_then(|code| u16::try_from(code).ok());
        let reason = last["disconnect"]["reason"].as_str().expect("a reason").to_owned();
        (objects, (code.expect("a code"), reason))
    }

    /// The server disconnects with this code, and says nothing before.
    #[track_caller]
    pub fn expect_closed(&mut self, code: u16) {
        let (objects, closed) = self.until_closed();
        assert_eq!((objects, closed.0), (Vec::new(), code), "{closed:?}");
    }

    /// Closes the WebSocket in order and reads the rest, so the server has seen the end.
    #[track_caller]
    pub fn close(mut self) {
        self.send_bytes(close_frame(1000, ""));
        while self.carrier.receive().is_some() {}
    }
}

/// What is inside a push.
#[track_caller]
fn pushed(object: &str) -> Value {
    let mut object: Value = serde_json::from_str(object).expect("JSON");
    assert!(object["push"].is_object(), "no push: {object}");
    object["push"].take()
}

impl Encoding {
    fn opcode(self) -> u8 {
        match self {
            Self::Json => FINAL_TEXT,
            Self::Protobuf => FINAL_BINARY,
        }
    }
}

/// A message of these objects, one on each line.
fn encoded(encoding: Encoding, objects: &str) -> Vec<u8> {
    match encoding {
        Encoding::Json => objects.into(),
        Encoding::Protobuf => objects.lines().flat_map(protobuf::command).collect(),
    }
}

/// The objects of a message as JSON.
fn decoded(encoding: Encoding, message: &[u8]) -> Vec<String> {
    match encoding {
        Encoding::Json => {
            let text = str::from_utf8(message).expect("UTF-8");
            text.strip_suffix('\n').unwrap_or(text).split('\n').map(str::to_owned).collect()
        }
        Encoding::Protobuf => protobuf::replies(message),
    }
}
