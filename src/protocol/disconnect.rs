//! Why a connection ended: the one table that the log, the metric label, the last line and the close code read.

/// Why a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Disconnect {
    /// The client closed its side, or its input ended.
    ClosedByPeer,
    /// The client said `QUIT`.
    Quit,
    /// The server is stopping.
    Shutdown,
    /// The client did not take what it was owed: its outbox passed a bound.
    SlowConsumer,
    /// A line or message was longer than the limit.
    TooLong,
    /// What came was another protocol, or broke the rules of its own.
    ProtocolError,
    /// A WebSocket text was no UTF-8. (A line that is none is refused, and the conversation goes on.)
    NotUtf8,
    /// A WebSocket message was binary.
    Unsupported,
    /// Nothing came for too long, not even the answer to a ping.
    PingTimeout,
    /// The server is full.
    TooManyConnections,
    /// An HTTP connection took too long for its request, or stayed one for too long.
    HandshakeTimeout,
    /// The socket failed.
    IoError,
    /// A line client has said nothing since it came.
    IdleTimeout,
    /// A message was begun and not finished for too long.
    MessageTimeout,
    /// All clients together had begun more than there is memory for, and this one the most.
    InputBudget,
}

impl Disconnect {
    /// Every reason, in the order of its index.
    pub const ALL: [Self; 15] = [
        Self::ClosedByPeer,
        Self::Quit,
        Self::Shutdown,
        Self::SlowConsumer,
        Self::TooLong,
        Self::ProtocolError,
        Self::NotUtf8,
        Self::Unsupported,
        Self::PingTimeout,
        Self::TooManyConnections,
        Self::HandshakeTimeout,
        Self::IoError,
        Self::IdleTimeout,
        Self::MessageTimeout,
        Self::InputBudget,
    ];

    /// The constant phrase for logs, metric labels and the last line.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::ClosedByPeer => "closed-by-peer",
            Self::Quit => "quit",
            Self::Shutdown => "shutdown",
            Self::SlowConsumer => "slow-consumer",
            Self::TooLong => "too-long",
            Self::ProtocolError => "protocol-error",
            Self::NotUtf8 => "not-utf8",
            Self::Unsupported => "unsupported",
            Self::PingTimeout => "ping-timeout",
            Self::TooManyConnections => "too-many-connections",
            Self::HandshakeTimeout => "handshake-timeout",
            Self::IoError => "io-error",
            Self::IdleTimeout => "idle-timeout",
            Self::MessageTimeout => "message-timeout",
            Self::InputBudget => "input-budget",
        }
    }

    /// The code of a WebSocket close frame (RFC 6455 §7.4; 4000 to 4099: reconnect with back-off). `None` where the client
    /// is gone or has closed by itself.
    pub const fn close_code(self) -> Option<u16> {
        match self {
            Self::ClosedByPeer | Self::HandshakeTimeout | Self::IoError => None,
            Self::Quit => Some(1000),
            Self::Shutdown => Some(1001),
            Self::ProtocolError => Some(1002),
            Self::Unsupported => Some(1003),
            Self::NotUtf8 => Some(1007),
            Self::TooLong => Some(1009),
            Self::TooManyConnections | Self::InputBudget => Some(1013),
            Self::SlowConsumer => Some(4008),
            Self::PingTimeout => Some(4009),
            Self::IdleTimeout => Some(4013),
            Self::MessageTimeout => Some(4014),
        }
    }

    /// Whether the client still gets all it is owed before the last line, or only its replies.
    pub const fn keeps_deliveries(self) -> bool {
        matches!(self, Self::ClosedByPeer | Self::Quit | Self::Shutdown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_in_the_table_at_its_index() {
        for (index, reason) in Disconnect::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
    }

    #[test]
    fn what_is_owed_is_flushed_for_gentle_endings_only() {
        assert!(Disconnect::Quit.keeps_deliveries());
        assert!(Disconnect::Shutdown.keeps_deliveries());
        assert!(!Disconnect::SlowConsumer.keeps_deliveries());
        assert!(!Disconnect::TooLong.keeps_deliveries());
    }
}
