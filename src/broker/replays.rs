//! Replays: runs of publications that clients have missed, encoded once per dialect and shared by all clients that resume
//! from about the same place. Plain synchronous code.

use std::collections::HashMap;

use bytes::Bytes;

use super::log::RoomLog;
use crate::protocol::dialect::Dialect;
use crate::protocol::event::Event;
use crate::protocol::names::RoomName;
use crate::protocol::position::Position;
use crate::protocol::publication::Publication;
use crate::writer::Frames;

/// Memory for replays that are kept for the next client, in bytes. Beyond it all are encoded anew.
const KEPT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The replays that a shard has encoded lately.
#[derive(Debug, Default)]
pub(super) struct Replays {
    kept: HashMap<(RoomName, (Dialect, Form)), Replay>,
    bytes: usize,
}

/// How the publications of a replay are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Form {
    /// Each as a message, as if it were live.
    Messages,
    /// Each as [`Dialect::write_missed`] writes it: in some dialects as a part of the reply to a join.
    Parts,
}

/// The newest publications of a room up to one of them, back to back.
#[derive(Clone, Debug)]
struct Replay {
    /// The place of the last one. A room that vanished and came back may reach the same offset with other publications.
    last: Position,
    bytes: Bytes,
    /// Where each publication ends.
    ends: Vec<u32>,
}

impl Replays {
    /// The newest `count` publications of a room, of which `publications` are all. They are not encoded again if they
    /// were the newest of a longer replay before.
    pub fn newest<'a>(
        &mut self,
        room: &RoomName,
        form: (Dialect, Form),
        log: &RoomLog,
        publications: impl ExactSizeIterator<Item = &'a Publication>,
    ) -> Frames {
        let (last, count) = (log.position(), publications.len());
        let key = (room.clone(), form);
        let replay = self.kept.remove(&key).inspect(|replay| self.bytes -= replay.bytes.len());
        let replay = replay.filter(|replay| replay.last == last && replay.ends.len() >= count);
        let replay = replay.unwrap_or_else(|| Replay::encode(room, form, last, publications));
        let frames = replay.newest(count);
        if replay.bytes.len() > KEPT_BYTES_MAX {
            return frames;
        }
        if self.bytes + replay.bytes.len() > KEPT_BYTES_MAX {
            self.forget();
        }
        self.bytes += replay.bytes.len();
        self.kept.insert(key, replay);
        frames
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// The memory of all that are kept, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Frees all replays.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

impl Replay {
    fn encode<'a>(
        room: &RoomName,
        (dialect, form): (Dialect, Form),
        last: Position,
        publications: impl Iterator<Item = &'a Publication>,
    ) -> Self {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for publication in publications {
            match form {
                Form::Messages => dialect.write(&Event::Published(room, last.epoch, publication), &mut bytes),
                Form::Parts => dialect.write_missed(room, last.epoch, publication, &mut bytes),
            }
            ends.push(u32::try_from(bytes.len()).expect("a replay is shorter than 4 GiB"));
        }
        Self { last, bytes: bytes.into(), ends }
    }

    /// The newest `count` of the publications.
    fn newest(&self, count: usize) -> Frames {
        let skipped = self.ends.len() - count;
        let start = skipped.checked_sub(1).map_or(0, |before| self.ends[before]);
        let inner = &self.ends[skipped..self.ends.len().saturating_sub(1)];
        Frames::replies(self.bytes.slice(start as usize..), inner.iter().map(|&end| end - start).collect())
    }
}
