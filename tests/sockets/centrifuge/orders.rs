//! Orders of the application to clients that are connected, over every transport and for text clients.

use harness::{Centrifuge, Client, Transport};
use roomcast::auth::UnixSeconds;
use roomcast::config::{RuleSettings, Who};
use roomcast::protocol::command::CommandError;
use roomcast::protocol::disconnect::Disconnect;
use roomcast::protocol::names::RoomName;
use roomcast::protocol::position::{Epoch, Offset, Since};
use roomcast::protocol::publication::{ClientId, UserId};
use roomcast::session::orders::{Addressee, CloseWords, Duty, JoinOrder, NotObeyed, Order};
use serde_json::json;
use tokio::runtime::Builder;

use super::{code, contract, over_all};
use crate::access::{Guarded, seconds_from_now, token, token_of};
use crate::server::{Shape, TestServer};

fn room(name: &str) -> RoomName {
    RoomName::parse(name).expect("a name")
}

fn join(name: &str) -> JoinOrder {
    JoinOrder { room: room(name), info: None, data: None, expires_at: None, since: None }
}

fn of_user(user: &str) -> Addressee {
    Addressee { user: UserId::new(user), ..Addressee::default() }
}

fn give(server: &TestServer, addressee: Addressee, order: Order) -> Result<(), NotObeyed> {
    let runtime = Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(server.control.workers().order(addressee, order))
}

fn count(server: &TestServer) -> (usize, usize) {
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(server.control.workers().count())
}

#[test]
fn a_client_is_told_that_it_joins_and_has_the_rights_of_a_token() {
    contract(|shape, transport| {
        // The application decides, also where the rule lets nobody in.
        let Guarded { server, folder: _folder } = Guarded::start(shape, |settings| {
            let closed = RuleSettings { publish: Some(Who::Nobody), ..RuleSettings::new("$a", Who::Nobody) };
            settings.rules = vec![closed, RuleSettings::new("*", Who::User)];
        });
        let mut client = Centrifuge::connect_over(transport, server.http, Some(&token_of("alice")));
        let order = JoinOrder { info: Some("[1]".into()), data: Some("{\"a\":1}".into()), ..join("$a") };
        let duty = || Order::Obey(Duty::Join(Box::new(order.clone())));
        give(&server, of_user("alice"), duty()).expect("it obeys");
        let push = client.push();
        assert_eq!((&push["channel"], &push["subscribe"]["data"]), (&json!("$a"), &json!({ "a": 1 })));
        assert_eq!(push["subscribe"]["recoverable"], true);
        let members = client.result("presence", json!({ "channel": "$a" }));
        let members = members["presence"].as_object().expect("members");
        assert_eq!(members.values().map(|member| &member["chan_info"]).collect::<Vec<_>>(), [&json!([1])]);
        let history = client.result("history", json!({ "channel": "$a", "limit": 1 }));
        assert_eq!(history["offset"], 0);
        assert_eq!(code(&client.error("publish", json!({ "channel": "$a", "data": 1 }))), 103);
        // Once more changes nothing.
        give(&server, of_user("alice"), duty()).expect("it obeys");
        client.expect_nothing();
        give(&server, of_user("alice"), Order::Obey(Duty::Leave(room("$a")))).expect("it obeys");
        let push = client.push();
        assert_eq!((&push["channel"], &push["unsubscribe"]["code"]), (&json!("$a"), &json!(2000)));
        give(&server, of_user("alice"), Order::Obey(Duty::Leave(room("$a")))).expect("it obeys");
        client.expect_nothing();
        assert_eq!(code(&client.error("presence", json!({ "channel": "$a" }))), 103);
    });
}

#[test]
fn what_was_missed_follows_the_push_and_then_all_that_is_live() {
    over_all(|transport| {
        let Guarded { server, folder: _folder } = Guarded::start(Shape::MANY, |_| {});
        let mut publisher = Centrifuge::connect_over(transport, server.http, Some(&token_of("bob")));
        let subscribed = publisher.subscribe("a");
        for number in 1..=5 {
            publisher.publish("a", number);
        }
        publisher.fence();
        let epoch = Epoch::parse(subscribed["epoch"].as_str().expect("an epoch"));
        let mut client = Centrifuge::connect_over(transport, server.http, Some(&token_of("alice")));
        let order = JoinOrder { since: Some(Since { epoch, offset: Offset(2) }), ..join("a") };
        give(&server, of_user("alice"), Order::Obey(Duty::Join(Box::new(order)))).expect("it obeys");
        assert_eq!(client.push()["subscribe"]["offset"], 5);
        for number in 3..=5 {
            assert_eq!(client.publication("a"), json!(number));
        }
        publisher.publish("a", 6);
        assert_eq!(client.publication("a"), json!(6));
    });
}

#[test]
fn a_client_that_cannot_obey_is_told_nothing_and_the_application_why() {
    over_all(|transport| {
        let Guarded { server, folder: _folder } = Guarded::start(Shape::MANY, |settings| {
            settings.rules = vec![
                RuleSettings { room_members: Some(1), ..RuleSettings::new("small", Who::Anyone) },
                RuleSettings::new("*", Who::Anyone),
            ];
        });
        let mut first = Centrifuge::connect_over(transport, server.http, Some(&token_of("bob")));
        first.subscribe("small");
        let mut client = Centrifuge::connect_over(transport, server.http, Some(&token_of("alice")));
        let refused = give(&server, of_user("alice"), Order::Obey(Duty::Join(Box::new(join("small")))));
        let full = CommandError::TooManyMembers { room: room("small"), members_max: 1 };
        assert_eq!(refused, Err(NotObeyed::Refused(full)));
        client.expect_nothing();
        assert_eq!(client.result("presence_stats", json!({ "channel": "small" }))["num_clients"], 1);
    });
}

