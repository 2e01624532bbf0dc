//! Members of all transports on two and three nodes.

use std::io::Write;
use std::thread;

use harness::{
    Centrifuge, CentrifugeTransport, Client, EventStream, Lines, NatsOptions, NatsServer, OLDEST_NATS, Program,
    Transport, at_once, until,
};
use serde_json::{Value, json};

use crate::listener::{Staying, place};
use crate::load::{Load, Summary};
use crate::nodes::Nodes;

/// Texts of each member in the test of order.
const TEXTS: usize = 20;

/// A member of any kind, which says and hears texts.
enum Member {
    Text(Client),
    Sdk(Centrifuge),
}

impl Member {
    fn of_every_kind(node: &Program, room: &str) -> Vec<Self> {
        let text = Transport::ALL.map(|transport| Self::Text(Client::member(node, transport, room, "text")));
        let sdk = CentrifugeTransport::ALL.map(|transport| {
            let mut client = Centrifuge::connect_over(transport, node.http, None);
            client.subscribe(room);
            Self::Sdk(client)
        });
        text.into_iter().chain(sdk).collect()
    }

    fn say(&mut self, room: &str, text: &str) {
        match self {
            Self::Text(client) => client.send(text),
            Self::Sdk(client) => {
                client.send_command(json!({ "publish": { "channel": room, "data": { "text": text } } }));
            }
        }
    }

    /// The next text that is said in the room.
    #[track_caller]
    fn hear(&mut self) -> String {
        match self {
            Self::Text(client) => {
                let line = client.line();
                line.split_once("] ").unwrap_or_else(|| panic!("{line:?} has no label")).1.to_owned()
            }
            Self::Sdk(client) => loop {
                let object: Value = serde_json::from_str(&client.object()).expect("JSON");
                if let Some(text) = object["push"]["pub"]["data"]["text"].as_str() {
                    return text.to_owned();
                }
                assert_eq!(object["publish"], json!({}), "{object}");
            },
        }
    }
}

#[test]
fn members_of_all_transports_on_all_nodes_hear_one_order() {
    let Some(nats) = NatsServer::start() else { return };
    at_once([2, 3], |count| {
        let nodes = Nodes::start_with(&nats.url(), count, &["--cluster-name", &format!("of-{count}")]);
        let members: Vec<Member> = nodes.nodes.iter().flat_map(|node| Member::of_every_kind(node, "a")).collect();
        let texts = members.len() * TEXTS;
        let talk = |(name, mut member): (usize, Member)| {
            thread::spawn(move || {
                (0..TEXTS).for_each(|number| member.say("a", &format!("{name}.{number}")));
                (0..texts).map(|_| member.hear()).collect::<Vec<String>>()
            })
        };
        let threads: Vec<_> = members.into_iter().enumerate().map(talk).collect();
        let heard: Vec<Vec<String>> = threads.into_iter().map(|thread| thread.join().expect("it heard all")).collect();
        for (member, texts) in heard.iter().enumerate() {
            assert!(*texts == heard[0], "member {member} hears {texts:?} and not {:?}", heard[0]);
        }
        for name in 0..heard.len() {
            let label = format!("{name}.");
            let said: Vec<&str> = heard[0].iter().filter_map(|text| text.strip_prefix(&label)).collect();
            assert_eq!(said, (0..TEXTS).map(|number| number.to_string()).collect::<Vec<String>>());
        }
    });
}

#[test]
fn one_server_alone_passes_what_nodes_must_pass() {
    let nodes = Nodes::start_with("", 1, &[]);
    let summary = come_and_go(&nodes);
    assert_eq!((summary.refused, summary.unknown), (0, 0), "{summary:?}");
}

#[test]
fn members_that_are_cut_again_and_again_resume_on_another_node_and_miss_nothing() {
    let Some(nats) = NatsServer::start() else { return };
    come_and_go(&Nodes::start(&nats, 2));
}

#[test]
fn the_oldest_supported_nats_server_does_as_well() {
    let options = NatsOptions { version: OLDEST_NATS, ..NatsOptions::default() };
    let Some(nats) = NatsServer::start_with(options) else { return };
    come_and_go(&Nodes::start(&nats, 2));
}

/// Members of all kinds cut themselves and come back to the next node while others publish. Nodes refuse texts while
/// NATS is late.
fn come_and_go(nodes: &Nodes) -> Summary {
    let load = Load::start_with(nodes, Staying::Messages(20));
    load.until_all_go_on(30);
    let summary = load.end();
    assert!(summary.recovered > 10 && summary.acknowledged > 60, "{summary:?}");
    assert_eq!(summary.gaps, 0, "{summary:?}");
    summary
}

