//! One client connection: its socket, its TLS and its partial input and output. Never looks into a message.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use nix::sys::socket::{setsockopt, sockopt};
use rustls::ClientConfig;
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::resumption::Resumption;
use crate::clock::Nanos;
use crate::tls::{TlsConnector, TlsSession};

/// Sockets report both directions; events are edge-triggered.
const INTEREST: Interest = Interest::READABLE.add(Interest::WRITABLE);

/// The stage of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The socket is not connected yet.
    Connecting,
    /// The handshake of TLS is under way.
    TlsHandshake,
    /// The handshake is sent and not answered yet.
    Handshake,
    /// The token is sent and not answered yet.
    Authenticating,
    /// The join is sent and not answered yet.
    Joining,
    /// In its room, or ready to publish without one.
    Ready,
    /// The leave was sent at this time and is not answered yet.
    Leaving(Nanos),
    /// Reads no more, on purpose.
    Stalled,
    /// The connection is closed.
    Ended,
}

/// One client connection.
pub struct Client {
    stream: Option<TcpStream>,
    /// Only of a connection over TLS.
    tls: Option<Box<TlsSession>>,
    /// Remembers the TLS sessions of a client that comes back.
    tls_config: Option<Arc<ClientConfig>>,
    /// Index of the target.
    pub target: u8,
    /// Number of the connection, which no other connection of this process has.
    pub connection: u32,
    pub stage: Stage,
    /// Index of the room in this process.
    pub room: u32,
    /// Index of the member in its room; `None` for a publisher that is no member.
    pub member: Option<u32>,
    /// When the client began to connect or to join.
    pub since: Nanos,
    /// Only in a client that comes back when it has lost its connection.
    pub resumption: Option<Box<Resumption>>,
    /// When the messages were due of which the publishes are not answered yet. Empty where publishes are not answered.
    pub unanswered: VecDeque<Nanos>,
    /// Input whose end has not arrived yet.
    received: Vec<u8>,
    /// Bytes that the kernel has not accepted yet, from `sent_of_unsent` on. Over TLS they are sealed.
    unsent: Vec<u8>,
    sent_of_unsent: usize,
}

/// The result of a read.
#[derive(Clone, Copy, Debug)]
pub struct ReadResult {
    /// Bytes in the buffer, including the incomplete input of earlier reads.
    pub bytes: usize,
    /// Bytes that came from the socket; over TLS, sealed ones.
    pub from_socket: usize,
    /// Whether the socket may have more.
    pub may_have_more: bool,
}

/// Whether the kernel accepted everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendResult {
    Complete,
    /// The rest is sent when the socket becomes writable.
    Partial,
}

impl Client {
    /// A client that is not connected.
    pub fn new(target: u8, room: u32, member: Option<u32>) -> Self {
        let (received, unsent, unanswered) = (Vec::new(), Vec::new(), VecDeque::new());
        let (stream, since, resumption, sent_of_unsent) = (None, Nanos(0), None, 0);
        let (tls, tls_config, stage) = (None, None, Stage::Connecting);
        Self {
            stream,
            tls,
            tls_config,
            target,
            connection: 0,
            stage,
            room,
            member,
            since,
            resumption,
            unanswered,
            received,
            unsent,
            sent_of_unsent,
        }
    }

