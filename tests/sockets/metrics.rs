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
    for transport in ["tcp", "websocket"] {
        let refused =
            format!("roomcast_connections_closed_total{{transport=\"{transport}\",reason=\"too-many-connections\"}}");
        assert_eq!(found[&refused], 1.0, "{transport}");
    }
    assert_eq!(found["active_connections"], 1.0);
}

#[test]
fn what_a_member_that_does_not_read_was_owed_is_dropped_and_counted() {
    for shape in Shape::ALL {
        let server = TestServer::plain(shape);
        let stalled = Lines::connect_short_of_buffer(server.tcp);
        stalled.send("JOIN a\n");
        let blast = Blast::start(server.tcp, "a");
        until(|| {
            metrics(server.http)["roomcast_connections_closed_total{transport=\"tcp\",reason=\"slow-consumer\"}"] == 1.0
        });
        drop(blast);
        until(|| metrics(server.http)["active_connections"] == 0.0);
        // No client is left that anything could still be written to, and what waited for them is dropped.
        let mut found = metrics(server.http);
        until(|| {
            found = metrics(server.http);
            found["roomcast_queued_deliveries"] == 0.0
        });
        let [slow, gap, gone] =
            ["slow", "gap", "gone"].map(|reason| found[&format!("roomcast_dropped_total{{reason=\"{reason}\"}}")]);
        let [due, made] = ["roomcast_fanned_out_total", "roomcast_deliveries_total"].map(|name| found[name]);
        // Each delivery counts once, and was made or dropped for one reason.
        assert!(slow >= 1.0 && gap == 0.0, "{slow} slow, {gap} in gaps");
        assert_eq!(due, made + slow + gone, "{made} made, {slow} slow, {gone} gone");
        assert!(due >= found["total_messages"] && due <= 2.0 * found["total_messages"], "{due} due");
        assert_eq!(found["roomcast_write_seconds_count"], made);
        assert_eq!(found["roomcast_fan_out_seconds_count"], found["total_messages"]);
        // "[", a label of at least "127.0.0.1:1", "] ", the text and the line feed.
        assert!(found["roomcast_sent_bytes_total"] >= made * 32.0, "{}", found["roomcast_sent_bytes_total"]);
        assert!((1.0..=made + 10.0).contains(&found["roomcast_writes_total"]), "{}", found["roomcast_writes_total"]);
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
