//! Tests the WebSocket decoder without a socket: valid frames that are cut anywhere, and frames that RFC 6455 forbids.

use proptest::prelude::*;
use roomcast::protocol::disconnect::Disconnect;
use roomcast::protocol::websocket::{FrameError, Message, MessageDecoder, Received, encode};

const BYTES_MAX: usize = 64 * 1024;
const FRAGMENTS_MAX: usize = 1_024;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xA;
const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;

/// The header of a client's frame in its shortest form, without the mask.
fn header(first: u8, length: usize) -> Vec<u8> {
    match length {
        0..=125 => vec![first, MASKED | length as u8],
        126..=0xffff => [&[first, MASKED | 126][..], &(length as u16).to_be_bytes()].concat(),
        _ => [&[first, MASKED | 127][..], &(length as u64).to_be_bytes()].concat(),
    }
}

/// A client's frame with the given mask.
fn frame_under(mask: [u8; 4], first: u8, payload: &[u8]) -> Vec<u8> {
    let masked = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
    header(first, payload.len()).into_iter().chain(mask).chain(masked).collect()
}

fn frame(first: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame_under(MASK, first, payload.as_ref())
}

/// An owned message.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Owned {
    Text(String),
    Binary(Vec<u8>),
    Ping(Vec<u8>),
    Pong,
    Close(Option<u16>),
}

impl Owned {
    fn of(message: Message<'_>) -> Self {
        match message {
            Message::Text(text) => Self::Text(text.into()),
            Message::Binary(bytes) => Self::Binary(bytes.into()),
            Message::Ping(payload) => Self::Ping(payload.into()),
            Message::Pong => Self::Pong,
            Message::Close(code) => Self::Close(code),
        }
    }
}

/// A decoder, and the input that it has not consumed yet.
struct Decoder {
    bytes_max: usize,
    messages: MessageDecoder,
    tail: Vec<u8>,
    received: Vec<Owned>,
}

impl Decoder {
    fn new(bytes_max: usize) -> Self {
        Self { bytes_max, messages: MessageDecoder::default(), tail: vec![], received: vec![] }
    }

    /// Decodes all frames that are complete with `bytes`.
    fn feed(&mut self, bytes: &[u8]) -> Result<(), FrameError> {
        self.tail.extend_from_slice(bytes);
        while let Some(Received { message, consumed }) = self.messages.next(&mut self.tail, self.bytes_max)? {
            self.received.extend(message.map(Owned::of));
            self.tail.drain(..consumed);
        }
        Ok(())
    }
}

/// Decodes input that ends with a whole frame.
fn decode(bytes: &[u8]) -> Result<Vec<Owned>, FrameError> {
    decode_within(BYTES_MAX, bytes)
}

/// Decodes input that ends with a whole frame, under this message limit in bytes.
fn decode_within(bytes_max: usize, bytes: &[u8]) -> Result<Vec<Owned>, FrameError> {
    let mut decoder = Decoder::new(bytes_max);
    decoder.feed(bytes)?;
    assert_eq!(decoder.tail, b"", "a frame is incomplete");
    Ok(decoder.received)
}

#[track_caller]
fn expect_protocol_error(bytes: &[u8], rule: &'static str) {
    let error = decode(bytes).expect_err(rule);
    assert_eq!(error, FrameError::Protocol(rule));
    assert_eq!(error.disconnect().close_code(), Some(1002));
}

/// Expects that the decoder needs more bytes, and leaves these unchanged.
#[track_caller]
fn expect_incomplete(bytes: &[u8]) {
    let mut input = bytes.to_vec();
    assert_eq!(MessageDecoder::default().next(&mut input, BYTES_MAX), Ok(None), "{bytes:x?}");
    assert_eq!(input, bytes);
}

