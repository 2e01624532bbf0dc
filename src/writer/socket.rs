//! The wire over real sockets: `send` on the descriptor itself. There is `unsafe` code here for one reason: reaching the descriptor through the stream's heap objects costs a cache miss each, 15 to 25 % at 15 000 clients.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::rc::Rc;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown, recv, send, shutdown};
use tokio::io::Interest;
use tokio::net::TcpStream;

use super::address::Slot;
use super::wire::{Sent, Wire};

/// Stands where no socket is.
const NO_DESCRIPTOR: RawFd = -1;

/// The sockets of one worker by slot index. A connection task shares its stream, for reading only.
#[derive(Debug, Default)]
pub(super) struct SocketWire {
    /// Sixteen to a cache line, walked in accept order by a fan-out.
    descriptors: Vec<RawFd>,
    streams: Vec<Option<Rc<TcpStream>>>,
    newly_watched: Vec<(Slot, Rc<TcpStream>)>,
}

impl SocketWire {
    /// The socket of a slot that was just opened.
    pub fn open(&mut self, index: u32, stream: Rc<TcpStream>) {
        let index = index as usize;
        if index >= self.streams.len() {
            self.streams.resize(index + 1, None);
            self.descriptors.resize(index + 1, NO_DESCRIPTOR);
        }
        self.descriptors[index] = stream.as_raw_fd();
        self.streams[index] = Some(stream);
    }

    /// The sockets to wait for since the last call.
    pub fn take_newly_watched(&mut self) -> impl Iterator<Item = (Slot, Rc<TcpStream>)> {
        self.newly_watched.drain(..)
    }

    /// Whether bytes have come, or the end of the input, that nobody has read.
    pub fn has_unread_input(&self, index: u32) -> bool {
        let stream = self.streams.get(index as usize).and_then(Option::as_ref);
        stream.is_some_and(|stream| recv(stream, &mut [0; 1], RecvFlags::PEEK | RecvFlags::DONTWAIT).is_ok())
    }

    fn stream(&self, index: u32) -> &Rc<TcpStream> {
        self.streams[index as usize].as_ref().expect("a slot has its socket until it is closed")
    }

    /// The kernel has refused. Asks once more inside the stream's own bookkeeping, or tokio would go on to believe that
    /// the socket is writable and never wake who waits for it.
    #[cold]
    fn refuse(&self, index: u32, bytes: &[u8]) -> Sent {
        let stream = self.stream(index);
        let again = || send(stream, bytes, SendFlags::NOSIGNAL).map_err(io::Error::from);
        match stream.try_io(Interest::WRITABLE, again) {
            Ok(taken) => Sent::Taken(taken),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Sent::WouldBlock,
            Err(_) => Sent::Broken,
        }
    }
}

impl Wire for SocketWire {
    #[allow(unsafe_code)]
    fn send(&mut self, index: u32, bytes: &[u8]) -> Sent {
        let descriptor = self.descriptors[index as usize];
        assert!(descriptor != NO_DESCRIPTOR, "a slot has its socket until it is closed");
        // SAFETY: `streams[index]` owns this descriptor and keeps it open: both are set in `open` and cleared in `close`.
        let socket = unsafe { BorrowedFd::borrow_raw(descriptor) };
        match send(socket, bytes, SendFlags::NOSIGNAL) {
            Ok(taken) => Sent::Taken(taken),
            Err(Errno::AGAIN) => self.refuse(index, bytes),
            Err(_) => Sent::Broken,
        }
    }

    fn watch(&mut self, slot: Slot) {
        let stream = Rc::clone(self.stream(slot.index));
        self.newly_watched.push((slot, stream));
    }

    fn finish(&mut self, index: u32) {
        // A peer that is gone already needs no end of stream.
        let _ = shutdown(self.stream(index), Shutdown::Write);
    }

    fn close(&mut self, index: u32) {
        self.descriptors[index as usize] = NO_DESCRIPTOR;
        if let Some(stream) = self.streams[index as usize].take() {
            // Ends the reading of the connection task and the watch, which share the stream; the last one closes it.
            let _ = shutdown(&stream, Shutdown::Both);
        }
    }
}