    /// Starts to connect and registers the socket, which becomes writable when that has succeeded or failed.
    pub fn connect(
        &mut self,
        address: SocketAddr,
        source: Option<IpAddr>,
        now: Nanos,
        (registry, token): (&Registry, Token),
    ) -> io::Result<()> {
        self.stage = Stage::Connecting;
        let socket =
            Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        if let Some(source) = source {
            // The kernel then chooses the port when it knows the peer; otherwise all targets would share 28 000 ports.
            setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
            let bound = socket.bind(&SocketAddr::new(source, 0).into());
            bound.map_err(|error| io::Error::other(format!("cannot connect from {source}: {error}")))?;
        }
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(nix::libc::EINPROGRESS) => return Err(error),
            _ => {}
        }
        self.since = now;
        registry.register(self.stream.insert(TcpStream::from_std(socket.into())), token, INTEREST)
    }

    /// Registers the socket again, which causes an event at once if it has more input. Other clients are served first.
    pub fn reregister(&mut self, registry: &Registry, token: Token) -> anyhow::Result<()> {
        let Some(stream) = self.stream.as_mut() else { return Ok(()) };
        registry.reregister(stream, token, INTEREST).context("watching a socket again")
    }

    /// The result of connecting, once the socket is writable.
    pub fn connected(&self) -> io::Result<()> {
        let stream = self.stream()?;
        match stream.take_error()? {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Sends the first message of the TLS handshake. The handshake goes on in [`Client::read`].
    pub fn start_tls(&mut self, connector: &TlsConnector) -> io::Result<()> {
        if self.resumption.is_some() && self.tls_config.is_none() {
            self.tls_config = Some(connector.config_that_remembers());
        }
        self.stage = Stage::TlsHandshake;
        let mut tls = connector.connect(self.tls_config.as_ref()).map_err(io::Error::other)?;
        let mut hello = Vec::new();
        tls.open(&mut [], &mut [], &mut hello)?;
        self.tls = Some(Box::new(tls));
        self.send_to_socket(&hello).map(drop)
    }

    /// Whether the TLS handshake is done and the client has not gone on yet.
    pub fn has_finished_tls(&self) -> bool {
        self.stage == Stage::TlsHandshake && self.tls.as_ref().is_some_and(|tls| !tls.is_handshaking())
    }

    /// Whether the connection has resumed an earlier TLS session.
    pub fn has_resumed_tls(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_resumed())
    }

    /// Reads once and prepends the incomplete input of earlier reads. Over TLS a read may return nothing new.
    ///
    /// # Errors
    /// The socket has no data (`WouldBlock`), the peer has closed (`UnexpectedEof`), or the connection is broken.
    pub fn read(&mut self, buffer: &mut Vec<u8>) -> io::Result<ReadResult> {
        if self.tls.is_some() {
            return self.read_over_tls(buffer);
        }
        let before = self.received.len();
        if before + READ_BYTES > buffer.len() {
            buffer.resize(before + READ_BYTES, 0);
        }
        let stream = self.stream.as_mut().ok_or(ErrorKind::NotConnected)?;
        let read = stream.read(&mut buffer[before..before + READ_BYTES])?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        buffer[..before].copy_from_slice(&self.received);
        self.received.clear();
        // A short read has emptied the socket.
        Ok(ReadResult { bytes: before + read, from_socket: read, may_have_more: read == READ_BYTES })
    }

    /// Reads records into the second part of the buffer and opens them into its first part.
    fn read_over_tls(&mut self, buffer: &mut Vec<u8>) -> io::Result<ReadResult> {
        let (Some(stream), Some(tls)) = (&mut self.stream, &mut self.tls) else {
            return Err(ErrorKind::NotConnected.into());
        };
        let (before, incomplete) = (self.received.len(), tls.incomplete_bytes());
        let records_at = before + incomplete + READ_BYTES;
        let needed = records_at + incomplete + READ_BYTES;
        buffer.resize(buffer.len().max(needed), 0);
        let (text, records) = buffer.split_at_mut(records_at);
        let read = stream.read(&mut records[incomplete..incomplete + READ_BYTES])?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        let mut answer = Vec::new();
        let opened = tls.open(&mut records[..incomplete + read], &mut text[before..], &mut answer)?;
        text[..before].copy_from_slice(&self.received);
        self.received.clear();
        if !answer.is_empty() {
            self.send_to_socket(&answer)?;
        }
        Ok(ReadResult { bytes: before + opened, from_socket: read, may_have_more: read == READ_BYTES })
    }

    /// Keeps incomplete input for the next read.
    pub fn keep(&mut self, rest: &[u8]) {
        if rest.is_empty() && self.received.capacity() > 0 {
            self.received = Vec::new();
        } else {
            self.received.extend_from_slice(rest);
        }
    }

    /// Sends bytes behind those that are still unsent.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<SendResult> {
        let Some(tls) = self.tls.as_mut() else { return self.send_to_socket(bytes) };
        let mut sealed = Vec::new();
        // Of nothing, TLS would make an empty record.
        if !bytes.is_empty() {
            tls.seal(bytes, &mut sealed)?;
        }
        self.send_to_socket(&sealed)
    }

    fn send_to_socket(&mut self, bytes: &[u8]) -> io::Result<SendResult> {
        if !self.unsent.is_empty() {
            self.unsent.extend_from_slice(bytes);
            return Ok(SendResult::Partial);
        }
        let taken = self.write(bytes)?;
        self.unsent.extend_from_slice(&bytes[taken..]);
        Ok(if taken == bytes.len() { SendResult::Complete } else { SendResult::Partial })
    }

    /// Sends the unsent bytes.
    pub fn flush(&mut self) -> io::Result<()> {
        if self.unsent.is_empty() {
            return Ok(());
        }
        let unsent = std::mem::take(&mut self.unsent);
        self.sent_of_unsent += self.write(&unsent[self.sent_of_unsent..])?;
        if self.sent_of_unsent < unsent.len() {
            self.unsent = unsent;
        } else {
            self.sent_of_unsent = 0;
        }
        Ok(())
    }

    /// Whether the client is in its room and is not to be cut.
    pub fn stays(&self) -> bool {
        self.stage == Stage::Ready && !self.is_to_be_cut()
    }

    /// Whether the client is to be cut on purpose.
    pub fn is_to_be_cut(&self) -> bool {
        self.resumption.as_ref().is_some_and(|resumption| resumption.is_to_be_cut)
    }

    /// Whether there are unsent bytes.
    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// Writes as much as the kernel accepts.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let stream = self.stream.as_mut().ok_or(ErrorKind::NotConnected)?;
        let mut taken = 0;
        while taken < bytes.len() {
            match stream.write(&bytes[taken..]) {
                Ok(written) => taken += written,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(taken)
    }

    /// The socket, for reading its state.
    pub fn stream(&self) -> io::Result<&TcpStream> {
        self.stream.as_ref().ok_or_else(|| ErrorKind::NotConnected.into())
    }

    /// The socket, for registering it.
    pub fn stream_mut(&mut self) -> Option<&mut TcpStream> {
        self.stream.as_mut()
    }

    /// Closes with a reset, so that no port stays in TIME-WAIT.
    pub fn close(&mut self) {
        if let Some(stream) = self.stream.take() {
            // Fails only for a socket that is closed already.
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
        self.tls = None;
        self.stage = Stage::Ended;
        self.received = Vec::new();
        self.unanswered = VecDeque::new();
        self.unsent = Vec::new();
        self.sent_of_unsent = 0;
    }
}

/// Bytes that one read asks for.
const READ_BYTES: usize = 64 * 1024;