#[test]
fn all_nodes_have_the_same_histories_and_positions() {
    let Some(nats) = NatsServer::start() else { return };
    let nodes = Nodes::start(&nats, 2);
    let [mut one, mut two] = [nodes.backend(0), nodes.backend(1)];
    let call = json!({ "channel": "a", "data": { "text": "first" }, "idempotency_key": "key" });
    let first = one.result("publish", call.clone());
    // A repeat is one on every node, also on one that has not heard the first yet.
    assert_eq!(two.result("publish", call.clone()), first);
    let reused = json!({ "channel": "a", "data": { "text": "another" }, "idempotency_key": "key" });
    assert_eq!([&mut one, &mut two].map(|node| node.error("publish", reused.clone()).0), [113, 113]);
    let second = two.publish("a", "second");
    let other = one.publish("b", "elsewhere");
    assert!(first["epoch"] == second["epoch"] && first["epoch"] == other["epoch"], "{first} {second} {other}");
    let read = json!({ "channel": "a", "limit": -1 });
    until(|| one.result("history", read.clone())["publications"].as_array().map(Vec::len) == Some(2));
    let [history, same] = [&mut one, &mut two].map(|node| node.result("history", read.clone()));
    assert_eq!((&history["epoch"], &history["publications"]), (&same["epoch"], &same["publications"]));
    one.result("history_remove", json!({ "channel": "a" }));
    until(|| two.result("history", read.clone())["publications"] == json!([]));
    let third = two.publish("a", "third");
    until(|| {
        let left = one.result("history", read.clone());
        left["publications"] == json!([{ "data": { "text": "third" }, "offset": third["offset"] }])
    });
}

#[test]
fn thousands_of_messages_at_once_keep_one_order() {
    const LINES: usize = 10_000;
    let Some(nats) = NatsServer::start() else { return };
    let nodes = Nodes::start(&nats, 2);
    // All are members before the first line.
    let members = [0, 0, 1, 1].map(|node: usize| Lines::member(nodes.nodes[node].tcp, "a"));
    for (node, publisher) in members.iter().step_by(2).enumerate() {
        let lines: String = (0..LINES).map(|number| format!("{node} {number}\n")).collect();
        let output = publisher.write_half();
        thread::spawn(move || (&output).write_all(lines.as_bytes()).expect("a server that reads"));
    }
    let listen = |mut member: Lines| thread::spawn(move || (0..2 * LINES).map(|_| member.line()).collect());
    let heard = members.map(listen).into_iter().map(|thread| thread.join().expect("it heard all"));
    let heard: Vec<Vec<String>> = heard.collect();
    assert!(heard.iter().all(|lines| *lines == heard[0]), "two members heard different orders");
    for node in 0..2 {
        let of_node = heard[0].iter().filter_map(|line| line.split_once("] ")?.1.strip_prefix(&format!("{node} ")));
        assert!(of_node.eq((0..LINES).map(|number| number.to_string())), "of node {node}");
    }
}

#[test]
fn the_longest_messages_with_the_longest_tags_reach_other_nodes() {
    let Some(nats) = NatsServer::start() else { return };
    let nodes = Nodes::start(&nats, 2);
    let mut sdk = Centrifuge::member(nodes.nodes[1].http, "a");
    let mut backend = nodes.backend(0);
    let long = "\u{e4}".repeat(20_000);
    for number in 0..20 {
        let tags: Value = (0..100).map(|tag| (format!("{tag}"), Value::from("x".repeat(200)))).collect();
        let call = json!({ "channel": "a", "data": { "text": long }, "tags": tags });
        backend.result("publish", call);
        let push = sdk.push();
        assert_eq!((&push["pub"]["data"]["text"], &push["pub"]["tags"]), (&json!(long), &tags), "{number}");
    }
    let skipped = json!({ "channel": "a", "data": { "text": "skipped" }, "skip_history": true });
    assert_eq!(backend.result("publish", skipped), json!({}));
    let push = sdk.push();
    assert_eq!((&push["pub"]["data"]["text"], &push["pub"]["offset"]), (&json!("skipped"), &Value::Null));
    let history = backend.result("history", json!({ "channel": "a", "limit": 1, "reverse": true }));
    assert_eq!(history["publications"][0]["data"]["text"], long);
}

#[test]
fn a_repeat_on_every_node_at_once_is_published_once() {
    let Some(nats) = NatsServer::start() else { return };
    let nodes = Nodes::start(&nats, 3);
    for number in 0..20 {
        let call = json!({ "channel": "a", "data": number, "idempotency_key": format!("key {number}") });
        let repeats = [0, 1, 2].map(|node| {
            let (mut backend, call) = (nodes.backend(node), call.clone());
            thread::spawn(move || backend.result("publish", call))
        });
        let results = repeats.map(|thread| thread.join().expect("a result"));
        assert!(results.iter().all(|result| *result == results[0]), "{results:?}");
    }
    let history = nodes.backend(0).result("history", json!({ "channel": "a", "limit": -1 }));
    assert_eq!(history["publications"].as_array().map(Vec::len), Some(20));
}

