//! The log of one room: the position of its last publication, and the publications that are retained. Plain synchronous
//! code; [`History`](super::History) is the only one that changes it, because it counts what all logs retain.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use crate::config::LimitsOfRoom;
use crate::protocol::position::{Epoch, Offset, Position, Since};
use crate::protocol::publication::Publication;

/// About the memory of a retained publication beside its data: its place in a queue that may be half empty, and the
/// allocator's part. What a replay of it costs beside the data is counted as the same.
pub const PUBLICATION_BYTES: usize = 160;

/// About the memory of a room beside its members and its publications, counted once it retains any.
pub const ROOM_BYTES: usize = 1_000;

/// A log keeps space for this many publications, however few there are.
const PUBLICATIONS_KEPT: usize = 4;

/// The order of a room and the end of it that is retained.
#[derive(Debug)]
pub struct RoomLog {
    epoch: Epoch,
    last: Offset,
    /// Publications so far.
    published: u64,
    /// Everything after it is retained. What was published up to it is not, or never was.
    forgotten: Offset,
    /// The limits of the room, of which the log itself uses those of history.
    pub(super) limits: Arc<LimitsOfRoom>,
    /// All after `forgotten`, each with the time at which it was appended.
    retained: VecDeque<(Publication, Instant)>,
    /// The bytes of all data that is retained.
    data_bytes: usize,
    /// The time under which [`History`](super::History) has queued the room. No publication is too old before it.
    pub(super) queued_at: Option<Instant>,
}

/// Where a log begins.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LogBegin {
    /// Everything after it that is published to the room comes into the log.
    pub forgotten: Offset,
    /// Nothing was published to the room after it and up to here.
    pub last: Offset,
}

/// What one log retains, or all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retained {
    /// Publications.
    pub messages: usize,
    /// About the memory of them and of their rooms, in bytes.
    pub bytes: usize,
}

/// Why a client cannot get everything that it missed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrecovered {
    /// The position is of another life of the room.
    OtherEpoch,
    /// The room has not reached the position yet.
    Ahead,
    /// Some of what was missed is not retained any more.
    Trimmed,
    /// More publications were missed than a client may recover.
    TooMany,
    /// More bytes were missed than a client may recover.
    TooLong,
}

impl RoomLog {
    /// The log of a new room.
    pub fn new(epoch: Epoch, limits: Arc<LimitsOfRoom>) -> Self {
        Self::beginning_at(epoch, LogBegin::default(), limits)
    }

    /// The log of a room that is new here, in an order that has begun before.
    pub(super) fn beginning_at(epoch: Epoch, begin: LogBegin, limits: Arc<LimitsOfRoom>) -> Self {
        let LogBegin { forgotten, last } = begin;
        Self { epoch, last, published: 0, forgotten, limits, retained: VecDeque::new(), data_bytes: 0, queued_at: None }
    }

    /// Goes on in another epoch. The log must be empty.
    pub(super) fn begin_anew(&mut self, epoch: Epoch, LogBegin { forgotten, last }: LogBegin) {
        debug_assert!(self.is_empty(), "what is retained is of the epoch before");
        (self.epoch, self.forgotten, self.last) = (epoch, forgotten, last);
    }

    /// The number of publications so far, whether they are retained or not.
    pub(super) fn published(&self) -> u64 {
        self.published
    }

    /// The offset after which everything is retained.
    pub fn forgotten(&self) -> Offset {
        self.forgotten
    }

    /// The position of the last publication, whether it is retained or not.
    pub fn position(&self) -> Position {
        Position { epoch: self.epoch, offset: self.last }
    }

    /// The offset that the next publication must have.
    pub fn next_offset(&self) -> Offset {
        self.last.next()
    }

    /// Whether nothing is retained.
    pub fn is_empty(&self) -> bool {
        self.retained.is_empty()
    }

    /// What is retained.
    pub fn retained(&self) -> Retained {
        let messages = self.retained.len();
        let room_bytes = if messages == 0 { 0 } else { ROOM_BYTES };
        Retained { messages, bytes: self.data_bytes + messages * PUBLICATION_BYTES + room_bytes }
    }

    /// When the oldest publication that is retained becomes too old.
    pub fn expires_at(&self) -> Option<Instant> {
        self.retained.front().map(|(_, at)| *at + self.limits.history_age_max)
    }

    /// All publications after a position, oldest first: none if the position is the room's own. Linear in what was
    /// missed. `bytes_max` bounds their data with `PUBLICATION_BYTES` for each.
    ///
    /// # Errors
    /// Not all of them can be had. Then none is returned.
    pub fn missed_since(
        &self,
        since: Since,
        messages_max: usize,
        bytes_max: usize,
    ) -> Result<impl ExactSizeIterator<Item = &Publication>, Unrecovered> {
        if since.epoch.is_some_and(|epoch| epoch != self.epoch) {
            return Err(Unrecovered::OtherEpoch);
        }
        if since.offset > self.last {
            return Err(Unrecovered::Ahead);
        }
        if since.offset < self.forgotten {
            return Err(Unrecovered::Trimmed);
        }
        let missed = self.retained.len() - self.index_after(since.offset);
        if missed > messages_max {
            return Err(Unrecovered::TooMany);
        }
        let bytes: usize = self.newest(missed).map(bytes).sum();
        if bytes > bytes_max { Err(Unrecovered::TooLong) } else { Ok(self.newest(missed)) }
    }

