//! The figures of the dashboard: what they show of a real conversation, and who may read them.

use std::net::{IpAddr, Ipv4Addr, UdpSocket};

use harness::{Blast, Client, Endpoint, Head, Http, Lines, Program, Transport, at_once, until};
use roomcast::config::{ProxyProtocol, Settings, WebPages};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::api::Served;
use crate::server::{Shape, TestServer};

/// The answer to a request of this version of HTTP with this `Host` and these headers.
#[track_caller]
fn ask(server: impl Into<Endpoint>, request: &str, version: &str, headers: &str) -> (Head, String) {
    let mut client = Http::connect(server);
    client.send(format!("{request} HTTP/{version}\r\nConnection: close\r\n{headers}\r\n"));
    client.answer()
}

/// The figures, with all samples, or those behind one.
#[track_caller]
fn figures(server: impl Into<Endpoint>, since: Option<u64>) -> Value {
    let query = since.map_or(String::new(), |since| format!("?since={since}"));
    let (head, body) = Http::get(server, &format!("/dashboard/stats{query}"));
    assert_eq!((head.status, head.header("content-type")), (200, Some("application/json")), "{body}");
    assert_eq!(head.header("cache-control"), Some("no-store"));
    serde_json::from_str(&body).expect("JSON")
}

fn numbers(column: &Value) -> Vec<f64> {
    column.as_array().expect("a column").iter().filter_map(Value::as_f64).collect()
}

fn sum(column: &Value) -> f64 {
    numbers(column).iter().sum()
}

#[test]
fn the_figures_follow_a_conversation() {
    at_once([Shape::ONE, Shape::MANY, Shape::OVER_TLS], |shape| {
        let server = TestServer::plain(shape);
        let mut ada = Client::member(&server, Transport::Tcp, "a", "ada");
        let mut bob = Client::member(&server, Transport::WebSocket, "a", "bob");
        let mut eve = Client::member(&server, Transport::WebSocket, "b", "eve");
        for client in [&mut ada, &mut eve] {
            client.send("hello");
            client.fence();
        }
        bob.expect("[ada] hello");
        let mut found = Value::Null;
        until(|| {
            found = figures(server.http, None);
            found["delivered"] == 3 && sum(&found["samples"]["delivered"]) > 0.0
        });
        assert_eq!(found["published"], 2);
        assert_eq!(found["rooms"], 2);
        assert_eq!(found["clients"]["now"], 3);
        assert_eq!(found["clients"]["by_transport"], json!({"tcp": 1, "websocket": 2, "http_stream": 0, "sse": 0}));
        assert_ne!(found["verdict"]["sentences"], json!([]), "{found}");
        assert_eq!(found["dropped"], json!({"slow": 0, "gap": 0, "gone": 0}));
        let workers = found["workers"].as_array().expect("workers");
        assert_eq!(workers.len(), usize::from(shape.workers));
        assert_eq!(workers.iter().filter_map(|worker| worker["clients"].as_u64()).sum::<u64>(), 3);
        assert!(workers.iter().all(|worker| (0.0..=1.0).contains(&worker["load"].as_f64().expect("a load"))));
        assert!(workers.iter().any(|worker| worker["load"] != 0.0) || sum(&found["samples"]["load"]) > 0.0, "{found}");
        assert!(found["memory_bytes"].as_u64() > Some(1 << 20));
        assert_eq!((found["version"].as_str(), found["outbox_budget"].as_u64()), (Some("0.1.0"), Some(256 << 20)));
        let samples = &found["samples"];
        assert!(sum(&samples["published"]) > 0.0 && sum(&samples["p99"]) > 0.0, "{samples}");
        assert_eq!(numbers(&samples["clients"]).last(), Some(&3.0));
    });
}

