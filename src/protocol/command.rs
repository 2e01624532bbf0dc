//! What a client can say, parsed once. Never decides what it means: that is the session's.

use memchr::{memchr, memchr_iter};
use thiserror::Error;

use super::lines::LineTooLong;
use super::names::{NameError, Nick, RoomName};

/// A message may hold so many lines.
const MESSAGE_LINES_MAX: usize = 64;

/// What a client said. Text borrows from the line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// `JOIN <room>`
    Join(RoomName),
    /// `LEAVE`
    Leave,
    /// `LIST`
    List,
    /// `SAY <text>`, or any line that is no command.
    Say(&'a str),
    /// `NICK <name>`
    Nick(Nick),
    /// `WHO`
    Who,
    /// `PING [token]`; no token is an empty one.
    Ping(&'a str),
    /// `HELP`
    Help,
    /// `QUIT`
    Quit,
}

/// Why a line was refused. Its text is `<code> <what was wrong, with the value and the rule>`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum CommandError {
    /// A room name that breaks the rule.
    #[error("room-name {0}")]
    RoomName(NameError),
    /// A nick that breaks the rule.
    #[error("nick {0}")]
    Nick(NameError),
    /// A line over the limit; the connection ends with it.
    #[error("too-long {0}")]
    TooLong(#[from] LineTooLong),
    /// A message that is over the limit with its label; the conversation goes on.
    #[error("too-long message of {bytes} bytes with its label exceeds {bytes_max}")]
    TooLongLabelled {
        /// The length of the message as members get it.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A message of more lines than one may hold.
    #[error("too-many message of {lines} lines: at most 64")]
    TooManyLines {
        /// How many.
        lines: usize,
    },
    /// A room that would be one too many.
    #[error("too-many rooms for another, {:?}: at most {rooms_max}", .room.as_str())]
    TooManyRooms {
        /// Which.
        room: RoomName,
        /// How many there may be.
        rooms_max: usize,
    },
    /// A room that has all the members that it may have.
    #[error("too-many members in {:?}: at most {members_max}", .room.as_str())]
    TooManyMembers {
        /// Which.
        room: RoomName,
        /// How many it may have.
        members_max: usize,
    },
    /// A message from a client that has caused more deliveries than it may, and still had after it was kept waiting.
    #[error("too-many deliveries: at most {per_second} a second, {burst} at once")]
    TooManyDeliveries {
        /// How many it may cause in a second.
        per_second: u32,
        /// How many at once.
        burst: u32,
    },
    /// Bytes that are no UTF-8.
    #[error("not-utf8 byte {valid_up_to} begins no character: lines are UTF-8")]
    NotUtf8 {
        /// How many bytes of the line were good.
        valid_up_to: usize,
    },
    /// A control character other than tab.
    #[error("control-character U+{:04X} at byte {at}: none but tab is allowed", *.character as u32)]
    ControlCharacter {
        /// The first one found.
        character: char,
        /// Where in the line, in bytes.
        at: usize,
    },
    /// A carriage return that does not belong to the end of a line.
    #[error("control-character U+000D at byte {at}: lines end with a line feed")]
    LoneReturn {
        /// Where in the line, in bytes.
        at: usize,
    },
    /// A command word without what it needs.
    #[error("unknown {word} needs {needs}")]
    Unknown {
        /// The command word.
        word: &'static str,
        /// What must follow it.
        needs: &'static str,
    },
}

/// Reads one line, without its end; `None` for an empty one. Allocates for a name, never for text.
///
/// # Errors
/// What was wrong with the line and the rule; the conversation goes on.
pub fn parse(line: &[u8]) -> Result<Option<Command<'_>>, CommandError> {
    match simdutf8::basic::from_utf8(line) {
        Ok(text) => parse_text(text),
        Err(_) => Err(not_utf8(line)),
    }
}

/// Reads one message of a transport that frames them: a line, with or without an end, or up to 64 lines of chat. A message
/// of nothing but line ends is as empty as each of its lines.
///
/// # Errors
/// What was wrong with the message and the rule; the conversation goes on.
pub fn parse_message(text: &str) -> Result<Option<Command<'_>>, CommandError> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if memchr(b'\n', text.as_bytes()).is_none() {
        return parse_text(text);
    }
    let lines = memchr_iter(b'\n', text.as_bytes()).count() + 1;
    if lines > MESSAGE_LINES_MAX {
        return Err(CommandError::TooManyLines { lines });
    }
    text.split('\n').try_for_each(|line| refuse_control(line.strip_suffix('\r').unwrap_or(line)))?;
    if text.bytes().all(|byte| matches!(byte, b'\r' | b'\n')) {
        return Ok(None);
    }
    Ok(Some(Command::Say(text.strip_prefix("SAY ").unwrap_or(text))))
}

