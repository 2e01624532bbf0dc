//! Recovery, case by case: exactly what was missed or nothing of it.

use harness::Centrifuge;
use roomcast::config::Settings;
use serde_json::{Value, json};

use super::{code, connect, contract, over_all};
use crate::server::{Shape, TestServer};

/// A room in which `said` publications were made, of which the settings say how much is retained.
fn room(shape: Shape, said: u64, change: impl FnOnce(&mut Settings)) -> (TestServer, Centrifuge, String) {
    let server = TestServer::start(shape, change);
    let mut publisher = Centrifuge::connect(server.http, None);
    let epoch = publisher.subscribe("a")["epoch"].as_str().expect("an epoch").to_owned();
    for number in 1..=said {
        publisher.publish("a", number);
        assert_eq!(publisher.publication("a"), json!(number));
    }
    (server, publisher, epoch)
}

fn resume(offset: u64, epoch: &str) -> Value {
    json!({ "channel": "a", "recover": true, "offset": offset, "epoch": epoch })
}

/// The result is a recovery of all publications behind this offset up to that one.
#[track_caller]
fn expect_recovered(result: &Value, epoch: &str, since: u64, last: u64) {
    let [recovered, was_recovering] = ["recovered", "was_recovering"].map(|name| &result[name]);
    assert_eq!([recovered, was_recovering], [&json!(true), &json!(true)], "{result}");
    assert_eq!((result["epoch"].as_str(), result["offset"].as_u64().unwrap_or(0)), (Some(epoch), since), "{result}");
    let publications = result["publications"].as_array().map_or(&[][..], Vec::as_slice);
    let offsets: Vec<u64> = publications.iter().map(|one| one["offset"].as_u64().expect("an offset")).collect();
    assert_eq!(offsets, (since + 1..=last).collect::<Vec<u64>>());
    assert!(publications.iter().all(|one| one["data"] == one["offset"]), "{result}");
}

/// The result is a membership from this offset on, with nothing of what was missed.
#[track_caller]
fn expect_unrecovered(result: &Value, epoch: &str, last: u64) {
    let expected =
        json!({ "recoverable": true, "positioned": true, "epoch": epoch, "offset": last, "was_recovering": true });
    assert_eq!(*result, expected);
}

#[test]
fn a_client_that_comes_back_gets_exactly_what_it_has_missed_and_then_what_is_live() {
    contract(|shape, transport| {
        let (server, mut publisher, epoch) = room(shape, 8, |_| {});
        for (since, epoch_sent) in [(3, &*epoch), (0, &*epoch), (8, &*epoch), (3, ""), (0, ""), (8, "")] {
            let mut client = connect(&server, transport);
            let result = client.result("subscribe", resume(since, epoch_sent));
            expect_recovered(&result, &epoch, since, 8);
            client.expect_nothing();
        }
        let mut client = connect(&server, transport);
        client.result("subscribe", resume(5, &epoch));
        publisher.publish("a", 9);
        assert_eq!(client.push()["pub"]["offset"], 9);
        // A room goes on where it was after all have left, and a client may come back in the same connection.
        client.result("unsubscribe", json!({ "channel": "a" }));
        publisher.publish("a", 10);
        expect_recovered(&client.result("subscribe", resume(9, &epoch)), &epoch, 9, 10);
        client.result("unsubscribe", json!({ "channel": "a" }));
        publisher.result("unsubscribe", json!({ "channel": "a" }));
        expect_recovered(&client.result("subscribe", resume(8, &epoch)), &epoch, 8, 10);
    });
}

#[test]
fn what_cannot_all_be_had_is_not_given_in_part_and_the_client_is_a_member_from_now_on() {
    contract(|shape, transport| {
        let (server, mut publisher, epoch) = room(shape, 8, |settings| {
            settings.history_messages = 5;
        });
        for (since, epoch_sent) in [
            (2, &*epoch),
            (0, &*epoch),
            (0, ""),
            (2, ""),
            (9, &*epoch),
            (u64::MAX, &*epoch),
            (i64::MAX as u64, ""),
            (5, "0000000000000"),
            (5, "other"),
            (5, "_"),
            (8, "_"),
            (8, "\u{e4}\"\\"),
        ] {
            let mut client = connect(&server, transport);
            let result = client.result("subscribe", resume(since, epoch_sent));
            expect_unrecovered(&result, &epoch, 8);
            client.expect_nothing();
        }
        let mut client = connect(&server, transport);
        expect_recovered(&client.result("subscribe", resume(3, &epoch)), &epoch, 3, 8);
        publisher.publish("a", 9);
        assert_eq!(client.push()["pub"]["offset"], 9);
    });
}

