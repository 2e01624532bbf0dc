//! Stage 3: every client gets every line, the sender too, byte for byte.

use std::sync::Barrier;
use std::thread;

use harness::Lines;

use crate::example::Example;

/// Connects this many clients, which get all lines from now on.
fn clients(example: &Example, count: usize) -> Vec<Lines> {
    let mut clients: Vec<Lines> = (0..count).map(|_| example.client()).collect();
    fence(&mut clients);
    clients
}

/// Waits until every client has read everything that was sent before.
fn fence(clients: &mut [Lines]) {
    clients[0].send("fence\n");
    for client in clients {
        while client.line() != "fence" {}
    }
}

#[test]
fn every_client_the_sender_too_gets_each_message() {
    let example = Example::start("chat_broadcast");
    let mut clients = clients(&example, 3);
    for sender in 0..clients.len() {
        let said = format!("hello from {sender}");
        clients[sender].send(format!("{said}\n"));
        clients.iter_mut().for_each(|client| client.expect(&said));
    }
}

#[test]
fn lines_are_delivered_as_they_came() {
    let example = Example::start("chat_broadcast");
    let mut clients = clients(&example, 2);
    for line in [&b"\n"[..], b"JOIN a\n", b"  two  blanks \r\n", b"\0\x1b[31m\xff\xfe\n", "日本\n".as_bytes()] {
        clients[0].send(line);
        clients.iter_mut().for_each(|client| client.expect_bytes(line));
    }
}

#[test]
fn a_hundred_connect_at_once_and_hear_each_other_in_one_order() {
    const CLIENTS: usize = 100;
    let example = Example::start("chat_broadcast");
    let all_are_there = Barrier::new(CLIENTS);
    let talk = |number: usize| {
        let mut client = example.client();
        all_are_there.wait();
        client.send(format!("said by {number}\n"));
        let lines = std::iter::repeat_with(|| client.line());
        lines.filter(|line| line.starts_with("said")).take(CLIENTS).collect::<Vec<String>>()
    };
    let heard: Vec<Vec<String>> = thread::scope(|scope| {
        let talking: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || talk(number))).collect();
        talking.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert!(heard.iter().all(|lines| *lines == heard[0]), "one order for everybody");
    let mut once_each = heard[0].clone();
    once_each.sort_unstable();
    once_each.dedup();
    assert_eq!(once_each.len(), CLIENTS);
}

#[test]
fn after_an_abrupt_disconnect_others_still_connect_and_talk() {
    let example = Example::start("chat_broadcast");
    let mut clients = clients(&example, 3);
    let gone = clients.pop().unwrap();
    gone.send("half a li");
    gone.reset();
    clients.push(example.client());
    fence(&mut clients);
    clients[2].send("I am new\n");
    clients.iter_mut().for_each(|client| client.expect("I am new"));
}

#[test]
fn who_ends_the_input_gets_what_was_said_before_and_the_end() {
    let example = Example::start("chat_broadcast");
    let mut client = example.client();
    client.send("one\ntwo\nhalf");
    client.end_input();
    assert_eq!(client.rest_if_not_reset(), "one\ntwo\n");
}
