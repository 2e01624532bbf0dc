//! The word behind `ERR`, by which programs distinguish errors; it is also the metric label.

use strum::{IntoStaticStr, VariantArray};

use super::command::CommandError;

/// The kind of rule that a command broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
#[expect(missing_docs, reason = "clients read the names as they are")]
pub enum ErrorCode {
    RoomName,
    Nick,
    TooLong,
    TooMany,
    NotUtf8,
    ControlCharacter,
    Unknown,
    Forbidden,
    TokenExpired,
    Parameters,
    AlreadyIn,
    Unrecoverable,
    NotAvailable,
    Unavailable,
}

impl ErrorCode {
    /// The word as clients see it: the variant's name in kebab case.
    pub fn word(self) -> &'static str {
        self.into()
    }
}

impl CommandError {
    /// The kind of the error.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::RoomName(_) => ErrorCode::RoomName,
            Self::Nick(_) => ErrorCode::Nick,
            Self::LineTooLong(_) | Self::MessageTooLong { .. } => ErrorCode::TooLong,
            Self::TooManyLines { .. }
            | Self::TooManyRooms { .. }
            | Self::TooManyMembers { .. }
            | Self::TooManyMemberships { .. }
            | Self::TooManyDeliveries { .. }
            | Self::PresenceTooLong { .. } => ErrorCode::TooMany,
            Self::NotUtf8 { .. } => ErrorCode::NotUtf8,
            Self::ControlCharacter { .. } | Self::LoneReturn { .. } => ErrorCode::ControlCharacter,
            Self::Incomplete(_) | Self::Position { .. } => ErrorCode::Unknown,
            Self::Forbidden(_) => ErrorCode::Forbidden,
            Self::TokenExpired(_) => ErrorCode::TokenExpired,
            Self::Parameters(_) => ErrorCode::Parameters,
            Self::AlreadyIn { .. } => ErrorCode::AlreadyIn,
            Self::Unrecoverable { .. } => ErrorCode::Unrecoverable,
            Self::NotAvailable(_) => ErrorCode::NotAvailable,
            Self::Unavailable(_) => ErrorCode::Unavailable,
        }
    }
}
