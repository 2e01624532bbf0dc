//! Certificates that are wrong, end soon, or are replaced while the server runs.

use std::fs;
use std::net::TcpStream;

use harness::until;
use roomcast::config::{Config, Settings};
use roomcast::server;
use rustix::fs::{CWD, Mode, mkfifoat};
use rustls::pki_types::CertificateDer;

use crate::server::{Shape, TestServer};
use crate::tls_client::{Certificate, Tls, made, replace, trusting};

/// Whether a new connection gets this certificate.
fn is_used(server: &TestServer, der: &CertificateDer<'static>) -> bool {
    let stream = TcpStream::connect(server.tcp).expect("a server that accepts");
    let mut client = Tls::over(stream, trusting(der, rustls::ALL_VERSIONS));
    let stream = client.stream();
    stream.conn.complete_io(&mut stream.sock).is_ok()
}

/// What a start with these files says.
#[track_caller]
fn refusal(certificate: &Certificate) -> String {
    let mut settings = Settings::default();
    certificate.apply(&mut settings);
    let config = Config::try_from(settings).expect("settings within their rules");
    let error = server::check(&config).expect_err("files that are wrong");
    format!("{error:#}")
        .replace(&*certificate.key().to_string_lossy(), "KEY")
        .replace(&*certificate.certificate().to_string_lossy(), "CERTIFICATE")
}

#[test]
fn new_connections_get_a_replaced_certificate_and_old_ones_stay() {
    let certificate = Certificate::new();
    let server = certificate.server(Shape::MANY);
    let mut old = certificate.member(server.tcp, "a");
    let (der, chain, key) = made();
    replace(&certificate.certificate(), &chain);
    replace(&certificate.key(), &key);
    until(|| is_used(&server, &der));
    assert!(!is_used(&server, &certificate.der));
    old.send("PING\n");
    old.expect("PONG");
}

#[test]
fn a_certificate_that_is_half_written_leaves_the_one_in_use() {
    let certificate = Certificate::new();
    let server = certificate.server(Shape::MANY);
    let (der, chain, key) = made();
    fs::write(certificate.certificate(), &chain[..chain.len() / 2]).expect("a file");
    assert!(is_used(&server, &certificate.der));
    fs::write(certificate.certificate(), &chain).expect("a file");
    // The key is still that of the other one.
    assert!(is_used(&server, &certificate.der));
    fs::remove_file(certificate.key()).expect("a file");
    assert!(is_used(&server, &certificate.der));
    replace(&certificate.key(), &key);
    until(|| is_used(&server, &der));
}

#[test]
fn files_that_are_wrong_are_refused_with_the_setting_the_file_and_what_would_be_right() {
    let certificate = Certificate::new();
    let (_, other_chain, other_key) = made();
    let chain = fs::read_to_string(certificate.certificate()).expect("a file");
    let key = fs::read_to_string(certificate.key()).expect("a file");
    let whole = "CERTIFICATE: must hold PEM sections BEGIN CERTIFICATE, whole";
    let no_key = "KEY: must hold a PEM section BEGIN PRIVATE KEY, whole and without a passphrase";
    for (chain, key, refused) in [
        (&chain[..], "", format!("tls-key {no_key}")),
        (&chain, &key[..key.len() / 2], format!("tls-key {no_key}")),
        ("", &key, format!("tls-cert {whole}")),
        (&chain[..100], &key, format!("tls-cert {whole}")),
        (&key, &key, format!("tls-cert {whole}")),
    ] {
        replace(&certificate.certificate(), chain);
        replace(&certificate.key(), key);
        assert_eq!(refusal(&certificate), refused);
    }
    // The last is a chain that begins with a certificate of the authority and not with the server's own.
    let wrong_order = format!("{other_chain}{chain}");
    for (chain, key) in [(&chain, &other_key), (&other_chain, &key), (&wrong_order, &key)] {
        replace(&certificate.certificate(), chain);
        replace(&certificate.key(), key);
        let refused = refusal(&certificate);
        assert!(
            refused.starts_with("tls-key KEY: must be the private key of the first certificate in CERTIFICATE"),
            "{refused}"
        );
    }
    fs::remove_file(certificate.certificate()).expect("a file");
    // A pipe would be waited for at the start, and at each look at the files.
    mkfifoat(CWD, certificate.certificate(), Mode::RUSR).expect("a pipe");
    assert_eq!(refusal(&certificate), "tls-cert CERTIFICATE: is no file");
    fs::remove_file(certificate.certificate()).expect("a pipe");
    let refused = refusal(&certificate);
    assert!(refused.starts_with("tls-cert CERTIFICATE: cannot be read: No such file"), "{refused}");
}

#[test]
fn the_metric_says_when_the_certificate_ends() {
    let certificate = Certificate::new();
    let server = certificate.server(Shape::ONE);
    let mut client = certificate.connect(server.http);
    client.send("GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    let text = client.answer().1;
    // rcgen's certificates end in the year 4096.
    assert!(text.contains("\nroomcast_tls_certificate_not_after_seconds 67090118400\n"), "{text}");
}
