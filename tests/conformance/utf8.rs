//! RFC 6455 §8.1 with §5.6: text that is UTF-8 (RFC 3629), wherever it is cut. The sequences are those of Markus Kuhn's
//! decoder stress test that are well formed.

use harness::WebSocket;
use harness::frame::{FINAL, FINAL_PING, FINAL_PONG, FINAL_TEXT, TEXT, fragments, frame};

use crate::servers::Echo;

/// Texts of many lengths and scripts.
const TEXTS: [&str; 6] = [
    "Hello-µ@ßöäüàá-UTF-8!!",
    "κόσμε",
    "\u{3ba}\u{1f79}\u{3c3}\u{3bc}\u{3b5}",
    "日本語 ▒ עברית",
    "🦀👩\u{200d}👩\u{200d}👧\u{fe0f}",
    "e\u{301}\u{327}",
];

/// The first and the last character of each length, the neighbours of the surrogates, the replacement character, and
/// the last character of all.
const BOUNDARIES: [char; 13] = [
    '\0',
    '\u{7f}',
    '\u{80}',
    '\u{7ff}',
    '\u{800}',
    '\u{d7ff}',
    '\u{e000}',
    '\u{fffd}',
    '\u{fffe}',
    '\u{ffff}',
    '\u{10000}',
    '\u{10fffe}',
    '\u{10ffff}',
];

/// Noncharacters, which are valid UTF-8: the last two of each plane, and 32 more.
fn noncharacters() -> impl Iterator<Item = char> {
    let ends = (0..=0x10).flat_map(|plane| [0xfffe, 0xffff].map(|end| plane << 16 | end));
    ends.chain(0xfdd0..=0xfdef).map(|code| char::from_u32(code).expect("no surrogate"))
}

fn texts() -> impl Iterator<Item = String> {
    let boundaries = BOUNDARIES.into_iter().chain(noncharacters());
    TEXTS.map(str::to_owned).into_iter().chain(boundaries.map(String::from))
}

#[test]
fn section_8_1_well_formed_text_comes_back() {
    let echo = Echo::start();
    let mut client = WebSocket::connect(echo.address);
    for text in texts() {
        client.send(frame(FINAL_TEXT, &text));
        client.expect(text);
    }
    client.close();
}

#[test]
fn section_8_1_text_may_be_cut_between_any_two_bytes_by_fragments() {
    let echo = Echo::start();
    let mut client = WebSocket::connect(echo.address);
    for text in texts() {
        for size in 1..=text.len() {
            client.send(fragments(TEXT, text.as_bytes(), size));
            client.expect(&text);
        }
        for at in 0..=text.len() {
            let (first, second) = text.as_bytes().split_at(at);
            // The ping is answered between the two parts of a character.
            client.send([frame(TEXT, first), frame(FINAL_PING, "between"), frame(FINAL, second)].concat());
            client.expect_frame(FINAL_PONG, "between");
            client.expect(&text);
        }
    }
    client.close();
}

#[test]
fn section_8_1_text_may_be_cut_between_any_two_octets_by_the_network() {
    let echo = Echo::start();
    let mut client = WebSocket::connect(echo.address);
    for text in TEXTS {
        client.send_in_pieces(&frame(FINAL_TEXT, text), 1);
        client.expect(text);
        client.send_in_pieces(&fragments(TEXT, text.as_bytes(), 1), 1);
        client.expect(text);
    }
    client.close();
}

#[test]
fn section_8_1_every_scalar_value_comes_back() {
    let echo = Echo::start();
    let mut client = WebSocket::connect(echo.address);
    let all: String = (0..=0x10_ffff).filter_map(char::from_u32).collect();
    client.send(frame(FINAL_TEXT, &all));
    client.expect(&all);
    // A length that is no multiple of a character's bytes.
    client.send(fragments(TEXT, all.as_bytes(), 4_093));
    client.expect(&all);
    client.close();
}
