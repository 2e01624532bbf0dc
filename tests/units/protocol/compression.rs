//! Compressed messages in either direction (RFC 7692). The other side is flate2 as well, with every level, window and flush.

use flate2::{Compress, Decompress, FlushCompress, FlushDecompress, Status};
use harness::frame::{CONTINUATION, FINAL, FINAL_PING, FINAL_PONG, FINAL_TEXT, TEXT, fragments, frame};
use proptest::prelude::*;
use roomcast::protocol::compression::Compression;
use roomcast::protocol::dialect::{Dialect, Framing};
use roomcast::protocol::event::{Event, RequestId};
use roomcast::protocol::names::{Label, RoomName};
use roomcast::protocol::position::{Epoch, Offset, UnixMillis};
use roomcast::protocol::publication::{ClientId, Data, Publication, Publisher};
use roomcast::protocol::websocket::{FrameError, Message, MessageDecoder, Received};

/// The life of the room in which all is published.
const EPOCH: Epoch = Epoch::new(UnixMillis(0), 0);

const BYTES_MAX: usize = 64 * 1024;

/// RSV1, in the first byte of a compressed message.
const COMPRESSED: u8 = 0x40;

/// The end of what was flushed, without which a message is sent.
const FLUSHED: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

const NOT_DEFLATE: FrameError = FrameError::Protocol("a compressed message is whole and DEFLATE");

/// Decodes frames of a client that has negotiated compression, and returns its messages.
fn decode_within(bytes_max: usize, frames: &[u8]) -> Result<Vec<Vec<u8>>, FrameError> {
    let (mut decoder, mut input, mut messages) = (MessageDecoder::new(true), frames.to_vec(), Vec::new());
    while let Some(Received { message, consumed }) = decoder.next(&mut input, bytes_max)? {
        match message {
            Some(Message::Text(text)) => messages.push(text.as_bytes().to_vec()),
            Some(Message::Binary(bytes)) => messages.push(bytes.to_vec()),
            _ => {}
        }
        input.drain(..consumed);
    }
    assert_eq!(input, b"", "a frame is incomplete");
    Ok(messages)
}

fn decode(frames: &[u8]) -> Result<Vec<Vec<u8>>, FrameError> {
    decode_within(BYTES_MAX, frames)
}

/// A compressed text in one frame.
fn compressed_text(payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(FINAL_TEXT | COMPRESSED, payload)
}

/// Compresses pieces, each with a flush behind it, as a client may; the last one as RFC 7692 §7.2.1 has it.
fn compress(level: u32, window_bits: u8, pieces: &[(Vec<u8>, FlushCompress)]) -> Vec<u8> {
    let mut compressor = Compress::new_with_window_bits(flate2::Compression::new(level), false, window_bits);
    let mut out = Vec::new();
    let mut add = |piece: &[u8], flush| {
        out.reserve(2 * piece.len() + 1024);
        let status = compressor.compress_vec(piece, &mut out, flush).expect("room for it");
        if status == Status::StreamEnd {
            compressor.reset();
        }
    };
    pieces.iter().for_each(|(piece, flush)| add(piece, *flush));
    add(b"", FlushCompress::Full);
    add(b"\0", FlushCompress::Sync);
    let end = out.len() - FLUSHED.len();
    assert_eq!(out.split_off(end), FLUSHED);
    out
}

/// A message of one piece, compressed. It ends with a zero byte.
fn compressed(message: &[u8]) -> Vec<u8> {
    compress(6, 15, &[(message.to_vec(), FlushCompress::None)])
}

/// A framed message of the server: whether it is compressed, and what it is.
fn read_framed(framed: &[u8], window_bits: u8) -> (bool, Vec<u8>) {
    let start = match framed[1] {
        126 => 4,
        127 => 10,
        _ => 2,
    };
    let payload = &framed[start..];
    if framed[0] & COMPRESSED == 0 {
        return (false, payload.to_vec());
    }
    let mut message = Vec::with_capacity(2 * BYTES_MAX);
    let mut decompressor = Decompress::new_with_window_bits(false, window_bits);
    for part in [payload, &FLUSHED] {
        decompressor.decompress_vec(part, &mut message, FlushDecompress::Sync).expect("deflate data");
    }
    assert!(payload.len() < message.len(), "it is shorter for it");
    (true, message)
}

