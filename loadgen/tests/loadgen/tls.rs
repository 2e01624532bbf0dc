//! Loads over TLS: each client of a load, the certificates that are accepted, and sessions that are resumed.

use std::net::SocketAddr;
use std::path::Path;

use harness::{CertificateFiles, Identity, Process, Program, TlsFront, Turn, at_once};
use tempfile::TempDir;

use crate::fake::{At, Fake, Fault};
use crate::load::{Measured, loadgen, measure, short};
use crate::servers::Server;

const LOAD: [&str; 6] = ["--clients", "6", "--rooms", "2", "--rate", "20"];

/// A server over TLS in front of another, and the files of its certificate.
struct Secured {
    front: TlsFront,
    folder: TempDir,
    files: CertificateFiles,
}

impl Secured {
    fn start(identity: &Identity, behind: SocketAddr) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let files = identity.write(folder.path());
        Self { front: TlsFront::start(identity, behind), folder, files }
    }

    fn of_this_host(behind: SocketAddr) -> Self {
        Self::start(&Identity::of_this_host(), behind)
    }

    fn target(&self) -> String {
        format!("tls://{}", self.front.address)
    }

    fn ca(&self) -> &str {
        path(&self.files.ca)
    }

    #[track_caller]
    fn measure(&self, arguments: &[&str]) -> Measured {
        measure(&self.target(), &[&["--ca", self.ca()], arguments].concat())
    }

    /// The error of a load that trusts this file.
    #[track_caller]
    fn refuse(&self, ca: &Path) -> String {
        let ended = Process::run(&mut loadgen(&[&self.target(), "--ca", path(ca), "--clients", "2"]));
        assert_eq!(ended.code, Some(2), "{ended:?}");
        ended.err
    }
}

fn path(path: &Path) -> &str {
    path.to_str().expect("a path in Unicode")
}

#[test]
fn every_member_over_tls_gets_every_message() {
    let fake = Fake::start(&[]);
    let measured = Secured::of_this_host(fake.address()).measure(&LOAD);
    measured.expect_clean();
    measured.expect_all(3);
}

#[test]
fn a_fault_is_found_over_tls_too() {
    let fake = Fake::start(&[Fault::Lose(At { client: 2, delivery: 4 })]);
    let load = ["--clients", "4", "--rooms", "1", "--rate", "20", "--publishers", "first", "--patience", "2s"];
    Secured::of_this_host(fake.address()).measure(&load).expect_only("lost", 1);
}

#[test]
fn messages_longer_than_a_record_arrive_whole() {
    let fake = Fake::start(&[]);
    let load = ["--clients", "4", "--rooms", "1", "--in-flight", "4", "--size", "60000"];
    let measured = Secured::of_this_host(fake.address()).measure(&load);
    measured.expect_clean();
    measured.expect_all(4);
}

#[test]
fn roomcast_is_loaded_over_both_transports_beside_clients_without_tls() {
    let program = Program::start(&[]);
    let (lines, websocket) = (Secured::of_this_host(program.tcp), Secured::of_this_host(program.http));
    let plain = format!("tcp://{}", program.tcp);
    let secure = format!("wss://localhost:{}/ws", websocket.front.address.port());
    let mix = [&secure[..], &plain, "--mix", "tls=40,wss=40,tcp=20"];
    let load = ["--clients", "200", "--rooms", "4", "--rate", "40", "--churn", "50"];
    lines.measure(&[&mix[..], &load].concat()).expect_clean();
}

#[test]
fn the_certificate_itself_may_be_what_is_trusted_whatever_its_name() {
    let fake = Fake::start(&[]);
    Secured::start(&Identity::self_signed(&["elsewhere.example"]), fake.address()).measure(&LOAD).expect_clean();
}

