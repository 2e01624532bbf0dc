//! The contract of rooms, in rows for this protocol.

use std::thread;

use harness::{Blast, Centrifuge, CentrifugeTransport, Client, Encoding, Transport};
use roomcast::config::{RuleSettings, Who};
use serde_json::json;

use super::{Member, close, code, connect, contract, expect_members, member, over_all};
use crate::server::{Shape, TestServer};

/// Texts of each member in the test of order.
const TEXTS: usize = 40;

#[test]
fn all_members_hear_one_order_whoever_they_are_and_whoever_publishes() {
    harness::at_once([Shape::ONE, Shape::MANY, Shape::OVER_TLS], |shape| {
        let server = TestServer::plain(shape);
        let members = Member::of_every_kind(&server, "a");
        let texts = members.len() * TEXTS;
        let talk = |(name, mut member): (usize, Member)| {
            thread::spawn(move || {
                (0..TEXTS).for_each(|number| member.say("a", &format!("{name}.{number}")));
                (0..texts).map(|_| member.hear("a")).collect::<Vec<String>>()
            })
        };
        let threads: Vec<_> = members.into_iter().enumerate().map(talk).collect();
        let heard: Vec<Vec<String>> = threads.into_iter().map(|thread| thread.join().expect("it heard all")).collect();
        assert!(heard.iter().all(|texts| *texts == heard[0]), "{heard:?}");
        for name in 0..heard.len() {
            let label = format!("{name}.");
            let said: Vec<&str> = heard[0].iter().filter_map(|text| text.strip_prefix(&label)).collect();
            assert_eq!(said, (0..TEXTS).map(|number| number.to_string()).collect::<Vec<String>>());
        }
    });
}

#[test]
fn each_publication_has_the_next_offset_and_says_who_has_published_it() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let [mut one, mut two] = [(); 2].map(|()| member(&server, transport, "a"));
        for offset in 1..=5 {
            one.publish("a", json!({ "n": offset }));
            let info = json!({ "user": "", "client": one.connected["client"] });
            let push = json!({ "channel": "a", "pub": { "data": { "n": offset }, "info": info, "offset": offset } });
            let [(first, time), second] = [one.push_and_time(), two.push_and_time()];
            assert_eq!(first, push);
            assert_eq!(second, (push, time));
        }
    });
}

#[test]
fn rooms_do_not_hear_each_other_and_a_client_in_many_hears_each_under_its_name() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let rooms: Vec<String> = (0..8).map(|number| format!("room-{number}")).collect();
        let mut members: Vec<Centrifuge> = rooms.iter().map(|room| member(&server, transport, room)).collect();
        let mut everywhere = connect(&server, transport);
        rooms.iter().for_each(|room| drop(everywhere.subscribe(room)));
        let mut nowhere = connect(&server, transport);
        for (member, room) in members.iter_mut().zip(&rooms) {
            member.publish(room, json!(room));
            assert_eq!(member.publication(room), json!(room));
            assert_eq!(everywhere.publication(room), json!(room));
        }
        everywhere.result("unsubscribe", json!({ "channel": rooms[3] }));
        members[3].publish(&rooms[3], 1);
        members[4].publish(&rooms[4], 2);
        assert_eq!((members[3].publication(&rooms[3]), members[4].publication(&rooms[4])), (json!(1), json!(2)));
        assert_eq!(everywhere.publication(&rooms[4]), json!(2));
        members.iter_mut().for_each(Centrifuge::expect_nothing);
        everywhere.expect_nothing();
        nowhere.expect_nothing();
    });
}

