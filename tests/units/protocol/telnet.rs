//! The filter for Telnet commands in the input of line clients.

use roomcast::protocol::telnet::Telnet;

/// The first bytes that PuTTY sends in Telnet mode.
const PUTTY: &[u8] = b"\xff\xfb\x1f\xff\xfb\x20\xff\xfb\x18\xff\xfb\x27\xff\xfd\x01\xff\xfb\x03\xff\xfd\x03";

/// Decodes the pieces, and returns the text and the answers.
fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<u8>, Vec<u8>) {
    let (mut telnet, mut text, mut answers) = (Telnet::default(), Vec::new(), Vec::new());
    for piece in pieces {
        let mut fresh = piece.to_vec();
        let kept = telnet.strip(&mut text, &mut fresh);
        text.extend_from_slice(&fresh[..kept]);
        answers.extend(telnet.take_answers().into_iter().flatten());
    }
    (text, answers)
}

/// Expects the same text and answers wherever the input is cut.
#[track_caller]
fn expect(input: &[u8], text: &[u8], answers: &[u8]) {
    let expected = (text.to_vec(), answers.to_vec());
    for at in 0..=input.len() {
        let (first, second) = input.split_at(at);
        assert_eq!(decode([first, second]), expected, "cut at {at}");
    }
    assert_eq!(decode(input.chunks(1)), expected, "byte by byte");
}

#[test]
fn a_negotiation_is_refused_and_leaves_the_text_as_it_was() {
    let refusals = b"\xff\xfe\x1f\xff\xfe\x20\xff\xfe\x18\xff\xfe\x27\xff\xfc\x01\xff\xfe\x03\xff\xfc\x03";
    expect(&[PUTTY, b"JOIN a\r\n"].concat(), b"JOIN a\r\n", refusals);
    expect(&[b"JO", PUTTY, b"IN a\n", PUTTY].concat(), b"JOIN a\n", refusals);
    expect(b"a\xff\xfc\x01b\xff\xfe\x01c", b"abc", b"");
}

#[test]
fn an_interrupt_is_skipped_and_its_timing_mark_is_refused_each_time() {
    expect(b"a\xff\xf4\xff\xfd\x06b\xff\xfd\x06\n", b"ab\n", b"\xff\xfc\x06\xff\xfc\x06");
    expect(b"\xff\xf1a\xff\xf9\xff\xecb", b"ab", b"");
}

#[test]
fn a_subnegotiation_is_skipped_with_any_content_unless_its_end_was_lost() {
    expect(b"a\xff\xfa\x1f\x00\x50\x00\x0a\xff\xf0b", b"ab", b"");
    expect(b"a\xff\xfa\x18\xff\xff\n\r\0\xff\xf0b", b"ab", b"");
    let endless = [b"\xff\xfa", &[b'x'; 1_025][..], b"hello\n"].concat();
    assert_eq!(decode([&endless[..]]).0, b"hello\n");
}

#[test]
fn a_line_may_end_with_a_carriage_return_and_a_nul() {
    expect(b"a\r\0b\0\r\r\0", b"a\r\nb\0\r\r\n", b"");
    expect(b"a\r\xff\xf1\0", b"a\r\n", b"");
}

#[test]
fn bytes_that_are_no_command_stay_in_the_text() {
    expect(b"ab\xff\ncd\xff\xff\xff\xa0", b"ab\xff\ncd\xff\xff\xa0", b"");
    assert_eq!(decode([&b"ab\xff"[..]]).0, b"ab\xff");
}
