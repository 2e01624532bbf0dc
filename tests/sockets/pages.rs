//! The web pages: where they are, in which encoding, and what they may do in a browser.

use std::io::Read;

use flate2::read::GzDecoder;
use harness::{Client, HANDSHAKE, Head, Http, Program, Transport, at_once};
use roomcast::config::{Settings, WebPages};
use roomcast::pages::{PAGES, page};
use rustix::process::Signal;

use crate::server::{Shape, TestServer};

const METHODS: &str = "GET,HEAD,OPTIONS";

fn with_pages(pages: WebPages) -> TestServer {
    TestServer::start(Shape::ONE, |settings| settings.pages = pages)
}

/// The answer to a request with these headers, on a connection that is kept.
#[track_caller]
fn ask(client: &mut Http, method: &str, path: &str, headers: &str) -> (Head, Vec<u8>) {
    client.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n{headers}\r\n"));
    let head = client.head();
    let body = if method == "HEAD" { Vec::new() } else { client.bytes(&head) };
    (head, body)
}

#[test]
fn every_page_is_there_unless_the_setting_is_off() {
    for (pages, is_there) in [(WebPages::Off, false), (WebPages::Chat, true), (WebPages::All, true)] {
        let server = with_pages(pages);
        let mut client = Http::connect(server.http);
        for page in PAGES {
            let (head, body) = ask(&mut client, "GET", page.path, "");
            assert_eq!(head.status, if is_there { 200 } else { 404 }, "{} with {pages:?}", page.path);
            assert_eq!(body == page.bytes, is_there, "{}", page.path);
            for method in ["POST", "PUT", "DELETE"] {
                let (head, _) = ask(&mut client, method, page.path, "");
                let allow = is_there.then_some(METHODS);
                assert_eq!((head.status == 405, head.header("allow")), (is_there, allow), "{method} {}", page.path);
            }
            // Load balancers ask this of `/`.
            let (head, _) = ask(&mut client, "OPTIONS", page.path, "");
            assert_eq!((head.status, head.header("allow")), (204, Some(METHODS)), "{}", page.path);
        }
    }
}

#[test]
fn a_client_that_takes_gzip_gets_the_same_bytes_in_fewer() {
    at_once([Shape::ONE, Shape::ONE.over_tls()], |shape| {
        let server = TestServer::plain(shape);
        let mut client = Http::connect(server.http);
        for page in PAGES {
            let (plain, bytes) = ask(&mut client, "GET", page.path, "");
            let (gzip, compressed) = ask(&mut client, "GET", page.path, "Accept-Encoding: gzip, deflate, br\r\n");
            assert_eq!((plain.header("content-encoding"), gzip.header("content-encoding")), (None, Some("gzip")));
            let mut inflated = Vec::new();
            GzDecoder::new(compressed.as_slice()).read_to_end(&mut inflated).expect("gzip");
            assert!(bytes == page.bytes && inflated == page.bytes, "{}", page.path);
            for head in [&plain, &gzip] {
                assert_eq!(head.header("content-type"), Some(page.media_type), "{}", page.path);
                assert_eq!(head.header("vary"), Some("Accept-Encoding, Origin"), "{}", page.path);
            }
            assert_ne!(plain.header("etag"), gzip.header("etag"), "{}", page.path);
        }
    });
}

#[test]
fn gzip_goes_only_to_clients_that_say_that_they_take_it() {
    let server = TestServer::plain(Shape::ONE);
    let mut client = Http::connect(server.http);
    for (accepted, is_gzip) in [
        ("gzip", true),
        ("GZip", true),
        ("x-gzip", true),
        ("br, gzip;q=0.001", true),
        ("gzip ; q=1.0", true),
        ("gzip;Q=1", true),
        ("*", true),
        ("identity, *;q=0.5", true),
        ("deflate\r\nAccept-Encoding: gzip", true),
        ("", false),
        ("br, deflate", false),
        ("gzip;q=0", false),
        ("gzip; q=0.000", false),
        ("gzip;q=0, *", false),
        ("*, gzip;q=0", false),
        ("*;q=0", false),
        ("gzip;q=", false),
        ("gzip;level=9", false),
        ("gzipped", false),
        ("identity", false),
        ("\u{fc}", false),
        (",;,q=1;", false),
    ] {
        let (head, body) = ask(&mut client, "GET", "/", &format!("Accept-Encoding: {accepted}\r\n"));
        assert_eq!(head.header("content-encoding"), is_gzip.then_some("gzip"), "{accepted:?}");
        assert_eq!(body == page("/").expect("the chat").gzip, is_gzip, "{accepted:?}");
    }
}