#[test]
fn nothing_follows_the_reply_to_an_unsubscribe_while_others_publish_at_full_speed() {
    contract(|shape, transport| {
        let server = TestServer::start(shape, |settings| settings.outbox_messages = 1 << 20);
        let _publishers = [(); 2].map(|()| Blast::start(server.tcp, "busy"));
        let mut client = connect(&server, transport);
        for _ in 0..5 {
            client.subscribe("busy");
            let id = client.send_command(r#"{"unsubscribe":{"channel":"busy"}}"#);
            let reply = format!("{{\"id\":{id},\"unsubscribe\":{{}}}}");
            while client.object() != reply {}
            client.expect_nothing();
        }
    });
}

#[test]
fn offsets_go_on_without_a_gap_while_a_client_comes_and_goes_under_load() {
    over_all(|transport| {
        let server = TestServer::start(Shape::MANY, |settings| settings.outbox_messages = 1 << 20);
        let _publishers = [(); 2].map(|()| Blast::start(server.tcp, "busy"));
        let mut client = connect(&server, transport);
        for _ in 0..5 {
            let top = client.subscribe("busy")["offset"].as_u64().unwrap_or(0);
            for offset in top + 1..top + 100 {
                let push = client.push();
                assert_eq!(push["pub"]["offset"], offset, "behind {top}");
            }
            let id = client.send_command(r#"{"unsubscribe":{"channel":"busy"}}"#);
            let reply = format!("{{\"id\":{id},\"unsubscribe\":{{}}}}");
            while client.object() != reply {}
        }
    });
}

#[test]
fn a_leave_is_told_once_and_a_client_that_closes_is_out_of_presence_at_once() {
    contract(|shape, transport| {
        let server = TestServer::start(shape, |settings| settings.presence_events = true);
        let mut watcher = member(&server, transport, "a");
        assert!(watcher.push()["join"].is_object());
        let mut client = connect(&server, transport);
        let info = json!({ "user": "", "client": client.connected["client"] });
        let [join, leave] = ["join", "leave"].map(|kind| json!({ "channel": "a", kind: { "info": info } }));
        for _ in 0..3 {
            client.subscribe("a");
            client.result("unsubscribe", json!({ "channel": "a" }));
            client.result("unsubscribe", json!({ "channel": "a" }));
            assert_eq!([watcher.push(), watcher.push()], [join.clone(), leave.clone()]);
        }
        client.subscribe("a");
        close(client, transport);
        expect_members(&server, transport, "a", 1);
        assert_eq!([watcher.push(), watcher.push()], [join, leave]);
        watcher.expect_nothing();
    });
}

#[test]
fn a_client_publishes_where_it_is_no_member_only_if_the_rule_lets_it() {
    over_all(|transport| {
        let server = TestServer::start(Shape::MANY, |settings| {
            settings.rules = vec![
                RuleSettings { publish: Some(Who::Anyone), ..RuleSettings::new("open*", Who::Anyone) },
                RuleSettings::new("*", Who::Anyone),
            ];
        });
        let mut listener = member(&server, transport, "open");
        let mut text = Client::member(&server, Transport::Tcp, "open", "text");
        let mut outsider = connect(&server, transport);
        outsider.publish("open", r#"{"text":"from outside"}"#);
        let push = listener.push();
        assert_eq!(push["pub"]["data"], json!({ "text": "from outside" }));
        assert_eq!(push["pub"]["info"]["client"], outsider.connected["client"]);
        assert!(text.line().ends_with("] from outside"));
        outsider.publish("open-empty", 1);
        assert_eq!(code(&outsider.error("publish", json!({ "channel": "closed", "data": 1 }))), 103);
        outsider.expect_nothing();
    });
}

#[test]
fn a_second_subscribe_is_refused_and_an_unsubscribe_always_succeeds() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut client = member(&server, transport, "a");
        assert_eq!(code(&client.error("subscribe", json!({ "channel": "a" }))), 105);
        for room in ["a", "a", "never", "no room", "x".repeat(300).as_str()] {
            assert_eq!(client.result("unsubscribe", json!({ "channel": room })), json!({}));
        }
        for (room, error) in [("no room", 107), ("", 107), (&*"x".repeat(300), 107), ("cafe\u{301}", 107)] {
            for method in ["subscribe", "presence", "presence_stats", "history"] {
                assert_eq!(code(&client.error(method, json!({ "channel": room }))), error, "{method} {room}");
            }
        }
        client.subscribe("a");
        client.publish("a", 1);
        assert_eq!(client.publication("a"), json!(1));
        client.expect_nothing();
    });
}

#[test]
fn a_client_that_is_told_to_go_on_may_be_of_another_encoding_each_time() {
    let server = TestServer::plain(Shape::MANY);
    let mut text = Client::member(&server, Transport::WebSocket, "a", "text");
    for encoding in [Encoding::Json, Encoding::Protobuf, Encoding::Json] {
        let mut client = member(&server, CentrifugeTransport::WebSocket(encoding), "a");
        client.publish("a", r#""hello""#);
        assert!(text.line().ends_with("] hello"));
        client.close();
    }
    assert_eq!(text.request("WHO"), r#"Members of a: ["text"]"#);
}
