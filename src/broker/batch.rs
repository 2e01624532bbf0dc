//! What a batch of commands leads to: one ordered list of entries per writer, every message encoded once per dialect, and
//! the acknowledgements that follow. Never sends anything itself.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::command::Ack;
use super::room::Audience;
use crate::protocol::dialect::Dialect;
use crate::protocol::event::Event;
use crate::writer::handle::BATCH_BYTES;
use crate::writer::{Address, Entry, Frames, Kind, Slot, Targets, WriterIndex};

/// A batch is closed after this many commands.
const BATCH_COMMANDS: usize = 256;

/// MessageDecoder back to back, for everyone whose entry names the block.
#[derive(Debug)]
struct Block {
    bytes: Vec<u8>,
    inner_ends: Vec<u32>,
    kind: Kind,
    /// How many entries name it.
    entries: usize,
    /// When its first message was read.
    read_at: Option<Instant>,
}

/// An entry on its way.
#[derive(Debug)]
struct Outgoing {
    targets: Targets,
    block: usize,
}

/// A block whose entries are being taken out.
#[derive(Debug)]
struct Encoded {
    /// Until the last entry.
    frames: Option<Frames>,
    /// Entries still to come.
    left: usize,
}

/// The output of a batch. Its own memory is kept from one batch to the next.
#[derive(Debug)]
pub struct Batch {
    blocks: Vec<Block>,
    encoded: Vec<Encoded>,
    /// By writer.
    outgoing: Vec<Vec<Outgoing>>,
    /// By writer, how many deliveries they are.
    deliveries: Vec<usize>,
    acks: Vec<Ack>,
    /// When each message was read.
    read_at: Vec<Instant>,
    bytes: usize,
    commands: usize,
}

impl Block {
    fn new(kind: Kind) -> Self {
        Self { bytes: Vec::new(), inner_ends: Vec::new(), kind, entries: 0, read_at: None }
    }

    fn encoded(self) -> Encoded {
        let frames = match self.kind {
            Kind::Reply => Frames::reply(self.bytes.into()),
            Kind::Delivery => Frames::delivery(self.bytes.into(), self.inner_ends).with_read_at(self.read_at),
        };
        Encoded { frames: Some(frames), left: self.entries }
    }
}

impl Encoded {
    /// For the next entry. The last one takes the frames themselves: a first clone of `Bytes` allocates.
    fn take(&mut self) -> Frames {
        self.left -= 1;
        let frames = if self.left == 0 { self.frames.take() } else { self.frames.clone() };
        frames.expect("entries are counted")
    }
}

impl Batch {
    /// An empty batch for so many writers.
    pub fn new(writers: usize) -> Self {
        let outgoing = (0..writers).map(|_| Vec::new()).collect();
        let (blocks, encoded, acks, read_at) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let deliveries = vec![0; writers];
        Self { blocks, encoded, outgoing, deliveries, acks, read_at, bytes: 0, commands: 0 }
    }

    /// How many deliveries it holds for a writer.
    pub fn deliveries(&self, writer: WriterIndex) -> usize {
        self.deliveries[usize::from(writer.0)]
    }

    /// Counts a command that the batch is to hold.
    pub(super) fn begin_command(&mut self) {
        self.commands += 1;
    }

    /// Whether the batch is to be handed over before another command.
    pub fn is_full(&self) -> bool {
        self.bytes >= BATCH_BYTES || self.commands >= BATCH_COMMANDS
    }

    /// Adds an answer to one client.
    pub(super) fn reply(&mut self, address: Address, dialect: Dialect, event: &Event<'_>) {
        let block = self.begin_block(Kind::Reply);
        self.write(block, dialect, event);
        self.name_block(block, address.writer, Targets::One(address.slot));
    }

    /// Adds an answer to one client that is encoded already.
    pub(super) fn reply_encoded(&mut self, address: Address, bytes: Bytes) {
        let block = self.begin_block(Kind::Reply);
        self.bytes += bytes.len();
        self.blocks[block].bytes = bytes.into();
        self.name_block(block, address.writer, Targets::One(address.slot));
    }

