//! The TLS handshakes of one worker: bounded in time, in number, and in the processor time that they take from the
//! clients that are served.

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::sync::{Semaphore, watch};
use tokio::task::yield_now;
use tokio::time::timeout;

use super::revocable::RevocablePermits;
use super::stream::Stream;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::lines::is_tls;

/// Handshakes that a worker has begun and not completed, at most. Each costs some KiB. The oldest gives way to a new one.
const HANDSHAKES_MAX: usize = 1_024;

/// What a client hears that speaks something else: a fatal alert, `unexpected_message` (RFC 8446 §6.2).
const ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 10];

/// What a client hears that speaks HTTP without TLS.
const PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: 39\r\n\
    Connection: close\r\n\r\nthis port speaks TLS: use https or wss\n";

/// The server's side of TLS as new connections use it. A connection keeps what it began with.
#[derive(Clone, Debug, Default)]
pub struct TlsServer {
    /// For line clients, if their port speaks TLS.
    pub lines: Option<Arc<ServerConfig>>,
    /// For HTTP and WebSocket, if their port speaks TLS.
    pub http: Option<Arc<ServerConfig>>,
}

/// One of the server's ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// For line clients.
    Lines,
    /// For HTTP and WebSocket.
    Http,
}

/// The handshakes of one worker.
#[derive(Debug)]
pub struct Handshakes {
    server: watch::Receiver<TlsServer>,
    begun: RevocablePermits,
    /// One step of one handshake at a time, in the order in which they ask.
    turn: Semaphore,
}

impl Handshakes {
    /// Handshakes with the newest configuration.
    pub fn new(server: watch::Receiver<TlsServer>) -> Self {
        Self { server, begun: RevocablePermits::new(HANDSHAKES_MAX), turn: Semaphore::new(1) }
    }

    /// Whether connections of this port begin with a handshake.
    pub fn are_on(&self, port: Port) -> bool {
        self.config(port).is_some()
    }

    fn config(&self, port: Port) -> Option<Arc<ServerConfig>> {
        let server = self.server.borrow();
        match port {
            Port::Lines => server.lines.clone(),
            Port::Http => server.http.clone(),
        }
    }

    /// Makes the stream one of TLS if its port says so. A client that is silent costs nothing but its socket.
    ///
    /// # Errors
    /// The client does not speak TLS, or no version of it that the server speaks; it has gone; it took too long; or
    /// too many newer clients came meanwhile. The client was told as far as TLS has words for it.
    pub async fn shake_hands(&self, stream: &mut Stream, port: Port, within: Duration) -> Result<(), Disconnect> {
        let Some(config) = self.config(port) else { return Ok(()) };
        let handshake = timeout(within, self.begin(stream, port, config));
        handshake.await.unwrap_or(Err(Disconnect::HandshakeTimeout))
    }

    async fn begin(&self, stream: &mut Stream, port: Port, config: Arc<ServerConfig>) -> Result<(), Disconnect> {
        let mut first = [0];
        match stream.socket().peek(&mut first).await {
            Ok(0) => return Err(Disconnect::ClosedByPeer),
            peeked => peeked.map_err(|_| Disconnect::IoError)?,
        };
        if !is_tls(&first) {
            let is_http = port == Port::Http && first[0].is_ascii_uppercase();
            // A new socket takes it.
            let _ = stream.try_write(if is_http { PLAIN_HTTP } else { ALERT });
            return Err(Disconnect::ProtocolError);
        }
        let revoked = self.begun.take();
        tokio::select! {
            biased;
            _ = revoked => Err(Disconnect::TooManyConnections),
            complete = self.complete(stream, config) => complete.map_err(|error| match error.kind() {
                ErrorKind::UnexpectedEof => Disconnect::ClosedByPeer,
                ErrorKind::InvalidData => Disconnect::ProtocolError,
                _ => Disconnect::IoError,
            }),
        }
    }

    async fn complete(&self, stream: &mut Stream, config: Arc<ServerConfig>) -> io::Result<()> {
        stream.start_tls(config)?;
        while stream.is_handshaking() {
            stream.readable().await?;
            // A step may take a millisecond, and all tasks of the worker have their turn before the next one.
            let turn = self.turn.acquire().await.map_err(io::Error::other)?;
            let step = stream.try_handshake();
            yield_now().await;
            drop(turn);
            match step {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                step => step?,
            }
            while stream.held_output() > 0 {
                match stream.try_flush() {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => stream.writable().await?,
                    flushed => drop(flushed?),
                }
            }
        }
        Ok(())
    }
}
