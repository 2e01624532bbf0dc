//! Commands that wait until the writers of their room have room: queued room by room, in order, so that a room with slow
//! members delays no other. Plain synchronous code; the senders' permits bound what waits.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::cluster::NextEntry;
use super::command::ShardCommand;
use crate::backplane::feed::Placed;
use crate::protocol::names::RoomName;
use crate::writer::{Address, WriterIndex};

/// Commands of one room that are handled in a row before the next room has its turn.
const TURN_COMMANDS: u32 = 64;

/// The rooms of a shard that have commands waiting.
#[derive(Debug, Default)]
pub(super) struct WaitingRooms {
    rooms: HashMap<RoomName, Queue>,
    /// Each of these rooms once, the next one first.
    turns: VecDeque<RoomName>,
    /// Commands of the first room that were handled in its turn.
    handled: u32,
}

/// Joins of clients that resume, which wait until their writers have room for what the clients have missed. A crowd that
/// comes back at once would else take all of it, and rooms beside them would wait.
#[derive(Debug, Default)]
pub(super) struct WaitingJoins {
    queues: BTreeMap<WriterIndex, VecDeque<ShardCommand>>,
    /// The writer of the join that went last: the others go before it.
    last: Option<WriterIndex>,
    /// A command of a room that waits goes next.
    is_turn_of_rooms: bool,
}

#[derive(Debug, Default)]
struct Queue {
    commands: VecDeque<ShardCommand>,
    /// The number of commands of each client.
    senders: HashMap<Address, u32>,
}

impl WaitingRooms {
    pub fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Whether a command must wait behind others. A message waits behind everything that waits for its room; another command
    /// only behind those of the same client.
    pub fn must_wait_behind(&self, room: &RoomName, sender: Option<Address>, command: &ShardCommand) -> bool {
        self.rooms.get(room).is_some_and(|queue| {
            command.is_publish() || sender.is_some_and(|sender| queue.senders.contains_key(&sender))
        })
    }

    /// The first entry of the stream that waits for its room. Linear in the commands in front of it.
    pub fn next_entry(&self, room: &RoomName) -> NextEntry {
        let offset = |command: &ShardCommand| match command {
            ShardCommand::Placed(placed) => Some(placed.offset),
            _ => None,
        };
        NextEntry(self.rooms.get(room).and_then(|queue| queue.commands.iter().find_map(offset)))
    }

    /// Takes all entries of the stream that wait, room by room.
    pub fn take_placed(&mut self) -> Vec<Placed> {
        let mut taken = Vec::new();
        for queue in self.rooms.values_mut() {
            for command in std::mem::take(&mut queue.commands) {
                match command {
                    ShardCommand::Placed(placed) => taken.push(placed),
                    other => queue.commands.push_back(other),
                }
            }
        }
        self.rooms.retain(|_, queue| !queue.commands.is_empty());
        self.turns.retain(|room| self.rooms.contains_key(room));
        self.handled = 0;
        taken
    }

    /// Adds a command behind all that wait for its room.
    pub fn push(&mut self, room: RoomName, sender: Option<Address>, command: ShardCommand) {
        let queue = self.rooms.entry(room).or_insert_with_key(|room| {
            self.turns.push_back(room.clone());
            Queue::default()
        });
        queue.commands.push_back(command);
        if let Some(sender) = sender {
            *queue.senders.entry(sender).or_default() += 1;
        }
    }

    /// The next command that may go on; the rooms take turns. Linear in the rooms that are still held up.
    pub fn pop(&mut self, mut may_go: impl FnMut(&ShardCommand) -> bool) -> Option<ShardCommand> {
        // The first room is tried twice if its turn was over.
        for _ in 0..=self.turns.len() {
            let room = self.turns.front()?;
            let queue = self.rooms.get_mut(room).expect("a room that has a turn has a queue");
            let first = queue.commands.front().expect("a queue is removed when it is empty");
            if self.handled < TURN_COMMANDS && may_go(first) {
                self.handled += 1;
                let command = queue.pop();
                if queue.commands.is_empty() {
                    self.rooms.remove(room);
                    self.turns.pop_front();
                    self.handled = 0;
                    self.shrink();
                }
                return Some(command);
            }
            self.turns.rotate_left(1);
            self.handled = 0;
        }
        None
    }

    /// Frees what a crowd of waiting rooms took, once none is left.
    fn shrink(&mut self) {
        if self.turns.is_empty() {
            self.rooms.shrink_to(TURN_COMMANDS as usize);
            self.turns.shrink_to(TURN_COMMANDS as usize);
        }
    }
}

impl WaitingJoins {
    /// Returns the join, unless it resumes on a writer that has no room, or others wait there.
    pub fn admit(
        &mut self,
        resumes_on: Option<WriterIndex>,
        join: ShardCommand,
        has_room: impl Fn(WriterIndex, usize) -> bool,
    ) -> Option<ShardCommand> {
        match resumes_on {
            Some(writer) if self.queues.contains_key(&writer) || !has_room(writer, 1) => {
                self.queues.entry(writer).or_default().push_back(join);
                None
            }
            _ => Some(join),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    /// The next join that may go, unless it is the turn of the rooms that wait, if any do.
    pub fn pop_in_turn(
        &mut self,
        rooms_wait: bool,
        has_room: &impl Fn(WriterIndex, usize) -> bool,
    ) -> Option<ShardCommand> {
        self.is_turn_of_rooms = rooms_wait && !self.is_turn_of_rooms;
        if self.is_turn_of_rooms {
            return None;
        }
        let in_turn = |writer: &WriterIndex| (self.last.is_some_and(|last| *writer <= last), *writer);
        let with_room = self.queues.keys().filter(|writer| has_room(**writer, 1));
        let writer = *with_room.min_by_key(|writer| in_turn(writer))?;
        self.last = Some(writer);
        let queue = self.queues.get_mut(&writer).expect("a writer of the queues");
        let join = queue.pop_front();
        if queue.is_empty() {
            self.queues.remove(&writer);
        }
        join
    }
}

impl Queue {
    fn pop(&mut self) -> ShardCommand {
        let command = self.commands.pop_front().expect("a queue is removed when it is empty");
        if let Some((_, Some(sender))) = command.in_room() {
            let left = self.senders.get_mut(&sender).expect("each waiting command is counted");
            *left -= 1;
            if *left == 0 {
                self.senders.remove(&sender);
            }
        }
        command
    }
}