#[test]
fn more_than_the_recovery_messages_are_not_recovered() {
    over_all(|transport| {
        let (server, _publisher, epoch) = room(Shape::MANY, 8, |settings| settings.recovery_messages = 3);
        let mut client = connect(&server, transport);
        expect_recovered(&client.result("subscribe", resume(5, &epoch)), &epoch, 5, 8);
        let mut client = connect(&server, transport);
        expect_unrecovered(&client.result("subscribe", resume(4, &epoch)), &epoch, 8);
        // History has the same limit.
        let history = client.result("history", json!({ "channel": "a", "limit": -1 }));
        assert_eq!(history["publications"].as_array().map(Vec::len), Some(3));
    });
}

#[test]
fn a_client_that_must_recover_and_cannot_is_no_member_and_is_not_counted() {
    contract(|shape, transport| {
        let (server, mut publisher, epoch) = room(shape, 8, |settings| settings.history_messages = 5);
        let must = |since: u64, epoch: &str| {
            let mut request = resume(since, epoch);
            // An SDK always sets bit 1.
            request["flag"] = json!(3);
            request
        };
        let mut client = connect(&server, transport);
        for (since, epoch_sent) in [(2, &*epoch), (9, &*epoch), (5, "0000000000000"), (5, "_")] {
            assert_eq!(code(&client.error("subscribe", must(since, epoch_sent))), 112);
        }
        let stats = publisher.result("presence_stats", json!({ "channel": "a" }));
        assert_eq!(stats["num_clients"], 1);
        publisher.publish("a", 9);
        publisher.push();
        client.expect_nothing();
        expect_recovered(&client.result("subscribe", must(5, &epoch)), &epoch, 5, 9);
        publisher.publish("a", 10);
        assert_eq!(client.push()["pub"]["offset"], 10);
        // A room that nobody is in is not created by a client that must recover there and cannot.
        let mut lonely = must(5, "0000000000000");
        lonely["channel"] = json!("nobody");
        assert_eq!(code(&client.error("subscribe", lonely)), 112);
        harness::until(|| harness::metrics(server.http)["active_rooms"] == 1.0);
        // Without the wish to recover, the bit means nothing.
        let mut plain = json!({ "channel": "nobody", "flag": 2 });
        assert_eq!(client.result("subscribe", &plain)["recoverable"], true);
        plain["channel"] = json!("other");
        client.result("subscribe", &plain);
    });
}

#[test]
fn a_room_that_has_vanished_comes_back_with_another_epoch() {
    over_all(|transport| {
        let server = TestServer::plain(Shape::MANY);
        let mut client = connect(&server, transport);
        let first = client.subscribe("a")["epoch"].clone();
        // Nothing was published, so nothing is remembered.
        client.result("unsubscribe", json!({ "channel": "a" }));
        let request = json!({ "channel": "a", "recover": true, "offset": 0, "epoch": first });
        let second = client.result("subscribe", request);
        assert_ne!(second["epoch"], first);
        assert_eq!((&second["recovered"], &second["was_recovering"]), (&Value::Null, &json!(true)));
    });
}

#[test]
fn many_clients_recover_at_once_each_from_its_own_place() {
    over_all(|transport| {
        let (server, _publisher, epoch) = room(Shape::MANY, 20, |_| {});
        let mut clients: Vec<Centrifuge> = (0..20).map(|_| connect(&server, transport)).collect();
        let ids: Vec<u32> = (0..20)
            .map(|place| clients[place].send_command(json!({ "subscribe": resume(place as u64, &epoch) })))
            .collect();
        for (place, client) in clients.iter_mut().enumerate() {
            expect_recovered(&client.reply(ids[place])["subscribe"], &epoch, place as u64, 20);
        }
    });
}