#[test]
fn the_busiest_rooms_are_found_while_somebody_watches() {
    at_once([Shape::ONE, Shape::MANY], |shape| {
        let server = TestServer::plain(shape);
        let name = "<b>\"a\"</b>";
        let mut ada = Client::member(&server, Transport::Tcp, name, "ada");
        let _bob = Client::member(&server, Transport::Tcp, name, "bob");
        let _eve = Client::member(&server, Transport::WebSocket, "quiet", "eve");
        let mut top = Value::Null;
        until(|| {
            ada.send("hello");
            ada.fence();
            top = figures(server.http, None)["top_rooms"].clone();
            top["by_rate"] != json!([])
        });
        assert_eq!((&top["by_members"][0]["room"], &top["by_members"][0]["members"]), (&json!(name), &json!(2)));
        assert_eq!((&top["by_members"][1]["room"], &top["by_members"][1]["members"]), (&json!("quiet"), &json!(1)));
        assert_eq!(top["by_rate"].as_array().map(Vec::len), Some(1), "{top}");
        assert_eq!(top["by_rate"][0]["room"], name);
        assert!(top["by_rate"][0]["rate"].as_f64() > Some(0.0), "{top}");
    });
}

#[test]
fn ends_are_counted_by_transport_and_reason_and_the_verdict_names_slow_clients() {
    let server = TestServer::start(Shape::ONE, |settings| settings.outbox_messages = 1_000);
    let mut leaving = Client::connect(&server, Transport::WebSocket);
    assert_eq!(leaving.request("QUIT"), "Bye");
    let stalled = Lines::connect_short_of_buffer(server.tcp);
    stalled.send("JOIN a\n");
    let blast = Blast::start(server.tcp, "a");
    let slow = json!({"transport": "tcp", "reason": "slow-consumer", "total": 1, "lately": 1});
    let quit = json!({"transport": "websocket", "reason": "quit", "total": 1, "lately": 1});
    let mut found = Value::Null;
    until(|| {
        found = figures(server.http, None);
        let ended = found["ended"].as_array().expect("a list");
        ended.contains(&slow) && ended.contains(&quit) && sum(&found["samples"]["cut"]) == 1.0
    });
    drop(blast);
    let verdict = found["verdict"].to_string();
    assert!(verdict.contains("1 client was cut in the last minute"), "{verdict}");
    assert_ne!(found["verdict"]["level"], "ok");
}

#[test]
fn a_page_gets_only_the_samples_that_it_does_not_have() {
    let server = TestServer::plain(Shape::ONE);
    let mut all = Value::Null;
    until(|| {
        all = figures(server.http, None);
        numbers(&all["samples"]["at"]).len() >= 2
    });
    let next = all["samples"]["next"].as_u64().expect("a number");
    for missing in [0, 1, 2] {
        let newer = figures(server.http, Some(next - missing));
        let expected = newer["samples"]["next"].as_u64().expect("a number") - (next - missing);
        assert_eq!(numbers(&newer["samples"]["at"]).len() as u64, expected);
        // There are seconds between, if this machine is slow, but not ten minutes.
        assert!(newer["samples"].as_object().expect("columns").iter().all(|(name, column)| {
            name == "next" || column.as_array().is_some_and(|column| column.len() as u64 == expected)
        }));
    }
    // Of another server, or of long ago.
    for since in [0, 7, next + 1_000, u64::MAX] {
        assert!(numbers(&figures(server.http, Some(since))["samples"]["at"]).len() >= 2, "{since}");
    }
    for since in ["", "x", "-1", "1.5", "99999999999999999999999", "1&since=2"] {
        let (head, body) = Http::get(server.http, &format!("/dashboard/stats?since={since}"));
        assert_eq!((head.status, head.header("content-type")), (400, Some("application/json")), "{since}: {body}");
        assert!(body.starts_with("{\"error\":\"since"), "{since}: {body}");
    }
}

#[test]
fn after_a_restart_a_page_gets_all_samples_of_the_new_server() {
    let old = TestServer::plain(Shape::ONE);
    let next = figures(old.http, None)["samples"]["next"].as_u64().expect("a number");
    drop(old);
    let new = TestServer::plain(Shape::ONE);
    until(|| {
        let [all, newer] = [None, Some(next)].map(|since| figures(new.http, since)["samples"]["at"].clone());
        all == newer && numbers(&all).len() >= 2
    });
}

