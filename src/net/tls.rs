//! The TLS state of one connection, without a socket: opens records that were received and seals what is to be sent.
//! Keeps no buffer while nothing waits: at most one record that has not come whole, one that did not fit where it was to
//! be read, and one that the socket did not take.

use std::fmt;
use std::io::{self, ErrorKind};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncodeTlsData, UnbufferedStatus};

/// The most plaintext in one record, in bytes (RFC 8446 §5.1).
pub const RECORD_PLAINTEXT_MAX: usize = 16 * 1024;

/// The longest record, in bytes, with the 2 KiB that TLS 1.2 allows a cipher to add (RFC 5246 §6.2.3). Also the longest
/// message of a handshake that is kept until it is whole.
const RECORD_BYTES_MAX: usize = 5 + RECORD_PLAINTEXT_MAX + 2 * 1024;

/// The size of the buffer that [`TlsState::receive`] and [`TlsState::send`] work in: a record that was begun, and as much
/// as one read takes; or a sealed record behind an answer to a change of keys.
pub const SCRATCH_BYTES: usize = 2 * RECORD_BYTES_MAX;

/// What a read has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// The number of bytes; 0 is the end of the input.
    pub bytes: usize,
    /// Whether there may be more. If not, the next input makes the socket readable.
    pub is_more: bool,
}

impl Received {
    /// The end of the input.
    const END: Self = Self { bytes: 0, is_more: false };
}

/// TLS over something that transmits bytes.
pub struct TlsState {
    connection: UnbufferedServerConnection,
    /// What was received of a record, or of a message of the handshake, that has not come whole.
    incoming: Vec<u8>,
    /// Received and not read yet.
    plaintext: Vec<u8>,
    /// Sealed and not taken by the socket yet.
    unsent: Vec<u8>,
    /// The client has said that it sends no more.
    input_ended: bool,
    /// Nobody reads any more.
    is_input_discarded: bool,
    /// The client broke the rules of TLS: nothing more is received or sealed.
    is_broken: bool,
    /// The end of the output is sealed.
    is_finished: bool,
}

impl TlsState {
    /// A connection before its handshake.
    ///
    /// # Errors
    /// The configuration cannot be used.
    pub fn new(config: Arc<ServerConfig>) -> Result<Self, rustls::Error> {
        Ok(Self {
            connection: UnbufferedServerConnection::new(config)?,
            incoming: Vec::new(),
            plaintext: Vec::new(),
            unsent: Vec::new(),
            input_ended: false,
            is_input_discarded: false,
            is_broken: false,
            is_finished: false,
        })
    }

    /// Whether the handshake is not complete yet.
    pub fn is_handshaking(&self) -> bool {
        self.connection.is_handshaking()
    }

    /// Memory of input that is not read yet, in bytes.
    pub fn held_input(&self) -> usize {
        self.incoming.capacity() + self.plaintext.capacity()
    }

    /// Sealed bytes that the socket has not taken yet.
    pub fn held_output(&self) -> usize {
        self.unsent.len()
    }

    /// Whether a call of [`Self::receive`] returns at once, whatever the socket has.
    pub fn has_input(&self) -> bool {
        !self.plaintext.is_empty() || self.input_ended || self.is_broken && !self.is_input_discarded
    }

    /// Discards what is received and not read. The input goes on as bytes that nobody opens, unless it has ended, which is
    /// returned.
    pub fn discard_input(&mut self) -> bool {
        self.is_input_discarded = true;
        self.plaintext = Vec::new();
        self.input_ended
    }

