//! Streams of TLS in memory: the server's side as the writer and the connections use it, a kernel that takes as much as a
//! test allows, and a real client of rustls at the other end.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::sync::{Arc, LazyLock};

use roomcast::net::tls::{Received, SCRATCH_BYTES, TlsState};
use roomcast::writer::{Sent, Slot, Wire};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, SupportedProtocolVersion};

/// One configuration for all tests: keys take a while to make.
static CERTIFICATE: LazyLock<(CertificateDer<'static>, Vec<u8>)> = LazyLock::new(|| {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    (made.cert.der().clone(), made.signing_key.serialize_der())
});

/// One connection.
pub struct Sealed {
    slot: Slot,
    state: TlsState,
    /// Bytes that the kernel still takes.
    pub capacity: usize,
    /// Bytes on the way to the client, and to the server.
    to_client: Vec<u8>,
    to_server: Vec<u8>,
    client: ClientConnection,
    /// What the client has read.
    pub got: Vec<u8>,
    /// The client was told, under its keys, that nothing more comes.
    pub got_end: bool,
    /// The stream has ended.
    pub finished: bool,
    pub watched: bool,
    pub closed: bool,
}

fn server_config() -> Arc<ServerConfig> {
    let (certificate, key) = &*CERTIFICATE;
    let key = PrivatePkcs8KeyDer::from(key.clone());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let builder = builder.expect("versions").with_no_client_auth();
    Arc::new(builder.with_single_cert(vec![certificate.clone()], key.into()).expect("a certificate with its key"))
}

fn client(version: &'static SupportedProtocolVersion) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    roots.add(CERTIFICATE.0.clone()).expect("a certificate");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]);
    let config = builder.expect("a version").with_root_certificates(roots).with_no_client_auth();
    ClientConnection::new(Arc::new(config), "localhost".try_into().expect("a name")).expect("a client")
}

impl Sealed {
    /// A connection whose handshake is complete.
    pub fn new(slot: Slot, version: &'static SupportedProtocolVersion) -> Self {
        let mut sealed = Self {
            slot,
            state: TlsState::new(server_config()).expect("a server"),
            capacity: usize::MAX,
            to_client: Vec::new(),
            to_server: Vec::new(),
            client: client(version),
            got: Vec::new(),
            got_end: false,
            finished: false,
            watched: false,
            closed: false,
        };
        while sealed.state.is_handshaking() || sealed.client.is_handshaking() {
            sealed.client_writes();
            if sealed.state.is_handshaking() {
                // A few bytes at a time: messages of the handshake come in pieces.
                let Self { state, to_server, .. } = &mut sealed;
                let step = state.shake_hands(&mut vec![0; SCRATCH_BYTES], |free| take(to_server, 100, free));
                assert!(step.is_ok() || step.is_err_and(|error| error.kind() == ErrorKind::WouldBlock));
                let _ = sealed.flush();
            }
            sealed.client_reads();
        }
        sealed
    }

    /// Has the client send this to the server.
    pub fn client_sends(&mut self, bytes: &[u8]) {
        self.client.writer().write_all(bytes).expect("no limit");
        self.client_writes();
    }

    /// Has the client change its keys and ask the server to change its own (RFC 8446 §4.6.3).
    pub fn client_changes_keys(&mut self) {
        // TLS 1.2 has none of this.
        let _ = self.client.refresh_traffic_keys();
        self.client_writes();
    }

    /// Reads once what has come from the client, as a connection does: at most `max` bytes, of at most `piece` that the
    /// kernel gives. Returns them, and whether there may be more.
    pub fn server_reads(&mut self, max: usize, piece: usize) -> io::Result<(Vec<u8>, bool)> {
        let Self { state, to_server, to_client, capacity, .. } = self;
        let mut buffer = vec![0; max];
        let received = state.receive(&mut buffer, &mut vec![0; SCRATCH_BYTES], |free| take(to_server, piece, free));
        let _ = state.flush(|bytes| transmit(to_client, capacity, bytes));
        let Received { bytes, is_more } = received?;
        buffer.truncate(bytes);
        Ok((buffer, is_more))
    }

    /// Reads as [`Self::server_reads`] until there is nothing more, and returns all of it.
    pub fn server_reads_all(&mut self, max: usize, piece: usize) -> Vec<u8> {
        let mut all = Vec::new();
        loop {
            let is_more = match self.server_reads(max, piece) {
                Ok((bytes, is_more)) => {
                    all.extend(bytes);
                    is_more
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    false
                }
            };
            if !is_more && self.to_server.is_empty() {
                return all;
            }
        }
    }

