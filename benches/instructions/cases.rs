//! The counted cases: each step of a message on its way, and joining and leaving a room. Each case runs once before it
//! is counted, so caches and capacities are warm.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use roomcast::broker::{Farewell, ShardCommand};
use roomcast::protocol::command::{parse, parse_message};
use roomcast::protocol::compression::Compression;
use roomcast::protocol::dialect::Dialect;
use roomcast::protocol::event::Event;
use roomcast::protocol::lines::next_line;
use roomcast::protocol::position::{Epoch, Offset, UnixMillis};
use roomcast::protocol::publication::{ClientId, Data, Publication, Publisher};
use roomcast::protocol::websocket::{Message, MessageDecoder};
use roomcast::writer::{Entry, Frames, Input, Slot, Targets, Writer, WriterCommand};
use tokio::sync::oneshot;

use crate::callgrind::counted_by_callgrind;
use crate::common::bare_shard::{BareShard, address};
use crate::common::sink::{Round, Sink, SinkWire};
use crate::common::{self, ROOMY, TEXT, label, line, masked_text, publish, room};

/// The life of the room in which all is published.
const EPOCH: Epoch = Epoch::new(UnixMillis(0), 0);

/// The number of members in each room and of clients on each writer.
const MEMBERS: u32 = 1_000;

/// The number of commands, messages or joins in a case.
const TIMES: u64 = 1_000;

const BYTES_MAX: usize = 64 * 1024;

/// One counted case.
pub struct Case {
    pub name: &'static str,
    /// The number of steps that `run` does, in the unit after the slash in `name`.
    pub units: u64,
    run: fn(),
}

pub const CASES: [Case; 11] = [
    Case { name: "publish/message", units: TIMES, run: publish_one_by_one },
    Case { name: "publish_in_batches/message", units: TIMES, run: publish_in_batches },
    Case { name: "append/delivery", units: MEMBERS as u64, run: append },
    Case { name: "flush/delivery", units: MEMBERS as u64, run: flush },
    Case { name: "encode_line/message", units: TIMES, run: || encode(Dialect::TextLines) },
    Case { name: "encode_websocket/message", units: TIMES, run: || encode(Dialect::TextWebSocket(Compression::None)) },
    Case { name: "decode_line/command", units: TIMES, run: decode_lines },
    Case { name: "decode_websocket/command", units: TIMES, run: decode_websocket },
    Case { name: "join/member", units: TIMES, run: join },
    Case { name: "leave/member", units: TIMES, run: leave },
    Case { name: "targets/member", units: MEMBERS as u64, run: publish_after_join },
];

/// Runs a case.
pub fn run(name: &str) -> Result<()> {
    let case = CASES.iter().find(|case| case.name == name).with_context(|| format!("there is no case {name}"))?;
    (case.run)();
    Ok(())
}

/// Runs the work twice and counts the second time.
fn count_warm(mut work: impl FnMut()) {
    work();
    counted_by_callgrind(&mut work);
}

/// A shard with one room full of members.
fn bare_shard_with_members() -> BareShard {
    let mut bare_shard = BareShard::new();
    for member in 0..MEMBERS {
        bare_shard.step(join_command(member));
        bare_shard.end_batch();
    }
    bare_shard
}

fn join_command(member: u32) -> ShardCommand {
    let (ack, _) = oneshot::channel();
    ShardCommand::Join(common::join(room(0), address(member)), ack)
}

fn leave_command(member: u32) -> ShardCommand {
    let (ack, _) = oneshot::channel();
    ShardCommand::Leave(room(0), address(member), Farewell::Others, ack)
}

fn publish_command() -> ShardCommand {
    ShardCommand::Member(publish(room(0), address(0)))
}

fn publish_commands() -> Vec<ShardCommand> {
    (0..TIMES).map(|_| publish_command()).collect()
}

/// Clients that are not members.
fn guests() -> impl Iterator<Item = u32> {
    MEMBERS..MEMBERS + TIMES as u32
}

fn publish_one_by_one() {
    let mut bare_shard = bare_shard_with_members();
    let mut rounds = [publish_commands(), publish_commands()].into_iter();
    count_warm(|| {
        for command in rounds.next().expect("it is done twice") {
            bare_shard.step(command);
            bare_shard.end_batch();
        }
    });
}

fn publish_in_batches() {
    let mut bare_shard = bare_shard_with_members();
    let mut rounds = [publish_commands(), publish_commands()].into_iter();
    count_warm(|| {
        for command in rounds.next().expect("it is done twice") {
            bare_shard.step(command);
            if bare_shard.is_full() {
                bare_shard.end_batch();
            }
        }
        bare_shard.end_batch();
    });
}

