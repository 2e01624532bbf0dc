//! Counts the allocations of a publish on its way from a session to the sockets, and checks that their number does not
//! grow with the members. The counting allocator replaces the system's in this binary only, and counts each thread
//! apart.

use std::time::{Duration, Instant};

use allocation_counter::measure;
use futures_util::FutureExt;
use roomcast::broker::{
    Act, Batch, Broker, ClientWindow, Join, Member, MemberCommand, Now, ReplyTo, RoomLimiter, Shard, ShardCommand,
    ShardMailbox, ShardRules, ShardSenders,
};
use roomcast::config::{Config, OutboxLimits, Settings, SlowPolicy};
use roomcast::protocol::dialect::Dialect;
use roomcast::protocol::names::{Label, RoomName};
use roomcast::protocol::publication::{ClientId, Data, Publisher};
use roomcast::writer::handle::{BatchSender, WriterMailbox, mailbox};
use roomcast::writer::{Address, Input, Sent, Slot, Wire, Writer, WriterIndex};
use tokio::sync::oneshot;

/// The most allocations of a publish to one audience, including its text.
const FIXED_MAX: u64 = 4;

/// The most allocations for each further audience.
const AUDIENCE_MAX: u64 = 3;

const MEMBERS: [usize; 2] = [100, 10_000];

const ROOMY: OutboxLimits = OutboxLimits {
    bytes_max: 1 << 40,
    messages_max: 1 << 40,
    slow_after: Duration::from_secs(3_600),
    policy: SlowPolicy::Disconnect,
    budget: 1 << 40,
};

/// The rules by default.
fn rules() -> ShardRules {
    ShardRules::from(&Config::try_from(Settings::default()).expect("valid settings"))
}

/// Sockets that accept all bytes.
#[derive(Default)]
struct AcceptingWire {
    sends: usize,
}

impl Wire for AcceptingWire {
    fn send(&mut self, _index: u32, bytes: &[u8]) -> Sent {
        self.sends += 1;
        Sent::Taken(bytes.len())
    }

    fn watch(&mut self, slot: Slot) {
        unreachable!("{slot:?} never refuses")
    }

    fn finish(&mut self, _index: u32) -> bool {
        true
    }

    fn close(&mut self, _index: u32) {}
}

/// The output side of one worker: its mailbox, its writer and its sockets.
struct WorkerOutput {
    batches: BatchSender,
    mailbox: WriterMailbox,
    writer: Writer,
    wire: AcceptingWire,
}

/// One room with every part between a session and the sockets. The parts run here without their tasks.
struct Pipeline {
    broker: Broker,
    window: ClientWindow,
    mailbox: ShardMailbox,
    shard: Shard,
    batch: Batch,
    outputs: Vec<WorkerOutput>,
    room: RoomName,
    members: Vec<Address>,
}

impl WorkerOutput {
    fn new() -> Self {
        let (batches, mailbox) = mailbox();
        Self { batches, mailbox, writer: Writer::new(ROOMY), wire: AcceptingWire::default() }
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

impl Pipeline {
    /// Joins this many members, spread over all writers and dialects. Each pair of a writer and a dialect is one
    /// audience.
    fn new(members: usize, writers: u16, dialects: &[Dialect]) -> Self {
        let capacity = RoomLimiter::new(1);
        let (seed, mut mailboxes) = ShardSenders::new(1, &capacity, rules());
        let mailbox = mailboxes.pop().expect("one for each shard");
        let mut pipeline = Self {
            broker: seed.broker(),
            window: ClientWindow::default(),
            shard: mailbox.shard(),
            mailbox,
            batch: Batch::new(usize::from(writers)),
            outputs: (0..writers).map(|_| WorkerOutput::new()).collect(),
            room: RoomName::parse("room").expect("a valid name"),
            members: Vec::new(),
        };
        let audiences = (0..writers).flat_map(|writer| dialects.iter().map(move |dialect| (writer, *dialect)));
        for (writer, dialect) in audiences.cycle().take(members) {
            pipeline.join(WriterIndex(writer), dialect);
        }
        pipeline
    }

    fn join(&mut self, writer: WriterIndex, dialect: Dialect) {
        let slot = self.outputs[usize::from(writer.0)].writer.open(dialect);
        let address = Address { writer, slot };
        let (ack, _) = oneshot::channel();
        let publisher = Publisher::anonymous(ClientId(0), Label::generated("TCP-1")).into();
        let member = Member { address, dialect, publisher };
        let join = Join::of(self.room.clone(), member);
        self.shard.step(Now::read(), ShardCommand::Join(join, ack), &mut self.batch);
        self.end_batch();
        self.members.push(address);
    }

    /// Publishes as a session does, and then runs the shard and the writers.
    fn publish(&mut self) {
        let (room, address) = (self.room.clone(), self.members[0]);
        let from = ReplyTo { address, dialect: Dialect::TextLines, request: None };
        let act = Act::Publish(Data::Text("as many words as people use".into()), Instant::now());
        let publish = MemberCommand { room, from, act, permit: None };
        self.broker.try_send(publish, &mut self.window).expect("the mailbox is empty");
        while let Some(command) = self.mailbox.try_next() {
            self.shard.step(Now::read(), command, &mut self.batch);
        }
        self.end_batch();
    }

    fn end_batch(&mut self) {
        for (writer, entries) in self.batch.take_entries() {
            let delivered = self.outputs[usize::from(writer.0)].batches.deliver(entries).now_or_never();
            delivered.expect("the mailbox is empty");
        }
        self.batch.acknowledge();
        self.outputs.iter_mut().for_each(WorkerOutput::work);
    }

    fn sends(&self) -> usize {
        self.outputs.iter().map(|output| output.wire.sends).sum()
    }

    /// Counts the allocations of one publish, after the same publish has warmed up all buffers.
    fn allocations(&mut self) -> u64 {
        for _ in 0..3 {
            self.publish();
        }
        let sends = self.sends();
        let allocations = measure(|| self.publish()).count_total;
        assert_eq!(self.sends(), sends + self.members.len(), "every member has received it");
        allocations
    }
}

/// Returns the allocations of a publish. Checks that they are the same in a small room and in a large one.
fn allocations_independent_of_members(writers: u16, dialects: &[Dialect]) -> u64 {
    let [few, many] = MEMBERS.map(|members| Pipeline::new(members, writers, dialects).allocations());
    assert_eq!(few, many, "{writers} writers, {dialects:?}: members cost allocations");
    many
}

#[test]
fn a_publish_allocates_at_most_four_times_and_never_for_a_member() {
    let allocations = allocations_independent_of_members(1, &[Dialect::TextLines]);
    assert!(allocations <= FIXED_MAX, "{allocations} for one audience, at most {FIXED_MAX}");
}

#[test]
fn each_further_audience_costs_at_most_three_more_for_another_writer_or_dialect() {
    let shapes: [(u16, &[Dialect]); 3] = [(2, &[Dialect::TextLines]), (1, &Dialect::ALL), (4, &Dialect::ALL)];
    for (writers, dialects) in shapes {
        let further = u64::from(writers) * dialects.len() as u64 - 1;
        let most = FIXED_MAX + further * AUDIENCE_MAX;
        let allocations = allocations_independent_of_members(writers, dialects);
        assert!(allocations <= most, "{allocations} for {writers} writers and {dialects:?}, at most {most}");
    }
}
