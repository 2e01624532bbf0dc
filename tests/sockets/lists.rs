//! Listings that are requested very often: they may be a moment old, but always contain what the client itself has
//! done.

use harness::{Client, Transport, Turn};
use roomcast::config::Size;

use crate::server::{Shape, TestServer};

/// More names than a shard lists again for each of a hundred requests within a tenth of a second.
const ROOMS: usize = 400;

/// Requests for a listing.
const ASKED: usize = 100;

#[test]
fn who_joins_finds_its_room_in_every_list_and_in_the_end_everybody_does() {
    let _turn = Turn::take();
    for shape in [Shape::ONE, Shape::MANY] {
        let server = TestServer::plain(shape);
        let join = |number| Client::member(&server, Transport::Tcp, &format!("r{number:03}"), "x");
        let members: Vec<Client> = (0..ROOMS).map(join).collect();
        let mut other = Client::connect(&server, Transport::WebSocket);
        let mut restless = Client::connect(&server, Transport::Tcp);
        for number in 0..ASKED {
            restless.join(&format!("own-{number}"));
            let list = restless.request("LIST");
            assert!(list.contains(&format!("\"own-{number}\"")), "{list}");
            assert!(list.contains("\"r000\", \"r001\"") && list.contains("\"r399\"]"), "{list}");
        }
        drop(members);
        other.request_until("LIST", &format!("Rooms: [\"own-{}\"]", ASKED - 1));
    }
}

#[test]
fn who_takes_a_name_finds_it_in_every_list_of_its_room() {
    let _turn = Turn::take();
    for shape in [Shape::ONE, Shape::MANY] {
        let server = TestServer::plain(shape);
        let join = |number| Client::member(&server, Transport::Tcp, "a", &format!("m{number:03}"));
        let members: Vec<Client> = (0..ROOMS).map(join).collect();
        let mut restless = Client::member(&server, Transport::WebSocket, "a", "own");
        for number in 0..ASKED {
            restless.name(&format!("own-{number}"));
            let list = restless.request("WHO");
            assert!(list.contains(&format!("\"own-{number}\"")), "{list}");
            assert!(list.contains("\"m000\", \"m001\"") && list.contains("\"m399\""), "{list}");
        }
        drop(members);
        restless.request_until("WHO", &format!("Members of a: [\"own-{}\"]", ASKED - 1));
    }
}

#[test]
fn a_list_of_long_names_stays_within_the_longest_line_and_counts_the_rest() {
    const MEMBERS: usize = 30;
    const NAME_BYTES: usize = 64;
    let _turn = Turn::take();
    for shape in [Shape::ONE, Shape::MANY] {
        let server = TestServer::start(shape, |settings| settings.message_bytes = Size(1024));
        let name = |number: usize| format!("{number:02}{}", "n".repeat(NAME_BYTES - 2));
        let members: Vec<Client> =
            (0..MEMBERS).map(|number| Client::member(&server, Transport::Tcp, &name(number), &name(number))).collect();
        let mut others: Vec<Client> =
            (0..MEMBERS).map(|number| Client::member(&server, Transport::WebSocket, "a", &name(number))).collect();
        for (question, list) in [("LIST", "Rooms: "), ("WHO", "Members of a: ")] {
            let line = others[0].request(question);
            assert!(line.len() <= 1024 && line.len() + 2 * NAME_BYTES > 1024, "{} bytes: {line}", line.len());
            let shown = line.matches("nn\"").count();
            assert!(line.starts_with(&format!("{list}[\"{}\", \"{}\"", name(0), name(1))), "{line}");
            let all = if question == "LIST" { MEMBERS + 1 } else { MEMBERS };
            assert!(line.ends_with(&format!("\"… and {} more\"]", all - shown)), "{line}");
        }
        drop(members);
    }
}
