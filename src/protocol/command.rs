//! The commands of clients: parses a line or a message into a command. Never executes one; that is the session's work.

use std::borrow::Cow;
use std::fmt;

use memchr::{memchr, memchr_iter};
use thiserror::Error;

use super::lines::LineTooLong;
use super::names::{Label, NameError, RoomName, shortened};
use super::position::Position;

/// The most lines that one message may have.
pub(super) const MESSAGE_LINES_MAX: usize = 64;

/// `HISTORY` without a number asks for this many messages.
const HISTORY_MESSAGES: usize = 20;

/// A client's command. Text borrows from the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// `JOIN <room> [since=<position>]`
    Join(RoomName, Option<Position>),
    /// `LEAVE`
    Leave,
    /// `LIST`
    List,
    /// `SAY <text>`, or any line that is not a command.
    Say(&'a str),
    /// `NICK <name>`
    Nick(Label),
    /// `WHO`
    Who,
    /// `HISTORY [n]`; the number is 20 if it is missing.
    History(usize),
    /// `POSITION`
    Position,
    /// `AUTH <token>`
    Auth(TokenText<'a>),
    /// `PING [token]`; the token is empty if it is missing.
    Ping(&'a str),
    /// `HELP`
    Help,
    /// `QUIT`
    Quit,
}

/// A misused `AUTH` is never said in the room: it may hold a token.
const ONE_TOKEN: CommandError = CommandError::Incomplete("AUTH needs one token, alone on its line: AUTH <token>");

/// A token that a client has presented. It is in no log, whoever prints a command.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenText<'a>(pub Cow<'a, str>);

impl fmt::Debug for TokenText<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "a token of {} bytes", self.0.len())
    }
}

