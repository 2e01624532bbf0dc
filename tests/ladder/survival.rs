//! Hostile clients: none can stop an example, or take more from it than it may.

use std::io::{ErrorKind, Write};
use std::net::TcpStream;
use std::process::Stdio;

use harness::Lines;

use crate::example::{CONCURRENT, Example, LINE_BYTES_MAX, STAGES, command, expect_echo, join};

/// The example still serves a new client.
#[track_caller]
fn expect_serving(example: &Example) {
    drop(example.client());
}

#[test]
fn each_prints_one_line_with_the_address_on_which_it_listens() {
    for stage in STAGES {
        let example = Example::start(stage);
        assert_ne!(example.address.port(), 0);
        expect_serving(&example);
        assert_eq!(example.end(), [""; 0]);
    }
}

#[test]
fn an_address_in_use_or_none_at_all_ends_it_with_an_error() {
    for stage in STAGES {
        let example = Example::start(stage);
        for address in [&example.address.to_string(), "nowhere"] {
            let second = command(stage, address).stdout(Stdio::piped()).output().unwrap();
            assert_eq!((second.status.code(), second.stdout.as_slice()), (Some(1), &b""[..]), "{stage} on {address}");
        }
    }
}

#[test]
fn clients_that_disconnect_at_once_or_in_mid_line_do_no_harm() {
    for stage in STAGES {
        let example = Example::start(stage);
        for _ in 0..20 {
            drop(Lines::connect(example.address));
            Lines::connect(example.address).reset();
            let half = Lines::connect(example.address);
            half.send("half a li");
            half.reset();
            // Closes without having read the answers.
            Lines::connect(example.address).send("unread\n".repeat(100));
        }
        expect_serving(&example);
    }
}

#[test]
fn the_longest_line_is_taken_whole_and_a_longer_one_ends_its_client() {
    for stage in STAGES {
        let example = Example::start(stage);
        let longest = "x".repeat(LINE_BYTES_MAX);
        let mut client = if stage == "chat_rooms_locked" { example.member("a") } else { example.client() };
        client.send(format!("{longest}\n"));
        assert!(client.line().ends_with(&longest), "{stage}");
        client.send(format!("{longest}x"));
        assert_eq!(client.rest_if_not_reset(), "ERR too-long line exceeds 65536 bytes\n", "{stage}");
        expect_serving(&example);
    }
}

#[test]
fn out_of_descriptors_they_serve_whom_they_have_and_the_others_once_some_leave() {
    const DESCRIPTORS: u64 = 32;
    for stage in CONCURRENT {
        let example = Example::start(stage);
        let mut first = example.client();
        example.limit_descriptors(DESCRIPTORS);
        let others: Vec<Lines> = (0..DESCRIPTORS).map(|_| Lines::connect(example.address)).collect();
        let report = example.report();
        assert!(report.starts_with("cannot accept: "), "{stage}: {report}");
        first.send("LIST\n");
        assert!(["LIST", "Rooms: []"].contains(&&*first.line()), "{stage}");
        drop(others);
        expect_serving(&example);
    }
}

/// Writes lines until the kernel takes no more.
#[track_caller]
fn write_until_full(mut stream: &TcpStream) {
    stream.set_nonblocking(true).expect("an option");
    let lines = "to be echoed\n".repeat(1_000);
    let refused = std::iter::repeat_with(|| stream.write(lines.as_bytes())).find_map(Result::err);
    assert_eq!(refused.map(|error| error.kind()), Some(ErrorKind::WouldBlock));
}

#[test]
fn without_memory_for_a_thread_its_client_is_let_go_and_the_others_are_served() {
    let example = Example::start("echo_threaded");
    let mut first = example.client();
    example.while_short_of_memory(|| {
        let mut next = Lines::connect(example.address);
        let report = example.report();
        assert!(report.starts_with("cannot start a thread: "), "{report}");
        assert_eq!(next.rest_if_not_reset(), "");
        expect_echo(&mut first, "still here");
    });
    expect_serving(&example);
}

#[test]
fn an_echo_that_nobody_reads_holds_up_nobody_else() {
    let example = Example::start("echo_threaded");
    let deaf = example.client();
    write_until_full(deaf.stream());
    let mut other = example.client();
    expect_echo(&mut other, "hello");
}

/// Publishes more than a channel and the kernel buffer for a member that does not read, and reads all of it itself.
fn say_too_much(publisher: &mut Lines, messages: usize) {
    const AT_ONCE: usize = 20;
    let padding = "x".repeat(8 * 1024);
    for first in (0..messages).step_by(AT_ONCE) {
        for number in first..first + AT_ONCE {
            publisher.send(format!("{number} {padding}\n"));
        }
        for number in first..first + AT_ONCE {
            let said = format!("{number} {padding}");
            while !publisher.line().ends_with(&said) {}
        }
    }
}

#[test]
fn a_member_that_does_not_read_is_told_how_much_it_lost_and_holds_up_nobody() {
    const MESSAGES: usize = 3_000;
    for stage in ["chat_broadcast", "chat_rooms_locked"] {
        let example = Example::start(stage);
        let clients = [Lines::connect(example.address), Lines::connect_short_of_buffer(example.address)];
        let [mut publisher, mut deaf] = clients.map(|client| example.served(client));
        if stage == "chat_rooms_locked" {
            join(&mut publisher, "a");
            join(&mut deaf, "a");
        }
        say_too_much(&mut publisher, MESSAGES);
        let (mut heard, mut lost) = (0, 0);
        while heard + lost < MESSAGES {
            match deaf.line().strip_prefix("GAP ") {
                Some(missed) => lost += missed.parse::<usize>().unwrap(),
                None => heard += 1,
            }
        }
        assert!(lost > 0, "{stage}: the channel cannot have kept {MESSAGES}");
        assert_eq!(heard + lost, MESSAGES, "{stage}");
        expect_serving(&example);
    }
}
