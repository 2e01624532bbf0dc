//! Members whose messages are compressed, in one room with others.

use harness::deflate::compressed_text;
use harness::frame::{FINAL_TEXT, frame};
use harness::{Lines, WELCOME, WebSocket};
use roomcast::config::Size;

use crate::server::{Shape, TestServer};
use crate::websocket::member;

const WINDOWS: [&str; 3] = ["", "; server_max_window_bits=15", "; server_max_window_bits=9"];

/// A member whose messages are compressed.
#[track_caller]
fn deflating_member(server: &TestServer, parameters: &str, nick: &str) -> WebSocket {
    let mut client = WebSocket::connect_deflating(server.http, &format!("permessage-deflate{parameters}"));
    client.expect(WELCOME);
    client.send([compressed_text(format!("NICK {nick}")), frame(FINAL_TEXT, "JOIN a")].concat());
    client.expect(format!("You are {nick}"));
    client.expect("Joined a");
    client
}

#[test]
fn members_with_compression_of_every_window_and_without_it_hear_the_same_in_one_order() {
    for shape in Shape::ALL {
        let server = TestServer::plain(shape);
        let mut lines = Lines::connect(server.tcp);
        lines.expect(WELCOME);
        lines.send("NICK lin\nJOIN a\n");
        lines.expect("You are lin");
        lines.expect("Joined a");
        let mut plain = member(&server, "plain");
        let mut deflating = WINDOWS.map(|window| deflating_member(&server, window, "dee"));
        let text = "a long message, ".repeat(100);
        for round in 0..10 {
            lines.send(format!("{round} {text}\n"));
            let heard = format!("[lin] {round} {}", text);
            plain.expect(&heard);
            lines.expect(&heard);
            for client in &mut deflating {
                assert!(client.expect_compressed(&heard) < heard.len() / 2);
            }
            deflating[round % WINDOWS.len()].send(compressed_text(format!("{round}")));
            let heard = format!("[dee] {round}");
            lines.expect(&heard);
            plain.expect(&heard);
            deflating.iter_mut().for_each(|client| client.expect(&heard));
        }
    }
}

#[test]
fn what_is_shorter_than_the_setting_and_what_one_client_alone_gets_is_not_compressed() {
    let server = TestServer::start(Shape::ONE, |settings| settings.deflate_bytes = Size(100));
    let mut client = deflating_member(&server, "", "dee");
    let label = "[dee] ".len();
    client.send(frame(FINAL_TEXT, "x".repeat(99 - label)));
    client.expect(format!("[dee] {}", "x".repeat(99 - label)));
    client.send(frame(FINAL_TEXT, "x".repeat(100 - label)));
    client.expect_compressed(&format!("[dee] {}", "x".repeat(100 - label)));
    let token = "x".repeat(200);
    client.send(frame(FINAL_TEXT, format!("PING {token}")));
    client.expect(format!("PONG {token}"));
}

#[test]
fn a_compressed_message_is_held_to_the_limit_of_any_other() {
    let server = TestServer::start(Shape::ONE, |settings| settings.message_bytes = Size(1024));
    let mut bystander = member(&server, "bea");
    let mut client = deflating_member(&server, "", "dee");
    client.send(compressed_text("x".repeat(1000)));
    let heard = format!("[dee] {}", "x".repeat(1000));
    client.expect_compressed(&heard);
    bystander.expect(&heard);
    client.send(compressed_text("x".repeat(1025)));
    client.expect_failure(1009, "1025 bytes");
    bystander.fence();
}
