//! The records of one connection: what is sent is sealed, what arrives is opened. Keeps no buffer except the beginning
//! of a record, so that tens of thousands of connections fit.

use std::io::{self, ErrorKind};
use std::sync::Arc;

use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::unbuffered::{ConnectionState, UnbufferedStatus};
use rustls::{CertificateError, ClientConfig, Error, HandshakeKind};

/// The longest plain text of one record (RFC 8446 §5.1).
const RECORD_TEXT_BYTES: usize = 16 * 1024;

/// More bytes than the header, the nonce and the tag of one record need in any version, with an update of the keys.
const RECORD_OVERHEAD_BYTES: usize = 64;

/// The longest record.
const RECORD_BYTES: usize = RECORD_TEXT_BYTES + RECORD_OVERHEAD_BYTES;

/// The state of one connection.
pub struct TlsSession {
    connection: UnbufferedClientConnection,
    /// The beginning of a record or of a message of the handshake.
    incomplete: Vec<u8>,
}

impl TlsSession {
    /// A connection that has sent nothing yet.
    pub fn new(config: Arc<ClientConfig>, server: ServerName<'static>) -> Result<Self, Error> {
        let connection = UnbufferedClientConnection::new(config, server)?;
        Ok(Self { connection, incomplete: Vec::new() })
    }

    /// Whether nothing can be sealed yet.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Whether the handshake has resumed an earlier session.
    pub fn is_resumed(&self) -> bool {
        self.connection.handshake_kind() == Some(HandshakeKind::Resumed)
    }

    /// Bytes of incomplete input, which the next call of [`TlsSession::open`] puts in front of its input.
    pub fn incomplete_bytes(&self) -> usize {
        self.incomplete.len()
    }

    /// Opens what has arrived: its first [`TlsSession::incomplete_bytes`] are filled in here. Writes the plain text,
    /// which is never longer, and appends to `out` what the handshake sends. Returns the length of the plain text.
    pub fn open(&mut self, input: &mut [u8], text: &mut [u8], out: &mut Vec<u8>) -> io::Result<usize> {
        input[..self.incomplete.len()].copy_from_slice(&self.incomplete);
        let (mut used, mut opened) = (0, 0);
        loop {
            let UnbufferedStatus { mut discard, state, .. } = self.connection.process_tls_records(&mut input[used..]);
            let mut is_over = false;
            match state.map_err(explain)? {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let record = record.map_err(explain)?;
                        discard += record.discard;
                        text[opened..opened + record.payload.len()].copy_from_slice(record.payload);
                        opened += record.payload.len();
                    }
                }
                ConnectionState::EncodeTlsData(mut data) => append(out, RECORD_BYTES, |out| data.encode(out))?,
                ConnectionState::TransmitTlsData(data) => data.done(),
                _ => is_over = true,
            }
            used += discard;
            if is_over {
                break;
            }
        }
        if self.incomplete.capacity() > 0 || used < input.len() {
            self.incomplete = input[used..].to_vec();
        }
        Ok(opened)
    }

    /// Appends the records of a plain text to `out`.
    ///
    /// # Errors
    /// The handshake is not done, or the connection has failed.
    pub fn seal(&mut self, text: &[u8], out: &mut Vec<u8>) -> io::Result<()> {
        let size = text.len() + (text.len() / RECORD_TEXT_BYTES + 1) * RECORD_OVERHEAD_BYTES;
        loop {
            let UnbufferedStatus { discard, state, .. } = self.connection.process_tls_records(&mut self.incomplete);
            let mut is_sealed = false;
            match state.map_err(explain)? {
                ConnectionState::EncodeTlsData(mut data) => append(out, RECORD_BYTES, |out| data.encode(out))?,
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::WriteTraffic(mut traffic) => {
                    append(out, size, |out| traffic.encrypt(text, out))?;
                    is_sealed = true;
                }
                _ => return Err(ErrorKind::NotConnected.into()),
            }
            self.incomplete.drain(..discard);
            if is_sealed {
                return Ok(());
            }
        }
    }
}

/// Appends what an encoder writes, which is up to this many bytes.
fn append<E: std::error::Error + Send + Sync + 'static>(
    out: &mut Vec<u8>,
    size: usize,
    encode: impl FnOnce(&mut [u8]) -> Result<usize, E>,
) -> io::Result<()> {
    let before = out.len();
    out.resize(before + size, 0);
    let written = encode(&mut out[before..]);
    out.truncate(before + written.as_ref().unwrap_or(&0));
    written.map(drop).map_err(io::Error::other)
}

/// An error of TLS in a few words, with what to do about it.
fn explain(error: Error) -> io::Error {
    let words = match &error {
        Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => "TLS: the certificate has other names than the target: use one of them, or give it to --ca".to_owned(),
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::Other(_)) => {
            "TLS: --ca has neither the server's certificate nor its authority".to_owned()
        }
        Error::InvalidCertificate(reason) => format!("TLS: {reason:?}: --ca with the certificate itself accepts it"),
        Error::InvalidMessage(_) => format!("TLS: {error}: is this a port without TLS?"),
        _ => format!("TLS: {error}"),
    };
    io::Error::new(ErrorKind::InvalidData, words)
}