fn deflate(bytes_min: u16, window_bits: u8) -> Compression {
    Compression::Deflate { bytes_min, window_bits }
}

fn framed(framing: Framing, message: &[u8]) -> Vec<u8> {
    let mut out = message.to_vec();
    framing.frame(&mut out, 0);
    out
}

/// Bytes that change little, and bytes that change much.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![prop::collection::vec(b'a'..b'e', 0..400), prop::collection::vec(any::<u8>(), 0..200)];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn flush() -> impl Strategy<Value = FlushCompress> {
    use FlushCompress::{Finish, Full, None, Partial, Sync};
    prop::sample::select(vec![None, Partial, Sync, Full, Finish])
}

#[test]
fn the_examples_of_rfc_7692_are_read() {
    for payload in [
        &b"\xf2\x48\xcd\xc9\xc9\x07\x00"[..],
        b"\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00",
        b"\xf3\x48\xcd\xc9\xc9\x07\x00\x00",
        b"\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00",
    ] {
        assert_eq!(decode(&compressed_text(payload)), Ok(vec![b"Hello".to_vec()]), "{payload:x?}");
        for at in 0..=payload.len() {
            let (first, second) = payload.split_at(at);
            let parts = [
                frame(TEXT | COMPRESSED, first),
                frame(FINAL_PING, "beat"),
                frame(CONTINUATION, ""),
                frame(FINAL | CONTINUATION, second),
            ];
            assert_eq!(decode(&parts.concat()), Ok(vec![b"Hello".to_vec()]), "{payload:x?} at {at}");
        }
    }
    assert_eq!(decode(&compressed_text(b"\x00")), Ok(vec![Vec::new()]), "an empty message");
    let plain = [compressed_text(b"\xf2\x48\xcd\xc9\xc9\x07\x00"), frame(FINAL_TEXT, "plain")].concat();
    assert_eq!(decode(&plain), Ok(vec![b"Hello".to_vec(), b"plain".to_vec()]));
}

#[test]
fn a_message_that_needs_what_came_before_it_is_refused() {
    // The last example of RFC 7692 §7.2.3.2, which needs the first.
    let frames = [compressed_text(b"\xf2\x48\xcd\xc9\xc9\x07\x00"), compressed_text(b"\xf2\x00\x11\x00\x00")];
    assert_eq!(decode(&frames[0]), Ok(vec![b"Hello".to_vec()]));
    assert_eq!(decode(&frames.concat()), Err(NOT_DEFLATE));
}

#[test]
fn a_message_that_is_cut_short_or_no_deflate_ends_the_connection() {
    let message = "a message of some length, which is compressed ".repeat(20);
    // One block and the end of a flush, so that no block ends before.
    let mut whole = Vec::with_capacity(1024);
    let mut compressor = Compress::new(flate2::Compression::best(), false);
    compressor.compress_vec(message.as_bytes(), &mut whole, FlushCompress::Sync).unwrap();
    whole.truncate(whole.len() - FLUSHED.len());
    assert_eq!(decode(&compressed_text(&whole)), Ok(vec![message.into_bytes()]));
    for length in 0..whole.len() {
        assert_eq!(decode(&compressed_text(&whole[..length])), Err(NOT_DEFLATE), "cut after {length} bytes");
    }
    let (ended_at_once, reserved_block) = (b"\xf3\x48\xcd\xc9\xc9\x07\x00", b"\x06\x00");
    for payload in [&ended_at_once[..], reserved_block, b"Hello", b"\xff\xff\xff\xff", b"\x00\x00"] {
        let error = decode(&compressed_text(payload)).unwrap_err();
        assert_eq!(error, NOT_DEFLATE, "{payload:x?}");
        assert_eq!(error.disconnect().close_code(), Some(1002));
    }
}

