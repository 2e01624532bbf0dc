//! The allocations of a publish on its way from a session to the sockets: none for a member, however many there are.
//! The counting allocator replaces the system's in this binary alone, and counts each thread by itself.

use std::time::{Duration, Instant};

use allocation_counter::measure;
use futures_util::FutureExt;
use roomcast::broker::{
    Batch, Broker, ClientWindow, Member, Publish, Reservation, RoomLimiter, Shard, ShardCommand, ShardMailbox,
    ShardSenders,
};
use roomcast::config::{OutboxLimits, RoomLimits, SlowPolicy};
use roomcast::protocol::dialect::Dialect;
use roomcast::protocol::names::{Label, RoomName};
use roomcast::writer::handle::{BatchSender, WriterMailbox, mailbox};
use roomcast::writer::{Address, Input, Sent, Slot, Wire, Writer, WriterIndex};
use tokio::sync::oneshot;

/// Allocations of a publish to one audience, with its text.
const FIXED_MAX: u64 = 4;

/// Allocations for each further audience.
const AUDIENCE_MAX: u64 = 3;

const MEMBERS: [usize; 2] = [10, 10_000];

const ROOMY: OutboxLimits = OutboxLimits {
    bytes_max: 1 << 40,
    messages_max: 1 << 40,
    slow_after: Duration::from_secs(3_600),
    policy: SlowPolicy::Disconnect,
    budget: 1 << 40,
};

/// Sockets that accept all bytes.
#[derive(Default)]
struct Taking {
    sends: usize,
}

impl Wire for Taking {
    fn send(&mut self, _index: u32, bytes: &[u8]) -> Sent {
        self.sends += 1;
        Sent::Taken(bytes.len())
    }

    fn watch(&mut self, slot: Slot) {
        unreachable!("{slot:?} never refuses")
    }

    fn finish(&mut self, _index: u32) {}

    fn close(&mut self, _index: u32) {}
}

/// One worker's output.
struct Desk {
    batches: BatchSender,
    mailbox: WriterMailbox,
    writer: Writer,
    wire: Taking,
}

/// One room, with everything between a session and the sockets, without the tasks around it.
struct Site {
    broker: Broker,
    window: ClientWindow,
    mailbox: ShardMailbox,
    shard: Shard,
    batch: Batch,
    desks: Vec<Desk>,
    room: RoomName,
    members: Vec<Address>,
}

impl Desk {
    fn new() -> Self {
        let (batches, mailbox) = mailbox();
        Self { batches, mailbox, writer: Writer::new(ROOMY), wire: Taking::default() }
    }

    fn work(&mut self) {
        while let Ok(command) = self.mailbox.commands.try_recv() {
            self.step(Input::Command(command));
        }
        while self.writer.is_dirty() {
            self.step(Input::Flush);
        }
    }

    fn step(&mut self, input: Input) {
        self.writer.step(Instant::now(), input, &mut self.wire);
    }
}

impl Site {
    /// A room with this many members over this many writers and dialects: an audience for each pair of these.
    fn new(members: usize, writers: u16, dialects: &[Dialect]) -> Self {
        let capacity = RoomLimiter::new(RoomLimits { rooms_max: 1, members_max: members });
        let (seed, mut mailboxes) = ShardSenders::new(1, &capacity);
        let mailbox = mailboxes.pop().expect("one for each shard");
        let mut site = Self {
            broker: seed.broker(),
            window: ClientWindow::default(),
            shard: mailbox.shard(),
            mailbox,
            batch: Batch::new(usize::from(writers)),
            desks: (0..writers).map(|_| Desk::new()).collect(),
            room: RoomName::parse("room").expect("a valid name"),
            members: Vec::new(),
        };
        let audiences = (0..writers).flat_map(|writer| dialects.iter().map(move |dialect| (writer, *dialect)));
        for (writer, dialect) in audiences.cycle().take(members) {
            site.join(WriterIndex(writer), dialect);
        }
        site
    }

    fn join(&mut self, writer: WriterIndex, dialect: Dialect) {
        let slot = self.desks[usize::from(writer.0)].writer.open(dialect);
        let address = Address { writer, slot };
        let (ack, _) = oneshot::channel();
        let member = Member { address, dialect, label: Label::generated("TCP-1") };
        self.shard.step(ShardCommand::Join(self.room.clone(), member, Reservation::None, ack), &mut self.batch);
        self.end_batch();
        self.members.push(address);
    }

    /// Publishes as a session does, and then runs the shard and the writers.
    fn publish(&mut self) {
        let (room, address) = (self.room.clone(), self.members[0]);
        let text = "as many words as people use".into();
        let read_at = Instant::now();
        let publish = Publish { room, address, dialect: Dialect::Lines, text, read_at, permit: None };
        self.broker.try_publish(publish, &mut self.window).expect("the mailbox is empty");
        while let Some(command) = self.mailbox.try_next() {
            self.shard.step(command, &mut self.batch);
        }
        self.end_batch();
    }

    fn end_batch(&mut self) {
        for (writer, entries) in self.batch.take_entries() {
            let delivered = self.desks[usize::from(writer.0)].batches.deliver(entries).now_or_never();
            delivered.expect("the mailbox is empty");
        }
        self.batch.acknowledge();
        self.desks.iter_mut().for_each(Desk::work);
    }

    fn sends(&self) -> usize {
        self.desks.iter().map(|desk| desk.wire.sends).sum()
    }

    /// The allocations of one publish after an equal one.
    fn allocations(&mut self) -> u64 {
        for _ in 0..3 {
            self.publish();
        }
        let sends = self.sends();
        let allocations = measure(|| self.publish()).count_total;
        assert_eq!(self.sends(), sends + self.members.len(), "every member has it");
        allocations
    }
}

/// The allocations of a publish, which are the same in a small room as in a large one.
fn allocations_whatever_the_members(writers: u16, dialects: &[Dialect]) -> u64 {
    let [few, many] = MEMBERS.map(|members| Site::new(members, writers, dialects).allocations());
    assert_eq!(few, many, "{writers} writers, {dialects:?}: members cost allocations");
    many
}

#[test]
fn a_publish_allocates_at_most_four_times_and_never_for_a_member() {
    let allocations = allocations_whatever_the_members(1, &[Dialect::Lines]);
    assert!(allocations <= FIXED_MAX, "{allocations} for one audience, at most {FIXED_MAX}");
}

#[test]
fn each_further_audience_costs_at_most_three_more_be_it_another_writer_or_another_dialect() {
    let shapes: [(u16, &[Dialect]); 3] = [(2, &[Dialect::Lines]), (1, &Dialect::ALL), (4, &Dialect::ALL)];
    for (writers, dialects) in shapes {
        let further = u64::from(writers) * dialects.len() as u64 - 1;
        let most = FIXED_MAX + further * AUDIENCE_MAX;
        let allocations = allocations_whatever_the_members(writers, dialects);
        assert!(allocations <= most, "{allocations} for {writers} writers and {dialects:?}, at most {most}");
    }
}
