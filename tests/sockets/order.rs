//! Order: of a room, of a sender, and of the answers. Nothing is lost behind a full mailbox.

use std::collections::HashMap;
use std::io::Write;
use std::thread::{self, JoinHandle};

use harness::{Client, Lines, Transport, WELCOME};

use crate::server::{Shape, TestServer, contract};

/// Enough clients that the kernel gives some to each worker.
const MEMBERS: usize = 16;

/// Members that publish.
const PUBLISHERS: usize = 4;

/// Messages of each publisher.
const MESSAGES: usize = 500;

#[test]
fn all_members_hear_one_order_and_each_sender_its_own() {
    contract(|shape, transport| publish_and_compare(shape, |_| transport));
}

#[test]
fn members_of_both_transports_hear_one_order_and_each_sender_its_own() {
    let either = |number| if number % 2 == 0 { Transport::Tcp } else { Transport::WebSocket };
    Shape::ALL.into_iter().for_each(|shape| publish_and_compare(shape, either));
}

fn publish_and_compare(shape: Shape, transport_of: impl Fn(usize) -> Transport) {
    let server = TestServer::start(shape, |settings| settings.outbox_messages = 1 << 20);
    let join = |number| Client::member(&server, transport_of(number), "a", &format!("m{number}"));
    let members: Vec<Client> = (0..MEMBERS).map(join).collect();
    let publish_and_hear = |(number, mut member): (usize, Client)| {
        thread::spawn(move || {
            let published = if number < PUBLISHERS { MESSAGES } else { 0 };
            (0..published).for_each(|message| member.send(&message.to_string()));
            (0..PUBLISHERS * MESSAGES).map(|_| member.line()).collect()
        })
    };
    let members: Vec<JoinHandle<Vec<String>>> = members.into_iter().enumerate().map(publish_and_hear).collect();
    let heard: Vec<Vec<String>> =
        members.into_iter().map(|member| member.join().expect("a member that hears all")).collect();
    for other in &heard {
        assert!(*other == heard[0], "two members heard different orders");
    }
    assert_in_order_of_each_sender(&heard[0], PUBLISHERS, MESSAGES);
}

/// Lines of the form `[sender] number`: each sender's from 0 up, none missing.
fn assert_in_order_of_each_sender(lines: &[String], senders: usize, messages: usize) {
    let mut next: HashMap<&str, usize> = HashMap::new();
    for line in lines {
        let (sender, number) = line.split_once("] ").expect("a label");
        let next = next.entry(sender).or_default();
        assert_eq!(number, next.to_string(), "of {sender}");
        *next += 1;
    }
    assert_eq!(next.len(), senders);
    assert!(next.values().all(|&count| count == messages), "{next:?}");
}

#[test]
fn a_full_mailbox_loses_nothing() {
    // More publishers than fit a shard's mailbox, at 64 lines a turn.
    const BLASTING: usize = 24;
    const EACH: usize = 250;
    contract(|shape, transport| {
        let server = TestServer::start(shape, |settings| settings.outbox_messages = 1 << 20);
        let mut reader = Client::member(&server, transport, "a", "reader");
        let publishers: Vec<_> = (0..BLASTING).map(|_| joined(&server, "a")).collect();
        let threads: Vec<_> = publishers.into_iter().flat_map(|member| blast(member, EACH)).collect();
        let heard: Vec<String> = (0..BLASTING * EACH).map(|_| reader.line()).collect();
        assert_in_order_of_each_sender(&heard, BLASTING, EACH);
        reader.expect_nothing();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

fn joined(server: &TestServer, room: &str) -> Lines {
    let mut member = Lines::connect(server.tcp);
    member.expect(WELCOME);
    member.send(format!("JOIN {room}\n"));
    member.expect(&format!("Joined {room}"));
    member
}

/// Publishes numbers as fast as it can on one thread and reads all that comes on another.
fn blast(mut member: Lines, messages: usize) -> [JoinHandle<()>; 2] {
    let mut output = member.write_half();
    let write = thread::spawn(move || {
        let numbers: String = (0..messages).map(|number| format!("{number}\n")).collect();
        let said = format!("{numbers}QUIT\n");
        output.write_all(said.as_bytes()).expect("a server that reads");
    });
    let read = thread::spawn(move || assert!(member.rest().ends_with("Bye\n")));
    [write, read]
}

#[test]
fn replies_come_in_command_order() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut client = Client::connect(&server, transport);
        let said_and_heard = [
            ("JOIN a", "Joined a"),
            ("LEAVE", "Left room"),
            ("LEAVE", "Join a room first"),
            ("JOIN a", "Joined a"),
            ("NICK bob", "You are bob"),
            ("WHO", r#"Members of a: ["bob"]"#),
            ("LIST", r#"Rooms: ["a"]"#),
            ("PING 1", "PONG 1"),
            ("JOIN b", "Joined b"),
            ("JOIN", "ERR unknown JOIN needs a room: JOIN <room>"),
            ("JOIN b", "Joined b"),
            ("LIST", r#"Rooms: ["b"]"#),
            ("LEAVE", "Left room"),
            ("hello", "Join a room first"),
            ("LIST", "Rooms: []"),
        ];
        for _ in 0..20 {
            said_and_heard.iter().for_each(|(line, _)| client.send(line));
            said_and_heard.iter().for_each(|(_, answer)| client.expect(answer));
        }
        client.expect_nothing();
    });
}

#[test]
fn commands_in_one_write_are_answered_to_the_byte() {
    contract(|shape, _| {
        let server = TestServer::plain(shape);
        for (said, heard) in [
            ("JOIN a\nLEAVE\nLEAVE\nQUIT\n", "Joined a\nLeft room\nJoin a room first\nBye\n"),
            ("PING x\nQUIT\n", "PONG x\nBye\n"),
            ("JOIN a\nPING x\nQUIT\nPING y\n", "Joined a\nPONG x\nBye\n"),
        ] {
            let mut client = Lines::connect(server.tcp);
            client.send(said);
            assert_eq!(client.rest(), format!("{WELCOME}\n{heard}"));
        }
    });
}

#[test]
fn a_fence_travels_behind_the_messages_of_its_room() {
    let server = TestServer::start(Shape::MANY, |settings| settings.outbox_messages = 1 << 20);
    let mut members = [(); MEMBERS].map(|()| Client::member(&server, Transport::Tcp, "a", "x"));
    for round in 0..50 {
        for message in 0..20 {
            members[round % MEMBERS].send(&message.to_string());
        }
        let own = members[round % MEMBERS].fence();
        assert_eq!(own.len(), 20);
        for (number, member) in members.iter_mut().enumerate() {
            let expected = if number == round % MEMBERS { 0 } else { 20 };
            assert_eq!(member.fence().len(), expected, "round {round}");
        }
    }
}
