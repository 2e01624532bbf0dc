//! Stage 4: lines stay in their room. The tests of the data structure are in the example.

use harness::{Lines, WELCOME, until};

use crate::example::Example;

/// Sends a line and returns the next one that comes.
#[track_caller]
fn ask(client: &mut Lines, line: &str) -> String {
    client.send(format!("{line}\n"));
    client.line()
}

/// A member's line as its room gets it.
fn said(by: &Lines, text: &str) -> String {
    format!("[{}] {text}", by.label())
}

#[test]
fn two_in_a_room_hear_each_other_and_a_third_elsewhere_does_not() {
    let example = Example::start("chat_rooms_locked");
    let [mut first, mut second] = [(); 2].map(|()| example.member("a"));
    let mut elsewhere = example.member("b");
    first.send("hello\n");
    let hello = said(&first, "hello");
    first.expect(&hello);
    second.expect(&hello);
    second.send("hello yourself\n");
    let hello = said(&second, "hello yourself");
    first.expect(&hello);
    second.expect(&hello);
    // Its own line is the first that it gets.
    elsewhere.send("alone\n");
    let alone = said(&elsewhere, "alone");
    elsewhere.expect(&alone);
    assert_eq!(ask(&mut first, "LIST"), r#"Rooms: ["a", "b"]"#);
}

#[test]
fn joining_another_room_leaves_the_first_and_joining_the_same_changes_nothing() {
    let example = Example::start("chat_rooms_locked");
    let mut mover = example.member("a");
    let mut stayer = example.member("a");
    assert_eq!(ask(&mut mover, "JOIN a"), "Joined a");
    mover.send("here\nJOIN b\nthere\nLIST\n");
    let [here, there] = ["here", "there"].map(|text| said(&mover, text));
    for line in [&here, "Joined b", &there, r#"Rooms: ["a", "b"]"#] {
        mover.expect(line);
    }
    stayer.expect(&here);
    assert_eq!(ask(&mut stayer, "LEAVE"), "Left room");
    assert_eq!(ask(&mut stayer, "LIST"), r#"Rooms: ["b"]"#);
}

#[test]
fn an_answer_comes_behind_everything_that_was_said_before() {
    const TURNS: usize = 100;
    let example = Example::start("chat_rooms_locked");
    let mut client = example.member("a");
    let hello = said(&client, "hello");
    client.send("hello\nLIST\n".repeat(TURNS));
    client.send("hello\nLEAVE\n");
    for _ in 0..TURNS {
        client.expect(&hello);
        client.expect(r#"Rooms: ["a"]"#);
    }
    client.expect(&hello);
    client.expect("Left room");
}

#[test]
fn however_the_last_member_goes_its_room_goes_with_it() {
    let example = Example::start("chat_rooms_locked");
    let mut watcher = example.client();
    let mut leaver = example.member("a");
    assert_eq!(ask(&mut leaver, "LEAVE"), "Left room");
    assert_eq!(ask(&mut watcher, "LIST"), "Rooms: []");
    example.member("b").end_input();
    until(|| ask(&mut watcher, "LIST") == "Rooms: []");
    example.member("c").reset();
    until(|| ask(&mut watcher, "LIST") == "Rooms: []");
}

#[test]
fn who_is_in_no_room_is_told_to_join_one() {
    let example = Example::start("chat_rooms_locked");
    let mut client = example.client();
    for line in ["hello", "LEAVE", "LIST of things", "join a"] {
        assert_eq!(ask(&mut client, line), "Join a room first");
    }
}

#[test]
fn who_ends_the_input_gets_the_answers_and_the_end() {
    let example = Example::start("chat_rooms_locked");
    let mut client = Lines::connect(example.address);
    client.send("JOIN a\nhello\n\n  \r\nLIST\r\nLEAVE  \nhalf");
    client.end_input();
    let hello = said(&client, "hello");
    assert_eq!(client.rest_if_not_reset(), format!("{WELCOME}\nJoined a\n{hello}\nRooms: [\"a\"]\nLeft room\n"));
}

#[test]
fn what_is_no_text_or_no_name_is_refused_and_the_conversation_goes_on() {
    let example = Example::start("chat_rooms_locked");
    let mut client = example.member("a");
    let long = format!("JOIN {}\n", "x".repeat(129));
    let refused: [(&[u8], &str); 6] = [
        (b"\xff\xfe\n", "ERR not-utf8 lines are UTF-8"),
        (b"a\x1b[31m\n", "ERR control-character none but tab is allowed"),
        (b"a\rb\n", "ERR control-character none but tab is allowed"),
        (b"JOIN\n", "ERR unknown JOIN needs a room: JOIN <room>"),
        (b"JOIN a b\n", "ERR room-name 1 to 128 bytes, no spaces or control characters"),
        (long.as_bytes(), "ERR room-name 1 to 128 bytes, no spaces or control characters"),
    ];
    for (line, answer) in refused {
        client.send(line);
        client.expect(answer);
    }
    assert_eq!(ask(&mut client, "LIST"), r#"Rooms: ["a"]"#);
}
