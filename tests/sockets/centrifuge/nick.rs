//! Nicks that SDKs choose by `rpc`.

use harness::{Centrifuge, Client, Transport};
use roomcast::config::{RuleSettings, Who};
use serde_json::{Value, json};

use super::{ENCODINGS, close, code, connect, contract, member, over_all};
use crate::access::{Guarded, token};
use crate::server::{Shape, TestServer};

/// Chooses a nick and returns the label that others see.
#[track_caller]
fn name(client: &mut Centrifuge, nick: &str) -> String {
    let result = client.result("rpc", json!({ "method": "nick", "data": { "nick": nick } }));
    result["data"]["nick"].as_str().unwrap_or_else(|| panic!("{result} has no nick")).to_owned()
}

/// What others see of a client in a room.
#[track_caller]
fn seen(watcher: &mut Centrifuge, room: &str, of: &Value) -> Value {
    let mut presence = watcher.result("presence", json!({ "channel": room }));
    presence["presence"][of["client"].as_str().expect("a client")].take()
}

#[test]
fn a_nick_is_what_others_see_in_every_room_from_the_reply_on() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let rooms: Vec<String> = (0..100).map(|number| format!("room-{number}")).collect();
        let mut text = Client::member(&server, Transport::Tcp, &rooms[99], "text");
        let mut watcher = connect(&server, transport);
        let mut client = connect(&server, transport);
        rooms.iter().for_each(|room| drop(client.subscribe(room)));
        watcher.subscribe(&rooms[99]);
        for nick in ["ada", "Ädä"] {
            assert_eq!(name(&mut client, nick), nick);
            let info = json!({ "user": "", "client": client.connected["client"], "conn_info": { "name": nick } });
            for room in &rooms {
                assert_eq!(seen(&mut watcher, room, &client.connected), info, "{room}");
            }
            client.publish(&rooms[99], r#"{"text":"hi"}"#);
            assert_eq!(watcher.push()["pub"]["info"], info);
            text.expect(&format!("[{nick}] hi"));
        }
        close(client, transport);
        watcher.expect_nothing();
    });
}

#[test]
fn a_nick_in_the_frame_of_the_connect_holds_for_the_joins_behind_it() {
    harness::at_once(ENCODINGS, |encoding| {
        let server = TestServer::start(Shape::MANY, |settings| settings.presence_events = true);
        let mut watcher = Centrifuge::member(server.http, "a");
        watcher.push();
        let mut client = Centrifuge::open(server.http, encoding);
        client.send(concat!(
            "{\"id\":1,\"connect\":{}}\n",
            "{\"id\":2,\"rpc\":{\"method\":\"nick\",\"data\":{\"nick\":\"ada\"}}}\n",
            "{\"id\":3,\"subscribe\":{\"channel\":\"a\"}}"
        ));
        assert_eq!(client.reply(2)["rpc"], json!({ "data": { "nick": "ada" } }));
        assert!(client.reply(3)["subscribe"].is_object());
        assert_eq!(watcher.push()["join"]["info"]["conn_info"], json!({ "name": "ada" }));
    });
}

#[test]
fn a_guest_is_marked_where_there_are_users_and_a_name_from_a_token_stays() {
    contract(|shape, transport| {
        let Guarded { server, folder: _folder } = Guarded::start(shape, |_| {});
        let mut guest = member(&server, transport, "a");
        assert_eq!(name(&mut guest, "ada"), "~ada");
        let of = guest.connected.clone();
        assert_eq!(seen(&mut guest, "a", &of)["conn_info"], json!({ "name": "~ada" }));
        for claims in [json!({ "sub": "ada" }), json!({ "sub": "7", "name": "Ada" })] {
            let mut user = Centrifuge::connect_over(transport, server.http, Some(&token(&claims)));
            let error = user.error("rpc", json!({ "method": "nick", "data": { "nick": "bob" } }));
            let message = "permission denied: \"bob\": your name comes from your token";
            assert_eq!(error, json!({ "code": 103, "message": message }));
            user.expect_nothing();
        }
    });
}

#[test]
fn a_nick_that_breaks_the_rule_is_refused_with_it_and_changes_nothing() {
    over_all(|transport| {
        let server = TestServer::plain(Shape::MANY);
        let mut client = member(&server, transport, "a");
        let long = "n".repeat(65);
        for data in [
            json!({ "nick": "" }),
            json!({ "nick": "two words" }),
            json!({ "nick": "~ada" }),
            json!({ "nick": "client-7" }),
            json!({ "nick": long }),
            json!({ "nick": 7 }),
            json!({}),
            json!(["ada"]),
            json!("ada"),
            Value::Null,
        ] {
            assert_eq!(code(&client.error("rpc", json!({ "method": "nick", "data": data }))), 107, "{data}");
        }
        let error = client.error("rpc", json!({ "method": "nick", "data": { "nick": "two words" } }));
        let message = "bad request: \"two words\": 1 to 64 bytes, no spaces or control characters";
        assert_eq!(error["message"], message);
        assert_eq!(code(&client.error("rpc", json!({ "method": "Nick", "data": { "nick": "ada" } }))), 108);
        let of = client.connected.clone();
        assert_eq!(seen(&mut client, "a", &of), json!({ "user": "", "client": of["client"] }));
    });
}

#[test]
fn what_a_token_says_of_a_client_in_a_room_stays_behind_its_nick() {
    over_all(|transport| {
        let Guarded { server, folder: _folder } = Guarded::start(Shape::MANY, |settings| {
            settings.rules = vec![RuleSettings::new("*", Who::Anyone)];
        });
        let mut guest = connect(&server, transport);
        let of_room = token(&json!({ "channel": "a", "info": { "role": "host" } }));
        guest.result("subscribe", json!({ "channel": "a", "token": of_room }));
        name(&mut guest, "ada");
        let of = guest.connected.clone();
        let info = json!({
            "user": "", "client": of["client"], "conn_info": { "name": "~ada" }, "chan_info": { "role": "host" }
        });
        assert_eq!(seen(&mut guest, "a", &of), info);
    });
}
