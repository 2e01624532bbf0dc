//! Origins: the web pages that may open a WebSocket, and read rooms.

use harness::{HANDSHAKE, Http, WELCOME, WebSocket};

use roomcast::config::{Settings, WebPages};

use crate::server::{Shape, TestServer};

/// A browser's handshake from a page of this origin.
fn handshake_from(origin: &str) -> String {
    HANDSHAKE.replace("Host: localhost", &format!("Host: localhost:3000\r\nOrigin: {origin}"))
}

#[track_caller]
fn expect_let_in(server: &TestServer, origin: &str) {
    WebSocket::upgrade(server.http, handshake_from(origin)).expect(WELCOME);
}

#[track_caller]
fn expect_refused(server: &TestServer, origin: &str) {
    let mut client = Http::connect(server.http);
    client.send(handshake_from(origin));
    let (head, body) = client.answer();
    assert_eq!((head.status, head.header("connection")), (403, Some("close")), "{origin}");
    assert_eq!(body, "pages of this Origin may not connect: see allowed-origins\n");
    client.expect_end();
}

#[test]
fn pages_of_the_same_host_may_and_others_hear_why_not() {
    let server = TestServer::plain(Shape::ONE);
    for origin in ["http://localhost:3000", "https://LOCALHOST:3000"] {
        expect_let_in(&server, origin);
    }
    for origin in ["http://localhost", "http://localhost:3001", "https://evil.example", "null", "", "file://"] {
        expect_refused(&server, origin);
    }
    // A client that is no browser.
    WebSocket::connect(server.http).expect(WELCOME);
}

/// A handshake from a page of the host that it asks for.
fn handshake_to(host: &str) -> String {
    HANDSHAKE.replace("Host: localhost", &format!("Host: {host}\r\nOrigin: http://{host}"))
}

#[track_caller]
fn status(server: &TestServer, handshake: &str) -> u16 {
    let mut client = Http::connect(server.http);
    client.send(handshake);
    client.answer().0.status
}

#[test]
fn a_name_that_was_made_to_resolve_to_loopback_is_not_the_servers_own() {
    let server = TestServer::plain(Shape::ONE);
    for own in ["localhost:3000", "chat.localhost:3000", "127.0.0.1:3000", "[::1]:3000"] {
        assert_eq!(status(&server, &handshake_to(own)), 101, "{own}");
    }
    for rebound in ["evil.example:3000", "localhost.evil.example:3000"] {
        assert_eq!(status(&server, &handshake_to(rebound)), 403, "{rebound}");
    }
    let listed = "http://chat.example:3000".to_owned();
    let server = TestServer::start(Shape::ONE, |settings| settings.allowed_origins = vec![listed]);
    assert_eq!(status(&server, &handshake_to("chat.example:3000")), 101);
}

/// What a page may read by a GET, for which its browser names no origin if the page is of the same host.
const READ: [&str; 6] = [
    "/rooms",
    "/rooms/a",
    "/rooms/a?live=sse",
    "/connection/sse?cf_connect=%7B%22id%22:1,%22connect%22:%7B%7D%7D",
    "/connection/uni_sse?cf_connect=%7B%7D",
    "/dashboard/stats",
];

/// The status of the answer to a request without an origin.
#[track_caller]
fn status_of(server: &TestServer, target: &str, headers: &str) -> u16 {
    let mut client = Http::connect(server.http);
    client.send(format!("{target} HTTP/1.1\r\n{headers}\r\n\r\n"));
    client.head().status
}

#[test]
fn a_page_of_a_name_that_was_made_to_resolve_to_loopback_reads_nothing() {
    let server = TestServer::start(Shape::ONE, |settings| settings.pages = WebPages::All);
    for path in READ {
        for own in ["localhost:3000", "chat.localhost", "127.0.0.1:3000", "[::1]:3000", "192.0.2.1:3000"] {
            assert_eq!(status_of(&server, &format!("GET {path}"), &format!("Host: {own}")), 200, "{own}{path}");
        }
        for rebound in ["evil.example:3000", "localhost.evil.example", "127.0.0.1.evil.example:3000"] {
            // The page chooses such headers itself.
            for more in ["", "\r\nX-Forwarded-For: 127.0.0.1\r\nX-Forwarded-Host: localhost\r\nAuthorization: Bearer x"]
            {
                let headers = format!("Host: {rebound}{more}");
                assert_eq!(status_of(&server, &format!("GET {path}"), &headers), 403, "{headers}{path}");
            }
        }
        assert_eq!(status_of(&server, &format!("OPTIONS {path}"), "Host: evil.example"), 204);
    }
    assert_eq!(status_of(&server, "HEAD /rooms", "Host: evil.example"), 403);
    let mut client = Http::connect(server.http);
    client.send("GET /rooms HTTP/1.1\r\nHost: evil.example\r\n\r\n");
    let (_, why) = client.answer();
    assert_eq!(why, "over loopback this Host may be anybody's: list it in hosts, or the proxy in trusted-proxies\n");
    // Browsers name an origin with a handshake, so these are no browsers.
    assert_eq!(status(&server, &HANDSHAKE.replace("localhost", "chat.example")), 101);
    assert_eq!(status_of(&server, "GET /health", "Host: chat.example"), 200);
}

#[test]
fn names_in_the_settings_and_what_a_trusted_proxy_forwards_are_read() {
    let forwarded = "Host: chat.example\r\nX-Forwarded-For: 192.0.2.1";
    for (change, headers) in [
        ((|settings| settings.hosts = vec!["chat.example".into()]) as fn(&mut Settings), "Host: chat.example:3000"),
        (|settings| settings.hosts = vec!["chat.example".into()], "Host: localhost:3000"),
        (|settings| settings.allowed_origins = vec!["https://chat.example".into()], "Host: chat.example"),
        (|settings| settings.allowed_origins = vec!["*".into()], "Host: chat.example"),
        (|settings| settings.trusted_proxies = vec!["127.0.0.1".into()], forwarded),
    ] {
        let server = TestServer::start(Shape::ONE, change);
        assert_eq!(status_of(&server, "GET /rooms", headers), 200, "{headers}");
    }
}

#[test]
fn where_hosts_are_named_only_they_are_the_servers_own() {
    let server = TestServer::start(Shape::ONE, |settings| settings.hosts = vec!["chat.example".to_owned()]);
    assert_eq!(status(&server, &handshake_to("chat.example:3000")), 101);
    for other in ["localhost:3000", "evil.example:3000"] {
        assert_eq!(status(&server, &handshake_to(other)), 403, "{other}");
    }
}

#[test]
fn listed_pages_may_too_and_with_a_star_all() {
    let listed = ["https://a.example".to_owned(), "https://b.example:8443".to_owned()];
    let server = TestServer::start(Shape::ONE, |settings| settings.allowed_origins = listed.to_vec());
    for origin in ["https://a.example", "https://b.example:8443", "http://localhost:3000"] {
        expect_let_in(&server, origin);
    }
    expect_refused(&server, "https://b.example");
    let server = TestServer::start(Shape::ONE, |settings| settings.allowed_origins = vec!["*".to_owned()]);
    for origin in ["https://evil.example", "null"] {
        expect_let_in(&server, origin);
    }
}
