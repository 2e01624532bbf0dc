//! The bounds of reading history over plain HTTP: its memory, also while the server stops, and what an address may read.

use harness::Http;
use roomcast::config::Settings;

use crate::rooms_http::{get, say};
use crate::server::{Shape, TestServer};

#[test]
fn who_reads_too_much_history_is_refused_like_who_says_too_much() {
    let server = TestServer::start(Shape::ONE, |settings: &mut Settings| {
        settings.deliveries_per_second = 1;
        settings.deliveries_burst = 50;
    });
    let _lines = say(&server, "a", (0..20).map(|number| number.to_string()));
    let statuses: Vec<u16> = (0..8).map(|_| get(server.http, "/rooms/a", "").0).collect();
    assert_eq!((statuses[0], statuses[7]), (200, 429), "{statuses:?}");
}

#[test]
fn who_reads_history_on_many_connections_at_once_pays_for_each_of_them() {
    let server = TestServer::start(Shape::ONE, |settings: &mut Settings| {
        settings.deliveries_per_second = 1;
        settings.deliveries_burst = 50;
    });
    let _lines = say(&server, "a", (0..20).map(|number| number.to_string()));
    let clients: Vec<Http> = (0..8).map(|_| Http::connect(server.http)).collect();
    clients.iter().for_each(|client| client.send("GET /rooms/a HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    let statuses: Vec<u16> = clients.into_iter().map(|mut client| client.answer().0.status).collect();
    assert!(statuses.iter().filter(|status| **status == 200).count() >= 3, "{statuses:?}");
    assert_eq!(get(server.http, "/rooms/a", "").0, 429, "{statuses:?}");
}
