//! Requests that two servers may read in two ways: each gets one answer, and what is behind it is never executed, plain
//! and over TLS.

use std::io::Read;

use harness::{Http, at_once};

use crate::server::{Shape, TestServer};

/// A request behind each of these: it must not be answered.
const BEHIND: &str = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// A body that is answered with 404 where it is read whole, and with 400 where it is cut.
const BODY: &str = r#"{"session":"","node":"","data":"{}"}"#;

const SHAPES: [Shape; 2] = [Shape::ONE, Shape::ONE.over_tls()];

/// A request with a body.
fn post(headers: &str, body: &str) -> String {
    format!("POST /emulation HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n{body}")
}

fn get(headers: &str) -> String {
    format!("GET /health HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n")
}

fn length(length: &str) -> String {
    post(&format!("Content-Length: {length}\r\n"), BODY)
}

fn chunked(body: &str) -> String {
    post("Transfer-Encoding: chunked\r\n", body)
}

fn coding(coding: &str) -> String {
    post(&format!("Transfer-Encoding: {coding}\r\n"), &whole())
}

/// The body in one chunk.
fn whole() -> String {
    format!("{:x}\r\n{BODY}\r\n0\r\n\r\n", BODY.len())
}

/// The statuses of all answers up to the end, which the server makes.
fn statuses(server: &TestServer, bytes: &str) -> Vec<String> {
    let client = Http::connect(server.http);
    client.send(bytes);
    let mut heard = Vec::new();
    client.into_stream().read_to_end(&mut heard).expect("the end");
    let heard = String::from_utf8_lossy(&heard);
    heard.split("HTTP/1.").skip(1).map(|answer| answer[2..5].to_owned()).collect()
}

#[track_caller]
fn expect_one_answer(rows: &[(String, u16)]) {
    at_once(SHAPES, |shape| {
        let server = TestServer::plain(shape);
        for (request, status) in rows {
            let found = statuses(&server, &[request.as_str(), BEHIND].concat());
            assert_eq!(found, [status.to_string()], "{request:?}");
        }
    });
}

#[test]
fn the_length_of_a_body_is_a_number_that_is_said_once_or_twice_the_same() {
    let wrong = ["+36", "3 6", "36, 36", "36,37", "-1", "0x24", "", "1e1", "36;", "99999999999999999999"];
    let mut rows: Vec<(String, u16)> = wrong.map(|wrong| (length(wrong), 400)).into();
    let right = BODY.len();
    rows.push((length(&format!("{right}\r\nContent-Length: {right}")), 404));
    rows.push((length(&format!("{right}\r\nContent-Length: 0")), 400));
    rows.push((length(&format!("0\r\nContent-Length: {right}")), 400));
    expect_one_answer(&rows);
}

#[test]
fn a_length_beside_chunks_does_not_count_and_the_connection_ends() {
    let right = BODY.len();
    expect_one_answer(&[
        (post(&format!("Content-Length: {right}\r\nTransfer-Encoding: chunked\r\n"), &whole()), 404),
        (post("Transfer-Encoding: chunked\r\nContent-Length: 4\r\n", &whole()), 404),
        (format!("{}0\r\n\r\n", get("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n")), 200),
        (format!("{}0\r\n\r\n", get("Transfer-Encoding: chunked\r\nContent-Length: 50\r\n")), 200),
    ]);
}

#[test]
fn chunked_is_the_only_transfer_coding_and_stands_once() {
    let rows = [
        ("chunked", 404),
        ("CHUNKED", 404),
        ("identity", 400),
        ("xchunked", 400),
        ("chunked, identity", 400),
        ("chunked;a=b", 400),
        ("", 400),
        ("\"chunked\"", 400),
        ("gzip, chunked", 501),
        ("chunked, chunked", 501),
        (", chunked", 501),
        ("chunked\r\nTransfer-Encoding: chunked", 501),
        ("chunked\r\nTransfer-Encoding: identity", 400),
        ("identity\r\nTransfer-Encoding: chunked", 501),
    ];
    let mut rows: Vec<(String, u16)> = rows.map(|(value, status)| (coding(value), status)).into();
    rows.push((coding("chunked").replace("HTTP/1.1", "HTTP/1.0"), 400));
    expect_one_answer(&rows);
}

