//! Patterns of room names, as rules, API keys and tokens have them.

use std::fmt;

use unicode_normalization::UnicodeNormalization;
use wildmatch::WildMatchPattern;

use crate::protocol::names::{NameError, RoomName};

/// A pattern of room names: `*` stands for any characters, also for none, and every other character for itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern(WildMatchPattern<'*', NO_WILDCARD>);

/// The library wants a wildcard for one character; no room name has this one.
const NO_WILDCARD: char = '\0';

impl Pattern {
    /// A pattern of the settings. One that breaks the rule of room names, such as one with a space, matches no room.
    pub fn new(text: &str) -> Self {
        Self(WildMatchPattern::new(&text.nfc().collect::<String>()))
    }

    /// Parses a pattern under the rule of room names.
    ///
    /// # Errors
    /// The pattern breaks the rule, so that it could match no room.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        RoomName::parse(text).map(|text| Self(WildMatchPattern::new(text.as_str())))
    }

    /// Whether the room is one of these. Linear in the name where the pattern has one `*` at its end.
    pub fn matches(&self, room: &RoomName) -> bool {
        self.0.matches(room.as_str())
    }

    /// Whether every room that `other` matches is one of these too. Only a `*` of this pattern matches the `*` of the other,
    /// which stands for any characters.
    pub fn covers(&self, other: &Self) -> bool {
        self.0.matches(&other.0.pattern())
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}
