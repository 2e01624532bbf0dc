//! Listening, accepting under limits, the client behind a proxy, and streams, plain or TLS. Knows no room and no protocol
//! of the clients.

pub mod accept;
pub mod address_limiter;
pub mod connection_limit;
pub mod handshakes;
pub mod listen;
pub mod proxy;
pub mod revocable;
pub mod stream;
pub mod tls;

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPermit {
    /// The server, or the descriptor table, has as many connections as its limit allows.
    Full,
    /// The limit allows more, but there is no file descriptor: other uses hold more of them than expected.
    OutOfDescriptors,
    /// The address has too many clients, or has connected too often within a second.
    TooManyOfAddress,
}
