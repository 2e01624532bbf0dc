//! One client's flood and the turns of the others. The server is stopped while both talk, so that it finds both at once
//! and who talked first is no question of time.

use harness::{Client, Lines, Program, Transport, WELCOME};

/// Lines of a flood.
const LINES: usize = 10_000;

/// Lines of the flood that may be executed before another client's: four turns, of which the first is unavoidable.
const AHEAD_MAX: usize = 4 * 64;

/// The same for commands that no shard has to answer.
const AHEAD_MAX_OF_ANSWERS: usize = 2 * 64;

/// A publisher and another member of one room, with outboxes that hold the whole flood.
fn open() -> (Program, Lines, Client) {
    let program = Program::start(&["--workers", "1", "--outbox-messages", "100000"]);
    let mut talker = Lines::connect(program.tcp);
    talker.send("NICK talker\nJOIN a\n");
    [WELCOME, "You are talker", "Joined a"].into_iter().for_each(|line| talker.expect(line));
    let other = Client::member(&program, Transport::Tcp, "a", "other");
    (program, talker, other)
}

#[test]
fn another_clients_line_comes_within_the_first_turns_of_ten_thousand_lines() {
    let (program, mut talker, mut other) = open();
    program.while_stopped(|| {
        let lines: String = (0..LINES).map(|number| format!("{number}\n")).collect();
        talker.send(lines);
        other.send("hello");
    });
    let mut ahead = None;
    for number in 0..LINES {
        let mut line = talker.line();
        if line == "[other] hello" {
            assert_eq!(ahead.replace(number), None);
            line = talker.line();
        }
        assert_eq!(line, format!("[talker] {number}"));
    }
    assert!(ahead.is_some_and(|lines| lines <= AHEAD_MAX), "{ahead:?} lines were ahead");
}

#[test]
fn another_client_is_served_within_ten_thousand_empty_lines() {
    let (program, talker, mut other) = open();
    for empty in ["\n", "\r\n"] {
        program.while_stopped(|| {
            talker.send(empty.repeat(LINES) + "done\n");
            other.send("hello");
            other.send("PING x");
        });
        ["[other] hello", "PONG x", "[talker] done"].into_iter().for_each(|line| other.expect(line));
        other.expect_nothing();
    }
}

#[test]
fn commands_that_wait_for_nobody_are_turns_like_all_others() {
    for command in ["JOIN a", "NICK talker", "WHO", "PING", "LIST"] {
        let (program, mut talker, mut other) = open();
        program.while_stopped(|| {
            talker.send(format!("{command}\n").repeat(LINES));
            other.send("hello");
        });
        let lines = std::iter::from_fn(|| talker.line_or_end());
        let ahead = lines.take_while(|line| line != "[other] hello").count();
        assert!(ahead <= AHEAD_MAX_OF_ANSWERS, "{command}: {ahead} lines were ahead");
        other.expect("[other] hello");
    }
}
