//! What bounds the questions: the rate of deliveries, the places, the memory of bodies, and the times of a connect.

use std::io::BufRead;
use std::time::{Duration, Instant};

use harness::frame::{FINAL_PING, FINAL_TEXT, frame};
use harness::{Centrifuge, Encoding, Http, Transport, http_answer, until};
use roomcast::config::{HookPolicy, RuleSettings, Size, Span, Who};
use serde_json::{Value, json};

use super::{Command, Hooked, Kind, Member, Wish, refused, unavailable};
use crate::server::Shape;
use crate::websocket;

/// The head of the answer to a reader of the room `a`, and the answer.
fn read(hooked: &Hooked) -> (u16, Http) {
    let mut client = Http::connect(hooked.server.http);
    client.send("GET /rooms/a?live=sse HTTP/1.1\r\nHost: localhost\r\n\r\n");
    (client.head().status, client)
}

/// The lines of a reader's stream until it ends.
fn lines_of(client: Http) -> Vec<String> {
    client.into_stream().lines().map(|line| line.expect("a stream")).collect()
}

#[test]
fn a_client_beyond_its_rate_causes_no_questions() {
    const PUBLISHES: u64 = 10;
    let hooked = Hooked::start(Shape::ONE, |settings| {
        settings.hooks.hook_publish = HookPolicy::Deny;
        (settings.deliveries_per_second, settings.deliveries_burst) = (1, 1);
    });
    let mut members: Vec<Member> = (0..100).map(|_| Member::of_a(&hooked.server, Kind::Centrifuge)).collect();
    let publish = members[0].begin_publish("1");
    hooked.question("publish").answer("{}");
    members[0].published(publish);
    assert_eq!(members[0].hear(), "1");
    for _ in 0..3 {
        let publish = members[0].begin_publish("2");
        assert!(members[0].refusal(publish).starts_with("111 "));
    }
    // What the application refuses is charged as one delivery, of which a second gives one.
    hooked.application.answer_all(|_| http_answer("", json!({ "refuse": { "reason": "no" } }).to_string()));
    let begun = Instant::now();
    let publishes: Vec<Command> = (0..PUBLISHES).map(|_| members[1].begin_publish("3")).collect();
    let refusals: Vec<String> = publishes.into_iter().map(|publish| members[1].refusal(publish)).collect();
    let seconds = begun.elapsed().as_secs();
    let [asked, beyond] = ["103 permission denied: no", "111 "]
        .map(|kind| refusals.iter().filter(|refusal| refusal.starts_with(kind)).count() as u64);
    assert!((1..=1 + seconds).contains(&asked) && asked + beyond == PUBLISHES, "{refusals:?}");
    let counted = ["allowed", "refused", "failed", "timeout"].map(|outcome| hooked.count("publish", outcome));
    assert_eq!(counted, [1, asked, 0, 0]);
}

#[test]
fn a_text_client_beyond_its_rate_waits_and_is_asked_about_then() {
    let hooked = Hooked::start(Shape::ONE, |settings| {
        settings.hooks.hook_publish = HookPolicy::Deny;
        (settings.deliveries_per_second, settings.deliveries_burst) = (20, 1);
    });
    let mut member = Member::of_a(&hooked.server, Kind::Text(Transport::Tcp));
    for text in ["1", "2", "3"] {
        member.begin_publish(text);
    }
    for text in ["1", "2", "3"] {
        let question = hooked.question("publish");
        assert_eq!(question.json()["data"]["text"], text);
        question.answer("{}");
        assert_eq!(member.hear(), text);
    }
}

#[test]
fn questions_that_get_no_place_in_time_are_no_failures_of_the_application() {
    let kind = Kind::Text(Transport::Tcp);
    let hooked = Hooked::start(Shape::ONE, |settings| {
        settings.hooks.hook_publish = HookPolicy::Deny;
        (settings.hooks.hook_concurrency, settings.hooks.hook_timeout) = (1, Span(Duration::from_secs(1)));
    });
    let mut members: Vec<Member> = (0..20).map(|_| Member::of_a(&hooked.server, kind)).collect();
    let waiting: Vec<Command> = members.iter_mut().map(|member| member.begin_publish("waits")).collect();
    let _held = hooked.question("publish");
    for (member, publish) in members.iter_mut().zip(waiting) {
        assert_eq!(member.refusal(publish), unavailable(kind));
    }
    let [timeout, overloaded, open] =
        ["timeout", "overloaded", "circuit-open"].map(|outcome| hooked.count("publish", outcome));
    assert_eq!((timeout + overloaded, open), (20, 0));
    assert!(overloaded > 0, "{timeout}");
    hooked.application.answer_all(|_| http_answer("", "{}"));
    members[0].begin_publish("heard");
    assert_eq!(members[0].hear(), "heard");
}

