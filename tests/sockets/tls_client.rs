//! Certificates, servers that speak TLS, and clients of rustls.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use harness::{FAILSAFE, HANDSHAKE, Head, WELCOME};
use roomcast::config::{Settings, TlsPorts};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned, SupportedProtocolVersion};
use tempfile::TempDir;

use crate::server::{Shape, TestServer};

/// A certificate and its key in files of their own.
pub struct Certificate {
    folder: TempDir,
    pub der: CertificateDer<'static>,
}

fn pem(kind: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).map(|line| str::from_utf8(line).expect("ASCII")).collect();
    format!("-----BEGIN {kind}-----\n{}\n-----END {kind}-----\n", lines.join("\n"))
}

/// A certificate of its own with its key, both in PEM.
pub fn made() -> (CertificateDer<'static>, String, String) {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let der = made.cert.der().clone();
    let (certificate, key) = (pem("CERTIFICATE", &der), pem("PRIVATE KEY", &made.signing_key.serialize_der()));
    (der, certificate, key)
}

/// Replaces a file at once.
pub fn replace(path: &Path, contents: &str) {
    let next = path.with_extension("next");
    fs::write(&next, contents).expect("a file");
    fs::rename(next, path).expect("a file");
}

impl Certificate {
    pub fn new() -> Self {
        let (der, certificate, key) = made();
        let made = Self { folder: tempfile::tempdir().expect("a folder"), der };
        replace(&made.certificate(), &certificate);
        replace(&made.key(), &key);
        made
    }

    pub fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    pub fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }

    /// The settings of a server with this certificate on both ports.
    pub fn apply(&self, settings: &mut Settings) {
        settings.tls = TlsPorts::Both;
        settings.tls_cert = Some(self.certificate());
        settings.tls_key = Some(self.key());
    }

    /// A server with this certificate on both ports.
    pub fn server(&self, shape: Shape) -> TestServer {
        TestServer::start(shape, |settings| self.apply(settings))
    }

    /// A client that trusts this certificate alone.
    pub fn config(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        trusting(&self.der, versions)
    }

    /// A TLS client of that address, before its first byte.
    #[track_caller]
    pub fn connect(&self, server: impl ToSocketAddrs) -> Tls {
        Tls::over(TcpStream::connect(server).expect("a server that accepts"), self.config(rustls::ALL_VERSIONS))
    }

    /// A line client that has joined a room.
    #[track_caller]
    pub fn member(&self, server: impl ToSocketAddrs, room: &str) -> Tls {
        self.connect(server).join_first(room)
    }
}

pub fn trusting(der: &CertificateDer<'static>, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(der.clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions);
    builder.expect("versions").with_root_certificates(roots).with_no_client_auth()
}

/// A TLS client, blocking.
pub struct Tls(BufReader<StreamOwned<ClientConnection, TcpStream>>);

impl Tls {
    pub fn over(stream: TcpStream, config: ClientConfig) -> Self {
        stream.set_read_timeout(Some(FAILSAFE)).expect("an option");
        stream.set_nodelay(true).expect("an option");
        let name = ServerName::try_from("localhost").expect("a name");
        let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
        Self(BufReader::new(StreamOwned::new(connection, stream)))
    }

    #[track_caller]
    pub fn join_first(mut self, room: &str) -> Self {
        self.send(format!("JOIN {room}\n"));
        self.expect(WELCOME);
        self.expect(&format!("Joined {room}"));
        self
    }

    pub fn connection(&mut self) -> &mut ClientConnection {
        &mut self.0.get_mut().conn
    }

    pub fn socket(&mut self) -> &mut TcpStream {
        &mut self.0.get_mut().sock
    }

    /// Both halves for a client that does by hand what rustls has no call for.
    pub fn stream(&mut self) -> &mut StreamOwned<ClientConnection, TcpStream> {
        self.0.get_mut()
    }

    /// Both halves on their own.
    pub fn into_parts(self) -> (ClientConnection, TcpStream) {
        self.0.into_inner().into_parts()
    }

    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.get_mut().write_all(bytes.as_ref()).expect("a server that reads");
        self.0.get_mut().flush().expect("a server that reads");
    }

    /// The next line without its end; an empty one is the end, which the server has said under its keys.
    #[track_caller]
    pub fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("a line or the end");
        line.truncate(line.trim_end_matches('\n').len());
        line
    }

    #[track_caller]
    pub fn expect(&mut self, line: &str) {
        assert_eq!(self.line(), line);
    }

    /// Everything up to the end, which the server has said under its keys.
    #[track_caller]
    pub fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).expect("the end");
        String::from_utf8_lossy(&rest).into_owned()
    }

    /// The head and the body of an answer.
    #[track_caller]
    pub fn answer(&mut self) -> (Head, String) {
        let head = Head::read(&mut self.0);
        let length = head.header("content-length").map_or(0, |length| length.parse().expect("a length"));
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("a body");
        (head, String::from_utf8(body).expect("text"))
    }

    /// Makes it a WebSocket.
    #[track_caller]
    pub fn upgrade(&mut self) {
        self.send(HANDSHAKE);
        assert_eq!(self.answer().0.status, 101);
    }

    /// The payload of the next frame, which is short.
    #[track_caller]
    pub fn frame(&mut self) -> String {
        let mut head = [0; 2];
        self.0.read_exact(&mut head).expect("a frame");
        let length = match head[1] {
            126 => {
                let mut length = [0; 2];
                self.0.read_exact(&mut length).expect("a length");
                usize::from(u16::from_be_bytes(length))
            }
            length => usize::from(length),
        };
        let mut payload = vec![0; length];
        self.0.read_exact(&mut payload).expect("a payload");
        String::from_utf8_lossy(&payload).into_owned()
    }
}