#[test]
fn a_browser_that_has_the_newest_file_is_not_sent_it_again() {
    let server = TestServer::plain(Shape::ONE);
    let mut client = Http::connect(server.http);
    for (encoding, other) in [("gzip", "identity"), ("identity", "gzip")] {
        let encoding = format!("Accept-Encoding: {encoding}\r\n");
        let etag_of = |client: &mut Http, encoding: &str| {
            ask(client, "GET", "/roomcast.js", encoding).0.header("etag").expect("a tag").to_owned()
        };
        let etag = etag_of(&mut client, &encoding);
        let other = etag_of(&mut client, &format!("Accept-Encoding: {other}\r\n"));
        for (tags, is_newest) in [
            (etag.clone(), true),
            (format!("W/{etag}"), true),
            (format!("\"a\", W/\"b,c\",{etag}"), true),
            (format!("\"a\"\r\nIf-None-Match: {etag}"), true),
            ("*".to_owned(), true),
            (other, false),
            ("\"a\"".to_owned(), false),
            (etag.trim_matches('"').to_owned(), false),
            (format!("w/{etag}"), false),
            (String::new(), false),
        ] {
            for method in ["GET", "HEAD"] {
                let headers = format!("{encoding}If-None-Match: {tags}\r\n");
                let (head, body) = ask(&mut client, method, "/roomcast.js", &headers);
                assert_eq!(head.status, if is_newest { 304 } else { 200 }, "{method} {tags}");
                assert_eq!(head.header("etag"), Some(etag.as_str()), "{method} {tags}");
                assert_eq!(head.header("cache-control"), Some("no-cache"));
                assert_eq!(head.header("vary"), Some("Accept-Encoding, Origin"));
                if is_newest {
                    assert!(body.is_empty() && head.header("content-length").is_none_or(|length| length == "0"));
                    assert_eq!((head.header("content-type"), head.header("content-encoding")), (None, None));
                }
            }
        }
    }
}

#[test]
fn a_head_says_what_the_whole_answer_would() {
    let server = TestServer::plain(Shape::ONE);
    let mut client = Http::connect(server.http);
    for page in PAGES {
        for encoding in ["", "Accept-Encoding: gzip\r\n"] {
            let (whole, body) = ask(&mut client, "GET", page.path, encoding);
            let (head, _) = ask(&mut client, "HEAD", page.path, encoding);
            assert_eq!(head.header("content-length"), Some(body.len().to_string().as_str()), "{}", page.path);
            for name in ["content-type", "content-encoding", "etag", "cache-control", "content-security-policy"] {
                assert_eq!(head.header(name), whole.header(name), "{name} of {}", page.path);
            }
        }
    }
}

#[test]
fn a_page_may_load_nothing_from_elsewhere_and_nobody_may_frame_it() {
    let server = TestServer::plain(Shape::ONE);
    let mut client = Http::connect(server.http);
    for page in PAGES {
        let (head, _) = ask(&mut client, "GET", page.path, "");
        let is_document = matches!(page.path, "/" | "/dashboard");
        assert_eq!(head.header("referrer-policy"), is_document.then_some("no-referrer"), "{}", page.path);
        assert_eq!(head.header("cross-origin-opener-policy"), is_document.then_some("same-origin"), "{}", page.path);
        let policy = head.header("content-security-policy");
        assert_eq!(policy.is_some(), is_document, "{}", page.path);
        let rules: Vec<&str> = policy.into_iter().flat_map(|policy| policy.split("; ")).collect();
        for (index, rule) in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "img-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            "require-trusted-types-for 'script'",
            "trusted-types 'none'",
        ]
        .iter()
        .enumerate()
        {
            assert!(!is_document || rules.get(index) == Some(rule), "{rule}: {rules:?}");
        }
    }
}