    /// Memory of input, and sealed bytes, that the server's side holds.
    pub fn held(&self) -> (usize, usize) {
        (self.state.held_input(), self.state.held_output())
    }

    pub fn way_to_server(&mut self) -> &mut Vec<u8> {
        &mut self.to_server
    }

    fn client_writes(&mut self) {
        while self.client.wants_write() {
            self.client.write_tls(&mut self.to_server).expect("memory");
        }
    }

    /// Has the client read what the kernel has taken.
    pub fn client_reads(&mut self) {
        let mut taken = &self.to_client[..];
        while !taken.is_empty() {
            self.client.read_tls(&mut taken).expect("memory");
            let state = self.client.process_new_packets().expect("records under the right keys");
            let start = self.got.len();
            self.got.resize(start + state.plaintext_bytes_to_read(), 0);
            self.client.reader().read_exact(&mut self.got[start..]).expect("plaintext");
            self.got_end |= state.peer_has_closed();
        }
        self.to_client.clear();
        self.client_writes();
    }

    fn flush(&mut self) -> io::Result<usize> {
        let Self { state, to_client, capacity, .. } = self;
        state.flush(|bytes| transmit(to_client, capacity, bytes))
    }

    fn outcome(&self, taken: io::Result<usize>) -> Sent {
        match taken {
            Ok(taken) if self.state.held_output() > 0 => Sent::Held(taken),
            Ok(taken) => Sent::Taken(taken),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Sent::WouldBlock,
            Err(_) => Sent::Broken,
        }
    }
}

/// The kernel gives what fits, and at most `piece` bytes.
fn take(from: &mut Vec<u8>, piece: usize, free: &mut [u8]) -> io::Result<usize> {
    let taken = from.len().min(piece).min(free.len());
    free[..taken].copy_from_slice(&from[..taken]);
    from.drain(..taken);
    if taken == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(taken) }
}

/// The kernel takes what it has room for.
fn transmit(to: &mut Vec<u8>, capacity: &mut usize, bytes: &[u8]) -> io::Result<usize> {
    let taken = bytes.len().min(*capacity);
    to.extend_from_slice(&bytes[..taken]);
    *capacity -= if *capacity == usize::MAX { 0 } else { taken };
    if taken == 0 { Err(ErrorKind::WouldBlock.into()) } else { Ok(taken) }
}

/// The streams of a writer, by the index of their slot. Closed ones stay.
#[derive(Default)]
pub struct SealedWire(pub BTreeMap<u32, Sealed>);

impl SealedWire {
    pub fn at(&mut self, index: u32) -> &mut Sealed {
        self.0.get_mut(&index).expect("a slot has its socket until it is closed")
    }
}

impl Wire for SealedWire {
    fn send(&mut self, index: u32, bytes: &[u8]) -> Sent {
        let sealed = self.at(index);
        assert!(!sealed.finished && !sealed.closed, "{:?} is written to behind its end", sealed.slot);
        let Sealed { state, to_client, capacity, .. } = sealed;
        let taken = state.send(bytes, &mut vec![0; SCRATCH_BYTES], |bytes| transmit(to_client, capacity, bytes));
        sealed.outcome(taken)
    }

    fn flush(&mut self, index: u32) -> Sent {
        let sealed = self.at(index);
        if sealed.state.held_output() == 0 {
            return Sent::Taken(0);
        }
        let taken = sealed.flush();
        sealed.outcome(taken)
    }

    fn held(&self, index: u32) -> usize {
        self.0[&index].state.held_output()
    }

    fn watch(&mut self, slot: Slot) {
        let sealed = self.at(slot.index);
        assert!(sealed.state.held_output() > 0, "{slot:?} is watched and holds nothing");
        sealed.watched = true;
    }

    fn finish(&mut self, index: u32) -> bool {
        let sealed = self.at(index);
        assert!(!sealed.finished, "{:?} ends its stream twice", sealed.slot);
        let Sealed { state, to_client, capacity, .. } = sealed;
        let finished = state.finish(&mut vec![0; SCRATCH_BYTES], |bytes| transmit(to_client, capacity, bytes));
        sealed.finished = finished.is_ok();
        sealed.finished
    }

    fn close(&mut self, index: u32) {
        let sealed = self.at(index);
        assert!(!sealed.closed, "{:?} is closed twice", sealed.slot);
        sealed.closed = true;
    }
}
