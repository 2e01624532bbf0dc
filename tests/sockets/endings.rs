//! Ends of connections: the member leaves, pending answers are written, and the last line says why.

use std::io::Write;
use std::net::Shutdown;
use std::thread::{self, JoinHandle};

use harness::{Centrifuge, Client, Lines, WELCOME};
use roomcast::config::Size;

use crate::server::{TestServer, contract};

/// The ways in which a client's connection ends.
#[derive(Clone, Copy, Debug)]
enum Ending {
    Quit,
    HalfClose,
    Close,
    Reset,
    CloseWithInputUnread,
    ShutdownOfBoth,
    ShutdownOfReadingThenClose,
}

impl Ending {
    const ALL: [Self; 7] = [
        Self::Quit,
        Self::HalfClose,
        Self::Close,
        Self::Reset,
        Self::CloseWithInputUnread,
        Self::ShutdownOfBoth,
        Self::ShutdownOfReadingThenClose,
    ];

    fn end(self, mut client: Lines) {
        match self {
            Self::Quit => {
                client.send("QUIT\n");
                assert_eq!(client.rest(), "Bye\n");
            }
            Self::HalfClose => {
                client.end_input();
                assert_eq!(client.rest(), "");
            }
            Self::Close => drop(client),
            Self::Reset => client.reset(),
            // The kernel answers bytes for a closed socket with a reset.
            Self::CloseWithInputUnread => client.send("unread\nPING x\nPING y\n"),
            Self::ShutdownOfBoth => client.stream().shutdown(Shutdown::Both).expect("an open socket"),
            Self::ShutdownOfReadingThenClose => client.stream().shutdown(Shutdown::Read).expect("an open socket"),
        }
    }
}

#[test]
fn a_member_leaves_exactly_once_however_its_connection_ends() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut watcher = Client::member(&server, transport, "a", "watcher");
        for ending in Ending::ALL {
            println!("{ending:?}");
            ending.end(member(&server, "goner"));
            watcher.request_until("WHO", r#"Members of a: ["watcher"]"#);
            // The next client, which gets the same slot, stays.
            let mut next = Client::member(&server, transport, "a", "next");
            watcher.send("still here?");
            assert_eq!(watcher.fence(), ["[watcher] still here?"]);
            assert_eq!(next.fence(), ["[watcher] still here?"]);
            assert_eq!(watcher.request("WHO"), r#"Members of a: ["next", "watcher"]"#);
            next.leave();
        }
        watcher.leave();
        assert_eq!(watcher.request("LIST"), "Rooms: []");
    });
}

fn member(server: &TestServer, nick: &str) -> Lines {
    enter(Lines::connect(server.tcp), nick)
}

/// A new client becomes a member of this name.
fn enter(mut client: Lines, nick: &str) -> Lines {
    client.send(format!("NICK {nick}\nJOIN a\n"));
    for line in [WELCOME, &format!("You are {nick}"), "Joined a"] {
        client.expect(line);
    }
    client
}

#[test]
fn clients_that_come_and_go_never_hear_what_was_meant_for_another() {
    const COMERS: usize = 4;
    const TIMES: usize = 30;
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut watcher = Client::member(&server, transport, "a", "watcher");
        let address = server.tcp;
        let come_and_go = |comer: usize| {
            thread::spawn(move || {
                for time in 0..TIMES {
                    let mut client = Lines::connect(address);
                    client.send(format!("JOIN {comer}-{time}\n{comer} {time}\nQUIT\n"));
                    let said = format!("[{}] {comer} {time}", client.label());
                    assert_eq!(client.rest(), format!("{WELCOME}\nJoined {comer}-{time}\n{said}\nBye\n"));
                }
            })
        };
        let comers: Vec<JoinHandle<()>> = (0..COMERS).map(come_and_go).collect();
        comers.into_iter().for_each(|comer| comer.join().unwrap());
        assert_eq!(watcher.request("LIST"), r#"Rooms: ["a"]"#);
        watcher.expect_nothing();
    });
}

#[test]
fn who_ends_its_input_behind_a_command_gets_the_answer() {
    contract(|shape, _| {
        let server = TestServer::plain(shape);
        for (said, heard) in [("LIST\n", "Rooms: []\n"), ("JOIN a\nWHO\nPING x\nLEAVE\n", ""), ("", "")] {
            let mut client = Lines::connect(server.tcp);
            client.send(said);
            client.end_input();
            let heard = match heard {
                "" if !said.is_empty() => {
                    format!("Joined a\nMembers of a: [\"{}\"]\nPONG x\nLeft room\n", client.label())
                }
                heard => heard.to_owned(),
            };
            assert_eq!(client.rest(), format!("{WELCOME}\n{heard}"));
        }
    });
}