/// Requests that come over loopback, by their headers; and the status and the phrase of the answer.
const LOCAL: [(&str, u16, &str); 14] = [
    ("Host: localhost\r\n", 200, "verdict"),
    ("Host: LOCALHOST:8080\r\n", 200, "verdict"),
    ("Host: 127.0.0.1:8080\r\n", 200, "verdict"),
    ("Host: [::1]:8080\r\n", 200, "verdict"),
    ("Host: dev.localhost\r\n", 200, "verdict"),
    // A name that anybody may point at a loopback address.
    ("Host: evil.example\r\n", 401, "X-API-Key"),
    ("Host: 127.0.0.1.evil.example\r\n", 401, "X-API-Key"),
    ("Host: 10.0.0.1:8080\r\n", 401, "X-API-Key"),
    // A proxy on this machine.
    ("Host: localhost\r\nForwarded: for=192.0.2.1\r\n", 401, "X-API-Key"),
    ("Host: localhost\r\nX-Forwarded-For: 192.0.2.1\r\n", 401, "X-API-Key"),
    ("Host: localhost\r\nx-forwarded-proto: https\r\n", 401, "X-API-Key"),
    ("Host: localhost\r\nX-Real-IP: 192.0.2.1\r\n", 401, "X-API-Key"),
    ("Host: localhost\r\nVia: 1.1 proxy\r\n", 401, "X-API-Key"),
    // A page of another origin acts for the user of the browser.
    ("Host: localhost\r\nOrigin: https://evil.example\r\n", 403, ""),
];

#[test]
fn without_a_key_the_figures_are_for_browsers_on_the_same_machine() {
    at_once([Shape::ONE, Shape::ONE.over_tls()], |shape| {
        let server = TestServer::plain(shape);
        for (headers, status, phrase) in LOCAL {
            let (head, body) = ask(server.http, "GET /dashboard/stats", "1.1", headers);
            assert!(head.status == status && body.contains(phrase), "{headers}: {} {body}", head.status);
            if status == 401 {
                let error: Value = serde_json::from_str(&body).expect("JSON");
                assert!(error["error"].is_string(), "{body}");
                assert_eq!(head.header("content-type"), Some("application/json"), "{headers}");
                assert_eq!(head.header("www-authenticate"), Some("apikey"), "{headers}");
            }
        }
        // As nginx asks where nobody says otherwise.
        let (head, _) = ask(server.http, "GET /dashboard/stats", "1.0", "Host: 127.0.0.1:8080\r\n");
        assert_eq!(head.status, 401);
        let (head, _) = ask(server.http, "POST /dashboard/stats", "1.1", "Host: localhost\r\n");
        assert_eq!((head.status, head.header("allow")), (405, Some("GET,HEAD,OPTIONS")));
    });
}

#[test]
fn a_trusted_proxy_on_the_same_machine_is_no_browser_there() {
    let server = TestServer::start(Shape::ONE, |settings| settings.trusted_proxies = vec!["127.0.0.1".into()]);
    assert_eq!(ask(server.http, "GET /dashboard/stats", "1.1", "Host: localhost\r\n").0.status, 401);
}

#[test]
fn settings_that_name_something_elsewhere_leave_the_figures_to_keys() {
    let status = |change: fn(&mut Settings)| {
        let server = TestServer::start(Shape::ONE, change);
        ask(server.http, "GET /dashboard/stats", "1.1", "Host: localhost\r\n").0.status
    };
    for elsewhere in [
        (|settings| settings.hosts = vec!["chat.example".into()]) as fn(&mut Settings),
        |settings| settings.allowed_origins = vec!["https://chat.example".into()],
        |settings| settings.allowed_origins = vec!["*".into()],
        |settings| settings.trusted_proxies = vec!["10.0.0.0/8".into()],
        |settings| settings.trusted_proxies = vec!["::1".into(), "0.0.0.0/0".into()],
    ] {
        assert_eq!(status(elsewhere), 401);
    }
    let of_this_machine = |settings: &mut Settings| {
        settings.hosts = vec!["localhost".into(), "[::1]:3000".into()];
        settings.allowed_origins = vec!["http://127.0.0.1:5173".into()];
        settings.trusted_proxies = vec!["::1".into(), "127.0.0.2".into()];
    };
    assert_eq!(status(of_this_machine), 200);
}

/// An address of this machine that is no loopback address, if it has one.
fn address_in_a_network() -> Option<Ipv4Addr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    // Sends nothing: the system only chooses the address that it would send from.
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(address) if !address.is_loopback() => Some(address),
        _ => None,
    }
}

