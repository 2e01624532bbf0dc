//! A client of the text dialect over any transport.

use super::{Disconnect, Endpoint, Lines, WELCOME, WebSocket, until};

/// Where a server listens.
pub trait Addresses {
    /// Its address for lines.
    fn tcp(&self) -> Endpoint;

    /// Its address for HTTP and WebSocket.
    fn http(&self) -> Endpoint;
}

/// A transport of the text dialect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Lines over TCP.
    Tcp,
    /// WebSocket text messages.
    WebSocket,
}

impl Transport {
    /// Every transport.
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

/// One connection of a transport. A further transport implements this and has a variant in `Transport`.
pub trait Wire: Send {
    /// Sends one line.
    fn send_line(&mut self, line: &str);

    /// The next line or message, or `None` at the end of the stream.
    fn line_or_end(&mut self) -> Option<String>;

    /// Hands over each line up to where the server closes for this reason, in the way of the transport, and the stream
    /// ends.
    fn hear_until_closed(&mut self, reason: Disconnect, heard: &mut dyn FnMut(String));
}

/// A client that sends and reads lines.
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
    /// Connects and reads the greeting.
    #[track_caller]
    pub fn connect(server: &impl Addresses, transport: Transport) -> Self {
        let mut client = Self::open(server, transport);
        client.expect(WELCOME);
        client
    }

    /// Connects and reads nothing.
    #[track_caller]
    pub fn open(server: &impl Addresses, transport: Transport) -> Self {
        Self { wire: transport.connect(server), fences: 0 }
    }

    /// Connects with a receive buffer of a few KiB and reads nothing.
    #[track_caller]
    pub fn open_short_of_buffer(server: &impl Addresses, transport: Transport) -> Self {
        Self { wire: transport.connect_short_of_buffer(server), fences: 0 }
    }

    /// Connects with a receive buffer of a few KiB, takes this nick and joins this room.
    #[track_caller]
    pub fn member_short_of_buffer(server: &impl Addresses, transport: Transport, room: &str, nick: &str) -> Self {
        let mut client = Self::open_short_of_buffer(server, transport);
        client.expect(WELCOME);
        client.name(nick);
        client.join(room);
        client
    }

    /// Connects, takes this nick and joins this room.
    #[track_caller]
    pub fn member(server: &impl Addresses, transport: Transport, room: &str, nick: &str) -> Self {
        let mut client = Self::connect(server, transport);
        client.name(nick);
        client.join(room);
        client
    }

    /// Sends one line.
    pub fn send(&mut self, line: &str) {
        self.wire.send_line(line);
    }

    /// The next line.
    #[track_caller]
    pub fn line(&mut self) -> String {
        self.wire.line_or_end().expect("a line, not the end")
    }

    /// The next line is this one.
    #[track_caller]
    pub fn expect(&mut self, line: &str) {
        assert_eq!(self.line(), line);
    }

    /// Sends a line and returns the next one that comes.
    #[track_caller]
    pub fn request(&mut self, line: &str) -> String {
        self.send(line);
        self.line()
    }

    /// Joins a room.
    #[track_caller]
    pub fn join(&mut self, room: &str) {
        assert_eq!(self.request(&format!("JOIN {room}")), format!("Joined {room}"));
    }

    /// Leaves the room.
    #[track_caller]
    pub fn leave(&mut self) {
        assert_eq!(self.request("LEAVE"), "Left room");
    }

    /// Takes this nick.
    #[track_caller]
    pub fn name(&mut self, nick: &str) {
        assert_eq!(self.request(&format!("NICK {nick}")), format!("You are {nick}"));
    }

    /// Everything that was on its way: the lines before the answer to a `PING`.
    #[track_caller]
    pub fn fence(&mut self) -> Vec<String> {
        self.fences += 1;
        self.send(&format!("PING {}", self.fences));
        let pong = format!("PONG {}", self.fences);
        let lines = std::iter::from_fn(|| Some(self.line()).filter(|line| *line != pong));
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
        assert_eq!(self.wire.line_or_end(), None);
    }

    /// The server closes for this reason, and nothing comes before.
    #[track_caller]
    pub fn expect_closed(&mut self, reason: Disconnect) {
        assert_eq!(self.lines_until_closed(reason), [""; 0]);
    }

    /// The lines up to where the server closes for this reason.
    #[track_caller]
    pub fn lines_until_closed(&mut self, reason: Disconnect) -> Vec<String> {
        let mut lines = Vec::new();
        self.hear_until_closed(reason, |line| lines.push(line));
        lines
    }

    /// Hands over each line up to where the server closes for this reason, and reads on when that returns.
    #[track_caller]
    pub fn hear_until_closed(&mut self, reason: Disconnect, mut heard: impl FnMut(String)) {
        self.wire.hear_until_closed(reason, &mut heard);
    }

    /// Sends the command again and again until one of its answers is this one.
    #[track_caller]
    pub fn request_until(&mut self, command: &str, answer: &str) {
        until(|| {
            self.send(command);
            self.fence().iter().any(|line| line == answer)
        });
    }
}
