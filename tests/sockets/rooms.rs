//! Rooms and their lists.

use harness::{Blast, Client, Transport, Turn, at_once};

use crate::server::{Shape, TestServer, contract};

/// The most names in a list.
const LISTED: usize = 1_000;

#[test]
fn rooms_do_not_hear_each_other() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let rooms: Vec<String> = (0..8).map(|number| format!("room-{number}")).collect();
        let join = |room: &String| Client::member(&server, transport, room, room);
        let mut members: Vec<Client> = rooms.iter().map(join).collect();
        let mut outsider = Client::connect(&server, transport);
        for (member, room) in members.iter_mut().zip(&rooms) {
            assert_eq!(member.request("hello"), format!("[{room}] hello"));
        }
        members.iter_mut().for_each(Client::expect_nothing);
        outsider.expect_nothing();
    });
}

#[test]
fn a_list_is_sorted_over_all_shards() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut members = ["m", "b", "ä", "z", "a", "B", "k"].map(|room| Client::member(&server, transport, room, "x"));
        assert_eq!(members[0].request("LIST"), r#"Rooms: ["B", "a", "b", "k", "m", "z", "ä"]"#);
        members[3].leave();
        members[4].join("b");
        assert_eq!(members[0].request("LIST"), r#"Rooms: ["B", "b", "k", "m", "ä"]"#);
    });
}

#[test]
fn a_list_of_over_a_thousand_shows_the_first_thousand_and_counts_the_rest() {
    let _turn = Turn::take();
    at_once(Transport::ALL, |transport| {
        let server = TestServer::plain(Shape::MANY);
        let mut members: Vec<Client> = (0..LISTED).map(|_| Client::connect(&server, transport)).collect();
        for (number, member) in members.iter_mut().enumerate() {
            member.join(&format!("r{number:04}"));
        }
        let names: Vec<String> = (0..LISTED).map(|number| format!("\"r{number:04}\"")).collect();
        let names = names.join(", ");
        assert_eq!(members[0].request("LIST"), format!("Rooms: [{names}]"));
        let _last = Client::member(&server, transport, "r1000", "x");
        let _behind = Client::member(&server, transport, "z", "x");
        assert_eq!(members[0].request("LIST"), format!("Rooms: [{names}, \"… and 2 more\"]"));
        members[0].join("z");
        let rest = &names[names.find(' ').expect("a second name") + 1..];
        assert_eq!(members[0].request("LIST"), format!("Rooms: [{rest}, \"r1000\", \"… and 1 more\"]"));
    });
}

#[test]
fn who_of_over_a_thousand_shows_the_first_thousand_and_counts_the_rest() {
    let _turn = Turn::take();
    let server = TestServer::plain(Shape::MANY);
    let name = |number: usize| format!("m{number:04}");
    let join = |number| Client::member(&server, Transport::Tcp, "a", &name(number));
    let mut members: Vec<Client> = (0..LISTED + 3).rev().map(join).collect();
    let names: Vec<String> = (0..LISTED).map(|number| format!("\"{}\"", name(number))).collect();
    let who = format!("Members of a: [{}, \"… and 3 more\"]", names.join(", "));
    assert_eq!(members[0].request("WHO"), who);
}

#[test]
fn joining_the_room_one_is_in_changes_nothing() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut alice = Client::member(&server, transport, "a", "alice");
        let mut bob = Client::member(&server, transport, "a", "bob");
        alice.join("a");
        assert_eq!(alice.request("WHO"), r#"Members of a: ["alice", "bob"]"#);
        bob.send("once");
        assert_eq!(bob.fence(), ["[bob] once"]);
        assert_eq!(alice.fence(), ["[bob] once"]);
        alice.leave();
        assert_eq!(bob.request("WHO"), r#"Members of a: ["bob"]"#);
    });
}

#[test]
fn joining_another_room_leaves_the_first() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut alice = Client::member(&server, transport, "a", "alice");
        let mut bob = Client::member(&server, transport, "a", "bob");
        alice.join("b");
        assert_eq!(bob.request("WHO"), r#"Members of a: ["bob"]"#);
        assert_eq!(bob.request("hello"), "[bob] hello");
        alice.expect_nothing();
        assert_eq!(alice.request("hello"), "[alice] hello");
        bob.expect_nothing();
    });
}

#[test]
fn nothing_follows_left_room_while_others_publish_at_full_speed() {
    contract(|shape, transport| {
        let server = TestServer::start(shape, |settings| settings.outbox_messages = 1 << 20);
        let _publishers = [(); 2].map(|()| Blast::start(server.tcp, "busy"));
        let mut mover = Client::connect(&server, transport);
        for _ in 0..5 {
            mover.join("busy");
            mover.send("LEAVE");
            while mover.line() != "Left room" {}
            mover.expect_nothing();
        }
    });
}

#[test]
fn nothing_of_the_old_room_follows_joined_while_others_publish_at_full_speed() {
    contract(|shape, transport| {
        let server = TestServer::start(shape, |settings| settings.outbox_messages = 1 << 20);
        let _publishers = [(); 2].map(|()| Blast::start(server.tcp, "busy"));
        let mut mover = Client::connect(&server, transport);
        for round in 0..5 {
            mover.join("busy");
            let quiet = format!("quiet-{round}");
            mover.send(&format!("JOIN {quiet}"));
            while mover.line() != format!("Joined {quiet}") {}
            mover.expect_nothing();
        }
    });
}

#[test]
fn a_thousand_rooms_come_and_go_without_a_trace() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut client = Client::connect(&server, transport);
        for number in 0..1_000 {
            client.send(&format!("JOIN room-{number}"));
        }
        for number in 0..1_000 {
            client.expect(&format!("Joined room-{number}"));
        }
        assert_eq!(client.request("LIST"), r#"Rooms: ["room-999"]"#);
    });
}
