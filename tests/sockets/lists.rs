//! Lists that are asked for without end: they may be a moment old then, but never lack what the asker itself has done.

use crate::harness::{Client, Shape, TestServer, Transport, Turn};

/// Asked for a hundred times within a tenth of a second, these are more names than a shard lists anew.
const ROOMS: usize = 400;

/// How often.
const ASKED: usize = 100;

#[test]
fn who_joins_finds_its_room_in_every_list_and_in_the_end_everybody_does() {
    let _turn = Turn::take();
    for shape in Shape::ALL {
        let server = TestServer::plain(shape);
        let join = |number| Client::member(&server, Transport::Tcp, &format!("r{number:03}"), "x");
        let members: Vec<Client> = (0..ROOMS).map(join).collect();
        let mut other = Client::connect(&server, Transport::WebSocket);
        let mut restless = Client::connect(&server, Transport::Tcp);
        for number in 0..ASKED {
            restless.join(&format!("own-{number}"));
            let list = restless.ask("LIST");
            assert!(list.contains(&format!("\"own-{number}\"")), "{list}");
            assert!(list.contains("\"r000\", \"r001\"") && list.contains("\"r399\"]"), "{list}");
        }
        drop(members);
        other.ask_until("LIST", &format!("Rooms: [\"own-{}\"]", ASKED - 1));
    }
}

#[test]
fn who_takes_a_name_finds_it_in_every_list_of_its_room() {
    let _turn = Turn::take();
    for shape in Shape::ALL {
        let server = TestServer::plain(shape);
        let join = |number| Client::member(&server, Transport::Tcp, "a", &format!("m{number:03}"));
        let members: Vec<Client> = (0..ROOMS).map(join).collect();
        let mut restless = Client::member(&server, Transport::WebSocket, "a", "own");
        for number in 0..ASKED {
            restless.name(&format!("own-{number}"));
            let list = restless.ask("WHO");
            assert!(list.contains(&format!("\"own-{number}\"")), "{list}");
            assert!(list.contains("\"m000\", \"m001\"") && list.contains("\"m399\""), "{list}");
        }
        drop(members);
        restless.ask_until("WHO", &format!("Members of a: [\"own-{}\"]", ASKED - 1));
    }
}
