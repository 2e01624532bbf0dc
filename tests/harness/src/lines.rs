//! A client of the line protocol, over TCP or TLS, that writes bytes and reads lines.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use super::client::Wire;
use super::{Disconnect, Endpoint, Stream, WELCOME};

/// The capacity of a client's read buffer: small, so that thousands of clients fit.
pub const READ_BUFFER_BYTES: usize = 1024;

/// The receive buffer in the kernel of a client that is to fall behind.
const SHORT_RECEIVE_BYTES: usize = 4 * 1024;

/// One connection.
pub struct Lines(BufReader<Stream>);

impl Lines {
    /// Connects and reads nothing, not even the greeting.
    #[track_caller]
    pub fn connect(server: impl Into<Endpoint>) -> Self {
        Self::of(Stream::connect(server.into()))
    }

    /// Connects to a server that may be gone.
    pub fn try_connect(server: impl Into<Endpoint>) -> io::Result<Self> {
        Stream::try_connect(server.into()).map(Self::of)
    }

    /// Connects with a receive buffer of a few KiB and reads nothing.
    #[track_caller]
    pub fn connect_short_of_buffer(server: impl Into<Endpoint>) -> Self {
        Self::of(short_of_buffer(server.into()))
    }

    /// Connects and joins a room.
    #[track_caller]
    pub fn member(server: impl Into<Endpoint>, room: &str) -> Self {
        Self::connect(server).join_first(room)
    }

    /// Connects with a receive buffer of a few KiB and joins a room.
    #[track_caller]
    pub fn member_short_of_buffer(server: impl Into<Endpoint>, room: &str) -> Self {
        Self::connect_short_of_buffer(server).join_first(room)
    }

    /// Connects a client that publishes this many MiB in a room, reads them, and leaves.
    #[track_caller]
    pub fn publish_megabytes(server: impl Into<Endpoint>, room: &str, megabytes: usize) {
        let mut publisher = Self::member(server, room);
        let text = "x".repeat(64 * 1024 - 64);
        for _ in 0..megabytes * 16 {
            publisher.send(format!("{text}\n"));
            assert!(publisher.line().ends_with(&text));
        }
        publisher.send("QUIT\n");
        publisher.expect("Bye");
    }

    #[track_caller]
    fn join_first(mut self, room: &str) -> Self {
        self.send(format!("JOIN {room}\n"));
        self.expect(WELCOME);
        self.expect(&format!("Joined {room}"));
        self
    }

    fn of(stream: Stream) -> Self {
        Self(BufReader::with_capacity(READ_BUFFER_BYTES, stream))
    }

    /// The socket, below TLS.
    pub fn stream(&self) -> &TcpStream {
        self.0.get_ref().socket()
    }

    /// The label that the server gives this client.
    pub fn label(&self) -> String {
        self.stream().local_addr().expect("a connected socket").to_string()
    }

    /// The same connection for another thread to write to.
    #[track_caller]
    pub fn write_half(&self) -> Stream {
        self.0.get_ref().try_clone().expect("a descriptor")
    }

    /// Writes all of it in one call.
    #[track_caller]
    pub fn send(&self, bytes: impl AsRef<[u8]>) {
        self.0.get_ref().write_all(bytes.as_ref()).expect("a server that reads");
    }

    /// Ends what the server reads.
    pub fn end_input(&self) {
        self.0.get_ref().shutdown(Shutdown::Write).expect("a connected socket");
    }

    /// Closes with a reset.
    pub fn reset(self) {
        SockRef::from(self.stream()).set_linger(Some(Duration::ZERO)).expect("an option");
    }

    /// The next line without its end, or `None` at the end of the stream.
    #[track_caller]
    pub fn line_or_end(&mut self) -> Option<String> {
        self.try_line().expect("a whole line or the end")
    }

    /// The same from a server that may be gone in the middle of a line.
    pub fn try_line(&mut self) -> io::Result<Option<String>> {
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        match line.pop() {
            None => Ok(None),
            Some('\n') => Ok(Some(line)),
            Some(_) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, format!("{line:?} has no end"))),
        }
    }

    /// The next line without its end.
    #[track_caller]
    pub fn line(&mut self) -> String {
        self.line_or_end().expect("a line, not the end")
    }

    /// The next line is this one.
    #[track_caller]
    pub fn expect(&mut self, line: &str) {
        assert_eq!(self.line(), line);
    }

    /// These bytes come next.
    #[track_caller]
    pub fn expect_bytes(&mut self, bytes: &[u8]) {
        let mut read = vec![0; bytes.len()];
        self.0.read_exact(&mut read).expect("as many bytes");
        assert_eq!(read, bytes);
    }

    /// The stream ends here.
    #[track_caller]
    pub fn expect_end(&mut self) {
        assert_eq!(self.line_or_end(), None);
    }

    /// Reads at most 40 KiB a second and drops them, until the condition holds or the stream ends. Each read empties a
    /// short receive buffer, so that the server can send on ten times in the second after which it gives up who takes
    /// nothing.
    pub fn read_slowly_until(&self, holds: impl Fn() -> bool) {
        while !holds() && matches!(self.0.get_ref().read(&mut [0; SHORT_RECEIVE_BYTES]), Ok(1..)) {
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Everything up to the end of the stream.
    #[track_caller]
    pub fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).expect("text and the end");
        rest
    }

    /// Everything up to the end of the stream, or up to where a reset has destroyed it. The same over TLS for a stream
    /// that the server has given up, and which lacks its end.
    pub fn rest_if_not_reset(&mut self) -> String {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest).map_err(|error| error.kind()) {
            Ok(_) | Err(io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof) => {}
            Err(error) => panic!("{error}"),
        }
        String::from_utf8_lossy(&rest).into_owned()
    }
}

/// Connects with a receive buffer of a few KiB.
#[track_caller]
pub fn short_of_buffer(server: Endpoint) -> Stream {
    let socket = Socket::new(Domain::for_address(server.address), Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(SHORT_RECEIVE_BYTES).expect("an option");
    socket.connect(&server.address.into()).expect("a server that accepts");
    Stream::over(socket.into(), server)
}

impl Wire for Lines {
    fn send_line(&mut self, line: &str) {
        self.send(format!("{line}\n"));
    }

    fn line_or_end(&mut self) -> Option<String> {
        Self::line_or_end(self)
    }

    fn hear_until_closed(&mut self, reason: Disconnect, heard: &mut dyn FnMut(String)) {
        let last = reason.last_line();
        std::iter::from_fn(|| Some(self.line()).filter(|line| *line != last)).for_each(heard);
        self.expect_end();
    }
}