#[test]
fn the_bit_of_compression_is_refused_where_nothing_is_compressed() {
    let refused = FrameError::Protocol("reserved bits are zero without an extension");
    let mut hello = compressed_text(b"\xf2\x48\xcd\xc9\xc9\x07\x00");
    assert_eq!(MessageDecoder::new(false).next(&mut hello, BYTES_MAX), Err(refused.clone()));
    let later = [frame(TEXT | COMPRESSED, b"\xf2\x48"), frame(FINAL | COMPRESSED | CONTINUATION, b"\xcd")];
    for frames in [
        frame(FINAL_PING | COMPRESSED, ""),
        frame(FINAL_PONG | COMPRESSED, ""),
        frame(FINAL_TEXT | COMPRESSED | 0x20, ""),
        frame(FINAL_TEXT | 0x10, ""),
        later.concat(),
    ] {
        assert_eq!(decode(&frames), Err(refused.clone()));
    }
}

#[test]
fn text_is_validated_once_it_is_inflated() {
    let half = compress(6, 15, &[(b"caf\xc3".to_vec(), FlushCompress::None)]);
    assert_eq!(decode(&compressed_text(&half)), Err(FrameError::NotUtf8));
    let binary = frame(FINAL | 0x2 | COMPRESSED, &half);
    assert_eq!(decode(&binary), Ok(vec![b"caf\xc3\0".to_vec()]));
    let whole = compressed("hällo ▒ 🦀".as_bytes());
    assert_eq!(decode(&fragments(TEXT, &whole, 1)).map(drop), Err(FrameError::NotUtf8), "without the bit it is text");
    let mut parts = fragments(TEXT, &whole, 1);
    parts[0] |= COMPRESSED;
    assert_eq!(decode(&parts), Ok(vec!["hällo ▒ 🦀\0".as_bytes().to_vec()]));
}

#[test]
fn a_bomb_ends_at_the_limit_in_one_frame_or_several() {
    let bomb = compressed(&vec![b'x'; 1000 * BYTES_MAX]);
    assert!(bomb.len() < BYTES_MAX, "the header tells nothing");
    let mut parts = fragments(TEXT, &bomb, 1024);
    parts[0] |= COMPRESSED;
    for frames in [compressed_text(&bomb), parts] {
        let error = decode(&frames).unwrap_err();
        assert_eq!(error, FrameError::TooLong { bytes: 65_537, bytes_max: BYTES_MAX });
        assert_eq!(error.disconnect().close_code(), Some(1009));
    }
    for (length, fits) in [(BYTES_MAX - 1, true), (BYTES_MAX, false)] {
        assert_eq!(decode(&compressed_text(compressed(&vec![b'x'; length]))).is_ok(), fits, "{length} and a zero byte");
    }
}

#[test]
fn a_compressed_frame_is_held_to_the_limit_by_its_header_with_an_eighth_for_what_does_not_compress() {
    let random: Vec<u8> = (0..BYTES_MAX as u32 - 1).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for level in [0, 1, 6] {
        let payload = compress(level, 15, &[(random.clone(), FlushCompress::None)]);
        assert!(decode(&frame(FINAL | 0x2 | COMPRESSED, payload)).is_ok(), "level {level}");
    }
    let allowed = BYTES_MAX + BYTES_MAX / 8 + 64;
    let too_long = FrameError::TooLong { bytes: allowed as u64 + 1, bytes_max: allowed };
    let header = frame(FINAL_TEXT | COMPRESSED, vec![0; allowed + 1])[..10].to_vec();
    assert_eq!(decode(&header).unwrap_err(), too_long);
    let parts = [frame(TEXT | COMPRESSED, vec![0; allowed]), frame(CONTINUATION, "x")];
    assert_eq!(decode(&parts.concat()).unwrap_err(), too_long);
}