#[test]
fn a_room_that_has_been_silent_is_resumed_on_a_node_that_never_had_a_member_of_it() {
    let Some(nats) = NatsServer::start() else { return };
    let nodes = Nodes::start(&nats, 2);
    nodes.backend(0).publish("other", "so that the stream has something");
    for (number, room) in ["never-said", "said-once"].into_iter().enumerate() {
        let mut text = Client::member(&nodes.nodes[0], Transport::Tcp, room, "text");
        let mut sdk = Centrifuge::connect(nodes.nodes[0].http, None);
        let joined = sdk.subscribe(room);
        if number == 1 {
            text.send("once");
            text.expect("[text] once");
            assert_eq!(sdk.publication(room)["text"], "once");
        }
        let position = text.request("POSITION").strip_prefix("Position ").expect("a position").to_owned();
        drop((text, sdk));
        let (epoch, offset) = place(&position);
        assert_eq!(joined["epoch"], epoch.as_str());
        let mut text = Client::connect(&nodes.nodes[1], Transport::WebSocket);
        assert_eq!(text.request(&format!("JOIN {room} since={position}")), format!("Joined {room}"));
        text.expect_nothing();
        let mut sdk = Centrifuge::connect(nodes.nodes[1].http, None);
        let request = json!({ "channel": room, "recover": true, "epoch": epoch, "offset": offset });
        assert_eq!(sdk.result("subscribe", request)["recovered"], true, "{room}");
        let path = format!("/rooms/{room}?live=sse&since={position}");
        let mut events = EventStream::open(nodes.nodes[1].http, &path, "");
        nodes.backend(0).publish(room, "on");
        text.expect("[backend] on");
        assert_eq!(sdk.publication(room)["text"], "on");
        assert!(events.expect("message").contains("\"on\""));
    }
}

#[test]
fn a_client_whose_node_is_ahead_resumes_on_one_that_is_behind() {
    let Some(nats) = NatsServer::start() else { return };
    let nodes = Nodes::start(&nats, 2);
    let mut sdk = Centrifuge::connect(nodes.nodes[1].http, None);
    let epoch = sdk.subscribe("other")["epoch"].clone();
    let mut backend = nodes.backend(0);
    for number in 0..50 {
        // The position is known here before the other node can have it.
        let published = backend.publish("a", &number.to_string());
        let offset = published["offset"].clone();
        let request = json!({ "channel": "a", "recover": true, "epoch": epoch, "offset": offset });
        let joined = sdk.result("subscribe", request);
        assert_eq!((&joined["recovered"], &joined["offset"]), (&json!(true), &offset), "{joined}");
        sdk.result("unsubscribe", json!({ "channel": "a" }));
    }
}

#[test]
fn a_node_that_starts_later_knows_what_was_said_before() {
    let Some(nats) = NatsServer::start() else { return };
    let mut nodes = Nodes::start(&nats, 1);
    let mut backend = nodes.backend(0);
    let published: Vec<Value> = (0..300).map(|number| backend.publish("a", &number.to_string())).collect();
    nodes.add_at(&nats.url());
    let read = json!({ "channel": "a", "limit": -1 });
    let history = nodes.backend(1).result("history", read.clone());
    assert_eq!(history["publications"].as_array().map(Vec::len), Some(300));
    assert_eq!(history["publications"], backend.result("history", read)["publications"]);
    let mut sdk = Centrifuge::connect(nodes.nodes[1].http, None);
    let since = &published[99];
    let request = json!({ "channel": "a", "recover": true, "epoch": since["epoch"], "offset": since["offset"] });
    let joined = sdk.result("subscribe", request);
    assert_eq!((&joined["recovered"], joined["publications"].as_array().map(Vec::len)), (&json!(true), Some(200)));
}

#[test]
fn two_clusters_on_one_nats_server_do_not_hear_each_other() {
    let Some(nats) = NatsServer::start() else { return };
    let [one, two] = ["one", "two"].map(|name| Nodes::start_with(&nats.url(), 1, &["--cluster-name", name]));
    let [mut of_one, mut of_two] =
        [&one, &two].map(|nodes| Client::member(&nodes.nodes[0], Transport::Tcp, "a", "member"));
    of_one.send("hello one");
    of_two.send("hello two");
    of_one.expect("[member] hello one");
    of_two.expect("[member] hello two");
    of_one.expect_nothing();
    of_two.expect_nothing();
}

#[test]
fn answers_stay_behind_what_the_client_has_said_before() {
    let Some(nats) = NatsServer::start() else { return };
    let nodes = Nodes::start(&nats, 2);
    at_once(Transport::ALL, |transport| {
        let room = format!("{transport:?}");
        let mut client = Client::member(&nodes.nodes[1], transport, &room, "before");
        for command in ["said 1", "said 2", "PING 1", "NICK after", "said 3", "WHO", "LEAVE", "said 4", "PING 2"] {
            client.send(command);
        }
        for line in ["[before] said 1", "[before] said 2", "PONG 1", "You are after", "[after] said 3"] {
            client.expect(line);
        }
        client.expect(&format!("Members of {room}: [\"after\"]"));
        for line in ["Left room", "Join a room first", "PONG 2"] {
            client.expect(line);
        }
    });
}
