//! The numbers of the Centrifuge protocol: why a command was refused, why a connection or a membership ended. An SDK
//! decides by them whether it comes back.

use crate::protocol::command::CommandError;
use crate::protocol::disconnect::Disconnect;
use crate::protocol::event::Eviction;

/// The code of a refused command, its constant words, and whether the SDK is to try again.
pub fn error_code(error: &CommandError) -> (u32, &'static str, bool) {
    match error {
        CommandError::Unavailable(_) => (100, "internal server error", true),
        CommandError::Forbidden(_) => (103, "permission denied", false),
        CommandError::AlreadyIn { .. } => (105, "already subscribed", false),
        CommandError::LineTooLong(_)
        | CommandError::MessageTooLong { .. }
        | CommandError::TooManyLines { .. }
        | CommandError::TooManyRooms { .. }
        | CommandError::TooManyMembers { .. }
        | CommandError::TooManyMemberships { .. }
        | CommandError::PresenceTooLong { .. } => (106, "limit exceeded", false),
        CommandError::RoomName(_)
        | CommandError::Nick(_)
        | CommandError::NotUtf8 { .. }
        | CommandError::ControlCharacter { .. }
        | CommandError::LoneReturn { .. }
        | CommandError::Position { .. }
        | CommandError::Incomplete(_)
        | CommandError::Parameters(_) => (107, "bad request", false),
        CommandError::NotAvailable(_) => (108, "not available", false),
        CommandError::TokenExpired(_) => (109, "token expired", false),
        // The only limit that passes by itself.
        CommandError::TooManyDeliveries { .. } => (111, "too many requests", true),
        CommandError::Unrecoverable { .. } => (112, "unrecoverable position", false),
    }
}

/// The code and the words with which a connection ends. An SDK comes back unless the code is 1009, 3500 to 3999 or 4500 to
/// 4999. No words are JSON, in which old SDKs look for advice.
pub fn disconnect_code(reason: Disconnect) -> (u16, &'static str) {
    match reason {
        // Nothing is sent for these.
        Disconnect::ClosedByPeer
        | Disconnect::Quit
        | Disconnect::HandshakeTimeout
        | Disconnect::IoError
        | Disconnect::Dismissed => (3000, "connection closed"),
        Disconnect::Shutdown => (3001, "shutdown"),
        Disconnect::TokenExpired => (3005, "connection expired"),
        Disconnect::SlowConsumer => (3008, "slow"),
        Disconnect::OutOfStep | Disconnect::InsufficientState => (3010, "insufficient state"),
        Disconnect::PingTimeout => (3012, "no pong"),
        // The server is short of something, and the client is to come back later.
        Disconnect::TooManyConnections | Disconnect::InputBudget => (3013, "too many requests"),
        Disconnect::TokenInvalid => (3500, "invalid token"),
        // A client that has sent what is not UTF-8 would send it again.
        Disconnect::ProtocolError | Disconnect::NotUtf8 => (3501, "bad request"),
        Disconnect::IdleTimeout => (3502, "stale"),
        Disconnect::Kicked => (3503, "force disconnect"),
        Disconnect::Unsupported => (3506, "inappropriate protocol"),
        Disconnect::Refused => (3507, "permission denied"),
        Disconnect::NotAvailable => (3508, "not available"),
        // The protocol has no code for a network that stalls within a message. From 4000 to 4499 an application has its own.
        Disconnect::MessageTimeout => (4014, "message timeout"),
        // As every WebSocket server says it.
        Disconnect::TooLong => (1009, "message size limit"),
    }
}

/// The code and the words of a push that ends a membership. From 2500 on the SDK joins again.
pub fn eviction_code(eviction: Eviction) -> (u32, &'static str) {
    match eviction {
        Eviction::Unsubscribed => (2000, "server unsubscribe"),
        Eviction::Expired => (2501, "subscription expired"),
    }
}
