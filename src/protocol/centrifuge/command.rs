//! The commands of clients of the Centrifuge protocol, the same from JSON and from Protobuf.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;

use crate::protocol::command::{CommandError, TokenText};
use crate::protocol::event::RequestId;
use crate::protocol::json::{DEPTH_MAX, depth, on_one_line};
use crate::protocol::names::Label;

/// What a client has sent.
#[derive(Debug, PartialEq)]
pub enum Parsed<'a> {
    /// A command.
    Command(RequestId, Command<'a>),
    /// The answer to a ping: an object with neither a name nor a method.
    Pong,
    /// A message to the server without a reply. This server has no use for any.
    Send,
    /// A command whose parameters break a rule. It has a name, so it gets a reply.
    Refused(RequestId, CommandError),
    /// It is no command at all, and the connection ends: it is not JSON or not Protobuf, or lacks its name or its method.
    Malformed,
}

/// A command. Text borrows from the frame.
#[derive(Debug, PartialEq)]
pub enum Command<'a> {
    /// Begins the connection.
    Connect(Connect<'a>),
    /// Joins a room.
    Subscribe(Subscribe<'a>),
    /// Leaves a room.
    Unsubscribe(Cow<'a, str>),
    /// Publishes a JSON value, which stands on one line.
    Publish {
        /// The room.
        channel: Cow<'a, str>,
        /// The value.
        data: Cow<'a, str>,
    },
    /// Asks for the members of a room.
    Presence(Cow<'a, str>),
    /// Asks for the number of the members.
    PresenceStats(Cow<'a, str>),
    /// Asks for a part of what a room retains.
    History(History<'a>),
    /// Presents another token.
    Refresh(TokenText<'a>),
    /// Presents another token for the membership in a room; an old SDK leaves out the room.
    SubRefresh(Cow<'a, str>, TokenText<'a>),
    /// Asks for an answer.
    Ping,
    /// Chooses a nick: the one procedure of this server, `nick` with `{"nick":"…"}`.
    Nick(Label),
    /// Calls a procedure that this server does not have.
    Rpc,
}

/// The parameters of a connect.
#[derive(Debug, Default, PartialEq)]
pub struct Connect<'a> {
    /// The client's token; `None` if it has none.
    pub token: Option<TokenText<'a>>,
    /// The positions of rooms that the server has had the client join before.
    pub subs: Vec<(Cow<'a, str>, Resume<'a>)>,
}

/// The parameters of a subscribe.
#[derive(Debug, PartialEq)]
pub struct Subscribe<'a> {
    /// The room.
    pub channel: Cow<'a, str>,
    /// The token of the subscription; `None` if there is none.
    pub token: Option<TokenText<'a>>,
    /// The wish to resume.
    pub resume: Resume<'a>,
    /// `type` is not 0: a map or a shared poll, which this server does not have.
    pub is_of_other_type: bool,
    /// A filter is given, which this server does not have.
    pub has_filter: bool,
    /// The subscription fails if what was missed cannot all be had (bit 2 of `flag`).
    pub must_recover: bool,
}

/// The wish to resume from a position.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Resume<'a> {
    /// Whether the client wishes to.
    pub recover: bool,
    /// The epoch; empty if the client knows none.
    pub epoch: Cow<'a, str>,
    /// The offset of the last publication that the client has.
    pub offset: u64,
}

/// The parameters of a request for history.
#[derive(Debug, Default, PartialEq)]
pub struct History<'a> {
    /// The room.
    pub channel: Cow<'a, str>,
    /// The most publications: 0 is only the position, less than 0 is as many as there are.
    pub limit: i32,
    /// The offset and the epoch beyond which the client asks; the epoch may be empty.
    pub since: Option<(u64, Cow<'a, str>)>,
    /// Newest first.
    pub reverse: bool,
}

impl Command<'_> {
    /// Whether it presents a token, which takes up to 0.3 ms to verify.
    pub fn has_token(&self) -> bool {
        match self {
            Self::Connect(Connect { token, .. }) | Self::Subscribe(Subscribe { token, .. }) => token.is_some(),
            Self::Refresh(_) | Self::SubRefresh(..) => true,
            _ => false,
        }
    }
}

impl<'a> Parsed<'a> {
    /// What a client has sent with this name, which is 0 if it has none, and this method.
    pub(super) fn new(id: u32, method: Option<Result<Command<'a>, CommandError>>) -> Self {
        match (RequestId::new(id), method) {
            (None, None) => Self::Pong,
            (None, Some(_)) | (_, None) => Self::Malformed,
            (Some(id), Some(Ok(command))) => Self::Command(id, command),
            (Some(id), Some(Err(error))) => Self::Refused(id, error),
        }
    }
}

/// The error of parameters that break a rule.
pub(super) fn wrong(rule: impl fmt::Display) -> CommandError {
    CommandError::Parameters(rule.to_string().into())
}

/// The room of a command, which an empty name means to be missing, since Protobuf does not tell them apart.
pub(super) fn present(channel: Cow<'_, str>) -> Result<Cow<'_, str>, CommandError> {
    if channel.is_empty() { Err(wrong("channel is missing")) } else { Ok(channel) }
}

/// A token; `None` if it is empty.
pub(super) fn token(text: Cow<'_, str>) -> Option<TokenText<'_>> {
    (!text.is_empty()).then_some(TokenText(text))
}

/// A call of a procedure with these data, if it has some.
pub(super) fn rpc(method: &str, data: Option<&str>) -> Result<Command<'static>, CommandError> {
    #[derive(Deserialize)]
    struct Data<'a> {
        #[serde(borrow)]
        nick: Cow<'a, str>,
    }
    if method != "nick" {
        return Ok(Command::Rpc);
    }
    // An array would be read as well, as the members in their order.
    let object = data.filter(|data| data.starts_with('{'));
    let parsed = object.and_then(|object| serde_json::from_str(object).ok());
    let Data { nick } = parsed.ok_or_else(|| wrong(r#"data must be {"nick":"…"}"#))?;
    Label::nick(&nick).map(Command::Nick).map_err(CommandError::Nick)
}

/// Whether bit 2 of `flag` is set. All others are ignored.
pub(super) fn is_must_recover(flag: i64) -> bool {
    flag & 2 != 0
}

/// Valid JSON on one line, as it may reach others.
pub fn one_line(json: &str) -> Result<Cow<'_, str>, CommandError> {
    if depth(json) > DEPTH_MAX {
        return Err(wrong(format_args!("data is nested more than {DEPTH_MAX} levels deep")));
    }
    Ok(on_one_line(json))
}
