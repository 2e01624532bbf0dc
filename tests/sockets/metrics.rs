//! What is counted, as an operator reads it.

use crate::harness::{Blast, Client, Http, Lines, Shape, TestServer, Transport, contract, metrics, until};

#[test]
fn the_three_plain_names_stand_alone_on_their_lines() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut ada = Client::member(&server, transport, "a", "ada");
        let mut bob = Client::member(&server, transport, "a", "bob");
        ada.say("hello");
        ada.expect("[ada] hello");
        bob.expect("[ada] hello");
        // A shard counts a batch when it has told the writers, which may be on the other worker.
        until(|| metrics(server.http)["total_messages"] == 1.0);
        let (_, text) = Http::get(server.http, "/metrics");
        for line in ["active_connections 2", "total_messages 1", "active_rooms 1"] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    });
}

#[test]
fn clients_are_counted_in_and_out_by_transport_and_reason() {
    let server = TestServer::plain(Shape::ONE);
    let mut line_client = Client::connect(&server, Transport::Tcp);
    let _websocket_client = Client::connect(&server, Transport::WebSocket);
    assert_eq!(line_client.ask("QUIT"), "Bye");
    line_client.expect_end();
    drop(line_client);
    let gone = "roomcast_connections_closed_total{transport=\"tcp\",reason=\"quit\"}";
    until(|| metrics(server.http)[gone] == 1.0);
    let found = metrics(server.http);
    assert_eq!(found["roomcast_connections_opened_total{transport=\"tcp\"}"], 1.0);
    assert_eq!(found["roomcast_connections_opened_total{transport=\"websocket\"}"], 1.0);
    assert_eq!(found["active_connections"], 1.0);
}

#[test]
fn who_is_turned_away_is_counted_and_is_no_client() {
    let server = TestServer::start(Shape::ONE, |settings| settings.max_clients = Some(1));
    let _client = Client::connect(&server, Transport::Tcp);
    assert_eq!(Lines::connect(server.tcp).rest(), "ERR closed too-many-connections\n");
    assert_eq!(Http::get(server.http, "/ws").0.status, 503);
    let found = metrics(server.http);
    assert_eq!(found["roomcast_connections_closed_total{transport=\"tcp\",reason=\"too-many-connections\"}"], 1.0);
    for transport in ["tcp", "http"] {
        let refused = |reason: &str| found[&format!("roomcast_{transport}_refused_total{{reason=\"{reason}\"}}")];
        assert_eq!((refused("full"), refused("address")), (1.0, 0.0), "{transport}");
    }
    assert_eq!(found["roomcast_connections_opened_total{transport=\"websocket\"}"], 0.0, "it never became one");
    assert_eq!(found["active_connections"], 1.0);
}

#[test]
fn what_a_member_that_does_not_read_was_owed_is_dropped_and_counted() {
    for shape in Shape::ALL {
        let server = TestServer::plain(shape);
        let stalled = Lines::connect_short_of_buffer(server.tcp);
        stalled.send("JOIN a\n");
        let _blast = Blast::start(server.tcp, "a");
        until(|| {
            metrics(server.http)["roomcast_connections_closed_total{transport=\"tcp\",reason=\"slow-consumer\"}"] == 1.0
        });
        let found = metrics(server.http);
        assert!(found["roomcast_dropped_total{reason=\"slow\"}"] > 0.0);
        assert!(found["roomcast_write_seconds_count"] > 0.0 && found["roomcast_fan_out_seconds_count"] > 0.0);
        assert!(found["roomcast_sent_bytes_total"] > 0.0 && found["roomcast_writes_total"] > 0.0);
    }
}

#[test]
fn when_all_is_quiet_what_was_due_was_made_or_dropped_and_nothing_is_owed() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut members: Vec<Client> =
            (0..5).map(|number| Client::member(&server, transport, "a", &format!("m{number}"))).collect();
        for message in 0..100 {
            members[message % 5].say(&format!("message {message}"));
        }
        for member in &mut members {
            for _ in 0..100 {
                member.hear();
            }
        }
        until(|| metrics(server.http)["roomcast_outbox_bytes"] == 0.0);
        let found = metrics(server.http);
        assert_eq!(found["total_messages"], 100.0);
        assert_eq!(found["roomcast_fanned_out_total"], 500.0);
        assert_eq!(found["roomcast_deliveries_total"], 500.0);
        assert_eq!(found["roomcast_queued_deliveries"], 0.0);
        assert_eq!(found["roomcast_write_seconds_bucket{le=\"+Inf\"}"], 500.0);
        assert_eq!(found["roomcast_fan_out_seconds_count"], 100.0);
    });
}
