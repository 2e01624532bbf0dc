//! The wire over real sockets: `send` on the descriptor itself. Never blocks. It has `unsafe` code for one reason: to reach
//! the descriptor through the stream's heap objects costs a cache miss each, 15 to 25 % at 15 000 clients.

use std::io::{self, ErrorKind};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::rc::Rc;

use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use super::Slot;
use super::wire::{Sent, Wire};
use crate::net::stream::Stream;

/// The descriptor of a row without a socket.
const NO_DESCRIPTOR: RawFd = -1;

/// The descriptor of a row with a stream of TLS, whose bytes no descriptor takes as they are.
const SEALED: RawFd = -2;

/// The sockets of one worker by slot index. A connection task shares its stream, for reading only.
#[derive(Debug, Default)]
pub(super) struct SocketWire {
    /// Sixteen to a cache line, walked in accept order by a fan-out.
    descriptors: Vec<RawFd>,
    streams: Vec<Option<Rc<Stream>>>,
    newly_watched: Vec<(Slot, Rc<Stream>)>,
}

impl SocketWire {
    /// Adds the stream of a slot that was just opened.
    pub fn open(&mut self, index: u32, stream: Rc<Stream>) {
        let index = index as usize;
        if index >= self.streams.len() {
            self.streams.resize(index + 1, None);
            self.descriptors.resize(index + 1, NO_DESCRIPTOR);
        }
        self.descriptors[index] = if stream.is_tls() { SEALED } else { stream.as_raw_fd() };
        self.streams[index] = Some(stream);
    }

    /// Takes the streams that are watched since the last call.
    pub fn take_newly_watched(&mut self) -> impl Iterator<Item = (Slot, Rc<Stream>)> {
        self.newly_watched.drain(..)
    }

    /// Whether bytes, or the end of the input, have come and are not read yet.
    pub fn has_unread_input(&self, index: u32) -> bool {
        let stream = self.streams.get(index as usize).and_then(Option::as_ref);
        stream.is_some_and(|stream| stream.has_unread_input())
    }

    fn stream(&self, index: u32) -> &Rc<Stream> {
        self.streams[index as usize].as_ref().expect("a slot has its socket until it is closed")
    }

    /// The kernel took nothing.
    #[cold]
    fn send_again(&self, index: u32, bytes: &[u8]) -> Sent {
        let stream = self.stream(index);
        outcome(stream, stream.try_write_again(bytes))
    }

    #[inline(never)]
    fn seal_and_send(&self, index: u32, bytes: &[u8]) -> Sent {
        let stream = self.stream(index);
        outcome(stream, stream.try_write(bytes))
    }
}

fn outcome(stream: &Stream, taken: io::Result<usize>) -> Sent {
    match taken {
        Ok(taken) if stream.held_output() > 0 => Sent::Held(taken),
        Ok(taken) => Sent::Taken(taken),
        Err(error) if error.kind() == ErrorKind::WouldBlock => Sent::WouldBlock,
        Err(_) => Sent::Broken,
    }
}

impl Wire for SocketWire {
    #[allow(unsafe_code)]
    fn send(&mut self, index: u32, bytes: &[u8]) -> Sent {
        let descriptor = self.descriptors[index as usize];
        if descriptor < 0 {
            return self.seal_and_send(index, bytes);
        }
        // SAFETY: `streams[index]` owns this descriptor and keeps it open: both are set in `open` and cleared in `close`.
        let socket = unsafe { BorrowedFd::borrow_raw(descriptor) };
        match send(socket, bytes, SendFlags::NOSIGNAL) {
            Ok(taken) => Sent::Taken(taken),
            Err(Errno::AGAIN) => self.send_again(index, bytes),
            Err(_) => Sent::Broken,
        }
    }

    fn flush(&mut self, index: u32) -> Sent {
        if self.held(index) == 0 {
            return Sent::Taken(0);
        }
        let stream = self.stream(index);
        outcome(stream, stream.try_flush())
    }

    fn held(&self, index: u32) -> usize {
        // Without a look at a stream that is not encrypted.
        if self.descriptors[index as usize] == SEALED { self.stream(index).held_output() } else { 0 }
    }

    fn watch(&mut self, slot: Slot) {
        let stream = Rc::clone(self.stream(slot.index));
        self.newly_watched.push((slot, stream));
    }

    fn finish(&mut self, index: u32) -> bool {
        // A peer that is gone already needs no end of stream.
        !self.stream(index).try_finish().is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    fn close(&mut self, index: u32) {
        self.descriptors[index as usize] = NO_DESCRIPTOR;
        if let Some(stream) = self.streams[index as usize].take() {
            // Ends the reading of the connection task and the watch, which share the stream; the last one closes it.
            stream.close();
        }
    }
}