#[test]
fn a_loopback_name_that_was_asked_for_at_an_address_of_the_network_shows_no_figures() {
    let Some(address) = address_in_a_network() else {
        eprintln!("skipped: this machine has loopback addresses alone");
        return;
    };
    let server = TestServer::start(Shape::ONE, |settings| settings.http = (address, 0).into());
    assert_eq!(ask(server.http, "GET /dashboard/stats", "1.1", "Host: localhost\r\n").0.status, 401);
}

#[test]
fn whoever_a_proxy_announces_with_a_header_is_no_browser_on_the_same_machine() {
    let server = TestServer::start(Shape::ONE, |settings| {
        settings.trusted_proxies = vec!["127.0.0.1".into()];
        settings.proxy_protocol = ProxyProtocol::Http;
    });
    let mut client = Http::connect(server.http);
    client.send(
        "PROXY TCP4 192.0.2.7 198.51.100.1 4711 3000\r\nGET /dashboard/stats HTTP/1.1\r\nHost: localhost\r\n\r\n",
    );
    assert_eq!(client.answer().0.status, 401);
}

#[test]
fn an_api_key_that_may_read_the_state_of_the_server_reads_the_figures_from_anywhere() {
    let served = Served::plain(Shape::ONE);
    let Served { backend, reader, teams, .. } = &served;
    for (key, status) in [
        (format!("X-API-Key: {backend}\r\n"), 200),
        (format!("Authorization: apikey {backend}\r\n"), 200),
        (format!("X-API-Key: {backend}\r\nX-Forwarded-For: 192.0.2.1\r\n"), 200),
        (format!("X-API-Key: {reader}\r\n"), 403),
        (format!("X-API-Key: {teams}\r\n"), 403),
        ("X-API-Key: rck_wrong\r\n".to_owned(), 401),
        (format!("Authorization: Bearer {backend}\r\n"), 401),
    ] {
        let headers = format!("Host: chat.example\r\n{key}");
        let (head, body) = ask(served.server.http, "GET /dashboard/stats", "1.1", &headers);
        assert_eq!(head.status, status, "{body}");
        let json: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(json["error"].is_string(), status != 200, "{body}");
        assert!(!body.contains("rck_"), "{body}");
    }
    let in_query = format!("GET /dashboard/stats?api_key={backend}");
    assert_eq!(ask(served.server.http, &in_query, "1.1", "Host: chat.example\r\n").0.status, 401);
}

#[test]
fn the_setting_shows_the_figures_to_everybody_or_to_nobody() {
    for (pages, local, address, rebound) in
        [(WebPages::All, 200, 200, 403), (WebPages::Chat, 200, 401, 401), (WebPages::Off, 404, 404, 404)]
    {
        let server = TestServer::start(Shape::ONE, |settings| settings.pages = pages);
        let status =
            |host: &str| ask(server.http, "GET /dashboard/stats", "1.1", &format!("Host: {host}\r\n")).0.status;
        let statuses = ["localhost", "192.0.2.1:3000", "evil.example"].map(status);
        assert_eq!(statuses, [local, address, rebound], "{pages:?}");
    }
}

#[test]
fn a_server_that_stops_says_so_to_whoever_watches_until_it_ends() {
    at_once(["shared", "per-worker"], |tables| {
        let arguments = ["--workers", "2", "--descriptor-tables", tables];
        let mut watching = None;
        let program = Program::start_that_drains_for_hours(&arguments, |program| {
            let mut watcher = Http::connect(program.http);
            watcher.send("GET /dashboard/stats HTTP/1.1\r\nHost: localhost\r\n\r\n");
            assert_eq!(watcher.answer().0.status, 200);
            watching = Some(watcher);
            program.signal(Signal::TERM);
        });
        let mut watcher = watching.expect("it was connected before the stop");
        let mut newest = || {
            watcher.send("GET /dashboard/stats HTTP/1.1\r\nHost: localhost\r\n\r\n");
            serde_json::from_str::<Value>(&watcher.answer().1).expect("JSON")
        };
        until(|| newest()["verdict"]["sentences"].to_string().contains("The server is stopping"));
        let next = |figures: &Value| figures["samples"]["next"].as_u64();
        let first = newest();
        until(|| next(&newest()) > next(&first));
        assert_eq!(newest()["clients"]["now"], 1);
        drop(program);
    });
}