fn parse_text(text: &str) -> Result<Option<Command<'_>>, CommandError> {
    if may_hold_control(text.as_bytes()) {
        refuse_control(text)?;
    }
    if text.is_empty() { Ok(None) } else { command(text).map(Some) }
}

/// A command if the first word is one and the rest fits it, else chat. A leading blank makes any line chat. Trailing blanks
/// count only in what is said.
fn command(text: &str) -> Result<Command<'_>, CommandError> {
    let (word, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    Ok(match (word, rest.trim_end_matches([' ', '\t'])) {
        ("JOIN", "") => {
            return Err(CommandError::Unknown { word: "JOIN", needs: "a room: JOIN <room>" });
        }
        ("NICK", "") => {
            return Err(CommandError::Unknown { word: "NICK", needs: "a name: NICK <name>" });
        }
        ("SAY", "") => {
            return Err(CommandError::Unknown { word: "SAY", needs: "a text: SAY <text>" });
        }
        ("JOIN", name) => Command::Join(RoomName::parse(name).map_err(CommandError::RoomName)?),
        ("NICK", name) => Command::Nick(Nick::parse(name).map_err(CommandError::Nick)?),
        ("SAY", _) => Command::Say(rest),
        ("PING", token) if !token.contains([' ', '\t']) => Command::Ping(token),
        ("LEAVE", "") => Command::Leave,
        ("LIST", "") => Command::List,
        ("WHO", "") => Command::Who,
        ("HELP", "") => Command::Help,
        ("QUIT", "") => Command::Quit,
        _ => Command::Say(text),
    })
}

#[cold]
fn not_utf8(line: &[u8]) -> CommandError {
    let valid_up_to = std::str::from_utf8(line).map_or_else(|error| error.valid_up_to(), str::len);
    CommandError::NotUtf8 { valid_up_to }
}

/// False when there is surely none. One pass without a branch per byte, which the compiler turns into SIMD; the two-byte
/// controls U+0080 to U+009F all begin with 0xC2.
fn may_hold_control(text: &[u8]) -> bool {
    let ascii = text.iter().fold(false, |found, &byte| found | (byte < b' ') & (byte != b'\t') | (byte == 0x7f));
    ascii || memchr_iter(0xC2, text).any(|at| matches!(text.get(at + 1), Some(0x80..=0x9F)))
}

