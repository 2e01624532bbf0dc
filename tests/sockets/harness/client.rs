//! A client of the text dialect, whatever carries it.

use roomcast::protocol::disconnect::Disconnect;

use super::lines::Lines;
use super::server::{Addresses, TestServer};
use super::websocket::WebSocket;
use super::{WELCOME, contract, until};

/// What carries the text dialect.
#[derive(Clone, Copy, Debug)]
pub enum Transport {
    /// Lines over TCP.
    Tcp,
    /// WebSocket text messages.
    WebSocket,
}

impl Transport {
    pub const ALL: [Self; 2] = [Self::Tcp, Self::WebSocket];

    fn connect(self, server: &impl Addresses) -> Box<dyn Wire> {
        match self {
            Self::Tcp => Box::new(Lines::connect(server.tcp())),
            Self::WebSocket => Box::new(WebSocket::connect(server.http())),
        }
    }

    fn connect_short_of_buffer(self, server: &impl Addresses) -> Box<dyn Wire> {
        match self {
            Self::Tcp => Box::new(Lines::connect_short_of_buffer(server.tcp())),
            Self::WebSocket => Box::new(WebSocket::connect_short_of_buffer(server.http())),
        }
    }
}

/// One connection of a transport. A further transport implements this and is a row in `Transport`.
pub trait Wire: Send {
    /// Sends one line.
    fn say(&mut self, line: &str);

    /// The next line or message; `None` at the end of the stream.
    fn hear(&mut self) -> Option<String>;

    /// All that comes before the client is told this reason, as its transport tells it, and the stream ends.
    fn hear_until_closed(&mut self, reason: Disconnect) -> Vec<String>;
}

/// A client.
pub struct Client {
    wire: Box<dyn Wire>,
    fences: u64,
}

impl From<Lines> for Client {
    fn from(lines: Lines) -> Self {
        Self { wire: Box::new(lines), fences: 0 }
    }
}

impl Client {
    /// A client that was welcomed.
    #[track_caller]
    pub fn connect(server: &impl Addresses, transport: Transport) -> Self {
        let mut client = Self::open(server, transport);
        client.expect(WELCOME);
        client
    }

    /// A client that has heard nothing yet.
    pub fn open(server: &impl Addresses, transport: Transport) -> Self {
        Self { wire: transport.connect(server), fences: 0 }
    }

    /// A client of this name in this room, for which the kernel takes only a few KiB.
    #[track_caller]
    pub fn member_short_of_buffer(server: &impl Addresses, transport: Transport, room: &str, nick: &str) -> Self {
        let mut client = Self { wire: transport.connect_short_of_buffer(server), fences: 0 };
        client.expect(WELCOME);
        client.name(nick);
        client.join(room);
        client
    }

    /// A client of this name in this room.
    #[track_caller]
    pub fn member(server: &impl Addresses, transport: Transport, room: &str, nick: &str) -> Self {
        let mut client = Self::connect(server, transport);
        client.name(nick);
        client.join(room);
        client
    }

    pub fn say(&mut self, line: &str) {
        self.wire.say(line);
    }

    /// The next line.
    #[track_caller]
    pub fn hear(&mut self) -> String {
        self.wire.hear().expect("a line, not the end")
    }

    /// The next line is this one.
    #[track_caller]
    pub fn expect(&mut self, line: &str) {
        assert_eq!(self.hear(), line);
    }

    /// Says a line and returns the next that comes.
    #[track_caller]
    pub fn ask(&mut self, line: &str) -> String {
        self.say(line);
        self.hear()
    }

    #[track_caller]
    pub fn join(&mut self, room: &str) {
        assert_eq!(self.ask(&format!("JOIN {room}")), format!("Joined {room}"));
    }

    #[track_caller]
    pub fn leave(&mut self) {
        assert_eq!(self.ask("LEAVE"), "Left room");
    }

    #[track_caller]
    pub fn name(&mut self, nick: &str) {
        assert_eq!(self.ask(&format!("NICK {nick}")), format!("You are {nick}"));
    }

    /// Everything that was on its way.
    #[track_caller]
    pub fn fence(&mut self) -> Vec<String> {
        self.fences += 1;
        self.say(&format!("PING {}", self.fences));
        let pong = format!("PONG {}", self.fences);
        let lines = std::iter::from_fn(|| Some(self.hear()).filter(|line| *line != pong));
        lines.collect()
    }

    /// Nothing was on its way.
    #[track_caller]
    pub fn expect_nothing(&mut self) {
        assert_eq!(self.fence(), [""; 0]);
    }

    /// The stream ends here.
    #[track_caller]
    pub fn expect_end(&mut self) {
        assert_eq!(self.wire.hear(), None);
    }

    /// Nothing comes any more but why it was closed.
    #[track_caller]
    pub fn expect_closed(&mut self, reason: Disconnect) {
        assert_eq!(self.hear_until_closed(reason), [""; 0]);
    }

    /// All that still comes, whole, and then why it was closed.
    #[track_caller]
    pub fn hear_until_closed(&mut self, reason: Disconnect) -> Vec<String> {
        self.wire.hear_until_closed(reason)
    }

    /// Asks until the answer is this one, whatever else comes.
    #[track_caller]
    pub fn ask_until(&mut self, question: &str, answer: &str) {
        until(|| {
            self.say(question);
            self.fence().iter().any(|line| line == answer)
        });
    }
}

#[test]
fn a_fence_returns_what_was_on_its_way_and_only_that() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut alice = Client::member(&server, transport, "a", "alice");
        alice.expect_nothing();
        alice.say("one");
        alice.say("two");
        assert_eq!(alice.fence(), ["[alice] one", "[alice] two"]);
        alice.expect_nothing();
    });
}