#[test]
fn connections_end_with_the_code_and_the_reason_of_the_application() {
    contract(|shape, transport| {
        let Guarded { server, folder: _folder } = Guarded::start(shape, |_| {});
        let connect = |user: &str| {
            let mut client = Centrifuge::connect_over(transport, server.http, Some(&token_of(user)));
            client.subscribe("a");
            client
        };
        let (alice, mut also_alice, mut bob) = (connect("alice"), connect("alice"), connect("bob"));
        let kept = also_alice.connected["client"].as_str().and_then(|id| u64::from_str_radix(id, 16).ok());
        let except = kept.map(ClientId).into_iter().collect();
        let words = CloseWords::new(4100, "go \"away\"").expect("words");
        let order = |words| Order::End(Disconnect::Kicked, words);
        let addressee = Addressee { except, ..of_user("alice") };
        give(&server, addressee, order(Some(words))).expect("it obeys");
        let (before, end) = { alice }.until_closed();
        assert_eq!(end, (4100, "go \"away\"".to_owned()), "{before:?}");
        also_alice.expect_nothing();
        assert_eq!(count(&server), (2, 2));
        let addressee = Addressee { client: kept.map(ClientId), ..of_user("bob") };
        give(&server, addressee, order(None)).expect("nobody is of both");
        also_alice.expect_nothing();
        give(&server, of_user("alice"), order(None)).expect("it obeys");
        also_alice.expect_closed(3503);
        give(&server, of_user("bob"), Order::End(Disconnect::TokenExpired, None)).expect("it obeys");
        bob.expect_closed(3005);
        harness::until(|| count(&server) == (0, 0));
    });
}

#[test]
fn a_token_goes_on_until_another_time_and_other_rooms_show_other_information() {
    over_all(|transport| {
        let Guarded { server, folder: _folder } = Guarded::start(Shape::MANY, |_| {});
        let expiring = token(&json!({ "sub": "alice", "exp": seconds_from_now(600) }));
        let mut client = Centrifuge::connect_over(transport, server.http, Some(&expiring));
        let expires_at = Some(UnixSeconds(u64::try_from(seconds_from_now(6_000)).expect("a time")));
        let duty = Duty::Refresh { expires_at, info: Some("{\"name\":\"Alice\"}".into()) };
        give(&server, of_user("alice"), Order::Obey(duty)).expect("it obeys");
        let push = client.push();
        assert_eq!(push["refresh"]["expires"], true);
        assert!((5_900..=6_001).contains(&push["refresh"]["ttl"].as_u64().expect("seconds")), "{push}");
        client.subscribe("a");
        client.publish("a", 1);
        assert_eq!(client.push()["pub"]["info"]["conn_info"], json!({ "name": "Alice" }));
    });
}

#[test]
fn text_clients_move_leave_and_end_by_order() {
    harness::at_once(Transport::ALL, |transport| {
        let Guarded { server, folder: _folder } = Guarded::start(Shape::MANY, |_| {});
        let mut client = Client::connect(&server, transport);
        client.send(&format!("AUTH {}", token_of("alice")));
        client.expect("Authenticated as alice");
        client.join("a");
        give(&server, of_user("alice"), Order::Obey(Duty::Join(Box::new(join("$b"))))).expect("it obeys");
        client.expect("Joined $b");
        let since = Some(Since { epoch: None, offset: Offset(9) });
        let order = JoinOrder { since, ..join("$c") };
        give(&server, of_user("alice"), Order::Obey(Duty::Join(Box::new(order)))).expect("it obeys");
        client.expect("Joined $c");
        client.expect("GAP unknown");
        give(&server, of_user("alice"), Order::Obey(Duty::Join(Box::new(join("$b"))))).expect("it obeys");
        client.expect("Joined $b");
        let mut other = Client::connect(&server, transport);
        other.join("a");
        other.send("hello");
        assert_eq!(other.fence().len(), 1);
        client.expect_nothing();
        give(&server, of_user("alice"), Order::Obey(Duty::Leave(room("a")))).expect("it is not in it");
        give(&server, of_user("alice"), Order::Obey(Duty::Leave(room("$b")))).expect("it obeys");
        client.expect("Left room");
        let refresh = Duty::Refresh { expires_at: Some(UnixSeconds(u64::MAX / 2_000)), info: None };
        give(&server, of_user("alice"), Order::Obey(refresh)).expect("it obeys");
        client.expect_nothing();
        give(&server, of_user("alice"), Order::End(Disconnect::Kicked, None)).expect("it obeys");
        client.expect_closed(harness::Disconnect::Kicked);
        other.expect_nothing();
    });
}

#[test]
fn a_line_client_reads_the_words_of_the_application() {
    let Guarded { server, folder: _folder } = Guarded::start(Shape::ONE, |_| {});
    let mut client = Client::connect(&server, Transport::Tcp);
    client.send(&format!("AUTH {}", token_of("alice")));
    client.expect("Authenticated as alice");
    let words = CloseWords::new(4100, "go away").expect("words");
    give(&server, of_user("alice"), Order::End(Disconnect::Kicked, Some(words))).expect("it obeys");
    client.expect("ERR closed kicked 4100 go away");
    client.expect_end();
}
