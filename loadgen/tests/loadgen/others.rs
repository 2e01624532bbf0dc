//! The servers of a comparison under the same loads. Left out, with a message, where they are not installed.

use harness::at_once;

use crate::load::measure;
use crate::servers::Other;

const CLIENTS: [&str; 4] = ["--clients", "100", "--rooms", "4"];

/// Puts every kind of load that a comparison may have on the server.
fn carries_every_load(server: Option<Other>) {
    let Some(server) = server else { return };
    let open = ["--rate", "40"];
    let apart = ["--rate", "40", "--publishers", "apart"];
    at_once([&open[..], &["--in-flight", "4"], &apart, &["--rate", "40", "--churn", "100"]], |load| {
        let measured = measure(&server.target, &[&CLIENTS, load].concat());
        measured.expect_clean();
        if !load.contains(&"--churn") {
            measured.expect_all(25);
        }
    });
}

#[test]
fn nats_carries_every_load() {
    carries_every_load(Other::nats());
}

#[test]
fn redis_carries_every_load() {
    carries_every_load(Other::redis());
}