#[test]
fn a_chunk_has_a_length_in_hexadecimal_digits_and_whole_line_ends() {
    let size = format!("{:x}", BODY.len());
    let rows = [
        (format!("{size};a=b;c=\"d\"\r\n{BODY}\r\n0\r\n\r\n"), 404),
        (format!("000000{size}\r\n{BODY}\r\n0\r\n\r\n"), 404),
        (format!("{size}\n{BODY}\r\n0\r\n\r\n"), 400),
        (format!("{size}\r\n{BODY}\n0\r\n\r\n"), 400),
        (format!("{size};a\n{BODY}\r\n0\r\n\r\n"), 400),
        (format!("{size}\r{BODY}\r\n0\r\n\r\n"), 400),
        (format!("0x{size}\r\n{BODY}\r\n0\r\n\r\n"), 400),
        (format!("+{size}\r\n{BODY}\r\n0\r\n\r\n"), 400),
        (format!("-{size}\r\n{BODY}\r\n0\r\n\r\n"), 400),
        (format!(" {size}\r\n{BODY}\r\n0\r\n\r\n"), 400),
        (format!("\r\n{BODY}\r\n0\r\n\r\n"), 400),
        (format!(";a\r\n{BODY}\r\n0\r\n\r\n"), 400),
        (format!("fffffffffffffffff\r\n{BODY}\r\n0\r\n\r\n"), 400),
        (format!("100000000000000{size}\r\n{BODY}\r\n0\r\n\r\n"), 400),
        (format!("{size}\r\n{BODY}x\r\n0\r\n\r\n"), 400),
        (format!("{size};{}\r\n{BODY}\r\n0\r\n\r\n", "x".repeat(20_000)), 400),
        (format!("{size}\r\n{BODY}\r\n0\r\nX: {}\r\n\r\n", "x".repeat(20_000)), 400),
    ];
    expect_one_answer(&rows.map(|(body, status)| (chunked(&body), status)));
}

#[test]
fn a_header_is_one_line_with_a_name_a_colon_and_no_control_characters() {
    let wrong = ["X-A: b\r\n c", "X-A: b\r\n\tc", "X-A : b", "Content-Length : 5", " X-A: b", ": b", "X A: b", "X-A"];
    let control = ["X-A: a\0b", "X-A: a\rb", "X-A: a\x0bb", "X\0A: b", "X-A\r: b", "X-A: a\x7fb"];
    let rows: Vec<_> = wrong.iter().chain(&control).map(|wrong| (get(&format!("{wrong}\r\n")), 400)).collect();
    expect_one_answer(&rows);
}

#[test]
fn a_request_line_has_a_method_a_target_and_version_1_0_or_1_1() {
    let lines = [
        "GET /health",
        "GET /health HTTP/0.9",
        "GET /health HTTP/1.2",
        "GET /health HTTP/2.0",
        "GET /health HTTP/11",
        "GET /health http/1.1",
        "GET  /health HTTP/1.1",
        "GET /health  HTTP/1.1",
        "GET /health HTTP/1.1 ",
        "GET\t/health HTTP/1.1",
        "GET health HTTP/1.1",
        "GET /he\0alth HTTP/1.1",
        "G(T /health HTTP/1.1",
        " GET /health HTTP/1.1",
    ];
    expect_one_answer(&lines.map(|line| (format!("{line}\r\nHost: localhost\r\n\r\n"), 400)));
}

#[test]
fn a_request_names_one_host_in_its_target_and_its_header() {
    let to = |target: &str, host: &str| format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    let host = |host: &str| to("/health", host);
    expect_one_answer(&[
        (to("http://localhost/health", "localhost"), 200),
        (to("http://LOCALHOST:3000/health", "localhost:3000"), 200),
        (to("http://evil.example/health", "localhost"), 400),
        (to("http://localhost:1/health", "localhost:2"), 400),
        (to("http://localhost@evil.example/health", "localhost"), 400),
        (host("[::1]:3000"), 200),
        (host(""), 200),
        (host("a b"), 400),
        (host("a, b"), 400),
        (host("a/b"), 400),
        (host("user@localhost"), 400),
        (host("a:b:c"), 400),
    ]);
}

#[test]
fn a_head_with_two_thousand_headers_is_too_large() {
    let many: String = (0..2_000).map(|number| format!("X-{number}: a\r\n")).collect();
    expect_one_answer(&[(get(&many), 431), (get(&format!("X: {}\r\n", "x".repeat(16 * 1024))), 431)]);
}
