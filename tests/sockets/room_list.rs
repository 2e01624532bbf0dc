//! The list of rooms over plain HTTP: what it shows and to whom, and what is refused.

use harness::{Centrifuge, Http, Lines, at_once, metrics, until};
use roomcast::config::{Anonymous, RuleSettings, Settings, Who};
use serde_json::json;

use crate::access::{Guarded, token, token_of};
use crate::rooms_http::{SHAPES, get};
use crate::server::{Shape, TestServer};

#[test]
fn rooms_with_members_are_listed_and_others_are_not() {
    at_once(SHAPES, |shape| {
        let server = TestServer::plain(shape);
        assert_eq!(get(server.http, "/rooms", ""), (200, json!({ "rooms": [], "more": 0 })));
        let _member = Centrifuge::member(server.http, "\"ä\"");
        let lines = Lines::member(server.tcp, "b");
        until(|| get(server.http, "/rooms?other=1", "") == (200, json!({ "rooms": ["\"ä\"", "b"], "more": 0 })));
        // The room still retains what was said.
        lines.send("said\nLEAVE\n");
        until(|| get(server.http, "/rooms", "") == (200, json!({ "rooms": ["\"ä\""], "more": 0 })));
    });
}

#[test]
fn a_long_list_is_cut_and_says_how_many_more_there_are() {
    let server = TestServer::start(Shape::MANY, |settings: &mut Settings| settings.rooms_per_client = 1_100);
    let mut client = Centrifuge::connect(server.http, None);
    (0..1_002).for_each(|number| drop(client.subscribe(&format!("r{number:04}"))));
    until(|| {
        let (_, list) = get(server.http, "/rooms", "");
        let rooms = list["rooms"].as_array().expect("a list");
        (rooms.len(), &list["more"], &rooms[999]) == (1_000, &json!(2), &json!("r0999"))
    });
}

#[test]
fn a_list_shows_what_its_reader_may_join() {
    at_once(SHAPES, |shape| {
        let Guarded { server, folder: _folder } = Guarded::start(shape, |settings| {
            settings.rules = vec![
                RuleSettings::new("free", Who::Anyone),
                RuleSettings::new("open", Who::User),
                RuleSettings::new("team:*", Who::Token),
            ];
        });
        let granted = token(&json!({ "sub": "ada", "rooms": { "team:a": ["join"] } }));
        let mut user = Centrifuge::connect(server.http, Some(&granted));
        ["free", "open", "team:a"].iter().for_each(|room| drop(user.subscribe(room)));
        let with = |token: &str| format!("Authorization: Bearer {token}\r\n");
        let shows = |headers: &str, rooms: &[&str]| get(server.http, "/rooms", headers).1["rooms"] == json!(rooms);
        until(|| shows("", &["free"]) && shows(&with(&token_of("bob")), &["free", "open"]));
        let unnamed = token(&json!({ "channels": [] }));
        assert!(shows(&with(&unnamed), &["free"]), "a token that names no user is that of a guest");
        assert_eq!(get(server.http, "/rooms", &with("no.token.here")).0, 401);
    });
}

#[test]
fn a_list_is_refused_to_whom_needs_a_token_and_to_whom_asks_too_much() {
    let Guarded { server, folder: _folder } = Guarded::start(Shape::ONE, |settings| {
        settings.anonymous = Anonymous::Deny;
        settings.deliveries_per_second = 1;
        settings.deliveries_burst = 5;
    });
    let mut client = Http::connect(server.http);
    client.send("GET /rooms HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let (head, body) = client.answer();
    assert_eq!((head.status, head.header("www-authenticate")), (401, Some("Bearer")));
    assert!(body.contains(r#""detail":"rooms: this server needs a token""#), "{body}");
    let user = format!("Authorization: Bearer {}\r\n", token_of("ada"));
    let statuses: Vec<u16> = (0..30).map(|_| get(server.http, "/rooms", &user).0).collect();
    assert!(statuses[0] == 200 && statuses.contains(&429), "{statuses:?}");
    assert!(metrics(server.http)["roomcast_http_refused_total{reason=\"rate\"}"] >= 1.0);
}
