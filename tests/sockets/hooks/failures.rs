//! What holds when the application gives no answer, and what it may not say.

use std::net::TcpStream;
use std::time::Duration;

use harness::{Application, Client, Disconnect, Transport, at_once, http_answer, until};
use roomcast::auth::UnixSeconds;
use roomcast::auth::revocations::Revocation;
use roomcast::config::{Config, HookPolicy, Settings, Span};
use roomcast::protocol::publication::UserId;
use serde_json::json;
use tokio::runtime::Builder;

use super::{Hooked, Kind, Member, Wish, hook, over_all, unavailable};
use crate::server::{Shape, TestServer};

/// Answers that are none.
fn wrong_answers() -> Vec<Vec<u8>> {
    let status = |line: &str| format!("HTTP/1.1 {line}\r\nContent-Length: 2\r\n\r\n{{}}").into_bytes();
    vec![
        status("500 Internal Server Error"),
        status("204 No Content"),
        status("302 Found\r\nLocation: /other"),
        status("307 Temporary Redirect\r\nLocation: http://127.0.0.1/"),
        http_answer("", "no JSON"),
        http_answer("", "[]"),
        http_answer("", r#"{"refuse":true}"#),
        http_answer("", r#"{"claims":{}}"#),
        http_answer("", format!(r#"{{"data":{}{}}}"#, "[".repeat(50_000), "]".repeat(50_000))),
        http_answer("", json!({ "text": "x".repeat(65_536) }).to_string()),
        http_answer("", json!({ "text": "a\u{1b}[2J" }).to_string()),
        http_answer("", format!(r#"{{"more":"{}"}}"#, "x".repeat(10_000_000))),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n".to_vec(),
        b"SSH-2.0-OpenSSH_9.6\r\n".to_vec(),
    ]
}

#[test]
fn a_wrong_answer_is_as_good_as_none() {
    at_once(wrong_answers(), |wrong| {
        for (policy, kind) in [(HookPolicy::Deny, Kind::Centrifuge), (HookPolicy::Allow, Kind::Text(Transport::Tcp))] {
            let hooked = Hooked::start(Shape::ONE, |settings| settings.hooks.hook_publish = policy);
            let mut member = Member::of_a(&hooked.server, kind);
            let publish = member.begin_publish("hello");
            hooked.question("publish").answer_bytes(wrong.clone());
            match policy {
                HookPolicy::Deny => assert_eq!(member.refusal(publish), unavailable(kind)),
                _ => assert_eq!(member.hear(), "hello"),
            }
            assert_eq!(hooked.count("publish", "failed"), 1);
            hooked.application.expect_no_question();
        }
    });
}

#[test]
fn a_connection_that_ends_or_a_late_answer_is_decided_by_the_policy() {
    over_all(|kind| {
        let hooked = Hooked::start(Shape::ONE, |settings| {
            (settings.hooks.hook_join, settings.hooks.hook_publish) = (HookPolicy::Allow, HookPolicy::Deny);
            settings.hooks.hook_timeout = Span(Duration::from_secs(2));
        });
        let mut member = Member::connect(&hooked.server, kind);
        let join = member.begin_join("a");
        drop(hooked.question("join"));
        assert_eq!(member.joined(join, "a"), Ok(()));
        let publish = member.begin_publish("late");
        let question = hooked.question("publish");
        assert_eq!(member.refusal(publish), unavailable(kind));
        question.answer("{}");
        member.expect_nothing();
        until(|| hooked.count("publish", "timeout") == 1);
    });
}

#[test]
fn after_failures_in_a_row_the_application_is_left_alone_and_asked_again_later() {
    let kind = Kind::Text(Transport::Tcp);
    let hooked = Hooked::asking(&[Wish::Publish]);
    let mut member = Member::of_a(&hooked.server, kind);
    for _ in 0..5 {
        let publish = member.begin_publish("x");
        drop(hooked.question("publish"));
        assert_eq!(member.refusal(publish), unavailable(kind));
    }
    let publish = member.begin_publish("x");
    assert_eq!(member.refusal(publish), unavailable(kind), "at once");
    hooked.application.expect_no_question();
    assert!(hooked.count("publish", "circuit-open") >= 1);
    hooked.application.answer_all(|_| http_answer("", "{}"));
    until(|| {
        member.begin_publish("x");
        match &mut member {
            Member::Text(client) => client.line().ends_with("] x"),
            Member::Centrifuge(_) => unreachable!("a text client"),
        }
    });
    let publish = member.begin_publish("y");
    member.published(publish);
    assert_eq!(member.hear(), "y");
}

#[test]
fn nobody_connects_through_an_application_that_fails_unless_the_policy_allows_it() {
    for transport in Transport::ALL {
        let hooked = Hooked::asking(&[Wish::Connect]);
        let mut client = Client::open(&hooked.server, transport);
        drop(hooked.question("connect"));
        let lines = client.lines_until_closed(Disconnect::Refused);
        assert_eq!(lines, [unavailable(Kind::Text(transport))]);
        let hooked = Hooked::start(Shape::ONE, |settings| settings.hooks.hook_connect = HookPolicy::Allow);
        let mut client = Client::open(&hooked.server, transport);
        drop(hooked.question("connect"));
        client.expect(harness::WELCOME);
    }
}

#[test]
fn a_client_that_is_disconnected_waits_for_no_answer() {
    over_all(|kind| {
        let hooked = Hooked::start(Shape::ONE, |settings| {
            (settings.hooks.hook_connect, settings.hooks.hook_publish) = (HookPolicy::Deny, HookPolicy::Deny);
        });
        let mut member = hooked.connect_as_alice(kind);
        member.begin_publish("x");
        let _question = hooked.question("publish");
        until(|| hooked.in_flight() == 1);
        let revocation = Revocation::User(UserId::new("alice"), UnixSeconds(u64::MAX));
        let runtime = Builder::new_current_thread().build().expect("a runtime");
        assert!(runtime.block_on(hooked.server.control.workers().revoke(&revocation)));
        member.expect_kicked();
        until(|| hooked.in_flight() == 0);
    });
}

#[test]
fn a_server_that_stops_still_asks_about_what_it_has_read() {
    over_all(|kind| {
        let hooked = Hooked::asking(&[Wish::Publish]);
        let mut listener = Member::of_a(&hooked.server, Kind::Text(Transport::Tcp));
        let mut member = Member::of_a(&hooked.server, kind);
        member.begin_publish("last words");
        let question = hooked.question("publish");
        hooked.server.begin_stop();
        until(|| TcpStream::connect(hooked.server.tcp.address).is_err());
        question.answer("{}");
        assert_eq!(listener.hear(), "last words");
    });
}

#[test]
fn an_address_that_is_not_public_is_refused_at_the_start_unless_it_is_listed() {
    let folder = tempfile::tempdir().expect("a folder");
    let start = |url: &str, networks: &[&str]| {
        let mut settings = Settings::default();
        settings.hooks.hook_join = HookPolicy::Deny;
        hook(&mut settings, &folder, url.to_owned());
        settings.hooks.hook_networks = networks.iter().map(|&network| network.into()).collect();
        let config = Config::try_from(settings).expect("settings within their rules");
        roomcast::server::check(&config).map_err(|error| error.to_string())
    };
    for url in ["http://127.0.0.1:1/", "https://[::1]/", "http://[::ffff:10.0.0.1]/", "http://169.254.169.254/latest"] {
        let error = start(url, &["192.168.0.0/16"]).expect_err(url);
        assert!(error.contains("and hook-networks does not list it"), "{error}");
    }
    assert_eq!(start("http://127.0.0.1:1/", &["127.0.0.0/8"]), Ok(()));
    assert_eq!(start("http://1.1.1.1/", &[]), Ok(()));
}

#[test]
fn a_name_of_an_address_that_is_not_listed_is_never_connected_to() {
    let application = Application::start();
    let by_name = application.url().replace("127.0.0.1", "localhost");
    let folder = tempfile::tempdir().expect("a folder");
    for (networks, is_asked) in [(vec![], false), (vec!["127.0.0.0/8".to_owned(), "::1".to_owned()], true)] {
        let server = TestServer::start(Shape::ONE, |settings| {
            hook(settings, &folder, by_name.clone());
            (settings.hooks.hook_publish, settings.hooks.hook_networks) = (HookPolicy::Deny, networks);
        });
        let kind = Kind::Text(Transport::Tcp);
        let mut member = Member::of_a(&server, kind);
        let publish = member.begin_publish("hello");
        if is_asked {
            application.question().answer("{}");
            assert_eq!(member.hear(), "hello");
        } else {
            assert_eq!(member.refusal(publish), unavailable(kind));
            application.expect_no_question();
        }
    }
}
