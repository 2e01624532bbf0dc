//! The reasons with which a server closes a connection, as `docs/protocol.md` has them.

/// Why a server closed a connection.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "each variant is the word that it stands for")]
pub enum Disconnect {
    Quit,
    Shutdown,
    /// A stop after which clients come back in so many seconds, and not in one.
    ShutdownFor(u32),
    ProtocolError,
    Unsupported,
    NotUtf8,
    TooLong,
    InputBudget,
    SlowConsumer,
    TokenInvalid,
    TokenExpired,
    Kicked,
    MessageTimeout,
    Refused,
    InsufficientState,
}

impl Disconnect {
    /// The code of the close frame and the word of its reason.
    const fn code_and_reason(self) -> (u16, &'static str) {
        match self {
            Self::Quit => (1000, "quit"),
            Self::Shutdown | Self::ShutdownFor(_) => (1001, "shutdown"),
            Self::ProtocolError => (1002, "protocol-error"),
            Self::Unsupported => (1003, "unsupported"),
            Self::NotUtf8 => (1007, "not-utf8"),
            Self::TooLong => (1009, "too-long"),
            Self::InputBudget => (1013, "input-budget"),
            Self::SlowConsumer => (4008, "slow-consumer"),
            Self::TokenInvalid => (4010, "token-invalid"),
            Self::TokenExpired => (4011, "token-expired"),
            Self::Kicked => (4012, "kicked"),
            Self::MessageTimeout => (4014, "message-timeout"),
            Self::Refused => (4017, "refused"),
            Self::InsufficientState => (4018, "insufficient-state"),
        }
    }

    /// The words of the close frame, which are also those of the last line.
    fn words(self) -> String {
        let reason = self.code_and_reason().1;
        match self {
            Self::Shutdown => format!("{reason} retry=1"),
            Self::ShutdownFor(seconds) => format!("{reason} retry={seconds}"),
            _ => reason.to_owned(),
        }
    }

    /// The last line that a line client gets.
    pub fn last_line(self) -> String {
        format!("ERR closed {}", self.words())
    }

    /// The payload of the close frame that a WebSocket client gets.
    pub fn close_payload(self) -> Vec<u8> {
        [&self.code_and_reason().0.to_be_bytes()[..], self.words().as_bytes()].concat()
    }
}
