//! Replies that many clients share, such as what a crowd that comes back has missed: their memory is one piece and counts
//! once, though each client gets an entry of its own. Never reads the bytes.

use std::collections::VecDeque;
use std::rc::{Rc, Weak};

use super::frames::{EntryNumber, Frames, Meter, QueuedFrames};

/// The pieces that new entries are compared with: the crowds of so many rooms may come back at once.
const PIECES_MAX: usize = 16;

/// The pieces of memory that replies of several messages came in lately.
#[derive(Debug, Default)]
pub(super) struct SharedReplies(VecDeque<Weak<QueuedFrames>>);

impl SharedReplies {
    /// Replies that outboxes can share. They count only if no outbox holds the piece that they are a part of.
    pub fn share(&mut self, frames: Frames, number: EntryNumber, meter: &Meter) -> Rc<QueuedFrames> {
        let piece = self.0.iter().filter_map(Weak::upgrade).find(|piece| is_within(&frames, piece));
        let piece = piece.unwrap_or_else(|| {
            // The piece lives longer than the entry of one client, and must not hold the client's turn.
            let piece = QueuedFrames::new(frames.clone().holding(None), number, meter);
            self.0.truncate(PIECES_MAX - 1);
            self.0.push_front(Rc::downgrade(&piece));
            piece
        });
        QueuedFrames::part_of(frames, number, piece)
    }
}

/// Whether the bytes lie in the memory of a piece that is still held.
fn is_within(frames: &Frames, piece: &Frames) -> bool {
    let (own, all) = (frames.bytes().as_ptr_range(), piece.bytes().as_ptr_range());
    all.start <= own.start && own.end <= all.end
}