    /// Adds a message for all members, encoding it once per dialect.
    pub(super) fn deliver<'a>(
        &mut self,
        audiences: impl Iterator<Item = &'a mut [Audience]>,
        event: &Event<'_>,
        read_at: Instant,
    ) {
        self.read_at.push(read_at);
        for audiences in audiences {
            let dialect = audiences[0].dialect;
            for audience in audiences.iter() {
                self.deliveries[usize::from(audience.writer.0)] += audience.members();
            }
            match self.open_block(audiences) {
                Some(block) => {
                    let end = u32::try_from(self.blocks[block].bytes.len()).expect("a batch is shorter than 4 GiB");
                    self.blocks[block].inner_ends.push(end);
                    self.write(block, dialect, event);
                }
                None => {
                    let block = self.begin_block(Kind::Delivery);
                    self.blocks[block].read_at = Some(read_at);
                    self.write(block, dialect, event);
                    for audience in audiences {
                        let targets = Targets::Audience(Arc::clone(audience.targets()));
                        self.name_block(block, audience.writer, targets);
                    }
                }
            }
        }
    }

    /// Sends an acknowledgement once the batch is with the writers.
    pub(super) fn acknowledge_later(&mut self, ack: Ack) {
        self.acks.push(ack);
    }

    /// Takes the entries out, by writer, without those that have none.
    pub fn take_entries(&mut self) -> impl Iterator<Item = (WriterIndex, Vec<Entry>)> {
        (self.bytes, self.commands) = (0, 0);
        self.deliveries.fill(0);
        self.encoded.clear();
        self.encoded.extend(self.blocks.drain(..).map(Block::encoded));
        let encoded = &mut self.encoded;
        let taken = self.outgoing.iter_mut().enumerate().filter(|(_, outgoing)| !outgoing.is_empty());
        taken.map(move |(writer, outgoing)| {
            let entry = |Outgoing { targets, block }| Entry { targets, frames: encoded[block].take() };
            (WriterIndex(writer as u16), outgoing.drain(..).map(entry).collect())
        })
    }

    /// Takes out when each message of the batch was read.
    pub(super) fn take_read_times(&mut self) -> impl Iterator<Item = Instant> {
        self.read_at.drain(..)
    }

    /// Takes the acknowledgements out. They are due when the entries are with the writers.
    pub fn take_acks(&mut self) -> impl Iterator<Item = Ack> {
        self.acks.drain(..)
    }

    /// The block that the message may join: the newest entry of each of these audiences, if it is one and the same and
    /// nobody else's. Then nothing for these members came between, and an audience that has left hears nothing more.
    fn open_block(&self, audiences: &mut [Audience]) -> Option<usize> {
        let mut newest = audiences.iter_mut().map(|audience| self.newest_block(audience.writer, audience.targets()));
        let block = newest.next()??;
        let is_of_all = newest.all(|other| other == Some(block));
        (is_of_all && self.blocks[block].entries == audiences.len()).then_some(block)
    }

    fn newest_block(&self, writer: WriterIndex, targets: &Arc<[Slot]>) -> Option<usize> {
        let newest = self.outgoing[usize::from(writer.0)].last()?;
        newest.targets.is_same_audience(targets).then_some(newest.block)
    }

    fn begin_block(&mut self, kind: Kind) -> usize {
        self.blocks.push(Block::new(kind));
        self.blocks.len() - 1
    }

    fn write(&mut self, block: usize, dialect: Dialect, event: &Event<'_>) {
        let bytes = &mut self.blocks[block].bytes;
        let before = bytes.len();
        dialect.write(event, bytes);
        self.bytes += bytes.len() - before;
    }

    fn name_block(&mut self, block: usize, writer: WriterIndex, targets: Targets) {
        self.blocks[block].entries += 1;
        self.outgoing[usize::from(writer.0)].push(Outgoing { targets, block });
    }
}
