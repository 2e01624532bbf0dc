//! The names of rooms and members. Made only by `parse`, so that whoever holds one holds a valid one.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// How much of a refused name an error repeats, in characters.
const ECHO_CHARS_MAX: usize = 64;

/// The name of a room: 1 to 128 bytes of UTF-8 in Unicode NFC, without spaces or control characters. A clone is shared.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomName(Arc<str>);

impl RoomName {
    /// The longest name, in bytes after NFC.
    pub const BYTES_MAX: usize = 128;

    /// Reads a room name.
    ///
    /// # Errors
    /// The name and the rule it breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        parse(text, Self::BYTES_MAX).map(Self).ok_or_else(|| NameError::new(text, Self::BYTES_MAX))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for RoomName {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

/// A name that a client gave itself: 1 to 64 bytes of UTF-8 in Unicode NFC, without spaces or control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nick(Arc<str>);

impl Nick {
    /// The longest nick, in bytes after NFC.
    pub const BYTES_MAX: usize = 64;

    /// Reads a nick.
    ///
    /// # Errors
    /// The nick and the rule it breaks.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        parse(text, Self::BYTES_MAX).map(Self).ok_or_else(|| NameError::new(text, Self::BYTES_MAX))
    }

    /// The nick as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What stands in front of a member's messages: an address, a number or a nick. A label, never an identity.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label(Arc<str>);

impl Label {
    /// A label that the server made itself, from an address or a number.
    pub fn generated(text: impl fmt::Display) -> Self {
        Self(text.to_string().into())
    }

    /// The label as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl AsRef<str> for Label {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl From<Nick> for Label {
    fn from(nick: Nick) -> Self {
        Self(nick.0)
    }
}

/// A name that breaks its rule, shown with the rule.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{shown}: 1 to {bytes_max} bytes, no spaces or control characters")]
pub struct NameError {
    shown: String,
    bytes_max: usize,
}

impl NameError {
    fn new(text: &str, bytes_max: usize) -> Self {
        let mut shown: String = text.chars().take(ECHO_CHARS_MAX).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        Self { shown: format!("{shown:?}"), bytes_max }
    }
}

/// The name in NFC, if it keeps the one rule that rooms and nicks share.
fn parse(text: &str, bytes_max: usize) -> Option<Arc<str>> {
    // NFC shrinks UTF-8 threefold at most (Hangul jamo, the Kelvin sign), so nothing longer need be normalised.
    const SHRINK_MAX: usize = 3;
    if text.len() > bytes_max * SHRINK_MAX || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return None;
    }
    let name: Arc<str> = match is_nfc_quick(text.chars()) {
        IsNormalized::Yes => text.into(),
        IsNormalized::No | IsNormalized::Maybe => text.nfc().collect::<String>().into(),
    };
    (1..=bytes_max).contains(&name.len()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_name_has_1_to_128_bytes() {
        assert!(RoomName::parse("").is_err());
        assert!(RoomName::parse(&"a".repeat(128)).is_ok());
        assert!(RoomName::parse(&"a".repeat(129)).is_err());
        assert!(RoomName::parse(&"é".repeat(64)).is_ok());
        assert!(RoomName::parse(&"é".repeat(65)).is_err());
    }

    #[test]
    fn a_nick_has_1_to_64_bytes() {
        assert!(Nick::parse("").is_err());
        assert!(Nick::parse(&"a".repeat(64)).is_ok());
        assert!(Nick::parse(&"a".repeat(65)).is_err());
    }

    #[test]
    fn spaces_line_breaks_and_control_characters_are_refused_wherever_unicode_keeps_them() {
        for bad in ["a b", "a\tb", "a\rb", "a\nb", "a\0", "\u{7f}", "\u{85}", "\u{2028}", "\u{a0}", "\u{3000}"] {
            assert!(RoomName::parse(bad).is_err(), "{bad:?}");
            assert!(Nick::parse(bad).is_err(), "{bad:?}");
        }
        for good in ["..", "*", ">", "#rust", "שלום", "日本", "\u{202e}x"] {
            assert!(RoomName::parse(good).is_ok(), "{good:?}");
        }
    }

    #[test]
    fn twins_under_nfc_are_one_room() {
        let composed = RoomName::parse("caf\u{e9}");
        let decomposed = RoomName::parse("cafe\u{301}");
        assert_eq!(composed, decomposed);
    }

    #[test]
    fn the_error_says_the_value_and_the_rule() {
        let error = RoomName::parse("a b").unwrap_err();
        assert_eq!(error.to_string(), r#""a b": 1 to 128 bytes, no spaces or control characters"#);
        let error = Nick::parse(&"x".repeat(70)).unwrap_err().to_string();
        assert!(error.starts_with(&format!("\"{}…\"", "x".repeat(64))), "{error}");
    }
}
