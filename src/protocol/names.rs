//! The names of rooms and the labels of members. They are validated when they are parsed, and valid from then on.

use std::fmt;
use std::sync::Arc;

use thiserror::Error;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};

/// An error repeats this much of a refused text, in characters.
const ECHO_CHARS_MAX: usize = 64;

/// The name of a room: 1 to 128 bytes of UTF-8 in Unicode NFC, without spaces or control characters. Clones share the
/// text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RoomName(Arc<str>);

impl RoomName {
    /// The longest name, in bytes after NFC.
    pub const BYTES_MAX: usize = 128;

    /// Parses a room name.
    ///
    /// # Errors
    /// The name breaks the rule.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        parse(text, Self::BYTES_MAX).map(Self)
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

/// The text in front of a member's messages: an address, a number or a nick. It does not identify the member. Clones
/// share the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Label(Arc<str>);

impl Label {
    /// The longest nick, in bytes after NFC.
    pub const NICK_BYTES_MAX: usize = 64;

    /// A label from an address or a number.
    pub fn generated(text: impl fmt::Display) -> Self {
        Self(text.to_string().into())
    }

    /// Parses a nick that a client has chosen: 1 to 64 bytes, and otherwise as a room name.
    ///
    /// # Errors
    /// The nick breaks the rule.
    pub fn nick(text: &str) -> Result<Self, NameError> {
        parse(text, Self::NICK_BYTES_MAX).map(Self)
    }

    /// The label of somebody who has chosen this nick and has proved nothing. No user has such a label.
    pub fn of_guest(&self) -> Self {
        Self::generated(format_args!("~{}", self.as_str()))
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

/// A name that breaks its rule. The text shows both.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{shown:?}: 1 to {bytes_max} bytes, no spaces or control characters")]
pub struct NameError {
    shown: String,
    bytes_max: usize,
}

impl NameError {
    fn new(text: &str, bytes_max: usize) -> Self {
        Self { shown: shortened(text), bytes_max }
    }
}

/// As much of a refused text as an error repeats.
pub(super) fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().take(ECHO_CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// The name in NFC, under the one rule that rooms and nicks share.
fn parse(text: &str, bytes_max: usize) -> Result<Arc<str>, NameError> {
    // NFC shrinks UTF-8 to a third at most (Hangul jamo, the Kelvin sign), so that longer text need not be normalised.
    const SHRINK_MAX: usize = 3;
    let error = || NameError::new(text, bytes_max);
    if text.len() > bytes_max * SHRINK_MAX || text.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(error());
    }
    let name: Arc<str> = match is_nfc_quick(text.chars()) {
        IsNormalized::Yes => text.into(),
        IsNormalized::No | IsNormalized::Maybe => text.nfc().collect::<String>().into(),
    };
    if (1..=bytes_max).contains(&name.len()) { Ok(name) } else { Err(error()) }
}
