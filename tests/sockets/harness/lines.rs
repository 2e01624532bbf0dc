//! A TCP client byte by byte.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use roomcast::protocol::disconnect::Disconnect;
use socket2::{Domain, SockRef, Socket, Type};

use super::client::Wire;

/// A failsafe: no test waits that long unless it fails.
pub const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// Small, so that thousands of clients fit.
const READ_BUFFER_BYTES: usize = 1024;

/// What a client that is to fall behind lets the kernel hold for it.
const SHORT_RECEIVE_BYTES: usize = 4 * 1024;

/// One connection, written and read as bytes or lines.
pub struct Lines(BufReader<TcpStream>);

impl Lines {
    /// A connection that has read nothing yet, not even the greeting.
    pub fn connect(server: SocketAddr) -> Self {
        Self::of(TcpStream::connect(server).expect("a server that accepts"))
    }

    /// The same with a kernel that takes only a few KiB for it.
    pub fn connect_short_of_buffer(server: SocketAddr) -> Self {
        Self::of(short_of_buffer(server))
    }

    fn of(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(READ_TIMEOUT)).expect("an option");
        stream.set_nodelay(true).expect("an option");
        Self(BufReader::with_capacity(READ_BUFFER_BYTES, stream))
    }

    /// The socket.
    pub fn stream(&self) -> &TcpStream {
        self.0.get_ref()
    }

    /// What the server calls this client.
    pub fn label(&self) -> String {
        self.stream().local_addr().expect("a connected socket").to_string()
    }

    /// Another hold on the connection, to write from another thread.
    pub fn write_half(&self) -> TcpStream {
        self.stream().try_clone().expect("a descriptor")
    }

    /// Writes all of it in one call.
    #[track_caller]
    pub fn send(&self, bytes: impl AsRef<[u8]>) {
        self.stream().write_all(bytes.as_ref()).expect("a server that reads");
    }

    /// The end of the input.
    pub fn end_input(&self) {
        self.stream().shutdown(Shutdown::Write).expect("a connected socket");
    }

    /// Closes with a reset.
    pub fn reset(self) {
        let no_time = Some(Duration::ZERO);
        SockRef::from(self.stream()).set_linger(no_time).expect("an option");
    }

    /// The next line without its end; `None` at the end of the stream.
    #[track_caller]
    pub fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line or the end");
        if line.is_empty() {
            return None;
        }
        assert_eq!(line.pop(), Some('\n'), "{line:?} has no end");
        Some(line)
    }

    #[track_caller]
    pub fn expect(&mut self, line: &str) {
        assert_eq!(self.line().as_deref(), Some(line));
    }

    /// Everything up to the end of the stream.
    #[track_caller]
    pub fn rest(&mut self) -> String {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).expect("text and the end");
        rest
    }

    /// Everything up to the end of the stream, or up to where a reset has destroyed it.
    pub fn rest_if_not_reset(&mut self) -> String {
        let mut rest = Vec::new();
        match self.0.read_to_end(&mut rest) {
            Err(error) if error.kind() != io::ErrorKind::ConnectionReset => panic!("{error}"),
            _ => String::from_utf8_lossy(&rest).into_owned(),
        }
    }
}

/// A connection for which the kernel takes only a few KiB.
pub fn short_of_buffer(server: SocketAddr) -> TcpStream {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None).expect("a socket");
    socket.set_recv_buffer_size(SHORT_RECEIVE_BYTES).expect("an option");
    socket.connect(&server.into()).expect("a server that accepts");
    socket.into()
}

impl Wire for Lines {
    fn say(&mut self, line: &str) {
        self.send(format!("{line}\n"));
    }

    fn hear(&mut self) -> Option<String> {
        self.line()
    }

    fn hear_until_closed(&mut self, reason: Disconnect) -> Vec<String> {
        let last = format!("ERR closed {}", reason.reason());
        let heard = std::iter::from_fn(|| Some(self.line().expect(&last)).filter(|line| *line != last)).collect();
        assert_eq!(self.line(), None);
        heard
    }
}
