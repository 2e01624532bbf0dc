//! `roomcast health`: what it says of a server that is well, that is not, and that is not there; over everything that
//! an HTTP port may speak.

use std::net::{Shutdown, TcpListener};

use harness::{Ended, Process, Program, until};
use rustix::process::Signal;
use socket2::SockRef;

use crate::tls_client::Certificate;

#[track_caller]
fn expect_failure(ended: &Ended, parts: &[&str]) {
    let Ended { code, out, err } = ended;
    assert_eq!((*code, out.as_str(), err.lines().count()), (Some(1), "", 1), "{err}");
    assert!(parts.iter().all(|part| err.contains(part)), "{err}");
}

#[track_caller]
fn expect_answer(ended: &Ended, answer: &str) {
    assert_eq!((ended.code, ended.out.as_str(), ended.err.as_str()), (Some(0), answer, ""));
}

#[test]
fn a_server_is_found_by_its_settings_and_by_a_url() {
    let program = Program::start(&[]);
    let http = program.http.to_string();
    expect_answer(&Program::run(&["health", "--http", &http]), "OK\n");
    expect_answer(&Program::run(&["health", "--ready", "--http", &http]), "ready\n");
    expect_answer(&Process::run(Program::command(&["health"]).env("ROOMCAST_HTTP", &http)), "OK\n");
    expect_answer(&Program::run(&["health", "--url", &format!("http://localhost:{}/", program.http.port())]), "OK\n");
    let everywhere = format!("0.0.0.0:{}", program.http.port());
    expect_answer(&Program::run(&["health", "--http", &everywhere]), "OK\n");
    let over_tls = Program::run(&["health", "--url", &format!("https://{http}")]);
    expect_failure(&over_tls, &[&format!("{http} does not speak TLS: http:// and no --tls would be right")]);
}

#[test]
fn a_server_that_drains_is_well_but_not_ready() {
    let program = Program::start(&["--drain-delay", "1h"]);
    program.signal(Signal::TERM);
    let http = program.http.to_string();
    let ready = || Program::run(&["health", "--ready", "--http", &http]);
    until(|| ready().code == Some(1));
    expect_failure(&ready(), &[&format!("http://{http}/ready answers with status 503: draining")]);
    expect_answer(&Program::run(&["health", "--http", &http]), "OK\n");
}

#[test]
fn a_server_that_is_not_there_or_says_nothing_is_not_well() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    // The kernel accepts for the listener.
    expect_failure(&Program::run(&["health", "--http", &address]), &[&format!("{address} does not answer within 5 s")]);
    // A child that another test starts may have the descriptor for a moment.
    SockRef::from(&listener).shutdown(Shutdown::Both).expect("an open socket");
    drop(listener);
    let refused = Program::run(&["health", "--http", &address]);
    expect_failure(&refused, &["cannot connect to", &address, "does the server run there?", "refused"]);
    expect_failure(&Program::run(&["health", "--url", "nonsense"]), &["--url", "as in http://127.0.0.1:3000"]);
    let elsewhere = Program::run(&["health", "--url", "https://192.0.2.1"]);
    expect_failure(&elsewhere, &["https is spoken with this machine alone"]);
}

#[test]
fn a_port_that_speaks_tls_or_expects_a_proxy_header_of_this_machine_is_asked_in_its_own_way() {
    let certificate = Certificate::new();
    let (file, key) = (certificate.certificate(), certificate.key());
    let tls = ["--tls", "http", "--tls-cert", file.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let proxy = ["--proxy-protocol", "http", "--trusted-proxies", "127.0.0.1"];
    let elsewhere = ["--proxy-protocol", "http", "--trusted-proxies", "192.0.2.1"];
    for arguments in [&tls[..], &proxy, &elsewhere, &[&tls[..], &proxy].concat()] {
        let program = Program::start(arguments);
        let http = program.http.to_string();
        let asked = [&["health", "--http", &http], arguments].concat();
        expect_answer(&Program::run(&asked), "OK\n");
        if arguments == tls {
            expect_answer(&Program::run(&["health", "--url", &format!("https://{http}")]), "OK\n");
            expect_failure(&Program::run(&["health", "--http", &http]), &["status 400: this port speaks TLS"]);
        }
        if arguments == proxy {
            let hint = format!("{http} ended the connection: does it expect a PROXY header (proxy-protocol) or TLS?");
            expect_failure(&Program::run(&["health", "--http", &http]), &[&hint]);
        }
    }
}
