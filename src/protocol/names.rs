//! The names of rooms and the labels of members. They are validated when they are parsed, and valid from then on.

use core::net::SocketAddr;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use unicode_normalization::{IsNormalized, UnicodeNormalization, is_nfc_quick};
use unicode_properties::{GeneralCategory, UnicodeGeneralCategory};

/// An error repeats this much of a refused text, in characters.
const ECHO_CHARS_MAX: usize = 64;

/// What stands in front of the nicks of guests, where tokens say who the others are.
const GUEST_MARK: char = '~';

/// The beginnings of labels that the server gives, each with a number behind it.
const GENERATED_LABELS: [&str; 3] = ["ws-", "tcp-", "client-"];

/// Whether a name may have spaces.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spaces {
    Refused,
    BetweenWords,
}

/// The name of a room: 1 to 128 bytes of UTF-8 in Unicode NFC, without spaces, control characters or characters that
/// show nothing. Clones share the text.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct RoomName(Arc<str>);

impl RoomName {
    /// The longest name, in bytes after NFC.
    pub const BYTES_MAX: usize = 128;

    /// Parses a room name.
    ///
    /// # Errors
    /// The name breaks the rule.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        parse(text, Self::BYTES_MAX, Spaces::Refused).map(Self)
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for RoomName {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, NameError> {
        Self::parse(&text)
    }
}

impl AsRef<str> for RoomName {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

/// The text in front of a member's messages: an address, a number or a nick. It does not identify the member. Clones
/// share the text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Label(Arc<str>);

impl Label {
    /// The longest nick, in bytes after NFC.
    pub const NICK_BYTES_MAX: usize = 64;

    /// A label from an address or a number.
    pub fn generated(text: impl fmt::Display) -> Self {
        Self(text.to_string().into())
    }

    /// Parses a nick that a client has chosen: 1 to 64 bytes, otherwise as a room name, and unlike every label that the
    /// server gives.
    ///
    /// # Errors
    /// The nick breaks the rule.
    pub fn nick(text: &str) -> Result<Self, NameError> {
        let nick = parse(text, Self::NICK_BYTES_MAX, Spaces::Refused)?;
        if nick.starts_with(GUEST_MARK) {
            return Err(NameError::new(text, "a nick does not begin with ~, the mark of guests"));
        }
        if is_like_generated(&nick) {
            return Err(NameError::new(text, "a nick does not look like an address or a number that the server gives"));
        }
        Ok(Self(nick))
    }

    /// Parses the name that a token gives its user: 1 to 64 bytes, single spaces between words, no `~` in front, no `]`
    /// in front of a space, and otherwise as a room name.
    ///
    /// # Errors
    /// The name breaks the rule.
    pub fn of_user(text: &str) -> Result<Self, NameError> {
        if text.starts_with(GUEST_MARK) {
            return Err(NameError::new(text, "the name of a user does not begin with ~, the mark of guests"));
        }
        if text.contains("] ") {
            return Err(NameError::new(text, "the name of a user has no ] in front of a space, where a label ends"));
        }
        parse(text, Self::NICK_BYTES_MAX, Spaces::BetweenWords).map(Self)
    }

    /// The label of somebody who has chosen this nick and has proved nothing. No user has such a label.
    pub fn of_guest(&self) -> Self {
        Self::generated(format_args!("{GUEST_MARK}{self}"))
    }

    /// The label as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl AsRef<str> for Label {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

/// A name that breaks its rule. The text shows both.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{shown:?}: {rule}")]
pub struct NameError {
    shown: String,
    rule: String,
}

impl NameError {
    fn new(text: &str, rule: impl Into<String>) -> Self {
        Self { shown: shortened(text), rule: rule.into() }
    }
}

/// As much of a refused text as an error repeats.
pub fn shortened(text: &str) -> String {
    let mut shown: String = text.chars().take(ECHO_CHARS_MAX).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}

/// The first character of a text that shows nothing: control and format characters, line and paragraph separators,
/// fillers, and whatever else a screen leaves out. A space shows something.
pub fn unseen(text: &str) -> Option<char> {
    text.chars().find(|&character| character.is_control() || shows_nothing(character))
}

/// The name in NFC, under the one rule that rooms, nicks and users share.
fn parse(text: &str, bytes_max: usize, spaces: Spaces) -> Result<Arc<str>, NameError> {
    // NFC shrinks UTF-8 to a third at most (Hangul jamo, the Kelvin sign), so that longer text need not be normalised.
    const SHRINK_MAX: usize = 3;
    let error = || {
        let rule = match spaces {
            Spaces::Refused => "no spaces or control characters",
            Spaces::BetweenWords => "single spaces only between words, no control characters",
        };
        NameError::new(text, format!("1 to {bytes_max} bytes, {rule}"))
    };
    let may_be_space = spaces == Spaces::BetweenWords && text.split(' ').all(|word| !word.is_empty());
    let is_plain = |byte: u8| byte.is_ascii_graphic() || may_be_space && byte == b' ';
    if text.bytes().all(is_plain) {
        return if (1..=bytes_max).contains(&text.len()) { Ok(text.into()) } else { Err(error()) };
    }
    let is_refused = |c: char| c.is_whitespace() && !(may_be_space && c == ' ') || c.is_control();
    if text.len() > bytes_max * SHRINK_MAX || text.chars().any(is_refused) {
        return Err(error());
    }
    if let Some(character) = text.chars().find(|&character| shows_nothing(character)) {
        let NameError { shown, rule } = error();
        return Err(NameError { shown, rule: format!("{rule}, and U+{:04X} shows nothing", u32::from(character)) });
    }
    let name: Arc<str> = match is_nfc_quick(text.chars()) {
        IsNormalized::Yes => text.into(),
        IsNormalized::No | IsNormalized::Maybe => text.nfc().collect::<String>().into(),
    };
    if (1..=bytes_max).contains(&name.len()) { Ok(name) } else { Err(error()) }
}

/// Whether a character beyond ASCII shows nothing: format characters, the default ignorable code points of Unicode
/// (DerivedCoreProperties.txt), the blank of Braille, and white space that is none between words.
fn shows_nothing(character: char) -> bool {
    !character.is_ascii()
        && (character.is_whitespace()
            || character.general_category() == GeneralCategory::Format
            || matches!(character,
                '\u{34f}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
                | '\u{2065}' | '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}'
                | '\u{fff0}'..='\u{fff8}' | '\u{e0000}'..='\u{e0fff}'))
}

/// Whether a nick could be taken for a label that the server gives: an address with its port, or a number.
fn is_like_generated(nick: &str) -> bool {
    let has_number = |prefix: &&str| {
        let (front, number) = nick.split_at_checked(prefix.len()).unwrap_or_default();
        front.eq_ignore_ascii_case(prefix) && !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    GENERATED_LABELS.iter().any(has_number) || nick.parse::<SocketAddr>().is_ok()
}