#[test]
fn a_frame_cut_at_any_byte_is_incomplete() {
    for (bytes, received) in [
        (frame(FINAL | TEXT, "hällo"), Owned::Text("hällo".into())),
        (frame(FINAL | TEXT, ""), Owned::Text(String::new())),
        (frame(FINAL | TEXT, "x".repeat(300)), Owned::Text("x".repeat(300))),
        (frame(FINAL | PING, "beat"), Owned::Ping(b"beat".into())),
        (frame(FINAL | PONG, "beat"), Owned::Pong),
        (frame(FINAL | CLOSE, b"\x03\xe8bye"), Owned::Close(Some(1000))),
    ] {
        for length in 0..bytes.len() {
            expect_incomplete(&bytes[..length]);
        }
        assert_eq!(decode(&bytes), Ok(vec![received]));
    }
}

#[test]
fn a_long_frame_cut_near_its_header_or_end_is_incomplete() {
    let text = "x".repeat(BYTES_MAX);
    let bytes = frame(FINAL | TEXT, &text);
    for length in (0..20).chain(bytes.len() - 20..bytes.len()) {
        expect_incomplete(&bytes[..length]);
    }
    assert_eq!(decode(&bytes), Ok(vec![Owned::Text(text)]));
}

#[test]
fn payloads_of_every_length_are_unmasked_to_the_last_byte() {
    for length in (0..40).chain(120..=130).chain(250..=260).chain(65_530..=65_536) {
        let text: String = ('a'..='z').cycle().take(length).collect();
        for mask in [MASK, [0; 4], [0xff; 4], [1, 0, 0, 0], [0, 0, 0, 1]] {
            let decoded = decode(&frame_under(mask, FINAL | TEXT, text.as_bytes()));
            assert!(decoded == Ok(vec![Owned::Text(text.clone())]), "{length} bytes under {mask:?}");
        }
    }
}

#[test]
fn the_next_frame_begins_where_the_last_one_ended() {
    let bytes = [frame(FINAL | TEXT, "one"), frame(FINAL | PING, ""), frame(FINAL | TEXT, "two")].concat();
    let mut input = bytes.clone();
    let mut messages = MessageDecoder::default();
    let first = Received { message: Some(Message::Text("one")), consumed: 2 + 4 + 3 };
    assert_eq!(messages.next(&mut input, BYTES_MAX), Ok(Some(first)));
    let received = [Owned::Text("one".into()), Owned::Ping(vec![]), Owned::Text("two".into())];
    assert_eq!(decode(&bytes), Ok(received.into()));
}

#[test]
fn a_frame_that_is_not_masked_is_refused() {
    let rule = "a client's frames are masked";
    for first in [FINAL | TEXT, TEXT, FINAL | PING, FINAL | CLOSE] {
        for length in [0, 5, 126, 127] {
            expect_protocol_error(&[first, length], rule);
        }
    }
    expect_protocol_error(&encode::ping(), rule);
}

#[test]
fn reserved_bits_and_opcodes_are_refused() {
    for bit in [0x40, 0x20, 0x10, 0x70] {
        let bytes = frame(FINAL | bit | TEXT, "x");
        expect_protocol_error(&bytes, "reserved bits are zero without an extension");
    }
    for opcode in (0x3..=0x7).chain(0xB..=0xF) {
        expect_protocol_error(&frame(FINAL | opcode, ""), "a reserved opcode");
        expect_protocol_error(&frame(opcode, ""), "a reserved opcode");
    }
}

#[test]
fn a_control_frame_is_whole_and_short() {
    let rule = "a control frame is whole and of at most 125 bytes";
    for opcode in [CLOSE, PING, PONG] {
        expect_protocol_error(&frame(opcode, ""), rule);
        expect_protocol_error(&header(FINAL | opcode, 126), rule);
        expect_protocol_error(&header(FINAL | opcode, 70_000), rule);
    }
    assert_eq!(decode(&frame(FINAL | PING, [7; 125])), Ok(vec![Owned::Ping(vec![7; 125])]));
}

