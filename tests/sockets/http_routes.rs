//! Routes: the methods of each, the pages that may read them, and the paths that lead to none.

use std::io::Read;

use harness::{Http, at_once};
use roomcast::config::Settings;

use crate::server::{Shape, TestServer};

const READ: &str = "GET,HEAD,OPTIONS";

/// Each route by a path, with its methods, and whether it acts for a user.
const ROUTES: [(&str, &str, bool); 15] = [
    ("/dashboard/stats", READ, true),
    ("/health", READ, false),
    ("/ready", READ, false),
    ("/metrics", READ, false),
    ("/ws", "GET,OPTIONS", true),
    ("/ws/", "GET,OPTIONS", true),
    ("/connection/websocket", "GET,OPTIONS", true),
    ("/connection/http_stream", "POST,OPTIONS", true),
    ("/connection/sse", "GET,POST,OPTIONS", true),
    ("/connection/uni_sse", "GET,POST,OPTIONS", true),
    ("/emulation", "POST,OPTIONS", true),
    ("/rooms", READ, true),
    ("/rooms/a", READ, true),
    ("/api/openapi.json", READ, true),
    ("/api/info", "POST,OPTIONS", true),
];

const METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "TRACE", "get", "BREW"];

const ALLOWED: &str = "https://app.example";

fn request(method: &str, path: &str, headers: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: localhost:3000\r\n{headers}\r\n")
}

fn with_a_page(settings: &mut Settings) {
    settings.allowed_origins = vec![ALLOWED.to_owned()];
}

#[test]
fn every_route_has_its_methods_and_names_them_to_who_asks_for_another() {
    at_once([Shape::ONE, Shape::ONE.over_tls()], |shape| {
        let server = TestServer::plain(shape);
        for (path, methods, _) in ROUTES {
            for method in METHODS {
                let mut client = Http::connect(server.http);
                client.send(request(method, path, ""));
                let head = client.head();
                let is_allowed = methods.split(',').any(|allowed| allowed == method);
                assert_eq!(head.status != 405, is_allowed, "{method} {path}: {}", head.status);
                assert_eq!(head.header("allow"), (!is_allowed).then_some(methods), "{method} {path}");
            }
            let mut client = Http::connect(server.http);
            client.send(request("OPTIONS", path, ""));
            let (head, body) = client.answer();
            assert_eq!((head.status, head.header("allow"), body.as_str()), (204, Some(methods), ""), "{path}");
        }
    });
}

#[test]
fn a_head_without_its_body_can_be_asked_for_wherever_there_is_something_to_read() {
    let server = TestServer::plain(Shape::ONE);
    for (path, ..) in ROUTES.iter().filter(|(_, methods, _)| *methods == READ) {
        let (whole, body) = Http::get(server.http, path);
        let mut client = Http::connect(server.http);
        client.send(request("HEAD", path, "Connection: close\r\n"));
        let head = client.head();
        assert_eq!(head.status, whole.status, "{path}");
        assert_eq!(head.header("content-type"), whole.header("content-type"), "{path}");
        // The metrics and the figures have changed since.
        if !["/metrics", "/dashboard/stats"].contains(path) {
            assert_eq!(head.header("content-length"), Some(body.len().to_string().as_str()), "{path}");
        }
        let mut rest = String::new();
        client.into_stream().read_to_string(&mut rest).expect("the end");
        assert_eq!(rest, "", "{path}");
    }
}

#[test]
fn a_page_whose_origin_may_connect_may_read_every_route() {
    let server = TestServer::start(Shape::ONE, with_a_page);
    let asked = format!(
        "Origin: {ALLOWED}\r\nAccess-Control-Request-Method: GET\r\n\
         Access-Control-Request-Headers: authorization, x-api-key, last-event-id\r\n"
    );
    for (path, methods, _) in ROUTES {
        let mut client = Http::connect(server.http);
        client.send(request("OPTIONS", path, &asked));
        let (head, _) = client.answer();
        assert_eq!(head.status, 204, "{path}");
        assert_eq!(head.header("access-control-allow-methods"), Some(methods), "{path}");
        let headers = Some("authorization, x-api-key, last-event-id");
        assert_eq!(head.header("access-control-allow-headers"), headers, "{path}");
        for method in ["OPTIONS", "GET", "PUT"] {
            let mut client = Http::connect(server.http);
            client.send(request(method, path, &format!("Origin: {ALLOWED}\r\n")));
            let head = client.head();
            assert_eq!(head.header("access-control-allow-origin"), Some(ALLOWED), "{method} {path}");
            assert_eq!(head.header("vary"), Some("Origin"), "{method} {path}");
        }
    }
}

#[test]
fn a_page_of_another_origin_is_refused_where_it_acts_for_its_user_and_can_read_nothing() {
    let server = TestServer::start(Shape::ONE, with_a_page);
    for (path, methods, acts) in ROUTES {
        for method in methods.split(',') {
            let mut client = Http::connect(server.http);
            client.send(request(method, path, "Origin: https://evil.example\r\n"));
            let head = client.head();
            assert_eq!(head.status == 403, acts, "{method} {path}: {}", head.status);
            assert_eq!(head.header("access-control-allow-origin"), None, "{method} {path}");
            assert_eq!(head.header("vary"), Some("Origin"), "{method} {path}");
        }
    }
}

#[test]
fn no_answer_is_to_be_kept_by_a_cache() {
    let server = TestServer::plain(Shape::ONE);
    for (path, ..) in ROUTES.iter().chain(&[("/nowhere", "", false)]) {
        for method in ["GET", "POST", "PUT", "OPTIONS"] {
            let mut client = Http::connect(server.http);
            client.send(request(method, path, ""));
            let head = client.head();
            let cached = head.header("cache-control").expect("a rule for caches");
            assert!(cached.split(", ").any(|rule| rule == "no-store"), "{method} {path}: {cached}");
        }
    }
}

#[test]
fn a_path_in_another_encoding_leads_nowhere() {
    at_once([Shape::ONE, Shape::ONE.over_tls()], |shape| {
        let server = TestServer::plain(shape);
        for (path, methods, _) in ROUTES {
            let method = methods.split(',').next().expect("a method");
            let encoded = format!("/%{:02x}{}", path.as_bytes()[1], &path[2..]);
            let before = ["/", "/.", "/%2e", "/x/..", "/x/%2e%2e", "/%00", "/%c0%af", "/%2f"];
            let before = before.map(|before| format!("{before}{path}"));
            // Below these prefixes the rest of the path is a name, in any encoding.
            let has_name = path.starts_with("/rooms/") || path.starts_with("/api/");
            let behind = ["%00", "%20", "/.", "/..", "%2f", "//", ";a", "%c0%ae", "%e2%80%8b", "%"];
            let is_list = path == "/rooms";
            let is_name = |behind: &str| has_name || is_list && behind.starts_with('/');
            let behind = behind.iter().filter(|behind| !is_name(behind)).map(|behind| format!("{path}{behind}"));
            let upper = path.to_uppercase();
            for wrong in before.into_iter().chain(behind).chain([encoded, upper]) {
                let mut client = Http::connect(server.http);
                client.send(request(method, &wrong, ""));
                assert_eq!(client.answer().0.status, 404, "{method} {wrong}");
            }
        }
    });
}
