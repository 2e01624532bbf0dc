//! What does it cost to encode a message in each dialect, without and with compression, and to decode a WebSocket
//! message that is whole, cut by the end of a packet, or in fragments?
//!
//! `cargo bench --bench frames -- [encode|decode]`

mod common;
#[path = "common/measuring.rs"]
mod measuring;

use std::hint::black_box;
use std::sync::Arc;

use common::{TEXT, label, masked_fragments, masked_text, room};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use roomcast::protocol::compression::Compression;
use roomcast::protocol::dialect::Dialect;
use roomcast::protocol::event::Event;
use roomcast::protocol::position::{Epoch, Offset, UnixMillis};
use roomcast::protocol::publication::{ClientId, Data, Publication, Publisher};
use roomcast::protocol::websocket::{Message, MessageDecoder};

/// The life of the room in which all is published.
const EPOCH: Epoch = Epoch::new(UnixMillis(0), 0);

/// A line of chat, a long post, and the longest message.
const TEXT_BYTES: [usize; 3] = [TEXT.len(), 4 * 1024, 64 * 1024];

const BYTES_MAX: usize = 64 * 1024;
const FRAGMENTS: usize = 4;

/// With the largest window and the least.
const COMPRESSED: [Dialect; 2] = [
    Dialect::TextWebSocket(Compression::Deflate { bytes_min: 1, window_bits: 15 }),
    Dialect::TextWebSocket(Compression::Deflate { bytes_min: 1, window_bits: 9 }),
];

fn main() {
    let mut criterion = measuring::criterion();
    encode(&mut criterion);
    decode(&mut criterion, "whole", masked_text, |input| read(input, input.len()));
    decode(&mut criterion, "cut_by_a_packet", masked_text, |input| read(input, input.len() / 2));
    let fragments = |text: &[u8]| masked_fragments(text, FRAGMENTS);
    decode(&mut criterion, "in_four_fragments", fragments, |input| read(input, input.len()));
    criterion.final_summary();
}

fn text(bytes: usize) -> String {
    TEXT.chars().cycle().take(bytes).collect()
}

fn encode(criterion: &mut Criterion) {
    let (room, publisher) = (room(0), Arc::new(Publisher::anonymous(ClientId(0), label())));
    for dialect in Dialect::ALL.into_iter().chain(COMPRESSED) {
        let mut group = criterion.benchmark_group(format!("frames/encode_{dialect:?}"));
        group.throughput(Throughput::Elements(1));
        for bytes in TEXT_BYTES {
            let (publisher, data) = (Arc::clone(&publisher), Data::Text(text(bytes).into()));
            let publication = Publication { offset: Offset(1), published_at: UnixMillis(0), publisher, data };
            let event = Event::Published(&room, EPOCH, &publication);
            let mut out = Vec::new();
            group.bench_function(BenchmarkId::from_parameter(bytes), |bencher| {
                bencher.iter(|| {
                    out.clear();
                    dialect.write(black_box(&event), &mut out);
                });
            });
        }
    }
}

fn decode(criterion: &mut Criterion, how: &str, frames: fn(&[u8]) -> Vec<u8>, read: fn(&mut [u8])) {
    let mut group = criterion.benchmark_group(format!("frames/decode_{how}"));
    group.throughput(Throughput::Elements(1));
    for bytes in TEXT_BYTES {
        let input = frames(text(bytes).as_bytes());
        // Decoding unmasks the input in place, so each iteration needs a copy.
        group.bench_function(BenchmarkId::from_parameter(bytes), |bencher| {
            bencher.iter_batched_ref(|| input.clone(), |input| read(input), BatchSize::SmallInput);
        });
    }
}

/// Decodes one message. Its first `first` bytes arrive before the others.
fn read(input: &mut [u8], first: usize) {
    let mut messages = MessageDecoder::default();
    let mut at = 0;
    for received in [first, input.len()] {
        while let Some(frame) = messages.next(&mut input[at..received], BYTES_MAX).expect("good frames") {
            at += frame.consumed;
            if let Some(Message::Text(text)) = frame.message {
                black_box(text);
            }
        }
    }
    assert_eq!(at, input.len(), "the message is whole");
}