#[test]
fn who_ends_its_input_behind_many_messages_gets_its_own_all_back() {
    const MESSAGES: usize = 2_000;
    contract(|shape, transport| {
        let server = TestServer::start(shape, |settings| settings.outbox_messages = 1 << 20);
        let mut other = Client::member(&server, transport, "a", "other");
        let mut client = member(&server, "alice");
        let text = "x".repeat(500);
        let said = format!("{text}\n").repeat(MESSAGES);
        let mut output = client.write_half();
        let write = thread::spawn(move || {
            output.write_all(said.as_bytes()).unwrap();
            output.shutdown(Shutdown::Write).unwrap();
        });
        let heard = format!("[alice] {text}");
        (0..MESSAGES).for_each(|_| client.expect(&heard));
        client.expect_end();
        (0..MESSAGES).for_each(|_| other.expect(&heard));
        write.join().unwrap();
        assert_eq!(other.request("WHO"), r#"Members of a: ["other"]"#);
    });
}

#[test]
fn who_ends_and_reads_at_last_gets_all_it_is_owed() {
    const MESSAGES: usize = 300;
    let text = "x".repeat(1_000);
    let said = format!("{text}\n").repeat(MESSAGES);
    let heard = format!("[alice] {text}\n").repeat(MESSAGES);
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut other = Client::member(&server, transport, "a", "other");
        for (last, answer) in [("", ""), ("QUIT\n", "Bye\n")] {
            let mut client = enter(Lines::connect_short_of_buffer(server.tcp), "alice");
            let mut watcher = Centrifuge::connect(server.http, None);
            client.send(format!("{said}{last}"));
            client.end_input();
            // In a thread of its own, since the other client may take longer to hear all than the second in which a
            // client that has ended must take something.
            let reading = thread::spawn(move || {
                watcher.until_members("a", 1);
                client.rest()
            });
            other.request_until("WHO", r#"Members of a: ["other"]"#);
            assert!(reading.join().expect("it is not cut") == format!("{heard}{answer}"));
        }
    });
}

/// Goes on writing megabytes, more than the kernel keeps for a server that has closed.
fn keep_writing(client: &Lines, first: Vec<u8>) -> JoinHandle<()> {
    client.write_half().keep_writing(first, vec![b'x'; 1 << 20], 4)
}

#[test]
fn an_over_long_line_is_refused_in_spite_of_megabytes_behind_it() {
    contract(|shape, _| {
        let server = TestServer::plain(shape);
        let mut client = Lines::connect(server.tcp);
        client.expect(WELCOME);
        let write = keep_writing(&client, Vec::new());
        let refusal = client.line();
        let bytes = refusal
            .strip_prefix("ERR too-long line of ")
            .and_then(|rest| rest.strip_suffix(" or more bytes exceeds 65536"))
            .unwrap_or_else(|| panic!("{refusal}"));
        let bytes: usize = bytes.parse().unwrap();
        assert!((65_537..=2 * 65_536).contains(&bytes), "no more than the limit and one read: {bytes}");
        client.expect("ERR closed too-long");
        client.expect_end();
        write.join().unwrap();
    });
}

#[test]
fn the_limit_of_a_line_is_a_setting() {
    contract(|shape, _| {
        let server = TestServer::start(shape, |settings| settings.message_bytes = Size(24));
        let mut client = member(&server, "alice");
        client.send("0123456789abcdef\r\n");
        client.expect("[alice] 0123456789abcdef");
        client.send("0123456789abcdefg\n");
        client.expect("ERR too-long message of 25 bytes with its label exceeds 24");
        client.send("0123456789abcdefghijklmno\nPING x\n");
        client.expect("ERR too-long line of 25 bytes exceeds 24");
        client.expect("ERR closed too-long");
        client.expect_end();
    });
}

#[test]
fn another_protocol_is_told_so_in_spite_of_megabytes_behind_it() {
    contract(|shape, _| {
        let server = TestServer::plain(shape);
        let foreign: [&[u8]; 5] = [
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
            b"POST /rooms HTTP/1.0\r\n",
            b"OPTIONS * HTTP/1.1\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
            b"\x16",
        ];
        for bytes in foreign {
            let mut client = Lines::connect(server.tcp);
            let write = keep_writing(&client, bytes.into());
            assert_eq!(client.rest(), format!("{WELCOME}\nERR closed protocol-error\n"));
            write.join().unwrap();
        }
    });
}

#[test]
fn what_only_looks_like_another_protocol_is_chat() {
    contract(|shape, _| {
        let server = TestServer::plain(shape);
        let mut client = member(&server, "alice");
        client.send("GET / HTTP/1.1\n");
        client.expect("[alice] GET / HTTP/1.1");
        let mut client = Lines::connect(server.tcp);
        client.send("I like HTTP/1.1\nQUIT\n");
        assert_eq!(client.rest(), format!("{WELCOME}\nJoin a room first\nBye\n"));
    });
}

#[test]
fn bye_arrives_in_spite_of_megabytes_behind_quit() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut other = Client::member(&server, transport, "a", "other");
        let mut client = member(&server, "alice");
        let write = keep_writing(&client, b"QUIT\nnever said\n".into());
        assert_eq!(client.rest(), "Bye\n");
        write.join().unwrap();
        other.expect_nothing();
    });
}
