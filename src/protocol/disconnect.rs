//! Why a connection ended: the one table that the log, the metric label, the last line and the close code read.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Disconnect {
    /// The client closed its side, or its input ended.
    ClosedByPeer,
    /// The client sent `QUIT`.
    Quit,
    /// The server is stopping.
    Shutdown,
    /// The client did not read what was sent to it: its outbox passed a limit.
    SlowConsumer,
    /// A line or message was longer than the limit.
    TooLong,
    /// The client broke the rules of its protocol, or spoke another one.
    ProtocolError,
    /// A WebSocket text was not UTF-8. (A line that is not UTF-8 is refused, and the connection stays.)
    NotUtf8,
    /// A WebSocket message was binary.
    Unsupported,
    /// The client was silent for too long and did not answer a ping.
    PingTimeout,
    /// The server is full.
    TooManyConnections,
    /// An HTTP request took too long, or an HTTP connection stayed open for too long.
    HandshakeTimeout,
    /// The socket failed.
    IoError,
    /// The client has sent nothing since it connected, or no command that begins its connection.
    IdleTimeout,
    /// A message was left unfinished for too long.
    MessageTimeout,
    /// The client cannot be kept in step with a room that the server has had it join: it is to come back and resume.
    OutOfStep,
    /// The cluster has lost what clients could resume from, so that all of them are to come back and join anew.
    InsufficientState,
    /// The client has asked for what this server does not have, in a way that leaves no place for a reply.
    NotAvailable,
    /// The client's token is not valid, names another user than before, or did not come in time.
    TokenInvalid,
    /// The client's token has expired, and no other came in time.
    TokenExpired,
    /// The application has ended the connection, or revoked the client's token.
    Kicked,
    /// The application, which was asked, has not let the client in.
    Refused,
    /// The application has ended the connection, in words of its own.
    Dismissed,
    /// The unfinished input of all clients together exceeded its budget, and this client had the most.
    InputBudget,
}

/// Seconds after which the clients of a server that stops come back to it, or to another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetrySeconds(pub u32);

impl RetrySeconds {
    /// The words with which a client is told why its connection ends, behind which a stop says when to come back: the
    /// longest are well below the 123 bytes that a close frame has for them (RFC 6455 §5.5).
    pub fn told_with(self, reason: Disconnect, words: &'static str) -> Cow<'static, str> {
        match reason {
            Disconnect::Shutdown => format!("{words} retry={}", self.0).into(),
            _ => words.into(),
        }
    }
}

impl Disconnect {
    /// The constant phrase for logs, metric labels and the last line: the variant's name in kebab case.
    pub fn reason(self) -> &'static str {
        self.into()
    }

    /// The code of a WebSocket close frame (RFC 6455 §7.4; 4000 to 4099: reconnect with back-off). `None` where the
    /// client is gone or has closed by itself, or was told in other words.
    pub const fn close_code(self) -> Option<u16> {
        match self {
            Self::ClosedByPeer | Self::HandshakeTimeout | Self::IoError | Self::Dismissed => None,
            Self::Quit => Some(1000),
            Self::Shutdown => Some(1001),
            Self::ProtocolError => Some(1002),
            Self::Unsupported => Some(1003),
            Self::NotUtf8 => Some(1007),
            Self::TooLong => Some(1009),
            Self::TooManyConnections | Self::InputBudget => Some(1013),
            Self::SlowConsumer => Some(4008),
            Self::PingTimeout => Some(4009),
            Self::TokenInvalid => Some(4010),
            Self::TokenExpired => Some(4011),
            Self::Kicked => Some(4012),
            Self::IdleTimeout => Some(4013),
            Self::MessageTimeout => Some(4014),
            Self::OutOfStep => Some(4015),
            Self::NotAvailable => Some(4016),
            Self::Refused => Some(4017),
            Self::InsufficientState => Some(4018),
        }
    }

    /// Whether the client still gets its pending deliveries before the last line. Otherwise it gets its replies only.
    pub const fn keeps_deliveries(self) -> bool {
        matches!(self, Self::ClosedByPeer | Self::Quit | Self::Shutdown)
    }
}
