//! Tokens that expire, are renewed, or are revoked while their clients are connected.

use std::time::Duration;

use harness::{Client, Disconnect, Transport, at_once, until};
use roomcast::auth::UnixSeconds;
use roomcast::auth::revocations::Revocation;
use roomcast::config::{Anonymous, Settings, Span};
use roomcast::protocol::publication::UserId;
use serde_json::json;
use tokio::runtime::Builder;

use crate::access::{Guarded, seconds_from_now, token, token_of};
use crate::server::{Shape, TestServer};

fn short_grace(settings: &mut Settings) {
    settings.token_grace = Span(Duration::from_secs(1));
}

fn authenticate(client: &mut Client, token: &str) {
    client.send(&format!("AUTH {token}"));
    client.expect("Authenticated as alice");
}

#[test]
fn an_expired_token_is_told_and_ends_the_connection_unless_another_comes() {
    at_once(Transport::ALL, |transport| {
        let Guarded { server, folder: _folder } =
            Guarded::start(Shape::ONE, |settings| settings.token_grace = Span(Duration::from_secs(5)));
        let expired = || {
            let mut client = Client::connect(&server, transport);
            client.join("a");
            authenticate(&mut client, &token(&json!({ "sub": "alice", "exp": seconds_from_now(1) })));
            client.expect("EXPIRED 5");
            client
        };
        let mut stays = expired();
        authenticate(&mut stays, &token_of("alice"));
        assert_eq!(expired().lines_until_closed(Disconnect::TokenExpired), [""; 0]);
        stays.request_until("WHO", r#"Members of a: ["alice"]"#);
        stays.send("still here");
        stays.expect("[alice] still here");
    });
}

#[test]
fn expire_at_overrides_exp_and_zero_is_never() {
    let Guarded { server, folder: _folder } = Guarded::start(Shape::ONE, short_grace);
    let claims = json!({ "sub": "alice", "exp": seconds_from_now(2), "expire_at": 0 });
    let mut forever = Client::connect(&server, Transport::Tcp);
    authenticate(&mut forever, &token(&claims));
    let claims = json!({ "sub": "alice", "exp": seconds_from_now(600), "expire_at": seconds_from_now(3) });
    let mut soon = Client::connect(&server, Transport::Tcp);
    authenticate(&mut soon, &token(&claims));
    soon.expect("EXPIRED 1");
    assert_eq!(soon.lines_until_closed(Disconnect::TokenExpired), [""; 0]);
    forever.expect_nothing();
}

#[test]
fn a_client_that_must_present_a_token_and_does_not_is_closed() {
    at_once(Transport::ALL, |transport| {
        let Guarded { server, folder: _folder } = Guarded::start(Shape::ONE, |settings| {
            settings.anonymous = Anonymous::Deny;
            settings.header_timeout = Span(Duration::from_secs(3));
        });
        let mut authenticated = Client::connect(&server, transport);
        authenticate(&mut authenticated, &token_of("alice"));
        let mut silent = Client::connect(&server, transport);
        assert_eq!(silent.lines_until_closed(Disconnect::TokenInvalid), [""; 0]);
        authenticated.expect_nothing();
    });
}

fn revoke(server: &TestServer, revocation: Revocation) {
    let runtime = Builder::new_current_thread().build().expect("a runtime");
    assert!(runtime.block_on(server.control.workers().revoke(&revocation)));
}

#[test]
fn a_revoked_user_is_gone_from_everywhere_and_its_old_tokens_are_refused() {
    let Guarded { server, folder: _folder } = Guarded::start(Shape::MANY, |_| {});
    let old = token(&json!({ "sub": "alice", "iat": seconds_from_now(-100) }));
    let bob = token(&json!({ "sub": "bob", "iat": seconds_from_now(-100) }));
    let mut clients: Vec<Client> =
        (0..8).map(|index| Client::connect(&server, Transport::ALL[index % Transport::ALL.len()])).collect();
    clients.iter_mut().for_each(|client| authenticate(client, &old));
    let mut other = Client::connect(&server, Transport::Tcp);
    assert_eq!(other.request(&format!("AUTH {bob}")), "Authenticated as bob");
    let before = UnixSeconds(u64::try_from(seconds_from_now(0)).expect("a time"));
    revoke(&server, Revocation::User(UserId::new("alice"), before));
    for client in &mut clients {
        assert_eq!(client.lines_until_closed(Disconnect::Kicked), [""; 0]);
    }
    other.expect_nothing();
    let mut again = Client::connect(&server, Transport::Tcp);
    again.send(&format!("AUTH {old}"));
    assert_eq!(again.lines_until_closed(Disconnect::TokenInvalid), ["ERR forbidden token: revoked"]);
    let new = token(&json!({ "sub": "alice", "iat": seconds_from_now(1) }));
    authenticate(&mut Client::connect(&server, Transport::Tcp), &new);
}

#[test]
fn a_revoked_token_ends_its_clients_alone() {
    let Guarded { server, folder: _folder } = Guarded::start(Shape::MANY, |_| {});
    let [one, two] = ["one", "two"].map(|id| token(&json!({ "sub": "alice", "jti": id })));
    let mut kicked = Client::connect(&server, Transport::WebSocket);
    authenticate(&mut kicked, &one);
    let mut stays = Client::connect(&server, Transport::WebSocket);
    authenticate(&mut stays, &two);
    revoke(&server, Revocation::Token("one".into()));
    assert_eq!(kicked.lines_until_closed(Disconnect::Kicked), [""; 0]);
    stays.expect_nothing();
    until(|| {
        let mut again = Client::connect(&server, Transport::Tcp);
        again.send(&format!("AUTH {one}"));
        again.line() == "ERR forbidden token: revoked"
    });
}
