//! The word behind `ERR`, by which programs tell refusals apart: the one table that metric labels read.

use super::command::CommandError;

/// What kind of rule a command broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// A room name that breaks the rule.
    RoomName,
    /// A nick that breaks the rule.
    Nick,
    /// A line over the limit.
    TooLong,
    /// A limit on how many.
    TooMany,
    /// Bytes that are no UTF-8.
    NotUtf8,
    /// A control character.
    ControlCharacter,
    /// A known word misused.
    Unknown,
}

impl ErrorCode {
    /// Every code, in the order of its index.
    pub const ALL: [Self; 7] = [
        Self::RoomName,
        Self::Nick,
        Self::TooLong,
        Self::TooMany,
        Self::NotUtf8,
        Self::ControlCharacter,
        Self::Unknown,
    ];

    /// The word as clients see it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::RoomName => "room-name",
            Self::Nick => "nick",
            Self::TooLong => "too-long",
            Self::TooMany => "too-many",
            Self::NotUtf8 => "not-utf8",
            Self::ControlCharacter => "control-character",
            Self::Unknown => "unknown",
        }
    }
}

impl CommandError {
    /// The word that its text begins with.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::RoomName(_) => ErrorCode::RoomName,
            Self::Nick(_) => ErrorCode::Nick,
            Self::TooLong(_) | Self::TooLongLabelled { .. } => ErrorCode::TooLong,
            Self::TooManyLines { .. }
            | Self::TooManyRooms { .. }
            | Self::TooManyMembers { .. }
            | Self::TooManyDeliveries { .. } => ErrorCode::TooMany,
            Self::NotUtf8 { .. } => ErrorCode::NotUtf8,
            Self::ControlCharacter { .. } | Self::LoneReturn { .. } => ErrorCode::ControlCharacter,
            Self::Unknown { .. } => ErrorCode::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::command::{parse, parse_message};
    use super::*;

    #[test]
    fn every_code_is_in_the_table_at_its_index() {
        assert!(ErrorCode::ALL.into_iter().enumerate().all(|(index, code)| code as usize == index));
    }

    #[test]
    fn the_text_of_a_refusal_begins_with_its_code() {
        let lines = [&b"JOIN a b"[..], b"NICK a b", b"\xff", b"a\x1b", b"JOIN"].map(|line| parse(line).unwrap_err());
        let lines = lines.into_iter().chain([parse_message(&"\n".repeat(66)).unwrap_err()]);
        for error in lines.chain([CommandError::TooManyDeliveries { per_second: 1, burst: 1 }]) {
            let text = error.to_string();
            assert_eq!(text.split(' ').next(), Some(error.code().word()), "{text}");
        }
    }
}
