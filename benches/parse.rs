//! What does it cost to parse a command, from the input of a line client and of a WebSocket client?
//!
//! `cargo bench --bench parse -- [line|websocket]`

mod common;
#[path = "common/measuring.rs"]
mod measuring;

use std::hint::black_box;

use common::{TEXT, masked_text};
use criterion::{BatchSize, Criterion, Throughput};
use roomcast::protocol::command::{parse, parse_message};
use roomcast::protocol::lines::next_line;
use roomcast::protocol::websocket::{Message, MessageDecoder};

/// The number of commands that a connection executes in one turn.
const COMMANDS: usize = 64;

const BYTES_MAX: usize = 64 * 1024;

/// Chat in ASCII, chat in other characters, a command with a name to validate, and a short command.
const INPUTS: [(&str, &str); 4] = [
    ("chat", TEXT),
    ("chat_not_ascii", "всем привет — 皆さん、こんにちは — שלום לכולם — and hello to everybody else in this room"),
    ("join", "JOIN a-room-like-any-other"),
    ("ping", "PING 12345"),
];

fn main() {
    let mut criterion = measuring::criterion();
    lines(&mut criterion);
    websocket(&mut criterion);
    criterion.final_summary();
}

fn lines(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse/line");
    group.throughput(Throughput::Elements(COMMANDS as u64));
    for (kind, text) in INPUTS {
        let input = format!("{text}\n").repeat(COMMANDS);
        group.bench_function(kind, |bencher| bencher.iter(|| parse_lines(black_box(input.as_bytes()))));
    }
}

fn parse_lines(mut input: &[u8]) {
    while let Some(line) = next_line(input, 0, BYTES_MAX).expect("a short line") {
        black_box(parse(line.bytes).expect("a good line"));
        input = &input[line.consumed..];
    }
}

fn websocket(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("parse/websocket");
    group.throughput(Throughput::Elements(COMMANDS as u64));
    for (kind, text) in INPUTS {
        let input = masked_text(text.as_bytes()).repeat(COMMANDS);
        // Decoding unmasks the input in place, so each iteration needs a copy.
        group.bench_function(kind, |bencher| {
            bencher.iter_batched_ref(|| input.clone(), |input| parse_messages(input), BatchSize::SmallInput);
        });
    }
}

fn parse_messages(mut input: &mut [u8]) {
    let mut messages = MessageDecoder::default();
    while let Some(received) = messages.next(input, BYTES_MAX).expect("good frames") {
        let Some(Message::Text(text)) = received.message else { panic!("a text, whole") };
        black_box(parse_message(text).expect("a good message"));
        let consumed = received.consumed;
        input = &mut input[consumed..];
    }
}
