//! The sockets as the writer sees them. In the tests and benchmarks they are in memory.

/// What a socket did with bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It took this many, at least one and perhaps fewer than offered.
    Taken(usize),
    /// It is full; it takes more once it is writable.
    WouldBlock,
    /// It is dead.
    Broken,
}

/// The write sides of a worker's sockets, named by the index of their slot. No call ever waits.
pub trait Wire {
    /// Offers bytes, at least one.
    fn send(&mut self, index: u32, bytes: &[u8]) -> Sent;

    /// Asks for one `Input::Writable` once the socket takes bytes again. Called after a refusal.
    fn watch(&mut self, slot: super::Slot);

    /// Ends the stream behind all that was sent; the peer can still be read.
    fn finish(&mut self, index: u32);

    /// Ends both directions at once and forgets the socket. The index may be used anew.
    fn close(&mut self, index: u32);
}
