//! The sockets as the writer sees them. Tests and benchmarks have them in memory.

use super::Slot;

/// What a socket did with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It took this many, at least one and perhaps fewer than offered. Of a flush: it took this many and holds no more.
    Taken(usize),
    /// As many are taken, but the stream is encrypted, its socket is full, and it holds sealed bytes: they go first once
    /// it is writable.
    Held(usize),
    /// It is full; it takes more once it is writable.
    WouldBlock,
    /// It is dead.
    Broken,
}

/// The write sides of a worker's sockets, named by the index of their slot. No call ever waits.
pub trait Wire {
    /// Offers bytes, at least one.
    fn send(&mut self, index: u32, bytes: &[u8]) -> Sent;

    /// Offers the sealed bytes that the stream holds, if it holds any.
    fn flush(&mut self, _index: u32) -> Sent {
        Sent::Taken(0)
    }

    /// The number of sealed bytes that the stream holds.
    fn held(&self, _index: u32) -> usize {
        0
    }

    /// Requests one `Input::Writable` once the socket takes bytes again. Called after `Sent::WouldBlock`, `Sent::Held`,
    /// and an end that does not fit.
    fn watch(&mut self, slot: Slot);

    /// Ends the stream behind all that was sent; the peer can still be read. False if the socket is full: to be called
    /// again once it is writable.
    fn finish(&mut self, index: u32) -> bool;

    /// Ends both directions at once and forgets the socket. The index may then be reused.
    fn close(&mut self, index: u32);
}
