//! Clients of the Centrifuge protocol that ask for as much as they can: memory, turns and deliveries have their bounds.

use std::io::Read;
use std::time::Duration;

use harness::{
    Body, Centrifuge, CentrifugeTransport, Client, Encoding, Http, Program, Transport, at_once, metrics, until,
};
use roomcast::config::{Settings, Size, Span};
use serde_json::{Value, json};

use crate::access::{Guarded, secret_file, signed, token};
use crate::server::{Shape, TestServer};
use crate::streams::{emulate, names};

const JSON: CentrifugeTransport = CentrifugeTransport::WebSocket(Encoding::Json);

/// Rooms that a token has its client join.
const ROOMS: [&str; 3] = ["a", "b", "c"];

/// Publications of each room, and the length of each: two rooms fit into one replay of 1 MiB, three do not.
const PUBLICATIONS: usize = 8;
const PUBLICATION_BYTES: usize = 50_000;

#[test]
fn what_all_rooms_of_a_connect_have_missed_is_no_longer_than_one_replay() {
    let server = Guarded::start(Shape::MANY, |_| ()).server;
    let mut publisher = Centrifuge::connect(server.http, None);
    for room in ROOMS {
        (0..PUBLICATIONS).for_each(|_| publisher.publish(room, json!("x".repeat(PUBLICATION_BYTES))));
    }
    let subs: Value = ROOMS.iter().map(|room| ((*room).to_owned(), json!({ "recover": true }))).collect();
    let request = json!({ "token": token(&json!({ "sub": "ada", "channels": ROOMS })), "subs": subs });
    let (mut client, reply) = Centrifuge::connect_with(JSON, server.http, request);
    let mut recovered = Vec::new();
    for room in ROOMS {
        let joined = &reply["connect"]["subs"][room];
        let missed = joined["publications"].as_array().map_or(0, Vec::len);
        assert!(joined["was_recovering"] == true && joined["recoverable"] == true, "{room}");
        match joined["recovered"] == true {
            true => recovered.push((missed, joined["offset"].clone())),
            false => assert_eq!((missed, &joined["offset"]), (0, &json!(PUBLICATIONS)), "{room}"),
        }
    }
    assert_eq!(recovered, [(PUBLICATIONS, Value::Null), (PUBLICATIONS, Value::Null)]);
    // It is in all of them, also in the one where it could not resume.
    for room in ROOMS {
        publisher.publish(room, "1");
        assert_eq!(client.publication(room), 1);
    }
}

#[test]
fn commands_that_wait_behind_another_one_of_their_frame_count_as_input() {
    /// One delivery, and a long wait for the next.
    fn waits(settings: &mut Settings) {
        (settings.deliveries_per_second, settings.deliveries_burst) = (1, 1);
        settings.input_budget = Size(1024 * 1024);
    }
    const CLIENTS: usize = 40;
    let server = TestServer::start(Shape::ONE, waits);
    let publish = r#"{"id":2,"publish":{"channel":"a","data":1}}"#;
    let frame = format!("{}{}", format!("{publish}\n").repeat(3), "{}\n".repeat(20_000));
    let mut clients: Vec<_> = (0..CLIENTS).map(|_| Centrifuge::member(server.http, "a")).collect();
    clients.iter_mut().for_each(|client| client.send(&frame));
    const ENDED: &str = r#"roomcast_connections_closed_total{transport="websocket",reason="input-budget"}"#;
    until(|| metrics(server.http)[ENDED] >= 1.0);
}