#[test]
fn no_answer_is_taken_for_another_type_than_it_says() {
    let server = TestServer::plain(Shape::ONE);
    for (method, path) in [
        ("GET", "/"),
        ("GET", "/roomcast.js"),
        ("GET", "/pages/unknown.js"),
        ("POST", "/"),
        ("GET", "/health"),
        ("GET", "/metrics"),
        ("GET", "/rooms/a"),
        ("GET", "/rooms/a?live=sse"),
        ("POST", "/api/info"),
        ("GET", "/ws"),
        ("OPTIONS", "*"),
    ] {
        let mut client = Http::connect(server.http);
        client.send(format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        let head = client.head();
        assert_eq!(head.header("x-content-type-options"), Some("nosniff"), "{method} {path}: {}", head.status);
    }
}

#[test]
fn no_path_leads_to_a_file_that_is_not_a_page() {
    let server = TestServer::plain(Shape::ONE);
    let mut client = Http::connect(server.http);
    for path in [
        "/pages",
        "/pages/",
        "/pages/unknown.js",
        "/pages/mod.rs",
        "/pages/roomcast.js",
        "/pages/chat/index.html",
        "/pages/chat",
        "/pages/chat/",
        "/pages/BASE.css",
        "/pages/base.css/",
        "/pages/base.css%00",
        "/pages/base%2ecss",
        "/pages//base.css",
        "/pages/./base.css",
        "/pages/chat/../base.css",
        "/pages/chat/%2e%2e/base.css",
        "/pages/../../Cargo.toml",
        "/pages/../roomcast.js",
        "/pages/..%2f..%2fCargo.toml",
        "/pages/..\\..\\Cargo.toml",
        "/pages/%252e%252e/Cargo.toml",
        "/pages//etc/passwd",
        "/pages/%2fetc%2fpasswd",
        "//dashboard",
        "/dashboard/",
        "/dashboard/x",
        "/Dashboard",
        "/index.html",
        "/roomcast.js/",
        "/roomcast.JS",
    ] {
        for method in ["GET", "HEAD"] {
            let (head, _) = ask(&mut client, method, path, "");
            assert_eq!((head.status, head.header("etag")), (404, None), "{method} {path}");
        }
    }
    let (head, _) = ask(&mut client, "GET", "/?room=lobby", "");
    assert_eq!(head.status, 200, "a query changes nothing");
}

#[test]
fn a_page_of_an_allowed_origin_may_import_the_module_and_others_may_not() {
    let allowed = "https://app.example";
    let server = TestServer::start(Shape::ONE, |settings: &mut Settings| {
        settings.allowed_origins = vec![allowed.to_owned()];
    });
    let mut client = Http::connect(server.http);
    for (origin, may_read) in [(allowed, true), ("https://evil.example", false), ("null", false)] {
        for conditions in ["", "If-None-Match: *\r\n"] {
            let (head, _) = ask(&mut client, "GET", "/roomcast.js", &format!("Origin: {origin}\r\n{conditions}"));
            assert_eq!(head.header("access-control-allow-origin"), may_read.then_some(origin), "{conditions}");
        }
    }
}

#[test]
fn where_every_origin_may_connect_a_page_from_a_file_may_import_the_module_and_connect() {
    let server = TestServer::start(Shape::ONE, |settings: &mut Settings| {
        settings.allowed_origins = vec!["*".to_owned()];
    });
    let mut client = Http::connect(server.http);
    for path in ["/roomcast.js", "/rooms/a"] {
        let (head, _) = ask(&mut client, "GET", path, "Origin: null\r\n");
        assert_eq!(head.header("access-control-allow-origin"), Some("null"), "{path}");
    }
    for path in ["/connection/websocket", "/ws"] {
        let mut client = Http::connect(server.http);
        client.send(HANDSHAKE.replace("/ws", path).replace("Host: localhost", "Host: localhost\r\nOrigin: null"));
        assert_eq!(client.head().status, 101, "{path}");
    }
}

#[test]
fn a_full_server_still_serves_pages() {
    let server = TestServer::start(Shape::ONE, |settings: &mut Settings| settings.max_clients = Some(1));
    let mut only = Client::connect(&server, Transport::Tcp);
    for page in PAGES {
        let (head, body) = Http::get(server.http, page.path);
        assert_eq!((head.status, body.as_bytes()), (200, page.bytes), "{}", page.path);
    }
    only.expect_nothing();
}

#[test]
fn a_draining_server_still_serves_pages() {
    let program = Program::start(&["--drain-delay", "1h"]);
    let mut kept = Http::connect(program.http);
    assert_eq!(ask(&mut kept, "GET", "/", "").0.status, 200);
    program.signal(Signal::TERM);
    program.log.until("stopping");
    for page in PAGES {
        assert_eq!(ask(&mut kept, "GET", page.path, "").0.status, 200, "{}", page.path);
        assert_eq!(Http::get(program.http, page.path).0.status, 200, "{}", page.path);
    }
}

#[test]
fn the_setting_is_a_flag_and_a_variable() {
    assert_eq!(Settings::default().pages, WebPages::Chat);
    let program = Program::start(&["--pages", "off"]);
    assert_eq!(Http::get(program.http, "/").0.status, 404);
}
