//! The output of a batch of commands: the entries for each writer, in order, every message encoded once per dialect; and
//! the acknowledgements that follow the entries. Never sends an entry itself.

use std::mem;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::answers::Ack;
use super::command::ReplyTo;
use super::in_flight::LongReplyTurn;
use super::room::Audience;
use crate::protocol::dialect::Dialect;
use crate::protocol::event::Event;
use crate::writer::handle::BATCH_BYTES;
use crate::writer::{Address, Entry, Frames, Kind, Slot, Targets, WriterIndex};

/// A batch is full after this many commands.
const BATCH_COMMANDS: usize = 256;

/// Messages back to back, which one or more entries refer to.
#[derive(Debug)]
struct Block {
    /// Grows message by message and moves into `frames` with the first entry that is taken.
    bytes: Vec<u8>,
    frames: Frames,
    /// Entries that refer to the block and are not taken yet.
    entries: usize,
}

/// The output of a batch. It keeps its own memory from one batch to the next.
#[derive(Debug)]
pub struct Batch {
    blocks: Vec<Block>,
    /// For each writer its entries: their targets, and the index of their block.
    entries: Vec<Vec<(Targets, usize)>>,
    /// For each writer the number of deliveries in its entries.
    deliveries: Vec<usize>,
    acks: Vec<Ack>,
    /// When each message was read from its sender.
    read_at: Vec<Instant>,
    bytes: usize,
    commands: usize,
}

impl Block {
    fn take_frames(&mut self) -> Frames {
        if !self.bytes.is_empty() {
            self.frames.bytes = mem::take(&mut self.bytes).into();
        }
        self.entries -= 1;
        // The last entry takes the frames themselves: a first clone of `Bytes` allocates.
        if self.entries == 0 { mem::take(&mut self.frames) } else { self.frames.clone() }
    }
}

impl Batch {
    /// An empty batch for this many writers.
    pub fn new(writers: usize) -> Self {
        Self {
            blocks: Vec::new(),
            entries: (0..writers).map(|_| Vec::new()).collect(),
            deliveries: vec![0; writers],
            acks: Vec::new(),
            read_at: Vec::new(),
            bytes: 0,
            commands: 0,
        }
    }

    /// The number of deliveries that the batch holds for a writer.
    pub fn deliveries(&self, writer: WriterIndex) -> usize {
        self.deliveries[usize::from(writer.0)]
    }

    /// Counts a command, or a sweep, whose output follows.
    pub(super) fn begin_command(&mut self) {
        if self.commands == 0 {
            // Their frames were taken with the last batch.
            self.blocks.clear();
        }
        self.commands += 1;
    }