#[test]
fn what_is_short_or_no_shorter_for_it_is_sent_as_it_is() {
    for (framing, first) in [(Framing::WebSocketText as fn(_) -> _, 0x81), (Framing::WebSocketBinary, 0x82)] {
        let text = "a".repeat(100);
        for (bytes_min, is_compressed) in [(100, true), (101, false), (1, true), (u16::MAX, false)] {
            let sent = framed(framing(deflate(bytes_min, 15)), text.as_bytes());
            assert_eq!(sent[0], if is_compressed { first | COMPRESSED } else { first });
            assert_eq!(read_framed(&sent, 15), (is_compressed, text.clone().into()));
        }
        let random: Vec<u8> = (0..200_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        for message in [&b""[..], b"a", b"{}", &random] {
            assert_eq!(framed(framing(deflate(1, 15)), message), framed(framing(Compression::None), message));
        }
    }
}

#[test]
fn what_a_room_gets_is_compressed_and_what_one_client_gets_is_not() {
    let room = RoomName::parse("lounge").unwrap();
    let publisher = Publisher::anonymous(ClientId(0), Label::generated("WS-1")).into();
    let data = Data::Text("a long message ".repeat(100).into());
    let publication = Publication { offset: Offset(1), published_at: UnixMillis(0), publisher, data };
    let event = Event::Published(&room, EPOCH, &publication);
    let (plain, dialect) = (Dialect::TextWebSocket(Compression::None), Dialect::TextWebSocket(deflate(512, 15)));
    let sent = dialect.encode(&event);
    assert_eq!(read_framed(&sent, 15), (true, plain.encode(&event)[4..].to_vec()));
    let mut out = Vec::new();
    dialect.write(&event, &mut out);
    assert_eq!(out.capacity(), sent.len(), "nothing is kept of what the message was longer by");
    for request in [None, RequestId::new(1)] {
        let mut reply = Vec::new();
        dialect.write_reply(request, &event, &mut reply);
        assert_eq!(reply, plain.encode(&event));
    }
}

proptest! {
    #[test]
    fn every_message_of_the_server_is_read_with_the_window_that_was_agreed(
        message in bytes(), bytes_min in 1..600_u16, window_bits in 9..=15_u8, before in 0..3_usize,
    ) {
        let mut out = vec![7; before];
        out.extend_from_slice(&message);
        Framing::WebSocketBinary(deflate(bytes_min, window_bits)).frame(&mut out, before);
        prop_assert_eq!(&out[..before], &vec![7; before]);
        let (is_compressed, read) = read_framed(&out[before..], window_bits);
        prop_assert_eq!(&read, &message);
        prop_assert!(!is_compressed || message.len() >= usize::from(bytes_min));
    }

    #[test]
    fn every_message_of_a_client_is_read_whatever_its_level_window_flushes_and_fragments(
        level in 0..=9_u32,
        window_bits in 9..=15_u8,
        pieces in prop::collection::vec((bytes(), flush()), 0..5),
        size in 16..300_usize,
    ) {
        let message = [pieces.iter().flat_map(|(piece, _)| piece.clone()).collect(), vec![0]].concat();
        let mut frames = fragments(0x2, &compress(level, window_bits, &pieces), size);
        frames[0] |= COMPRESSED;
        prop_assert_eq!(decode(&frames), Ok(vec![message.clone()]));
        let too_long = decode_within(message.len() - 1, &frames);
        prop_assert!(matches!(too_long, Err(FrameError::TooLong { .. })), "{:?}", too_long);
    }

    #[test]
    fn no_payload_makes_it_panic_or_give_more_than_the_limit(
        payload in prop::collection::vec(any::<u8>(), 0..300), bytes_max in 0..2_000_usize,
    ) {
        if let Ok(messages) = decode_within(bytes_max, &frame(FINAL | 0x2 | COMPRESSED, payload)) {
            prop_assert!(messages.iter().all(|message| message.len() <= bytes_max));
        }
    }

    #[test]
    fn no_change_of_a_byte_makes_it_panic_or_give_more_than_the_limit(
        message in bytes(), at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let mut payload = compressed(&message);
        let at = at.index(payload.len());
        payload[at] = byte;
        if let Ok(messages) = decode(&frame(FINAL | 0x2 | COMPRESSED, payload)) {
            prop_assert!(messages.iter().all(|message| message.len() <= BYTES_MAX));
        }
    }
}