#[test]
fn a_length_is_refused_from_the_header_alone() {
    for length in [1_u64 << 63, u64::MAX] {
        let bytes = [&[FINAL | TEXT, MASKED | 127][..], &length.to_be_bytes()].concat();
        expect_protocol_error(&bytes, "a length has 63 bits");
    }
    expect_protocol_error(&[FINAL | TEXT, MASKED | 126, 0, 125], "a length takes no more bytes than it needs");
    for first in [FINAL | TEXT, TEXT] {
        let error = decode(&header(first, BYTES_MAX + 1)).unwrap_err();
        assert_eq!(error, FrameError::TooLong { bytes: 65_537, bytes_max: BYTES_MAX });
        assert_eq!(error.disconnect(), Disconnect::TooLong);
        let huge = [&[first, MASKED | 127][..], &(u64::MAX >> 1).to_be_bytes()].concat();
        assert_eq!(decode(&huge), Err(FrameError::TooLong { bytes: u64::MAX >> 1, bytes_max: BYTES_MAX }));
    }
}

#[test]
fn a_binary_message_is_any_bytes_in_one_frame_or_several() {
    let bytes = b"\xff\x00\xc0";
    let received = Ok(vec![Owned::Binary(bytes.into())]);
    assert_eq!(decode(&frame(FINAL | BINARY, bytes)), received);
    let parts = [frame(BINARY, &bytes[..1]), frame(CONTINUATION, ""), frame(FINAL | CONTINUATION, &bytes[1..])];
    assert_eq!(decode(&parts.concat()), received);
}

#[test]
fn a_text_in_several_frames_is_one_message_with_a_ping_between_them_answered_first() {
    let bytes = [
        frame(TEXT, "Hel"),
        frame(FINAL | PING, "beat"),
        frame(CONTINUATION, ""),
        frame(FINAL | PONG, ""),
        frame(FINAL | CONTINUATION, "lo"),
        frame(FINAL | TEXT, "next"),
        frame(TEXT, "a"),
        frame(FINAL | CONTINUATION, "b"),
    ];
    let [hello, next, ab] = ["Hello", "next", "ab"].map(|text| Owned::Text(text.into()));
    assert_eq!(decode(&bytes.concat()), Ok(vec![Owned::Ping(b"beat".into()), Owned::Pong, hello, next, ab]));
}

#[test]
fn fragments_out_of_place_are_refused() {
    let nothing = "a continuation of nothing";
    expect_protocol_error(&frame(FINAL | CONTINUATION, "x"), nothing);
    expect_protocol_error(&frame(CONTINUATION, "x"), nothing);
    let done = [frame(TEXT, "a"), frame(FINAL | CONTINUATION, "b"), frame(FINAL | CONTINUATION, "c")];
    expect_protocol_error(&done.concat(), nothing);
    let within = "a new message within another";
    for (first, second) in [(TEXT, FINAL | TEXT), (TEXT, TEXT), (TEXT, FINAL | BINARY), (BINARY, FINAL | TEXT)] {
        expect_protocol_error(&[frame(first, "a"), frame(second, "b")].concat(), within);
    }
}

#[test]
fn fragments_together_are_held_to_the_limit() {
    let half = "x".repeat(BYTES_MAX / 2);
    let fits = [frame(TEXT, &half), frame(FINAL | CONTINUATION, &half)].concat();
    assert!(decode(&fits) == Ok(vec![Owned::Text(half.repeat(2))]));
    let over = [frame(TEXT, &half), frame(CONTINUATION, &half), frame(CONTINUATION, "x")].concat();
    let too_long = FrameError::TooLong { bytes: 65_537, bytes_max: BYTES_MAX };
    assert_eq!(decode(&over), Err(too_long.clone()));
    let over = [frame(TEXT, &half), frame(FINAL | CONTINUATION, half.clone() + "x")].concat();
    assert_eq!(decode(&over), Err(too_long));
}

