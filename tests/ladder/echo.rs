//! Stages 1 and 2: every line comes back to its sender, byte for byte.

use std::fs;
use std::sync::Barrier;
use std::thread;

use crate::echo_threaded::CLIENTS_MAX;
use harness::{Lines, until};

use crate::example::{ECHOES, Example, LINE_BYTES_MAX, expect_echo};

#[test]
fn one_line_is_echoed_exactly() {
    for stage in ECHOES {
        let example = Example::start(stage);
        let mut client = example.client();
        for line in [&b"hello\n"[..], b"\n", b"  two  blanks \r\n", b"\0\x1b[31m\xff\xfe\n", "grüße, 日本\n".as_bytes()]
        {
            client.send(line);
            client.expect_bytes(line);
        }
    }
}

#[test]
fn three_lines_sent_at_once_are_echoed_as_three() {
    for stage in ECHOES {
        let example = Example::start(stage);
        let mut client = example.client();
        client.send("one\ntwo\nthree\n");
        assert_eq!([client.line(), client.line(), client.line()], ["one", "two", "three"]);
    }
}

#[test]
fn a_line_is_one_however_it_is_cut() {
    for stage in ECHOES {
        let example = Example::start(stage);
        let mut client = example.client();
        b"one\ntwo\n".chunks(1).for_each(|byte| client.send(byte));
        assert_eq!([client.line(), client.line()], ["one", "two"]);
    }
}

#[test]
fn who_ends_the_input_gets_what_was_said_as_lines_and_the_end() {
    for stage in ECHOES {
        let example = Example::start(stage);
        let mut client = example.client();
        client.send("whole\nhalf");
        client.end_input();
        assert_eq!(client.rest_if_not_reset(), "whole\n");
    }
}

#[test]
fn who_comes_second_to_stage_one_is_served_once_the_first_has_gone() {
    let example = Example::start("echo_blocking");
    let mut first = example.client();
    let mut second = Lines::connect(example.address);
    second.send("second\n");
    expect_echo(&mut first, "first");
    second.stream().set_nonblocking(true).unwrap();
    assert!(second.stream().peek(&mut [0]).is_err(), "nobody reads the second yet");
    second.stream().set_nonblocking(false).unwrap();
    drop(first);
    second.expect("second");
}

#[test]
fn three_clients_at_once_each_get_their_own_line() {
    let example = Example::start("echo_threaded");
    let mut clients = [(); 3].map(|()| example.client());
    for (number, client) in clients.iter().enumerate() {
        client.send(format!("line {number}\n"));
    }
    for (number, client) in clients.iter_mut().enumerate() {
        client.expect(&format!("line {number}"));
    }
}

#[test]
fn an_idle_client_does_not_hold_up_another() {
    let example = Example::start("echo_threaded");
    let mut idle = Lines::connect(example.address);
    expect_echo(&mut example.client(), "hello");
    expect_echo(&mut idle, "still here");
}

#[test]
fn fifty_threads_each_get_their_own_echo() {
    const THREADS: usize = 50;
    let example = Example::start("echo_threaded");
    let all_are_there = Barrier::new(THREADS);
    thread::scope(|scope| {
        for number in 0..THREADS {
            let (example, all_are_there) = (&example, &all_are_there);
            scope.spawn(move || {
                let mut client = example.client();
                all_are_there.wait();
                (0..20).for_each(|line| expect_echo(&mut client, &format!("{number}: {line}")));
            });
        }
    });
}

#[test]
fn the_first_client_without_a_place_is_told_so_and_one_that_leaves_gives_its_place_to_another() {
    let example = Example::start("echo_threaded");
    let mut clients: Vec<Lines> = (0..CLIENTS_MAX).map(|_| example.client()).collect();
    let mut refused = Lines::connect(example.address);
    assert_eq!(refused.rest_if_not_reset(), "ERR closed too-many-connections\n");
    clients.pop();
    until(|| {
        let mut next = Lines::connect(example.address);
        next.end_input();
        next.rest_if_not_reset().is_empty()
    });
    expect_echo(&mut clients[0], "still here");
    // Resets leave no port in TIME_WAIT.
    clients.into_iter().for_each(Lines::reset);
}

#[test]
fn stage_two_has_the_handler_and_the_limit_of_stage_one() {
    let [first, second] = ECHOES.map(|stage| {
        let path = format!("{}/examples/{stage}.rs", env!("CARGO_MANIFEST_DIR"));
        let text = fs::read_to_string(path).unwrap();
        text[text.find("/// Writes every line back").expect("the handler")..].to_owned()
    });
    assert_eq!(first, second);
    assert_eq!(crate::echo_threaded::LINE_BYTES_MAX, LINE_BYTES_MAX);
}