#[test]
fn a_client_that_presents_one_refused_token_after_another_takes_its_turns() {
    const FRAMES: usize = 3;
    const TOKENS: usize = 64;
    /// Replies that may be ahead of what another client says meanwhile.
    const AHEAD_MAX: usize = TOKENS;
    let (_folder, secret) = secret_file();
    let secret = secret.to_str().expect("a path in UTF-8");
    let program = Program::start(&["--workers", "1", "--token-secret-file", secret]);
    let mut other = Centrifuge::member(program.http, "a");
    let mut flooder = Centrifuge::member(program.http, "a");
    let wrong = signed(
        b"another secret that is as long as that one",
        jsonwebtoken::Algorithm::HS256,
        &json!({
            "sub": "", "channel": "b",
        }),
    );
    let subscribe = |id: usize| format!("{{\"id\":{id},\"subscribe\":{{\"channel\":\"b\",\"token\":\"{wrong}\"}}}}");
    program.while_stopped(|| {
        for frame in 0..FRAMES {
            let commands: Vec<String> = (0..TOKENS).map(|count| subscribe(100 + frame * TOKENS + count)).collect();
            flooder.send(commands.join("\n"));
        }
        other.send(r#"{"id":2,"publish":{"channel":"a","data":"hello"}}"#);
    });
    let (mut answered, mut ahead) = (0, None);
    while answered < FRAMES * TOKENS {
        let object: Value = serde_json::from_str(&flooder.object()).expect("JSON");
        match object["error"]["code"] == 103 {
            true => answered += 1,
            false => ahead = Some(answered),
        }
    }
    assert!(ahead.is_some_and(|answered| answered <= AHEAD_MAX), "{ahead:?} replies were ahead");
}

#[test]
fn what_a_client_asks_of_a_room_that_it_is_not_in_costs_as_much_as_the_room_has_members() {
    const MEMBERS: usize = 20;
    fn few_deliveries(settings: &mut Settings) {
        (settings.deliveries_per_second, settings.deliveries_burst) = (1, 10);
        (settings.ping_interval, settings.pong_timeout) =
            (Span(Duration::from_millis(500)), Span(Duration::from_secs(2)));
    }
    at_once(["presence", "presence_stats"], |method| {
        let server = TestServer::start(Shape::MANY, few_deliveries);
        let member = |count| Client::member(&server, Transport::Tcp, "a", &format!("m{count}"));
        let _members: Vec<_> = (0..MEMBERS).map(member).collect();
        let mut outsider = Centrifuge::connect(server.http, None);
        let request = json!({ "channel": "a" });
        outsider.result(method, &request);
        assert_eq!(outsider.error(method, &request)["code"], 111, "{method}");
    });
    let server = TestServer::start(Shape::MANY, few_deliveries);
    let mut members: Vec<_> =
        (0..MEMBERS).map(|count| Client::member(&server, Transport::Tcp, "a", &format!("m{count}"))).collect();
    let mut outsider = Centrifuge::connect(server.http, None);
    let request = json!({ "channel": "a", "data": { "text": "hello" } });
    outsider.result("publish", &request);
    assert_eq!(outsider.error("publish", &request)["code"], 111);
    assert_eq!(members[0].fence().len(), 1);
}

#[test]
fn a_client_whose_connect_is_refused_is_disconnected_and_leaves_the_rooms_that_it_has_joined() {
    let change = |settings: &mut Settings| {
        (settings.history_messages, settings.room_members) = (0, 1);
        settings.header_timeout = Span(Duration::from_secs(4));
    };
    let server = Guarded::start(Shape::MANY, change).server;
    let _member = Centrifuge::member(server.http, "b");
    let request = json!({ "token": token(&json!({ "sub": "ada", "channels": ["a", "b"] })) });
    let (mut refused, reply) = Centrifuge::connect_with(JSON, server.http, request);
    assert_eq!(reply["error"]["code"], 106);
    refused.expect_closed(3502);
    Centrifuge::member(server.http, "a");
}

#[test]
fn requests_whose_bodies_do_not_come_take_nothing_from_those_of_others() {
    const REQUESTS: usize = 600;
    let server = TestServer::start(Shape::ONE, |settings| {
        (settings.message_bytes, settings.input_budget) = (Size(1024), Size(1024 * 1024));
    });
    let client = Centrifuge::connect_over(CentrifugeTransport::Sse, server.http, None);
    let (session, node) = names(&client.connected);
    let _silent: Vec<Http> = (0..REQUESTS)
        .map(|_| {
            let silent = Http::connect(server.http);
            silent.send("POST /emulation HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000\r\n\r\n");
            silent
        })
        .collect();
    assert_eq!(emulate(server.http, &session, &node, "{}"), 204);
}

#[test]
fn a_client_that_names_a_hundred_thousand_rooms_is_refused_before_they_are_compared() {
    const NAMES: usize = 100_000;
    let server = TestServer::start(Shape::ONE, |settings| {
        (settings.message_bytes, settings.outbox_bytes) = (Size(2 * 1024 * 1024), Size(2 * 1024 * 1024));
    });
    let names: Vec<String> = (0..NAMES).map(|name| format!("\"{name}\":{{}}")).collect();
    let request = format!("{{\"subs\":{{{}}}}}", names.join(","));
    let mut client = Http::connect(server.http);
    let length = request.len();
    client.send(format!("POST /connection/uni_sse HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"));
    client.send(request);
    let (head, mut body) = (client.head(), String::new());
    Body::new(client, &head).read_to_string(&mut body).expect("a body that ends");
    assert!(head.status == 200 && body.contains("\"code\":3508"), "{body}");
}
