//! Join and leave events, where members are told of each other. In a room with many members only their number is told.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;

use super::batch::Batch;
use super::room::Room;
use crate::backplane::feed::Proposer;
use crate::backplane::signal::{MemberChange, Signal};
use crate::protocol::event::Event;
use crate::protocol::names::RoomName;
use crate::protocol::publication::Publisher;

/// What the members of a shard's rooms are told of each other.
#[derive(Debug)]
pub(super) struct PresenceEvents {
    /// Members of a room on this node above which they are told their number instead.
    members_max: usize,
    /// Rooms with many members whose number has changed since it was told, and where that was.
    recounted: HashMap<RoomName, Changed>,
    /// The way to other nodes; `None` where the server is alone.
    signals: Option<Proposer>,
}

/// Where members have come or gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Changed {
    Here,
    Elsewhere,
}

impl PresenceEvents {
    pub fn new(members_max: usize) -> Self {
        Self { members_max, recounted: HashMap::new(), signals: None }
    }

    /// The same in a cluster, whose other nodes are signalled what happens here.
    pub fn signalling(self, signals: Proposer) -> Self {
        Self { signals: Some(signals), ..self }
    }

    /// A client has joined. It is told of itself, as the others are.
    pub fn joined(&mut self, name: &RoomName, room: &mut Room, member: &Arc<Publisher>, batch: &mut Batch) {
        self.changed_here(name, room, MemberChange::Joined, member, batch);
    }

    /// A client has left.
    pub fn left(&mut self, name: &RoomName, room: &mut Room, member: &Arc<Publisher>, batch: &mut Batch) {
        self.changed_here(name, room, MemberChange::Left, member, batch);
    }

    fn changed_here(
        &mut self,
        name: &RoomName,
        room: &mut Room,
        change: fn(Arc<Publisher>) -> MemberChange,
        member: &Arc<Publisher>,
        batch: &mut Batch,
    ) {
        if !room.limits().presence_events {
            return;
        }
        if room.members_len() > self.members_max {
            self.recounted.insert(name.clone(), Changed::Here);
            return;
        }
        let change = change(Arc::clone(member));
        self.tell(name, room, &change, batch);
        if let Some(signals) = &self.signals {
            signals.signal(Signal { room: name.clone(), change });
        }
    }

    /// Members have come or gone on another node.
    pub fn changed_elsewhere<S: BuildHasher>(
        &mut self,
        Signal { room: name, change }: Signal,
        rooms: &mut HashMap<RoomName, Room, S>,
        batch: &mut Batch,
    ) {
        let told = rooms.get_mut(&name).filter(|room| room.limits().presence_events && room.has_members());
        let Some(room) = told else { return };
        if change == MemberChange::Counted || room.members_len() > self.members_max {
            self.recounted.entry(name).or_insert(Changed::Elsewhere);
        } else {
            self.tell(&name, room, &change, batch);
        }
    }

    /// Whether a number has to be told here. In a cluster others see to that.
    pub fn is_due(&self) -> bool {
        !self.recounted.is_empty() && self.signals.is_none()
    }

    /// Tells the rooms with many members how many there are, where the server is alone.
    pub fn tell_counts<S: BuildHasher>(&mut self, rooms: &mut HashMap<RoomName, Room, S>, batch: &mut Batch) {
        if self.is_due() {
            for name in std::mem::take(&mut self.recounted).into_keys() {
                self.tell_count(&name, 0, rooms, batch);
            }
        }
    }

    /// The rooms whose members are to be told their number on all nodes. The other nodes are signalled that they tell theirs.
    pub fn take_recounted(&mut self) -> Vec<RoomName> {
        let recounted = std::mem::take(&mut self.recounted);
        if let Some(signals) = &self.signals {
            let here = recounted.iter().filter(|(_, changed)| **changed == Changed::Here);
            here.for_each(|(room, _)| signals.signal(Signal { room: room.clone(), change: MemberChange::Counted }));
        }
        recounted.into_keys().collect()
    }

    /// Tells the members of a room how many there are, of whom so many are on other nodes.
    pub fn tell_count<S: BuildHasher>(
        &self,
        name: &RoomName,
        others: usize,
        rooms: &mut HashMap<RoomName, Room, S>,
        batch: &mut Batch,
    ) {
        if let Some(room) = rooms.get_mut(name).filter(|room| room.limits().presence_events) {
            let members = room.members_len() + others;
            batch.tell(room.audiences_by_dialect(), &Event::MemberCount(name, members));
        }
    }

    fn tell(&self, name: &RoomName, room: &mut Room, change: &MemberChange, batch: &mut Batch) {
        let event = match change {
            MemberChange::Joined(member) => Event::MemberJoined(name, member),
            MemberChange::Left(member) => Event::MemberLeft(name, member),
            MemberChange::Counted => return,
        };
        batch.tell(room.audiences_by_dialect(), &event);
    }
}