#[test]
fn the_bodies_of_questions_are_bounded_in_bytes_and_others_wait_in_order() {
    const BYTES: usize = 1_000_000;
    let hooked = Hooked::start(Shape::ONE, |settings| {
        settings.hooks.hook_publish = HookPolicy::Deny;
        settings.message_bytes = Size(BYTES + 100);
    });
    let mut members: Vec<Member> =
        (0..6).map(|_| Member::of_a(&hooked.server, Kind::Text(Transport::WebSocket))).collect();
    let long = "x".repeat(BYTES);
    // A text may double with its escapes, so that two fit.
    let waiting: Vec<Command> = members.iter_mut().map(|member| member.begin_publish(&long)).collect();
    for _ in 0..3 {
        let held = [(); 2].map(|()| hooked.question("publish"));
        until(|| hooked.in_flight() == 2);
        // What needs no memory of this size waits behind what does.
        hooked.application.expect_no_question();
        for question in held {
            assert!(question.body.len() > BYTES);
            question.answer(json!({ "refuse": { "reason": "no" } }));
        }
    }
    for (member, publish) in members.iter_mut().zip(waiting) {
        assert_eq!(member.refusal(publish), "ERR forbidden no");
    }
}

#[test]
fn the_time_to_connect_stops_while_the_application_is_asked() {
    let hooked = Hooked::start(Shape::ONE, |settings| {
        settings.hooks.hook_connect = HookPolicy::Deny;
        settings.header_timeout = Span(Duration::from_secs(3));
    });
    let mut asked = Centrifuge::open(hooked.server.http, Encoding::Json);
    let connect = asked.send_command(json!({ "connect": {} }));
    let question = hooked.question("connect");
    // The time of a later client is over, and so would be that of the one before.
    let mut silent = Centrifuge::open(hooked.server.http, Encoding::Json);
    silent.expect_closed(3502);
    question.answer("{}");
    assert_eq!(refused(&asked.reply(connect)), Ok(()));
}

#[test]
fn a_client_is_not_cut_for_silence_while_the_application_is_asked() {
    let hooked = Hooked::start(Shape::ONE, |settings| {
        settings.hooks.hook_publish = HookPolicy::Deny;
        settings.ping_interval = Span(Duration::from_millis(100));
        settings.pong_timeout = Span(Duration::from_secs(3));
    });
    let mut asking = websocket::member(&hooked.server, "alice");
    asking.send(frame(FINAL_TEXT, "hello"));
    let question = hooked.question("publish");
    // A client that came later is cut for its silence meanwhile.
    let mut mute = websocket::connect(&hooked.server);
    while mute.frame().is_some() {}
    question.answer("{}");
    let heard = std::iter::from_fn(|| asking.frame()).find(|(first, _)| *first != FINAL_PING);
    assert_eq!(heard, Some((FINAL_TEXT, b"[alice] hello".into())));
}

#[test]
fn a_reader_without_the_right_is_refused_before_its_stream_unless_the_application_can_give_it() {
    let with = |who: Who, hooks: &[Wish]| {
        let hooked = Hooked::start(Shape::ONE, |settings| {
            hooks.iter().for_each(|hook| *hook.policy(settings) = HookPolicy::Deny);
            settings.rules = vec![RuleSettings::new("a", who)];
        });
        let (status, _client) = read(&hooked);
        hooked.application.expect_no_question();
        status
    };
    assert_eq!(with(Who::Token, &[Wish::Publish]), 403);
    assert_eq!(with(Who::Nobody, &[Wish::Join, Wish::Publish]), 403);
}

#[test]
fn a_reader_that_is_refused_or_sent_away_comes_back_after_a_minute() {
    let hooked = Hooked::asking(&[Wish::Join]);
    let closed = |answer: Option<Value>| {
        let (status, client) = read(&hooked);
        assert_eq!(status, 200);
        let question = hooked.question("join");
        match answer {
            Some(answer) => question.answer(answer),
            None => drop(question),
        }
        let lines = lines_of(client);
        assert!(lines.iter().any(|line| line.contains("retry: 60000")), "{lines:?}");
        lines.iter().filter(|line| line.contains("\"reason\"")).map(String::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(closed(Some(json!({ "refuse": { "reason": "no" } }))), [r#"data: {"reason":"kicked"}"#]);
    assert_eq!(closed(None), [r#"data: {"reason":"refused"}"#]);
}
