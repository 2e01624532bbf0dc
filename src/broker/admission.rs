//! Which commands a shard may handle now, and which wait until writers have room.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;

use super::cluster::Cluster;
use super::command::ShardCommand;
use super::room::Room;
use super::shard::Shard;
use crate::protocol::names::RoomName;
use crate::writer::WriterIndex;

impl Shard {
    /// Returns the command if it may be handled now. A message to a room whose writers have too much to write is queued in
    /// the shard, with everything that must stay behind it, until [`Self::next_waiting`] returns it; so is a join with a
    /// position while its own writer has. `has_room` says whether a writer has room for a message to this many members.
    pub fn admit(
        &mut self,
        command: ShardCommand,
        has_room: impl Fn(WriterIndex, usize) -> bool,
    ) -> Option<ShardCommand> {
        if let ShardCommand::Join(join, _) = &command {
            return self.waiting_joins.admit(join.resumes_on(), command, has_room);
        }
        let Some((room, sender)) = command.in_room() else { return Some(command) };
        let must_wait = !self.waiting.is_empty() && self.waiting.must_wait_behind(room, sender, &command);
        if must_wait || !may_go(&self.rooms, &command, &has_room) {
            self.waiting.push(room.clone(), sender, command);
            return None;
        }
        Some(command)
    }

    /// A command that has waited and may be handled now; the rooms take turns, and joins take turns with the rooms.
    pub fn next_waiting(&mut self, has_room: impl Fn(WriterIndex, usize) -> bool) -> Option<ShardCommand> {
        while let Some(command) = self.cluster.as_mut().and_then(Cluster::next_caught_up) {
            let ShardCommand::Join(join, _) = &command else { return Some(command) };
            if let Some(join) = self.waiting_joins.admit(join.resumes_on(), command, &has_room) {
                return Some(join);
            }
        }
        let Self { rooms, waiting, waiting_joins, .. } = self;
        if let Some(join) = waiting_joins.pop_in_turn(!waiting.is_empty(), &has_room) {
            return Some(join);
        }
        waiting.pop(|command| may_go(rooms, command, &has_room)).or_else(|| waiting_joins.pop_in_turn(false, &has_room))
    }

    /// Whether commands wait for writers.
    pub fn is_waiting(&self) -> bool {
        let has_caught_up = self.cluster.as_ref().is_some_and(Cluster::has_caught_up);
        !self.waiting.is_empty() || !self.waiting_joins.is_empty() || has_caught_up
    }
}

/// Whether the writers have room for the output of a command: for a message all writers of its room, for a reply the
/// client's writer, which then only needs memory. Every other command may always go.
fn may_go(
    rooms: &HashMap<RoomName, Room, RandomState>,
    command: &ShardCommand,
    has_room: &impl Fn(WriterIndex, usize) -> bool,
) -> bool {
    match command {
        command if command.is_publish() => {
            let room = command.in_room().and_then(|(room, _)| rooms.get(room));
            let audiences = room.map_or(&[][..], Room::audiences);
            audiences.iter().all(|audience| has_room(audience.writer, audience.members()))
        }
        ShardCommand::Member(command) => has_room(command.from.address.writer, 0),
        _ => true,
    }
}
