//! Limits for the number of rooms and their members: a client beyond a limit gets an error and stays where it is.

use harness::{Client, Transport};

use crate::server::{Shape, TestServer, contract};

#[test]
fn one_member_too_many_is_refused_and_stays_in_its_room() {
    contract(|shape, transport| {
        let server = TestServer::start(shape, |settings| settings.room_members = 2);
        let mut alice = Client::member(&server, transport, "a", "alice");
        let mut bob = Client::member(&server, transport, "a", "bob");
        let mut carol = Client::member(&server, transport, "b", "carol");
        let mut dan = Client::connect(&server, transport);
        for late in [&mut carol, &mut dan] {
            assert_eq!(late.request("JOIN a"), r#"ERR too-many members in "a": at most 2"#);
        }
        assert_eq!(carol.request("still here"), "[carol] still here");
        assert_eq!(dan.request("hello"), "Join a room first");
        alice.join("a");
        assert_eq!(alice.request("WHO"), r#"Members of a: ["alice", "bob"]"#);
        bob.leave();
        carol.join("a");
        assert_eq!(carol.request("hello"), "[carol] hello");
        assert_eq!(alice.fence(), ["[carol] hello"]);
        bob.expect_nothing();
        assert_eq!(alice.request("LIST"), r#"Rooms: ["a"]"#);
    });
}

#[test]
fn one_room_too_many_is_refused_over_all_shards_and_its_place_is_free_once_another_is_empty() {
    contract(|shape, transport| {
        let server = TestServer::start(shape, |settings| settings.rooms = 3);
        let mut members = ["a", "b", "c"].map(|room| Client::member(&server, transport, room, room));
        let mut late = Client::connect(&server, transport);
        for room in ["d", "e", "f", "g"] {
            let refused = format!("ERR too-many rooms for another, \"{room}\": at most 3");
            assert_eq!(late.request(&format!("JOIN {room}")), refused);
            assert_eq!(members[0].request(&format!("JOIN {room}")), refused);
        }
        assert_eq!(late.request("LIST"), r#"Rooms: ["a", "b", "c"]"#);
        assert_eq!(members[0].request("still here"), "[a] still here");
        late.join("a");
        members[1].join("c");
        late.join("d");
        assert_eq!(late.request("LIST"), r#"Rooms: ["a", "c", "d"]"#);
    });
}

#[test]
fn clients_that_change_rooms_for_ever_leave_no_seat_and_no_room_behind() {
    const ROUNDS: usize = 50;
    let server = TestServer::start(Shape::MANY, |settings| (settings.rooms, settings.room_members) = (3, 2));
    let mut clients: Vec<Client> = (0..6).map(|_| Client::connect(&server, Transport::Tcp)).collect();
    // All at once, so that several clients want the last free place.
    for round in 0..ROUNDS {
        for (number, client) in clients.iter_mut().enumerate() {
            client.send(&format!("JOIN r{}", (number * 7 + round * 5) % 11 % 4));
        }
        for client in &mut clients {
            let answer = client.line();
            assert!(answer.starts_with("Joined r") || answer.starts_with("ERR too-many "), "{answer}");
        }
    }
    clients.drain(..).for_each(|mut client| assert_eq!(client.request("QUIT"), "Bye"));
    let mut last = ["x", "y", "z"].map(|room| Client::member(&server, Transport::Tcp, room, room));
    assert_eq!(last[0].request("LIST"), r#"Rooms: ["x", "y", "z"]"#);
    let mut second = Client::member(&server, Transport::Tcp, "x", "second");
    assert_eq!(second.request("WHO"), r#"Members of x: ["second", "x"]"#);
}