#[test]
fn a_message_comes_in_1024_fragments_and_no_more_even_if_they_are_empty() {
    let parts = [frame(TEXT, "x"), frame(CONTINUATION, "x").repeat(FRAGMENTS_MAX - 2)].concat();
    let whole = [&parts[..], &frame(FINAL | CONTINUATION, "x")].concat();
    assert!(decode(&whole) == Ok(vec![Owned::Text("x".repeat(FRAGMENTS_MAX))]));
    for text in ["x", ""] {
        let endless = [frame(TEXT, text), frame(CONTINUATION, text).repeat(FRAGMENTS_MAX)].concat();
        let error = decode(&endless).unwrap_err();
        assert_eq!(error, FrameError::TooManyFragments { fragments_max: FRAGMENTS_MAX });
        assert_eq!(error.disconnect().close_code(), Some(1002));
    }
}

#[test]
fn a_message_of_a_higher_limit_comes_in_fragments_of_64_bytes() {
    let bytes_max = 2 * BYTES_MAX;
    let fragment = [7; 64];
    let parts = [frame(BINARY, fragment), frame(CONTINUATION, fragment).repeat(bytes_max / 64 - 2)].concat();
    let received = decode_within(bytes_max, &[&parts[..], &frame(FINAL | CONTINUATION, fragment)].concat());
    assert!(received == Ok(vec![Owned::Binary(vec![7; bytes_max])]));
    let over = [&parts[..], &frame(CONTINUATION, "").repeat(2)].concat();
    assert_eq!(decode_within(bytes_max, &over), Err(FrameError::TooManyFragments { fragments_max: 2 * FRAGMENTS_MAX }));
}

#[test]
fn a_character_may_be_cut_by_fragments_anywhere() {
    let text = "hällo ▒ 🦀";
    for at in 0..=text.len() {
        let (first, second) = text.as_bytes().split_at(at);
        let bytes = [frame(TEXT, first), frame(FINAL | CONTINUATION, second)].concat();
        assert_eq!(decode(&bytes), Ok(vec![Owned::Text(text.into())]), "at {at}");
    }
    let mut bytes = frame(TEXT, "");
    text.bytes().for_each(|byte| bytes.extend(frame(CONTINUATION, [byte])));
    bytes.extend(frame(FINAL | CONTINUATION, ""));
    assert_eq!(decode(&bytes), Ok(vec![Owned::Text(text.into())]));
}

#[test]
fn invalid_utf8_is_refused_at_the_first_fragment_that_cannot_become_valid() {
    let wrong: [(&[u8], &[u8]); 5] =
        [(b"caf\xc3", b"("), (b"\xf0\x9f", b"x"), (b"\xed", b"\xa0"), (b"\xf4", b"\x90"), (b"good \xe2\x96", b"\xe2")];
    for (good, bad) in wrong {
        let mut decoder = Decoder::new(BYTES_MAX);
        assert_eq!(decoder.feed(&frame(TEXT, good)), Ok(()), "{good:x?} may continue");
        let error = decoder.feed(&frame(CONTINUATION, bad)).unwrap_err();
        assert_eq!(error, FrameError::NotUtf8, "{good:x?} {bad:x?}");
        assert_eq!(error.disconnect().close_code(), Some(1007));
        assert_eq!(decode(&frame(FINAL | TEXT, [good, bad].concat())), Err(FrameError::NotUtf8));
    }
    for never in [&b"\xff"[..], b"\xc0\xaf", b"ab\x80"] {
        assert_eq!(decode(&frame(TEXT, never)), Err(FrameError::NotUtf8), "{never:x?}");
    }
    // This text ends within a character.
    assert_eq!(decode(&frame(FINAL | TEXT, b"caf\xc3")), Err(FrameError::NotUtf8));
    let cut = [frame(TEXT, b"caf\xc3"), frame(FINAL | CONTINUATION, "")].concat();
    assert_eq!(decode(&cut), Err(FrameError::NotUtf8));
}

