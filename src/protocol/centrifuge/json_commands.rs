//! Commands of the Centrifuge protocol in JSON. A command is read in two steps: its name and its methods, without which it
//! gets no reply, and then its parameters. Nothing is read recursively, and what is unknown is skipped.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::command::{
    Command, Connect, History, Parsed, Resume, Subscribe, is_must_recover, one_line, present, rpc, token, wrong,
};
use crate::protocol::command::{CommandError, TokenText};

/// A value of JSON that stands in the frame. `null` is as good as missing.
type Raw<'a> = Option<&'a RawValue>;

/// What a command is around its parameters. A method that occurs twice is an error.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    id: Raw<'a>,
    connect: Raw<'a>,
    subscribe: Raw<'a>,
    unsubscribe: Raw<'a>,
    publish: Raw<'a>,
    presence: Raw<'a>,
    presence_stats: Raw<'a>,
    history: Raw<'a>,
    ping: Raw<'a>,
    send: Raw<'a>,
    rpc: Raw<'a>,
    refresh: Raw<'a>,
    sub_refresh: Raw<'a>,
}

/// The parameters of every method, each of which uses some of them.
#[derive(Deserialize)]
struct Parameters<'a> {
    #[serde(borrow)]
    channel: Raw<'a>,
    method: Raw<'a>,
    token: Raw<'a>,
    /// `null` is a value here.
    #[serde(borrow, default, deserialize_with = "given")]
    data: Raw<'a>,
    subs: Raw<'a>,
    recover: Raw<'a>,
    epoch: Raw<'a>,
    offset: Raw<'a>,
    flag: Raw<'a>,
    r#type: Raw<'a>,
    tf: Raw<'a>,
    limit: Raw<'a>,
    since: Raw<'a>,
    reverse: Raw<'a>,
}

/// Text that borrows from the frame unless it has an escape.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(transparent)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Takes the first command of a frame, whose length is returned with it, together with the white space behind it; `None`
/// at the end of the frame. The objects of a frame need nothing between them, and may have white space within.
pub fn next_command(frame: &[u8]) -> Option<(Parsed<'_>, usize)> {
    if frame.is_empty() {
        return None;
    }
    let mut objects = serde_json::Deserializer::from_slice(frame).into_iter();
    // An array would be read as well, as the fields in their order.
    let is_object = without_white_space(frame).starts_with(b"{");
    let Some(Ok(envelope)) = objects.next().filter(|_| is_object) else {
        return Some((Parsed::Malformed, frame.len()));
    };
    let rest = without_white_space(&frame[objects.byte_offset()..]);
    Some((parsed(&envelope), frame.len() - rest.len()))
}

/// The text behind what JSON takes for white space (RFC 8259 §2), which has no form feed.
fn without_white_space(text: &[u8]) -> &[u8] {
    let begin = text.iter().position(|byte| !b" \t\n\r".contains(byte));
    &text[begin.unwrap_or(text.len())..]
}

/// The first method in the order of their tags counts.
fn parsed<'a>(envelope: &Envelope<'a>) -> Parsed<'a> {
    let Ok(id) = envelope.id.map_or(Ok(0), |id| serde_json::from_str(id.get())) else { return Parsed::Malformed };
    let method = None
        .or_else(|| envelope.connect.map(connect))
        .or_else(|| envelope.subscribe.map(subscribe))
        .or_else(|| envelope.unsubscribe.map(unsubscribe))
        .or_else(|| envelope.publish.map(publish))
        .or_else(|| envelope.presence.map(presence))
        .or_else(|| envelope.presence_stats.map(presence_stats))
        .or_else(|| envelope.history.map(history))
        .or_else(|| envelope.ping.map(|_| Ok(Command::Ping)));
    if method.is_none() && envelope.send.is_some() {
        return Parsed::Send;
    }
    let method = method
        .or_else(|| envelope.rpc.map(call))
        .or_else(|| envelope.refresh.map(refresh))
        .or_else(|| envelope.sub_refresh.map(sub_refresh));
    Parsed::new(id, method)
}

type Result<T, E = CommandError> = std::result::Result<T, E>;

fn connect(raw: &RawValue) -> Result<Command<'_>> {
    let parameters = Parameters::parse("connect", raw)?;
    let token = parameters.token()?;
    let subs: BTreeMap<Text<'_>, &RawValue> = typed("subs", parameters.subs, "an object")?.unwrap_or_default();
    let resume = |(Text(channel), raw)| Ok((channel, Parameters::parse("subs", raw)?.resume()?));
    Ok(Command::Connect(Connect { token, subs: subs.into_iter().map(resume).collect::<Result<_>>()? }))
}

