//! Sockets in memory that take as many bytes as a test allows. Calls that a writer must never make panic here.

use std::collections::BTreeMap;

use roomcast::writer::{Sent, Slot, Wire};

/// The capacity of a socket that takes all bytes.
pub const ALL: usize = usize::MAX;

/// One socket and its state.
#[derive(Debug)]
pub struct Socket {
    /// All bytes that the socket has taken.
    pub taken: Vec<u8>,
    /// The number of bytes that the socket still takes before it refuses.
    pub capacity: usize,
    /// The most bytes that the socket takes in one send.
    pub piece: usize,
    /// The client reads at once: once the socket has refused bytes, and after each step, it takes this many again.
    pub read_at_once: Option<usize>,
    /// The next send fails.
    pub broken: bool,
    /// A send has failed.
    pub failed: bool,
    /// The writer waits for the socket to become writable.
    pub watched: bool,
    /// The stream was ended.
    pub finished: bool,
    /// The number of sends that took bytes.
    pub writes: usize,
    /// The number of sends that were refused.
    pub refusals: usize,
    slot: Slot,
    refused: bool,
    /// The socket has taken bytes while it was watched, so it may be watched again.
    watch_is_due: bool,
}

/// The sockets of a writer, including the closed ones.
#[derive(Debug, Default)]
pub struct MemoryWire {
    open: BTreeMap<u32, Socket>,
    closed: BTreeMap<Slot, Socket>,
    /// The slot of each write.
    pub writes: Vec<Slot>,
}

impl Socket {
    fn new(slot: Slot, capacity: usize, piece: usize) -> Self {
        Self {
            taken: Vec::new(),
            capacity,
            piece,
            read_at_once: None,
            broken: false,
            failed: false,
            watched: false,
            finished: false,
            writes: 0,
            refusals: 0,
            slot,
            refused: false,
            watch_is_due: false,
        }
    }

    fn read(&mut self) {
        self.capacity = self.read_at_once.unwrap_or(self.capacity);
    }

    fn take(&mut self, bytes: &[u8]) -> usize {
        let taken = bytes.len().min(self.piece).min(self.capacity);
        self.taken.extend_from_slice(&bytes[..taken]);
        self.writes += 1;
        if self.capacity != ALL {
            self.capacity -= taken;
        }
        taken
    }
}

impl MemoryWire {
    /// The socket of a slot that was just opened.
    pub fn open(&mut self, slot: Slot, capacity: usize, piece: usize) {
        assert!(!self.closed.contains_key(&slot), "{slot:?} is named a second time");
        let before = self.open.insert(slot.index, Socket::new(slot, capacity, piece));
        assert!(before.is_none(), "row {} has two clients", slot.index);
    }

    pub fn is_open(&self, slot: Slot) -> bool {
        self.open.get(&slot.index).is_some_and(|socket| socket.slot == slot)
    }

    /// The socket of an open or closed client.
    pub fn socket(&self, slot: Slot) -> &Socket {
        let open = self.open.get(&slot.index).filter(|socket| socket.slot == slot);
        open.or_else(|| self.closed.get(&slot)).expect("it was opened")
    }

    /// The socket of the client if it is open.
    pub fn socket_mut(&mut self, slot: Slot) -> Option<&mut Socket> {
        self.open.get_mut(&slot.index).filter(|socket| socket.slot == slot)
    }

    /// Checks that by the end of a step the writer watches every socket that refused bytes and has closed every socket
    /// that failed.
    pub fn check_after_step(&self) {
        for socket in self.open.values() {
            assert!(!socket.refused, "{:?} refused bytes and is not watched", socket.slot);
            assert!(!socket.failed, "{:?} failed and is not closed", socket.slot);
        }
    }

    /// Clients that read at once have read what came in the last step.
    pub fn read_at_once(&mut self) {
        self.open.values_mut().for_each(Socket::read);
    }

    fn at(&mut self, index: u32) -> &mut Socket {
        self.open.get_mut(&index).expect("a slot has its socket until it is closed")
    }
}

impl Wire for MemoryWire {
    fn send(&mut self, index: u32, bytes: &[u8]) -> Sent {
        let socket = self.at(index);
        assert!(!bytes.is_empty(), "an empty write");
        assert!(!socket.finished, "{:?} is written to behind the end of its stream", socket.slot);
        assert!(!socket.failed, "{:?} is written to after it failed", socket.slot);
        assert!(!socket.refused, "{:?} is written to and not watched after it refused", socket.slot);
        if socket.broken {
            socket.failed = true;
            return Sent::Broken;
        }
        if socket.capacity == 0 {
            // A watched socket may be offered bytes again; it stays watched if it refuses them.
            socket.refused = !socket.watched;
            socket.refusals += 1;
            socket.read();
            return Sent::WouldBlock;
        }
        // A watched socket has become writable before the writer was notified, so the writer may watch it again.
        socket.watch_is_due = socket.watched;
        let (slot, taken) = (socket.slot, socket.take(bytes));
        self.writes.push(slot);
        Sent::Taken(taken)
    }

    fn watch(&mut self, slot: Slot) {
        let socket = self.at(slot.index);
        assert_eq!(socket.slot, slot, "another client is watched");
        assert!(socket.refused || socket.watch_is_due, "{slot:?} is watched and has not refused");
        assert!(!socket.watched || socket.watch_is_due, "{slot:?} is watched twice");
        (socket.refused, socket.watched, socket.watch_is_due) = (false, true, false);
    }

    fn finish(&mut self, index: u32) -> bool {
        let socket = self.at(index);
        assert!(!socket.finished, "{:?} ends its stream twice", socket.slot);
        socket.finished = true;
        true
    }

    fn close(&mut self, index: u32) {
        let mut socket = self.open.remove(&index).expect("a socket is closed once");
        socket.refused = false;
        self.closed.insert(socket.slot, socket);
    }
}
