//! Clients that send random commands, each through a model of a session. A client is in one room at a time, completes
//! one command before the next, and leaves its room before it ends.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use roomcast::broker::{Act, Farewell, Join, Joined, Reservation, ShardCommand};
use roomcast::protocol::command::CommandError;
use roomcast::protocol::dialect::Dialect;
use roomcast::protocol::disconnect::Disconnect;
use roomcast::protocol::event::Event;
use roomcast::protocol::listing::Listing;
use roomcast::protocol::names::{Label, RoomName};
use roomcast::writer::{Address, Entry, WriterCommand};
use tokio::sync::oneshot::{self, Receiver};

use super::tasks::{ShardTask, WriterTask};
use crate::common::{Random, command, label, member, publisher, room};

const ROOMS: usize = 4;

/// One step of a command: sending something, or waiting for an answer.
enum Part {
    Send(usize, ShardCommand),
    WaitReserved(Receiver<Result<(), CommandError>>),
    WaitJoined(Receiver<Result<Joined, CommandError>>),
    WaitDone(Receiver<()>),
    WaitRooms(Receiver<Arc<Listing<RoomName>>>),
    AnswerRooms,
    Write(WriterCommand),
}

/// One client and its session.
pub struct Client {
    pub address: Address,
    number: usize,
    label: Label,
    room: Option<(RoomName, usize)>,
    parts: VecDeque<Part>,
    /// The number of commands that the client has still to send.
    commands: usize,
    published: usize,
    rooms: Vec<Arc<Listing<RoomName>>>,
    ended: bool,
}

impl Client {
    pub fn new(number: usize, address: Address, commands: usize) -> Self {
        Self {
            address,
            number,
            label: label(format_args!("L{number}")),
            room: None,
            parts: VecDeque::new(),
            commands,
            published: 0,
            rooms: Vec::new(),
            ended: false,
        }
    }

    /// The session has ended, and all of its commands were sent.
    pub fn is_done(&self) -> bool {
        self.ended && self.parts.is_empty()
    }

    /// Does the next part of the command unless that must wait. Without a part, it starts another command or ends.
    pub fn step(&mut self, random: &mut Random, shards: &mut [ShardTask], writers: &mut [WriterTask]) {
        if self.is_done() {
            return;
        }
        let writer = &mut writers[usize::from(self.address.writer.0)];
        if let Some(part) = self.parts.pop_front() {
            if let Err(part) = self.try_part(part, shards, writer) {
                self.parts.push_front(part);
            }
        } else if let Some(reason) = writer.disconnect(self.address.slot) {
            self.end(reason);
        } else if self.commands == 0 {
            let reasons = [Disconnect::Quit, Disconnect::ClosedByPeer, Disconnect::TooLong];
            self.end(reasons[random.below(reasons.len())]);
        } else {
            self.commands -= 1;
            self.command(random, shards.len());
        }
    }

    /// Does the part, or returns it if it must wait.
    #[allow(clippy::result_large_err)]
    fn try_part(&mut self, part: Part, shards: &mut [ShardTask], writer: &mut WriterTask) -> Result<(), Part> {
        match part {
            Part::Send(shard, command) => {
                return shards[shard].send(command).map_err(|command| Part::Send(shard, command));
            }
            Part::Write(command) => return writer.send(command).map_err(Part::Write),
            Part::WaitReserved(mut ack) => ack.try_recv().map_err(|_| Part::WaitReserved(ack))?.expect("there is room"),
            Part::WaitJoined(mut ack) => {
                ack.try_recv().map_err(|_| Part::WaitJoined(ack))?.expect("there is room");
            }
            Part::WaitDone(mut ack) => ack.try_recv().map_err(|_| Part::WaitDone(ack))?,
            Part::WaitRooms(mut ack) => match ack.try_recv() {
                Ok(rooms) => self.rooms.push(rooms),
                Err(_) => return Err(Part::WaitRooms(ack)),
            },
            Part::AnswerRooms => {
                let rooms = Listing::merge(&std::mem::take(&mut self.rooms));
                self.reply(&Event::Rooms(&rooms));
            }
        }
        Ok(())
    }

