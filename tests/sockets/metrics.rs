//! The metrics, as an operator reads them.

use std::time::Duration;

use harness::{
    Blast, Client, HANDSHAKE, Http, Lines, Program, Signal, Transport, at_once, metrics, metrics_when, until,
};
use roomcast::config::{COMMIT, Size, Span};

use crate::server::{Shape, TestServer, contract};

const HEALTH: &str = "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n";

#[test]
fn the_three_plain_names_stand_alone_on_their_lines() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut ada = Client::member(&server, transport, "a", "ada");
        let mut bob = Client::member(&server, transport, "a", "bob");
        ada.send("hello");
        ada.expect("[ada] hello");
        bob.expect("[ada] hello");
        // A shard counts a batch after it has sent it to the writers, which may be on the other worker.
        until(|| metrics(server.http)["total_messages"] == 1.0);
        let (_, text) = Http::get(server.http, "/metrics");
        for line in ["active_connections 2", "total_messages 1", "active_rooms 1"] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    });
}

#[test]
fn clients_are_counted_in_and_out_by_transport_and_reason() {
    let server = TestServer::plain(Shape::ONE);
    let mut line_client = Client::connect(&server, Transport::Tcp);
    let _websocket_client = Client::connect(&server, Transport::WebSocket);
    assert_eq!(line_client.request("QUIT"), "Bye");
    line_client.expect_end();
    drop(line_client);
    let gone = "roomcast_connections_closed_total{transport=\"tcp\",reason=\"quit\"}";
    until(|| metrics(server.http)[gone] == 1.0);
    let found = metrics(server.http);
    assert_eq!(found["roomcast_connections_opened_total{transport=\"tcp\"}"], 1.0);
    assert_eq!(found["roomcast_connections_opened_total{transport=\"websocket\"}"], 1.0);
    assert_eq!(found["active_connections"], 1.0);
    assert_eq!(found["roomcast_clients{transport=\"tcp\"}"], 0.0);
    assert_eq!(found["roomcast_clients{transport=\"websocket\"}"], 1.0);
    assert_eq!(found["roomcast_worker_clients{worker=\"0\"}"], 1.0);
}

#[test]
fn who_is_turned_away_is_counted_and_is_no_client() {
    let server = TestServer::start(Shape::ONE, |settings| settings.max_clients = Some(1));
    let _client = Client::connect(&server, Transport::Tcp);
    assert_eq!(Lines::connect(server.tcp).rest(), "ERR closed too-many-connections\n");
    assert_eq!(Http::get(server.http, "/ws").0.status, 503);
    let found = metrics(server.http);
    assert_eq!(found["roomcast_connections_closed_total{transport=\"tcp\",reason=\"too-many-connections\"}"], 1.0);
    for transport in ["tcp", "http"] {
        let refused = |reason: &str| found[&format!("roomcast_{transport}_refused_total{{reason=\"{reason}\"}}")];
        assert_eq!((refused("full"), refused("address")), (1.0, 0.0), "{transport}");
    }
    assert_eq!(found["roomcast_connections_opened_total{transport=\"websocket\"}"], 0.0, "it never became one");
    assert_eq!(found["active_connections"], 1.0);
}

#[test]
fn what_a_member_that_does_not_read_was_owed_is_dropped_and_counted() {
    at_once([Shape::ONE, Shape::MANY], |shape| {
        let server = TestServer::start(shape, |settings| settings.outbox_messages = 1_000);
        let stalled = Lines::connect_short_of_buffer(server.tcp);
        stalled.send("JOIN a\n");
        let blast = Blast::start(server.tcp, "a");
        until(|| {
            metrics(server.http)["roomcast_connections_closed_total{transport=\"tcp\",reason=\"slow-consumer\"}"] == 1.0
        });
        drop(blast);
        until(|| metrics(server.http)["active_connections"] == 0.0);
        // No client is left to write to, and what was queued for them is dropped.
        let found = metrics_when(server.http, |found| {
            found["roomcast_queued_deliveries"] == 0.0
                && found["roomcast_fan_out_seconds_count"] == found["total_messages"]
        });
        let [slow, gap, gone] =
            ["slow", "gap", "gone"].map(|reason| found[&format!("roomcast_dropped_total{{reason=\"{reason}\"}}")]);
        let [due, made] = ["roomcast_fanned_out_total", "roomcast_deliveries_total"].map(|name| found[name]);
        // Each delivery counts once: it was made, or dropped for one reason.
        assert!(slow >= 1.0 && gap == 0.0, "{slow} slow, {gap} in gaps");
        assert_eq!(due, made + slow + gone, "{made} made, {slow} slow, {gone} gone");
        assert!(due >= found["total_messages"] && due <= 2.0 * found["total_messages"], "{due} due");
        assert_eq!(found["roomcast_write_seconds_count"], made);
        // "[", a label of at least "127.0.0.1:1", "] ", the text and the line feed.
        assert!(found["roomcast_sent_bytes_total"] >= made * 32.0, "{}", found["roomcast_sent_bytes_total"]);
        assert!((1.0..=made + 10.0).contains(&found["roomcast_writes_total"]), "{}", found["roomcast_writes_total"]);
    });
}

