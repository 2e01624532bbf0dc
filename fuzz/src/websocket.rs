//! WebSocket frames of a client. The messages do not depend on how the network cuts the frames, are those of a plain
//! reading of RFC 6455, and come back when they are framed again.

use harness::frame::{FINAL, FINAL_BINARY, FINAL_TEXT, frame};
use roomcast::protocol::websocket::{Message, MessageDecoder, Received};

use crate::input::{choices, chunks};
use crate::websocket_model;

/// A message with bytes of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owned {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
}

/// What was read of a stream: its messages up to a close, and whether a frame was refused, which ends it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Stream {
    pub messages: Vec<Owned>,
    pub is_refused: bool,
}

impl From<Message<'_>> for Owned {
    fn from(message: Message<'_>) -> Self {
        match message {
            Message::Text(text) => Self::Text(text.to_owned()),
            Message::Binary(bytes) => Self::Binary(bytes.to_vec()),
            Message::Ping(payload) => Self::Ping(payload.to_vec()),
            Message::Pong => Self::Pong,
            Message::Close(code) => Self::Close(code),
        }
    }
}

/// Frames in any chunks are the frames in one piece, within the limit and under the rules.
pub fn websocket(input: &[u8]) {
    let ([mode, limit, lengths @ ..], bytes) = choices::<6>(input);
    let (may_be_compressed, bytes_max) = (mode & 1 == 1, 1 + usize::from(limit) * 4);
    let whole = decoded(&[bytes], may_be_compressed, bytes_max);
    let cut = decoded(&chunks(lengths, bytes), may_be_compressed, bytes_max);
    assert_eq!(cut, whole, "chunks of {lengths:?} + 1 bytes");
    if !may_be_compressed {
        assert_eq!(whole, websocket_model::decoded(bytes, bytes_max));
    }
    whole.messages.iter().for_each(|message| check_message(message, bytes_max));
}

fn decoded(chunks: &[&[u8]], may_be_compressed: bool, bytes_max: usize) -> Stream {
    let (mut decoder, mut tail, mut stream) = (MessageDecoder::new(may_be_compressed), Vec::new(), Stream::default());
    for chunk in chunks {
        tail.extend_from_slice(chunk);
        loop {
            let Ok(received) = decoder.next(&mut tail, bytes_max) else {
                stream.is_refused = true;
                return stream;
            };
            let Some(Received { message, consumed }) = received else { break };
            assert!(
                (2..=tail_length(chunks)).contains(&consumed),
                "a frame has a header, and ends where the input does"
            );
            stream.messages.extend(message.map(Owned::from));
            if matches!(stream.messages.last(), Some(Owned::Close(_))) {
                return stream;
            }
            tail.drain(..consumed);
            // Twice, as vectors grow; compressed fragments may be longer than their message by an eighth.
            assert!(decoder.held_bytes() <= 2 * (bytes_max + bytes_max / 8 + 64), "it holds no more than a message");
        }
    }
    stream
}

fn tail_length(chunks: &[&[u8]]) -> usize {
    chunks.iter().map(|chunk| chunk.len()).sum()
}

/// The message is within the limit, and is read again as it was.
fn check_message(message: &Owned, bytes_max: usize) {
    let framed = match message {
        Owned::Text(text) => frame(FINAL_TEXT, text),
        Owned::Binary(bytes) => frame(FINAL_BINARY, bytes),
        Owned::Ping(payload) => {
            assert!(payload.len() <= 125, "RFC 6455 §5.5");
            frame(FINAL | 0x9, payload)
        }
        Owned::Pong | Owned::Close(_) => return,
    };
    let again = decoded(&[&framed], false, bytes_max);
    assert_eq!(again, Stream { messages: vec![message.clone()], is_refused: false });
}
