//! What one client remembers in order to resume: the last position that it was told, and the number of messages that it
//! has received since. Never does I/O.

use crate::clock::Nanos;
use crate::dialect::Position;

/// Messages between two requests for a position. The replay of a client begins with up to this many messages that it
/// has already, so it is far below the 100 messages that Roomcast keeps of a room by default.
const MESSAGES_PER_POSITION: u32 = 32;

/// The memory of one client that comes back when it has lost its connection.
#[derive(Clone, Debug)]
pub struct Resumption {
    pub stage: CutStage,
    /// Whether the client is to be cut on purpose. It then never publishes.
    pub is_to_be_cut: bool,
    /// The target to which the client was connected last.
    pub left: u8,
    /// Failed attempts to come back since the connection was lost.
    pub attempts: u32,
    /// The text of the last position that the server told; empty before the first.
    position: Vec<u8>,
    /// The offset of the last message, or of that position, if the server tells offsets.
    offset: Option<u64>,
    /// Messages received behind that position. Always zero if the server tells offsets.
    since_position: u32,
    /// Messages since the client's last turn to request a position.
    since_turn: u32,
    /// Whether a request for a position is not answered yet.
    has_requested: bool,
    /// Messages at the beginning of the replay that the client has already.
    to_skip: u32,
    /// When the client was first due to reconnect.
    pub due: Nanos,
}

/// The stage of a client that comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CutStage {
    /// Has never lost its connection.
    Before,
    /// Has lost its connection, and is not in its room again.
    Away,
    /// In its room again; the answer to the `POSITION` behind the join is still to come. Everything before that answer
    /// is the replay.
    Replaying,
    /// As [`Self::Replaying`], but told of a gap. Nothing is replayed.
    Told,
    /// Has everything that it missed, or was told that it cannot have it.
    Back,
}

impl Resumption {
    /// The memory of a client that has not joined yet and requests its first position behind its join. The members of a
    /// room request their further positions by turns.
    pub fn new(member: u32, is_to_be_cut: bool) -> Self {
        Self {
            stage: CutStage::Before,
            is_to_be_cut,
            left: 0,
            attempts: 0,
            position: Vec::new(),
            offset: None,
            since_position: 0,
            since_turn: member % MESSAGES_PER_POSITION,
            has_requested: true,
            to_skip: 0,
            due: Nanos(0),
        }
    }

    /// Whether it is the client's turn to request a position. Notes that it does.
    pub fn requests_position(&mut self) -> bool {
        if self.since_turn < MESSAGES_PER_POSITION || self.has_requested {
            return false;
        }
        self.since_turn %= MESSAGES_PER_POSITION;
        self.has_requested = true;
        true
    }

    /// Remembers a position: everything before it has been received.
    pub fn remember(&mut self, position: Position<'_>) {
        self.position.clear();
        self.position.extend_from_slice(position.text);
        self.offset = position.offset;
        self.since_position = 0;
        self.to_skip = 0;
        self.has_requested = false;
    }

    /// The last position; `None` if the server has not told any.
    pub fn position(&self) -> Option<Position<'_>> {
        (!self.position.is_empty()).then_some(Position { text: &self.position, offset: self.offset })
    }

    /// Notes the offset of the message that was just counted. It is the position to resume from, so none need be
    /// requested.
    pub fn advance(&mut self, offset: u64) {
        self.offset = Some(offset);
        self.since_position = 0;
        self.since_turn = 0;
    }

    /// Counts one message of the room. Returns whether the client has it already: the replay repeats what came behind
    /// the last position.
    pub fn has_already(&mut self) -> bool {
        if self.to_skip > 0 {
            self.to_skip -= 1;
            return true;
        }
        self.since_position += 1;
        self.since_turn += 1;
        false
    }

    /// Notes that the client has lost its connection to a target and when it is due to reconnect. One that was not back
    /// yet keeps the time at which it was due first.
    pub fn lose(&mut self, left: u8, due: Nanos) {
        if !self.is_returning() {
            self.due = due;
        }
        self.stage = CutStage::Away;
        self.left = left;
        self.attempts = 0;
    }

    /// Notes that the client is in its room again and has requested a position behind its join.
    pub fn resume(&mut self) {
        self.stage = CutStage::Replaying;
        self.to_skip = self.since_position;
        self.has_requested = true;
    }

    /// Notes that the server has told of a gap, so it repeats nothing. The position before the gap is of no use any more.
    pub fn tell_of_gap(&mut self) {
        self.stage = CutStage::Told;
        self.position.clear();
        self.to_skip = 0;
    }

    /// Whether the client is on its way back: it has lost its connection and has not everything yet.
    pub fn is_returning(&self) -> bool {
        matches!(self.stage, CutStage::Away | CutStage::Replaying | CutStage::Told)
    }

    /// Whether a delivery now belongs to the replay.
    pub fn is_replaying(&self) -> bool {
        self.stage == CutStage::Replaying
    }

    /// Whether the client was cut and has joined again.
    pub fn has_returned(&self) -> bool {
        matches!(self.stage, CutStage::Replaying | CutStage::Told | CutStage::Back)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &[u8]) -> Position<'_> {
        Position { text, offset: None }
    }

    fn hear(resumption: &mut Resumption, messages: u32) -> u32 {
        (0..messages).filter(|_| resumption.has_already()).count() as u32
    }

    #[test]
    fn positions_are_requested_by_turns_and_one_at_a_time() {
        let mut resumption = Resumption::new(30, true);
        hear(&mut resumption, 40);
        assert!(!resumption.requests_position(), "the one behind the join is not answered yet");
        resumption.remember(told(b"e-40"));
        assert!(resumption.requests_position(), "its turn came meanwhile");
        resumption.remember(told(b"e-40"));
        hear(&mut resumption, 25);
        assert!(!resumption.requests_position());
        hear(&mut resumption, 1);
        assert!(resumption.requests_position(), "66 and 30 messages are three turns");
    }

    #[test]
    fn what_came_behind_the_last_position_is_skipped_in_the_replay_and_nothing_else() {
        let mut resumption = Resumption::new(0, true);
        assert_eq!(resumption.position(), None);
        resumption.remember(told(b"e-7"));
        hear(&mut resumption, 3);
        resumption.lose(0, Nanos(5));
        resumption.resume();
        assert_eq!(resumption.position(), Some(told(b"e-7")));
        assert_eq!(hear(&mut resumption, 10), 3);
        resumption.remember(told(b"e-20"));
        assert_eq!(hear(&mut resumption, 10), 0);
    }

    #[test]
    fn offsets_make_a_position_of_each_message() {
        let mut resumption = Resumption::new(0, true);
        resumption.remember(Position { text: b"epoch", offset: Some(7) });
        for offset in 8..=100 {
            assert!(!resumption.has_already());
            resumption.advance(offset);
        }
        assert!(!resumption.requests_position());
        resumption.lose(0, Nanos(5));
        resumption.resume();
        assert_eq!(resumption.position(), Some(Position { text: b"epoch", offset: Some(100) }));
        assert_eq!(hear(&mut resumption, 10), 0);
    }

    #[test]
    fn nothing_is_skipped_behind_a_gap_or_behind_the_replay() {
        for ends_replay in [Resumption::tell_of_gap, |resumption: &mut Resumption| resumption.remember(told(b"e-9"))] {
            let mut resumption = Resumption::new(0, true);
            resumption.remember(told(b"e-7"));
            hear(&mut resumption, 3);
            resumption.resume();
            ends_replay(&mut resumption);
            assert_eq!(hear(&mut resumption, 10), 0);
        }
    }
}