fn subscribe(raw: &RawValue) -> Result<Command<'_>> {
    let parameters = Parameters::parse("subscribe", raw)?;
    Ok(Command::Subscribe(Subscribe {
        channel: parameters.channel()?,
        token: parameters.token()?,
        resume: parameters.resume()?,
        is_of_other_type: typed::<i32>("type", parameters.r#type, INTEGER)?.unwrap_or_default() != 0,
        has_filter: parameters.tf.is_some(),
        must_recover: is_must_recover(typed("flag", parameters.flag, INTEGER)?.unwrap_or_default()),
    }))
}

fn unsubscribe(raw: &RawValue) -> Result<Command<'_>> {
    Parameters::parse("unsubscribe", raw)?.channel().map(Command::Unsubscribe)
}

fn publish(raw: &RawValue) -> Result<Command<'_>> {
    let parameters = Parameters::parse("publish", raw)?;
    let channel = parameters.channel()?;
    let data = parameters.data.ok_or_else(|| wrong("data is missing"))?;
    Ok(Command::Publish { channel, data: one_line(data.get())? })
}

fn presence(raw: &RawValue) -> Result<Command<'_>> {
    Parameters::parse("presence", raw)?.channel().map(Command::Presence)
}

fn presence_stats(raw: &RawValue) -> Result<Command<'_>> {
    Parameters::parse("presence_stats", raw)?.channel().map(Command::PresenceStats)
}

fn history(raw: &RawValue) -> Result<Command<'_>> {
    let parameters = Parameters::parse("history", raw)?;
    let since = parameters.since.map(|since| Parameters::parse("since", since)?.position()).transpose()?;
    Ok(Command::History(History {
        channel: parameters.channel()?,
        limit: typed("limit", parameters.limit, INTEGER)?.unwrap_or_default(),
        since,
        reverse: typed("reverse", parameters.reverse, TRUTH)?.unwrap_or_default(),
    }))
}

fn call(raw: &RawValue) -> Result<Command<'_>> {
    let parameters = Parameters::parse("rpc", raw)?;
    rpc(&text("method", parameters.method)?, parameters.data.map(RawValue::get))
}

fn refresh(raw: &RawValue) -> Result<Command<'_>> {
    let token = Parameters::parse("refresh", raw)?.token()?;
    token.map(Command::Refresh).ok_or_else(|| wrong("token is missing"))
}

fn sub_refresh(raw: &RawValue) -> Result<Command<'_>> {
    let parameters = Parameters::parse("sub_refresh", raw)?;
    let token = parameters.token()?.ok_or_else(|| wrong("token is missing"))?;
    Ok(Command::SubRefresh(text("channel", parameters.channel)?, token))
}

const INTEGER: &str = "an integer";
const TRUTH: &str = "true or false";

impl<'a> Parameters<'a> {
    fn parse(name: &str, raw: &'a RawValue) -> Result<Self> {
        if !raw.get().starts_with('{') {
            return Err(wrong(format_args!("{name} must be an object")));
        }
        serde_json::from_str(raw.get()).map_err(|error| wrong(format_args!("{name}: {error}")))
    }

    fn channel(&self) -> Result<Cow<'a, str>> {
        present(text("channel", self.channel)?)
    }

    fn token(&self) -> Result<Option<TokenText<'a>>> {
        text("token", self.token).map(token)
    }

    fn resume(&self) -> Result<Resume<'a>> {
        let (offset, epoch) = self.position()?;
        Ok(Resume { recover: typed("recover", self.recover, TRUTH)?.unwrap_or_default(), epoch, offset })
    }

    fn position(&self) -> Result<(u64, Cow<'a, str>)> {
        let offset = typed("offset", self.offset, "an integer from 0 on")?.unwrap_or_default();
        Ok((offset, text("epoch", self.epoch)?))
    }
}

/// A text, empty if it is missing.
fn text<'a>(name: &str, raw: Raw<'a>) -> Result<Cow<'a, str>> {
    let is_string = raw.is_some_and(|raw| raw.get().starts_with('"'));
    let what = if is_string { "a string of Unicode: a surrogate in it is alone" } else { "a string" };
    Ok(typed::<Text<'a>>(name, raw, what)?.map_or(Cow::Borrowed(""), |Text(text)| text))
}

fn typed<'a, T: Deserialize<'a>>(name: &str, raw: Raw<'a>, what: &str) -> Result<Option<T>> {
    let typed = raw.map(|raw| serde_json::from_str(raw.get())).transpose();
    typed.map_err(|_| wrong(format_args!("{name} must be {what}")))
}

/// A value that counts as given even if it is `null`.
fn given<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Raw<'de>, D::Error> {
    Deserialize::deserialize(deserializer).map(Some)
}