#[test]
fn when_all_is_quiet_what_was_due_was_made_or_dropped_and_nothing_is_owed() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut members: Vec<Client> =
            (0..5).map(|number| Client::member(&server, transport, "a", &format!("m{number}"))).collect();
        for message in 0..100 {
            members[message % 5].send(&format!("message {message}"));
        }
        for member in &mut members {
            for _ in 0..100 {
                member.line();
            }
        }
        let found = metrics_when(server.http, |found| {
            found["roomcast_outbox_bytes"] == 0.0 && found["roomcast_fan_out_seconds_count"] == 100.0
        });
        assert_eq!(found["total_messages"], 100.0);
        assert_eq!(found["roomcast_fanned_out_total"], 500.0);
        assert_eq!(found["roomcast_deliveries_total"], 500.0);
        assert_eq!(found["roomcast_queued_deliveries"], 0.0);
        assert_eq!(found["roomcast_write_seconds_bucket{le=\"+Inf\"}"], 500.0);
    });
}

#[test]
fn plain_http_counts_apart_and_its_normal_end_is_no_failure() {
    let server = TestServer::start(Shape::ONE, |settings| {
        settings.header_timeout = Span(Duration::from_secs(4));
        settings.http_idle_time = Span(Duration::from_secs(4));
    });
    let mut kept = Http::connect(server.http);
    kept.send(HEALTH);
    assert_eq!(kept.answer().1, "OK");
    let mut silent = Http::connect(server.http);
    kept.expect_end();
    silent.expect_end();
    let mut websocket = Client::connect(&server, Transport::WebSocket);
    let mut both = Http::connect(server.http);
    both.send([HEALTH, HANDSHAKE].concat());
    assert_eq!((both.answer().0.status, both.answer().0.status), (200, 101));
    let closed = |reason: &str| format!("roomcast_connections_closed_total{{transport=\"http\",reason=\"{reason}\"}}");
    until(|| metrics(server.http)[&closed("handshake-timeout")] == 1.0);
    // Earlier requests for the metrics have ended.
    let found = metrics_when(server.http, |found| found["roomcast_http_connections"] == 1.0);
    // What became a WebSocket with its first request never was plain HTTP.
    assert_eq!(found[&closed("upgraded")], 1.0);
    // The idle connection, and those that have read the metrics.
    let done = found[&closed("done")];
    assert!(done >= 1.0);
    // Those, the silent one, the one that asked before its handshake, and the one that asks now.
    assert_eq!(found["roomcast_connections_opened_total{transport=\"http\"}"], done + 3.0);
    assert_eq!(found["roomcast_connections_opened_total{transport=\"websocket\"}"], 2.0);
    assert_eq!(found["roomcast_http_refused_total{reason=\"timeout\"}"], 1.0);
    let closed: Vec<_> =
        found.iter().filter(|(name, _)| name.contains("closed_total{transport=\"websocket\"")).collect();
    assert!(closed.iter().all(|(_, count)| **count == 0.0), "{closed:?}");
    assert_eq!(found["active_connections"], 2.0);
    assert_eq!(websocket.request("PING"), "PONG");
}