    /// The last publications that are retained, oldest first: at most `messages_max`, and the newest of them that fit
    /// into `bytes_max` with `PUBLICATION_BYTES` for each. Linear in what is returned.
    pub fn latest(&self, messages_max: usize, bytes_max: usize) -> impl ExactSizeIterator<Item = &Publication> {
        let mut bytes_left = bytes_max;
        let mut fits = |publication| {
            let left = bytes_left.checked_sub(bytes(publication));
            bytes_left = left.unwrap_or_default();
            left.is_some()
        };
        let newest_first = self.retained.iter().rev().take(messages_max);
        let fitting = newest_first.take_while(|(publication, _)| fits(publication)).count();
        self.newest(fitting)
    }

    /// At most `messages_max` of the publications that are retained: those behind `since` oldest first, or those in front
    /// of it newest first; without it from that end of the log. They end where `bytes_max` is full, with
    /// `PUBLICATION_BYTES` for each. Linear in what is returned.
    pub fn page(
        &self,
        since: Option<Offset>,
        is_reverse: bool,
        messages_max: usize,
        bytes_max: usize,
    ) -> Vec<&Publication> {
        let publications =
            |range| self.retained.range::<std::ops::Range<usize>>(range).map(|(publication, _)| publication);
        let mut bytes_left = bytes_max;
        let mut fits = |publication: &&Publication| {
            let left = bytes_left.checked_sub(bytes(publication));
            bytes_left = left.unwrap_or_default();
            left.is_some()
        };
        if is_reverse {
            let end = since.map_or(self.retained.len(), |since| self.index_after(Offset(since.0.saturating_sub(1))));
            publications(0..end).rev().take(messages_max).take_while(&mut fits).collect()
        } else {
            let start = since.map_or(0, |since| self.index_after(since));
            publications(start..self.retained.len()).take(messages_max).take_while(&mut fits).collect()
        }
    }

    /// Whether the room retains publications at all, so that clients can resume.
    pub fn is_retaining(&self) -> bool {
        self.limits.history_messages_max > 0
    }

    /// Appends the next publication. The oldest ones give way, so that no more are retained than the room may.
    pub(super) fn append(&mut self, publication: Publication, at: Instant) {
        debug_assert!(publication.offset > self.last, "offsets rise");
        self.last = publication.offset;
        self.published += 1;
        let messages_max = self.limits.history_messages_max;
        if messages_max == 0 {
            self.forgotten = self.last;
            return;
        }
        // They give way first, so that a full queue does not grow.
        while self.retained.len() >= messages_max {
            self.pop_front();
        }
        self.data_bytes += publication.bytes();
        self.retained.push_back((publication, at));
    }

    /// Drops the oldest publication, and memory that the queue needed for a peak.
    pub(super) fn drop_oldest(&mut self) {
        self.pop_front();
        let kept = PUBLICATIONS_KEPT.max(2 * self.retained.len());
        if self.retained.capacity() > 2 * kept {
            self.retained.shrink_to(kept);
        }
    }

    /// Drops everything that is retained. The position stays.
    pub(super) fn clear(&mut self) {
        self.retained = VecDeque::new();
        self.data_bytes = 0;
        self.forgotten = self.last;
    }

    fn pop_front(&mut self) {
        if let Some((publication, _)) = self.retained.pop_front() {
            self.data_bytes -= publication.bytes();
            self.forgotten = publication.offset;
        }
    }

    /// The index of the first publication that is retained after an offset. Logarithmic in what is retained.
    fn index_after(&self, offset: Offset) -> usize {
        self.retained.partition_point(|(publication, _)| publication.offset <= offset)
    }

    fn newest(&self, count: usize) -> impl ExactSizeIterator<Item = &Publication> {
        self.retained.range(self.retained.len() - count..).map(|(publication, _)| publication)
    }
}

/// What a publication counts for, in memory and in a replay.
fn bytes(publication: &Publication) -> usize {
    publication.bytes() + PUBLICATION_BYTES
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::protocol::names::Label;
    use crate::protocol::position::UnixMillis;
    use crate::protocol::publication::{ClientId, Data, Publisher};

    #[test]
    fn the_queue_of_a_log_does_not_grow_past_its_count_and_shrinks_after_a_peak() {
        const MESSAGES_MAX: usize = 128;
        let now = Instant::now();
        let limits = LimitsOfRoom {
            members_max: 0,
            history_messages_max: MESSAGES_MAX,
            history_age_max: Duration::ZERO,
            presence_events: false,
            joined_by: crate::config::Who::Anyone,
        };
        let mut log = RoomLog::new(Epoch::new(UnixMillis(0), 0), limits.into());
        let publisher = Arc::new(Publisher::anonymous(ClientId(0), Label::generated(0)));
        for _ in 0..10 * MESSAGES_MAX {
            let (offset, publisher) = (log.next_offset(), publisher.clone());
            let data = Data::Text("text".into());
            log.append(Publication { offset, published_at: UnixMillis(0), publisher, data }, now);
        }
        assert_eq!((log.retained.len(), log.retained.capacity()), (MESSAGES_MAX, MESSAGES_MAX));
        (1..MESSAGES_MAX).for_each(|_| log.drop_oldest());
        assert!(log.retained.capacity() <= 2 * PUBLICATIONS_KEPT, "{}", log.retained.capacity());
    }
}
