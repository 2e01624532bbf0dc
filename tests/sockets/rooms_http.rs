//! The history of a room over plain HTTP: pages against the room's own order, names in paths, rights, and what is refused.

use harness::{Centrifuge, CentrifugeTransport, Encoding, Endpoint, Http, Lines, Random, at_once, metrics};
use roomcast::config::{RuleSettings, Settings, Who};
use serde_json::{Value, json};

use crate::access::{Guarded, token, token_of};
use crate::server::{Shape, TestServer};

/// The shapes over which a room is read.
pub const SHAPES: [Shape; 3] = [Shape::ONE, Shape::MANY, Shape::OVER_TLS];

/// An answer in JSON, with its status.
#[track_caller]
pub fn get(server: impl Into<Endpoint>, path: &str, headers: &str) -> (u16, Value) {
    let mut client = Http::connect(server);
    client.send(format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"));
    let (head, body) = client.answer();
    let content_type = if head.status == 200 { "application/json" } else { "application/problem+json" };
    assert_eq!(head.header("content-type"), Some(content_type), "{path}: {body}");
    assert_eq!(head.header("cache-control"), Some("no-store"), "{path}");
    (head.status, serde_json::from_str(&body).expect("JSON"))
}

/// The history at a path.
#[track_caller]
fn page(server: impl Into<Endpoint>, path: &str) -> Value {
    let (status, page) = get(server, path, "");
    assert_eq!(status, 200, "{path}: {page}");
    page
}

/// The texts of a page.
fn texts(page: &Value) -> Vec<String> {
    let publications = page["publications"].as_array().expect("a list");
    publications.iter().map(|publication| publication["data"]["text"].as_str().expect("a text").to_owned()).collect()
}

fn position(page: &Value) -> String {
    page["position"].as_str().expect("a position").to_owned()
}

/// A member that says these texts in a room, each behind the one before.
pub fn say(server: &TestServer, room: &str, texts: impl IntoIterator<Item = String>) -> Lines {
    let mut lines = Lines::member(server.tcp, room);
    for text in texts {
        lines.send(format!("{text}\n"));
        assert!(lines.line().ends_with(&text));
    }
    lines
}

#[test]
fn a_page_has_the_newest_publications_each_with_its_place_its_time_and_who_has_said_it() {
    at_once(SHAPES, |shape| {
        let server = TestServer::plain(shape);
        let mut lines = Lines::member(server.tcp, "a");
        lines.send("NICK ada\nhello\n");
        lines.expect("You are ada");
        lines.expect("[ada] hello");
        let mut client = Centrifuge::connect_over(CentrifugeTransport::WebSocket(Encoding::Json), server.http, None);
        client.subscribe("a");
        client.publish("a", json!({ "n": 1.50 }));
        assert!(client.publication("a").is_object());
        let page = page(server.http, "/rooms/a");
        let publications = page["publications"].as_array().expect("a list");
        assert_eq!((&page["room"], publications.len()), (&json!("a"), 2));
        assert_eq!(page["position"], publications[1]["position"]);
        let mut first = publications[0].clone();
        let at = first["at"].take();
        assert!(humantime::parse_rfc3339(at.as_str().expect("a time")).is_ok(), "{at}");
        let place = first["position"].take();
        assert!(place.as_str().expect("a position").ends_with("-0000000000000001"));
        let expected = json!({ "position": null, "offset": 1, "at": null, "name": "ada", "data": { "text": "hello" } });
        assert_eq!(first, expected);
        let label = publications[1]["name"].as_str().expect("a label");
        assert!(label.starts_with("client-"), "{label}");
        assert_eq!(publications[1]["data"], json!({ "n": 1.5 }));
    });
}

#[test]
fn pages_lose_nothing_and_double_nothing_while_others_publish() {
    at_once([(Shape::ONE, 1), (Shape::MANY, 2), (Shape::OVER_TLS, 3)], |(shape, seed)| {
        let server = TestServer::start(shape, |settings| settings.history_messages = 10_000);
        let mut random = Random(seed);
        let mut lines = say(&server, "a", ["0".to_owned()]);
        let mut read = texts(&page(server.http, "/rooms/a"));
        let mut place = position(&page(server.http, "/rooms/a"));
        let mut said = 1;
        for _ in 0..150 {
            for _ in 0..random.below(8) {
                lines.send(format!("{said}\n"));
                said += 1;
                if random.one_in(2) {
                    assert!(lines.line().contains("] "));
                }
            }
            let limit = 1 + random.below(6);
            let next = page(server.http, &format!("/rooms/a?since={place}&limit={limit}"));
            assert!(texts(&next).len() <= limit);
            read.extend(texts(&next));
            place = position(&next);
        }
        lines.send("PING end\n");
        while lines.line() != "PONG end" {}
        loop {
            let next = page(server.http, &format!("/rooms/a?since={place}"));
            if texts(&next).is_empty() {
                assert_eq!(position(&next), place, "nothing is behind the room's own position");
                break;
            }
            read.extend(texts(&next));
            place = position(&next);
        }
        assert_eq!(read, (0..said).map(|number| number.to_string()).collect::<Vec<_>>());
    });
}

#[test]
fn an_answer_ends_where_a_replay_would_and_says_where_to_go_on() {
    let server = TestServer::start(Shape::ONE, |settings: &mut Settings| {
        settings.recovery_messages = 7;
    });
    let _lines = say(&server, "a", (0..20).map(|number| number.to_string()));
    let newest = page(server.http, "/rooms/a?limit=1000");
    assert_eq!(texts(&newest), (13..20).map(|number| number.to_string()).collect::<Vec<_>>());
    let first = position(&newest)[..14].to_owned() + "0000000000000000";
    let next = page(server.http, &format!("/rooms/a?since={first}&limit=1000"));
    assert_eq!(texts(&next), (0..7).map(|number| number.to_string()).collect::<Vec<_>>());
    assert_eq!(position(&next), first.replace("-0000000000000000", "-0000000000000007"));
    // A long answer comes whole.
    let server = TestServer::plain(Shape::ONE);
    let long = "x".repeat(60_000);
    let _lines = say(&server, "a", (0..10).map(|number| format!("{number}{long}")));
    let newest = page(server.http, "/rooms/a");
    assert_eq!(texts(&newest).last(), Some(&format!("9{long}")));
    assert_eq!(texts(&newest).len(), 10);
}

#[test]
fn a_position_that_cannot_be_continued_from_is_gone_and_the_answer_says_where_the_room_is() {
    at_once(SHAPES, |shape| {
        let server = TestServer::start(shape, |settings| settings.history_messages = 3);
        let _lines = say(&server, "a", (0..10).map(|number| number.to_string()));
        let place = position(&page(server.http, "/rooms/a"));
        let at = |offset: usize| format!("{}-{offset:016}", &place[..13]);
        let other_epoch = format!("0000000000000-{:016}", 10);
        for (since, status) in
            [(at(10), 200), (at(7), 200), (at(6), 410), (at(0), 410), (at(11), 410), (other_epoch, 410)]
        {
            let (found, document) = get(server.http, &format!("/rooms/a?since={since}"), "");
            assert_eq!(found, status, "{since}: {document}");
            if status == 410 {
                assert_eq!((&document["status"], &document["title"]), (&json!(410), &json!("Gone")));
                let detail = document["detail"].as_str().expect("a text");
                assert!(detail.ends_with("read the room again without since"), "{detail}");
                assert_eq!(document["position"], json!(place));
            }
        }
        assert_eq!(get(server.http, &format!("/rooms/nowhere?since={place}"), "").0, 410);
        assert_eq!(
            page(server.http, "/rooms/nowhere"),
            json!({ "room": "nowhere", "publications": [], "position": null })
        );
    });
}

#[test]
fn the_history_of_a_room_that_retains_nothing_is_not_taken_for_an_empty_one() {
    let server = TestServer::start(Shape::ONE, |settings: &mut Settings| settings.history_messages = 0);
    let _lines = say(&server, "a", ["x".to_owned()]);
    for path in ["/rooms/a", "/rooms/nowhere", "/rooms/a?since=0123456789abc-0000000000000007"] {
        let (status, document) = get(server.http, path, "");
        let detail = document["detail"].as_str().expect("a text");
        assert_eq!((status, detail), (404, "the room retains no messages: read it with live=sse"), "{path}");
    }
    let mut reader = Http::connect(server.http);
    reader.send("GET /rooms/a?live=sse HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(reader.head().status, 200);
}

#[test]
fn a_name_in_a_path_is_read_in_every_encoding_and_once() {
    let server = TestServer::plain(Shape::MANY);
    for (name, paths) in [
        ("team:7", vec!["team:7", "team%3A7", "team%3a7", "%74%65%61%6d:7"]),
        ("a/b", vec!["a%2Fb", "a%2fb", "%61%2F%62"]),
        ("a%2Fb", vec!["a%252Fb"]),
        ("a+b?c#d", vec!["a+b%3Fc%23d", "a%2Bb%3fc%23d"]),
        ("gr\u{fc}\u{df}e", vec!["gr%C3%BC%C3%9Fe", "gru%CC%88%C3%9Fe"]),
        ("\u{1f980}", vec!["%F0%9F%A6%80"]),
        ("\"<b>&'", vec!["%22%3Cb%3E%26%27"]),
        ("..", vec!["..", "%2e%2e"]),
    ] {
        let _lines = say(&server, name, ["here".to_owned()]);
        for path in paths {
            let page = page(server.http, &format!("/rooms/{path}"));
            assert_eq!((&page["room"], texts(&page)), (&json!(name), vec!["here".to_owned()]), "{path}");
        }
    }
    for (path, status, detail) in [
        ("a%20b", 400, "room \"a b\": 1 to 128 bytes, no spaces or control characters"),
        ("%00", 400, "room \"\\0\": 1 to 128 bytes, no spaces or control characters"),
        ("%ff", 400, "room: its name in the path is UTF-8, percent-encoded"),
        ("%zz", 400, "room: its name in the path is UTF-8, percent-encoded"),
        ("a/b", 404, "not found: a / in the name of a room is written %2F"),
    ] {
        let (found, document) = get(server.http, &format!("/rooms/{path}"), "");
        assert_eq!((found, document["detail"].as_str()), (status, Some(detail)), "{path}");
    }
    assert_eq!(get(server.http, &format!("/rooms/{}", "a".repeat(129)), "").0, 400);
    assert_eq!(Http::get(server.http, "/rooms/").0.status, 404);
}

#[test]
fn a_wrong_value_is_refused_with_the_rule_and_an_unknown_name_is_not() {
    let server = TestServer::plain(Shape::ONE);
    for (query, detail) in [
        ("since=7", "since=\"7\": a position as the room tells it, 30 characters"),
        ("since=", "since=\"\": a position as the room tells it, 30 characters"),
        ("limit=0", "limit=0: a number from 1"),
        ("limit=-1", "limit=\"-1\": a number from 1"),
        ("limit=1&limit=2", "limit: it stands once"),
        ("live=poll", "live=\"poll\": there is live=sse"),
    ] {
        let (status, document) = get(server.http, &format!("/rooms/a?{query}"), "");
        assert_eq!((status, document["detail"].as_str()), (400, Some(detail)), "{query}");
    }
    assert_eq!(page(server.http, "/rooms/a?Since=7&later=1&%73ince")["room"], "a");
    let refused = "roomcast_http_refused_total{reason=\"query\"}";
    assert_eq!(metrics(server.http)[refused], 6.0);
}

#[test]
fn the_route_has_head_and_options_and_no_other_method() {
    let server = TestServer::start(Shape::ONE, |settings: &mut Settings| {
        settings.allowed_origins = vec!["https://app.example".into()];
    });
    let _lines = say(&server, "a", ["x".to_owned()]);
    let ask = |method: &str, path: &str, headers: &str| {
        let mut client = Http::connect(server.http);
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{headers}\r\n"));
        let head = client.head();
        if method == "HEAD" {
            client.expect_end();
        }
        head
    };
    let head = ask("HEAD", "/rooms/a", "");
    assert_eq!((head.status, head.header("content-type")), (200, Some("application/json")));
    let head = ask("HEAD", "/rooms/a?live=sse", "");
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    assert_eq!(ask("HEAD", "/rooms/a%20b", "").status, 400);
    let head = ask("POST", "/rooms/a", "");
    assert_eq!((head.status, head.header("allow")), (405, Some("GET,HEAD,OPTIONS")));
    let origin = "Origin: https://app.example\r\n";
    for (method, path) in
        [("OPTIONS", "/rooms/a"), ("GET", "/rooms/a"), ("GET", "/rooms/a?live=sse"), ("GET", "/rooms/a?limit=0")]
    {
        let head = ask(method, path, origin);
        assert_eq!(head.header("access-control-allow-origin"), Some("https://app.example"), "{method} {path}");
    }
    assert_eq!(ask("OPTIONS", "/rooms/a", origin).header("access-control-allow-methods"), Some("GET,HEAD,OPTIONS"));
    for path in ["/rooms/a", "/rooms/a?live=sse"] {
        let head = ask("GET", path, "Origin: https://evil.example\r\n");
        assert_eq!((head.status, head.header("access-control-allow-origin")), (403, None), "{path}");
    }
}

/// Rules of rooms for guests, users and tokens.
pub fn rules(settings: &mut Settings) {
    settings.rules = vec![
        RuleSettings { history: Some(Who::User), ..RuleSettings::new("open", Who::Anyone) },
        RuleSettings::new("team:*", Who::Token),
        RuleSettings { name: Some("nobody".into()), ..RuleSettings::new("closed", Who::Nobody) },
        RuleSettings::new("free", Who::Anyone),
    ];
}

#[test]
fn rights_are_those_of_clients() {
    at_once(SHAPES, |shape| {
        let Guarded { server, folder: _folder } = Guarded::start(shape, |settings| {
            rules(settings);
            settings.token_in_query = true;
        });
        let user = token_of("ada");
        let granted = token(&json!({ "sub": "ada", "rooms": { "team:a": ["join", "history"] } }));
        let with = |token: &str| format!("Authorization: Bearer {token}\r\n");
        for (path, headers, status) in [
            ("/rooms/free", String::new(), 200),
            ("/rooms/open", String::new(), 401),
            ("/rooms/open", with(&user), 200),
            ("/rooms/team:a", with(&user), 403),
            ("/rooms/team:a", with(&granted), 200),
            ("/rooms/team%3Aa", with(&granted), 200),
            ("/rooms/team:b", with(&granted), 403),
            ("/rooms/closed", with(&granted), 403),
            ("/rooms/elsewhere", String::new(), 401),
            ("/rooms/free", with("no.token.here"), 401),
        ] {
            let (found, document) = get(server.http, path, &headers);
            assert_eq!(found, status, "{path}: {document}");
        }
        assert_eq!(get(server.http, &format!("/rooms/open?token={user}"), "").0, 200);
        // Who may join may read the room live.
        for (path, headers, status) in [
            ("/rooms/team:a?live=sse", String::new(), 401),
            ("/rooms/team:a?live=sse", with(&user), 403),
            ("/rooms/closed", "Accept: text/event-stream\r\n".to_owned() + &with(&user), 403),
        ] {
            let (found, document) = get(server.http, path, &headers);
            assert_eq!(found, status, "{path}: {document}");
        }
        let mut client = Http::connect(server.http);
        client.send("GET /rooms/open HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let (head, body) = client.answer();
        assert_eq!((head.status, head.header("www-authenticate")), (401, Some("Bearer")), "{body}");
        assert!(body.contains("the rule \\\"open\\\" lets"), "{body}");
    });
}