#[cold]
fn refuse_control(text: &str) -> Result<(), CommandError> {
    match text.char_indices().find(|(_, character)| character.is_control() && *character != '\t') {
        Some((at, '\r')) => Err(CommandError::LoneReturn { at }),
        Some((at, character)) => Err(CommandError::ControlCharacter { character, at }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(text: &str) -> Result<Option<Command<'_>>, CommandError> {
        Ok(Some(Command::Say(text)))
    }

    #[test]
    fn every_command_is_read_by_its_exact_first_word() {
        assert_eq!(parse(b"JOIN a"), Ok(Some(Command::Join(RoomName::parse("a").unwrap()))));
        assert_eq!(parse(b"NICK bob"), Ok(Some(Command::Nick(Nick::parse("bob").unwrap()))));
        assert_eq!(parse(b"LEAVE"), Ok(Some(Command::Leave)));
        assert_eq!(parse(b"LIST"), Ok(Some(Command::List)));
        assert_eq!(parse(b"WHO"), Ok(Some(Command::Who)));
        assert_eq!(parse(b"HELP"), Ok(Some(Command::Help)));
        assert_eq!(parse(b"QUIT"), Ok(Some(Command::Quit)));
        assert_eq!(parse(b"PING"), Ok(Some(Command::Ping(""))));
        assert_eq!(parse(b"PING 7"), Ok(Some(Command::Ping("7"))));
    }

    #[test]
    fn what_does_not_fit_a_command_is_chat() {
        for line in ["LIST of things", "join a", "LEAVE now", "Hello", "PING a b", " JOIN a", "JOINED a", "QUIT!"] {
            assert_eq!(parse(line.as_bytes()), say(line), "{line}");
        }
    }

    #[test]
    fn say_is_verbatim_behind_its_one_blank() {
        assert_eq!(parse(b"SAY JOIN a"), say("JOIN a"));
        assert_eq!(parse(b"SAY   x"), say("  x"));
        assert_eq!(parse(b"SAY \tx \t "), say("\tx \t "));
    }

    #[test]
    fn trailing_blanks_count_in_what_is_said_alone_and_only_an_empty_line_is_nothing() {
        assert_eq!(parse(b"LIST  \t"), Ok(Some(Command::List)));
        assert_eq!(parse(b"PING x \t"), Ok(Some(Command::Ping("x"))));
        assert_eq!(parse(b"NICK bob "), Ok(Some(Command::Nick(Nick::parse("bob").unwrap()))));
        assert_eq!(parse(b"col1\tcol2\t"), say("col1\tcol2\t"));
        assert_eq!(parse(b"LIST of things "), say("LIST of things "));
        assert_eq!(parse(b""), Ok(None));
        assert_eq!(parse(b"  \t "), say("  \t "));
    }

    #[test]
    fn a_known_word_misused_is_refused_with_what_it_needs() {
        let error = parse(b"JOIN").unwrap_err();
        assert_eq!(error.to_string(), "unknown JOIN needs a room: JOIN <room>");
        assert!(matches!(parse(b"NICK "), Err(CommandError::Unknown { word: "NICK", .. })));
        assert!(matches!(parse(b"SAY  "), Err(CommandError::Unknown { word: "SAY", .. })));
        let error = parse(b"JOIN a b").unwrap_err();
        assert_eq!(error.to_string(), r#"room-name "a b": 1 to 128 bytes, no spaces or control characters"#);
    }

    #[test]
    fn bytes_that_are_no_utf8_are_refused_with_their_place() {
        for bad in [&b"ab\xff"[..], b"ab\xc0\xaf", b"ab\xed\xa0\x80", b"ab\xf4\x90\x80\x80", b"ab\xe2\x82"] {
            assert_eq!(parse(bad), Err(CommandError::NotUtf8 { valid_up_to: 2 }), "{bad:?}");
        }
    }

    #[test]
    fn control_characters_are_refused_but_for_tab() {
        let error = parse(b"a\x1b[31m").unwrap_err();
        assert_eq!(error.to_string(), "control-character U+001B at byte 1: none but tab is allowed");
        for bad in ["\0", "x\u{7f}", "x\u{80}y", "\u{9f}"] {
            assert!(matches!(parse(bad.as_bytes()), Err(CommandError::ControlCharacter { .. })), "{bad:?}");
        }
        let error = parse(b"a\rb").unwrap_err();
        assert_eq!(error.to_string(), "control-character U+000D at byte 1: lines end with a line feed");
        for good in ["a\tb", "é", "\u{a0}x", "\u{c0}", "日本", "🦀"] {
            assert_eq!(parse(good.as_bytes()), say(good), "{good:?}");
        }
    }

    #[test]
    fn a_message_of_several_lines_is_chat_without_one_line_end() {
        assert_eq!(parse_message("LIST\r\n"), Ok(Some(Command::List)));
        assert_eq!(parse_message("a \n"), say("a "));
        assert_eq!(parse_message("a\nb \n\n"), say("a\nb \n"));
        assert_eq!(parse_message("SAY JOIN a\nLIST"), say("JOIN a\nLIST"));
        assert_eq!(parse_message(" \n\t\n"), say(" \n\t"));
        assert_eq!(parse_message("\n\r\n\n"), Ok(None));
        assert!(matches!(parse_message("a\nb\x1b"), Err(CommandError::ControlCharacter { .. })));
        assert_eq!(parse_message(&"\n".repeat(66)), Err(CommandError::TooManyLines { lines: 66 }));
    }
}