/// Why a command was refused. The text says what was wrong, with the value and the rule; a client gets it behind the
/// [`ErrorCode`](super::error_code::ErrorCode).
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[expect(missing_docs, reason = "the text of each error says what its fields are")]
pub enum CommandError {
    #[error("{0}")]
    RoomName(NameError),
    #[error("{0}")]
    Nick(NameError),
    /// The only error that ends the connection.
    #[error("{0}")]
    LineTooLong(#[from] LineTooLong),
    #[error("message of {bytes} bytes with its label exceeds {bytes_max}")]
    MessageTooLong { bytes: usize, bytes_max: usize },
    #[error("message of {lines} lines: at most {MESSAGE_LINES_MAX}")]
    TooManyLines { lines: usize },
    #[error("rooms for another, {:?}: at most {rooms_max}", .room.as_str())]
    TooManyRooms { room: RoomName, rooms_max: usize },
    #[error("members in {:?}: at most {members_max}", .room.as_str())]
    TooManyMembers { room: RoomName, members_max: usize },
    #[error("rooms of one client: at most {rooms_max}")]
    TooManyMemberships { rooms_max: usize },
    #[error("deliveries: at most {per_second} a second, {burst} at once")]
    TooManyDeliveries { per_second: u32, burst: u32 },
    #[error("byte {valid_up_to} begins no character: lines are UTF-8")]
    NotUtf8 { valid_up_to: usize },
    #[error("U+{:04X} at byte {at}: none but tab is allowed", *.character as u32)]
    ControlCharacter { character: char, at: usize },
    /// A carriage return that is not part of a line end.
    #[error("U+000D at byte {at}: lines end with a line feed")]
    LoneReturn { at: usize },
    /// A position that is none.
    #[error("since={shown:?}: a position as POSITION replies with")]
    Position { shown: String },
    /// A command word without its argument.
    #[error("{0}")]
    Incomplete(&'static str),
    /// The client has no right to do this, or its token is refused. The text says why, and never repeats a token.
    #[error("{0}")]
    Forbidden(Box<str>),
    /// The client's token has expired, or is not valid yet: a new one may help.
    #[error("{0}")]
    TokenExpired(Box<str>),
    /// The parameters of a command break this rule.
    #[error("{0}")]
    Parameters(Box<str>),
    #[error("{:?}: you are in it already", .room.as_str())]
    AlreadyIn { room: RoomName },
    #[error("what {:?} has published since cannot all be had", .room.as_str())]
    Unrecoverable { room: RoomName },
    #[error("presence of {members} members exceeds {bytes_max} bytes: ask for their number")]
    PresenceTooLong { members: usize, bytes_max: usize },
    /// Somebody else whom the server asks gives no answer: the same command may succeed later.
    #[error("{0}")]
    Unavailable(&'static str),
    /// This server does not have what the command asks for.
    #[error("{0}")]
    NotAvailable(&'static str),
}

impl CommandError {
    #[cold]
    fn position(text: &str) -> Self {
        Self::Position { shown: shortened(text) }
    }
}

/// Parses one line without its end; an empty line is `None`. Allocates for a name, never for text.
///
/// # Errors
/// The line breaks a rule. The connection stays.
pub fn parse(line: &[u8]) -> Result<Option<Command<'_>>, CommandError> {
    match simdutf8::basic::from_utf8(line) {
        Ok(text) => parse_text(text),
        Err(_) => Err(not_utf8(line)),
    }
}

/// Parses one message of a transport with framing: one line, with or without its end, or several lines of chat. A
/// message that consists of line ends is `None`, like an empty line.
///
/// # Errors
/// The message breaks a rule. The connection stays.
pub fn parse_message(text: &str) -> Result<Option<Command<'_>>, CommandError> {
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    // Counting all lines would take a tenth more instructions for a message of one.
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
    if text.split([' ', '\t', '\r', '\n']).next() == Some("AUTH") {
        return Err(ONE_TOKEN);
    }
    Ok(Some(Command::Say(text.strip_prefix("SAY ").unwrap_or(text))))
}

fn parse_text(text: &str) -> Result<Option<Command<'_>>, CommandError> {
    if may_hold_control(text.as_bytes()) {
        refuse_control(text)?;
    }
    if text.is_empty() { Ok(None) } else { command(text).map(Some) }
}

/// A line is a command if its first word is one and the rest fits; any other line is chat, also one with a leading
/// blank. Trailing blanks are kept in chat and ignored in commands.
fn command(text: &str) -> Result<Command<'_>, CommandError> {
    let (word, rest) = text.split_once([' ', '\t']).unwrap_or((text, ""));
    Ok(match (word, rest.trim_end_matches([' ', '\t'])) {
        ("JOIN", "") => return Err(CommandError::Incomplete("JOIN needs a room: JOIN <room>")),
        ("NICK", "") => return Err(CommandError::Incomplete("NICK needs a name: NICK <name>")),
        ("SAY", "") => return Err(CommandError::Incomplete("SAY needs a text: SAY <text>")),
        ("JOIN", rest) => join(rest)?,
        ("NICK", name) => Command::Nick(Label::nick(name).map_err(CommandError::Nick)?),
        ("SAY", _) => Command::Say(rest),
        ("HISTORY", "") => Command::History(HISTORY_MESSAGES),
        ("HISTORY", count) if count.bytes().all(|byte| byte.is_ascii_digit()) => {
            Command::History(count.parse().unwrap_or(usize::MAX))
        }
        ("POSITION", "") => Command::Position,
        ("AUTH", token) if token.is_empty() || token.contains([' ', '\t']) => return Err(ONE_TOKEN),
        ("AUTH", token) => Command::Auth(TokenText(token.into())),
        ("PING", token) if !token.contains([' ', '\t']) => Command::Ping(token),
        ("LEAVE", "") => Command::Leave,
        ("LIST", "") => Command::List,
        ("WHO", "") => Command::Who,
        ("HELP", "") => Command::Help,
        ("QUIT", "") => Command::Quit,
        _ => Command::Say(text),
    })
}

/// Parses what stands behind `JOIN`: a room, and the position from which the client resumes.
fn join(rest: &str) -> Result<Command<'_>, CommandError> {
    let (name, since) = match rest.split_once([' ', '\t']) {
        Some((name, option)) if let Some(since) = option.trim_start_matches([' ', '\t']).strip_prefix("since=") => {
            let position = Position::parse(since).ok_or_else(|| CommandError::position(since))?;
            (name, Some(position))
        }
        _ => (rest, None),
    };
    Ok(Command::Join(RoomName::parse(name).map_err(CommandError::RoomName)?, since))
}

#[cold]
fn not_utf8(line: &[u8]) -> CommandError {
    let valid_up_to = std::str::from_utf8(line).map_or_else(|error| error.valid_up_to(), str::len);
    CommandError::NotUtf8 { valid_up_to }
}

/// Whether there may be a control character; exact if false. One pass without a branch per byte, which the compiler
/// turns into SIMD. The two-byte control characters, U+0080 to U+009F, begin with 0xC2.
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