    /// Whether the batch should be handed over before another command.
    pub fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES || self.commands >= BATCH_COMMANDS
    }

    /// Adds a reply to one client.
    pub(super) fn reply(&mut self, to: ReplyTo, event: &Event<'_>) {
        self.reply_as(Frames::reply(Bytes::new()), to, event);
    }

    /// Adds a reply to one client that may be long.
    pub(super) fn reply_in_turn(&mut self, to: ReplyTo, event: &Event<'_>, turn: Option<LongReplyTurn>) {
        self.reply_as(Frames::reply(Bytes::new()).holding(turn.map(|turn| turn.0)), to, event);
    }

    /// Adds a reply to one client with a position, up to which everything is ahead of it.
    pub(super) fn reply_position(&mut self, to: ReplyTo, event: &Event<'_>) {
        self.reply_as(Frames::position(Bytes::new()), to, event);
    }

    fn reply_as(&mut self, frames: Frames, to: ReplyTo, event: &Event<'_>) {
        let block = self.begin_block(frames);
        let bytes = &mut self.blocks[block].bytes;
        to.dialect.write_reply(to.request, event, bytes);
        if bytes.is_empty() {
            // The dialect has no form for it. A writer has nothing to do with a message of no bytes.
            self.blocks.pop();
            return;
        }
        self.bytes += bytes.len();
        self.push_entry(block, to.address.writer, Targets::One(to.address.slot));
    }

    /// Adds a reply to one client that is encoded already.
    pub(super) fn reply_encoded(&mut self, address: Address, bytes: Bytes) {
        self.reply_frames(address, Frames::reply(bytes));
    }

    /// Adds replies to one client that are encoded already.
    pub(super) fn reply_frames(&mut self, address: Address, frames: Frames) {
        self.bytes += frames.bytes().len();
        let block = self.begin_block(frames);
        self.push_entry(block, address.writer, Targets::One(address.slot));
    }

    /// Tells all members something that is no publication, encoded once per dialect. It counts as a reply to each.
    pub(super) fn tell<'a>(
        &mut self,
        audiences_by_dialect: impl Iterator<Item = &'a mut [Audience]>,
        event: &Event<'_>,
    ) {
        for audiences in audiences_by_dialect {
            let block = self.begin_block(Frames::reply(Bytes::new()));
            self.write(block, audiences[0].dialect, event);
            if self.blocks[block].bytes.is_empty() {
                // The dialect has no form for it.
                self.blocks.pop();
                continue;
            }
            self.push_audiences(block, audiences);
        }
    }

    /// Adds a message for all members, encoded once per dialect.
    pub(super) fn deliver<'a>(
        &mut self,
        audiences_by_dialect: impl Iterator<Item = &'a mut [Audience]>,
        event: &Event<'_>,
        read_at: Instant,
    ) {
        self.read_at.push(read_at);
        for audiences in audiences_by_dialect {
            let dialect = audiences[0].dialect;
            for audience in audiences.iter() {
                self.deliveries[usize::from(audience.writer.0)] += audience.members();
            }
            match self.open_block(audiences) {
                Some(block) => {
                    let Block { bytes, frames, .. } = &mut self.blocks[block];
                    frames.begin_message(bytes.len());
                    self.write(block, dialect, event);
                }
                None => {
                    let block = self.begin_block(Frames::delivery(Bytes::new(), Vec::new()));
                    self.blocks[block].frames.read_at = Some(read_at);
                    self.write(block, dialect, event);
                    self.push_audiences(block, audiences);
                }
            }
        }
    }

    /// Adds an acknowledgement.
    pub(super) fn acknowledge_later(&mut self, ack: Ack) {
        self.acks.push(ack);
    }

    /// Takes the entries of each writer that has any.
    pub fn take_entries(&mut self) -> impl Iterator<Item = (WriterIndex, Vec<Entry>)> {
        (self.bytes, self.commands) = (0, 0);
        self.deliveries.fill(0);
        let blocks = &mut self.blocks;
        let taken = self.entries.iter_mut().enumerate().filter(|(_, entries)| !entries.is_empty());
        taken.map(move |(writer, entries)| {
            let entry = |(targets, block): (Targets, usize)| Entry { targets, frames: blocks[block].take_frames() };
            (WriterIndex(writer as u16), entries.drain(..).map(entry).collect())
        })
    }

    /// Takes the times at which the messages of the batch were read.
    pub(super) fn take_read_times(&mut self) -> impl Iterator<Item = Instant> {
        self.read_at.drain(..)
    }

    /// Sends the acknowledgements. To be called once the writers have the entries.
    pub fn acknowledge(&mut self) {
        self.acks.drain(..).for_each(Ack::send);
    }

    /// The block to which a message may be appended: the newest entry of each of these audiences must refer to it, and no
    /// other entry. Then nothing for these members came in between, and an audience that has left gets nothing more.
    fn open_block(&self, audiences: &mut [Audience]) -> Option<usize> {
        let mut newest = audiences.iter_mut().map(|audience| self.newest_block(audience.writer, audience.targets()));
        let block = newest.next()??;
        let is_of_all = newest.all(|other| other == Some(block));
        let Block { frames, entries, .. } = &self.blocks[block];
        // What members are told of each other counts as replies to them, and a message must not.
        (is_of_all && *entries == audiences.len() && frames.kind() == Kind::Delivery).then_some(block)
    }

    fn newest_block(&self, writer: WriterIndex, audience: &Arc<[Slot]>) -> Option<usize> {
        let (targets, block) = self.entries[usize::from(writer.0)].last()?;
        matches!(targets, Targets::Audience(slots) if Arc::ptr_eq(slots, audience)).then_some(*block)
    }

    fn begin_block(&mut self, frames: Frames) -> usize {
        self.blocks.push(Block { bytes: Vec::new(), frames, entries: 0 });
        self.blocks.len() - 1
    }

    fn write(&mut self, block: usize, dialect: Dialect, event: &Event<'_>) {
        let bytes = &mut self.blocks[block].bytes;
        let before = bytes.len();
        dialect.write(event, bytes);
        self.bytes += bytes.len() - before;
    }

    fn push_audiences(&mut self, block: usize, audiences: &mut [Audience]) {
        for audience in audiences {
            let targets = Targets::Audience(Arc::clone(audience.targets()));
            self.push_entry(block, audience.writer, targets);
        }
    }

    fn push_entry(&mut self, block: usize, writer: WriterIndex, targets: Targets) {
        self.blocks[block].entries += 1;
        self.entries[usize::from(writer.0)].push((targets, block));
    }
}