#[test]
fn a_certificate_that_does_not_match_is_refused_with_what_to_do() {
    let fake = Fake::start(&[]);
    let other = Secured::start(&Identity::self_signed(&["localhost"]), fake.address());
    let elsewhere = Secured::start(&Identity::signed_for(&["elsewhere.example"]), fake.address());
    let error = other.refuse(&elsewhere.files.ca);
    assert!(error.contains("--ca has neither the server's certificate nor its authority"), "{error}");
    let error = elsewhere.refuse(&elsewhere.files.ca);
    assert!(error.contains("the certificate has other names than the target"), "{error}");
    let text = other.folder.path().join("text");
    std::fs::write(&text, "no PEM").unwrap();
    let error = other.refuse(&text);
    assert!(error.contains("it has no certificate in PEM"), "{error}");
}

#[test]
fn any_certificate_is_accepted_only_on_request() {
    let fake = Fake::start(&[]);
    let secured = Secured::start(&Identity::self_signed(&["elsewhere.example"]), fake.address());
    measure(&secured.target(), &[&LOAD[..], &["--insecure"]].concat()).expect_clean();
    let ended = Process::run(&mut loadgen(&[&secured.target()]));
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("tls:// and wss:// need --ca PATH"), "{ended:?}");
}

#[test]
fn a_port_without_tls_is_named() {
    let server = Server::roomcast();
    let ended = Process::run(&mut loadgen(&[&server.tcp().replace("tcp", "tls"), "--insecure", "--clients", "2"]));
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("is this a port without TLS?"), "{ended:?}");
}

#[test]
fn a_server_that_never_finishes_the_handshake_is_given_up() {
    let fake = Fake::start(&[Fault::AnswerNothing]);
    let target = fake.target().replace("tcp", "tls");
    let ended = Process::run(&mut loadgen(&[&target, "--insecure", "--clients", "2", "--patience", "1s"]));
    assert_eq!(ended.err, "loadgen: no client got in: no answer to the TLS handshake within 1s (2)\n", "{ended:?}");
}

#[test]
fn clients_that_come_back_resume_their_sessions_unless_told_otherwise() {
    let reconnect = ["--clients", "20", "--rooms", "2", "--rate", "40", "--duration", "2s", "--reconnect", "0.5@500ms"];
    at_once([("true", 9.0), ("false", 0.0)], |(resumption, resumed)| {
        let fake = Fake::start(&[]);
        let more = ["--away", "300ms", "--tls-resumption", resumption];
        let measured = Secured::of_this_host(fake.address()).measure(&[&reconnect[..], &more].concat());
        measured.expect_clean();
        let number = |name: &str| measured.number(&format!("/rooms/reconnects/{name}"));
        assert_eq!((number("cut"), number("recovered"), number("tls_resumed")), (9.0, 9.0, resumed), "{measured:?}");
    });
}

#[test]
fn plain_and_tls_are_compared_in_one_run() {
    let fake = Fake::start(&[]);
    let secured = Secured::of_this_host(fake.address());
    let (plain, tls) = (fake.target(), secured.target());
    let compare = ["compare", &plain, &tls, "--ca", secured.ca(), "--rounds", "2"];
    let ended = Process::run(&mut loadgen(&[&compare[..], &LOAD, &short(&[])].concat()));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.out.contains(&format!("tls :{}", secured.front.address.port())), "{ended:?}");
}

#[test]
fn an_overload_over_tls_loses_nothing() {
    let _turn = Turn::take();
    let program = Program::start(&[]);
    let (lines, websocket) = (Secured::of_this_host(program.tcp), Secured::of_this_host(program.http));
    let (tls, wss) = (lines.target(), format!("wss://{}/ws", websocket.front.address));
    let burst = ["overload", "burst", &tls, &wss, "--clients", "60", "--watchers", "8"];
    let flood =
        ["overload", "flood", &tls, &wss, "--members", "30", "--bystanders", "4", "--quiet", "2", "--for", "1s"];
    for arguments in [&burst[..], &flood] {
        let ended = Process::run(&mut loadgen(&[arguments, &["--ca", lines.ca()]].concat()));
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
}