/// Rebuilds the target list, which is linear in the members. The count includes the join and the leave that invalidate
/// the list.
fn publish_after_join() {
    let mut bare_shard = bare_shard_with_members();
    let visit = || [join_command(MEMBERS), publish_command(), leave_command(MEMBERS)];
    let mut visits = [visit(), visit()].into_iter();
    count_warm(|| {
        visits.next().expect("it is done twice").into_iter().for_each(|command| bare_shard.step(command));
        bare_shard.end_batch();
    });
}

fn join() {
    let mut bare_shard = bare_shard_with_members();
    let commands: Vec<ShardCommand> = guests().map(join_command).collect();
    // The first run grows the room, so that the counted run needs no new capacity.
    guests().for_each(|guest| bare_shard.step(join_command(guest)));
    guests().for_each(|guest| bare_shard.step(leave_command(guest)));
    bare_shard.end_batch();
    let mut commands = commands.into_iter();
    counted_by_callgrind(&mut || {
        for command in commands.by_ref() {
            bare_shard.step(command);
            bare_shard.end_batch();
        }
    });
}

fn leave() {
    let mut bare_shard = bare_shard_with_members();
    guests().for_each(|guest| bare_shard.step(join_command(guest)));
    bare_shard.end_batch();
    let mut commands = guests().map(leave_command).collect::<Vec<_>>().into_iter();
    counted_by_callgrind(&mut || {
        for command in commands.by_ref() {
            bare_shard.step(command);
            bare_shard.end_batch();
        }
    });
}

/// A writer with clients that are all targets of every message.
struct TargetedWriter {
    writer: Writer,
    wire: SinkWire,
    targets: Arc<[Slot]>,
    now: Instant,
}

impl TargetedWriter {
    fn with_clients() -> Self {
        let round = Round::endless();
        let (mut writer, mut wire) = (Writer::new(ROOMY), SinkWire::default());
        let mut open = |_| {
            let slot = writer.open(Dialect::TextLines);
            wire.open(slot, Sink::new(&round));
            slot
        };
        let targets = (0..MEMBERS).map(&mut open).collect();
        Self { writer, wire, targets, now: Instant::now() }
    }

    fn batch(&self) -> Vec<Entry> {
        let frames = Frames::delivery(line().into(), Vec::new());
        vec![Entry { targets: Targets::Audience(Arc::clone(&self.targets)), frames }]
    }

    fn append(&mut self, batch: Vec<Entry>) {
        self.writer.step(self.now, Input::Command(WriterCommand::Batch(batch)), &mut self.wire);
    }

    fn flush(&mut self) {
        while self.writer.is_dirty() {
            self.writer.step(self.now, Input::Flush, &mut self.wire);
        }
    }
}

fn append() {
    let mut targeted_writer = TargetedWriter::with_clients();
    targeted_writer.append(targeted_writer.batch());
    targeted_writer.flush();
    let mut batch = Some(targeted_writer.batch());
    counted_by_callgrind(&mut || targeted_writer.append(batch.take().expect("it is done once")));
    targeted_writer.flush();
}

fn flush() {
    let mut targeted_writer = TargetedWriter::with_clients();
    for _ in 0..2 {
        targeted_writer.append(targeted_writer.batch());
    }
    targeted_writer.flush();
    targeted_writer.append(targeted_writer.batch());
    counted_by_callgrind(&mut || targeted_writer.flush());
}

fn encode(dialect: Dialect) {
    let (room, publisher) = (room(0), Publisher::anonymous(ClientId(0), label()).into());
    let data = Data::Text(TEXT.into());
    let publication = Publication { offset: Offset(1), published_at: UnixMillis(0), publisher, data };
    let mut out = Vec::new();
    count_warm(|| {
        for _ in 0..TIMES {
            out.clear();
            dialect.write(&Event::Published(&room, EPOCH, black_box(&publication)), &mut out);
            black_box(&out);
        }
    });
}

fn decode_lines() {
    let input = format!("{TEXT}\n").repeat(TIMES as usize);
    count_warm(|| {
        let mut rest = input.as_bytes();
        while let Some(line) = next_line(rest, 0, BYTES_MAX).expect("short lines") {
            black_box(parse(line.bytes).expect("good lines"));
            rest = &rest[line.consumed..];
        }
    });
}

fn decode_websocket() {
    let input = masked_text(TEXT.as_bytes()).repeat(TIMES as usize);
    let mut inputs = [input.clone(), input].into_iter();
    let mut messages = MessageDecoder::default();
    count_warm(|| {
        let mut input = inputs.next().expect("it is done twice");
        let mut at = 0;
        while let Some(received) = messages.next(&mut input[at..], BYTES_MAX).expect("good frames") {
            let Some(Message::Text(text)) = received.message else { panic!("texts, whole") };
            black_box(parse_message(text).expect("good messages"));
            at += received.consumed;
        }
    });
}
