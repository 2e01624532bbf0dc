//! The Centrifuge protocol: commands that are read, replies and pushes that are written, in JSON and in Protobuf.

use roomcast::protocol::centrifuge::command::Parsed;
use roomcast::protocol::event::RequestId;
use roomcast::protocol::names::Label;

mod json_commands;
mod protobuf_commands;
mod protobuf_reader;
mod samples;
mod written;

fn id(number: u32) -> RequestId {
    RequestId::new(number).expect("a name is not 0")
}

fn nick(text: &str) -> Label {
    Label::nick(text).expect("a nick")
}

/// All that a frame holds, from its beginning to its end.
fn parsed(frame: &[u8], next_command: fn(&[u8]) -> Option<(Parsed<'_>, usize)>) -> Vec<Parsed<'_>> {
    let mut rest = frame;
    let mut parsed = Vec::new();
    while let Some((next, bytes)) = next_command(rest) {
        assert!((1..=rest.len()).contains(&bytes), "{bytes} of {} bytes", rest.len());
        rest = &rest[bytes..];
        parsed.push(next);
    }
    assert!(rest.is_empty(), "the end is at {} bytes from the end", rest.len());
    parsed
}