#[test]
fn a_close_has_a_code_that_may_be_sent_or_none() {
    assert_eq!(decode(&frame(FINAL | CLOSE, "")), Ok(vec![Owned::Close(None)]));
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999_u16] {
        for reason in ["", "grüß", &"x".repeat(123)] {
            let bytes = frame(FINAL | CLOSE, [&code.to_be_bytes()[..], reason.as_bytes()].concat());
            assert_eq!(decode(&bytes), Ok(vec![Owned::Close(Some(code))]));
        }
    }
    for code in [0, 999, 1004, 1005, 1006, 1015, 1016, 2000, 2999, 5000, 65_535_u16] {
        expect_protocol_error(&frame(FINAL | CLOSE, code.to_be_bytes()), "a close code that nobody may send");
    }
    expect_protocol_error(&frame(FINAL | CLOSE, b"\x03"), "a close code has two bytes");
    assert_eq!(decode(&frame(FINAL | CLOSE, b"\x03\xe8\xff")), Err(FrameError::NotUtf8));
}

/// A valid message and its frames.
fn message() -> impl Strategy<Value = (Owned, Vec<u8>)> {
    let pieces = prop::collection::vec(prop_oneof!["\\PC{0,12}", "x{110,140}"], 1..5);
    prop_oneof![
        4 => (pieces, any::<[u8; 4]>(), 0..3_usize).prop_map(|(pieces, mask, skew)| {
            (Owned::Text(pieces.concat()), fragments(&pieces, mask, skew))
        }),
        1 => prop::collection::vec(any::<u8>(), 0..126).prop_map(|payload| {
            let bytes = frame(FINAL | PING, &payload);
            (Owned::Ping(payload), bytes)
        }),
        1 => Just((Owned::Pong, frame(FINAL | PONG, "x"))),
        1 => (3000..5000_u16).prop_map(|code| (Owned::Close(Some(code)), frame(FINAL | CLOSE, code.to_be_bytes()))),
    ]
}

/// One frame for each piece, cut `skew` bytes in front of its end, possibly within a character.
fn fragments(pieces: &[String], mask: [u8; 4], skew: usize) -> Vec<u8> {
    let text = pieces.concat();
    let mut rest = text.as_bytes();
    let mut bytes = Vec::new();
    for (number, piece) in pieces.iter().enumerate() {
        let is_last = number + 1 == pieces.len();
        let length = if is_last { rest.len() } else { rest.len().min(piece.len().saturating_sub(skew)) };
        let (part, behind) = rest.split_at(length);
        let opcode = if number == 0 { TEXT } else { CONTINUATION };
        let first = if is_last { FINAL | opcode } else { opcode };
        bytes.extend(frame_under(mask, first, part));
        rest = behind;
    }
    bytes
}

proptest! {
    #[test]
    fn valid_messages_are_the_same_at_every_split(
        messages in prop::collection::vec(message(), 0..8),
        lengths in prop::collection::vec(1..64_usize, 1..32),
    ) {
        let (expected, bytes): (Vec<Owned>, Vec<Vec<u8>>) = messages.into_iter().unzip();
        let bytes = bytes.concat();
        let mut rest = &bytes[..];
        let mut decoder = Decoder::new(BYTES_MAX);
        for length in lengths.iter().cycle() {
            let (piece, behind) = rest.split_at(rest.len().min(*length));
            prop_assert_eq!(decoder.feed(piece), Ok(()));
            rest = behind;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(decoder.received, expected);
        prop_assert_eq!(decoder.tail, Vec::<u8>::new());
    }

    #[test]
    fn no_bytes_make_it_panic_or_consume_more_than_the_input(mut bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let length = bytes.len();
        if let Ok(Some(received)) = MessageDecoder::default().next(&mut bytes, BYTES_MAX) {
            prop_assert!((2..=length).contains(&received.consumed));
        }
    }
}