#[test]
fn errors_count_by_code_and_input_by_its_bytes() {
    contract(|shape, transport| {
        let server = TestServer::plain(shape);
        let mut client = Client::connect(&server, transport);
        let received = metrics(server.http)["roomcast_received_bytes_total"];
        for (said, code) in
            [("JOIN a b", "room-name"), ("NICK a b", "nick"), ("JOIN", "unknown"), ("a\x1b", "control-character")]
        {
            let answer = client.request(said);
            assert!(answer.starts_with(&format!("ERR {code} ")), "{answer}");
            assert_eq!(metrics(server.http)[&format!("roomcast_errors_total{{code=\"{code}\"}}")], 1.0);
        }
        let taken = metrics(server.http)["roomcast_received_bytes_total"] - received;
        let framing = if matches!(transport, Transport::Tcp) { 1 } else { 6 };
        let said = ["JOIN a b", "NICK a b", "JOIN", "a\x1b"].map(|said| said.len() + framing);
        assert_eq!(taken, said.into_iter().sum::<usize>() as f64);
    });
}

#[test]
fn an_operator_sees_the_limits_the_version_and_the_process() {
    let server = TestServer::start(Shape::ONE, |settings| {
        settings.max_clients = Some(42);
        settings.rooms = 43;
        settings.outbox_budget = Size(44 << 20);
        settings.history_budget = Size(45 << 20);
    });
    let found = metrics(server.http);
    assert_eq!([found["roomcast_clients_max"], found["roomcast_rooms_max"]], [42.0, 43.0]);
    let limits = ["outbox", "history"].map(|name| found[&format!("roomcast_{name}_limit_bytes")] / (1 << 20) as f64);
    assert_eq!(limits, [44.0, 45.0]);
    let build = format!("roomcast_build_info{{version=\"{}\",commit=\"{COMMIT}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(found[&build], 1.0);
    for name in ["cpu_seconds_total", "resident_memory_bytes", "virtual_memory_bytes", "start_time_seconds", "max_fds"]
    {
        assert!(found[&format!("process_{name}")] > 0.0, "{name}");
    }
}

#[test]
fn a_worker_is_busy_for_longer_the_more_it_has_to_do() {
    let server = TestServer::plain(Shape::MANY);
    let busy = || {
        let found = metrics(server.http);
        [0, 1].map(|worker| found[&format!("roomcast_worker_busy_seconds_total{{worker=\"{worker}\"}}")])
    };
    let before = busy();
    // It reads and fans out until it has been busy for longer; the scrapes of this test take a hundredth of that.
    let _blast = Blast::start(server.tcp, "a");
    until(|| busy().iter().sum::<f64>() > before.iter().sum::<f64>() + 0.5);
    assert!(busy().iter().zip(before).all(|(now, before)| *now >= before));
}

#[test]
fn a_monitor_sees_whether_the_server_takes_clients_and_why_not() {
    let program = Program::start(&["--max-clients", "2", "--drain-delay", "1h"]);
    let state = || {
        let found = metrics(program.http);
        ["ready", "full", "draining"].map(|state| found[&format!("roomcast_readiness{{state=\"{state}\"}}")])
    };
    // Before the first request for the metrics: its connection counts until the server has seen the end.
    let members = ["a", "b"].map(|room| Lines::member(program.tcp, room));
    assert_eq!(state(), [0.0, 1.0, 0.0]);
    drop(members);
    until(|| state() == [1.0, 0.0, 0.0]);
    program.signal(Signal::TERM);
    until(|| state() == [0.0, 0.0, 1.0]);
}

#[test]
fn every_metric_has_a_help_that_is_a_sentence() {
    let server = TestServer::plain(Shape::ONE);
    let (_, text) = Http::get(server.http, "/metrics");
    let helps: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# HELP ")).collect();
    assert!(helps.len() > 20, "{text}");
    for help in helps {
        let (name, help) = help.split_once(' ').expect("a name and a help");
        assert!(help.ends_with('.') && help.split(' ').count() >= 5, "{name}: {help}");
        let unit = ["seconds", "bytes"].into_iter().find(|unit| name.contains(unit));
        assert!(unit.is_none_or(|unit| help.to_lowercase().contains(unit)), "{name} does not name its unit: {help}");
    }
}