    fn command(&mut self, random: &mut Random, shards: usize) {
        match random.below(20) {
            0..11 => self.publish(),
            11..15 => self.join(random.below(ROOMS), shards),
            15 if self.room.is_some() => {
                self.leave();
                self.reply(&Event::Left);
            }
            16 => self.list(shards),
            17 => self.who(),
            18 => self.ping(),
            _ => self.rename(random),
        }
    }

    fn publish(&mut self) {
        let Some((room, shard)) = self.room.clone() else {
            return self.reply(&Event::JoinFirst);
        };
        self.published += 1;
        let text = format!("{}.{}", self.number, self.published);
        let publish = crate::common::publish(room, self.address, &text);
        self.parts.push_back(Part::Send(shard, ShardCommand::Member(publish)));
    }

    fn join(&mut self, number: usize, shards: usize) {
        let (name, shard) = (room(number), number % shards);
        if self.room.as_ref().is_some_and(|(current, _)| *current == name) {
            return self.reply(&Event::Joined(&name));
        }
        let reservation = if self.room.is_some() { Reservation::Held } else { Reservation::None };
        if reservation == Reservation::Held {
            let (ack, reserved) = oneshot::channel();
            self.parts.push_back(Part::Send(shard, ShardCommand::Reserve(name.clone(), ack)));
            self.parts.push_back(Part::WaitReserved(reserved));
        }
        self.leave();
        let member = member(self.address, self.label.clone());
        let (ack, joined) = oneshot::channel();
        self.room = Some((name.clone(), shard));
        let join = Join { room: name, member, request: None, reservation, since: None };
        self.parts.push_back(Part::Send(shard, ShardCommand::Join(join, ack)));
        self.parts.push_back(Part::WaitJoined(joined));
    }

    fn leave(&mut self) {
        let Some((room, shard)) = self.room.take() else { return };
        let (address, (ack, left)) = (self.address, oneshot::channel());
        self.parts.push_back(Part::Send(shard, ShardCommand::Leave(room, address, Farewell::Others, ack)));
        self.parts.push_back(Part::WaitDone(left));
    }

    fn list(&mut self, shards: usize) {
        for shard in 0..shards {
            let (ack, rooms) = oneshot::channel();
            self.parts.push_back(Part::Send(shard, ShardCommand::Rooms(Instant::now(), ack)));
            self.parts.push_back(Part::WaitRooms(rooms));
        }
        self.parts.push_back(Part::AnswerRooms);
    }

    fn who(&mut self) {
        let Some((room, shard)) = self.room.clone() else {
            return self.reply(&Event::JoinFirst);
        };
        let who = command(room, self.address, Act::Members(Instant::now()));
        self.parts.push_back(Part::Send(shard, ShardCommand::Member(who)));
    }

    fn ping(&mut self) {
        self.reply(&Event::Pong(if self.room.is_some() { "behind the room" } else { "at once" }));
    }

    fn rename(&mut self, random: &mut Random) {
        let nick = Label::nick(&format!("N{}-{}", self.number, random.below(3))).expect("a valid nick");
        self.label = nick.clone();
        match self.room.clone() {
            Some((room, shard)) => {
                let rename = command(room, self.address, Act::Rename(publisher(nick)));
                self.parts.push_back(Part::Send(shard, ShardCommand::Member(rename)));
            }
            None => self.reply(&Event::Named(&nick)),
        }
    }

    fn end(&mut self, reason: Disconnect) {
        self.ended = true;
        self.leave();
        let slot = self.address.slot;
        self.parts.push_back(Part::Write(WriterCommand::Close(slot, reason)));
        self.parts.push_back(Part::Write(WriterCommand::InputEnded(slot)));
    }

    fn reply(&mut self, event: &Event<'_>) {
        let bytes: Bytes = Dialect::TextLines.encode(event);
        let address = self.address;
        self.parts.push_back(match self.room.clone() {
            Some((room, shard)) => Part::Send(shard, ShardCommand::Member(command(room, address, Act::Reply(bytes)))),
            None => Part::Write(WriterCommand::Entry(Entry::reply(address.slot, bytes))),
        });
    }
}
