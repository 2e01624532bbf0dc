//! The decoder that splits a byte stream into lines.

use roomcast::protocol::lines::{DecodedLine, Line, LineDecoder, is_http, is_tls, next_line};

#[test]
fn lines_end_at_a_line_feed_and_lose_one_carriage_return() {
    let mut rest = &b"a\nbc\r\n\n\r\r\nrest"[..];
    let mut lines = Vec::new();
    while let Some(line) = next_line(rest, 0, 8).unwrap() {
        lines.push(line.bytes);
        rest = &rest[line.consumed..];
    }
    assert_eq!((lines, rest), (vec![&b"a"[..], b"bc", b"", b"\r"], &b"rest"[..]));
}

#[test]
fn a_line_of_the_limit_is_accepted_and_one_more_byte_is_not() {
    assert!(next_line(b"12345678\n", 0, 8).unwrap().is_some());
    assert!(next_line(b"12345678\r\n", 0, 8).unwrap().is_some());
    assert_eq!(next_line(b"12345678", 0, 8), Ok(None));
    let error = next_line(b"123456789\n", 0, 8).unwrap_err();
    assert_eq!(error.to_string(), "line of 9 bytes exceeds 8");
    let error = next_line(b"1234567890", 0, 8).unwrap_err();
    assert_eq!(error.to_string(), "line of 10 or more bytes exceeds 8");
}

#[test]
fn bytes_that_were_searched_are_not_searched_again() {
    assert_eq!(next_line(b"ab\ncd\n", 3, 8).unwrap().unwrap().bytes, b"ab\ncd");
    assert_eq!(next_line(b"ab\ncd", 3, 8), Ok(None));
    // The decoder does not search the first three bytes again, so it misses a line feed that the test puts there.
    let mut decoder = LineDecoder::new(8);
    assert_eq!(decoder.next(b"abc"), Ok(DecodedLine::More));
    assert_eq!(decoder.next(b"a\ncde"), Ok(DecodedLine::More));
    decoder.shorten(0);
    assert_eq!(decoder.next(b"a\ncde"), Ok(DecodedLine::Line(Line { bytes: b"a", consumed: 2 })));
}

#[test]
fn a_line_with_a_lone_carriage_return_is_refused_once_before_it_is_complete() {
    let mut decoder = LineDecoder::new(16);
    for (length, decoded) in [
        (1, DecodedLine::More),
        (2, DecodedLine::More),
        (3, DecodedLine::LoneReturn(1)),
        (4, DecodedLine::More),
        (5, DecodedLine::More),
        (6, DecodedLine::Refused(6)),
    ] {
        assert_eq!(decoder.next(&b"a\rb\rc\n"[..length]), Ok(decoded));
    }
    assert_eq!(decoder.next(b"ab\r"), Ok(DecodedLine::More), "it may be half of a line end");
    assert_eq!(decoder.next(b"ab\r\n"), Ok(DecodedLine::Line(Line { bytes: b"ab", consumed: 4 })));
    assert_eq!(decoder.next(b"ab\r\r"), Ok(DecodedLine::LoneReturn(2)));
    assert_eq!(decoder.next(b"ab\r\r\n"), Ok(DecodedLine::Refused(5)));
    // In a complete line, the parser rejects the lone carriage return, so the decoder need not.
    assert_eq!(decoder.next(b"a\rb\n"), Ok(DecodedLine::Line(Line { bytes: b"a\rb", consumed: 4 })));
}

#[test]
fn tls_and_http_are_other_protocols_and_chat_is_not() {
    assert!(is_tls(b"\x16\x03\x01"));
    assert!(!is_tls(b"") && !is_tls(b"a\x16"));
    assert!(is_http(b"GET / HTTP/1.1"));
    assert!(is_http(b"POST /a HTTP/1.0"));
    assert!(!is_http(b"I like HTTP/1.1"), "the first word is no method");
}
