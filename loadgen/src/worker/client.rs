//! One client: its socket and what is half received or half sent. Never looks into a message.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mio::net::TcpStream;
use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::clock::Nanos;

/// Where a client is in its conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Not connected yet.
    Connecting,
    /// Has greeted and waits to be let in.
    Opening,
    /// Has asked to join.
    Joining,
    /// In its room; or ready to publish, if it is in none.
    Ready,
    /// Has asked to leave, at this time.
    Leaving(Nanos),
    /// Reads no more, on purpose.
    Stalled,
    /// Over.
    Ended,
}

/// One connection.
#[derive(Debug)]
pub struct Client {
    stream: Option<TcpStream>,
    /// Which of the targets.
    pub target: u8,
    /// Where it is in its conversation.
    pub stage: Stage,
    /// Its room, by index in this process.
    pub room: u32,
    /// Its seat in the room; `None` for a publisher that is no member.
    pub seat: Option<u32>,
    /// When it began to connect or to join.
    pub since: Nanos,
    /// The beginning of something that has not come whole.
    received: Vec<u8>,
    /// What the kernel has not taken yet, from the offset on.
    unsent: Vec<u8>,
    sent_of_unsent: usize,
}

/// What a read brought.
#[derive(Clone, Copy, Debug)]
pub struct Filled {
    /// Of the buffer, with what had not come whole before.
    pub bytes: usize,
    /// Whether there may be more.
    pub may_have_more: bool,
}

/// Whether the kernel took everything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// All of it.
    Whole,
    /// The rest waits for the socket to become writable.
    InPart,
}

impl Client {
    /// Not connected.
    pub fn new(target: u8, room: u32, seat: Option<u32>) -> Self {
        let (received, unsent) = (Vec::new(), Vec::new());
        let (stream, since, sent_of_unsent) = (None, Nanos(0), 0);
        Self { stream, target, stage: Stage::Connecting, room, seat, since, received, unsent, sent_of_unsent }
    }

    /// Begins to connect; the socket is writable when that has succeeded or failed.
    pub fn connect(&mut self, address: SocketAddr, source: Option<IpAddr>, now: Nanos) -> io::Result<&mut TcpStream> {
        let socket =
            Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        if let Some(source) = source {
            // The kernel looks for a free port only when it knows the other end, or 28 000 would be all there are.
            setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
            let bound = socket.bind(&SocketAddr::new(source, 0).into());
            bound.map_err(|error| io::Error::other(format!("cannot connect from {source}: {error}")))?;
        }
        match socket.connect(&address.into()) {
            Err(error) if error.raw_os_error() != Some(nix::libc::EINPROGRESS) => return Err(error),
            _ => {}
        }
        self.since = now;
        Ok(self.stream.insert(TcpStream::from_std(socket.into())))
    }

    /// How connecting went, once the socket is writable.
    pub fn connected(&self) -> io::Result<()> {
        let stream = self.stream()?;
        match stream.take_error()? {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    /// Reads once, behind what has not come whole before.
    ///
    /// # Errors
    /// Nothing has come (`WouldBlock`), the other end has closed (`UnexpectedEof`), or the connection is broken.
    pub fn read(&mut self, buffer: &mut Vec<u8>) -> io::Result<Filled> {
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
        // A read that brings less than was asked for has emptied the socket.
        Ok(Filled { bytes: before + read, may_have_more: read == READ_BYTES })
    }

    /// Keeps what has not come whole.
    pub fn keep(&mut self, rest: &[u8]) {
        if rest.is_empty() && self.received.capacity() > 0 {
            self.received = Vec::new();
        } else {
            self.received.extend_from_slice(rest);
        }
    }

    /// Sends, behind what waits already.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<Sent> {
        if !self.unsent.is_empty() {
            self.unsent.extend_from_slice(bytes);
            return Ok(Sent::InPart);
        }
        let taken = self.write(bytes)?;
        self.unsent.extend_from_slice(&bytes[taken..]);
        Ok(if taken == bytes.len() { Sent::Whole } else { Sent::InPart })
    }

    /// Sends what waits.
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

    /// Whether the kernel has yet to take something.
    pub fn has_unsent(&self) -> bool {
        !self.unsent.is_empty()
    }

    /// As much as the kernel takes.
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

    /// The socket, to watch it.
    pub fn stream(&self) -> io::Result<&TcpStream> {
        self.stream.as_ref().ok_or_else(|| ErrorKind::NotConnected.into())
    }

    /// The socket, to stop watching it.
    pub fn stream_mut(&mut self) -> Option<&mut TcpStream> {
        self.stream.as_mut()
    }

    /// Closes at once and for good: a reset leaves no port waiting behind.
    pub fn close(&mut self) {
        if let Some(stream) = self.stream.take() {
            // A socket that is gone already needs no linger.
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
        self.stage = Stage::Ended;
        self.received = Vec::new();
        self.unsent = Vec::new();
    }
}

/// How much is read at once.
const READ_BYTES: usize = 64 * 1024;