    /// Receives plaintext by one call of `read`, or by several if what they bring is not for the reader. `read` returns
    /// fewer bytes than fit only if it has all.
    ///
    /// # Errors
    /// `WouldBlock` if nothing has come for the reader; `InvalidData` if the client broke the rules of TLS, which it is
    /// told by [`Self::flush`]; what `read` fails with.
    pub fn receive(
        &mut self,
        buffer: &mut [u8],
        scratch: &mut [u8],
        mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<Received> {
        loop {
            if !self.plaintext.is_empty() {
                return Ok(self.take_plaintext(buffer));
            }
            if self.input_ended {
                return Ok(Received::END);
            }
            if self.is_broken {
                return Err(ErrorKind::InvalidData.into());
            }
            let read_max = buffer.len().min(RECORD_BYTES_MAX);
            let Some((received, bytes)) = self.read_and_open(read_max, buffer, scratch, &mut read)? else {
                return Ok(Received::END);
            };
            let is_more = received == read_max || self.has_input();
            if bytes > 0 {
                return Ok(Received { bytes, is_more });
            }
            if !is_more {
                return Err(ErrorKind::WouldBlock.into());
            }
        }
    }

    /// Takes one step of the handshake, by one call of `read`. What is to be sent is held for [`Self::flush`].
    ///
    /// # Errors
    /// `UnexpectedEof` at the end of the input; `InvalidData` if the client broke the rules of TLS, or has none in common
    /// with the server; what `read` fails with.
    pub fn shake_hands(
        &mut self,
        scratch: &mut [u8],
        read: impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<()> {
        let received = self.read_and_open(RECORD_BYTES_MAX, &mut [], scratch, read)?;
        if self.is_broken {
            return Err(ErrorKind::InvalidData.into());
        }
        // What comes behind a complete handshake is the reader's, an end included.
        let is_over = received.is_none() || self.input_ended && self.is_handshaking();
        if is_over { Err(ErrorKind::UnexpectedEof.into()) } else { Ok(()) }
    }

    /// Sends the start of `bytes` in one record, and what waits before it. Returns how many bytes are sealed: they are
    /// sent as soon as the socket takes them, which it has done unless [`Self::held_output`] says otherwise.
    ///
    /// # Errors
    /// `WouldBlock` if the socket has not taken yet what was sealed before; what `transmit` fails with.
    pub fn send(
        &mut self,
        bytes: &[u8],
        scratch: &mut [u8],
        mut transmit: impl FnMut(&[u8]) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.flush(&mut transmit)?;
        if !self.unsent.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        let taken = bytes.len().min(RECORD_PLAINTEXT_MAX);
        let sealed = self.seal(Some(&bytes[..taken]), scratch)?;
        let sent = match transmit_all(&scratch[..sealed], transmit) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => 0,
            sent => sent?,
        };
        self.unsent = scratch[sent..sealed].to_vec();
        Ok(taken)
    }

    /// Sends what is sealed, and returns how many bytes of it the socket has taken.
    ///
    /// # Errors
    /// `WouldBlock` if the socket takes nothing; what `transmit` fails with.
    pub fn flush(&mut self, transmit: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<usize> {
        let sent = transmit_all(&self.unsent, transmit)?;
        if sent == self.unsent.len() {
            self.unsent = Vec::new();
        } else {
            self.unsent.drain(..sent);
        }
        Ok(sent)
    }

    /// Seals the end of the output (`close_notify`) once, and sends it behind what is sealed.
    ///
    /// # Errors
    /// `WouldBlock` if the socket has not taken all yet; what `transmit` fails with.
    pub fn finish(&mut self, scratch: &mut [u8], transmit: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<()> {
        if !self.is_finished && !self.is_broken && !self.is_handshaking() {
            self.is_finished = true;
            let sealed = self.seal(None, scratch)?;
            self.unsent.extend_from_slice(&scratch[..sealed]);
        }
        self.flush(transmit)?;
        if self.unsent.is_empty() { Ok(()) } else { Err(ErrorKind::WouldBlock.into()) }
    }

    /// Reads once and opens what has come. Returns how many bytes that were, and how many are in `buffer` now; `None` at
    /// the end of the input.
    fn read_and_open(
        &mut self,
        read_max: usize,
        buffer: &mut [u8],
        scratch: &mut [u8],
        mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
    ) -> io::Result<Option<(usize, usize)>> {
        let kept = self.incoming.len();
        let received = read(&mut scratch[kept..kept + read_max])?;
        if received == 0 {
            return Ok(None);
        }
        scratch[..kept].copy_from_slice(&self.incoming);
        Ok(Some((received, self.open(&mut scratch[..kept + received], buffer))))
    }

    fn take_plaintext(&mut self, buffer: &mut [u8]) -> Received {
        let bytes = self.plaintext.len().min(buffer.len());
        buffer[..bytes].copy_from_slice(&self.plaintext[..bytes]);
        self.plaintext = self.plaintext[bytes..].to_vec();
        Received { bytes, is_more: true }
    }

    /// Opens every whole record of `received`, and keeps the rest of it and the plaintext that does not fit into
    /// `buffer`. Returns the number of bytes in `buffer`.
    fn open(&mut self, received: &mut [u8], buffer: &mut [u8]) -> usize {
        let (mut opened, mut consumed) = (0, 0);
        loop {
            let UnbufferedStatus { mut discard, state } =
                self.connection.process_tls_records(&mut received[consumed..]);
            let is_blocked = match state {
                Ok(ConnectionState::ReadTraffic(mut traffic)) => {
                    while let Some(Ok(record)) = traffic.next_record() {
                        discard += record.discard;
                        let fits = record.payload.len().min(buffer.len() - opened);
                        let (now, later) = record.payload.split_at(fits);
                        buffer[opened..opened + fits].copy_from_slice(now);
                        opened += fits;
                        self.plaintext.extend_from_slice(later);
                    }
                    false
                }
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    append(&mut data, &mut self.unsent);
                    false
                }
                Ok(ConnectionState::TransmitTlsData(data)) => {
                    data.done();
                    false
                }
                Ok(ConnectionState::PeerClosed) => {
                    self.input_ended = true;
                    false
                }
                Ok(_) => true,
                Err(_) => {
                    self.fail();
                    return opened;
                }
            };
            consumed += discard;
            if is_blocked {
                break;
            }
        }
        self.incoming = received[consumed..].to_vec();
        if self.incoming.len() > RECORD_BYTES_MAX {
            self.fail();
        }
        opened
    }

    /// Gives the connection up, and keeps what the client is to be told (RFC 8446 §6.2).
    fn fail(&mut self) {
        self.is_broken = true;
        self.incoming = Vec::new();
        // With an alert to send it looks at no input, whatever it remembers of some.
        while self.connection.wants_write()
            && let Ok(ConnectionState::EncodeTlsData(mut data)) = self.connection.process_tls_records(&mut []).state
        {
            append(&mut data, &mut self.unsent);
        }
    }

    /// Seals the bytes, or the end of the output, behind what else is to be sent. Returns the number of sealed bytes.
    fn seal(&mut self, bytes: Option<&[u8]>, scratch: &mut [u8]) -> io::Result<usize> {
        let mut sealed = 0;
        while !self.is_broken {
            // With what has come of a record: a message of the handshake may be remembered by its place there.
            match self.connection.process_tls_records(&mut self.incoming).state {
                Ok(ConnectionState::EncodeTlsData(mut data)) => {
                    sealed += data.encode(&mut scratch[sealed..]).map_err(io::Error::other)?;
                }
                Ok(ConnectionState::TransmitTlsData(data)) => data.done(),
                Ok(ConnectionState::WriteTraffic(mut traffic)) => {
                    let free = &mut scratch[sealed..];
                    let written = match bytes {
                        Some(bytes) => traffic.encrypt(bytes, free),
                        None => traffic.queue_close_notify(free),
                    };
                    return written.map(|written| sealed + written).map_err(io::Error::other);
                }
                _ => self.is_broken = true,
            }
        }
        Err(ErrorKind::BrokenPipe.into())
    }
}

/// Says nothing of keys.
impl fmt::Debug for TlsState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("TlsState").field("is_broken", &self.is_broken).finish_non_exhaustive()
    }
}

/// Appends what rustls has to send.
fn append<D>(data: &mut EncodeTlsData<'_, D>, unsent: &mut Vec<u8>) {
    let Err(EncodeError::InsufficientSize(needed)) = data.encode(&mut []) else { return };
    let end = unsent.len();
    unsent.resize(end + needed.required_size, 0);
    // The size is the one that was asked for.
    let _ = data.encode(&mut unsent[end..]);
}

/// Transmits until the end or until the socket takes no more. Fails with `WouldBlock` if it has taken nothing.
fn transmit_all(bytes: &[u8], mut transmit: impl FnMut(&[u8]) -> io::Result<usize>) -> io::Result<usize> {
    let mut sent = 0;
    while sent < bytes.len() {
        match transmit(&bytes[sent..]) {
            Ok(taken) => sent += taken,
            Err(error) if error.kind() == ErrorKind::WouldBlock && sent > 0 => break,
            Err(error) => return Err(error),
        }
    }
    Ok(sent)
}
